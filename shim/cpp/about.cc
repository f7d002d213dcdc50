// about.cc: process.relink, by which scripts learn where they are.
#include "about.h"

namespace relink {
namespace {

constexpr int kWhole = -1;  // NewFromUtf8: up to the NUL

v8::MaybeLocal<v8::String> string(v8::Isolate* isolate, const char* text) {
  return v8::String::NewFromUtf8(isolate, text, v8::NewStringType::kNormal, kWhole);
}

template <class To, class From>
v8::Local<To> as(v8::MaybeLocal<From> from) {
  return recast<v8::Local<To>>(from);
}

}  // namespace

void tell_scripts(v8::Isolate* isolate, v8::Local<v8::Context> context, const char* json) {
  using namespace v8;
  MaybeLocal<String> process_name = string(isolate, "process"), name = string(isolate, "relink"), text = string(isolate, json);
  if (process_name.IsEmpty() || name.IsEmpty() || text.IsEmpty()) return;
  MaybeLocal<Value> process = context->Global()->Get(context, as<Value>(process_name));
  MaybeLocal<Value> about = JSON::Parse(context, as<String>(text));
  if (process.IsEmpty() || about.IsEmpty()) return;
  (void)as<Object>(about)->SetIntegrityLevel(context, IntegrityLevel::kFrozen);
  auto fixed = static_cast<PropertyAttribute>(ReadOnly | DontEnum | DontDelete);
  (void)as<Object>(process)->DefineOwnProperty(context, as<Name>(name), as<Value>(about), fixed);
}

void tell_restrictions(v8::Isolate* isolate, v8::Local<v8::Context> context) {
  using namespace v8;
  MaybeLocal<String> name = string(isolate, "WebAssembly");
  if (name.IsEmpty()) return;
  MaybeLocal<Value> found = context->Global()->Get(context, as<Value>(name));
  if (found.IsEmpty() || as<Value>(found)->IsObject()) return;
  report(RELINK_EVENT_RESTRICTED, 0,
         "WebAssembly: the host's V8 has it switched off, as --jitless does; what needs it, such as fetch, fails as in plain node --jitless");
}

}  // namespace relink
