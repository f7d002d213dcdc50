// runtime.cc: a runtime's life: opened, run by a thread of its own or begun and ticked by the host's, ended, closed.
#include "runtime.h"

#include <signal.h>
#include <unistd.h>

#include <new>

#include "shared.h"
#include "signal_mask.h"

namespace relink {
namespace {

constexpr std::chrono::milliseconds kStopLimit(500);

thread_local char t_here;

int check(const relink_bridge_options* options, const relink_bridge_result* result) {
  if (options == nullptr || result == nullptr) return RELINK_BRIDGE_E_ARGUMENT;
  if (options->size != sizeof *options || result->size != sizeof *result) return RELINK_BRIDGE_E_SIZE;
  if (options->argc < 1 || options->argv == nullptr) return RELINK_BRIDGE_E_ARGUMENT;
  bool fits = options->node_argc >= 0 && options->node_argc < options->argc;
  return fits ? 0 : RELINK_BRIDGE_E_ARGUMENT;
}

void clear(relink_bridge_result* result) {
  *result = relink_bridge_result{};
  result->size = sizeof *result;
}

int run_exclusively(Runtime* runtime, const relink_bridge_options& options, relink_bridge_result* result) {
  if (int error = process::may_start()) return error;
  clear(result);
  SignalMask mask(kept_from_the_guest(), SIGPIPE);
  std::unique_ptr<Instance> instance(process::make(runtime, options, result));
  if (instance != nullptr) instance->run();
  if (runtime->maimed) {
    instance.release();
    runtime->lost = true;
  }
  return 0;
}

// Runs what may lose the runtime. False: it is lost.
template <class Action>
bool guarded(Runtime* runtime, Action action) {
  return escape::guarded(runtime, [](void* context) { (*static_cast<Action*>(context))(); }, &action);
}

// Has the next environment be made in the host's isolate, if one is given.
int share(Runtime* runtime, const relink_bridge_shared* with) {
  if (with == nullptr) return 0;
  if (with->size != sizeof *with) return RELINK_BRIDGE_E_SIZE;
  if (with->isolate == nullptr || with->context == nullptr || with->name == nullptr) return RELINK_BRIDGE_E_ARGUMENT;
  if (with->isolate != v8::Isolate::TryGetCurrent()) return RELINK_BRIDGE_E_ISOLATE;
  if (shared::any()) return RELINK_BRIDGE_E_BUSY;
  shared::offer(static_cast<v8::Isolate*>(with->isolate), *static_cast<const v8::Local<v8::Context>*>(with->context));
  runtime->shared = true;
  return 0;
}

// Threads that Node makes now inherit the mask.
int begin_exclusively(Runtime* runtime, const relink_bridge_options& options) {
  if (int error = process::may_start()) return error;
  if (int error = share(runtime, options.shared)) return error;
  clear(&runtime->result);
  SignalMask mask(kept_from_the_guest(), SIGPIPE);
  guarded(runtime, [&] {
    runtime->ticked = process::make(runtime, options, &runtime->result);
    if (runtime->ticked != nullptr) runtime->ticked->start();
  });
  return 0;
}

// Keeps all others away from it. False: it is running.
bool take(Runtime* runtime) {
  bool idle = false;
  if (!runtime->busy.compare_exchange_strong(idle, true)) return false;
  runtime->tid.store(gettid());
  return true;
}

void over(Runtime* runtime) {
  runtime->stopper.forget();
  if (runtime->shared && runtime->left == nullptr) shared::forget();
  runtime->begun = false;
  runtime->ticking.store(nullptr);
  runtime->tid.store(0);
  runtime->busy.store(false);
}

// Frees what has ended in the host's isolate. Heaps refer to the guest's code: callbacks of functions, external strings, memory
// of array buffers.
int leave_shared(Runtime* runtime) {
  if (!runtime->may_enter()) return RELINK_BRIDGE_E_ISOLATE;
  delete runtime->left;
  runtime->left = nullptr;
  shared::forget();
  return RELINK_BRIDGE_E_SHARED;
}

// What a call for the wrong thread is answered.
int elsewhere(const Runtime* runtime) {
  return runtime->runs() ? RELINK_BRIDGE_E_THREAD : RELINK_BRIDGE_E_NOT_RUNNING;
}

}  // namespace

const char* here() { return &t_here; }

bool Stopper::ask() {
  // First: an environment that is published from here on is stopped by that.
  asked_.store(true);
  std::unique_lock<std::timed_mutex> guard(lock_, kStopLimit);
  if (!guard.owns_lock()) return false;
  if (env_ != nullptr) node::Stop(env_);
  return true;
}

void Stopper::publish(node::Environment* env) {
  std::lock_guard<std::timed_mutex> guard(lock_);
  env_ = env;
  if (env != nullptr && asked_.load()) node::Stop(env);
}

// Signals that a thread causes itself stay open, and SIGPROF, which V8's profiler sends to single threads. SIGPIPE is blocked with the
// rest: the write then fails with EPIPE, as Node expects, and the host's disposition is not touched. A write to a closed pipe leaves
// it pending: that one is dropped.
sigset_t kept_from_the_guest() {
  sigset_t blocked;
  sigfillset(&blocked);
  for (int open : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGPROF}) sigdelset(&blocked, open);
  return blocked;
}

