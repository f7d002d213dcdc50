// libcxx.cc: functions of a V8 that was compiled with libc++, for guests compiled with libstdc++ (cxx.h). They are those of the guest's
// that take or return a type of the C++ library. The mangled name tells only of arguments; results are known from the headers.
#include "cxx.h"

#ifdef RELINK_LIBCXX

#include <libplatform/v8-tracing.h>

#include <tuple>

#include "guest.h"
#include "no_inspector.h"
#include "stalled.h"
#include "unit.h"

#ifdef RELINK_INSPECTOR
// StringBuffer::create, null where an embedder has built V8 without the inspector.
extern "C" __attribute__((weak)) void relink_hosts_string_buffer() __asm__(
    "_ZN12v8_inspector12StringBuffer6createENS_10StringViewE");
#endif

namespace guest {

// v8-wasm.h: CompiledWasmModule, which the guest copies and ends by itself.
struct CompiledWasmModule {
  shared_ptr<v8::internal::wasm::NativeModule> module;
  string source_url;
};
static_assert(sizeof(CompiledWasmModule) == 48, "v8-wasm.h");

}  // namespace guest

namespace {

using v8::BackingStore;
using v8::Isolate;
using v8::Local;

// v8-wasm.h: the same of the host's, whose fields are private.
struct CompiledModule {
  std::shared_ptr<v8::internal::wasm::NativeModule> module;
  std::string source_url;
};
static_assert(sizeof(CompiledModule) == sizeof(v8::CompiledWasmModule), "v8-wasm.h");

using TracingController = v8::platform::tracing::TracingController;

// An array of these is one of pointers in both libraries.
using Convertibles = std::unique_ptr<v8::ConvertableToTraceFormat>*;

}  // namespace

