// promise_hooks.cc: what Node's own builds of V8 have for promises, where the host's has not: internal fields, and what it follows them by,
// functions of JavaScript for each context. V8 always has a function of C++ for the whole isolate, which calls them then.
#include <algorithm>
#include <cstring>
#include <map>
#include <vector>

#include "promise_hooks.h"
#include "guest.h"
#include "lock.h"
#include "unit.h"

// v8::internal: NativeContext::RunPromiseHook and Isolate::RunPromiseHook, before and since V8 13.6. A V8 that shows the second
// and not the first was built without hooks of JavaScript (V8_ENABLE_JAVASCRIPT_PROMISE_HOOKS).
#define RELINK_RUN_HOOK(name, symbol) extern "C" __attribute__((weak)) void name() __asm__(symbol)
#define RELINK_ARGUMENTS(handle) "ENS_15PromiseHookTypeENS0_" handle "INS0_9JSPromiseEEENS3_INS0_6ObjectEEE"
RELINK_RUN_HOOK(relink_of_context, "_ZN2v88internal13NativeContext14RunPromiseHook" RELINK_ARGUMENTS("6Handle"));
RELINK_RUN_HOOK(relink_of_isolate, "_ZN2v88internal7Isolate14RunPromiseHook" RELINK_ARGUMENTS("6Handle"));
RELINK_RUN_HOOK(relink_of_context_now, "_ZN2v88internal13NativeContext14RunPromiseHook" RELINK_ARGUMENTS("12DirectHandle"));
RELINK_RUN_HOOK(relink_of_isolate_now, "_ZN2v88internal7Isolate14RunPromiseHook" RELINK_ARGUMENTS("12DirectHandle"));

namespace relink {
namespace {

using v8::Context;
using v8::Function;
using v8::Isolate;
using v8::Local;
using v8::Promise;
using v8::PromiseHookType;
using v8::Value;

bool has_hooks_of_javascript() {
  const bool old = relink_of_context == nullptr && relink_of_isolate != nullptr;
  const bool now = relink_of_context_now == nullptr && relink_of_isolate_now != nullptr;
  return !old && !now;
}

// By PromiseHookType: init, resolve, before, after (v8-promise.h).
constexpr size_t kTypes = 4;
static_assert(static_cast<int>(PromiseHookType::kInit) == 0 && static_cast<int>(PromiseHookType::kAfter) == 3);

// The functions of one context, which they do not keep.
struct Hooks {
  v8::Global<Context> context;
  v8::Global<Function> functions[kTypes];
};

Lock g_lock;
// Lives for ever: threads may still use it while the process ends.
std::map<Isolate*, std::vector<Hooks>>& g_hooks = *new std::map<Isolate*, std::vector<Hooks>>;

Local<Function> function_for(Isolate* isolate, Local<Context> context, PromiseHookType type) {
  Lock::Guard guard(g_lock);
  const auto found = g_hooks.find(isolate);
  if (found == g_hooks.end()) return {};
  for (Hooks& hooks : found->second) {
    if (hooks.context == context) return hooks.functions[static_cast<size_t>(type)].Get(isolate);
  }
  return {};
}

void run(PromiseHookType type, Local<Promise> promise, Local<Value> parent) {
  Isolate* isolate = Isolate::GetCurrent();
  v8::HandleScope handles(isolate);
  Local<Context> context = isolate->GetCurrentContext();
  if (context.IsEmpty()) return;
  Local<Function> function = function_for(isolate, context, type);
  if (function.IsEmpty()) return;
  v8::TryCatch caught(isolate);
  caught.SetVerbose(true);
  Local<Value> arguments[] = {promise, parent};
  const int count = type == PromiseHookType::kInit ? 2 : 1;
  (void)function->Call(context, v8::Undefined(isolate), count, arguments).IsEmpty();
}

}  // namespace

void forget_promise_hooks(Isolate* isolate) {
  Lock::Guard guard(g_lock);
  const auto found = g_hooks.find(isolate);
  if (found == g_hooks.end()) return;
  // Their handles went with the isolate that had them, so nothing may give them back.
  new std::vector<Hooks>(std::move(found->second));
  g_hooks.erase(found);
}

}  // namespace relink

extern "C" RELINK_UNIT_API void relink_unit_promise_hooks(v8::Context* self, v8::Local<v8::Function> init,
                                                          v8::Local<v8::Function> before, v8::Local<v8::Function> after,
                                                          v8::Local<v8::Function> resolve) {
  if (relink::has_hooks_of_javascript()) return self->SetPromiseHooks(init, before, after, resolve);
  v8::Isolate* isolate = v8::Isolate::GetCurrent();
  v8::HandleScope handles(isolate);
  v8::Local<v8::Context> context;  // a handle's value is the address of its object's slot, as `self` is
  std::memcpy(static_cast<void*>(&context), &self, sizeof(context));
  relink::Lock::Guard guard(relink::g_lock);
  auto& all = relink::g_hooks[isolate];
  auto other = [&](const relink::Hooks& hooks) { return hooks.context.IsEmpty() || hooks.context == context; };
  all.erase(std::remove_if(all.begin(), all.end(), other), all.end());
  v8::Local<v8::Function> given[relink::kTypes] = {init, resolve, before, after};
  relink::Hooks hooks;
  bool any = false;
  for (size_t type = 0; type < relink::kTypes; type++) {
    any |= !given[type].IsEmpty();
    hooks.functions[type].Reset(isolate, given[type]);
  }
  hooks.context.Reset(isolate, context);
  hooks.context.SetWeak();
  if (any) all.push_back(std::move(hooks));
  isolate->SetPromiseHook(all.empty() ? nullptr : relink::run);
  if (all.empty()) relink::g_hooks.erase(isolate);
}

// Node asks a promise for its internal field, of which its own V8 gives each promise one, with no object in it.
extern "C" RELINK_UNIT_API v8::Local<v8::Data> relink_unit_internal_field_of(v8::Object* self, int index) {
  if (index < self->InternalFieldCount()) return self->GetInternalField(index);
  return v8::Undefined(v8::Isolate::GetCurrent());
}
