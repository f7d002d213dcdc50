// node_abi_check.cc: is ../node_abi.h what node.h says? Works as v8_abi_check.cc does.
#include <cstdio>

#ifdef RELINK_REAL
#include <node.h>
#include <uv.h>
#else
#include "../node_abi.h"
#endif

#include "symbols.h"

using namespace node;

#ifndef RELINK_NUMBERS

using Strings = std::vector<std::string>;
using Setup = CommonEnvironmentSetup;
using ParentHandle = std::unique_ptr<InspectorParentHandle>;

#if RELINK_NODE >= 22
using Initialized = std::shared_ptr<InitializationResult>;
#else
using Initialized = std::unique_ptr<InitializationResult>;
#endif

TAKE(0, &TearDownOncePerProcess, void (*)());
TAKE(1, &InitializeOncePerProcess, Initialized (*)(const Strings&, ProcessFlags::Flags));
TAKE(2, &MultiIsolatePlatform::Create, std::unique_ptr<MultiIsolatePlatform> (*)(int, v8::TracingController*, v8::PageAllocator*));
TAKE(3, &CreateEnvironment, Environment* (*)(IsolateData*, v8::Local<v8::Context>, const Strings&, const Strings&, EnvironmentFlags::Flags,
                         ThreadId, ParentHandle));
#if RELINK_NODE >= 20
using LoadByCallback = v8::MaybeLocal<v8::Value> (*)(Environment*, StartExecutionCallback, EmbedderPreloadCallback);
using LoadSource = v8::MaybeLocal<v8::Value> (*)(Environment*, std::string_view, EmbedderPreloadCallback);
TAKE(6, &Stop, int (*)(Environment*, StopFlags::Flags));
#else
using LoadByCallback = v8::MaybeLocal<v8::Value> (*)(Environment*, StartExecutionCallback);
using LoadSource = v8::MaybeLocal<v8::Value> (*)(Environment*, const char*);
TAKE(6, &Stop, int (*)(Environment*));
#endif
TAKE(4, static_cast<LoadByCallback>(&LoadEnvironment), LoadByCallback);
TAKE(13, static_cast<LoadSource>(&LoadEnvironment), LoadSource);
TAKE(14, &EmitProcessBeforeExit, v8::Maybe<bool> (*)(Environment*));
TAKE(15, &EmitProcessExit, v8::Maybe<int> (*)(Environment*));
TAKE(5, &SpinEventLoop, v8::Maybe<int> (*)(Environment*));
TAKE(7, &SetProcessExitHandler, void (*)(Environment*, std::function<void(Environment*, int)>&&));
TAKE(8, &Setup::isolate, v8::Isolate* (Setup::*)() const);
TAKE(9, &Setup::isolate_data, IsolateData* (Setup::*)() const);
TAKE(10, &Setup::env, Environment* (Setup::*)() const);
TAKE(11, &Setup::context, v8::Local<v8::Context> (Setup::*)() const);
TAKE(12, &Setup::event_loop, uv_loop_s* (Setup::*)() const);

// The private constructor is reached through node.h's own template, which also shows how it is meant to be called.
std::unique_ptr<Setup> relink_use(MultiIsolatePlatform* platform, Strings* errors, const Strings& args) {
#ifdef RELINK_REAL
  return Setup::Create(platform, errors, args, args, EnvironmentFlags::kOwnsProcessState, ThreadId{}, nullptr);
#else
  auto make = [&](const Setup* setup) {
    return CreateEnvironment(setup->isolate_data(), setup->context(), args, args, EnvironmentFlags::kOwnsProcessState,
                             ThreadId{}, nullptr);
  };
  std::unique_ptr<Setup> setup(new Setup(platform, errors, make));
  if (!errors->empty()) setup.reset();
  return setup;
#endif
}

#else

namespace {

const relink_check::Number kNumbers[] = {
    SIZE(CommonEnvironmentSetup),
    SIZE(ThreadId),
    SIZE(ProcessFlags::Flags),
    SIZE(EnvironmentFlags::Flags),
    relink_check::Number{"ThreadId{}", ThreadId{}.id},
    relink_check::Number{"uv_loop_s::internal_fields", offsetof(uv_loop_s, internal_fields)},
    VALUE(UV_METRICS_IDLE_TIME),
    VALUE(ProcessFlags::kNoFlags),
    VALUE(ProcessFlags::kNoStdioInitialization),
    VALUE(ProcessFlags::kNoDefaultSignalHandling),
    VALUE(ProcessFlags::kNoInitializeV8),
    VALUE(ProcessFlags::kNoInitializeNodeV8Platform),
    VALUE(ProcessFlags::kNoAdjustResourceLimits),
#if RELINK_NODE >= 20
    SIZE(StopFlags::Flags),
    VALUE(StopFlags::kNoFlags),
    VALUE(ProcessFlags::kNoInitializeCppgc),
#endif
    VALUE(EnvironmentFlags::kNoFlags),
    VALUE(EnvironmentFlags::kDefaultFlags),
    VALUE(EnvironmentFlags::kOwnsProcessState),
    VALUE(EnvironmentFlags::kOwnsInspector),
    VALUE(EnvironmentFlags::kNoRegisterESMLoader),
    VALUE(EnvironmentFlags::kNoCreateInspector),
    SLOT(InitializationResult, exit_code),
    SLOT(InitializationResult, early_return),
    SLOT(InitializationResult, args),
    SLOT(InitializationResult, exec_args),
    SLOT(InitializationResult, errors),
    SLOT(InitializationResult, platform),
    SLOT(MultiIsolatePlatform, FlushForegroundTasks),
    SLOT(MultiIsolatePlatform, DrainTasks),
    OVERLOAD(MultiIsolatePlatform, RegisterIsolate, void (MultiIsolatePlatform::*)(v8::Isolate*, uv_loop_s*)),
    OVERLOAD(MultiIsolatePlatform, RegisterIsolate,
             void (MultiIsolatePlatform::*)(v8::Isolate*, IsolatePlatformDelegate*)),
    SLOT(MultiIsolatePlatform, UnregisterIsolate),
    SLOT(MultiIsolatePlatform, AddIsolateFinishedCallback),
};

}  // namespace

int main() {
  for (const relink_check::Number& number : kNumbers) std::printf("%s %llu\n", number.what, (unsigned long long)number.value);
}

#endif
