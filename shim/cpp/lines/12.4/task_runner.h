// task_runner.h: v8::TaskRunner (v8-platform.h) as in V8 12.4: every Post function has a twin that is told where it was
// called.
#ifndef RELINK_TASK_RUNNER_H_
#define RELINK_TASK_RUNNER_H_

namespace v8 {

class SourceLocation;

class TaskRunner {
 public:
  virtual void PostTask(std::unique_ptr<Task> task) = 0;
  virtual void PostNonNestableTask(std::unique_ptr<Task> task) = 0;
  virtual void PostDelayedTask(std::unique_ptr<Task> task, double delay_in_seconds) = 0;
  virtual void PostNonNestableDelayedTask(std::unique_ptr<Task> task, double delay_in_seconds) = 0;
  virtual void PostIdleTask(std::unique_ptr<IdleTask> task) = 0;
  virtual bool IdleTasksEnabled() = 0;
  virtual bool NonNestableTasksEnabled() const = 0;
  virtual bool NonNestableDelayedTasksEnabled() const = 0;
  TaskRunner() = default;
  virtual ~TaskRunner() = default;
  TaskRunner(const TaskRunner&) = delete;
  TaskRunner& operator=(const TaskRunner&) = delete;
  // Protected in v8-platform.h.
  virtual void PostTaskImpl(std::unique_ptr<Task>, const SourceLocation&) {}
  virtual void PostNonNestableTaskImpl(std::unique_ptr<Task>, const SourceLocation&) {}
  virtual void PostDelayedTaskImpl(std::unique_ptr<Task>, double, const SourceLocation&) {}
  virtual void PostNonNestableDelayedTaskImpl(std::unique_ptr<Task>, double, const SourceLocation&) {}
  virtual void PostIdleTaskImpl(std::unique_ptr<IdleTask>, const SourceLocation&) {}
};

}  // namespace v8

#endif  // RELINK_TASK_RUNNER_H_
