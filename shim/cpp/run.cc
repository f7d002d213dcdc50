// run.cc: Node's per-process part, one environment at a time, and its end on request.
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>

#include "channel.h"
#include "instance.h"
#include "shared.h"
#include "signal_mask.h"

namespace relink {
namespace {

constexpr uint32_t kLeavingTimeoutMs = 5000;
constexpr uint32_t kCrippledTimeoutMs = 500;
constexpr int kPoolThreads = 4;       // Node's own default

std::atomic<bool> g_busy{false};  // a thread is in relink_bridge_run, or one has begun and not ended
std::atomic<bool> g_leaving{false};
std::atomic<bool> g_abandoned{false};  // the running thread is parked for ever
std::atomic<bool> g_crippled{false};   // another thread of the guest is: it may be waited for in vain
std::atomic<uint64_t> g_leave_by{0};   // when the host goes on, whatever the guest does; 0: it does not leave yet
std::atomic<pid_t> g_running_pid{0};  // its process: a forked child has no guest
std::atomic<pid_t> g_running_tid{0};  // its thread; 0: none

bool g_begun = false;                     // from relink_bridge_begin to relink_bridge_end; used on their thread only
Instance* g_ticked = nullptr;             // what was begun, while it lives
Instance* g_left = nullptr;               // what has ended in an isolate of the host's, and is still referred to there
relink_bridge_result g_ticked_result;     // how it went

bool g_initialized = false;                         // InitializeOncePerProcess was called
node::InitializationPointer* g_once = nullptr;      // what it said, if it succeeded
node::MultiIsolatePlatform* g_platform = nullptr;   // lives until the release, with its idle threads

// What is kept from a thread of the guest's: signals that a thread causes itself stay open, and SIGPROF, which V8's
// profiler sends to single threads. SIGPIPE is blocked with the rest: the write then fails with EPIPE, as Node expects,
// and the host's disposition is not touched. A write to a closed pipe leaves it pending: that one is dropped.
sigset_t kept_from_the_guest() {
  sigset_t blocked;
  sigfillset(&blocked);
  for (int open : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGPROF}) sigdelset(&blocked, open);
  return blocked;
}

bool has_node_options(const Strings& args) { return args.size() > 1 && args[1].size() > 1 && args[1][0] == '-'; }

bool adapted() { return (host().flags & RELINK_HOST_GUEST_ADAPTED) != 0; }

node::ProcessFlags::Flags init_flags() {
  using namespace node::ProcessFlags;
  uint64_t flags = kNoStdioInitialization | kNoDefaultSignalHandling | kNoInitializeV8 | kNoAdjustResourceLimits;
#if RELINK_NODE >= 20
  flags |= kNoInitializeCppgc;  // its heap is V8's, and the host has set it up
#endif
  // With the adapters bound Node may make its platform and the tracing agent in it; V8 is not told of it.
  if (!adapted()) flags |= kNoInitializeNodeV8Platform;
  return static_cast<Flags>(flags);
}

void make_platform(const node::InitializationResult& once) {
  g_platform = once.platform();
  if (g_platform == nullptr) g_platform = node::MultiIsolatePlatform::Create(kPoolThreads, nullptr, nullptr).release();
  set_node_platform(g_platform);
}

// Node's per-process part. False: there is nothing to run, and the result says why.
bool initialize_once(const Strings& args, relink_bridge_result* result) {
  g_initialized = true;
  auto once = node::InitializeOncePerProcess(args, init_flags());
  for (const std::string& error : once->errors()) fprintf(stderr, "%s: %s\n", args[0].c_str(), error.c_str());
  if (once->early_return()) {
    bool fine = once->exit_code() == 0;
    if (!fine) fail(result, once->exit_code(), joined(once->errors()));
    if (fine) result->how = RELINK_HOW_EARLY;
    return false;
  }
  make_platform(*once);
  g_once = new node::InitializationPointer(std::move(once));
  return true;
}

int check(const relink_bridge_options* options, const relink_bridge_result* result) {
  if (options == nullptr || result == nullptr) return RELINK_BRIDGE_E_ARGUMENT;
  if (options->size != sizeof *options || result->size != sizeof *result) return RELINK_BRIDGE_E_SIZE;
  if (options->argc < 1 || options->argv == nullptr) return RELINK_BRIDGE_E_ARGUMENT;
  return 0;
}

// Node parses options and NODE_OPTIONS once per process; without any, an environment can be made again and again.
bool can_run(const Strings& args) {
  if (!g_initialized) return true;
  return g_once != nullptr && (*g_once)->exec_args().empty() && !has_node_options(args);
}

// Makes the environment. Null: there is nothing to run, and the result says why.
Instance* make(const Strings& args, const relink_bridge_options& options, relink_bridge_result* result) {
  bool first = !g_initialized;
  {
    Stopwatch time(&result->us_init);
    if (first && !initialize_once(args, result)) return nullptr;
  }
  if (stop_requested()) {
    result->how = RELINK_HOW_STOPPED;
    result->exit_code = kExitCodeStopped;
    return nullptr;
  }
  auto instance = std::make_unique<Instance>(options, result);
  bool made = instance->make(g_platform, first ? (*g_once)->args() : args, (*g_once)->exec_args());
  return made ? instance.release() : nullptr;
}

void clear(relink_bridge_result* result) {
  *result = relink_bridge_result{};
  result->size = sizeof *result;
}

int may_start(const Strings& args) {
  if (!can_run(args)) return RELINK_BRIDGE_E_ONCE;
  return leaving() ? RELINK_BRIDGE_E_LEAVING : 0;
}

int run_exclusively(const relink_bridge_options& options, relink_bridge_result* result) {
  Strings args(options.argv, options.argv + options.argc);
  if (int error = may_start(args)) return error;
  clear(result);
  SignalMask mask(kept_from_the_guest(), SIGPIPE);
  std::unique_ptr<Instance> instance(make(args, options, result));
  if (instance != nullptr) instance->run();
  return 0;
}

// Runs what may lose the guest. False: it is lost.
template <class Action>
bool guarded(Action action) {
  return escape::guarded([](void* context) { (*static_cast<Action*>(context))(); }, &action);
}

// Has the next environment be made in the host's isolate, if one is given.
int share(const relink_bridge_shared* with) {
  if (with == nullptr) return 0;
  if (with->size != sizeof *with) return RELINK_BRIDGE_E_SIZE;
  if (with->isolate == nullptr || with->context == nullptr || with->name == nullptr) return RELINK_BRIDGE_E_ARGUMENT;
  if (with->isolate != v8::Isolate::TryGetCurrent()) return RELINK_BRIDGE_E_ISOLATE;
  shared::offer(static_cast<v8::Isolate*>(with->isolate), *static_cast<const v8::Local<v8::Context>*>(with->context));
  return 0;
}

// Whether the host calls as it must where the guest is in its isolate.
bool may_enter() { return !shared::any() || shared::is_entered(); }

// Threads that Node makes now inherit the mask.
int begin_exclusively(const relink_bridge_options& options) {
  Strings args(options.argv, options.argv + options.argc);
  if (int error = may_start(args)) return error;
  if (int error = share(options.shared)) return error;
  clear(&g_ticked_result);
  SignalMask mask(kept_from_the_guest(), SIGPIPE);
  guarded([&] {
    g_ticked = make(args, options, &g_ticked_result);
    if (g_ticked != nullptr) g_ticked->start();
  });
  return 0;
}

bool is_running() { return g_running_tid.load() != 0 && g_running_pid.load() == getpid(); }

void set_running(bool running) {
  g_running_pid.store(getpid());
  g_running_tid.store(running ? gettid() : 0);
}

// The guest lives in the process that runs it; fork() copies the state but not the threads.
bool in_forked_child() {
  pid_t owner = g_running_pid.load();
  return owner != 0 && owner != getpid();
}

bool on_running_thread() { return is_running() && g_running_tid.load() == gettid(); }

// An address that no other living thread has: the thread that ticks is told without asking the system.
thread_local char t_here;
std::atomic<const char*> g_ticking{nullptr};

bool ticks_here() { return g_ticking.load(std::memory_order_relaxed) == &t_here; }

// Frees what was begun; its scripts must not be further out on the stack.
void end_ticked() {
  if (g_ticked == nullptr) return;
  SignalMask mask(kept_from_the_guest(), SIGPIPE);
  // What is lost stays as it is, for ever.
  guarded([] {
    g_ticked->finish();
    if (g_ticked->is_shared()) g_left = g_ticked;
    else delete g_ticked;
  });
  g_ticked = nullptr;
}

void over() {
  forget_stop();
  if (g_left == nullptr) shared::forget();
  g_begun = false;
  g_ticking.store(nullptr);
  set_running(false);
  g_busy.store(false);
}

// Frees what has ended in the host's isolate. Heaps refer to the guest's code: callbacks of functions, external strings, memory
// of array buffers.
int leave_shared() {
  if (!may_enter()) return RELINK_BRIDGE_E_ISOLATE;
  delete g_left;
  g_left = nullptr;
  shared::forget();
  return RELINK_BRIDGE_E_SHARED;
}

bool wait_until(uint64_t deadline) {
  while (is_running()) {
    if (g_abandoned.load() || now_us() >= deadline || g_running_tid.load() == gettid()) return false;
    usleep(1000);
  }
  return true;
}

}  // namespace

