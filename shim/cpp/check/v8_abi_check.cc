// v8_abi_check.cc: is ../v8_abi.h what V8's own headers say?
//
// Compiled twice per line by tests/headers.rs, plain and with -DRELINK_REAL, once against each view of the interface:
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

#if RELINK_V8 >= 1306
TAKE(1, static_cast<Isolate* (*)()>(&Isolate::Allocate), Isolate* (*)());
TAKE(18, static_cast<Isolate* (*)(const IsolateGroup&)>(&Isolate::Allocate), Isolate* (*)(const IsolateGroup&));
TAKE(19, &Isolate::Free, void (*)(Isolate*));
TAKE(20, &Isolate::Deinitialize, void (Isolate::*)());
#else
TAKE(1, &Isolate::Allocate, Isolate* (*)());
TAKE(12, &ArrayBuffer::NewBackingStore, Store (*)(Isolate*, size_t));
#endif
TAKE(2, &Isolate::TryGetCurrent, Isolate* (*)());
TAKE(3, &Isolate::Dispose, void (Isolate::*)());
TAKE(4, &Isolate::Enter, void (Isolate::*)());
TAKE(5, &Isolate::Exit, void (Isolate::*)());
TAKE(6, &Isolate::LowMemoryNotification, void (Isolate::*)());
TAKE(7, &Isolate::GetArrayBufferAllocator, ArrayBuffer::Allocator* (Isolate::*)());
TAKE(21, &Isolate::SetStackLimit, void (Isolate::*)(uintptr_t));
TAKE(22, &Isolate::AddNearHeapLimitCallback, void (Isolate::*)(size_t (*)(void*, size_t, size_t), void*));
TAKE(8, &Context::Enter, void (Context::*)());
TAKE(9, &Context::Exit, void (Context::*)());
TAKE(10, &String::WriteUtf8, int (String::*)(Isolate*, char*, int, int*, int) const);
TAKE(11, &StackTrace::CurrentScriptNameOrSourceURL, Local<String> (*)(Isolate*));
TAKE(13, &ArrayBuffer::NewBackingStore, Store (*)(void*, size_t, Deleter, void*));
TAKE(14, &V8::SetFlagsFromString, void (*)(const char*));
TAKE(15, &V8::SetFlagsFromCommandLine, void (*)(int*, char**, bool));
TAKE(16, &V8::Dispose, bool (*)());
TAKE(17, &V8::DisposePlatform, void (*)());

TAKE(23, &Context::Global, Local<Object> (Context::*)());
TAKE(24, &Context::SetSecurityToken, void (Context::*)(Local<Value>));
TAKE(25, &Context::GetSecurityToken, Local<Value> (Context::*)());
TAKE(26, &Isolate::CancelTerminateExecution, void (Isolate::*)());
TAKE(44, &String::NewFromUtf8, MaybeLocal<String> (*)(Isolate*, const char*, NewStringType, int));
TAKE(45, static_cast<MaybeLocal<Value> (Object::*)(Local<Context>, Local<Value>)>(&Object::Get),
     MaybeLocal<Value> (Object::*)(Local<Context>, Local<Value>));
TAKE(46, &Object::DefineOwnProperty,
     Maybe<bool> (Object::*)(Local<Context>, Local<Name>, Local<Value>, PropertyAttribute));
