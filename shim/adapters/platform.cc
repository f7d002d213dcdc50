// platform.cc: v8::Platform of the host's V8 in front of Node's, which has the virtual functions of the guest's, and the hooks by which
// the host's platform shares its work with it.
#include "platform.h"

#include <libplatform/libplatform.h>

#include <atomic>
#include <utility>

#include "slot_of.h"
#include "unit.h"

namespace relink {
namespace {

using v8::Platform;
using Runner = std::shared_ptr<v8::TaskRunner>;

const relink_unit_services* g_services = nullptr;

#if RELINK_HOST < 1204 && !RELINK_LIBCXX

// Until V8 12.4 the task runner is that of 10.2. The object stays the guest's; only its type is another.
Runner hosts_runner(guest::shared_ptr<guest::TaskRunner> runner) {
  auto* object = reinterpret_cast<v8::TaskRunner*>(runner.get());
  return Runner(std::move(runner), object);
}

#elif RELINK_HOST < 1204

class NodeRunner final : public v8::TaskRunner {
 public:
  explicit NodeRunner(guest::shared_ptr<guest::TaskRunner> guest) : guest_(std::move(guest)) {}
  void PostTask(std::unique_ptr<v8::Task> task) override { guest_->PostTask(std::move(task)); }
  void PostNonNestableTask(std::unique_ptr<v8::Task> task) override { guest_->PostNonNestableTask(std::move(task)); }
  void PostDelayedTask(std::unique_ptr<v8::Task> task, double delay) override {
    guest_->PostDelayedTask(std::move(task), delay);
  }
  void PostNonNestableDelayedTask(std::unique_ptr<v8::Task> task, double delay) override {
    guest_->PostNonNestableDelayedTask(std::move(task), delay);
  }
  void PostIdleTask(std::unique_ptr<v8::IdleTask> task) override { guest_->PostIdleTask(std::move(task)); }
  bool IdleTasksEnabled() override { return guest_->IdleTasksEnabled(); }
  bool NonNestableTasksEnabled() const override { return guest_->NonNestableTasksEnabled(); }
  bool NonNestableDelayedTasksEnabled() const override { return guest_->NonNestableDelayedTasksEnabled(); }

 private:
  guest::shared_ptr<guest::TaskRunner> guest_;
};

#endif

#if RELINK_HOST < 1204

// Discards what is posted: V8 may ask for a runner while an isolate is disposed that Node's platform has forgotten.
class DiscardingRunner final : public v8::TaskRunner {
 public:
  void PostTask(std::unique_ptr<v8::Task>) override {}
  void PostNonNestableTask(std::unique_ptr<v8::Task>) override {}
  void PostDelayedTask(std::unique_ptr<v8::Task>, double) override {}
  void PostNonNestableDelayedTask(std::unique_ptr<v8::Task>, double) override {}
  void PostIdleTask(std::unique_ptr<v8::IdleTask>) override {}
  bool IdleTasksEnabled() override { return false; }
  bool NonNestableTasksEnabled() const override { return true; }
  bool NonNestableDelayedTasksEnabled() const override { return true; }
};

#else

using v8::SourceLocation;

// Since 12.4 tasks are posted by functions that are told where they are called.
class NodeRunner final : public v8::TaskRunner {
 public:
  explicit NodeRunner(guest::shared_ptr<guest::TaskRunner> guest) : guest_(std::move(guest)) {}
  bool IdleTasksEnabled() override { return guest_->IdleTasksEnabled(); }
  bool NonNestableTasksEnabled() const override { return guest_->NonNestableTasksEnabled(); }
  bool NonNestableDelayedTasksEnabled() const override { return guest_->NonNestableDelayedTasksEnabled(); }

