// no_inspector.cc: stand-ins for parts of V8 that an embedder may leave out of its build: the inspector, what writes traces, the search for objects.
#include "no_inspector.h"

#include <new>
#include <vector>

#include "unit.h"

#ifdef RELINK_INSPECTOR

namespace relink {
namespace {

using v8::Context;
using v8::Local;
using v8::MaybeLocal;
using v8::Value;
using namespace v8_inspector;

class Text final : public StringBuffer {
 public:
  template <typename Character>
  Text(const Character* characters, size_t length) : text_(characters, characters + length) {}
  StringView string() const override { return {text_.data(), text_.size()}; }

 private:
  std::vector<uint16_t> text_;
};

// Gets no request: the bridge says that V8 knows none of them, so Node answers each with an error.
class NoSession final : public guest::InspectorSession {
 public:
  void addInspectedObject(guest::unique_ptr<V8InspectorSession::Inspectable>) override {}
  void dispatchProtocolMessage(StringView) override {}
  guest::vector<uint8_t> state() override { return {}; }
  void supportedDomains() override {}
#if RELINK_GUEST < 1204
  guest::unique_ptr<guest::CommandLineScope> initializeCommandLineAPIScope(int) override { return nullptr; }
#else
  void evaluate() override {}
#endif
  void schedulePauseOnNextStatement(StringView, StringView) override {}
  void cancelPauseOnNextStatement() override {}
  void breakProgram(StringView, StringView) override {}
  void setSkipAllPauses(bool) override {}
  void resume(bool) override {}
  void stepOver() override {}
  void searchInTextByLines() override {}
  void wrapObject() override {}
  bool unwrapObject(guest::unique_ptr<StringBuffer>*, StringView, Local<Value>*, Local<Context>*,
                    guest::unique_ptr<StringBuffer>*) override {
    return false;
  }
  void releaseObjectGroup(StringView) override {}
  void triggerPreciseCoverageDeltaUpdate(StringView) override {}
#if RELINK_GUEST >= 1103
  void stop() override {}
#endif
};

guest::unique_ptr<guest::Session> session() {
  // Where the guest's type is the host's, the guest calls the functions that both have.
  return guest::unique_ptr<guest::Session>(reinterpret_cast<guest::Session*>(new NoSession));
}

class NoInspector final : public guest::Inspector {
 public:
  void contextCreated(const V8ContextInfo&) override {}
  void contextDestroyed(Local<Context>) override {}
  void resetContextGroup(int) override {}
  MaybeLocal<Context> contextById(int) override { return {}; }
  V8DebuggerId uniqueDebuggerId(int) override { return {}; }
#if RELINK_GUEST >= 1306
  uint64_t isolateId() override { return 0; }
#endif
  void idleStarted() override {}
  void idleFinished() override {}
  void asyncTaskScheduled(StringView, void*, bool) override {}
  void asyncTaskCanceled(void*) override {}
  void asyncTaskStarted(void*) override {}
  void asyncTaskFinished(void*) override {}
  void allAsyncTasksCanceled() override {}
  V8StackTraceId storeCurrentStackTrace(StringView) override {
    // Its constructor is the inspector's; all zeroes is what it makes.
    alignas(V8StackTraceId) static const char none[sizeof(V8StackTraceId)] = {};
    return *std::launder(reinterpret_cast<const V8StackTraceId*>(none));
  }
  void externalAsyncTaskStarted(const V8StackTraceId&) override {}
  void externalAsyncTaskFinished(const V8StackTraceId&) override {}
  unsigned exceptionThrown(Local<Context>, StringView, Local<Value>, StringView, StringView, unsigned, unsigned,
                           guest::unique_ptr<V8StackTrace>, int) override {
    return 0;
  }
  void exceptionRevoked(Local<Context>, unsigned, StringView) override {}
  bool associateExceptionData(Local<Context>, Local<Value>, Local<v8::Name>, Local<Value>) override { return false; }
#if RELINK_GUEST < 1103
  guest::unique_ptr<guest::Session> connect(int, guest::Channel*, StringView) override { return session(); }
#else
  guest::unique_ptr<guest::Session> connect(int, guest::Channel*, StringView, V8Inspector::ClientTrustLevel,
                                          V8Inspector::SessionPauseState) override {
    return session();
  }
#endif
  guest::unique_ptr<V8StackTrace> createStackTrace(Local<v8::StackTrace>) override { return nullptr; }
  guest::unique_ptr<V8StackTrace> captureStackTrace(bool) override { return nullptr; }
};

}  // namespace

std::unique_ptr<StringBuffer> wide_text(StringView view) {
  if (view.is8Bit()) return std::make_unique<Text>(view.characters8(), view.length());
  return std::make_unique<Text>(view.characters16(), view.length());
}

guest::unique_ptr<guest::Inspector> no_inspector() { return std::make_unique<NoInspector>(); }

}  // namespace relink

extern "C" {

RELINK_UNIT_API guest::unique_ptr<v8_inspector::StringBuffer> relink_unit_string_buffer(v8_inspector::StringView text) {
  return relink::wide_text(text);
}

}  // extern "C"

#endif  // RELINK_INSPECTOR

extern "C" {

// Functions that make an object of V8's, and give none. Their result is returned in memory.
RELINK_UNIT_API guest::unique_ptr<int> relink_unit_no_object() { return nullptr; }

// Leaves the vector that it is given empty.
RELINK_UNIT_API void relink_unit_no_objects(void*, void*, void*, void*) {}

// What only a trace that is written calls; a guest's never starts.
RELINK_UNIT_API void* relink_unit_no_trace() { return nullptr; }

}  // extern "C"
