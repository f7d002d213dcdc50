// since_11_8.cc: what V8 11.8 changed since 11.3, for a guest compiled for 10.2.
#include <cstring>

#include "guest_10_2.h"
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

// The reference to be made strong is passed by value, and by its slot before.
RELINK_UNIT_API v8::internal::Address* relink_unit_globalize(v8::internal::Isolate* isolate,
                                                             v8::internal::Address* slot) {
  return v8::api_internal::GlobalizeReference(isolate, *slot);
}

// V8's constructor has one argument more. What it makes is only read by the guest: V8 is given no fast functions.
RELINK_UNIT_API void relink_unit_c_function_info(guest::CFunctionInfo* self, const unsigned char* return_type,
                                                 unsigned argument_count, const void* arguments) {
  std::memcpy(self->return_type, return_type, sizeof self->return_type);
  self->unused = 0;
  self->argument_count = argument_count;
  self->arguments = arguments;
}

}  // extern "C"
