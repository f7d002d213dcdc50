// process.cc: what all runtimes share: Node's per-process part, and the end of all of them when the host leaves.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime.h"
#include "shared.h"

extern "C" void relink_adapter_SetFlagsFromString(const char* flags);

namespace relink {
namespace {

constexpr uint32_t kLeavingTimeoutMs = 5000;
constexpr uint32_t kCrippledTimeoutMs = 500;
constexpr int kPoolThreads = 4;       // Node's own default
constexpr std::chrono::milliseconds kLook(1);

std::atomic<bool> g_leaving{false};
std::atomic<bool> g_crippled{false};   // a thread of the guest's is parked: it may be waited for in vain
std::atomic<uint64_t> g_leave_by{0};   // when the host goes on, whatever the guest does; 0: it does not leave yet
std::atomic<pid_t> g_pid{0};           // of the process that runs the guest; 0: none did yet

// Held while a runtime is opened or closed, and while others look at those that are open. Never while scripts run, and a forked
// child does not take it.
std::mutex g_open_lock;
// Lives for ever: one that was given up stays in it, and the host's platform may be asked until the process is gone.
std::vector<Runtime*>& g_open = *new std::vector<Runtime*>;

// Held while an environment is made.
std::mutex g_making;
std::atomic<bool> g_failed{false};                  // that came to nothing
bool g_initialized = false;                         // InitializeOncePerProcess was called
node::InitializationPointer* g_once = nullptr;      // what it said, if it succeeded
node::MultiIsolatePlatform* g_platform = nullptr;   // lives until the release, with its idle threads
uint32_t g_heap_limit = 0;                          // MiB; what --max-old-space-size is, if it was set here

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
  Strings errors = once->errors();
  for (std::string& error : errors) {
    if (error.find("NODE_OPTIONS") == std::string::npos) continue;
    error += "; RELINK_NODE_OPTIONS (--node-options) gives the guest others than the host's";
  }
  for (const std::string& error : errors) fprintf(stderr, "%s: %s\n", args[0].c_str(), error.c_str());
  if (once->early_return()) {
    g_failed.store(true);
    bool fine = once->exit_code() == 0;
    if (!fine) fail(result, once->exit_code(), joined(errors));
    if (fine) result->how = RELINK_HOW_EARLY;
    return false;
  }
  make_platform(*once);
  g_once = new node::InitializationPointer(std::move(once));
  return true;
}

// V8 reads it when an isolate's heap is set up. What was made before keeps what it has.
void limit_heap(uint32_t mib) {
  if (mib == g_heap_limit) return;
  relink_adapter_SetFlagsFromString(("--max-old-space-size=" + std::to_string(mib)).c_str());
  g_heap_limit = mib;
}

// The command line. Node takes its own options out of it, once.
Strings arguments(const relink_bridge_options& options) {
  Strings all(options.argv, options.argv + options.argc);
  if (g_initialized) all.erase(all.begin() + 1, all.begin() + 1 + options.node_argc);
  return all;
}

template <class Action>
void for_each_open(Action action) {
  std::lock_guard<std::mutex> guard(g_open_lock);
  for (Runtime* runtime : g_open) action(runtime);
}

// Those that threads run which are not parked.
bool any_runs_elsewhere() {
  bool any = false;
  for_each_open([&](Runtime* runtime) { any = any || (runtime->runs() && !runtime->abandoned && !runtime->runs_here()); });
  return any;
}

// Ends those that the calling thread ticks, unless this was called from one of their scripts. In an isolate of the host's it is left
// as it is: that may be gone already. False: there is one that never ends, or not before this returns.
bool end_those_here() {
  std::vector<Runtime*> here;
  bool all = true;
  for_each_open([&](Runtime* runtime) {
    bool ends = !runtime->abandoned;
    if (runtime->runs_here()) {
      ends = runtime->begun && !runtime->inside();
      if (ends && !runtime->shared) here.push_back(runtime);
    }
    all = all && ends;
  });
  for (Runtime* runtime : here) end_ticked(runtime);
  return all;
}

bool wait_for_others(uint64_t deadline) {
  while (any_runs_elsewhere()) {
    if (now_us() >= deadline) return false;
    usleep(1000);
  }
  return true;
}

bool stop_all() {
  bool first = !g_leaving.exchange(true);
  if (first) {
    g_leave_by.store(now_us() + uint64_t{g_crippled.load() ? kCrippledTimeoutMs : kLeavingTimeoutMs} * 1000);
    report(RELINK_EVENT_HOST_LEAVING);
  }
  for_each_open([](Runtime* runtime) {
    if (runtime->runs()) runtime->stopper.ask();
  });
  bool all_here = end_those_here();
  return wait_for_others(g_leave_by.load()) && all_here;
}

}  // namespace

