// hooks.h: how a slot of the host platform's shadow vtable is made to lead to Node's platform. Which slots are hooked
// differs from line to line and stands in line_hooks.h, which the build makes.
#ifndef RELINK_HOOKS_H_
#define RELINK_HOOKS_H_

#include <utility>

#include "../adapters/slot_of.h"
#include "internal.h"

namespace relink {

extern void** g_original;  // the host's vtable: its slot 0
extern void** g_shadow;    // ours: its slot 0

// Node's platform if `isolate` is the guest's, else null.
v8::Platform* guest_platform(v8::Isolate* isolate);

// Worker tasks and jobs carry no isolate: the thread that posts them tells whose they are. Node must have its own, or
// its loop ends while they still run. Null: they are the host's.
v8::Platform* worker_platform();

// How many slots v8::Platform has: the one of a function that is declared behind all of its.
inline uint32_t platform_slots() {
  struct Behind : v8::Platform {
    virtual void last() = 0;
  };
  return slot_of(&Behind::last);
}

// The function that stood in the slot.
template <class Function>
Function original(uint32_t slot) {
  return reinterpret_cast<Function>(g_original[slot]);
}

template <class Function>
void put(uint32_t slot, Function* function) {
  g_shadow[slot] = reinterpret_cast<void*>(function);
}

// Discards what is posted. V8 may ask for a runner while an isolate is being disposed, when Node's platform has already
// forgotten it.
class DiscardingRunner final : public v8::TaskRunner {
 public:
#if RELINK_V8 < 1306
  void PostTask(std::unique_ptr<v8::Task>) override {}
  void PostNonNestableTask(std::unique_ptr<v8::Task>) override {}
  void PostDelayedTask(std::unique_ptr<v8::Task>, double) override {}
  void PostNonNestableDelayedTask(std::unique_ptr<v8::Task>, double) override {}
  void PostIdleTask(std::unique_ptr<v8::IdleTask>) override {}
#endif
  bool IdleTasksEnabled() override { return false; }
  bool NonNestableTasksEnabled() const override { return true; }
  bool NonNestableDelayedTasksEnabled() const override { return true; }
};

// What an isolate that is being disposed gets.
inline void answer_for_disposed(bool* answer) { *answer = false; }
inline void answer_for_disposed(std::shared_ptr<v8::TaskRunner>* answer) {
  *answer = std::make_shared<DiscardingRunner>();
}

// Hooks for a function of v8::Platform, named by `kFunction`. They have its calling convention: `this` comes first.
template <auto kFunction, class Signature>
struct Hook;

template <auto kFunction, class Result, class... Arguments>
struct Hook<kFunction, Result (v8::Platform::*)(Arguments...)> {
  using Plain = Result (*)(v8::Platform*, Arguments...);

  static Result by_thread(v8::Platform* self, Arguments... arguments) {
    if (v8::Platform* node = worker_platform()) return (node->*kFunction)(std::forward<Arguments>(arguments)...);
    return original<Plain>(slot_of(kFunction))(self, std::forward<Arguments>(arguments)...);
  }
};

// Those whose first argument is an isolate.
template <auto kFunction, class Signature>
struct IsolateHook;

template <auto kFunction, class Result, class... Arguments>
struct IsolateHook<kFunction, Result (v8::Platform::*)(v8::Isolate*, Arguments...)> {
  using Plain = Result (*)(v8::Platform*, v8::Isolate*, Arguments...);

  static Result by_isolate(v8::Platform* self, v8::Isolate* isolate, Arguments... arguments) {
    if (v8::Platform* node = guest_platform(isolate)) return (node->*kFunction)(isolate, arguments...);
    if (DisposingScope::covers(isolate)) {
      Result answer;
      answer_for_disposed(&answer);
      return answer;
    }
    return original<Plain>(slot_of(kFunction))(self, isolate, arguments...);
  }
};

// The isolate in the first argument tells whose call it is.
template <auto kFunction>
void hook_by_isolate() {
  put(slot_of(kFunction), &IsolateHook<kFunction, decltype(kFunction)>::by_isolate);
}

// The calling thread tells whose call it is.
template <auto kFunction>
void hook_by_thread() {
  put(slot_of(kFunction), &Hook<kFunction, decltype(kFunction)>::by_thread);
}

}  // namespace relink

#include "line_hooks.h"  // of the line: hook_line()

#endif  // RELINK_HOOKS_H_
