// runtime.h: one Node as the host has it, from relink_bridge_open to relink_bridge_close: what of it others may touch at any time.
#ifndef RELINK_RUNTIME_H_
#define RELINK_RUNTIME_H_

#include <signal.h>
#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <mutex>

#include "channel.h"
#include "instance.h"
#include "internal.h"

namespace relink {

// Asks an environment to end, or the next one if there is none yet. Any thread.
class Stopper {
 public:
  // False: a thread that was parked holds what is needed, for ever.
  bool ask();
  bool asked() const { return asked_.load(); }
  void forget() { asked_.store(false); }
  // From here on other threads may stop the environment; with null no more.
  void publish(node::Environment* env);

 private:
  std::atomic<bool> asked_{false};
  std::timed_mutex lock_;  // held while env_ is used by another thread
  node::Environment* env_ = nullptr;
};

// An address that no other living thread has: the thread that ticks is told without asking the system.
const char* here();

using Runtime = relink_bridge_runtime;

// Node's per-process part and all that is between runtimes (process.cc).
namespace process {
// Makes the environment, Node's per-process part before the first. Null: there is nothing to run, and the result says why.
Instance* make(Runtime* runtime, const relink_bridge_options& options, relink_bridge_result* result);
// 0, or why nothing may be started: ONCE, LEAVING.
int may_start();
// While a runtime is opened.
void add(Runtime* runtime);
void remove(Runtime* runtime);
// Whether the guest is no longer what it should be: some thread of it never ends.
bool is_crippled();
void cripple();
// This is a forked child of the process that runs the guest, whose threads it has not.
bool is_forked_child();
}  // namespace process

}  // namespace relink

// A handle for the host. Fields without a comment are used on the thread that runs it alone.
struct relink_bridge_runtime {
  relink::Stopper stopper;
  relink::Channel channel;
  std::atomic<bool> busy{false};            // from relink_bridge_run or _begin to its end
  std::atomic<pid_t> tid{0};                // of the thread that runs it; 0: none
  std::atomic<const char*> ticking{nullptr};  // here() of the thread that ticks it
  std::atomic<bool> abandoned{false};       // its thread is parked for ever
  std::atomic<bool> maimed{false};          // another one is, that it would wait for: its environment is never freed
  bool begun = false;                       // it is to be ticked
  bool shared = false;                      // its isolate is the host's
  bool lost = false;                        // escape::leave() has jumped out of it
  relink::Instance* ticked = nullptr;       // what was begun, while it lives
  relink::Instance* left = nullptr;         // what has ended in an isolate of the host's, and is still referred to there
  relink_bridge_result result = {};         // how what was begun went

  bool runs() const { return tid.load() != 0 && !relink::process::is_forked_child(); }
  bool runs_here() const;
  bool ticks_here() const { return ticking.load(std::memory_order_relaxed) == relink::here(); }
  // Whether its scripts are further out on this thread's stack.
  bool inside() const { return ticked != nullptr && ticked->inside() && !lost; }
  // In an isolate of the host's the calling thread must have entered that.
  bool may_enter() const;
};

namespace relink {

// Ends what was begun here; its scripts must not be further out on the stack.
void end_ticked(Runtime* runtime);

// What is kept from a thread of the guest's.
sigset_t kept_from_the_guest();

}  // namespace relink

#endif  // RELINK_RUNTIME_H_