extern "C" {

// Memory of array buffers.

RELINK_UNIT_API guest::unique_ptr<BackingStore> relink_unit_cxx_new_store(Isolate* isolate, size_t length) {
  return v8::ArrayBuffer::NewBackingStore(isolate, length);
}
RELINK_UNIT_API guest::unique_ptr<BackingStore> relink_unit_cxx_new_store_of(void* data, size_t length,
                                                                             BackingStore::DeleterCallback deleter,
                                                                             void* deleter_data) {
  return v8::ArrayBuffer::NewBackingStore(data, length, deleter, deleter_data);
}
RELINK_UNIT_API guest::unique_ptr<BackingStore> relink_unit_cxx_new_shared_store_of(
    void* data, size_t length, BackingStore::DeleterCallback deleter, void* deleter_data) {
  return v8::SharedArrayBuffer::NewBackingStore(data, length, deleter, deleter_data);
}
#if RELINK_HOST < 1306
RELINK_UNIT_API guest::unique_ptr<BackingStore> relink_unit_cxx_reallocate(Isolate* isolate,
                                                                           guest::unique_ptr<BackingStore> store,
                                                                           size_t length) {
  return BackingStore::Reallocate(isolate, std::move(store), length);
}
#endif
RELINK_UNIT_API guest::shared_ptr<BackingStore> relink_unit_cxx_store(v8::ArrayBuffer* self) {
  return self->GetBackingStore();
}
RELINK_UNIT_API guest::shared_ptr<BackingStore> relink_unit_cxx_shared_store(v8::SharedArrayBuffer* self) {
  return self->GetBackingStore();
}
RELINK_UNIT_API Local<v8::ArrayBuffer> relink_unit_cxx_buffer(Isolate* isolate, guest::shared_ptr<BackingStore> store) {
  return v8::ArrayBuffer::New(isolate, std::shared_ptr<BackingStore>(store));
}
RELINK_UNIT_API Local<v8::SharedArrayBuffer> relink_unit_cxx_shared_buffer(Isolate* isolate,
                                                                           guest::shared_ptr<BackingStore> store) {
  return v8::SharedArrayBuffer::New(isolate, std::shared_ptr<BackingStore>(store));
}

// Modules.

#if RELINK_HOST < 1204
RELINK_UNIT_API Local<v8::Module> relink_unit_cxx_synthetic_module(Isolate* isolate, Local<v8::String> name,
                                                                   const guest::vector<Local<v8::String>>& exports,
                                                                   v8::Module::SyntheticModuleEvaluationSteps steps) {
  return v8::Module::CreateSyntheticModule(isolate, name, exports, steps);
}
#if RELINK_GUEST >= 1103
RELINK_UNIT_API guest::StalledModules relink_unit_cxx_stalled_modules(v8::Module* self, Isolate* isolate) {
  std::vector<guest::StalledModule> stalled;
  for (auto [module, message] : self->GetStalledTopLevelAwaitMessage(isolate)) {
    stalled.push_back(guest::stalled(module, message));
  }
  return stalled;
}
#endif
#endif

RELINK_UNIT_API guest::CompiledWasmModule relink_unit_cxx_compiled_module(v8::WasmModuleObject* self) {
  const v8::CompiledWasmModule compiled = self->GetCompiledModule();
  const auto& fields = reinterpret_cast<const CompiledModule&>(compiled);
  return {fields.module, fields.source_url};
}
RELINK_UNIT_API v8::MaybeLocal<v8::WasmModuleObject> relink_unit_cxx_from_compiled_module(
    Isolate* isolate, const guest::CompiledWasmModule& guests) {
  const CompiledModule fields{guests.module, guests.source_url};
  return v8::WasmModuleObject::FromCompiledModule(isolate, reinterpret_cast<const v8::CompiledWasmModule&>(fields));
}
RELINK_UNIT_API guest::shared_ptr<v8::WasmStreaming> relink_unit_cxx_wasm_streaming(Isolate* isolate,
                                                                                    Local<v8::Value> value) {
  return v8::WasmStreaming::Unpack(isolate, value);
}

// Queues and measurements.

RELINK_UNIT_API guest::unique_ptr<v8::MicrotaskQueue> relink_unit_cxx_microtasks(Isolate* isolate,
                                                                                 v8::MicrotasksPolicy policy) {
  return v8::MicrotaskQueue::New(isolate, policy);
}
RELINK_UNIT_API guest::unique_ptr<v8::MeasureMemoryDelegate> relink_unit_cxx_measure_delegate(
    Isolate* isolate, Local<v8::Context> context, Local<v8::Promise::Resolver> resolver, v8::MeasureMemoryMode mode) {
  return v8::MeasureMemoryDelegate::Default(isolate, context, resolver, mode);
}
RELINK_UNIT_API bool relink_unit_cxx_measure(Isolate* self, guest::unique_ptr<v8::MeasureMemoryDelegate> delegate,
                                             v8::MeasureMemoryExecution execution) {
  return self->MeasureMemory(std::move(delegate), execution);
}
// The inspector's texts.

#ifdef RELINK_INSPECTOR
RELINK_UNIT_API guest::unique_ptr<v8_inspector::StringBuffer> relink_unit_cxx_string_buffer(
    v8_inspector::StringView text) {
  if (relink_hosts_string_buffer == nullptr) return relink::wide_text(text);
  return v8_inspector::StringBuffer::create(text);
}
#endif

// Traces.

RELINK_UNIT_API uint64_t relink_unit_cxx_trace(TracingController* self, char phase, const uint8_t* category,
                                               const char* name, const char* scope, uint64_t id, uint64_t bind_id,
                                               int32_t count, const char** names, const uint8_t* types,
                                               const uint64_t* values, Convertibles convertibles, unsigned flags) {
  return self->TracingController::AddTraceEvent(phase, category, name, scope, id, bind_id, count, names, types, values,
                                                convertibles, flags);
}
RELINK_UNIT_API uint64_t relink_unit_cxx_trace_at(TracingController* self, char phase, const uint8_t* category,
                                                  const char* name, const char* scope, uint64_t id, uint64_t bind_id,
                                                  int32_t count, const char** names, const uint8_t* types,
                                                  const uint64_t* values, Convertibles convertibles, unsigned flags,
                                                  int64_t time) {
  return self->TracingController::AddTraceEventWithTimestamp(phase, category, name, scope, id, bind_id, count, names,
                                                             types, values, convertibles, flags, time);
}

}  // extern "C"

#endif  // RELINK_LIBCXX