bool leaving() { return g_leaving.load(); }

void stop_at_exit() {
  atexit([] { stop_for_leaving_host(); });
}

// Called at several points of a host's end; all of them together wait no longer than once.
bool stop_for_leaving_host() {
  if (in_forked_child()) return true;  // there is no guest, and its locks may be held for ever
  bool first = !g_leaving.exchange(true);
  if (first) {
    report(RELINK_EVENT_HOST_LEAVING);
    g_leave_by.store(now_us() + uint64_t{g_crippled.load() ? kCrippledTimeoutMs : kLeavingTimeoutMs} * 1000);
  }
  if (is_running()) relink_bridge_stop();
  // The host's own thread ticks it: it ends here and now, unless this was called from one of its scripts.
  if (on_running_thread() && g_begun && (g_ticked == nullptr || !g_ticked->inside())) {
    // The host's isolate may be gone already.
    if (!shared::any()) end_ticked();
    return true;
  }
  return wait_until(g_leave_by.load());
}

}  // namespace relink

extern "C" int relink_bridge_run(const relink_bridge_options* options, relink_bridge_result* result) {
  using namespace relink;
  if (int error = check(options, result)) return error;
  if (!attached()) return RELINK_BRIDGE_E_NOT_ATTACHED;
  bool idle = false;
  if (!g_busy.compare_exchange_strong(idle, true)) return RELINK_BRIDGE_E_BUSY;
  set_running(true);
  int outcome = run_exclusively(*options, result);
  over();
  return outcome;
}

