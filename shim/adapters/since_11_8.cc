// since_11_8.cc: what V8 11.8 changed since 11.3, for guests compiled for older ones.
#include "guest.h"
#include "unit.h"

extern "C" {

// The reference to be made strong is passed by value, and by its slot before.
RELINK_UNIT_API v8::internal::Address* relink_unit_globalize(v8::internal::Isolate* isolate,
                                                             v8::internal::Address* slot) {
  return v8::api_internal::GlobalizeReference(isolate, *slot);
}

}  // extern "C"
