// since_10_8.cc: what V8 10.8 changed since 10.2, for a guest compiled for 10.2.
#include <libplatform/libplatform.h>

#include <atomic>

#include "platform.h"
#include "unit.h"
#include "unit_map.h"

namespace relink {
namespace {

using v8::Isolate;
using v8::Local;
using v8::Maybe;
using v8::MaybeLocal;

// Delegates: shared values are conveyed otherwise, so the slots behind are others. The guest supports none.

class SerializerDelegate final : public v8::ValueSerializer::Delegate {
 public:
  explicit SerializerDelegate(guest::SerializerDelegate* guest) : guest_(guest) {}
  void ThrowDataCloneError(Local<v8::String> message) override { guest_->ThrowDataCloneError(message); }
  Maybe<bool> WriteHostObject(Isolate* isolate, Local<v8::Object> object) override {
    return guest_->WriteHostObject(isolate, object);
  }
  Maybe<uint32_t> GetSharedArrayBufferId(Isolate* isolate, Local<v8::SharedArrayBuffer> buffer) override {
    return guest_->GetSharedArrayBufferId(isolate, buffer);
  }
  Maybe<uint32_t> GetWasmModuleTransferId(Isolate* isolate, Local<v8::WasmModuleObject> module) override {
    return guest_->GetWasmModuleTransferId(isolate, module);
  }
  void* ReallocateBufferMemory(void* old_buffer, size_t size, size_t* actual_size) override {
    return guest_->ReallocateBufferMemory(old_buffer, size, actual_size);
  }
  void FreeBufferMemory(void* buffer) override { guest_->FreeBufferMemory(buffer); }

 private:
  guest::SerializerDelegate* guest_;
};

class DeserializerDelegate final : public v8::ValueDeserializer::Delegate {
 public:
  explicit DeserializerDelegate(guest::DeserializerDelegate* guest) : guest_(guest) {}
  MaybeLocal<v8::Object> ReadHostObject(Isolate* isolate) override { return guest_->ReadHostObject(isolate); }
  MaybeLocal<v8::WasmModuleObject> GetWasmModuleFromId(Isolate* isolate, uint32_t id) override {
    return guest_->GetWasmModuleFromId(isolate, id);
  }
  MaybeLocal<v8::SharedArrayBuffer> GetSharedArrayBufferFromId(Isolate* isolate, uint32_t id) override {
    return guest_->GetSharedArrayBufferFromId(isolate, id);
  }

 private:
  guest::DeserializerDelegate* guest_;
};

static_assert(sizeof(v8::ValueSerializer) == sizeof(void*), "v8-value-serializer.h: the guest has room for a pointer");
static_assert(sizeof(v8::ValueDeserializer) == sizeof(void*), "v8-value-serializer.h");

// The handler is one per isolate, and Node's is the same for all of its isolates.
using GuestsOomHandler = void (*)(const char* location, bool is_heap_oom);
std::atomic<GuestsOomHandler> g_oom_handler{nullptr};

void out_of_memory(const char* location, const v8::OOMDetails& details) {
  if (GuestsOomHandler handler = g_oom_handler.load()) handler(location, details.is_heap_oom);
}

}  // namespace
}  // namespace relink

extern "C" {

RELINK_UNIT_API void relink_unit_serializer(void* self, v8::Isolate* isolate, guest::SerializerDelegate* delegate) {
  using relink::SerializerDelegate;
  SerializerDelegate* wrapped = nullptr;
  if (delegate != nullptr) {
    wrapped = relink::by_address<SerializerDelegate>().put(self, std::make_unique<SerializerDelegate>(delegate));
  }
  new (self) v8::ValueSerializer(isolate, wrapped);
}

RELINK_UNIT_API void relink_unit_serializer_end(v8::ValueSerializer* self) {
  auto delegate = relink::by_address<relink::SerializerDelegate>().take(self);
  self->~ValueSerializer();  // frees its buffer through the delegate
}

RELINK_UNIT_API void relink_unit_deserializer(void* self, v8::Isolate* isolate, const uint8_t* data, size_t size,
                                              guest::DeserializerDelegate* delegate) {
  using relink::DeserializerDelegate;
  DeserializerDelegate* wrapped = nullptr;
  if (delegate != nullptr) {
    wrapped = relink::by_address<DeserializerDelegate>().put(self, std::make_unique<DeserializerDelegate>(delegate));
  }
  new (self) v8::ValueDeserializer(isolate, data, size, wrapped);
}

RELINK_UNIT_API void relink_unit_deserializer_end(v8::ValueDeserializer* self) {
  auto delegate = relink::by_address<relink::DeserializerDelegate>().take(self);
  self->~ValueDeserializer();
}

// Virtual functions that the base classes had in 10.2: they stand in the guest's vtables, and nobody calls them.
RELINK_UNIT_API v8::Maybe<uint32_t> relink_unit_no_shared_id(void*, v8::Isolate*, v8::Local<v8::Value>) {
  return v8::Nothing<uint32_t>();
}
RELINK_UNIT_API bool relink_unit_no_shared_values(const void*) { return false; }
RELINK_UNIT_API v8::MaybeLocal<v8::Value> relink_unit_no_shared_value(void*, v8::Isolate*, uint32_t) { return {}; }

RELINK_UNIT_API void relink_unit_oom_handler(v8::Isolate* isolate, relink::GuestsOomHandler handler) {
  relink::g_oom_handler.store(handler);
  isolate->SetOOMErrorHandler(handler == nullptr ? nullptr : relink::out_of_memory);
}

RELINK_UNIT_API std::unique_ptr<v8::JobHandle> relink_unit_job(guest::Platform* platform, v8::TaskPriority priority,
                                                               std::unique_ptr<v8::JobTask> job, size_t threads) {
  return v8::platform::NewDefaultJobHandle(relink::as_hosts(platform), priority, std::move(job), threads);
}

// For Node's own use V8 10.2 has a setter for modules and scripts, which are no values; here a handle is a handle.
RELINK_UNIT_API void relink_unit_internal_field(v8::Object* self, int index, v8::Local<v8::Value> data) {
  self->SetInternalField(index, data);
}

}  // extern "C"
