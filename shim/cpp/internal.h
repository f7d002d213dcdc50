// internal.h: what the bridge's files share. Nothing here is exported.
#ifndef RELINK_INTERNAL_H_
#define RELINK_INTERNAL_H_

#include <cstdint>
#include <cstring>

#include "bridge.h"
#include "node_abi.h"
#include "v8_abi.h"

namespace relink {

// A handle in another form: V8's, Node-API's and what may be empty are one word all, and V8's casts of them check nothing.
template <class To, class From>
To recast(From from) {
  To to;
  static_assert(sizeof to == sizeof from && sizeof to == sizeof(void*), "v8-local-handle.h; js_native_api_v8.h");
  std::memcpy(static_cast<void*>(&to), &from, sizeof to);
  return to;
}

// The host's answers to relink_bridge_attach. All null until then; afterwards constant for ever.
const relink_bridge_host& host();

// printf to the host's log; dropped before the first attach.
__attribute__((format(printf, 2, 3))) void logf(relink_bridge_level level, const char* format, ...);

// Reports to the host's `event`; dropped before the first attach.
void report(relink_bridge_event kind, int64_t a = 0, const char* text = nullptr);

// The guest's live isolates. Lock-free: the host's threads look here too, also in a forked child.
namespace registry {
// False when there are already kMaxIsolates.
bool add(v8::Isolate* isolate);
void remove(v8::Isolate* isolate);
bool contains(v8::Isolate* isolate);
bool empty();
void for_each(void (*with)(v8::Isolate* isolate, void* data), void* data);
constexpr int kMaxIsolates = 4096;
}  // namespace registry

// While one of these lives, the calling thread is inside Isolate::Dispose() of `isolate`, which is registered no more.
class DisposingScope {
 public:
  explicit DisposingScope(v8::Isolate* isolate);
  ~DisposingScope();
  DisposingScope(const DisposingScope&) = delete;
  void operator=(const DisposingScope&) = delete;
  static bool covers(v8::Isolate* isolate);

 private:
  v8::Isolate* outer_;
};

// Node's own platform: null until the first run made it; then it lives for ever.
v8::Platform* node_platform();
void set_node_platform(v8::Platform* platform);

// True while the platform hook is installed.
bool attached();

// True once relink_bridge_host_leaving was called.
bool leaving();

// The guest's V8 flag --stack-size, in bytes: V8's own default where Node was not asked for another. The host may have set one for the
// process, for stacks of its own.
uintptr_t stack_for_scripts();

// What the guest's next isolate may have for old objects, in bytes, where V8 takes no flag for that any more; 0: V8's own choice.
uint64_t heap_limit();

// Whether a runtime of the guest's runs.
bool any_runs();

// False when the guest could not be stopped in time: then the host's platform must be left standing.
bool stop_for_leaving_host();

// The host is about to dispose of V8, and the guest has been told to end: what is left of its isolates shall not keep V8 from it.
void give_up_isolates();

// Before the guest frees one of its isolates after all.
void before_freeing(v8::Isolate* isolate);

// From now on exit() stops the guest, before it runs what was registered until now: what the guest's threads use of the
// host must not be destroyed under them. (The guest's own destructors are never registered, see src/loader/runtime/guards.rs.)
void stop_at_exit();

// An isolate entered, as v8::Isolate::Scope does inline.
class IsolateScope {
 public:
  explicit IsolateScope(v8::Isolate* isolate) : isolate_(isolate) { isolate_->Enter(); }
  ~IsolateScope() { isolate_->Exit(); }
  IsolateScope(const IsolateScope&) = delete;
  void operator=(const IsolateScope&) = delete;

 private:
  v8::Isolate* isolate_;
};

// While one of these lives with `outermost`, the isolate that was the thread's own before is remembered for HostScope.
class OuterIsolate {
 public:
  explicit OuterIsolate(bool outermost);
  ~OuterIsolate();
  OuterIsolate(const OuterIsolate&) = delete;
  void operator=(const OuterIsolate&) = delete;
  // What is remembered; for a jump that skips destructors.
  static v8::Isolate* get();
  static void put_back(v8::Isolate* isolate);

 private:
  bool outermost_;
  v8::Isolate* before_ = nullptr;  // of a runtime further out on the stack
};

// A callback of the host's called from within the guest: the isolate that the host had entered, if any, is entered again.
class HostScope {
 public:
  HostScope();
  ~HostScope();
  HostScope(const HostScope&) = delete;
  void operator=(const HostScope&) = delete;

 private:
  v8::Isolate* isolate_;
};

// A context entered, as v8::Context::Scope does inline.
class ContextScope {
 public:
  explicit ContextScope(v8::Local<v8::Context> context) : context_(context) { context_->Enter(); }
  ~ContextScope() { context_->Exit(); }
  ContextScope(const ContextScope&) = delete;
  void operator=(const ContextScope&) = delete;

 private:
  v8::Local<v8::Context> context_;
};

}  // namespace relink

#endif  // RELINK_INTERNAL_H_
