// line_hooks.h: the functions of V8 12.4's platform that are hooked. Worker tasks and jobs of every kind end in three.
#ifndef RELINK_LINE_HOOKS_H_
#define RELINK_LINE_HOOKS_H_

namespace relink {

inline void hook_line() {
  using v8::Platform;
  using Runner = std::shared_ptr<v8::TaskRunner>;
  hook_by_isolate<static_cast<Runner (Platform::*)(v8::Isolate*)>(&Platform::GetForegroundTaskRunner)>();
  hook_by_isolate<static_cast<Runner (Platform::*)(v8::Isolate*, v8::TaskPriority)>(
      &Platform::GetForegroundTaskRunner)>();
  hook_by_isolate<&Platform::IdleTasksEnabled>();
  hook_by_thread<&Platform::CreateJobImpl>();
  hook_by_thread<&Platform::PostTaskOnWorkerThreadImpl>();
  hook_by_thread<&Platform::PostDelayedTaskOnWorkerThreadImpl>();
}

}  // namespace relink

#endif  // RELINK_LINE_HOOKS_H_