void end_ticked(Runtime* runtime) {
  if (runtime->ticked == nullptr) return;
  SignalMask mask(kept_from_the_guest(), SIGPIPE);
  // What is lost stays as it is, for ever.
  guarded(runtime, [&] {
    runtime->ticked->finish();
    if (runtime->maimed) runtime->lost = true;
    else if (runtime->shared) runtime->left = runtime->ticked;
    else delete runtime->ticked;
  });
  runtime->ticked = nullptr;
}

}  // namespace relink

bool relink_bridge_runtime::runs_here() const { return tid.load() == gettid() && !relink::process::is_forked_child(); }

bool relink_bridge_runtime::may_enter() const { return !shared || !relink::shared::any() || relink::shared::is_entered(); }

extern "C" relink_bridge_runtime* relink_bridge_open(void) {
  using namespace relink;
  if (process::is_crippled()) return nullptr;
  auto* runtime = new (std::nothrow) Runtime;
  if (runtime != nullptr) process::add(runtime);
  return runtime;
}

extern "C" int relink_bridge_close(relink_bridge_runtime* runtime) {
  using namespace relink;
  if (runtime->runs()) return RELINK_BRIDGE_E_BUSY;
  if (runtime->lost) return RELINK_BRIDGE_E_GUEST_ALIVE;
  int outcome = runtime->left == nullptr ? 0 : leave_shared(runtime);
  if (outcome == RELINK_BRIDGE_E_ISOLATE) return outcome;
  process::remove(runtime);
  // Functions of Node's that the host's scripts may still hold refer to it.
  if (outcome == 0) delete runtime;
  return outcome;
}

extern "C" int relink_bridge_run(relink_bridge_runtime* runtime, const relink_bridge_options* options,
                                 relink_bridge_result* result) {
  using namespace relink;
  if (int error = check(options, result)) return error;
  if (!attached()) return RELINK_BRIDGE_E_NOT_ATTACHED;
  if (!take(runtime)) return RELINK_BRIDGE_E_BUSY;
  int outcome = run_exclusively(runtime, *options, result);
  over(runtime);
  return outcome;
}

extern "C" int relink_bridge_begin(relink_bridge_runtime* runtime, const relink_bridge_options* options) {
  using namespace relink;
  clear(&runtime->result);
  if (int error = check(options, &runtime->result)) return error;
  if (options->loop == nullptr || options->loop->size != sizeof *options->loop) return RELINK_BRIDGE_E_ARGUMENT;
  if (!attached()) return RELINK_BRIDGE_E_NOT_ATTACHED;
  if (options->shared == nullptr && !can_be_on_this_stack()) return RELINK_BRIDGE_E_STACK;
  if (!take(runtime)) return RELINK_BRIDGE_E_BUSY;
  runtime->begun = true;
  runtime->ticking.store(here());
  int outcome = begin_exclusively(runtime, *options);
  if (outcome != 0) over(runtime);
  return outcome;
}

