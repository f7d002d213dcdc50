// v8_abi_check.cc: is ../v8_abi.h what V8's own headers say?
//
// Compiled twice by tests/headers.rs, plain and with -DRELINK_REAL, once against each view of the interface:
//  - each function is taken with its full type, so a difference in parameters or result does not compile, and the sets of
//    undefined mangled symbols of both objects must be equal;
//  - sizes, enumerators and vtable slots are printed by main() of either, and must be equal, line by line. To run it, the
//    functions are left out (-DRELINK_NUMBERS), so nothing of V8 is linked.
#include <cstdio>

#ifdef RELINK_REAL
#include <v8-platform.h>
#include <v8.h>
#else
#include "../v8_abi.h"
#endif

#include "symbols.h"

using namespace v8;

#ifndef RELINK_NUMBERS

using Deleter = void (*)(void*, size_t, void*);
using Store = std::unique_ptr<BackingStore>;

TAKE(1, &Isolate::Allocate, Isolate* (*)());
TAKE(2, &Isolate::TryGetCurrent, Isolate* (*)());
TAKE(3, &Isolate::Dispose, void (Isolate::*)());
TAKE(4, &Isolate::Enter, void (Isolate::*)());
TAKE(5, &Isolate::Exit, void (Isolate::*)());
TAKE(6, &Isolate::LowMemoryNotification, void (Isolate::*)());
TAKE(7, &Isolate::GetArrayBufferAllocator, ArrayBuffer::Allocator* (Isolate::*)());
TAKE(8, &Context::Enter, void (Context::*)());
TAKE(9, &Context::Exit, void (Context::*)());
TAKE(10, &String::WriteUtf8, int (String::*)(Isolate*, char*, int, int*, int) const);
TAKE(11, &StackTrace::CurrentScriptNameOrSourceURL, Local<String> (*)(Isolate*));
TAKE(12, &ArrayBuffer::NewBackingStore, Store (*)(Isolate*, size_t));
TAKE(13, &ArrayBuffer::NewBackingStore, Store (*)(void*, size_t, Deleter, void*));
TAKE(14, &V8::SetFlagsFromString, void (*)(const char*));
TAKE(15, &V8::SetFlagsFromCommandLine, void (*)(int*, char**, bool));
TAKE(16, &V8::Dispose, bool (*)());
TAKE(17, &V8::DisposePlatform, void (*)());

// Constructors and destructors cannot be taken, only used.
void relink_use(Isolate* isolate, BackingStore* store) {
  Locker locker(isolate);
  HandleScope scope(isolate);
  delete store;
}

#else

namespace {

// Shows where the destructors stand: the slot of a function declared right after them in a class of our own would not.
struct AfterPlatform : Platform {
  virtual void after() = 0;
};

struct AfterRunner : TaskRunner {
  virtual void after() = 0;
};

const relink_check::Number kNumbers[] = {
    SIZE(Local<Value>),
    SIZE(MaybeLocal<Value>),
    SIZE(Maybe<int>),
    SIZE(HandleScope),
    SIZE(Locker),
    SIZE(BackingStore),
    SIZE(TaskPriority),
    VALUE(TaskPriority::kBestEffort),
    VALUE(TaskPriority::kUserVisible),
    VALUE(TaskPriority::kUserBlocking),
    SLOT(Task, Run),
    SLOT(IdleTask, Run),
    SLOT(TaskRunner, PostTask),
    SLOT(TaskRunner, PostNonNestableTask),
    SLOT(TaskRunner, PostDelayedTask),
    SLOT(TaskRunner, PostNonNestableDelayedTask),
    SLOT(TaskRunner, PostIdleTask),
    SLOT(TaskRunner, IdleTasksEnabled),
    SLOT(TaskRunner, NonNestableTasksEnabled),
    SLOT(TaskRunner, NonNestableDelayedTasksEnabled),
    SLOT(AfterRunner, after),
    SLOT(ArrayBuffer::Allocator, Allocate),
    SLOT(ArrayBuffer::Allocator, AllocateUninitialized),
    SLOT(ArrayBuffer::Allocator, Free),
    SLOT(ArrayBuffer::Allocator, Reallocate),
    SLOT(Platform, GetPageAllocator),
    SLOT(Platform, GetZoneBackingAllocator),
    OVERLOAD(Platform, OnCriticalMemoryPressure, void (Platform::*)()),
    OVERLOAD(Platform, OnCriticalMemoryPressure, bool (Platform::*)(size_t)),
    SLOT(Platform, NumberOfWorkerThreads),
    OVERLOAD(Platform, GetForegroundTaskRunner, std::shared_ptr<TaskRunner> (Platform::*)(Isolate*)),
    OVERLOAD(Platform, CallOnWorkerThread, void (Platform::*)(std::unique_ptr<Task>)),
    OVERLOAD(Platform, CallBlockingTaskOnWorkerThread, void (Platform::*)(std::unique_ptr<Task>)),
    OVERLOAD(Platform, CallLowPriorityTaskOnWorkerThread, void (Platform::*)(std::unique_ptr<Task>)),
    OVERLOAD(Platform, CallDelayedOnWorkerThread, void (Platform::*)(std::unique_ptr<Task>, double)),
    OVERLOAD(Platform, IdleTasksEnabled, bool (Platform::*)(Isolate*)),
    OVERLOAD(Platform, PostJob, std::unique_ptr<JobHandle> (Platform::*)(TaskPriority, std::unique_ptr<JobTask>)),
    SLOT(Platform, MonotonicallyIncreasingTime),
    SLOT(Platform, CurrentClockTimeMillis),
    SLOT(Platform, GetStackTracePrinter),
    SLOT(Platform, GetTracingController),
    SLOT(Platform, DumpWithoutCrashing),
    SLOT(AfterPlatform, after),
};

}  // namespace

int main() {
  for (const relink_check::Number& number : kNumbers) std::printf("%s %llu\n", number.what, (unsigned long long)number.value);
}

#endif
