// since_14_6.h: what is kept for each isolate of the guest's with V8 14.6.
#ifndef RELINK_UNIT_SINCE_14_6_H_
#define RELINK_UNIT_SINCE_14_6_H_

#include "guest.h"

namespace relink {

// Forgets what an earlier isolate at this address has left. See functions.cc.
void forget_functions(v8::Isolate* isolate);

}  // namespace relink

#endif  // RELINK_UNIT_SINCE_14_6_H_
