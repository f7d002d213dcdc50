// no_inspector.h: what a guest gets where the host's V8 was built without its inspector, and texts that all guests read.
#ifndef RELINK_UNIT_NO_INSPECTOR_H_
#define RELINK_UNIT_NO_INSPECTOR_H_

#include "guest.h"

#ifdef RELINK_INSPECTOR

namespace relink {

// A text of two bytes per character, whatever it is a copy of.
std::unique_ptr<v8_inspector::StringBuffer> wide_text(v8_inspector::StringView view);

// An inspector that does nothing with what it is told.
guest::unique_ptr<guest::Inspector> no_inspector();

}  // namespace relink

#endif  // RELINK_INSPECTOR

#endif  // RELINK_UNIT_NO_INSPECTOR_H_
