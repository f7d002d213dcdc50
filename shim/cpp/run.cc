// run.cc: brings Node up in its own isolate, runs it to its end and ends it on request.
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "internal.h"
#include "signal_mask.h"

namespace relink {
namespace {

constexpr uint32_t kLeavingTimeoutMs = 5000;
constexpr uint32_t kCrippledTimeoutMs = 500;
constexpr int kPoolThreads = 4;       // Node's own default
constexpr int kExitCodeStopped = 1;   // what Node's main() makes of an environment that was stopped

using Strings = std::vector<std::string>;

std::atomic<bool> g_busy{false};  // a thread is in relink_bridge_run
std::atomic<bool> g_leaving{false};
std::atomic<bool> g_abandoned{false};  // the running thread is parked for ever
std::atomic<bool> g_crippled{false};   // another thread of the guest is: it may be waited for in vain
std::atomic<uint64_t> g_leave_by{0};   // when the host goes on, whatever the guest does; 0: it does not leave yet
std::atomic<bool> g_stop_requested{false};
std::atomic<pid_t> g_running_pid{0};  // its process: a forked child has no guest
std::atomic<pid_t> g_running_tid{0};  // its thread; 0: none

std::mutex g_environment_lock;  // held while g_environment is used by another thread
node::Environment* g_environment = nullptr;

bool g_initialized = false;                         // InitializeOncePerProcess was called
node::InitializationPointer* g_once = nullptr;      // what it said, if it succeeded
node::MultiIsolatePlatform* g_platform = nullptr;   // lives until the release, with its idle threads

// How the environment ended: the first reason counts.
struct Ending {
  bool known = false;
  uint32_t how = RELINK_HOW_FINISHED;
  int exit_code = 0;
  void set(uint32_t why, int code) {
    if (!known) *this = Ending{true, why, code};
  }
};

uint64_t now_us() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000 + static_cast<uint64_t>(now.tv_nsec) / 1000;
}

// Adds the time until its end to a field of the result.
class Stopwatch {
 public:
  explicit Stopwatch(uint64_t* field) : field_(field), start_(now_us()) {}
  ~Stopwatch() { *field_ = now_us() - start_; }
  Stopwatch(const Stopwatch&) = delete;
  void operator=(const Stopwatch&) = delete;

 private:
  uint64_t* field_;
  uint64_t start_;
};

// What is kept from a thread of the guest's: signals that a thread causes itself stay open, and SIGPROF, which V8's
// profiler sends to single threads. SIGPIPE is blocked with the rest: the write then fails with EPIPE, as Node expects,
// and the host's disposition is not touched. A write to a closed pipe leaves it pending: that one is dropped.
sigset_t kept_from_the_guest() {
  sigset_t blocked;
  sigfillset(&blocked);
  for (int open : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGPROF}) sigdelset(&blocked, open);
  return blocked;
}

void set_message(relink_bridge_result* result, const std::string& text) {
  snprintf(result->message, sizeof result->message, "%s", text.c_str());
}

std::string joined(const Strings& lines) {
  std::string text;
  for (const std::string& line : lines) text += (text.empty() ? "" : "; ") + line;
  return text;
}

