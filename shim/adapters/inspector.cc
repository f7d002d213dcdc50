// inspector.cc: V8Inspector and its client between a guest and a host whose V8 has others.
#include "guest.h"
#include "no_inspector.h"
#include "unit.h"

#ifdef RELINK_INSPECTOR

// V8Inspector::create, null where an embedder has built V8 without the inspector.
extern "C" __attribute__((weak)) void relink_hosts_inspector() __asm__(
    "_ZN12v8_inspector11V8Inspector6createEPN2v87IsolateEPNS_17V8InspectorClientE");

namespace relink {
namespace {

using v8::Context;
using v8::Local;
using v8::MaybeLocal;
using v8::Value;
using namespace v8_inspector;

// The guest's client, as the host's inspector would have it.
class Client final : public V8InspectorClient {
 public:
  explicit Client(guest::InspectorClient* guest) : guest_(guest) {}
  void runMessageLoopOnPause(int group) override { guest_->runMessageLoopOnPause(group); }
#if RELINK_GUEST >= 1103
  void runMessageLoopOnInstrumentationPause(int group) override {
    guest_->runMessageLoopOnInstrumentationPause(group);
  }
#endif
  void quitMessageLoopOnPause() override { guest_->quitMessageLoopOnPause(); }
  void runIfWaitingForDebugger(int group) override { guest_->runIfWaitingForDebugger(group); }
  void muteMetrics(int group) override { guest_->muteMetrics(group); }
  void unmuteMetrics(int group) override { guest_->unmuteMetrics(group); }
  void beginUserGesture() override { guest_->beginUserGesture(); }
  void endUserGesture() override { guest_->endUserGesture(); }
#if RELINK_GUEST >= 1204
  std::unique_ptr<DeepSerializationResult> deepSerialize(Local<Value> value, int depth,
                                                         Local<v8::Object> options) override {
    return guest_->deepSerialize(value, depth, options);
  }
#endif
  std::unique_ptr<StringBuffer> valueSubtype(Local<Value> value) override { return guest_->valueSubtype(value); }
  std::unique_ptr<StringBuffer> descriptionForValueSubtype(Local<Context> context, Local<Value> value) override {
    return guest_->descriptionForValueSubtype(context, value);
  }
  bool isInspectableHeapObject(Local<v8::Object> object) override { return guest_->isInspectableHeapObject(object); }
  Local<Context> ensureDefaultContextInGroup(int group) override { return guest_->ensureDefaultContextInGroup(group); }
  void beginEnsureAllContextsInGroup(int group) override { guest_->beginEnsureAllContextsInGroup(group); }
  void endEnsureAllContextsInGroup(int group) override { guest_->endEnsureAllContextsInGroup(group); }
  void installAdditionalCommandLineAPI(Local<Context> context, Local<v8::Object> object) override {
    guest_->installAdditionalCommandLineAPI(context, object);
  }
  void consoleAPIMessage(int group, v8::Isolate::MessageErrorLevel level, const StringView& message,
                         const StringView& url, unsigned line, unsigned column, V8StackTrace* trace) override {
    guest_->consoleAPIMessage(group, level, message, url, line, column, trace);
  }
  MaybeLocal<Value> memoryInfo(v8::Isolate* isolate, Local<Context> context) override {
    return guest_->memoryInfo(isolate, context);
  }
#if RELINK_GUEST >= 1306
  void consoleTime(v8::Isolate* isolate, Local<v8::String> title) override { guest_->consoleTime(isolate, title); }
  void consoleTimeEnd(v8::Isolate* isolate, Local<v8::String> title) override {
    guest_->consoleTimeEnd(isolate, title);
  }
  void consoleTimeStamp(v8::Isolate* isolate, Local<v8::String> title) override {
    guest_->consoleTimeStamp(isolate, title);
  }
  void consoleTimeStampWithArgs(v8::Isolate* isolate, Local<v8::String> title,
                                const v8::LocalVector<Value>& arguments) override {
    guest_->consoleTimeStampWithArgs(isolate, title, arguments);
  }
#elif !RELINK_TITLES_ARE_STRINGS
  void consoleTime(const StringView& title) override { guest_->consoleTime(title); }
  void consoleTimeEnd(const StringView& title) override { guest_->consoleTimeEnd(title); }
  void consoleTimeStamp(const StringView& title) override { guest_->consoleTimeStamp(title); }
#else
  void consoleTime(v8::Isolate* isolate, Local<v8::String> title) override {
    told(isolate, title, &guest::InspectorClient::consoleTime);
  }
  void consoleTimeEnd(v8::Isolate* isolate, Local<v8::String> title) override {
    told(isolate, title, &guest::InspectorClient::consoleTimeEnd);
  }
  void consoleTimeStamp(v8::Isolate* isolate, Local<v8::String> title) override {
    told(isolate, title, &guest::InspectorClient::consoleTimeStamp);
  }
#endif
  void consoleClear(int group) override { guest_->consoleClear(group); }
  double currentTimeMS() override { return guest_->currentTimeMS(); }
  void startRepeatingTimer(double interval, TimerCallback callback, void* data) override {
    guest_->startRepeatingTimer(interval, callback, data);
  }
  void cancelTimer(void* data) override { guest_->cancelTimer(data); }
  bool canExecuteScripts(int group) override { return guest_->canExecuteScripts(group); }
  void maxAsyncCallStackDepthChanged(int depth) override { guest_->maxAsyncCallStackDepthChanged(depth); }
  std::unique_ptr<StringBuffer> resourceNameToUrl(const StringView& name) override {
    return guest_->resourceNameToUrl(name);
  }
  int64_t generateUniqueId() override { return guest_->generateUniqueId(); }
#if RELINK_HOST >= 1002
  void dispatchError(Local<Context> context, Local<v8::Message> message, Local<Value> value) override {
    guest_->dispatchError(context, message, value);
  }
#endif

