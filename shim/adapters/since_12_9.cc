// since_12_9.cc: what V8 12.9 changed since 12.4, for guests compiled for older ones. See handlers.cc for handlers and
// accessors, graph.cc for graphs of heap snapshots.
#include "guest.h"
#include "loan.h"
#include "unit.h"

extern "C" {

// Arguments that were added have defaults.

RELINK_UNIT_API v8::Local<v8::ArrayBuffer> relink_unit_array_buffer(v8::Isolate* isolate, size_t length) {
  return v8::ArrayBuffer::New(isolate, length);
}
RELINK_UNIT_API guest::unique_ptr<v8::BackingStore> relink_unit_backing_store(v8::Isolate* isolate, size_t length) {
  return v8::ArrayBuffer::NewBackingStore(isolate, length);
}

#if RELINK_GUEST >= 1204
RELINK_UNIT_API v8::Local<v8::SharedArrayBuffer> relink_unit_shared_array_buffer(v8::Isolate* isolate, size_t length) {
  return v8::SharedArrayBuffer::New(isolate, length);
}
RELINK_UNIT_API v8::Local<v8::Context> relink_unit_context_with_data(
    v8::Isolate* isolate, v8::ExtensionConfiguration* extensions, v8::MaybeLocal<v8::ObjectTemplate> global_template,
    v8::MaybeLocal<v8::Value> global, v8::DeserializeInternalFieldsCallback fields, v8::MicrotaskQueue* microtasks,
    v8::DeserializeContextDataCallback data) {
  return v8::Context::New(isolate, extensions, global_template, global, fields, microtasks, data);
}
RELINK_UNIT_API v8::MaybeLocal<v8::Context> relink_unit_context_of_snapshot_with_data(
    v8::Isolate* isolate, size_t index, v8::DeserializeInternalFieldsCallback fields,
    v8::ExtensionConfiguration* extensions, v8::MaybeLocal<v8::Value> global, v8::MicrotaskQueue* microtasks,
    v8::DeserializeContextDataCallback data) {
  return v8::Context::FromSnapshot(isolate, index, fields, extensions, global, microtasks, data);
}
RELINK_UNIT_API size_t relink_unit_snapshot_context_with_data(v8::SnapshotCreator* self, v8::Local<v8::Context> context,
                                                              v8::SerializeInternalFieldsCallback fields,
                                                              v8::SerializeContextDataCallback data) {
  return self->AddContext(context, fields, data);
}
RELINK_UNIT_API void relink_unit_snapshot_default_with_data(v8::SnapshotCreator* self, v8::Local<v8::Context> context,
                                                            v8::SerializeInternalFieldsCallback fields,
                                                            v8::SerializeContextDataCallback data) {
  self->SetDefaultContext(context, fields, data);
}
#endif

// Uninitialised, and nothing where there is no memory left.
RELINK_UNIT_API guest::unique_ptr<v8::BackingStore> relink_unit_backing_store_or_null(v8::Isolate* isolate,
                                                                                  size_t length) {
  return relink::uninitialised_store(isolate, length);
}

// Its length may be longer now; the guest reads the lower half of it.
RELINK_UNIT_API void relink_unit_utf8_value(void* self, v8::Isolate* isolate, v8::Local<v8::Value> value) {
  static_assert(sizeof(v8::String::Utf8Value) == 2 * sizeof(void*), "v8-primitive.h: the guest has room for two words");
  new (self) v8::String::Utf8Value(isolate, value);
}

// V8s between this one and 13.6, of which no Node has one, have these adapters and one more argument here.
RELINK_UNIT_API v8::Maybe<bool> relink_unit_instantiate(v8::Module* self, v8::Local<v8::Context> context,
                                                        v8::Module::ResolveModuleCallback callback) {
  return self->InstantiateModule(context, callback);
}

}  // extern "C"