extern "C" int relink_bridge_begin(const relink_bridge_options* options) {
  using namespace relink;
  clear(&g_ticked_result);
  if (int error = check(options, &g_ticked_result)) return error;
  if (options->loop == nullptr || options->loop->size != sizeof *options->loop) return RELINK_BRIDGE_E_ARGUMENT;
  if (!attached()) return RELINK_BRIDGE_E_NOT_ATTACHED;
  bool idle = false;
  if (!g_busy.compare_exchange_strong(idle, true)) return RELINK_BRIDGE_E_BUSY;
  set_running(true);
  g_begun = true;
  g_ticking.store(&t_here);
  int outcome = begin_exclusively(*options);
  if (outcome != 0) over();
  return outcome;
}

extern "C" int relink_bridge_tick(uint64_t budget_us) {
  using namespace relink;
  if (!ticks_here()) return is_running() ? RELINK_BRIDGE_E_THREAD : RELINK_BRIDGE_E_NOT_RUNNING;
  if (g_ticked == nullptr) return RELINK_BRIDGE_E_NOT_RUNNING;
  if (!may_enter()) return RELINK_BRIDGE_E_ISOLATE;
  if (g_ticked->inside() && !escape::lost()) return RELINK_BRIDGE_E_BUSY;
  if (!escape::lost() && g_ticked->idle()) return 0;
  bool runs = false;
  bool whole = guarded([&] { runs = g_ticked->tick(budget_us); });
  return whole && runs ? 0 : RELINK_BRIDGE_E_NOT_RUNNING;
}

