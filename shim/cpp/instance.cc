// instance.cc: makes an environment of Node's in its own isolate and runs it, to its end or tick by tick.
#include "instance.h"

#include <poll.h>
#include <signal.h>
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "about.h"
#include "runtime.h"
#include "shared.h"
#include "signal_mask.h"

// v8::V8::GetVersion (v8-initialization.h).
extern "C" const char* relink_v8_version() __asm__("_ZN2v82V810GetVersionEv");

namespace relink {
namespace {

constexpr int kNoWait = 2;                         // uv.h: UV_RUN_NOWAIT
constexpr int kExitCodeHeap = 134;                 // as of a process that V8 ended
constexpr int kHeapExtensions = 16;
constexpr long kChecked = 1205;                    // the first V8 of which it is not known that it can be on any stack; 13.6 cannot
constexpr uintptr_t kStackForNative = 128 * 1024;      // what V8's checks do not see

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

uint64_t time_us(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000 + static_cast<uint64_t>(now.tv_nsec) / 1000;
}

// The clock that libuv takes for a loop's time (uv__hrtime): another would call timers due that are not.
clockid_t loop_clock() {
  static const clockid_t clock = [] {
    timespec step;
    bool fine = clock_getres(CLOCK_MONOTONIC_COARSE, &step) == 0 && step.tv_sec == 0 && step.tv_nsec <= 1000000;
    return fine ? CLOCK_MONOTONIC_COARSE : CLOCK_MONOTONIC;
  }();
  return clock;
}

// 1204 for "12.4.254.21-node.33".
long v8_version() {
  char* rest = nullptr;
  long major = strtol(relink_v8_version(), &rest, 10);
  return major * 100 + (*rest == '.' ? strtol(rest + 1, nullptr, 10) : 0);
}

sigset_t only_sigpipe() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGPIPE);
  return set;
}

}  // namespace

bool on_own_stack() {
  int own = 0;
  host().stack(reinterpret_cast<uintptr_t>(__builtin_frame_address(0)), &own);
  return own != 0;
}

// From Node 20 on an isolate has a C++ heap (cppgc). A collection that begins while C++ runs reads every word from the stack pointer up to where
// pthread says that the thread's stack began: on another stack what lies between two mappings, and the host would die. Later V8s check that
// they are on the thread's own stack, and end the process where they are not.
bool can_be_on_this_stack() {
  static const bool any = RELINK_NODE < 20 && v8_version() < kChecked;
  return any || on_own_stack();
}

uint64_t now_us() { return time_us(CLOCK_MONOTONIC); }

std::string joined(const Strings& lines) {
  std::string text;
  for (const std::string& line : lines) text += (text.empty() ? "" : "; ") + line;
  return text;
}

void fail(relink_bridge_result* result, int exit_code, const std::string& why) {
  result->how = RELINK_HOW_INIT_FAILED;
  result->exit_code = exit_code;
  snprintf(result->message, sizeof result->message, "%s", why.c_str());
}

// The environment entered, as embedders do, with V8's limit for the stack that this is called on, and SIGPIPE kept away: a write to a closed
// connection is EPIPE then, as Node expects. Can be nested.
class Instance::Scope {
 public:
  explicit Scope(Instance* instance)
      : instance_(instance),
        mask_(only_sigpipe(), SIGPIPE),
        outer_(instance->depth_ == 0),
        stack_(instance->stack_),
        locker_(instance->setup_->isolate()),
        isolate_(instance->setup_->isolate()),
        handles_(instance->setup_->isolate()),
        context_(instance->setup_->context()) {
    escape::entered(instance->setup_->isolate(), mask_.before());
    instance->depth_++;
    limits_ = !instance->is_shared() && instance->limit_stack(outermost());
    if (outermost() && instance->is_shared()) shared::set_inside(true);
  }
  ~Scope() {
    if (outermost() && instance_->is_shared()) shared::set_inside(false);
    if (limits_) instance_->put_back_limit(stack_);
    instance_->depth_--;
  }

 private:
  bool outermost() const { return instance_->depth_ == 1; }

