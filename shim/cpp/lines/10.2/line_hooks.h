// line_hooks.h: the functions of V8 10.2's platform that are hooked.
#ifndef RELINK_LINE_HOOKS_H_
#define RELINK_LINE_HOOKS_H_

namespace relink {

inline void hook_line() {
  using v8::Platform;
  hook_by_isolate<&Platform::GetForegroundTaskRunner>();
  hook_by_isolate<&Platform::IdleTasksEnabled>();
  hook_by_thread<&Platform::CallOnWorkerThread>();
  hook_by_thread<&Platform::CallBlockingTaskOnWorkerThread>();
  hook_by_thread<&Platform::CallLowPriorityTaskOnWorkerThread>();
  hook_by_thread<&Platform::CallDelayedOnWorkerThread>();
  hook_by_thread<&Platform::PostJob>();
}

}  // namespace relink

#endif  // RELINK_LINE_HOOKS_H_