 protected:
  void PostTaskImpl(std::unique_ptr<v8::Task> task, const SourceLocation&) override {
    guest_->PostTask(std::move(task));
  }
  void PostNonNestableTaskImpl(std::unique_ptr<v8::Task> task, const SourceLocation&) override {
    guest_->PostNonNestableTask(std::move(task));
  }
  void PostDelayedTaskImpl(std::unique_ptr<v8::Task> task, double delay, const SourceLocation&) override {
    guest_->PostDelayedTask(std::move(task), delay);
  }
  void PostNonNestableDelayedTaskImpl(std::unique_ptr<v8::Task> task, double delay, const SourceLocation&) override {
    guest_->PostNonNestableDelayedTask(std::move(task), delay);
  }
  void PostIdleTaskImpl(std::unique_ptr<v8::IdleTask> task, const SourceLocation&) override {
    guest_->PostIdleTask(std::move(task));
  }

 private:
  guest::shared_ptr<guest::TaskRunner> guest_;
};

class DiscardingRunner final : public v8::TaskRunner {
 public:
  bool IdleTasksEnabled() override { return false; }
  bool NonNestableTasksEnabled() const override { return true; }
  bool NonNestableDelayedTasksEnabled() const override { return true; }
};

#endif

#if RELINK_HOST >= 1204 || RELINK_LIBCXX
Runner hosts_runner(guest::shared_ptr<guest::TaskRunner> runner) {
  if (runner == nullptr) return nullptr;
  return std::make_shared<NodeRunner>(std::move(runner));
}
#endif

class NodePlatform final : public Platform {
 public:
  explicit NodePlatform(guest::Platform* node) : node_(node) {}
  guest::Platform* node() const { return node_; }

  v8::PageAllocator* GetPageAllocator() override { return node_->GetPageAllocator(); }
  int NumberOfWorkerThreads() override { return node_->NumberOfWorkerThreads(); }
  bool IdleTasksEnabled(v8::Isolate* isolate) override { return node_->IdleTasksEnabled(isolate); }
  double MonotonicallyIncreasingTime() override { return node_->MonotonicallyIncreasingTime(); }
  double CurrentClockTimeMillis() override { return node_->CurrentClockTimeMillis(); }
  v8::TracingController* GetTracingController() override { return node_->GetTracingController(); }

#if RELINK_HOST < 1300
  Runner GetForegroundTaskRunner(v8::Isolate* isolate) override {
    return hosts_runner(node_->GetForegroundTaskRunner(isolate));
  }
#endif

#if RELINK_TASKS_BY_PRIORITY
#if RELINK_GUEST < 1306
  Runner GetForegroundTaskRunner(v8::Isolate* isolate, v8::TaskPriority) override {
    return hosts_runner(node_->GetForegroundTaskRunner(isolate));
  }
#else
  Runner GetForegroundTaskRunner(v8::Isolate* isolate, v8::TaskPriority priority) override {
    return hosts_runner(node_->GetForegroundTaskRunner(isolate, priority));
  }
#endif

