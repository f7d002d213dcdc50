// since_11_3.cc: what V8 11.3 changed since 10.8, for a guest compiled for 10.2.
#include "guest_10_2.h"
#include "unit.h"

static_assert(sizeof(v8::SnapshotCreator) == sizeof(void*), "v8-snapshot.h: the guest has room for a pointer");

extern "C" {

RELINK_UNIT_API void relink_unit_snapshot_creator(void* self, v8::Isolate* isolate, const intptr_t* references,
                                                  v8::StartupData* blob) {
  new (self) v8::SnapshotCreator(isolate, references, blob);
}

// Types of fast API calls were renumbered, and the guest's are compiled in: V8 is given the slow function alone.
RELINK_UNIT_API v8::Local<v8::FunctionTemplate> relink_unit_function_template(
    v8::Isolate* isolate, v8::FunctionCallback callback, v8::Local<v8::Value> data, v8::Local<v8::Signature> signature,
    int length, v8::ConstructorBehavior behavior, v8::SideEffectType side_effect, const v8::CFunction*,
    uint16_t instance_type, uint16_t receivers_begin, uint16_t receivers_end) {
  return v8::FunctionTemplate::New(isolate, callback, data, signature, length, behavior, side_effect, nullptr,
                                   instance_type, receivers_begin, receivers_end);
}

}  // extern "C"
