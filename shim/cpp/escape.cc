// escape.cc: out of a lost guest by longjmp. The frames in between are the guest's, V8's and a guard's: none of them runs
// its destructors, and none is ever entered again.
#include <pthread.h>
#include <setjmp.h>

#include "instance.h"

namespace relink {
namespace escape {
namespace {

struct Entry {
  jmp_buf jump;
  Entry* outer;
  v8::Isolate* isolate;
  sigset_t mask;
};

thread_local Entry* t_entry = nullptr;  // the innermost
bool g_lost = false;                    // written by the thread that ticks

}  // namespace

bool guarded(void (*action)(void* context), void* context) {
  if (g_lost) return false;
  Entry entry;
  entry.outer = t_entry;
  entry.isolate = nullptr;
  if (_setjmp(entry.jump) != 0) return false;
  t_entry = &entry;
  action(context);
  t_entry = entry.outer;
  return true;
}

void leave() {
  Entry* entry = t_entry;
  if (entry == nullptr) return;
  g_lost = true;
  t_entry = entry->outer;
  if (entry->isolate != nullptr) {
    // Once for this entry and for what was entered inside of it.
    while (entry->isolate == v8::Isolate::TryGetCurrent()) entry->isolate->Exit();
    pthread_sigmask(SIG_SETMASK, &entry->mask, nullptr);
  }
  _longjmp(entry->jump, 1);
}

bool lost() { return g_lost; }

void entered(v8::Isolate* isolate, const sigset_t& before) {
  if (t_entry == nullptr || t_entry->isolate != nullptr) return;
  t_entry->isolate = isolate;
  t_entry->mask = before;
}

void go_on_leaving() {
  if (g_lost) leave();
}

void forget() { g_lost = false; }

}  // namespace escape
}  // namespace relink