TAKE(48, &Object::SetIntegrityLevel, Maybe<bool> (Object::*)(Local<Context>, IntegrityLevel));
TAKE(60, &Value::IsObject, bool (Value::*)() const);
TAKE(47, &JSON::Parse, MaybeLocal<Value> (*)(Local<Context>, Local<String>));
#if RELINK_V8 < 1103
TAKE(49, &BackingStore::Data, void* (BackingStore::*)() const);
TAKE(50, &ArrayBuffer::GetBackingStore, std::shared_ptr<BackingStore> (ArrayBuffer::*)());
TAKE(51, &SharedArrayBuffer::GetBackingStore, std::shared_ptr<BackingStore> (SharedArrayBuffer::*)());
TAKE(52, &Object::SetInternalField, void (Object::*)(int, Local<Value>));
TAKE(27, &Context::AllowCodeGenerationFromStrings, void (Context::*)(bool));
TAKE(28, &Isolate::Initialize, void (*)(Isolate*, const Isolate::CreateParams&));
TAKE(29, &Isolate::TerminateExecution, void (Isolate::*)());
TAKE(30, &Isolate::AddMessageListenerWithErrorLevel, bool (Isolate::*)(MessageCallback, int, Local<Value>));
TAKE(31, &Isolate::RemoveMessageListeners, void (Isolate::*)(MessageCallback));
TAKE(32, &Isolate::SetMicrotasksPolicy, void (Isolate::*)(MicrotasksPolicy));
TAKE(33, &Isolate::SetAbortOnUncaughtExceptionCallback, void (Isolate::*)(Isolate::AbortOnUncaughtExceptionCallback));
TAKE(34, &Isolate::SetFatalErrorHandler, void (Isolate::*)(FatalErrorCallback));
TAKE(35, &Isolate::SetOOMErrorHandler, void (Isolate::*)(OOMErrorCallback));
TAKE(36, &Isolate::SetPrepareStackTraceCallback, void (Isolate::*)(PrepareStackTraceCallback));
TAKE(37, &Isolate::SetAllowWasmCodeGenerationCallback, void (Isolate::*)(AllowWasmCodeGenerationCallback));
TAKE(38, &Isolate::SetModifyCodeGenerationFromStringsCallback,
     void (Isolate::*)(ModifyCodeGenerationFromStringsCallback2));
TAKE(39, &Isolate::SetWasmStreamingCallback, void (Isolate::*)(WasmStreamingCallback));
TAKE(40, &Isolate::SetPromiseRejectCallback, void (Isolate::*)(PromiseRejectCallback));
TAKE(41, &Isolate::SetHostImportModuleDynamicallyCallback,
     void (Isolate::*)(HostImportModuleDynamicallyCallback));
TAKE(42, &Isolate::SetHostInitializeImportMetaObjectCallback,
     void (Isolate::*)(HostInitializeImportMetaObjectCallback));
TAKE(43, &Isolate::SetHostCreateShadowRealmContextCallback,
     void (Isolate::*)(HostCreateShadowRealmContextCallback));
#endif

// Constructors and destructors cannot be taken, only used.
void relink_use(Isolate* isolate, BackingStore* store) {
  Locker locker(isolate);
  HandleScope scope(isolate);
  delete store;
}

#else

