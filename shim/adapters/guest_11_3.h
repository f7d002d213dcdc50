// guest_11_3.h: interfaces of V8 11.3 that Node 20 implements or calls, that are others than those of 10.2 and that later V8s
// changed, declared by hand as guest_10_2.h does it.
#ifndef RELINK_GUEST_11_3_H_
#define RELINK_GUEST_11_3_H_

#include "guest_10_2.h"

namespace guest {

// v8-platform.h
class Platform {
 public:
  virtual ~Platform() = default;
  virtual v8::PageAllocator* GetPageAllocator() = 0;
  virtual void* GetZoneBackingAllocator() = 0;
  virtual void OnCriticalMemoryPressure() = 0;
  virtual int NumberOfWorkerThreads() = 0;
  virtual std::shared_ptr<TaskRunner> GetForegroundTaskRunner(v8::Isolate* isolate) = 0;
  virtual void CallOnWorkerThread(std::unique_ptr<v8::Task> task) = 0;
  virtual void CallBlockingTaskOnWorkerThread(std::unique_ptr<v8::Task> task) = 0;
  virtual void CallLowPriorityTaskOnWorkerThread(std::unique_ptr<v8::Task> task) = 0;
  virtual void CallDelayedOnWorkerThread(std::unique_ptr<v8::Task> task, double delay_in_seconds) = 0;
  virtual bool IdleTasksEnabled(v8::Isolate* isolate) = 0;
  virtual std::unique_ptr<v8::JobHandle> PostJob(v8::TaskPriority priority, std::unique_ptr<v8::JobTask> job) = 0;
  virtual std::unique_ptr<v8::JobHandle> CreateJob(v8::TaskPriority priority, std::unique_ptr<v8::JobTask> job) = 0;
  virtual void CreateBlockingScope() = 0;  // returns an object and takes a number; nobody calls it
  virtual double MonotonicallyIncreasingTime() = 0;
  virtual int64_t CurrentClockTimeMilliseconds() = 0;
  virtual double CurrentClockTimeMillis() = 0;
  virtual double CurrentClockTimeMillisecondsHighResolution() = 0;
  virtual void* GetStackTracePrinter() = 0;
  virtual v8::TracingController* GetTracingController() = 0;
  virtual void DumpWithoutCrashing() = 0;
  virtual void* GetHighAllocationThroughputObserver() = 0;
};

// v8-value-serializer.h: ValueSerializer::Delegate
class SerializerDelegate {
 public:
  virtual ~SerializerDelegate() = default;
  virtual void ThrowDataCloneError(v8::Local<v8::String> message) = 0;
  virtual v8::Maybe<bool> WriteHostObject(v8::Isolate* isolate, v8::Local<v8::Object> object) = 0;
  virtual v8::Maybe<uint32_t> GetSharedArrayBufferId(v8::Isolate* isolate,
                                                     v8::Local<v8::SharedArrayBuffer> buffer) = 0;
  virtual v8::Maybe<uint32_t> GetWasmModuleTransferId(v8::Isolate* isolate, v8::Local<v8::WasmModuleObject> module) = 0;
  virtual bool AdoptSharedValueConveyor(v8::Isolate* isolate, v8::SharedValueConveyor&& conveyor) = 0;
  virtual void* ReallocateBufferMemory(void* old_buffer, size_t size, size_t* actual_size) = 0;
  virtual void FreeBufferMemory(void* buffer) = 0;
};

// v8-value-serializer.h: ValueDeserializer::Delegate
class DeserializerDelegate {
 public:
  virtual ~DeserializerDelegate() = default;
  virtual v8::MaybeLocal<v8::Object> ReadHostObject(v8::Isolate* isolate) = 0;
  virtual v8::MaybeLocal<v8::WasmModuleObject> GetWasmModuleFromId(v8::Isolate* isolate, uint32_t transfer_id) = 0;
  virtual v8::MaybeLocal<v8::SharedArrayBuffer> GetSharedArrayBufferFromId(v8::Isolate* isolate,
                                                                           uint32_t clone_id) = 0;
  virtual const v8::SharedValueConveyor* GetSharedValueConveyor(v8::Isolate* isolate) = 0;
};

// v8-cppgc.h: WrapperDescriptor and CppHeapCreateParams
struct WrapperDescriptor {
  int wrappable_type_index;
  int wrappable_instance_index;
  uint16_t embedder_id_for_garbage_collected;
};
struct CppHeapCreateParams {
  const void* custom_spaces[3];  // a vector
  WrapperDescriptor wrapper_descriptor;
  unsigned char marking_support;
  unsigned char sweeping_support;
};

#ifdef RELINK_INSPECTOR

// v8-inspector.h: V8InspectorClient
class InspectorClient {
 public:
  virtual ~InspectorClient() = default;
  virtual void runMessageLoopOnPause(int group) = 0;
  virtual void runMessageLoopOnInstrumentationPause(int group) = 0;
  virtual void quitMessageLoopOnPause() = 0;
  virtual void runIfWaitingForDebugger(int group) = 0;
  virtual void muteMetrics(int group) = 0;
  virtual void unmuteMetrics(int group) = 0;
  virtual void beginUserGesture() = 0;
  virtual void endUserGesture() = 0;
  virtual std::unique_ptr<WebDriverValue> serializeToWebDriverValue(v8::Local<v8::Value> value, int depth) = 0;
  virtual std::unique_ptr<StringBuffer> valueSubtype(v8::Local<v8::Value> value) = 0;
  virtual std::unique_ptr<StringBuffer> descriptionForValueSubtype(v8::Local<v8::Context> context,
                                                                   v8::Local<v8::Value> value) = 0;
  virtual bool isInspectableHeapObject(v8::Local<v8::Object> object) = 0;
  virtual v8::Local<v8::Context> ensureDefaultContextInGroup(int group) = 0;
  virtual void beginEnsureAllContextsInGroup(int group) = 0;
  virtual void endEnsureAllContextsInGroup(int group) = 0;
  virtual void installAdditionalCommandLineAPI(v8::Local<v8::Context> context, v8::Local<v8::Object> object) = 0;
  virtual void consoleAPIMessage(int group, v8::Isolate::MessageErrorLevel level, const StringView& message,
                                 const StringView& url, unsigned line, unsigned column, V8StackTrace* trace) = 0;
  virtual v8::MaybeLocal<v8::Value> memoryInfo(v8::Isolate* isolate, v8::Local<v8::Context> context) = 0;
  virtual void consoleTime(const StringView& title) = 0;
  virtual void consoleTimeEnd(const StringView& title) = 0;
  virtual void consoleTimeStamp(const StringView& title) = 0;
  virtual void consoleClear(int group) = 0;
  virtual double currentTimeMS() = 0;
  virtual void startRepeatingTimer(double interval, void (*callback)(void*), void* data) = 0;
  virtual void cancelTimer(void* data) = 0;
  virtual bool canExecuteScripts(int group) = 0;
  virtual void maxAsyncCallStackDepthChanged(int depth) = 0;
  virtual std::unique_ptr<StringBuffer> resourceNameToUrl(const StringView& name) = 0;
  virtual int64_t generateUniqueId() = 0;
  virtual void dispatchError(v8::Local<v8::Context> context, v8::Local<v8::Message> message,
                             v8::Local<v8::Value> value) = 0;
};

// v8-inspector.h: V8InspectorSession
class InspectorSession {
 public:
  virtual ~InspectorSession() = default;
  virtual void addInspectedObject(std::unique_ptr<V8InspectorSession::Inspectable> object) = 0;
  virtual void dispatchProtocolMessage(StringView message) = 0;
  virtual std::vector<uint8_t> state() = 0;
  virtual void supportedDomains() = 0;  // this and the next two return what the public headers do not define; Node has no call
  virtual std::unique_ptr<CommandLineScope> initializeCommandLineAPIScope(int context) = 0;
  virtual void schedulePauseOnNextStatement(StringView reason, StringView details) = 0;
  virtual void cancelPauseOnNextStatement() = 0;
  virtual void breakProgram(StringView reason, StringView details) = 0;
  virtual void setSkipAllPauses(bool skip) = 0;
  virtual void resume(bool terminate = false) = 0;
  virtual void stepOver() = 0;
  virtual void searchInTextByLines() = 0;
  virtual void wrapObject() = 0;
  virtual bool unwrapObject(std::unique_ptr<StringBuffer>* error, StringView object, v8::Local<v8::Value>* value,
                            v8::Local<v8::Context>* context, std::unique_ptr<StringBuffer>* group) = 0;
  virtual void releaseObjectGroup(StringView group) = 0;
  virtual void triggerPreciseCoverageDeltaUpdate(StringView occasion) = 0;
  virtual void stop() = 0;
};
using Session = InspectorSession;

// v8-inspector.h: V8Inspector
class Inspector {
 public:
  virtual ~Inspector() = default;
  virtual void contextCreated(const v8_inspector::V8ContextInfo& info) = 0;
  virtual void contextDestroyed(v8::Local<v8::Context> context) = 0;
  virtual void resetContextGroup(int group) = 0;
  virtual v8::MaybeLocal<v8::Context> contextById(int context) = 0;
  virtual v8_inspector::V8DebuggerId uniqueDebuggerId(int context) = 0;
  virtual void idleStarted() = 0;
  virtual void idleFinished() = 0;
  virtual void asyncTaskScheduled(StringView name, void* task, bool recurring) = 0;
  virtual void asyncTaskCanceled(void* task) = 0;
  virtual void asyncTaskStarted(void* task) = 0;
  virtual void asyncTaskFinished(void* task) = 0;
  virtual void allAsyncTasksCanceled() = 0;
  virtual V8StackTraceId storeCurrentStackTrace(StringView description) = 0;
  virtual void externalAsyncTaskStarted(const V8StackTraceId& parent) = 0;
  virtual void externalAsyncTaskFinished(const V8StackTraceId& parent) = 0;
  virtual unsigned exceptionThrown(v8::Local<v8::Context> context, StringView message, v8::Local<v8::Value> exception,
                                   StringView detailed, StringView url, unsigned line, unsigned column,
                                   std::unique_ptr<V8StackTrace> trace, int script) = 0;
  virtual void exceptionRevoked(v8::Local<v8::Context> context, unsigned exception, StringView message) = 0;
  virtual bool associateExceptionData(v8::Local<v8::Context> context, v8::Local<v8::Value> exception,
                                      v8::Local<v8::Name> key, v8::Local<v8::Value> value) = 0;
  virtual std::unique_ptr<InspectorSession> connect(int group, v8_inspector::V8Inspector::Channel* channel,
                                                    StringView state,
                                                    v8_inspector::V8Inspector::ClientTrustLevel trust,
                                                    v8_inspector::V8Inspector::SessionPauseState pause) = 0;
  virtual std::unique_ptr<V8StackTrace> createStackTrace(v8::Local<v8::StackTrace> trace) = 0;
  virtual std::unique_ptr<V8StackTrace> captureStackTrace(bool full) = 0;
};

#endif  // RELINK_INSPECTOR

}  // namespace guest

#endif  // RELINK_GUEST_11_3_H_