  Instance* instance_;
  SignalMask mask_;
  OuterIsolate outer_;
  Stack stack_;  // further out
  bool limits_ = false;
  GuestLocker locker_;
  IsolateScope isolate_;
  v8::HandleScope handles_;
  ContextScope context_;
};

Instance::Instance(Runtime* runtime, const relink_bridge_options& options, relink_bridge_result* result)
    : runtime_(runtime), options_(options), result_(result) {}

// The host calls from wherever it is on its stack, which may be another than the last time, and smaller than V8 takes for granted; a thread
// of Node's own may be smaller than the host's flags say. Called again from within, it changes only where the host has changed the stack
// meanwhile. False: it is as it was.
bool Instance::limit_stack(bool outermost) {
  uintptr_t here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  if (!outermost && stack_.limit <= here && here <= stack_.entry) return false;
  uintptr_t given = uintptr_t{options_.stack_kib} * 1024;
  int own = 0;
  uintptr_t lowest = (given != 0 ? here - given : host().stack(here, &own)) + kStackForNative;
  uintptr_t wanted = here - stack_for_scripts();
  stack_ = {here, wanted < here && wanted > lowest ? wanted : lowest};
  setup_->isolate()->SetStackLimit(stack_.limit);
  return true;
}

void Instance::put_back_limit(const Stack& further_out) {
  stack_ = further_out;
  if (stack_.limit != 0) setup_->isolate()->SetStackLimit(stack_.limit);
}

Instance::~Instance() {
  OuterIsolate outer(true);
  if (setup_ != nullptr && !is_shared()) limit_stack(true);
  Stopwatch time(&result_->us_teardown);
  setup_.reset();
}

bool Instance::make(node::MultiIsolatePlatform* platform, const Strings& args, const Strings& exec_args) {
  Stopwatch time(&result_->us_environment);
  platform_ = platform;
  Strings errors;
  auto make_environment = [&](const node::CommonEnvironmentSetup* setup) {
    measure_idle_time(setup->event_loop());
    // Node's own callback, if it was asked for one, is added later and so called first. The heap of the host's isolate is its own.
    if (!is_shared()) setup->isolate()->AddNearHeapLimitCallback(near_heap_limit, this);
    else shared::made(setup->context());
    return node::CreateEnvironment(setup->isolate_data(), setup->context(), args, exec_args, environment_flags(),
                                   node::ThreadId{}, nullptr);
  };
  if (is_shared()) shared::set_inside(true);
  setup_.reset(new node::CommonEnvironmentSetup(platform, &errors, make_environment));
  if (is_shared()) shared::set_inside(false);
  if (errors.empty() && setup_->env() != nullptr) return true;
  fail(result_, 1, errors.empty() ? "Node could not make its environment" : joined(errors));
  return false;
}

// Not kDefaultFlags: kOwnsInspector would take the process's SIGUSR1 handler. An isolate has one inspector and one loader of
// modules.
node::EnvironmentFlags::Flags Instance::environment_flags() const {
  using namespace node::EnvironmentFlags;
  uint64_t flags = kOwnsProcessState;
  if (is_shared()) flags |= kNoCreateInspector | kNoRegisterESMLoader;
  return static_cast<Flags>(flags);
}

void Instance::run() {
  Scope scope(this);
  load();
  loop();
  settle();
}

void Instance::start() {
  Scope scope(this);
  load();
}

bool Instance::tick(uint64_t budget_us) {
  if (over()) return false;
  uint64_t until = now_us() + budget_us, worked = time_us(CLOCK_THREAD_CPUTIME_ID);
  Scope scope(this);
  if (is_shared()) runtime_->channel.settle();  // what the host's scripts have left for the next tick
  do {
    options_.loop->run(setup_->event_loop(), kNoWait);
    // The thread's own time: what other programs took meanwhile says nothing of the next round.
    uint64_t now = time_us(CLOCK_THREAD_CPUTIME_ID);
    longest_round_us_ -= longest_round_us_ / 8;
    if (now - worked > longest_round_us_) longest_round_us_ = now - worked;
    worked = now;
  } while (!over() && loop_alive() && due() && now_us() + longest_round_us_ < until);
  if (!over() && !loop_alive()) wind_down();
  return !over();
}