namespace {

// Shows where the destructors stand: the slot of a function declared right after them in a class of our own would not.
// They also open what the real classes protect.
struct AfterPlatform : Platform {
#if RELINK_V8 >= 1204
  using Platform::CreateJobImpl;
  using Platform::PostDelayedTaskOnWorkerThreadImpl;
  using Platform::PostTaskOnWorkerThreadImpl;
#endif
  virtual void after() = 0;
};

struct AfterRunner : TaskRunner {
#if RELINK_V8 >= 1204
  using TaskRunner::PostDelayedTaskImpl;
  using TaskRunner::PostIdleTaskImpl;
  using TaskRunner::PostNonNestableDelayedTaskImpl;
  using TaskRunner::PostNonNestableTaskImpl;
  using TaskRunner::PostTaskImpl;
#endif
  virtual void after() = 0;
};

const relink_check::Number kNumbers[] = {
    SIZE(Local<Value>),
    SIZE(MaybeLocal<Value>),
    SIZE(Maybe<int>),
    SIZE(Maybe<bool>),
    VALUE(NewStringType::kNormal),
    VALUE(IntegrityLevel::kFrozen),
    VALUE(PropertyAttribute::ReadOnly),
    VALUE(PropertyAttribute::DontEnum),
    VALUE(PropertyAttribute::DontDelete),
    SIZE(HandleScope),
    SIZE(Locker),
    SIZE(BackingStore),
    SIZE(TaskPriority),
    VALUE(TaskPriority::kBestEffort),
    VALUE(TaskPriority::kUserVisible),
    VALUE(TaskPriority::kUserBlocking),
    SLOT(Task, Run),
    SLOT(IdleTask, Run),
#if RELINK_V8 < 1306
    SLOT(TaskRunner, PostTask),
    SLOT(TaskRunner, PostNonNestableTask),
    SLOT(TaskRunner, PostDelayedTask),
    SLOT(TaskRunner, PostNonNestableDelayedTask),
    SLOT(TaskRunner, PostIdleTask),
#endif
    SLOT(TaskRunner, IdleTasksEnabled),
    SLOT(TaskRunner, NonNestableTasksEnabled),
    SLOT(TaskRunner, NonNestableDelayedTasksEnabled),
#if RELINK_V8 >= 1204
    SLOT(AfterRunner, PostTaskImpl),
    SLOT(AfterRunner, PostNonNestableTaskImpl),
    SLOT(AfterRunner, PostDelayedTaskImpl),
    SLOT(AfterRunner, PostNonNestableDelayedTaskImpl),
    SLOT(AfterRunner, PostIdleTaskImpl),
#endif
    SLOT(AfterRunner, after),
    SLOT(ArrayBuffer::Allocator, Allocate),
    SLOT(ArrayBuffer::Allocator, AllocateUninitialized),
    SLOT(ArrayBuffer::Allocator, Free),
#if RELINK_V8 < 1306
    SLOT(ArrayBuffer::Allocator, Reallocate),
#endif
    SLOT(Platform, GetPageAllocator),
#if RELINK_V8 < 1306
    SLOT(Platform, GetZoneBackingAllocator),
#endif
    OVERLOAD(Platform, OnCriticalMemoryPressure, void (Platform::*)()),
#if RELINK_V8 < 1103
    OVERLOAD(Platform, OnCriticalMemoryPressure, bool (Platform::*)(size_t)),
#endif
    SLOT(Platform, NumberOfWorkerThreads),
#if RELINK_V8 < 1306
    OVERLOAD(Platform, GetForegroundTaskRunner, std::shared_ptr<TaskRunner> (Platform::*)(Isolate*)),
#endif
#if RELINK_V8 >= 1204
    OVERLOAD(Platform, GetForegroundTaskRunner, std::shared_ptr<TaskRunner> (Platform::*)(Isolate*, TaskPriority)),
    SLOT(Platform, GetThreadIsolatedAllocator),
    OVERLOAD(AfterPlatform, CreateJobImpl,
             std::unique_ptr<JobHandle> (Platform::*)(TaskPriority, std::unique_ptr<JobTask>, const SourceLocation&)),
    OVERLOAD(AfterPlatform, PostTaskOnWorkerThreadImpl,
             void (Platform::*)(TaskPriority, std::unique_ptr<Task>, const SourceLocation&)),
    OVERLOAD(AfterPlatform, PostDelayedTaskOnWorkerThreadImpl,
             void (Platform::*)(TaskPriority, std::unique_ptr<Task>, double, const SourceLocation&)),
#else
    OVERLOAD(Platform, CallOnWorkerThread, void (Platform::*)(std::unique_ptr<Task>)),
    OVERLOAD(Platform, CallBlockingTaskOnWorkerThread, void (Platform::*)(std::unique_ptr<Task>)),
    OVERLOAD(Platform, CallLowPriorityTaskOnWorkerThread, void (Platform::*)(std::unique_ptr<Task>)),
    OVERLOAD(Platform, CallDelayedOnWorkerThread, void (Platform::*)(std::unique_ptr<Task>, double)),
    OVERLOAD(Platform, PostJob, std::unique_ptr<JobHandle> (Platform::*)(TaskPriority, std::unique_ptr<JobTask>)),
#endif
#if RELINK_V8 >= 1103 && RELINK_V8 < 1204
    OVERLOAD(Platform, CreateJob, std::unique_ptr<JobHandle> (Platform::*)(TaskPriority, std::unique_ptr<JobTask>)),
#endif
#if RELINK_V8 >= 1103
    SLOT(Platform, CreateBlockingScope),
    SLOT(Platform, CurrentClockTimeMilliseconds),
    SLOT(Platform, CurrentClockTimeMillisecondsHighResolution),
#endif
    OVERLOAD(Platform, IdleTasksEnabled, bool (Platform::*)(Isolate*)),
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
