// guest.h: interfaces of the guest's V8 that its Node implements or calls and that later V8s changed, declared by hand in a
// namespace of their own: here `v8` is the host's V8.
//
// Virtual functions are declared completely and in order, for their slots matter. Types of arguments that are the same in both
// are the host's. tests/neutral.rs compares the slots with the catalogue.
#ifndef RELINK_GUEST_H_
#define RELINK_GUEST_H_

#include <v8-platform.h>
#include <v8-profiler.h>
#include <v8.h>

#include "cxx.h"

#if __has_include(<v8-inspector.h>)
#define RELINK_INSPECTOR 1
#include <v8-inspector.h>
#endif

// The host's V8 as one number: 1103 is 11.3.
#define RELINK_HOST (V8_MAJOR_VERSION * 100 + V8_MINOR_VERSION)
// What hosts' V8s have from one version on, by name: made of src/abi/v8/*.toml. What no V8 has is not defined, and 0 to `#if`.
#include "host_features.h"

// The guest's likewise, as the kit compiles it in: 1002 is Node 18's, 1103 that of Node 20, 1204 that of Node 22,
// 1306 that of Node 24.
#ifndef RELINK_GUEST
#error "RELINK_GUEST is not defined"
#endif

namespace guest {

#if RELINK_GUEST >= 1204

// v8-source-location.h: where a task is posted. Nobody says so here.
struct SourceLocation {
  const char* function = nullptr;
  const char* file = nullptr;
  size_t line = 0;
};

#endif

// v8-platform.h
class TaskRunner {
 public:
#if RELINK_GUEST < 1306
  virtual void PostTask(unique_ptr<v8::Task> task) = 0;
  virtual void PostNonNestableTask(unique_ptr<v8::Task> task) = 0;
  virtual void PostDelayedTask(unique_ptr<v8::Task> task, double delay_in_seconds) = 0;
  virtual void PostNonNestableDelayedTask(unique_ptr<v8::Task> task, double delay_in_seconds) = 0;
  virtual void PostIdleTask(unique_ptr<v8::IdleTask> task) = 0;
#endif
  virtual bool IdleTasksEnabled() = 0;
  virtual bool NonNestableTasksEnabled() const = 0;
  virtual bool NonNestableDelayedTasksEnabled() const = 0;
  TaskRunner() = default;
  virtual ~TaskRunner() = default;
#if RELINK_GUEST >= 1204
  virtual void PostTaskImpl(unique_ptr<v8::Task> task, const SourceLocation& location) = 0;
  virtual void PostNonNestableTaskImpl(unique_ptr<v8::Task> task, const SourceLocation& location) = 0;
  virtual void PostDelayedTaskImpl(unique_ptr<v8::Task> task, double delay, const SourceLocation& location) = 0;
  virtual void PostNonNestableDelayedTaskImpl(unique_ptr<v8::Task> task, double delay,
                                              const SourceLocation& location) = 0;
  virtual void PostIdleTaskImpl(unique_ptr<v8::IdleTask> task, const SourceLocation& location) = 0;
#endif
#if RELINK_GUEST >= 1306
  void PostTask(unique_ptr<v8::Task> task) { PostTaskImpl(std::move(task), {}); }
  void PostNonNestableTask(unique_ptr<v8::Task> task) { PostNonNestableTaskImpl(std::move(task), {}); }
  void PostDelayedTask(unique_ptr<v8::Task> task, double delay) { PostDelayedTaskImpl(std::move(task), delay, {}); }
  void PostNonNestableDelayedTask(unique_ptr<v8::Task> task, double delay) {
    PostNonNestableDelayedTaskImpl(std::move(task), delay, {});
  }
  void PostIdleTask(unique_ptr<v8::IdleTask> task) { PostIdleTaskImpl(std::move(task), {}); }
#endif
};

// v8-platform.h
class Platform {
 public:
  virtual ~Platform() = default;
  virtual v8::PageAllocator* GetPageAllocator() = 0;
#if RELINK_GUEST >= 1204
  virtual void* GetThreadIsolatedAllocator() = 0;
#endif
#if RELINK_GUEST < 1306
  virtual void* GetZoneBackingAllocator() = 0;
#endif
  virtual void OnCriticalMemoryPressure() = 0;
#if RELINK_GUEST < 1103
  virtual bool OnCriticalMemoryPressure(size_t length) = 0;
#endif
  virtual int NumberOfWorkerThreads() = 0;
#if RELINK_GUEST < 1306
  virtual shared_ptr<TaskRunner> GetForegroundTaskRunner(v8::Isolate* isolate) = 0;
#endif
#if RELINK_GUEST < 1204
  virtual void CallOnWorkerThread(unique_ptr<v8::Task> task) = 0;
  virtual void CallBlockingTaskOnWorkerThread(unique_ptr<v8::Task> task) = 0;
  virtual void CallLowPriorityTaskOnWorkerThread(unique_ptr<v8::Task> task) = 0;
  virtual void CallDelayedOnWorkerThread(unique_ptr<v8::Task> task, double delay_in_seconds) = 0;
#else
  virtual shared_ptr<TaskRunner> GetForegroundTaskRunner(v8::Isolate* isolate, v8::TaskPriority priority) = 0;
#endif
  virtual bool IdleTasksEnabled(v8::Isolate* isolate) = 0;
#if RELINK_GUEST < 1204
  virtual unique_ptr<v8::JobHandle> PostJob(v8::TaskPriority priority, unique_ptr<v8::JobTask> job) = 0;
#if RELINK_GUEST >= 1103
  virtual unique_ptr<v8::JobHandle> CreateJob(v8::TaskPriority priority, unique_ptr<v8::JobTask> job) = 0;
#endif
#endif
#if RELINK_GUEST >= 1103
  virtual void CreateBlockingScope() = 0;  // returns an object and takes a number; nobody calls it
#endif
  virtual double MonotonicallyIncreasingTime() = 0;
#if RELINK_GUEST >= 1103
  virtual int64_t CurrentClockTimeMilliseconds() = 0;
#endif
  virtual double CurrentClockTimeMillis() = 0;
#if RELINK_GUEST >= 1103
  virtual double CurrentClockTimeMillisecondsHighResolution() = 0;
#endif
  virtual void* GetStackTracePrinter() = 0;
  virtual v8::TracingController* GetTracingController() = 0;
  virtual void DumpWithoutCrashing() = 0;
  virtual void* GetHighAllocationThroughputObserver() = 0;
#if RELINK_GUEST >= 1204
  virtual unique_ptr<v8::JobHandle> CreateJobImpl(v8::TaskPriority priority, unique_ptr<v8::JobTask> job,
                                                       const SourceLocation& location) = 0;
  virtual void PostTaskOnWorkerThreadImpl(v8::TaskPriority priority, unique_ptr<v8::Task> task,
                                          const SourceLocation& location) = 0;
  virtual void PostDelayedTaskOnWorkerThreadImpl(v8::TaskPriority priority, unique_ptr<v8::Task> task, double delay,
                                                 const SourceLocation& location) = 0;
#endif
};

#if RELINK_GUEST < 1204  // what later V8s have, too

// v8-value-serializer.h: ValueSerializer::Delegate
class SerializerDelegate {
 public:
  virtual ~SerializerDelegate() = default;
  virtual void ThrowDataCloneError(v8::Local<v8::String> message) = 0;
  virtual v8::Maybe<bool> WriteHostObject(v8::Isolate* isolate, v8::Local<v8::Object> object) = 0;
  virtual v8::Maybe<uint32_t> GetSharedArrayBufferId(v8::Isolate* isolate,
                                                     v8::Local<v8::SharedArrayBuffer> buffer) = 0;
  virtual v8::Maybe<uint32_t> GetWasmModuleTransferId(v8::Isolate* isolate, v8::Local<v8::WasmModuleObject> module) = 0;
#if RELINK_GUEST < 1103
  virtual bool SupportsSharedValues() const = 0;
  virtual v8::Maybe<uint32_t> GetSharedValueId(v8::Isolate* isolate, v8::Local<v8::Value> value) = 0;
#else
  virtual bool AdoptSharedValueConveyor(v8::Isolate* isolate, v8::SharedValueConveyor&& conveyor) = 0;
#endif
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
#if RELINK_GUEST < 1103
  virtual bool SupportsSharedValues() const = 0;
  virtual v8::MaybeLocal<v8::Value> GetSharedValueFromId(v8::Isolate* isolate, uint32_t shared_value_id) = 0;
#else
  virtual const v8::SharedValueConveyor* GetSharedValueConveyor(v8::Isolate* isolate) = 0;
#endif
};

#endif

#if RELINK_GUEST >= 1103 && RELINK_GUEST < 1306

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

#endif

#if RELINK_GUEST < 1306

// v8-profiler.h: EmbedderGraph. Its nodes are the host's.
class EmbedderGraph {
 public:
  using Node = v8::EmbedderGraph::Node;
  virtual Node* V8Node(const v8::Local<v8::Value>& value) = 0;
  virtual Node* AddNode(unique_ptr<Node> node) = 0;
  virtual void AddEdge(Node* from, Node* to, const char* name) = 0;
  virtual ~EmbedderGraph() = default;
};

// v8-array-buffer.h: ArrayBuffer::Allocator
class Allocator {
 public:
  virtual ~Allocator() = default;
  virtual void* Allocate(size_t length) = 0;
  virtual void* AllocateUninitialized(size_t length) = 0;
  virtual void Free(void* data, size_t length) = 0;
  virtual void* Reallocate(void* data, size_t old_length, size_t new_length) = 0;
};

// v8-primitive.h: String::ExternalStringResource and String::ExternalOneByteStringResource
template <class Character>
class ExternalStringOf {
 public:
  virtual ~ExternalStringOf() = default;
  virtual bool IsCacheable() const = 0;
  virtual void Dispose() = 0;
  virtual void Lock() const = 0;
  virtual void Unlock() const = 0;
  virtual const Character* data() const = 0;
  virtual size_t length() const = 0;
};
using ExternalString = ExternalStringOf<uint16_t>;
using ExternalOneByteString = ExternalStringOf<char>;

#endif

// v8-template.h: what an interceptor says by its result. (14.6 has the numbers the other way about.)
#if RELINK_GUEST < 1204
using Intercepted = void;
#else
enum class Intercepted : uint8_t { kNo, kYes };
#endif

// v8-template.h: NamedPropertyHandlerConfiguration, and with numbers as keys IndexedPropertyHandlerConfiguration. (What setter
// and definer are told of the call was of another type, with the same words.)
template <class Key>
struct PropertyHandlers {
  template <class Answer>
  using Info = v8::PropertyCallbackInfo<Answer>;
  Intercepted (*getter)(Key, const Info<v8::Value>&);
  Intercepted (*setter)(Key, v8::Local<v8::Value>, const Info<void>&);
  Intercepted (*query)(Key, const Info<v8::Integer>&);
  Intercepted (*deleter)(Key, const Info<v8::Boolean>&);
  void (*enumerator)(const Info<v8::Array>&);
  Intercepted (*definer)(Key, const v8::PropertyDescriptor&, const Info<void>&);
  Intercepted (*descriptor)(Key, const Info<v8::Value>&);
  v8::Local<v8::Value> data;
  v8::PropertyHandlerFlags flags;
};

#if RELINK_HOST >= 1204

// v8-template.h: PropertyHandlerFlags. The bit that 12.4 has no more, kAllCanRead, was the lowest. 12.4 has one, the tenth, that says
// that interceptors have an answer, which all of Node 22's have.
inline v8::PropertyHandlerFlags hosts_flags(v8::PropertyHandlerFlags guests) {
  static_assert(static_cast<int>(v8::PropertyHandlerFlags::kHasNoSideEffect) == 4, "8 in 10.2");
  static_assert(static_cast<int>(v8::PropertyHandlerFlags::kNonMasking) == 1, "2 in 10.2");
  constexpr int kAll = 7;
  return static_cast<v8::PropertyHandlerFlags>(RELINK_GUEST < 1204 ? static_cast<int>(guests) >> 1
                                                                   : static_cast<int>(guests) & kAll);
}

#endif

#ifdef RELINK_INSPECTOR

using v8_inspector::StringBuffer;
using v8_inspector::StringView;
using v8_inspector::V8InspectorSession;
using v8_inspector::V8StackTrace;
using v8_inspector::V8StackTraceId;

class WebDriverValue;  // never made here
class CommandLineScope {
 public:
  virtual ~CommandLineScope() = default;
};

// v8-inspector.h: V8InspectorClient
class InspectorClient {
 public:
  virtual ~InspectorClient() = default;
  virtual void runMessageLoopOnPause(int group) = 0;
#if RELINK_GUEST >= 1103
  virtual void runMessageLoopOnInstrumentationPause(int group) = 0;
#endif
  virtual void quitMessageLoopOnPause() = 0;
  virtual void runIfWaitingForDebugger(int group) = 0;
  virtual void muteMetrics(int group) = 0;
  virtual void unmuteMetrics(int group) = 0;
  virtual void beginUserGesture() = 0;
  virtual void endUserGesture() = 0;
#if RELINK_GUEST < 1204
  virtual unique_ptr<WebDriverValue> serializeToWebDriverValue(v8::Local<v8::Value> value, int depth) = 0;
#else
  virtual unique_ptr<v8_inspector::DeepSerializationResult> deepSerialize(v8::Local<v8::Value> value, int depth,
                                                                               v8::Local<v8::Object> options) = 0;
#endif
  virtual unique_ptr<StringBuffer> valueSubtype(v8::Local<v8::Value> value) = 0;
  virtual unique_ptr<StringBuffer> descriptionForValueSubtype(v8::Local<v8::Context> context,
                                                                   v8::Local<v8::Value> value) = 0;
  virtual bool isInspectableHeapObject(v8::Local<v8::Object> object) = 0;
  virtual v8::Local<v8::Context> ensureDefaultContextInGroup(int group) = 0;
  virtual void beginEnsureAllContextsInGroup(int group) = 0;
  virtual void endEnsureAllContextsInGroup(int group) = 0;
  virtual void installAdditionalCommandLineAPI(v8::Local<v8::Context> context, v8::Local<v8::Object> object) = 0;
  virtual void consoleAPIMessage(int group, v8::Isolate::MessageErrorLevel level, const StringView& message,
                                 const StringView& url, unsigned line, unsigned column, V8StackTrace* trace) = 0;
  virtual v8::MaybeLocal<v8::Value> memoryInfo(v8::Isolate* isolate, v8::Local<v8::Context> context) = 0;
#if RELINK_GUEST < 1306
  virtual void consoleTime(const StringView& title) = 0;
  virtual void consoleTimeEnd(const StringView& title) = 0;
  virtual void consoleTimeStamp(const StringView& title) = 0;
#else
  virtual void consoleTime(v8::Isolate* isolate, v8::Local<v8::String> title) = 0;
  virtual void consoleTimeEnd(v8::Isolate* isolate, v8::Local<v8::String> title) = 0;
  virtual void consoleTimeStamp(v8::Isolate* isolate, v8::Local<v8::String> title) = 0;
  virtual void consoleTimeStampWithArgs(v8::Isolate* isolate, v8::Local<v8::String> title,
                                        const v8::LocalVector<v8::Value>& arguments) = 0;
#endif
  virtual void consoleClear(int group) = 0;
  virtual double currentTimeMS() = 0;
  virtual void startRepeatingTimer(double interval, void (*callback)(void*), void* data) = 0;
  virtual void cancelTimer(void* data) = 0;
  virtual bool canExecuteScripts(int group) = 0;
  virtual void maxAsyncCallStackDepthChanged(int depth) = 0;
  virtual unique_ptr<StringBuffer> resourceNameToUrl(const StringView& name) = 0;
  virtual int64_t generateUniqueId() = 0;
  virtual void dispatchError(v8::Local<v8::Context> context, v8::Local<v8::Message> message,
                             v8::Local<v8::Value> value) = 0;
};

// v8-inspector.h: V8InspectorSession
class InspectorSession {
 public:
  virtual ~InspectorSession() = default;
  virtual void addInspectedObject(unique_ptr<V8InspectorSession::Inspectable> object) = 0;
  virtual void dispatchProtocolMessage(StringView message) = 0;
  virtual vector<uint8_t> state() = 0;
  virtual void supportedDomains() = 0;  // this and the next two return what the public headers do not define; Node has no call
#if RELINK_GUEST < 1204
  virtual unique_ptr<CommandLineScope> initializeCommandLineAPIScope(int context) = 0;
#endif
  virtual void schedulePauseOnNextStatement(StringView reason, StringView details) = 0;
  virtual void cancelPauseOnNextStatement() = 0;
  virtual void breakProgram(StringView reason, StringView details) = 0;
  virtual void setSkipAllPauses(bool skip) = 0;
  virtual void resume(bool terminate = false) = 0;
  virtual void stepOver() = 0;
  virtual void searchInTextByLines() = 0;
  virtual void wrapObject() = 0;
  virtual bool unwrapObject(unique_ptr<StringBuffer>* error, StringView object, v8::Local<v8::Value>* value,
                            v8::Local<v8::Context>* context, unique_ptr<StringBuffer>* group) = 0;
  virtual void releaseObjectGroup(StringView group) = 0;
  virtual void triggerPreciseCoverageDeltaUpdate(StringView occasion) = 0;
#if RELINK_GUEST >= 1204
  virtual void evaluate() = 0;  // returns an object of V8's; Node has no call
#endif
#if RELINK_GUEST >= 1103
  virtual void stop() = 0;
#endif
};

// Until 12.4 the host's sessions have the functions that guests of 10.2 know, and more behind them.
#if RELINK_GUEST < 1103 && RELINK_HOST < 1204 && !RELINK_LIBCXX
#define RELINK_SESSION_IS_HOSTS 1
using Session = V8InspectorSession;
#else
using Session = InspectorSession;
#endif

// v8-inspector.h: V8Inspector::Channel
#if RELINK_LIBCXX
class Channel {
 public:
  virtual ~Channel() = default;
  virtual void sendResponse(int call, unique_ptr<StringBuffer> message) = 0;
  virtual void sendNotification(unique_ptr<StringBuffer> message) = 0;
  virtual void flushProtocolNotifications() = 0;
};
#else
using Channel = v8_inspector::V8Inspector::Channel;
#endif

// v8-inspector.h: V8Inspector
class Inspector {
 public:
  virtual ~Inspector() = default;
  virtual void contextCreated(const v8_inspector::V8ContextInfo& info) = 0;
  virtual void contextDestroyed(v8::Local<v8::Context> context) = 0;
  virtual void resetContextGroup(int group) = 0;
  virtual v8::MaybeLocal<v8::Context> contextById(int context) = 0;
  virtual v8_inspector::V8DebuggerId uniqueDebuggerId(int context) = 0;
#if RELINK_GUEST >= 1306
  virtual uint64_t isolateId() = 0;
#endif
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
                                   unique_ptr<V8StackTrace> trace, int script) = 0;
  virtual void exceptionRevoked(v8::Local<v8::Context> context, unsigned exception, StringView message) = 0;
  virtual bool associateExceptionData(v8::Local<v8::Context> context, v8::Local<v8::Value> exception,
                                      v8::Local<v8::Name> key, v8::Local<v8::Value> value) = 0;
#if RELINK_GUEST < 1103
  virtual unique_ptr<Session> connect(int group, Channel* channel, StringView state) = 0;
#else
  virtual unique_ptr<Session> connect(int group, Channel* channel,
                                           StringView state, v8_inspector::V8Inspector::ClientTrustLevel trust,
                                           v8_inspector::V8Inspector::SessionPauseState pause) = 0;
#endif
  virtual unique_ptr<V8StackTrace> createStackTrace(v8::Local<v8::StackTrace> trace) = 0;
  virtual unique_ptr<V8StackTrace> captureStackTrace(bool full) = 0;
};

#endif  // RELINK_INSPECTOR

}  // namespace guest

// Handles and small results are passed in registers on both sides.
static_assert(sizeof(v8::Local<v8::Value>) == sizeof(void*), "v8-local-handle.h");
static_assert(sizeof(v8::MaybeLocal<v8::Value>) == sizeof(void*), "v8-local-handle.h");
static_assert(sizeof(v8::Maybe<bool>) == 2 && sizeof(v8::Maybe<uint32_t>) == 8, "v8-maybe.h");
static_assert(std::is_trivially_copyable<v8::Local<v8::Value>>::value, "v8-local-handle.h");
static_assert(std::is_trivially_copyable<v8::MaybeLocal<v8::Value>>::value, "v8-local-handle.h");
static_assert(std::is_trivially_copyable<v8::Maybe<bool>>::value, "v8-maybe.h");

#endif  // RELINK_GUEST_H_
