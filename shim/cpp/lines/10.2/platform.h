// platform.h: V8 10.2's platform (v8-platform.h), with the slots of its functions.
#ifndef RELINK_PLATFORM_H_
#define RELINK_PLATFORM_H_

#include "../10.2/task_runner.h"

namespace v8 {

// Never implemented here: the bridge calls Node's and shadows the host's.
class Platform {
 public:
  using StackTracePrinter = void (*)();
  virtual ~Platform() = default;                                                                        // 0, 1
  virtual PageAllocator* GetPageAllocator() = 0;                                                        // 2
  virtual ZoneBackingAllocator* GetZoneBackingAllocator() = 0;                                          // 3
  virtual void OnCriticalMemoryPressure() = 0;                                                          // 4
  virtual bool OnCriticalMemoryPressure(size_t length) = 0;                                             // 5
  virtual int NumberOfWorkerThreads() = 0;                                                              // 6
  virtual std::shared_ptr<TaskRunner> GetForegroundTaskRunner(Isolate* isolate) = 0;                    // 7
  virtual void CallOnWorkerThread(std::unique_ptr<Task> task) = 0;                                      // 8
  virtual void CallBlockingTaskOnWorkerThread(std::unique_ptr<Task> task) = 0;                          // 9
  virtual void CallLowPriorityTaskOnWorkerThread(std::unique_ptr<Task> task) = 0;                       // 10
  virtual void CallDelayedOnWorkerThread(std::unique_ptr<Task> task, double delay) = 0;                 // 11
  virtual bool IdleTasksEnabled(Isolate* isolate) = 0;                                                  // 12
  virtual std::unique_ptr<JobHandle> PostJob(TaskPriority priority, std::unique_ptr<JobTask> job) = 0;  // 13
  virtual double MonotonicallyIncreasingTime() = 0;                                                     // 14
  virtual double CurrentClockTimeMillis() = 0;                                                          // 15
  virtual StackTracePrinter GetStackTracePrinter() = 0;                                                 // 16
  virtual TracingController* GetTracingController() = 0;                                                // 17
  virtual void DumpWithoutCrashing() = 0;                                                               // 18
  virtual HighAllocationThroughputObserver* GetHighAllocationThroughputObserver() = 0;                  // 19
};

}  // namespace v8

#endif  // RELINK_PLATFORM_H_
