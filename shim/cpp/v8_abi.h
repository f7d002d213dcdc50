// v8_abi.h: the part of V8's public interface that the bridge uses, declared by hand.
//
// The bridge is compiled once per line of V8, each time with RELINK_V8 = 100 * major + minor and with the headers of the line
// in the include path. What is the same in all lines stands here; the platform in platform.h, which the build makes of the catalogue.
//
// No V8 header is needed to build the bridge. Each declaration names the header that it mirrors; only what is used is
// declared, but virtual functions are declared completely and in order, for their slots matter.
// check/v8_abi_check.cc compares all of it with the real headers of each line.
#ifndef RELINK_V8_ABI_H_
#define RELINK_V8_ABI_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>

namespace v8 {

class Context;
class HighAllocationThroughputObserver;
class Isolate;
class IsolateGroup;
class Name;
class Object;
class PageAllocator;
class String;
class TracingController;
class Value;
class ZoneBackingAllocator;
#if RELINK_V8 < 1103
class Array;
class Data;
class FixedArray;
class Message;
class Module;
class Promise;
class PromiseRejectMessage;
struct ModifyCodeGenerationFromStringsResult;
template <class T>
class FunctionCallbackInfo;
#endif

// v8-local-handle.h: one pointer, passed in a register.
template <class T>
class Local {
 public:
  T* operator->() const { return val_; }
  bool IsEmpty() const { return val_ == nullptr; }

 private:
  T* val_ = nullptr;
};

// v8-local-handle.h
template <class T>
class MaybeLocal {
 public:
  bool IsEmpty() const { return val_ == nullptr; }

 private:
  T* val_ = nullptr;
};

// v8-maybe.h: for int it is returned in one register.
template <class T>
class Maybe {
 public:
  bool IsNothing() const { return !has_value_; }
  T FromMaybe(const T& otherwise) const { return has_value_ ? value_ : otherwise; }

 private:
  bool has_value_;
  T value_;
};

// v8-local-handle.h
class HandleScope {
 public:
  explicit HandleScope(Isolate* isolate);
  ~HandleScope();
  HandleScope(const HandleScope&) = delete;
  void operator=(const HandleScope&) = delete;

 private:
  void* isolate_;
  void* prev_next_;
  void* prev_limit_;
};

// v8-locker.h: the constructor is inline there and calls Initialize.
class Locker {
 public:
  explicit Locker(Isolate* isolate) { Initialize(isolate); }
  ~Locker();
  Locker(const Locker&) = delete;
  void operator=(const Locker&) = delete;

