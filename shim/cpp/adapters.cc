// adapters.cc: functions that stand in for V8's in the guest's slots.
#include <atomic>

#include "internal.h"
#include "shared.h"
#include "signal_mask.h"

#if RELINK_V8 < 1306
#include "../adapters/loan.h"
#endif

namespace relink {
namespace {

std::atomic<bool> g_left_standing{false};  // the host's V8 was not disposed

// Registers an isolate of the guest's before V8 asks the platform for it.
v8::Isolate* known(v8::Isolate* isolate) {
  if (isolate == nullptr) return nullptr;
  if (!registry::add(isolate)) {
    logf(RELINK_LOG_ERROR, "more than %d isolates of the guest: V8 will ask the host's platform for this one",
         registry::kMaxIsolates);
  }
  report(RELINK_EVENT_ISOLATE_ADDED, reinterpret_cast<intptr_t>(isolate));
  return isolate;
}

void withheld(const char* call) {
  report(RELINK_EVENT_CALL_WITHHELD, 0, call);
  logf(RELINK_LOG_DEBUG, "%s is the host's own: not passed on", call);
}

}  // namespace
}  // namespace relink

extern "C" {

#if RELINK_V8 < 1306

// A late addition to V8 10.2 to 12.4.
RELINK_BRIDGE_API std::unique_ptr<v8::BackingStore> relink_adapter_NewBackingStoreForNodeLTS(v8::Isolate* isolate,
                                                                                            size_t byte_length) {
  return relink::uninitialised_store(isolate, byte_length);
}

#endif

#if RELINK_V8 == 1002

// What follows came to V8 10.2 with a Node 18 later than the host's.

// A buffer that was detached has no store, and is given a new empty one at each call; an empty one of a script has its own, which holds nothing
// either. (One that C++ has made with no bytes is taken for detached.)
RELINK_BRIDGE_API bool relink_adapter_ArrayBuffer_WasDetached(v8::ArrayBuffer* self) {
  const auto store = self->GetBackingStore();
  return store->Data() == nullptr && self->GetBackingStore() != store;
}

RELINK_BRIDGE_API void* relink_adapter_ArrayBuffer_Data(v8::ArrayBuffer* self) { return self->GetBackingStore()->Data(); }

RELINK_BRIDGE_API void* relink_adapter_SharedArrayBuffer_Data(v8::SharedArrayBuffer* self) {
  return self->GetBackingStore()->Data();
}

// V8 keeps in a field what it is given: a script's or a module's handle is one like any other.
RELINK_BRIDGE_API void relink_adapter_SetInternalFieldForNodeCore_script(v8::Object* self, int index,
                                                                         v8::Local<v8::Value> script) {
  self->SetInternalField(index, script);
}

RELINK_BRIDGE_API void relink_adapter_SetInternalFieldForNodeCore_module(v8::Object* self, int index,
                                                                         v8::Local<v8::Value> module) {
  self->SetInternalField(index, module);
}

#endif

RELINK_BRIDGE_API v8::Isolate* relink_adapter_Isolate_Allocate() {
  if (v8::Isolate* hosts = relink::shared::lend()) return hosts;
  return relink::known(v8::Isolate::Allocate());
}

#if RELINK_V8 >= 1306

RELINK_BRIDGE_API v8::Isolate* relink_adapter_Isolate_Allocate_in_group(const v8::IsolateGroup& group) {
  return relink::known(v8::Isolate::Allocate(group));
}

// Node 24 ends an isolate in two steps: this, while its platform still knows it, then Free.
RELINK_BRIDGE_API void relink_adapter_Isolate_Deinitialize(v8::Isolate* isolate) {
  relink::UnsampledScope unsampled;
  isolate->Deinitialize();
}

RELINK_BRIDGE_API void relink_adapter_Isolate_Free(v8::Isolate* isolate) {
  relink::before_freeing(isolate);
  relink::registry::remove(isolate);
  v8::Isolate::Free(isolate);
  relink::report(RELINK_EVENT_ISOLATE_REMOVED, reinterpret_cast<intptr_t>(isolate));
}

#endif

// Forgotten first: once V8 has freed it, the same address may be an isolate of the host's.
RELINK_BRIDGE_API void relink_adapter_Isolate_Dispose(v8::Isolate* isolate) {
  if (relink::shared::is(isolate)) return;
  relink::before_freeing(isolate);
  relink::registry::remove(isolate);
  {
    relink::UnsampledScope unsampled;
    relink::DisposingScope scope(isolate);
    isolate->Dispose();
  }
  relink::report(RELINK_EVENT_ISOLATE_REMOVED, reinterpret_cast<intptr_t>(isolate));
}

// Node offers the platform that it made: V8 has one, so it only gets the guest's share.
RELINK_BRIDGE_API void relink_adapter_V8_InitializePlatform(v8::Platform* platform) {
  relink::set_node_platform(platform);
  relink::withheld("v8::V8::InitializePlatform");
}

RELINK_BRIDGE_API void relink_adapter_V8_DisposePlatform() { relink::withheld("v8::V8::DisposePlatform"); }

RELINK_BRIDGE_API bool relink_adapter_V8_Initialize(int) {
  relink::withheld("v8::V8::Initialize");
  return true;
}

RELINK_BRIDGE_API bool relink_adapter_V8_Dispose() {
  relink::withheld("v8::V8::Dispose");
  return true;
}

// The trap handler needs the process's SIGSEGV handler, which is the host's. Without it WebAssembly checks bounds.
RELINK_BRIDGE_API bool relink_adapter_V8_EnableWebAssemblyTrapHandler(bool) {
  relink::withheld("v8::V8::EnableWebAssemblyTrapHandler");
  return false;
}

// The host's isolates would take their random seeds from the guest's OpenSSL.
RELINK_BRIDGE_API void relink_adapter_V8_SetEntropySource(bool (*)(unsigned char*, size_t)) {
  relink::withheld("v8::V8::SetEntropySource");
}

// Which trace categories are on is one table per process, and V8 then calls the host's tracing controller, which has no
// buffer while the host does not trace: it would crash. So the guest's agent never starts. (Its configuration is V8's to
// free and is left to leak: a few strings.)
RELINK_BRIDGE_API void relink_adapter_TracingController_StartTracing(void*, void*) {
  relink::withheld("v8::platform::tracing::TracingController::StartTracing");
}

// The other way round: while the host traces, the guest's events reach its own controller, which has no buffer.
RELINK_BRIDGE_API void relink_adapter_TracingController_UpdateTraceEventDuration(void*, const uint8_t*, const char*,
                                                                                uint64_t) {}

// Node asks before it gives a message to V8's inspector, and answers what is not V8's itself: that there is no such method.
RELINK_BRIDGE_API bool relink_adapter_InspectorSession_canDispatchMethod(v8_inspector::StringView method) {
  using v8_inspector::V8InspectorSession;
  if (&V8InspectorSession::canDispatchMethod == nullptr || relink::host().may_inspect() == 0) return false;
  return V8InspectorSession::canDispatchMethod(method);
}

// For the host's own slots: V8 must not be disposed under a guest that could not be stopped, nor its platform after that.
RELINK_BRIDGE_API bool relink_adapter_Host_V8_Dispose() {
  if (relink_bridge_host_leaving() == 0) return v8::V8::Dispose();
  relink::g_left_standing.store(true);
  relink::logf(RELINK_LOG_WARN, "the guest still runs: the host's V8 is left standing instead of being disposed");
  return true;
}

RELINK_BRIDGE_API void relink_adapter_Host_V8_DisposePlatform() {
  if (relink_bridge_host_leaving() == 0 && !relink::g_left_standing.load()) v8::V8::DisposePlatform();
}

}  // extern "C"