 private:
#if RELINK_GUEST < 1306 && RELINK_TITLES_ARE_STRINGS
  // A title is a string of V8's, and was its characters before.
  void told(v8::Isolate* isolate, Local<v8::String> title, void (guest::InspectorClient::*function)(const StringView&)) {
    v8::String::Value text(isolate, title);
    (guest_->*function)(StringView(*text, text.length()));
  }
#endif

  guest::InspectorClient* guest_;
};

#if RELINK_HOST < 1002

guest::unique_ptr<guest::Session> guests_session(V8Inspector* host, int group, guest::Channel* channel,
                                               StringView state) {
  return host->connect(group, channel, state);
}

#elif RELINK_SESSION_IS_HOSTS

guest::unique_ptr<guest::Session> guests_session(V8Inspector* host, int group, guest::Channel* channel,
                                               StringView state, V8Inspector::ClientTrustLevel trust) {
  return host->connect(group, channel, state, trust);
}

#else

// A text of one byte per character as Node 18 reads all that it is sent: with two.
std::unique_ptr<StringBuffer> wide(std::unique_ptr<StringBuffer> message) {
  if (!message->string().is8Bit()) return message;
  return wide_text(message->string());
}

// The guest's end of a session. Later V8s' messages may have one byte per character.
class Channel final : public V8Inspector::Channel {
 public:
  explicit Channel(guest::Channel* guest) : guest_(guest) {}
  void sendResponse(int call, std::unique_ptr<StringBuffer> message) override {
    guest_->sendResponse(call, wide(std::move(message)));
  }
  void sendNotification(std::unique_ptr<StringBuffer> message) override {
    guest_->sendNotification(wide(std::move(message)));
  }
  void flushProtocolNotifications() override { guest_->flushProtocolNotifications(); }

 private:
  guest::Channel* guest_;
};

// The host's session, as the guest would have it: one function is gone, so those behind it have other slots.
class Session final : public guest::InspectorSession {
 public:
  template <typename... More>
  Session(V8Inspector* host, int group, guest::Channel* channel, StringView state, More... more)
      : channel_(channel), host_(host->connect(group, &channel_, state, more...)) {}
  bool connected() const { return host_ != nullptr; }
  void addInspectedObject(guest::unique_ptr<V8InspectorSession::Inspectable> object) override {
    host_->addInspectedObject(std::move(object));
  }
  void dispatchProtocolMessage(StringView message) override { host_->dispatchProtocolMessage(message); }
  guest::vector<uint8_t> state() override { return host_->state(); }
  void supportedDomains() override {}
#if RELINK_GUEST < 1204
  guest::unique_ptr<guest::CommandLineScope> initializeCommandLineAPIScope(int) override { return nullptr; }
#else
  void evaluate() override {}
#endif
  void schedulePauseOnNextStatement(StringView reason, StringView details) override {
    host_->schedulePauseOnNextStatement(reason, details);
  }
  void cancelPauseOnNextStatement() override { host_->cancelPauseOnNextStatement(); }
  void breakProgram(StringView reason, StringView details) override { host_->breakProgram(reason, details); }
  void setSkipAllPauses(bool skip) override { host_->setSkipAllPauses(skip); }
  void resume(bool terminate) override { host_->resume(terminate); }
  void stepOver() override { host_->stepOver(); }
  void searchInTextByLines() override {}
  void wrapObject() override {}
  bool unwrapObject(guest::unique_ptr<StringBuffer>* error, StringView object, Local<Value>* value,
                    Local<Context>* context, guest::unique_ptr<StringBuffer>* group) override {
    std::unique_ptr<StringBuffer> hosts_error, hosts_group;
    const bool is = host_->unwrapObject(error == nullptr ? nullptr : &hosts_error, object, value, context,
                                        group == nullptr ? nullptr : &hosts_group);
    if (error != nullptr) *error = std::move(hosts_error);
    if (group != nullptr) *group = std::move(hosts_group);
    return is;
  }
  void releaseObjectGroup(StringView group) override { host_->releaseObjectGroup(group); }
  void triggerPreciseCoverageDeltaUpdate(StringView occasion) override {
    host_->triggerPreciseCoverageDeltaUpdate(occasion);
  }
#if RELINK_GUEST >= 1103
  void stop() override { host_->stop(); }
#endif

