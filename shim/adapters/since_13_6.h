// since_13_6.h: what isolates of the guest's are given with V8 13.6.
#ifndef RELINK_UNIT_SINCE_13_6_H_
#define RELINK_UNIT_SINCE_13_6_H_

#include "guest.h"

namespace relink {

// Puts an object with the host's layout before the guest's allocator.
void hosts_allocator(v8::Isolate::CreateParams* params);

}  // namespace relink

#endif  // RELINK_UNIT_SINCE_13_6_H_
