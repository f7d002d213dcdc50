// escape.cc: out of a lost guest by longjmp. The frames in between are the guest's, V8's and a guard's: none of them runs
// its destructors, and none is ever entered again.
#include <pthread.h>
#include <setjmp.h>

#include "runtime.h"

namespace relink {
namespace escape {
namespace {

struct Entry {
  jmp_buf jump;
  Entry* outer;
  Runtime* runtime;
  v8::Isolate* isolate;
  v8::Isolate* hosts;  // OuterIsolate's, before
  sigset_t mask;
};

thread_local Entry* t_entry = nullptr;  // the innermost

}  // namespace

bool guarded(Runtime* runtime, void (*action)(void* context), void* context) {
  if (runtime->lost) return false;
  Entry entry;
  entry.outer = t_entry;
  entry.runtime = runtime;
  entry.isolate = nullptr;
  entry.hosts = OuterIsolate::get();
  if (_setjmp(entry.jump) != 0) return false;
  t_entry = &entry;
  action(context);
  t_entry = entry.outer;
  return true;
}

void leave() {
  Entry* entry = t_entry;
  if (entry == nullptr) return;
  entry->runtime->lost = true;
  t_entry = entry->outer;
  OuterIsolate::put_back(entry->hosts);
  if (entry->isolate != nullptr) {
    // Once for this entry and for what was entered inside of it.
    while (entry->isolate == v8::Isolate::TryGetCurrent()) entry->isolate->Exit();
    pthread_sigmask(SIG_SETMASK, &entry->mask, nullptr);
  }
  _longjmp(entry->jump, 1);
}

void entered(v8::Isolate* isolate, const sigset_t& before) {
  if (t_entry == nullptr || t_entry->isolate != nullptr) return;
  t_entry->isolate = isolate;
  t_entry->mask = before;
}

}  // namespace escape
}  // namespace relink
