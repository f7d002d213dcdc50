// task_runner.h: v8::TaskRunner (v8-platform.h) as in V8 13.6: of the Post functions only those are virtual that are told
// where they were called.
#ifndef RELINK_TASK_RUNNER_H_
#define RELINK_TASK_RUNNER_H_

namespace v8 {

class SourceLocation;

class TaskRunner {
 public:
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
