// platform.h: Node's platform, as the host's V8 would have it.
#ifndef RELINK_UNIT_PLATFORM_H_
#define RELINK_UNIT_PLATFORM_H_

#include "guest.h"

namespace relink {

// The platform of the guest's behind an object with the host's layout. It lives for ever.
v8::Platform* as_hosts(guest::Platform* node);

// Bytes for old objects that the guest's next isolate may have; 0: V8's own choice.
uint64_t heap_limit();

}  // namespace relink

#endif  // RELINK_UNIT_PLATFORM_H_
