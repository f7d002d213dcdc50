// fast_calls.cc: fast API calls. Types of theirs were renumbered in 11.3 and got more fields later, and the guest's are compiled in:
// V8 is given the slow function alone.
#include <cstring>

#include "guest.h"
#include "unit.h"

namespace guest {

// v8-fast-api-calls.h: CFunctionInfo. A type is three bytes.
struct CFunctionInfo {
  unsigned char return_type[3];
  unsigned char unused;
  unsigned argument_count;
  const void* arguments;
};
static_assert(sizeof(CFunctionInfo) == 16, "v8-fast-api-calls.h");

}  // namespace guest

extern "C" {

RELINK_UNIT_API v8::Local<v8::FunctionTemplate> relink_unit_function_template(
    v8::Isolate* isolate, v8::FunctionCallback callback, v8::Local<v8::Value> data, v8::Local<v8::Signature> signature,
    int length, v8::ConstructorBehavior behavior, v8::SideEffectType side_effect, const v8::CFunction*,
    uint16_t instance_type, uint16_t receivers_begin, uint16_t receivers_end) {
  return v8::FunctionTemplate::New(isolate, callback, data, signature, length, behavior, side_effect, nullptr,
                                   instance_type, receivers_begin, receivers_end);
}

#if RELINK_GUEST >= 1103
// Of several fast functions, too.
RELINK_UNIT_API v8::Local<v8::FunctionTemplate> relink_unit_overloads(
    v8::Isolate* isolate, v8::FunctionCallback callback, v8::Local<v8::Value> data, v8::Local<v8::Signature> signature,
    int length, v8::ConstructorBehavior behavior, v8::SideEffectType side_effect, const void*) {
  return v8::FunctionTemplate::New(isolate, callback, data, signature, length, behavior, side_effect);
}
#endif

// V8's constructor has one argument more. What it makes is only read by the guest: V8 is given no fast functions.
RELINK_UNIT_API void relink_unit_c_function_info(guest::CFunctionInfo* self, const unsigned char* return_type,
                                                 unsigned argument_count, const void* arguments) {
  std::memcpy(self->return_type, return_type, sizeof self->return_type);
  self->unused = 0;
  self->argument_count = argument_count;
  self->arguments = arguments;
}

}  // extern "C"
