// since_12_0.cc: what V8 12.0 changed since 11.8, for guests compiled for older ones.
#include "guest.h"
#include "unit.h"

extern "C" {

// Arguments that were added have defaults.

RELINK_UNIT_API v8::Local<v8::Value> relink_unit_error(v8::Local<v8::String> message) {
  return v8::Exception::Error(message);
}
RELINK_UNIT_API v8::Local<v8::Value> relink_unit_range_error(v8::Local<v8::String> message) {
  return v8::Exception::RangeError(message);
}
RELINK_UNIT_API v8::Local<v8::Value> relink_unit_syntax_error(v8::Local<v8::String> message) {
  return v8::Exception::SyntaxError(message);
}
RELINK_UNIT_API v8::Local<v8::Value> relink_unit_type_error(v8::Local<v8::String> message) {
  return v8::Exception::TypeError(message);
}

}  // extern "C"
