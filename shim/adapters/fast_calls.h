// fast_calls.h: fast API calls of the guest's that the host's V8 can make.
#ifndef RELINK_UNIT_FAST_CALLS_H_
#define RELINK_UNIT_FAST_CALLS_H_

#include "guest.h"

namespace relink {

// The guest's fast function, or null: then V8 calls the slow one.
const v8::CFunction* hosts_fast_call(const v8::CFunction* guests);

// The same of several: all of them or none.
const v8::MemorySpan<const v8::CFunction>& hosts_fast_calls(const v8::MemorySpan<const v8::CFunction>& guests);

// To be called before V8 compiles a call: the guest's image has been initialised.
void describe_fast_calls();

}  // namespace relink

#endif  // RELINK_UNIT_FAST_CALLS_H_
