// line_hooks.h: the functions of V8 13.6's platform that are hooked: those of 12.4, and one foreground runner instead of two.
#ifndef RELINK_LINE_HOOKS_H_
#define RELINK_LINE_HOOKS_H_

namespace relink {

inline void hook_line() {
  using v8::Platform;
  hook_by_isolate<&Platform::GetForegroundTaskRunner>();
  hook_by_isolate<&Platform::IdleTasksEnabled>();
  hook_by_thread<&Platform::CreateJobImpl>();
  hook_by_thread<&Platform::PostTaskOnWorkerThreadImpl>();
  hook_by_thread<&Platform::PostDelayedTaskOnWorkerThreadImpl>();
}

}  // namespace relink

#endif  // RELINK_LINE_HOOKS_H_
