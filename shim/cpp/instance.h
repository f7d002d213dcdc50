// instance.h: one environment of Node's, from its making to its end.
#ifndef RELINK_INSTANCE_H_
#define RELINK_INSTANCE_H_

#include <signal.h>

#include <memory>
#include <string>
#include <vector>

#include "internal.h"

namespace relink {

using Strings = std::vector<std::string>;

constexpr int kExitCodeStopped = 1;  // what Node's main() makes of an environment that was stopped

uint64_t now_us();

std::string joined(const Strings& lines);

// Node did not start.
void fail(relink_bridge_result* result, int exit_code, const std::string& why);

// Adds the time until its end to a field of the result.
class Stopwatch {
 public:
  explicit Stopwatch(uint64_t* field) : field_(field), start_(now_us()) {}
  ~Stopwatch() { *field_ += now_us() - start_; }
  Stopwatch(const Stopwatch&) = delete;
  void operator=(const Stopwatch&) = delete;

 private:
  uint64_t* field_;
  uint64_t start_;
};

// The way out of a runtime on the host's own thread that can neither go on nor return (abort, V8 out of memory): a jump over its
// frames, to where the host entered it last. It is lost then, with all that it holds.
namespace escape {
// Runs `action` of this runtime, which is ended by leave() if need be. False: it was, now or before.
bool guarded(relink_bridge_runtime* runtime, void (*action)(void* context), void* context);
// Does not return if the calling thread is in guarded(): the innermost is lost.
void leave();
// The isolate that guarded() is in, and the signal mask that the thread had before.
void entered(v8::Isolate* isolate, const sigset_t& before);
}  // namespace escape

// Whether the caller's frame is on the calling thread's own stack.
bool on_own_stack();

// Whether scripts can run on the stack that the caller's frame is on.
bool can_be_on_this_stack();

// How an environment ended: the first reason counts.
struct Ending {
  bool known = false;
  uint32_t how = RELINK_HOW_FINISHED;
  int exit_code = 0;
  void set(uint32_t why, int code) {
    if (!known) *this = Ending{true, why, code};
  }
};

// Everything happens on the thread that made it.
class Instance {
 public:
  Instance(relink_bridge_runtime* runtime, const relink_bridge_options& options, relink_bridge_result* result);
  ~Instance();

  // False: there is none, and the result says why.
  bool make(node::MultiIsolatePlatform* platform, const Strings& args, const Strings& exec_args);

  // Runs it to its end. Blocks.
  void run();

  // In place of run(): the main script, then ticks until one is false, then finish().
  void start();
  bool tick(uint64_t budget_us);
  // Whether a tick would do nothing.
  bool idle() const;
  // Calls a function of the guest's at once.
  bool call(uint64_t id, const char* name, const char* text);
  void finish();

  // Whether it is running scripts at this moment, further out on the stack.
  bool inside() const { return depth_ > 0; }

  // Whether its isolate is the host's.
  bool is_shared() const { return options_.shared != nullptr; }

 private:
  class Scope;
  // Where the stack was entered, and V8's limit for it; zeroes: none was.
  struct Stack {
    uintptr_t entry = 0, limit = 0;
  };
  bool limit_stack(bool outermost);
  void put_back_limit(const Stack& further_out);
  void load();
  void loop();
  void wind_down();
  void settle();
  bool over() const;
  bool due() const;
  bool loop_alive() const;
  void exiting(node::Environment* env, int code);
  node::EnvironmentFlags::Flags environment_flags() const;
  static size_t near_heap_limit(void* instance, size_t current, size_t initial);

  relink_bridge_runtime* runtime_;
  relink_bridge_options options_;
  relink_bridge_result* result_;
  node::MultiIsolatePlatform* platform_ = nullptr;
  std::unique_ptr<node::CommonEnvironmentSetup> setup_;
  Ending ending_;
  int depth_ = 0;
  int extensions_ = 0;     // of the heap limit
  uint64_t longest_round_us_ = 0;  // of the loop, of late: what the next one may take
  Stack stack_;            // that scripts run on
};

}  // namespace relink

#endif  // RELINK_INSTANCE_H_
