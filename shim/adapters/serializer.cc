// serializer.cc: delegates of serializers and deserializers. Since 10.8 shared values are conveyed otherwise (10.2's Node supports
// none), and since 11.8 V8 asks which objects are the host's: the slots behind are others.
#include <utility>

#include "guest.h"
#include "unit.h"
#include "unit_map.h"

#if RELINK_GUEST < 1204  // whose delegates are not those of later V8s

namespace relink {
namespace {

using v8::Isolate;
using v8::Local;
using v8::Maybe;
using v8::MaybeLocal;

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
#if RELINK_GUEST >= 1103
  bool AdoptSharedValueConveyor(Isolate* isolate, v8::SharedValueConveyor&& conveyor) override {
    return guest_->AdoptSharedValueConveyor(isolate, std::move(conveyor));
  }
#endif
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
#if RELINK_GUEST >= 1103
  const v8::SharedValueConveyor* GetSharedValueConveyor(Isolate* isolate) override {
    return guest_->GetSharedValueConveyor(isolate);
  }
#endif

 private:
  guest::DeserializerDelegate* guest_;
};

static_assert(sizeof(v8::ValueSerializer) == sizeof(void*), "v8-value-serializer.h: the guest has room for a pointer");
static_assert(sizeof(v8::ValueDeserializer) == sizeof(void*), "v8-value-serializer.h");

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

}  // extern "C"

#endif
