// since_12_4.cc: what V8 12.4 changed since 12.0, for guests compiled for older ones.
#include <cstring>
#include <vector>

#include "guest.h"
#include "stalled.h"
#include "unit.h"

namespace guest {

// v8-message.h: ScriptOrigin. 12.4 has all but the first field.
struct ScriptOrigin {
  v8::Isolate* isolate;
  unsigned char rest[sizeof(v8::ScriptOrigin)];
};
static_assert(sizeof(ScriptOrigin) == 48, "v8-message.h");

ScriptOrigin with_isolate(const v8::ScriptOrigin& hosts) {
  ScriptOrigin origin;
  origin.isolate = v8::Isolate::GetCurrent();
  std::memcpy(origin.rest, static_cast<const void*>(&hosts), sizeof origin.rest);
  return origin;
}

v8::ScriptOrigin* as_hosts(ScriptOrigin* origin) {
  return origin == nullptr ? nullptr : reinterpret_cast<v8::ScriptOrigin*>(origin->rest);
}

}  // namespace guest

namespace {

struct Escapable : v8::EscapableHandleScopeBase {
  using EscapableHandleScopeBase::EscapableHandleScopeBase;
  using EscapableHandleScopeBase::EscapeSlot;
};
static_assert(sizeof(Escapable) == 4 * sizeof(void*), "v8-local-handle.h: the guest has room for four words");

}  // namespace

extern "C" {

// Arguments that were added have defaults.

RELINK_UNIT_API v8::Local<v8::Context> relink_unit_context(v8::Isolate* isolate, v8::ExtensionConfiguration* extensions,
                                                           v8::MaybeLocal<v8::ObjectTemplate> global_template,
                                                           v8::MaybeLocal<v8::Value> global,
                                                           v8::DeserializeInternalFieldsCallback fields,
                                                           v8::MicrotaskQueue* microtasks) {
  return v8::Context::New(isolate, extensions, global_template, global, fields, microtasks);
}

RELINK_UNIT_API v8::MaybeLocal<v8::Context> relink_unit_context_from_snapshot(
    v8::Isolate* isolate, size_t index, v8::DeserializeInternalFieldsCallback fields,
    v8::ExtensionConfiguration* extensions, v8::MaybeLocal<v8::Value> global, v8::MicrotaskQueue* microtasks) {
  return v8::Context::FromSnapshot(isolate, index, fields, extensions, global, microtasks);
}

RELINK_UNIT_API size_t relink_unit_snapshot_context(v8::SnapshotCreator* self, v8::Local<v8::Context> context,
                                                    v8::SerializeInternalFieldsCallback fields) {
  return self->AddContext(context, fields);
}
RELINK_UNIT_API void relink_unit_snapshot_default_context(v8::SnapshotCreator* self, v8::Local<v8::Context> context,
                                                          v8::SerializeInternalFieldsCallback fields) {
  self->SetDefaultContext(context, fields);
}

// Handles.

RELINK_UNIT_API void relink_unit_escapable_scope(void* self, v8::Isolate* isolate) { ::new (self) Escapable(isolate); }

// In 10.2 an empty handle may escape, too.
RELINK_UNIT_API v8::internal::Address* relink_unit_escape(v8::EscapableHandleScopeBase* self,
                                                          v8::internal::Address* value) {
  return value == nullptr ? nullptr : static_cast<Escapable*>(self)->EscapeSlot(value);
}

RELINK_UNIT_API bool relink_unit_is_true(const v8::Value* self) { return self->IsTrue(); }
RELINK_UNIT_API bool relink_unit_is_false(const v8::Value* self) { return self->IsFalse(); }
// Also in place of a check of a ScriptOrigin that looks for its last field elsewhere.
RELINK_UNIT_API void relink_unit_nothing(void*) {}

// Modules.

RELINK_UNIT_API v8::Local<v8::Module> relink_unit_synthetic_module(v8::Isolate* isolate, v8::Local<v8::String> name,
                                                                   const guest::vector<v8::Local<v8::String>>& exports,
                                                                   v8::Module::SyntheticModuleEvaluationSteps steps) {
  v8::MemorySpan<const v8::Local<v8::String>> span(exports.data(), exports.size());
  return v8::Module::CreateSyntheticModule(isolate, name, span, steps);
}

// Modules that wait at their top level, with messages: two lists of V8's own kind now.
RELINK_UNIT_API guest::StalledModules relink_unit_stalled_modules(v8::Module* self, v8::Isolate* isolate) {
  auto [modules, messages] = self->GetStalledTopLevelAwaitMessages(isolate);
  std::vector<guest::StalledModule> stalled;
  for (size_t i = 0; i < modules.size(); i++) stalled.push_back(guest::stalled(modules[i], messages[i]));
  return stalled;
}

RELINK_UNIT_API v8::Local<v8::FixedArray> relink_unit_import_assertions(const v8::ModuleRequest* self) {
  return self->GetImportAttributes();
}

// Accessors: who may use them is not asked any more. A name that is a string is a name.

#if !RELINK_INTERCEPTORS_ANSWER  // see handlers.cc
RELINK_UNIT_API void relink_unit_set_accessor(v8::ObjectTemplate* self, v8::Local<v8::Name> name,
                                              v8::AccessorNameGetterCallback getter,
                                              v8::AccessorNameSetterCallback setter, v8::Local<v8::Value> data, int,
                                              v8::PropertyAttribute attributes, v8::SideEffectType getter_effect,
                                              v8::SideEffectType setter_effect) {
  self->SetAccessor(name, getter, setter, data, attributes, getter_effect, setter_effect);
}

RELINK_UNIT_API void relink_unit_named_handler(v8::ObjectTemplate* self,
                                               const v8::NamedPropertyHandlerConfiguration& guests) {
  v8::NamedPropertyHandlerConfiguration own(guests);
  own.flags = guest::hosts_flags(guests.flags);
  self->SetHandler(own);
}
RELINK_UNIT_API void relink_unit_indexed_handler(v8::ObjectTemplate* self,
                                                 const v8::IndexedPropertyHandlerConfiguration& guests) {
  v8::IndexedPropertyHandlerConfiguration own(guests);
  own.flags = guest::hosts_flags(guests.flags);
  self->SetHandler(own);
}
#endif

RELINK_UNIT_API void relink_unit_set_accessor_property(v8::Template* self, v8::Local<v8::Name> name,
                                                       v8::Local<v8::FunctionTemplate> getter,
                                                       v8::Local<v8::FunctionTemplate> setter,
                                                       v8::PropertyAttribute attributes, int) {
  self->SetAccessorProperty(name, getter, setter, attributes);
}

// Origins of scripts.

RELINK_UNIT_API guest::ScriptOrigin relink_unit_message_origin(const v8::Message* self) {
  return guest::with_isolate(self->GetScriptOrigin());
}
RELINK_UNIT_API guest::ScriptOrigin relink_unit_function_origin(const v8::Function* self) {
  return guest::with_isolate(self->GetScriptOrigin());
}
RELINK_UNIT_API v8::MaybeLocal<v8::Script> relink_unit_compile(v8::Local<v8::Context> context,
                                                               v8::Local<v8::String> source,
                                                               guest::ScriptOrigin* origin) {
  return v8::Script::Compile(context, source, guest::as_hosts(origin));
}

}  // extern "C"
