// signal_mask.h: signals that are kept from the calling thread for a while.
#ifndef RELINK_SIGNAL_MASK_H_
#define RELINK_SIGNAL_MASK_H_

#include <signal.h>

#include <ctime>

namespace relink {

// Blocks signals in the calling thread while it lives. Then one of them, if it waits for the thread, is dropped:
// unblocked, it would meet the process's own disposition of it.
class SignalMask {
 public:
  SignalMask(const sigset_t& blocked, int dropped) : dropped_(dropped) { pthread_sigmask(SIG_BLOCK, &blocked, &before_); }
  ~SignalMask() {
    if (sigismember(&before_, dropped_) == 0) discard_pending();
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  const sigset_t& before() const { return before_; }
  SignalMask(const SignalMask&) = delete;
  void operator=(const SignalMask&) = delete;

 private:
  void discard_pending() const {
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, dropped_);
    timespec now = {0, 0};
    while (sigtimedwait(&one, nullptr, &now) == dropped_) {
    }
  }

  int dropped_;
  sigset_t before_;
};

// While an isolate ends. V8's profiler puts back the process's disposition of SIGPROF when its last sampler stops, and
// does not wait for the signal it has just sent to the isolate's thread: by default that signal ends the process.
class UnsampledScope {
 public:
  UnsampledScope() : mask_(only_sigprof(), SIGPROF) {}

 private:
  static sigset_t only_sigprof() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPROF);
    return set;
  }

  SignalMask mask_;
};

}  // namespace relink

#endif  // RELINK_SIGNAL_MASK_H_
