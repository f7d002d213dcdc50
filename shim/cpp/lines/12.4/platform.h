// platform.h: V8 12.4's platform (v8-platform.h), with the slots of its functions. New since 11.3: worker tasks and jobs go
// through three functions that are told where they were called; foreground runners have a priority.
#ifndef RELINK_PLATFORM_H_
#define RELINK_PLATFORM_H_

#include "../12.4/task_runner.h"

namespace v8 {

class ScopedBlockingCall;
class ThreadIsolatedAllocator;
enum class BlockingType : uint8_t { kMayBlock, kWillBlock };

// Never implemented here: the bridge calls Node's and shadows the host's. The last three are protected in v8-platform.h.
class Platform {
 public:
  using StackTracePrinter = void (*)();
  virtual ~Platform() = default;                                                                          // 0, 1
  virtual PageAllocator* GetPageAllocator() = 0;                                                          // 2
  virtual ThreadIsolatedAllocator* GetThreadIsolatedAllocator() = 0;                                      // 3
  virtual ZoneBackingAllocator* GetZoneBackingAllocator() = 0;                                            // 4
  virtual void OnCriticalMemoryPressure() = 0;                                                            // 5
  virtual int NumberOfWorkerThreads() = 0;                                                                // 6
  virtual std::shared_ptr<TaskRunner> GetForegroundTaskRunner(Isolate* isolate) = 0;                      // 7
  virtual std::shared_ptr<TaskRunner> GetForegroundTaskRunner(Isolate* isolate, TaskPriority priority) = 0;  // 8
  virtual bool IdleTasksEnabled(Isolate* isolate) = 0;                                                    // 9
  virtual std::unique_ptr<ScopedBlockingCall> CreateBlockingScope(BlockingType type) = 0;                 // 10
  virtual double MonotonicallyIncreasingTime() = 0;                                                       // 11
  virtual int64_t CurrentClockTimeMilliseconds() = 0;                                                     // 12
  virtual double CurrentClockTimeMillis() = 0;                                                            // 13
  virtual double CurrentClockTimeMillisecondsHighResolution() = 0;                                        // 14
  virtual StackTracePrinter GetStackTracePrinter() = 0;                                                   // 15
  virtual TracingController* GetTracingController() = 0;                                                  // 16
  virtual void DumpWithoutCrashing() = 0;                                                                 // 17
  virtual HighAllocationThroughputObserver* GetHighAllocationThroughputObserver() = 0;                    // 18
  virtual std::unique_ptr<JobHandle> CreateJobImpl(TaskPriority priority, std::unique_ptr<JobTask> job,
                                                   const SourceLocation& location) = 0;                   // 19
  virtual void PostTaskOnWorkerThreadImpl(TaskPriority priority, std::unique_ptr<Task> task,
                                          const SourceLocation& location) = 0;                            // 20
  virtual void PostDelayedTaskOnWorkerThreadImpl(TaskPriority priority, std::unique_ptr<Task> task, double delay,
                                                 const SourceLocation& location) = 0;                     // 21
};

}  // namespace v8

#endif  // RELINK_PLATFORM_H_
