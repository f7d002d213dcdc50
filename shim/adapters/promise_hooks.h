// promise_hooks.h: hooks of promises where the host's V8 has none of JavaScript.
#ifndef RELINK_UNIT_PROMISE_HOOKS_H_
#define RELINK_UNIT_PROMISE_HOOKS_H_

#include <v8.h>

namespace relink {

// For an isolate that begins: what was kept for another one at this address is of no use any more.
void forget_promise_hooks(v8::Isolate* isolate);

}  // namespace relink

#endif  // RELINK_UNIT_PROMISE_HOOKS_H_