 private:
#if RELINK_V8 < 1103
 public:  // an adapter stands in for it
#endif
  void Initialize(Isolate* isolate);
  bool has_lock_;
  bool top_level_;
  void* isolate_;
};

// v8-array-buffer.h. V8's object is larger than the class and must be freed without a size.
class BackingStore {
 public:
  using DeleterCallback = void (*)(void* data, size_t length, void* deleter_data);
  ~BackingStore();
#if RELINK_V8 == 1002
  void* Data() const;
#endif
  void operator delete(void* ptr) { ::operator delete(ptr); }
};

// v8-array-buffer.h
class ArrayBuffer {
 public:
  class Allocator {
   public:
    virtual ~Allocator() = default;
    virtual void* Allocate(size_t length) = 0;
    virtual void* AllocateUninitialized(size_t length) = 0;
    virtual void Free(void* data, size_t length) = 0;
    virtual void* Reallocate(void* data, size_t old_length, size_t new_length) = 0;
  };
#if RELINK_V8 < 1306
  static std::unique_ptr<BackingStore> NewBackingStore(Isolate* isolate, size_t byte_length);
#endif
  static std::unique_ptr<BackingStore> NewBackingStore(void* data, size_t byte_length,
                                                       BackingStore::DeleterCallback deleter, void* deleter_data);
#if RELINK_V8 == 1002
  std::shared_ptr<BackingStore> GetBackingStore();
};

class SharedArrayBuffer {
 public:
  std::shared_ptr<BackingStore> GetBackingStore();
#endif
};

#if RELINK_V8 < 1103
// v8-microtask.h
enum class MicrotasksPolicy : int;
// v8-callbacks.h
using FatalErrorCallback = void (*)(const char*, const char*);
using OOMErrorCallback = void (*)(const char*, bool);
using MessageCallback = void (*)(Local<Message>, Local<Value>);
using PrepareStackTraceCallback = MaybeLocal<Value> (*)(Local<Context>, Local<Value>, Local<Array>);
using AllowWasmCodeGenerationCallback = bool (*)(Local<Context>, Local<String>);
using ModifyCodeGenerationFromStringsCallback2 = ModifyCodeGenerationFromStringsResult (*)(Local<Context>, Local<Value>,
                                                                                         bool);
using WasmStreamingCallback = void (*)(const FunctionCallbackInfo<Value>&);
using PromiseRejectCallback = void (*)(PromiseRejectMessage);
using HostImportModuleDynamicallyCallback = MaybeLocal<Promise> (*)(Local<Context>, Local<Data>, Local<Value>,
                                                                    Local<String>, Local<FixedArray>);
using HostInitializeImportMetaObjectCallback = void (*)(Local<Context>, Local<Module>, Local<Object>);
using HostCreateShadowRealmContextCallback = MaybeLocal<Context> (*)(Local<Context>);
#endif

// v8-isolate.h
class Isolate {
 public:
#if RELINK_V8 < 1103
  struct CreateParams;
  using AbortOnUncaughtExceptionCallback = bool (*)(Isolate*);
  static void Initialize(Isolate* isolate, const CreateParams& params);
  void TerminateExecution();
  bool AddMessageListenerWithErrorLevel(MessageCallback listener, int levels, Local<Value> data);
  void RemoveMessageListeners(MessageCallback listener);
  void SetMicrotasksPolicy(MicrotasksPolicy policy);
  void SetAbortOnUncaughtExceptionCallback(AbortOnUncaughtExceptionCallback callback);
  void SetFatalErrorHandler(FatalErrorCallback callback);
  void SetOOMErrorHandler(OOMErrorCallback callback);
  void SetPrepareStackTraceCallback(PrepareStackTraceCallback callback);
  void SetAllowWasmCodeGenerationCallback(AllowWasmCodeGenerationCallback callback);
  void SetModifyCodeGenerationFromStringsCallback(ModifyCodeGenerationFromStringsCallback2 callback);
  void SetWasmStreamingCallback(WasmStreamingCallback callback);
  void SetPromiseRejectCallback(PromiseRejectCallback callback);
  void SetHostImportModuleDynamicallyCallback(HostImportModuleDynamicallyCallback callback);
  void SetHostInitializeImportMetaObjectCallback(HostInitializeImportMetaObjectCallback callback);
  void SetHostCreateShadowRealmContextCallback(HostCreateShadowRealmContextCallback callback);
#endif
  void CancelTerminateExecution();
  static Isolate* Allocate();
#if RELINK_V8 >= 1306
  static Isolate* Allocate(const IsolateGroup& group);
  static void Free(Isolate* isolate);
  void Deinitialize();
#endif
  static Isolate* TryGetCurrent();
  void Dispose();
  void Enter();
  void Exit();
  void LowMemoryNotification();
  void SetStackLimit(uintptr_t stack_limit);
  void AddNearHeapLimitCallback(size_t (*callback)(void* data, size_t current_limit, size_t initial_limit), void* data);
  ArrayBuffer::Allocator* GetArrayBufferAllocator();
};

// v8-context.h
class Context {
 public:
  void Enter();
  void Exit();
  Local<Object> Global();
  void SetSecurityToken(Local<Value> token);
  Local<Value> GetSecurityToken();
#if RELINK_V8 < 1103
  void AllowCodeGenerationFromStrings(bool allow);
#endif
};

// v8-primitive.h
enum class NewStringType { kNormal, kInternalized };

// v8-primitive.h
class String {
 public:
  static MaybeLocal<String> NewFromUtf8(Isolate* isolate, const char* data, NewStringType type, int length);
  int WriteUtf8(Isolate* isolate, char* buffer, int length, int* nchars_ref, int options) const;
};

// v8-object.h
enum PropertyAttribute { None = 0, ReadOnly = 1 << 0, DontEnum = 1 << 1, DontDelete = 1 << 2 };

// v8-object.h
enum class IntegrityLevel { kFrozen, kSealed };

// v8-value.h
class Value {
 public:
  bool IsObject() const;
};

// v8-object.h
class Object {
 public:
  MaybeLocal<Value> Get(Local<Context> context, Local<Value> key);
  Maybe<bool> SetIntegrityLevel(Local<Context> context, IntegrityLevel level);
  Maybe<bool> DefineOwnProperty(Local<Context> context, Local<Name> key, Local<Value> value,
                                PropertyAttribute attributes);
#if RELINK_V8 == 1002
  void SetInternalField(int index, Local<Value> value);
#endif
};

// v8-json.h
class JSON {
 public:
  static MaybeLocal<Value> Parse(Local<Context> context, Local<String> text);
};

// v8-debug.h
class StackTrace {
 public:
  static Local<String> CurrentScriptNameOrSourceURL(Isolate* isolate);
};

// v8-platform.h
enum class TaskPriority : uint8_t { kBestEffort, kUserVisible, kUserBlocking };

// v8-platform.h
class Task {
 public:
  virtual ~Task() = default;
  virtual void Run() = 0;
};

// v8-platform.h
class IdleTask {
 public:
  virtual ~IdleTask() = default;
  virtual void Run(double deadline_in_seconds) = 0;
};

// v8-platform.h
class JobHandle {
 public:
  virtual ~JobHandle() = default;
  // Six more follow; the bridge only passes handles on.
};

// v8-platform.h: only moved along, so its other virtual functions are left out. The destructor comes first.
class JobTask {
 public:
  virtual ~JobTask() = default;
};

// v8-initialization.h
class V8 {
 public:
  static void SetFlagsFromString(const char* str);
  static void SetFlagsFromCommandLine(int* argc, char** argv, bool remove_flags);
  static bool Dispose();
  static void DisposePlatform();
};

}  // namespace v8

