// since_10_8.h: what other files of a unit need of since_10_8.cc.
#ifndef RELINK_UNIT_SINCE_10_8_H_
#define RELINK_UNIT_SINCE_10_8_H_

#include "guest.h"

namespace relink {

// Before an isolate is initialised: that it is short of heap then goes to the guest's handler.
void handle_oom(v8::Isolate::CreateParams* params);

}  // namespace relink

#endif  // RELINK_UNIT_SINCE_10_8_H_