 protected:
  // A job calls the platform that it was made for, by the host's slots: hence this one.
  std::unique_ptr<v8::JobHandle> CreateJobImpl(v8::TaskPriority priority, std::unique_ptr<v8::JobTask> job,
                                               const v8::SourceLocation&) override {
    return v8::platform::NewDefaultJobHandle(this, priority, std::move(job), NumberOfWorkerThreads());
  }
#if RELINK_GUEST < 1204
  void PostTaskOnWorkerThreadImpl(v8::TaskPriority priority, std::unique_ptr<v8::Task> task,
                                  const v8::SourceLocation&) override {
    if (priority == v8::TaskPriority::kUserBlocking) return node_->CallBlockingTaskOnWorkerThread(std::move(task));
    if (priority == v8::TaskPriority::kBestEffort) return node_->CallLowPriorityTaskOnWorkerThread(std::move(task));
    node_->CallOnWorkerThread(std::move(task));
  }
  void PostDelayedTaskOnWorkerThreadImpl(v8::TaskPriority, std::unique_ptr<v8::Task> task, double delay,
                                         const v8::SourceLocation&) override {
    node_->CallDelayedOnWorkerThread(std::move(task), delay);
  }
#else
  void PostTaskOnWorkerThreadImpl(v8::TaskPriority priority, std::unique_ptr<v8::Task> task,
                                  const v8::SourceLocation&) override {
    node_->PostTaskOnWorkerThreadImpl(priority, std::move(task), {});
  }
  void PostDelayedTaskOnWorkerThreadImpl(v8::TaskPriority priority, std::unique_ptr<v8::Task> task, double delay,
                                         const v8::SourceLocation&) override {
    node_->PostDelayedTaskOnWorkerThreadImpl(priority, std::move(task), delay, {});
  }
#endif
#else
  void CallOnWorkerThread(std::unique_ptr<v8::Task> task) override { node_->CallOnWorkerThread(std::move(task)); }
  void CallBlockingTaskOnWorkerThread(std::unique_ptr<v8::Task> task) override {
    node_->CallBlockingTaskOnWorkerThread(std::move(task));
  }
  void CallLowPriorityTaskOnWorkerThread(std::unique_ptr<v8::Task> task) override {
    node_->CallLowPriorityTaskOnWorkerThread(std::move(task));
  }
  void CallDelayedOnWorkerThread(std::unique_ptr<v8::Task> task, double delay) override {
    node_->CallDelayedOnWorkerThread(std::move(task), delay);
  }
  // A job calls the platform that it was made for, by the host's slots: hence this one.
  std::unique_ptr<v8::JobHandle> PostJob(v8::TaskPriority priority, std::unique_ptr<v8::JobTask> job) override {
    auto handle = v8::platform::NewDefaultJobHandle(this, priority, std::move(job), NumberOfWorkerThreads());
    handle->NotifyConcurrencyIncrease();
    return handle;
  }
#if RELINK_HOST >= 1007
  std::unique_ptr<v8::JobHandle> CreateJob(v8::TaskPriority priority, std::unique_ptr<v8::JobTask> job) override {
    return v8::platform::NewDefaultJobHandle(this, priority, std::move(job), NumberOfWorkerThreads());
  }
#endif
#endif

 private:
  guest::Platform* node_;
};

void answer_for_disposed(bool* answer) { *answer = false; }
void answer_for_disposed(Runner* answer) { *answer = std::make_shared<DiscardingRunner>(); }

Platform* guest_platform(v8::Isolate* isolate) {
  return as_hosts(static_cast<guest::Platform*>(g_services->guest_platform(isolate)));
}

Platform* worker_platform() { return as_hosts(static_cast<guest::Platform*>(g_services->worker_platform())); }

// Hooks for a function of v8::Platform. They have its calling convention: `this` comes first.
template <auto kFunction, class Signature>
struct Hook;

template <auto kFunction, class Result, class... Arguments>
struct Hook<kFunction, Result (Platform::*)(Arguments...)> {
  using Plain = Result (*)(Platform*, Arguments...);

  static Result by_thread(Platform* self, Arguments... arguments) {
    if (Platform* node = worker_platform()) return (node->*kFunction)(std::forward<Arguments>(arguments)...);
    auto original = reinterpret_cast<Plain>(g_services->original(slot_of(kFunction)));
    return original(self, std::forward<Arguments>(arguments)...);
  }
};

template <auto kFunction, class Signature>
struct IsolateHook;

template <auto kFunction, class Result, class... Arguments>
struct IsolateHook<kFunction, Result (Platform::*)(v8::Isolate*, Arguments...)> {
  using Plain = Result (*)(Platform*, v8::Isolate*, Arguments...);

  static Result by_isolate(Platform* self, v8::Isolate* isolate, Arguments... arguments) {
    if (Platform* node = guest_platform(isolate)) return (node->*kFunction)(isolate, arguments...);
    if (g_services->disposing(isolate) != 0) {
      Result answer;
      answer_for_disposed(&answer);
      return answer;
    }
    return reinterpret_cast<Plain>(g_services->original(slot_of(kFunction)))(self, isolate, arguments...);
  }
};

class Hooks {
 public:
  Hooks(relink_unit_hook* hooks, uint32_t capacity) : hooks_(hooks), capacity_(capacity) {}
  uint32_t count() const { return count_ <= capacity_ ? count_ : 0; }

