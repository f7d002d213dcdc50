// guest.h: interfaces of the guest's V8, whichever it is.
#ifndef RELINK_GUEST_H_
#define RELINK_GUEST_H_

#include "guest_10_2.h"
#if RELINK_GUEST >= 1103
#include "guest_11_3.h"
#endif

#endif  // RELINK_GUEST_H_