#include "platform.h"  // of the line: TaskRunner, Platform

namespace v8 {

static_assert(sizeof(Local<Value>) == sizeof(void*), "v8-local-handle.h");
static_assert(sizeof(MaybeLocal<Value>) == sizeof(void*), "v8-local-handle.h");
static_assert(std::is_trivially_copyable<Local<Value>>::value, "passed in a register");
static_assert(std::is_trivially_copyable<MaybeLocal<Value>>::value, "returned in a register");
static_assert(sizeof(Maybe<bool>) == 2, "v8-maybe.h");
static_assert(sizeof(Maybe<int>) == 8 && std::is_trivially_copyable<Maybe<int>>::value, "v8-maybe.h");
static_assert(sizeof(HandleScope) == 3 * sizeof(void*), "v8-local-handle.h");
static_assert(sizeof(Locker) == 2 * sizeof(void*), "v8-locker.h");
static_assert(sizeof(BackingStore) == 1, "v8-array-buffer.h");

}  // namespace v8

namespace v8_inspector {

// v8-inspector.h, which is not among the headers that Node comes with: a text, passed as a copy of this. tests/side.rs sees that it is so.
class StringView {
 public:
  bool is_8_bit;
  size_t length;
  const void* characters;
};
static_assert(sizeof(StringView) == 24, "v8-inspector.h");

// v8-inspector.h
class V8InspectorSession {
 public:
  // Null where the host's V8 was built without its inspector.
  __attribute__((weak)) static bool canDispatchMethod(StringView method);
};

}  // namespace v8_inspector

#endif  // RELINK_V8_ABI_H_
