// about.h: what scripts are told.
#ifndef RELINK_ABOUT_H_
#define RELINK_ABOUT_H_

#include "internal.h"

namespace relink {

// Sets process.relink, of the environment whose context this is and that is entered, to what the JSON text says. Without an effect
// where that is not to be had.
void tell_scripts(v8::Isolate* isolate, v8::Local<v8::Context> context, const char* json);

// Reports what this environment goes without because of how the host has set up V8 (RELINK_EVENT_RESTRICTED).
void tell_restrictions(v8::Isolate* isolate, v8::Local<v8::Context> context);

}  // namespace relink

#endif  // RELINK_ABOUT_H_
