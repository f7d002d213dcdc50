// protect.cc: calls code that is not to be trusted to return, so that the caller goes on whatever it does. This file alone is
// compiled with exceptions.
#include <setjmp.h>
#include <stdint.h>

#include <cxxabi.h>

#include <cstdio>
#include <exception>

#include "bridge.h"

namespace {

struct Entry {
  jmp_buf jump;
  Entry* outer;
};

thread_local Entry* t_entry = nullptr;  // the innermost

void tell(char* what, size_t size, const char* text) {
  if (what != nullptr && size > 0) snprintf(what, size, "%s", text);
}

int call(void (*function)(void* context), void* context, char* what, size_t size) {
  try {
    function(context);
    return 0;
  } catch (const std::exception& error) {
    tell(what, size, error.what());
  } catch (abi::__forced_unwind&) {  // the thread is cancelled, which nobody may catch
    throw;
  } catch (...) {
  }
  return RELINK_BRIDGE_E_THROWN;
}

}  // namespace

// Nothing here needs an initialiser: the bridge's own are called by this.
extern "C" int relink_bridge_protect(void (*function)(void* context), void* context, char* what, size_t size) {
  Entry entry;
  entry.outer = t_entry;
  tell(what, size, "");
  if (_setjmp(entry.jump) != 0) return RELINK_BRIDGE_E_LEFT;
  t_entry = &entry;
  int outcome = call(function, context, what, size);
  t_entry = entry.outer;
  return outcome;
}

extern "C" void relink_bridge_leave(void) {
  Entry* entry = t_entry;
  if (entry == nullptr) return;
  t_entry = entry->outer;
  _longjmp(entry->jump, 1);
}

extern "C" int relink_bridge_protects(void) { return t_entry != nullptr; }