namespace process {

Instance* make(Runtime* runtime, const relink_bridge_options& options, relink_bridge_result* result) {
  // Who holds it may be parked.
  // Not by a timed lock: ThreadSanitizer of GCC 12 does not see pthread_mutex_clocklock(3).
  std::unique_lock<std::mutex> guard(g_making, std::defer_lock);
  while (!guard.try_lock()) {
    if (g_crippled.load()) {
      fail(result, 1, "another runtime was lost while it was made");
      return nullptr;
    }
    std::this_thread::sleep_for(kLook);
  }
  Strings args = arguments(options);
  bool first = !g_initialized;
  {
    Stopwatch time(&result->us_init);
    if (first && !initialize_once(args, result)) return nullptr;
  }
  if (g_once == nullptr) {  // the first was made meanwhile, and failed
    fail(result, 1, "Node's per-process part could not be set up");
    return nullptr;
  }
  if (runtime->stopper.asked()) {
    result->how = RELINK_HOW_STOPPED;
    result->exit_code = kExitCodeStopped;
    return nullptr;
  }
  limit_heap(options.max_heap_mib);
  auto instance = std::make_unique<Instance>(runtime, options, result);
  bool made = instance->make(g_platform, first ? (*g_once)->args() : args, (*g_once)->exec_args());
  return made ? instance.release() : nullptr;
}

int may_start() {
  if (g_leaving.load()) return RELINK_BRIDGE_E_LEAVING;
  g_pid.store(getpid());
  return g_failed.load() ? RELINK_BRIDGE_E_ONCE : 0;
}

void add(Runtime* runtime) {
  std::lock_guard<std::mutex> guard(g_open_lock);
  g_open.push_back(runtime);
}

void remove(Runtime* runtime) {
  std::lock_guard<std::mutex> guard(g_open_lock);
  g_open.erase(std::remove(g_open.begin(), g_open.end(), runtime), g_open.end());
}

bool is_crippled() { return g_crippled.load(); }

void cripple() { g_crippled.store(true); }

bool is_forked_child() {
  pid_t owner = g_pid.load();
  return owner != 0 && owner != getpid();
}

}  // namespace process

bool leaving() { return g_leaving.load(); }

bool any_runs() {
  bool any = false;
  for_each_open([&](Runtime* runtime) { any = any || runtime->runs(); });
  return any;
}

void stop_at_exit() {
  atexit([] { stop_for_leaving_host(); });
}

// Called at several points of a host's end; all of them together wait no longer than once.
bool stop_for_leaving_host() {
  if (process::is_forked_child()) return true;  // there is no guest, and its locks may be held for ever
  if (host().calculating == nullptr) return true;  // there was none yet
  bool all = false;
  // Scripts that this thread ticks are told of the end.
  host().calculating([](void* stopped) { *static_cast<bool*>(stopped) = stop_all(); }, &all);
  return all;
}

}  // namespace relink

extern "C" int relink_bridge_release(void) {
  using namespace relink;
  if (attached()) return RELINK_BRIDGE_E_ATTACHED;
  if (any_runs()) return RELINK_BRIDGE_E_BUSY;
  if (g_crippled.load() || !registry::empty()) return RELINK_BRIDGE_E_GUEST_ALIVE;
  std::lock_guard<std::mutex> guard(g_making);
  if (g_once != nullptr) {
    node::TearDownOncePerProcess();
    delete g_once;
    g_once = nullptr;
  }
  g_platform = nullptr;
  set_node_platform(nullptr);
  g_initialized = false;
  g_failed.store(false);
  return 0;
}

extern "C" int relink_bridge_host_leaving(void) {
  return relink::stop_for_leaving_host() ? 0 : RELINK_BRIDGE_E_TIMEOUT;
}
