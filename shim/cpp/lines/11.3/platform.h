// platform.h: V8 11.3's platform (v8-platform.h), with the slots of its functions. New since 10.2: jobs are made by
// CreateJob, blocking scopes, more clocks; one of two OnCriticalMemoryPressure is gone.
#ifndef RELINK_PLATFORM_H_
#define RELINK_PLATFORM_H_

#include "../10.2/task_runner.h"

namespace v8 {

class ScopedBlockingCall;
enum class BlockingType : uint8_t { kMayBlock, kWillBlock };

// Never implemented here: the bridge calls Node's and shadows the host's.
class Platform {
 public:
  using StackTracePrinter = void (*)();
  virtual ~Platform() = default;                                                                          // 0, 1
  virtual PageAllocator* GetPageAllocator() = 0;                                                          // 2
  virtual ZoneBackingAllocator* GetZoneBackingAllocator() = 0;                                            // 3
  virtual void OnCriticalMemoryPressure() = 0;                                                            // 4
  virtual int NumberOfWorkerThreads() = 0;                                                                // 5
  virtual std::shared_ptr<TaskRunner> GetForegroundTaskRunner(Isolate* isolate) = 0;                      // 6
  virtual void CallOnWorkerThread(std::unique_ptr<Task> task) = 0;                                        // 7
  virtual void CallBlockingTaskOnWorkerThread(std::unique_ptr<Task> task) = 0;                            // 8
  virtual void CallLowPriorityTaskOnWorkerThread(std::unique_ptr<Task> task) = 0;                         // 9
  virtual void CallDelayedOnWorkerThread(std::unique_ptr<Task> task, double delay) = 0;                   // 10
  virtual bool IdleTasksEnabled(Isolate* isolate) = 0;                                                    // 11
  virtual std::unique_ptr<JobHandle> PostJob(TaskPriority priority, std::unique_ptr<JobTask> job) = 0;    // 12
  virtual std::unique_ptr<JobHandle> CreateJob(TaskPriority priority, std::unique_ptr<JobTask> job) = 0;  // 13
  virtual std::unique_ptr<ScopedBlockingCall> CreateBlockingScope(BlockingType type) = 0;                 // 14
  virtual double MonotonicallyIncreasingTime() = 0;                                                       // 15
  virtual int64_t CurrentClockTimeMilliseconds() = 0;                                                     // 16
  virtual double CurrentClockTimeMillis() = 0;                                                            // 17
  virtual double CurrentClockTimeMillisecondsHighResolution() = 0;                                        // 18
  virtual StackTracePrinter GetStackTracePrinter() = 0;                                                   // 19
  virtual TracingController* GetTracingController() = 0;                                                  // 20
  virtual void DumpWithoutCrashing() = 0;                                                                 // 21
  virtual HighAllocationThroughputObserver* GetHighAllocationThroughputObserver() = 0;                    // 22
};

}  // namespace v8

#endif  // RELINK_PLATFORM_H_
