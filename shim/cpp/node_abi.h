// node_abi.h: the part of Node's embedder interface (node.h) that the bridge uses, declared by hand.
//
// What differs between the lines asks for RELINK_NODE, the major version of the line's Node (18, 20, 22, 24). No Node
// header is needed to build the bridge. check/node_abi_check.cc compares all of it with the real node.h of each line.
#ifndef RELINK_NODE_ABI_H_
#define RELINK_NODE_ABI_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "v8_abi.h"

// The head of libuv's loop, as far as uv.h has had it since libuv 1.39.
struct uv_loop_s {
  void* data;
  unsigned int active_handles;
  void* handle_queue[2];
  union {
    void* unused;
    unsigned int count;
  } active_reqs;
  void* internal_fields;  // uv-common.h, struct uv__loop_internal_fields_s: its first member is `unsigned int flags`
};

constexpr unsigned int UV_METRICS_IDLE_TIME = 1;  // enum uv_loop_option, and the flag that uv_loop_configure sets

namespace node {

class Environment;
class IsolateData;
class IsolatePlatformDelegate;

#if RELINK_NODE >= 20
namespace ProcessInitializationFlags {
enum Flags : uint32_t {
#else
namespace ProcessFlags {
enum Flags : uint64_t {
#endif
  kNoFlags = 0,
  kNoStdioInitialization = 1 << 4,
  kNoDefaultSignalHandling = 1 << 5,
  kNoInitializeV8 = 1 << 6,
  kNoInitializeNodeV8Platform = 1 << 7,
  kNoAdjustResourceLimits = 1 << 10,
#if RELINK_NODE >= 20
  kNoInitializeCppgc = 1 << 13,
#endif
};
}

#if RELINK_NODE >= 20
namespace ProcessFlags = ProcessInitializationFlags;
#endif

namespace StopFlags {
enum Flags : uint32_t { kNoFlags = 0 };
}  // namespace StopFlags

namespace EnvironmentFlags {
enum Flags : uint64_t {
  kNoFlags = 0,
  kDefaultFlags = 1 << 0,
  kOwnsProcessState = 1 << 1,
  kOwnsInspector = 1 << 2,
  kNoRegisterESMLoader = 1 << 3,
  kNoCreateInspector = 1 << 9,
};
}  // namespace EnvironmentFlags

// A platform that knows several isolates. Adds six slots to v8::Platform's.
class MultiIsolatePlatform : public v8::Platform {
 public:
  ~MultiIsolatePlatform() override = default;
  virtual bool FlushForegroundTasks(v8::Isolate* isolate) = 0;
  virtual void DrainTasks(v8::Isolate* isolate) = 0;
  virtual void RegisterIsolate(v8::Isolate* isolate, uv_loop_s* loop) = 0;
  virtual void RegisterIsolate(v8::Isolate* isolate, IsolatePlatformDelegate* delegate) = 0;
  virtual void UnregisterIsolate(v8::Isolate* isolate) = 0;
  virtual void AddIsolateFinishedCallback(v8::Isolate* isolate, void (*callback)(void*), void* data) = 0;
  static std::unique_ptr<MultiIsolatePlatform> Create(int thread_pool_size, v8::TracingController* tracing_controller,
                                                      v8::PageAllocator* page_allocator);
};

// node.h: what InitializeOncePerProcess set up is taken down, but for V8 if that was not Node's.
void TearDownOncePerProcess();

// What InitializeOncePerProcess found in the command line.
class InitializationResult {
 public:
  virtual ~InitializationResult() = default;
  virtual int exit_code() const = 0;
  virtual bool early_return() const = 0;
  virtual const std::vector<std::string>& args() const = 0;
  virtual const std::vector<std::string>& exec_args() const = 0;
  virtual const std::vector<std::string>& errors() const = 0;
  virtual MultiIsolatePlatform* platform() const = 0;
};

#if RELINK_NODE >= 22
using InitializationPointer = std::shared_ptr<InitializationResult>;
#else
using InitializationPointer = std::unique_ptr<InitializationResult>;
#endif
InitializationPointer InitializeOncePerProcess(const std::vector<std::string>& args, ProcessFlags::Flags flags);

struct ThreadId {
  uint64_t id = static_cast<uint64_t>(-1);  // -1: Node allocates one
};

struct InspectorParentHandle {
  virtual ~InspectorParentHandle();
};

Environment* CreateEnvironment(IsolateData* isolate_data, v8::Local<v8::Context> context,
                               const std::vector<std::string>& args, const std::vector<std::string>& exec_args,
                               EnvironmentFlags::Flags flags, ThreadId thread_id,
                               std::unique_ptr<InspectorParentHandle> inspector_parent_handle);

struct StartExecutionCallbackInfo;
using StartExecutionCallback = std::function<v8::MaybeLocal<v8::Value>(const StartExecutionCallbackInfo&)>;

#if RELINK_NODE >= 20
using EmbedderPreloadCallback =
    std::function<void(Environment* env, v8::Local<v8::Value> process, v8::Local<v8::Value> require)>;
v8::MaybeLocal<v8::Value> LoadEnvironment(Environment* env, StartExecutionCallback cb,
                                          EmbedderPreloadCallback preload = nullptr);
v8::MaybeLocal<v8::Value> LoadEnvironment(Environment* env, std::string_view source,
                                          EmbedderPreloadCallback preload = nullptr);
int Stop(Environment* env, StopFlags::Flags flags = StopFlags::kNoFlags);
#else
v8::MaybeLocal<v8::Value> LoadEnvironment(Environment* env, StartExecutionCallback cb);
v8::MaybeLocal<v8::Value> LoadEnvironment(Environment* env, const char* source);
int Stop(Environment* env);
#endif
v8::Maybe<int> SpinEventLoop(Environment* env);
v8::Maybe<bool> EmitProcessBeforeExit(Environment* env);
v8::Maybe<int> EmitProcessExit(Environment* env);
void SetProcessExitHandler(Environment* env, std::function<void(Environment*, int)>&& handler);

// Loop, isolate, context and environment of one Node instance. The constructor is private in node.h: its inline
// template Create() calls it with a function that makes the environment, as the bridge does.
class CommonEnvironmentSetup {
 public:
  using MakeEnvironment = std::function<Environment*(const CommonEnvironmentSetup*)>;
  CommonEnvironmentSetup(MultiIsolatePlatform* platform, std::vector<std::string>* errors, MakeEnvironment make_env);
  ~CommonEnvironmentSetup();
  CommonEnvironmentSetup(const CommonEnvironmentSetup&) = delete;
  CommonEnvironmentSetup& operator=(const CommonEnvironmentSetup&) = delete;
  uv_loop_s* event_loop() const;
  v8::Isolate* isolate() const;
  IsolateData* isolate_data() const;
  Environment* env() const;
  v8::Local<v8::Context> context() const;

 private:
  void* impl_;
};

static_assert(sizeof(CommonEnvironmentSetup) == sizeof(void*), "node.h");
static_assert(sizeof(ThreadId) == 8, "node.h");

}  // namespace node

#endif  // RELINK_NODE_ABI_H_