bool Instance::call(uint64_t id, const char* name, const char* text) {
  if (over()) return false;
  Scope scope(this);
  return runtime_->channel.call(id, name, text);
}

void Instance::finish() {
  Scope scope(this);
  settle();
}

void Instance::load() {
  Stopwatch time(&result_->us_load);
  node::Environment* env = setup_->env();
  runtime_->stopper.publish(env);
  node::SetProcessExitHandler(env, [this](node::Environment* ended, int code) { exiting(ended, code); });
  tell_restrictions(setup_->isolate(), setup_->context());
  if (options_.about != nullptr) tell_scripts(setup_->isolate(), setup_->context(), options_.about);
  // As in Node's own main, what it returns does not matter: an error has been dealt with by then.
  if (options_.channel == nullptr) {
    node::LoadEnvironment(env, node::StartExecutionCallback{});
  } else {
    runtime_->channel.offer(env, &runtime_->lost, *options_.channel, options_.shared);
    node::LoadEnvironment(env, options_.channel->bootstrap);
  }
  if (!ending_.known && options_.ready != nullptr) options_.ready(options_.ctx);
}

void Instance::loop() {
  Stopwatch time(&result_->us_loop);
  v8::Maybe<int> code = node::SpinEventLoop(setup_->env());
  if (!code.IsNothing()) ending_.set(RELINK_HOW_FINISHED, code.FromMaybe(1));
}

// As node::SpinEventLoop does when nothing is left to wait for.
void Instance::wind_down() {
  platform_->DrainTasks(setup_->isolate());
  if (over() || loop_alive()) return;
  if (node::EmitProcessBeforeExit(setup_->env()).IsNothing() || over() || loop_alive()) return;
  v8::Maybe<int> code = node::EmitProcessExit(setup_->env());
  if (!code.IsNothing()) ending_.set(RELINK_HOW_FINISHED, code.FromMaybe(1));
}

void Instance::settle() {
  runtime_->channel.close();
  runtime_->stopper.publish(nullptr);
  if (runtime_->stopper.asked()) ending_.set(RELINK_HOW_STOPPED, kExitCodeStopped);
  result_->how = ending_.how;
  result_->exit_code = ending_.exit_code;
  node::Stop(setup_->env());
}

bool Instance::over() const { return ending_.known || runtime_->stopper.asked(); }

bool Instance::loop_alive() const { return options_.loop->alive(setup_->event_loop()) != 0; }

bool Instance::idle() const { return !over() && !is_shared() && !due(); }

// Whether a run of the loop would do anything. Does not enter V8.
bool Instance::due() const {
  uv_loop_s* loop = setup_->event_loop();
  int timeout = options_.loop->backend_timeout(loop);  // since the loop's own time
  if (timeout == 0) return true;
  uint64_t now = time_us(loop_clock()) / 1000;
  if (timeout > 0 && now >= options_.loop->now(loop) + static_cast<uint64_t>(timeout)) return true;
  pollfd ready = {options_.loop->backend_fd(loop), POLLIN, 0};
  return poll(&ready, 1, 0) > 0;
}

// process.exit() and fatal errors: ends the environment where Node would end the process.
void Instance::exiting(node::Environment* env, int code) {
  ending_.set(ended_by_error(setup_->isolate()) ? RELINK_HOW_UNCAUGHT : RELINK_HOW_EXIT, code);
  node::Stop(env);
}

// V8 would end the process next. Scripts are stopped instead, and get some room until they notice.
size_t Instance::near_heap_limit(void* data, size_t current, size_t initial) {
  constexpr size_t kLeast = 32 * 1024 * 1024;
  auto* instance = static_cast<Instance*>(data);
  if (instance->setup_ == nullptr || instance->extensions_++ == kHeapExtensions) return current;
  instance->ending_.set(RELINK_HOW_HEAP_LIMIT, kExitCodeHeap);
  if (instance->extensions_ == 1) {
    fprintf(stderr, "relink: the guest's heap has reached its limit of %zu MiB: it is stopped\n", current >> 20);
    node::Stop(instance->setup_->env());
  }
  return current + (initial / 4 > kLeast ? initial / 4 : kLeast);
}

}  // namespace relink
