// task_runner.h: v8::TaskRunner (v8-platform.h) as in V8 10.2 and 11.3. Included by platform.h.
#ifndef RELINK_TASK_RUNNER_H_
#define RELINK_TASK_RUNNER_H_

namespace v8 {

// The destructor comes last: it is declared last.
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
};

}  // namespace v8

#endif  // RELINK_TASK_RUNNER_H_