 private:
  Channel channel_;
  std::unique_ptr<V8InspectorSession> host_;  // ends before its channel
};

// `more`: what guests of some lines say besides of who connects.
template <typename... More>
guest::unique_ptr<guest::Session> guests_session(V8Inspector* host, int group, guest::Channel* channel,
                                               StringView state, More... more) {
  auto session = std::make_unique<Session>(host, group, channel, state, more...);
  if (!session->connected()) return nullptr;
  return session;
}

#endif

// The host's inspector, as the guest would have it.
class Inspector final : public guest::Inspector {
 public:
  Inspector(v8::Isolate* isolate, guest::InspectorClient* client)
      : client_(client), host_(V8Inspector::create(isolate, &client_)) {}
  void contextCreated(const V8ContextInfo& info) override { host_->contextCreated(info); }
  void contextDestroyed(Local<Context> context) override { host_->contextDestroyed(context); }
  void resetContextGroup(int group) override { host_->resetContextGroup(group); }
  MaybeLocal<Context> contextById(int context) override { return host_->contextById(context); }
  V8DebuggerId uniqueDebuggerId(int context) override { return host_->uniqueDebuggerId(context); }
#if RELINK_GUEST >= 1306
  uint64_t isolateId() override { return host_->isolateId(); }
#endif
  void idleStarted() override { host_->idleStarted(); }
  void idleFinished() override { host_->idleFinished(); }
  void asyncTaskScheduled(StringView name, void* task, bool recurring) override {
    host_->asyncTaskScheduled(name, task, recurring);
  }
  void asyncTaskCanceled(void* task) override { host_->asyncTaskCanceled(task); }
  void asyncTaskStarted(void* task) override { host_->asyncTaskStarted(task); }
  void asyncTaskFinished(void* task) override { host_->asyncTaskFinished(task); }
  void allAsyncTasksCanceled() override { host_->allAsyncTasksCanceled(); }
  V8StackTraceId storeCurrentStackTrace(StringView description) override {
    return host_->storeCurrentStackTrace(description);
  }
  void externalAsyncTaskStarted(const V8StackTraceId& parent) override { host_->externalAsyncTaskStarted(parent); }
  void externalAsyncTaskFinished(const V8StackTraceId& parent) override { host_->externalAsyncTaskFinished(parent); }
  unsigned exceptionThrown(Local<Context> context, StringView message, Local<Value> exception, StringView detailed,
                           StringView url, unsigned line, unsigned column, guest::unique_ptr<V8StackTrace> trace,
                           int script) override {
    return host_->exceptionThrown(context, message, exception, detailed, url, line, column, std::move(trace), script);
  }
  void exceptionRevoked(Local<Context> context, unsigned exception, StringView message) override {
    host_->exceptionRevoked(context, exception, message);
  }
  bool associateExceptionData(Local<Context> context, Local<Value> exception, Local<v8::Name> key,
                              Local<Value> value) override {
    return host_->associateExceptionData(context, exception, key, value);
  }
#if RELINK_HOST < 1002
  guest::unique_ptr<guest::Session> connect(int group, guest::Channel* channel, StringView state) override {
    return guests_session(host_.get(), group, channel, state);
  }
#elif RELINK_GUEST < 1103
  guest::unique_ptr<guest::Session> connect(int group, guest::Channel* channel, StringView state) override {
    return guests_session(host_.get(), group, channel, state, V8Inspector::kFullyTrusted);
  }
#else
  guest::unique_ptr<guest::Session> connect(int group, guest::Channel* channel, StringView state,
                                          V8Inspector::ClientTrustLevel trust,
                                          V8Inspector::SessionPauseState pause) override {
    return guests_session(host_.get(), group, channel, state, trust, pause);
  }
#endif
  guest::unique_ptr<V8StackTrace> createStackTrace(Local<v8::StackTrace> trace) override {
    return host_->createStackTrace(trace);
  }
  guest::unique_ptr<V8StackTrace> captureStackTrace(bool full) override { return host_->captureStackTrace(full); }

 private:
  Client client_;
  std::unique_ptr<V8Inspector> host_;  // ends before its client
};

}  // namespace
}  // namespace relink

extern "C" RELINK_UNIT_API guest::unique_ptr<guest::Inspector> relink_unit_inspector(v8::Isolate* isolate,
                                                                                     guest::InspectorClient* client) {
  if (relink_hosts_inspector == nullptr) return relink::no_inspector();
  return std::make_unique<relink::Inspector>(isolate, client);
}

#endif  // RELINK_INSPECTOR
