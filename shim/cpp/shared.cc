// shared.cc: what the guest may do to an isolate of the host's, and what is withheld.
#include "shared.h"

#include <atomic>
#include <mutex>

namespace relink {
namespace shared {
namespace {

std::atomic<v8::Isolate*> g_isolate{nullptr};  // the host's, while a guest is in it
bool g_to_be_lent = false;                     // used on the host's thread only, as all the rest
v8::Local<v8::Context> g_host;                 // valid while Node is being brought up

std::mutex g_lock;  // held while another thread ends scripts, and while the guest's are entered and left
bool g_inside = false;

}  // namespace

void offer(v8::Isolate* isolate, v8::Local<v8::Context> host) {
  g_host = host;
  g_to_be_lent = true;
  g_isolate.store(isolate);
}

v8::Isolate* lend() {
  if (!g_to_be_lent || !is_entered()) return nullptr;
  g_to_be_lent = false;
  return g_isolate.load();
}

bool is(v8::Isolate* isolate) { return isolate != nullptr && isolate == g_isolate.load(); }

bool any() { return g_isolate.load() != nullptr; }

bool is_entered() { return is(v8::Isolate::TryGetCurrent()); }

v8::Local<v8::Context> host_context() { return g_host; }

void made(v8::Local<v8::Context> node) { node->SetSecurityToken(g_host->GetSecurityToken()); }

// What another thread has asked for and what no script has noticed yet must not hit the host's.
void set_inside(bool inside) {
  std::lock_guard<std::mutex> guard(g_lock);
  g_inside = inside;
  if (!inside) g_isolate.load()->CancelTerminateExecution();
}

namespace {

#if RELINK_V8 < 1103

// V8 ends whatever script runs in the isolate: only if the guest's do.
void terminate(v8::Isolate* isolate) {
  std::lock_guard<std::mutex> guard(g_lock);
  if (g_inside) isolate->TerminateExecution();
}

using Listener = void (*)(v8::Local<v8::Message>, v8::Local<v8::Value>);
Listener g_listener = nullptr;  // Node's, which takes any exception for one of its own

// An exception that nobody caught is Node's where the bridge has entered its scripts, and else the host's.
void told(v8::Local<v8::Message> message, v8::Local<v8::Value> data) {
  bool inside = false;
  {
    std::lock_guard<std::mutex> guard(g_lock);
    inside = g_inside;
  }
  if (inside && g_listener != nullptr) g_listener(message, data);
}

#endif

}  // namespace

void forget() {
#if RELINK_V8 < 1103
  if (g_listener != nullptr && is_entered()) g_isolate.load()->RemoveMessageListeners(told);
  g_listener = nullptr;
#endif
  g_host = {};
  g_to_be_lent = false;
  g_isolate.store(nullptr);
}

}  // namespace shared
}  // namespace relink

#if RELINK_V8 < 1103

// Adapters for a guest in an isolate of the host's. Its Workers have isolates of their own, with which all is as ever.
extern "C" {

using relink::shared::is;

RELINK_BRIDGE_API void relink_adapter_Shared_Initialize(v8::Isolate* isolate, const v8::Isolate::CreateParams& params) {
  if (!is(isolate)) v8::Isolate::Initialize(isolate, params);
}

// The object is as that of a thread that had locked the isolate before: its destructor then unlocks nothing.
RELINK_BRIDGE_API void relink_adapter_Shared_Lock(v8::Locker* locker, v8::Isolate* isolate) {
  if (!is(isolate)) return locker->Initialize(isolate);
  locker->has_lock_ = false;
  locker->top_level_ = false;
  locker->isolate_ = isolate;
}

RELINK_BRIDGE_API void relink_adapter_Shared_TerminateExecution(v8::Isolate* isolate) {
  if (!is(isolate)) return isolate->TerminateExecution();
  relink::shared::terminate(isolate);
}

RELINK_BRIDGE_API bool relink_adapter_Shared_AddMessageListener(v8::Isolate* isolate, relink::shared::Listener listener,
                                                                int levels, v8::Local<v8::Value> data) {
  if (!is(isolate)) return isolate->AddMessageListenerWithErrorLevel(listener, levels, data);
  relink::shared::g_listener = listener;
  return isolate->AddMessageListenerWithErrorLevel(relink::shared::told, levels, data);
}

// Node forbids it and has V8 ask a callback, which is withheld.
RELINK_BRIDGE_API void relink_adapter_Shared_AllowCodeGeneration(v8::Context* context, bool allow) {
  if (!relink::shared::is_entered()) context->AllowCodeGenerationFromStrings(allow);
}

// An isolate has one of each. The host's stays.
#define RELINK_WITHHELD(Name, Type)                                                            \
  RELINK_BRIDGE_API void relink_adapter_Shared_##Name(v8::Isolate* isolate, v8::Type setting) { \
    if (!is(isolate)) isolate->Name(setting);                                                  \
  }

RELINK_WITHHELD(SetMicrotasksPolicy, MicrotasksPolicy)
RELINK_WITHHELD(SetAbortOnUncaughtExceptionCallback, Isolate::AbortOnUncaughtExceptionCallback)
RELINK_WITHHELD(SetFatalErrorHandler, FatalErrorCallback)
RELINK_WITHHELD(SetOOMErrorHandler, OOMErrorCallback)
RELINK_WITHHELD(SetPrepareStackTraceCallback, PrepareStackTraceCallback)
RELINK_WITHHELD(SetAllowWasmCodeGenerationCallback, AllowWasmCodeGenerationCallback)
RELINK_WITHHELD(SetModifyCodeGenerationFromStringsCallback, ModifyCodeGenerationFromStringsCallback2)
RELINK_WITHHELD(SetWasmStreamingCallback, WasmStreamingCallback)
RELINK_WITHHELD(SetPromiseRejectCallback, PromiseRejectCallback)
RELINK_WITHHELD(SetHostImportModuleDynamicallyCallback, HostImportModuleDynamicallyCallback)
RELINK_WITHHELD(SetHostInitializeImportMetaObjectCallback, HostInitializeImportMetaObjectCallback)
RELINK_WITHHELD(SetHostCreateShadowRealmContextCallback, HostCreateShadowRealmContextCallback)

}  // extern "C"

#endif