extern "C" int relink_bridge_tick(relink_bridge_runtime* runtime, uint64_t budget_us) {
  using namespace relink;
  if (!runtime->ticks_here()) return elsewhere(runtime);
  if (runtime->ticked == nullptr) return RELINK_BRIDGE_E_NOT_RUNNING;
  if (!runtime->may_enter()) return RELINK_BRIDGE_E_ISOLATE;
  if (runtime->inside()) return RELINK_BRIDGE_E_BUSY;
  if (!runtime->lost && runtime->ticked->idle()) return 0;
  bool runs = false;
  bool whole = guarded(runtime, [&] { runs = runtime->ticked->tick(budget_us); });
  return whole && runs ? 0 : RELINK_BRIDGE_E_NOT_RUNNING;
}

extern "C" int relink_bridge_end(relink_bridge_runtime* runtime, relink_bridge_result* result) {
  using namespace relink;
  if (result == nullptr || result->size != sizeof *result) return RELINK_BRIDGE_E_ARGUMENT;
  if (!runtime->begun || !runtime->runs_here()) return elsewhere(runtime);
  if (runtime->shared && leaving()) {  // its isolate may be gone: it ends with the process
    clear(result);
    result->how = RELINK_HOW_STOPPED;
    result->exit_code = kExitCodeStopped;
    return 0;
  }
  if (!runtime->may_enter()) return RELINK_BRIDGE_E_ISOLATE;
  if (runtime->inside()) return RELINK_BRIDGE_E_BUSY;
  end_ticked(runtime);
  *result = runtime->result;
  over(runtime);
  return 0;
}

extern "C" int relink_bridge_call(relink_bridge_runtime* runtime, uint64_t id, const char* name, const char* text) {
  using namespace relink;
  if (!runtime->ticks_here() && !runtime->runs_here()) return elsewhere(runtime);
  if (!runtime->may_enter()) return RELINK_BRIDGE_E_ISOLATE;
  // On a thread of its own the guest is entered already: it is one of its scripts that led here.
  bool called = false;
  if (runtime->ticked == nullptr) called = runtime->channel.call(id, name, text);
  else called = guarded(runtime, [&] { called = runtime->ticked->call(id, name, text); }) && called;
  return called ? 0 : RELINK_BRIDGE_E_NOT_RUNNING;
}

extern "C" int relink_bridge_entered(relink_bridge_runtime* runtime) {
  if (!runtime->may_enter()) return RELINK_BRIDGE_E_ISOLATE;
  if (runtime->shared) return 0;
  if (!runtime->ticks_here() && !runtime->runs()) return 0;
  // On a thread of its own it has been entered already, with V8's limit for that thread's stack.
  bool can = runtime->ticks_here() ? relink::can_be_on_this_stack() : relink::on_own_stack();
  return can ? 0 : RELINK_BRIDGE_E_STACK;
}

extern "C" int relink_bridge_send(relink_bridge_runtime* runtime, uint64_t id, const char* name, const char* text) {
  return runtime->channel.send(id, name, text) ? 0 : RELINK_BRIDGE_E_NOT_RUNNING;
}

extern "C" int relink_bridge_post(relink_bridge_runtime* runtime, void (*callback)(void* context, int run),
                                  void* context) {
  return runtime->channel.post(callback, context) ? 0 : RELINK_BRIDGE_E_NOT_RUNNING;
}

extern "C" void relink_bridge_abandon(relink_bridge_runtime* runtime) {
  relink::process::cripple();
  if (runtime == nullptr) return;
  if (runtime->runs_here()) runtime->abandoned.store(true);
  else runtime->maimed.store(true);
}

extern "C" void relink_bridge_leave_behind(relink_bridge_runtime* runtime) {
  relink::process::cripple();
  runtime->abandoned.store(true);
}

extern "C" void relink_bridge_escape(void) { relink::escape::leave(); }

extern "C" int relink_bridge_stop(relink_bridge_runtime* runtime) {
  if (!runtime->runs()) return RELINK_BRIDGE_E_NOT_RUNNING;
  return runtime->stopper.ask() ? 0 : RELINK_BRIDGE_E_TIMEOUT;
}
