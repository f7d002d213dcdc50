// since_14_6.h: what is kept for each isolate of the guest's with V8 14.6.
#ifndef RELINK_UNIT_SINCE_14_6_H_
#define RELINK_UNIT_SINCE_14_6_H_

#include "guest.h"

namespace relink {

#if RELINK_GUEST >= 1306
// Puts an allocator before the guest's that is not asked for more than a process can have.
void limited_allocator(v8::Isolate::CreateParams* params);
#endif

// Forgets what an earlier isolate at this address has left. See functions.cc.
void forget_functions(v8::Isolate* isolate);

}  // namespace relink

#endif  // RELINK_UNIT_SINCE_14_6_H_
