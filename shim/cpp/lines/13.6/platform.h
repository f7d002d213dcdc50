// platform.h: V8 13.6's platform (v8-platform.h), with the slots of its functions. Since 12.4 the zone allocator and the
// foreground runner without a priority are gone.
#ifndef RELINK_PLATFORM_H_
#define RELINK_PLATFORM_H_

#include "../13.6/task_runner.h"

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
  virtual void OnCriticalMemoryPressure() = 0;                                                            // 4
  virtual int NumberOfWorkerThreads() = 0;                                                                // 5
  virtual std::shared_ptr<TaskRunner> GetForegroundTaskRunner(Isolate* isolate, TaskPriority priority) = 0;  // 6
  virtual bool IdleTasksEnabled(Isolate* isolate) = 0;                                                    // 7
  virtual std::unique_ptr<ScopedBlockingCall> CreateBlockingScope(BlockingType type) = 0;                 // 8
  virtual double MonotonicallyIncreasingTime() = 0;                                                       // 9
  virtual int64_t CurrentClockTimeMilliseconds() = 0;                                                     // 10
  virtual double CurrentClockTimeMillis() = 0;                                                            // 11
  virtual double CurrentClockTimeMillisecondsHighResolution() = 0;                                        // 12
  virtual StackTracePrinter GetStackTracePrinter() = 0;                                                   // 13
  virtual TracingController* GetTracingController() = 0;                                                  // 14
  virtual void DumpWithoutCrashing() = 0;                                                                 // 15
  virtual HighAllocationThroughputObserver* GetHighAllocationThroughputObserver() = 0;                    // 16
  virtual std::unique_ptr<JobHandle> CreateJobImpl(TaskPriority priority, std::unique_ptr<JobTask> job,
                                                   const SourceLocation& location) = 0;                   // 17
  virtual void PostTaskOnWorkerThreadImpl(TaskPriority priority, std::unique_ptr<Task> task,
                                          const SourceLocation& location) = 0;                            // 18
  virtual void PostDelayedTaskOnWorkerThreadImpl(TaskPriority priority, std::unique_ptr<Task> task, double delay,
                                                 const SourceLocation& location) = 0;                     // 19
};

}  // namespace v8

#endif  // RELINK_PLATFORM_H_