void fail(relink_bridge_result* result, int exit_code, const std::string& why) {
  result->how = RELINK_HOW_INIT_FAILED;
  result->exit_code = exit_code;
  set_message(result, why);
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

// uv_loop_configure(loop, UV_METRICS_IDLE_TIME), as Node's own main calls it: performance.eventLoopUtilization() needs it.
// A guest may keep libuv to itself, so the bridge does what that function does.
void measure_idle_time(uv_loop_s* loop) {
  auto* flags = static_cast<unsigned int*>(loop->internal_fields);
  if (flags != nullptr) *flags |= UV_METRICS_IDLE_TIME;
}

// Scripts whose functions end the environment because of an error nobody handled: everything of Node's own but the
// file of process.exit() itself. Without a script on the stack V8 reports an uncaught exception.
bool ended_by_error(v8::Isolate* isolate) {
  v8::HandleScope scope(isolate);
  v8::Local<v8::String> script = v8::StackTrace::CurrentScriptNameOrSourceURL(isolate);
  if (script.IsEmpty()) return true;
  char name[64] = "";
  script->WriteUtf8(isolate, name, sizeof name - 1, nullptr, 0);
  return strncmp(name, "node:", 5) == 0 && strcmp(name, "node:internal/process/per_thread") != 0;
}

// One environment from its making to its end, on the calling thread.
class Run {
 public:
  Run(const relink_bridge_options& options, relink_bridge_result* result) : options_(options), result_(result) {}

  void operator()(const Strings& args, const Strings& exec_args) {
    if (make(args, exec_args)) {
      execute();
      result_->how = ending_.how;
      result_->exit_code = ending_.exit_code;
    }
    Stopwatch time(&result_->us_teardown);
    setup_.reset();
  }

 private:
  bool make(const Strings& args, const Strings& exec_args) {
    Stopwatch time(&result_->us_environment);
    Strings errors;
    auto make_environment = [&](const node::CommonEnvironmentSetup* setup) {
      measure_idle_time(setup->event_loop());
      // Not kDefaultFlags: kOwnsInspector would take the process's SIGUSR1 handler.
      return node::CreateEnvironment(setup->isolate_data(), setup->context(), args, exec_args,
                                     node::EnvironmentFlags::kOwnsProcessState, node::ThreadId{}, nullptr);
    };
    setup_.reset(new node::CommonEnvironmentSetup(g_platform, &errors, make_environment));
    if (errors.empty() && setup_->env() != nullptr) return true;
    fail(result_, 1, errors.empty() ? "Node could not make its environment" : joined(errors));
    return false;
  }

  void execute() {
    v8::Isolate* isolate = setup_->isolate();
    v8::Locker locker(isolate);
    IsolateScope isolate_scope(isolate);
    v8::HandleScope handle_scope(isolate);
    ContextScope context_scope(setup_->context());
    publish(setup_->env());
    load();
    loop();
    publish(nullptr);
    if (g_stop_requested.load()) ending_.set(RELINK_HOW_STOPPED, kExitCodeStopped);
    node::Stop(setup_->env());
  }

  // From here on other threads may stop the environment; with null no more.
  void publish(node::Environment* env) {
    std::lock_guard<std::mutex> guard(g_environment_lock);
    g_environment = env;
    if (env != nullptr && g_stop_requested.load()) node::Stop(env);
  }

  void load() {
    Stopwatch time(&result_->us_load);
    node::Environment* env = setup_->env();
    node::SetProcessExitHandler(env, [this](node::Environment* ended, int code) { exiting(ended, code); });
    // As in Node's own main, what it returns does not matter: an error has been dealt with by then.
    node::LoadEnvironment(env, node::StartExecutionCallback{});
    if (!ending_.known && options_.ready != nullptr) options_.ready(options_.ctx);
  }

  void loop() {
    Stopwatch time(&result_->us_loop);
    v8::Maybe<int> code = node::SpinEventLoop(setup_->env());
    if (!code.IsNothing()) ending_.set(RELINK_HOW_FINISHED, code.FromMaybe(1));
  }

  // process.exit() and fatal errors: ends the environment where Node would end the process.
  void exiting(node::Environment* env, int code) {
    ending_.set(ended_by_error(setup_->isolate()) ? RELINK_HOW_UNCAUGHT : RELINK_HOW_EXIT, code);
    node::Stop(env);
  }

  const relink_bridge_options& options_;
  relink_bridge_result* result_;
  std::unique_ptr<node::CommonEnvironmentSetup> setup_;
  Ending ending_;
};

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

void run(const Strings& args, const relink_bridge_options& options, relink_bridge_result* result) {
  SignalMask mask(kept_from_the_guest(), SIGPIPE);
  bool first = !g_initialized;
  {
    Stopwatch time(&result->us_init);
    if (first && !initialize_once(args, result)) return;
  }
  if (g_stop_requested.load()) {
    result->how = RELINK_HOW_STOPPED;
    result->exit_code = kExitCodeStopped;
    return;
  }
  Run{options, result}(first ? (*g_once)->args() : args, (*g_once)->exec_args());
}

int run_exclusively(const relink_bridge_options& options, relink_bridge_result* result) {
  Strings args(options.argv, options.argv + options.argc);
  if (!can_run(args)) return RELINK_BRIDGE_E_ONCE;
  if (leaving()) return RELINK_BRIDGE_E_LEAVING;
  uint32_t size = result->size;
  *result = relink_bridge_result{};
  result->size = size;
  run(args, options, result);
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
  g_stop_requested.store(false);
  set_running(false);
  g_busy.store(false);
  return outcome;
}

extern "C" void relink_bridge_abandon(void) {
  using namespace relink;
  g_crippled.store(true);
  if (is_running() && g_running_tid.load() == gettid()) g_abandoned.store(true);
}

extern "C" int relink_bridge_stop(void) {
  using namespace relink;
  if (!is_running()) return RELINK_BRIDGE_E_NOT_RUNNING;
  std::lock_guard<std::mutex> guard(g_environment_lock);
  g_stop_requested.store(true);
  if (g_environment != nullptr) node::Stop(g_environment);
  return 0;
}

extern "C" int relink_bridge_release(void) {
  using namespace relink;
  if (attached()) return RELINK_BRIDGE_E_ATTACHED;
  if (is_running()) return RELINK_BRIDGE_E_BUSY;
  if (g_crippled.load() || !registry::empty()) return RELINK_BRIDGE_E_GUEST_ALIVE;
  if (g_once != nullptr) {
    node::TearDownOncePerProcess();
    delete g_once;
    g_once = nullptr;
  }
  g_platform = nullptr;
  set_node_platform(nullptr);
  g_initialized = false;
  return 0;
}

extern "C" int relink_bridge_wait(uint32_t timeout_ms) {
  return relink::wait_until(relink::now_us() + uint64_t{timeout_ms} * 1000) ? 0 : RELINK_BRIDGE_E_TIMEOUT;
}

extern "C" int relink_bridge_host_leaving(void) {
  return relink::stop_for_leaving_host() ? 0 : RELINK_BRIDGE_E_TIMEOUT;
}