extern "C" int relink_bridge_end(relink_bridge_result* result) {
  using namespace relink;
  if (result == nullptr || result->size != sizeof *result) return RELINK_BRIDGE_E_ARGUMENT;
  if (!on_running_thread()) return is_running() ? RELINK_BRIDGE_E_THREAD : RELINK_BRIDGE_E_NOT_RUNNING;
  if (shared::any() && leaving()) {  // its isolate may be gone: it ends with the process
    clear(result);
    result->how = RELINK_HOW_STOPPED;
    result->exit_code = kExitCodeStopped;
    return 0;
  }
  if (!may_enter()) return RELINK_BRIDGE_E_ISOLATE;
  if (g_ticked != nullptr && g_ticked->inside() && !escape::lost()) return RELINK_BRIDGE_E_BUSY;
  end_ticked();
  *result = g_ticked_result;
  over();
  return 0;
}

extern "C" int relink_bridge_call(uint64_t id, const char* name, const char* text) {
  using namespace relink;
  if (!ticks_here() && !on_running_thread()) {
    return is_running() ? RELINK_BRIDGE_E_THREAD : RELINK_BRIDGE_E_NOT_RUNNING;
  }
  if (!may_enter()) return RELINK_BRIDGE_E_ISOLATE;
  // On a thread of its own the guest is entered already: it is one of its scripts that led here.
  bool called = false;
  if (g_ticked == nullptr) called = channel::call(id, name, text);
  else called = guarded([&] { called = g_ticked->call(id, name, text); }) && called;
  return called ? 0 : RELINK_BRIDGE_E_NOT_RUNNING;
}

extern "C" int relink_bridge_entered(void) { return relink::may_enter() ? 0 : RELINK_BRIDGE_E_ISOLATE; }

extern "C" int relink_bridge_send(uint64_t id, const char* name, const char* text) {
  return relink::channel::send(id, name, text) ? 0 : RELINK_BRIDGE_E_NOT_RUNNING;
}

extern "C" int relink_bridge_post(void (*callback)(void* context, int run), void* context) {
  return relink::channel::post(callback, context) ? 0 : RELINK_BRIDGE_E_NOT_RUNNING;
}

extern "C" void relink_bridge_abandon(void) {
  using namespace relink;
  g_crippled.store(true);
  if (on_running_thread()) g_abandoned.store(true);
}

extern "C" void relink_bridge_escape(void) { relink::escape::leave(); }

extern "C" int relink_bridge_stop(void) {
  using namespace relink;
  if (!is_running()) return RELINK_BRIDGE_E_NOT_RUNNING;
  return stop_environment() ? 0 : RELINK_BRIDGE_E_TIMEOUT;
}

extern "C" int relink_bridge_release(void) {
  using namespace relink;
  if (attached()) return RELINK_BRIDGE_E_ATTACHED;
  if (is_running()) return RELINK_BRIDGE_E_BUSY;
  if (g_left != nullptr) return leave_shared();
  if (g_crippled.load() || !registry::empty()) return RELINK_BRIDGE_E_GUEST_ALIVE;
  if (g_once != nullptr) {
    node::TearDownOncePerProcess();
    delete g_once;
    g_once = nullptr;
  }
  g_platform = nullptr;
  set_node_platform(nullptr);
  escape::forget();
  g_initialized = false;
  return 0;
}

extern "C" int relink_bridge_wait(uint32_t timeout_ms) {
  return relink::wait_until(relink::now_us() + uint64_t{timeout_ms} * 1000) ? 0 : RELINK_BRIDGE_E_TIMEOUT;
}

extern "C" int relink_bridge_host_leaving(void) {
  return relink::stop_for_leaving_host() ? 0 : RELINK_BRIDGE_E_TIMEOUT;
}