  template <auto kFunction>
  void by_isolate() {
    add(slot_of(kFunction), reinterpret_cast<void*>(&IsolateHook<kFunction, decltype(kFunction)>::by_isolate));
  }
  template <auto kFunction>
  void by_thread() {
    add(slot_of(kFunction), reinterpret_cast<void*>(&Hook<kFunction, decltype(kFunction)>::by_thread));
  }

 private:
  void add(uint32_t slot, void* function) {
    if (count_ < capacity_) hooks_[count_] = {slot, function};
    count_++;
  }

  relink_unit_hook* hooks_;
  uint32_t capacity_;
  uint32_t count_ = 0;
};

// Worker tasks and jobs of every kind end in these, which are protected.
#if RELINK_TASKS_BY_PRIORITY
struct Access : Platform {
  using Platform::CreateJobImpl;
  using Platform::PostDelayedTaskOnWorkerThreadImpl;
  using Platform::PostTaskOnWorkerThreadImpl;
};
#endif

void hook(Hooks* hooks) {
  hooks->by_isolate<&Platform::IdleTasksEnabled>();
#if RELINK_HOST < 1300
  hooks->by_isolate<static_cast<Runner (Platform::*)(v8::Isolate*)>(&Platform::GetForegroundTaskRunner)>();
#endif
#if RELINK_TASKS_BY_PRIORITY
  hooks->by_isolate<static_cast<Runner (Platform::*)(v8::Isolate*, v8::TaskPriority)>(
      &Platform::GetForegroundTaskRunner)>();
  hooks->by_thread<&Access::CreateJobImpl>();
  hooks->by_thread<&Access::PostTaskOnWorkerThreadImpl>();
  hooks->by_thread<&Access::PostDelayedTaskOnWorkerThreadImpl>();
#endif
#if RELINK_HOST < 1204
  hooks->by_thread<&Platform::CallOnWorkerThread>();
  hooks->by_thread<&Platform::CallBlockingTaskOnWorkerThread>();
  hooks->by_thread<&Platform::CallLowPriorityTaskOnWorkerThread>();
  hooks->by_thread<&Platform::CallDelayedOnWorkerThread>();
  hooks->by_thread<&Platform::PostJob>();
#endif
#if RELINK_HOST >= 1007 && RELINK_HOST < 1204
  hooks->by_thread<&Platform::CreateJob>();
#endif
}

}  // namespace

v8::Platform* as_hosts(guest::Platform* node) {
  static std::atomic<NodePlatform*> last{nullptr};
  if (node == nullptr) return nullptr;
  NodePlatform* known = last.load(std::memory_order_acquire);
  if (known == nullptr || known->node() != node) {
    // A guest that was unloaded had another; what was made for it may still be in use.
    known = new NodePlatform(node);
    last.store(known, std::memory_order_release);
  }
  return known;
}

uint64_t heap_limit() { return g_services->heap_limit(); }

}  // namespace relink

extern "C" uint32_t relink_unit_attach(const relink_unit_services* services, relink_unit_hook* hooks,
                                       uint32_t capacity) {
  if (services == nullptr || services->size != sizeof(relink_unit_services)) return 0;
  relink::g_services = services;
#if RELINK_SYMBOL_KEYS_BY_FLAG && RELINK_HOST < 1103
  // Node 18's module loader has symbols as keys of WeakMaps, which its own V8 got by a patch. Where they are not to be had, it keeps
  // all modules.
  services->set_flag("--harmony-symbol-as-weakmap-key");
#endif
  relink::Hooks filled(hooks, capacity);
  relink::hook(&filled);
  return filled.count();
}

// A job calls the platform that it was made for, which the guest gives with its own slots.
extern "C" RELINK_UNIT_API guest::unique_ptr<v8::JobHandle> relink_unit_job(guest::Platform* platform,
                                                                            v8::TaskPriority priority,
                                                                            guest::unique_ptr<v8::JobTask> job,
                                                                            size_t threads) {
  return v8::platform::NewDefaultJobHandle(relink::as_hosts(platform), priority, std::move(job), threads);
}
