// shared.h: Node in an isolate of the host's, beside the host's contexts.
//
// node::CommonEnvironmentSetup asks V8 for an isolate, initialises it, locks and enters it, sets its callbacks and disposes it.
// Those calls are the guest's, bound to adapters: for an isolate of the host's they get the one that there is, and
// whatever would change it for the host's own scripts is withheld.
#ifndef RELINK_SHARED_H_
#define RELINK_SHARED_H_

#include <optional>

#include "internal.h"

namespace relink {
namespace shared {

// The calling thread has entered the host's isolate, whose next environment is made in it.
void offer(v8::Isolate* isolate, v8::Local<v8::Context> host);

// What Isolate::Allocate() gives to the environment that is being made; null: it is to have one of its own.
v8::Isolate* lend();

// Whether this isolate is the host's. Any thread.
bool is(v8::Isolate* isolate);

// Whether the guest is in an isolate of the host's at all.
bool any();

// Whether the calling thread has entered it.
bool is_entered();

// Node's context, made in it. The host's and Node's scripts may use each other's global objects from then on.
void made(v8::Local<v8::Context> node);

// The host's own context, while Node is being brought up.
v8::Local<v8::Context> host_context();

// The bridge enters or leaves scripts of Node's: only there they are ended where Node wants to end, and only what nobody catches
// there is Node's to handle.
void set_inside(bool inside);

// The guest has ended, and its environment is gone.
void forget();

}  // namespace shared

// An isolate of the guest's own, locked. The host's is the host's to lock.
class GuestLocker {
 public:
  explicit GuestLocker(v8::Isolate* isolate) {
    if (!shared::is(isolate)) locker_.emplace(isolate);
  }

 private:
  std::optional<v8::Locker> locker_;
};

}  // namespace relink

#endif  // RELINK_SHARED_H_
