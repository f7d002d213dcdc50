/*
 * bridge.h: what Relink's Rust side and its C++ bridge say to each other.
 *
 * The bridge is a small shared object (soname relink-bridge.so), one for each line of V8, that the loader stages together
 * with the guest.
 * Its undefined v8:: symbols are bound to the host's V8 and its undefined node:: symbols to the guest; until both
 * are bound nothing here may be called. Every function is extern "C", never throws and may be called from any
 * thread unless it says otherwise. All addresses are run-time addresses. Times are microseconds.
 *
 * C99, in the plain form that src/header reads: the build makes the Rust side of it (src/runtime/raw.rs), and tests/border.rs
 * compares both with what a C compiler says. LP64.
 */
#ifndef RELINK_BRIDGE_H_
#define RELINK_BRIDGE_H_

#include <stddef.h>
#include <stdint.h>

struct uv_loop_s;

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define RELINK_BRIDGE_API __attribute__((visibility("default")))
#else
#define RELINK_BRIDGE_API
#endif

/* What the functions return: 0 or one of these. A number is never used again for something else. */
enum relink_bridge_error {
  RELINK_BRIDGE_E_SIZE = -1,         /* a structure's `size` is not the one this bridge was built with */
  RELINK_BRIDGE_E_ARGUMENT = -2,     /* a pointer is null, argc is 0 or platform_slots is too small */
  RELINK_BRIDGE_E_ATTACHED = -3,     /* the hook is already installed */
  RELINK_BRIDGE_E_NO_PLATFORM = -4,  /* the host's V8 has no platform (yet, or any more) */
  RELINK_BRIDGE_E_NOT_ATTACHED = -5, /* attach first */
  RELINK_BRIDGE_E_GUEST_ALIVE = -6,  /* an isolate of the guest still lives */
  RELINK_BRIDGE_E_BUSY = -7,         /* it is running already, or scripts of it are further out on the stack */
  RELINK_BRIDGE_E_ONCE = -8,         /* Node's per-process part came to nothing, and there is no second try */
  RELINK_BRIDGE_E_NOT_RUNNING = -9,  /* nothing to stop */
  RELINK_BRIDGE_E_LEAVING = -10,     /* the host is leaving: nothing is started any more */
  RELINK_BRIDGE_E_MEMORY = -11,      /* out of memory */
  RELINK_BRIDGE_E_FOREIGN_VTABLE = -12, /* the host replaced the platform's vtable after us: left as it is */
  RELINK_BRIDGE_E_TIMEOUT = -13,     /* the guest did not end in time */
  RELINK_BRIDGE_E_THREAD = -14,      /* another thread began it */
  RELINK_BRIDGE_E_UNIT = -15,        /* the adapter unit refused, or has more hooks than there is room for */
  RELINK_BRIDGE_E_ISOLATE = -16,     /* the calling thread has not entered the host's isolate that the guest is in */
  RELINK_BRIDGE_E_SHARED = -17,      /* the host's isolate still refers to the guest's code, which must stay loaded */
  RELINK_BRIDGE_E_THROWN = -18,      /* relink_bridge_protect: the function threw an exception */
  RELINK_BRIDGE_E_LEFT = -19,        /* relink_bridge_protect: the function was left by relink_bridge_leave() */
  RELINK_BRIDGE_E_STACK = -20        /* V8's collector would read the stack, and this one is not the calling thread's own */
};

/* Levels of `log`. */
enum relink_bridge_level {
  RELINK_LOG_ERROR = 1,
  RELINK_LOG_WARN = 2,
  RELINK_LOG_INFO = 3,
  RELINK_LOG_DEBUG = 4
};

/* Kinds of `event`; `a` is 0 and `text` null where not said otherwise. */
enum relink_bridge_event {
  RELINK_EVENT_FLAG_FILTERED = 1,  /* text: a V8 flag that the host's V8 does not know and that was dropped */
  RELINK_EVENT_FLAG_SET = 2,       /* text: a V8 flag that was set for the whole process */
  RELINK_EVENT_HOST_LEAVING = 3,   /* the host is leaving: told once, before the guest is stopped */
  RELINK_EVENT_ISOLATE_ADDED = 4,  /* a: address of an isolate of the guest */
  RELINK_EVENT_ISOLATE_REMOVED = 5,/* a: address of an isolate of the guest */
  RELINK_EVENT_CALL_WITHHELD = 6,  /* text: a process-wide call of the guest's that was not passed to the host */
  RELINK_EVENT_RESTRICTED = 7      /* text: what the guest cannot do because of how the host has set up V8 */
};

/* How a run ended. */
enum relink_bridge_how {
  RELINK_HOW_FINISHED = 0,     /* the event loop ran dry */
  RELINK_HOW_EXIT = 1,         /* process.exit() */
  RELINK_HOW_UNCAUGHT = 2,     /* an exception or rejection that nobody handled; Node printed it */
  RELINK_HOW_STOPPED = 3,      /* relink_bridge_stop(), or the host is leaving */
  RELINK_HOW_INIT_FAILED = 4,  /* no environment: see message */
  RELINK_HOW_EARLY = 5,        /* Node had nothing to run, as for --version; exit_code is Node's */
  RELINK_HOW_HEAP_LIMIT = 6    /* the heap was full: stopped before V8 would have ended the process */
};

/* Bits of relink_bridge_host.flags. */
enum relink_bridge_host_flag {
  /* The guest's slots of every relink_adapter_* below are bound to it, V8::InitializePlatform's in particular.
     Node then makes its own platform and tracing agent; without this bit there is no agent, and a script that asks
     for trace_events would crash. Trace events are not recorded in either case (see StartTracing below). */
  RELINK_HOST_GUEST_ADAPTED = 1
};

/* What the Rust side resolved in the host. Copied by relink_bridge_attach; the pointers in it must live for ever. */
typedef struct relink_bridge_host {
  uint32_t size;                   /* sizeof(relink_bridge_host) */
  uint32_t flags;                  /* RELINK_HOST_*, else 0 */
  void **platform_cell;            /* address of v8::internal::V8::platform_ in the host: holds a v8::Platform* */
  uint32_t platform_slots;         /* slots of the host platform's vtable to copy: at least those of v8::Platform, and all
                                      of them where the host's own subclass has more (Node's has six more) */
  int32_t unregister_isolate_slot; /* slot of node::MultiIsolatePlatform::UnregisterIsolate when the host is a Node of
                                      the same line, else -1 */
  void (*log)(int level, const char *message);          /* any thread; never null */
  int (*guest_thread)(void);                            /* 1 if the calling thread belongs to the guest; never null */
  void (*event)(int kind, int64_t a, const char *text); /* notable things for the report; any thread; never null */
  const char *const *foreign_flags; /* ends with NULL: V8 flags, as "--harmony-import-attributes", that Node may set
                                       and that are dropped and reported if the host's V8 does not know them */
  const void *unit;                 /* relink_unit_attach (adapters/unit.h) of the adapter unit where guest and host are
                                       of different lines of V8, else null */
  int (*may_inspect)(void);        /* 0 if the inspector is withheld from the runtime of the calling thread; never null */
  void (*calculating)(void (*work)(void *data), void *data); /* calls `work` with the default floating-point environment; never null */
  uintptr_t (*stack)(uintptr_t here, int *own); /* the lowest address that may be used of the stack that this address of the calling
                                                   thread's lies in, 0: not known; `own`: whether it is that thread's own. Never null */
} relink_bridge_host;

/* Installs the platform hook. 0, or SIZE, ARGUMENT, ATTACHED, NO_PLATFORM, MEMORY, UNIT. */
RELINK_BRIDGE_API int relink_bridge_attach(const relink_bridge_host *host);

/* Puts the host platform's vtable pointer back. 0, or NOT_ATTACHED, GUEST_ALIVE, BUSY, FOREIGN_VTABLE. */
RELINK_BRIDGE_API int relink_bridge_detach(void);

/* Bits of relink_bridge_channel.flags. */
enum relink_bridge_channel_flag {
  RELINK_CHANNEL_STAY = 1  /* Node waits for what the host sends, also when it has nothing else to wait for */
};

/* By which a function of the host's gives its result, once: status 0 and a JSON text, or 1 and a message. */
typedef void (*relink_bridge_give)(void *reply, int32_t status, const char *text, size_t length);

/* How the host and scripts of the guest talk to each other. Copied; the strings must live until the run has ended. The
   functions are called on the guest's main thread and never null. Texts are UTF-8 of so many bytes, and end with a NUL. */
typedef struct relink_bridge_channel {
  uint32_t size;          /* sizeof(relink_bridge_channel) */
  uint32_t flags;         /* RELINK_CHANNEL_* */
  const char *bootstrap;  /* runs in place of the main script, which it starts; has `process` and `require`, and the channel
                             as process._linkedBinding('relink'), see channel.cc */
  const char *settings;   /* for the bootstrap */
  void (*opened)(void *ctx);  /* the bootstrap listens */
  void (*closed)(void *ctx);  /* nothing will be answered any more */
  void (*answer)(void *ctx, uint64_t id, int32_t status, const char *text, size_t length);
  void (*host)(void *ctx, const char *name, const char *text, size_t length, relink_bridge_give give, void *reply);
  void *ctx;
} relink_bridge_channel;

/* Functions of the guest's libuv, which a guest may keep to itself; for relink_bridge_begin. */
typedef struct relink_bridge_loop {
  uint32_t size;  /* sizeof(relink_bridge_loop) */
  uint32_t flags; /* reserved, 0 */
  int (*run)(struct uv_loop_s *, int mode);
  int (*backend_fd)(const struct uv_loop_s *);
  int (*backend_timeout)(const struct uv_loop_s *);
  int (*alive)(const struct uv_loop_s *);
  uint64_t (*now)(const struct uv_loop_s *);
} relink_bridge_loop;

/* An isolate of the host's for Node to be in; for relink_bridge_begin, and only with the adapters named relink_adapter_Shared_*. */
typedef struct relink_bridge_shared {
  uint32_t size;        /* sizeof(relink_bridge_shared) */
  uint32_t flags;       /* reserved, 0 */
  void *isolate;        /* v8::Isolate *: locked, if the host locks it, and entered by the calling thread; so for every function
                           that the host calls on that thread until relink_bridge_release */
  const void *context;  /* v8::Local<v8::Context> *: the host's context, that of its scripts who use Node */
  const char *name;     /* what the bootstrap exposes is a property of this name of that context's global object */
} relink_bridge_shared;

/* What to run. */
typedef struct relink_bridge_options {
  uint32_t size;            /* sizeof(relink_bridge_options) */
  uint32_t max_heap_mib;    /* V8's --max-old-space-size from now on, for its isolate and whatever is made until another sets it; 0:
                               what it was before any */
  int argc;                 /* at least 1 */
  int node_argc;            /* how many behind the first are Node's own options. It reads them, and NODE_OPTIONS, once per
                               process: for the first runtime; the others have the same */
  const char *const *argv;  /* like node's command line: name, node options, script, script's arguments */
  void (*ready)(void *ctx); /* may be null: called on the running thread when the main script was loaded */
  void *ctx;                /* given to ready */
  const relink_bridge_channel *channel; /* may be null: Node runs its command line */
  const relink_bridge_loop *loop;       /* for relink_bridge_begin, else null */
  const char *about;                    /* JSON text: what scripts of the main thread find in process.relink */
  const relink_bridge_shared *shared;   /* null: Node's isolate is its own. Must live until relink_bridge_close */
  uint32_t stack_kib;                   /* relink_bridge_begin: what scripts may use of the stack below the caller; 0: what there is */
  uint32_t reserved;                    /* 0 */
} relink_bridge_options;

/* How it went. */
typedef struct relink_bridge_result {
  uint32_t size;           /* in: sizeof(relink_bridge_result) */
  int32_t exit_code;       /* what node's process would have exited with */
  uint32_t how;            /* RELINK_HOW_* */
  uint64_t us_init;        /* per-process initialisation and platform */
  uint64_t us_environment; /* isolate, context, bootstrap */
  uint64_t us_load;        /* main script, up to `ready` */
  uint64_t us_loop;        /* event loop */
  uint64_t us_teardown;    /* environment and isolate freed */
  char message[512];       /* NUL-terminated; why, when how is INIT_FAILED; else empty */
} relink_bridge_result;

/* One Node as the host has it. Several run side by side: Node's per-process part is set up by the first and taken down by
   relink_bridge_release. The functions that have one are told of one that was opened and not closed. */
typedef struct relink_bridge_runtime relink_bridge_runtime;

/* A new one, that does not run. Null: out of memory; or the guest was lost (relink_bridge_abandon) and takes no more. Any thread. */
RELINK_BRIDGE_API relink_bridge_runtime *relink_bridge_open(void);

/* Frees one that does not run. 0, or BUSY, or GUEST_ALIVE when something of it can never end. In an isolate of the host's it frees Node's
   environment, on the thread that began it: SHARED then, or ISOLATE. After 0 and SHARED it is gone. */
RELINK_BRIDGE_API int relink_bridge_close(relink_bridge_runtime *runtime);

/* Runs Node on the calling thread, which becomes its main thread, until it ends. Give that thread 8 MiB of stack, as
   Node's own main thread has. Asynchronous signals are blocked in it and in every thread that it starts, so that they
   go to the host's threads as before, and a closed pipe is EPIPE instead of SIGPIPE; the mask is put back at the end.
   0 when `result` was filled, else SIZE, ARGUMENT, NOT_ATTACHED, BUSY, ONCE, LEAVING. Can be called again after it returned. */
RELINK_BRIDGE_API int relink_bridge_run(relink_bridge_runtime *runtime, const relink_bridge_options *options,
                                        relink_bridge_result *result);

/* Brings Node up on the calling thread, which stays the host's: from now on it calls relink_bridge_tick() and at last
   relink_bridge_end(). What options->loop points at must live until then. 0, or what relink_bridge_run returns, or
   ARGUMENT. Why nothing was brought up is in the result of relink_bridge_end(), which is due after every 0. STACK, as for
   relink_bridge_entered(). A thread may have
   begun several, and call one from within another. */
RELINK_BRIDGE_API int relink_bridge_begin(relink_bridge_runtime *runtime, const relink_bridge_options *options);

/* Does what is due and no more than budget_us microseconds' worth of it, counted between rounds of the loop. Does not wait. 0:
   Node runs; NOT_RUNNING: it has ended, relink_bridge_end() is due; THREAD; BUSY: called from one of its scripts. */
RELINK_BRIDGE_API int relink_bridge_tick(relink_bridge_runtime *runtime, uint64_t budget_us);

/* Ends it if it runs, and tells how it went. 0, or ARGUMENT, NOT_RUNNING, THREAD, BUSY. In an isolate of the host's, whose scripts
   may still hold what is Node's, its environment stays until relink_bridge_close. */
RELINK_BRIDGE_API int relink_bridge_end(relink_bridge_runtime *runtime, relink_bridge_result *result);

/* Whether the calling thread, which runs or ticks it, may enter the guest from the stack that it is on: 0, or STACK; and in an isolate
   of the host's: ISOLATE. */
RELINK_BRIDGE_API int relink_bridge_entered(relink_bridge_runtime *runtime);

/* Has the bootstrap called for name and text. send: later, on the loop; any thread. call: at once; on the guest's main
   thread. 0, NOT_RUNNING, or THREAD. The answer comes by relink_bridge_channel.answer, with call perhaps before it returns. */
RELINK_BRIDGE_API int relink_bridge_send(relink_bridge_runtime *runtime, uint64_t id, const char *name, const char *text);
RELINK_BRIDGE_API int relink_bridge_call(relink_bridge_runtime *runtime, uint64_t id, const char *name, const char *text);

/* Has the callback called on the guest's loop, with run = 1, or with 0 if that ends before. 0, or NOT_RUNNING: it will not
   be called. Any thread. */
RELINK_BRIDGE_API int relink_bridge_post(relink_bridge_runtime *runtime, void (*callback)(void *context, int run),
                                         void *context);

/* Asks the running environment to end, also when it is busy or blocked in the loop. Any thread; returns at once.
   0, or NOT_RUNNING. */
RELINK_BRIDGE_API int relink_bridge_stop(relink_bridge_runtime *runtime);

/* Takes Node's per-process part down, so that the guest can be unloaded and the bridge be bound to another. Not while
   attached or one is running. 0, or ATTACHED, BUSY, or GUEST_ALIVE when something of the guest can never end. */
RELINK_BRIDGE_API int relink_bridge_release(void);

/* The host is about to dispose its V8 or to leave: stops all that run, waits at most 5 s, starts nothing any more.
   The platform hook calls it by itself when the host destroys its platform, when a Node host unregisters its main
   isolate, and at exit(). 0, or TIMEOUT. */
RELINK_BRIDGE_API int relink_bridge_host_leaving(void);

/* The calling thread of the guest is parked for ever. If it is the one in relink_bridge_run, nobody waits for that any
   more; if it is another one, a leaving host waits half a second instead of 5, and the runtime's environment, which would wait for it,
   is not freed at its end. `runtime` may be null: it is some runtime's. */
RELINK_BRIDGE_API void relink_bridge_abandon(relink_bridge_runtime *runtime);

/* The thread that runs it, another one, is in a function of the host's from which it never comes back, or ticks it no more: nobody
   waits for the runtime any longer. Any thread. */
RELINK_BRIDGE_API void relink_bridge_leave_behind(relink_bridge_runtime *runtime);

/* After relink_bridge_abandon() on the thread that ticks: leaves the runtime that it was in, whose frames are never entered again, and
   returns from the bridge's function by which the host entered it; that and every later one answers NOT_RUNNING. Returns on other
   threads. */
RELINK_BRIDGE_API void relink_bridge_escape(void);

/* Calls function(context), which may be an initialiser of the guest's or of an add-on's. 0; THROWN, and `what` says what it threw; LEFT.
   It may be called before the bridge's own initialisers, once the bridge is bound. Calls may be nested. */
RELINK_BRIDGE_API int relink_bridge_protect(void (*function)(void *context), void *context, char *what, size_t size);

/* Has the innermost relink_bridge_protect() of the calling thread return LEFT: the frames in between are never entered again. Returns
   if there is none. */
RELINK_BRIDGE_API void relink_bridge_leave(void);

/* 1 if the calling thread is in relink_bridge_protect(). */
RELINK_BRIDGE_API int relink_bridge_protects(void);

/*
 * Adapters: the loader binds the guest's slots of the named symbol to them. They have the C++ ABI of the function
 * they replace, so C cannot call them; only their addresses matter here.
 *
 *   relink_adapter_NewBackingStoreForNodeLTS   v8::ArrayBuffer::NewBackingStoreForNodeLTS(Isolate*, size_t)
 *       _ZN2v811ArrayBuffer25NewBackingStoreForNodeLTSEPNS_7IsolateEm      (only where the host lacks it)
 *   relink_adapter_ArrayBuffer_WasDetached     v8::ArrayBuffer::WasDetached() const
 *       _ZNK2v811ArrayBuffer11WasDetachedEv                                (V8 10.2; only where the host lacks it, as the next four)
 *   relink_adapter_ArrayBuffer_Data            v8::ArrayBuffer::Data() const
 *       _ZNK2v811ArrayBuffer4DataEv
 *   relink_adapter_SharedArrayBuffer_Data      v8::SharedArrayBuffer::Data() const
 *       _ZNK2v817SharedArrayBuffer4DataEv
 *   relink_adapter_SetInternalFieldForNodeCore_script, ..._module
 *                                              v8::Object::SetInternalFieldForNodeCore(int, Local<UnboundScript> or Local<Module>)
 *       _ZN2v86Object27SetInternalFieldForNodeCoreEiNS_5LocalINS_13UnboundScriptEEE, ...NS_6ModuleEEE
 *   relink_adapter_SetFlagsFromString          v8::V8::SetFlagsFromString(char const*)
 *       _ZN2v82V818SetFlagsFromStringEPKc
 *   relink_adapter_SetFlagsFromStringLength    v8::V8::SetFlagsFromString(char const*, size_t)
 *       _ZN2v82V818SetFlagsFromStringEPKcm
 *   relink_adapter_SetFlagsFromCommandLine     v8::V8::SetFlagsFromCommandLine(int*, char**, bool)
 *       _ZN2v82V823SetFlagsFromCommandLineEPiPPcb
 *   relink_adapter_Isolate_Allocate            v8::Isolate::Allocate()
 *       _ZN2v87Isolate8AllocateEv
 *   relink_adapter_Isolate_Dispose             v8::Isolate::Dispose()
 *       _ZN2v87Isolate7DisposeEv
 *   relink_adapter_V8_InitializePlatform       v8::V8::InitializePlatform(v8::Platform*)
 *       _ZN2v82V818InitializePlatformEPNS_8PlatformE
 *   relink_adapter_V8_DisposePlatform          v8::V8::DisposePlatform()
 *       _ZN2v82V815DisposePlatformEv
 *   relink_adapter_V8_Initialize               v8::V8::Initialize(int)
 *       _ZN2v82V810InitializeEi
 *   relink_adapter_V8_Dispose                  v8::V8::Dispose()
 *       _ZN2v82V87DisposeEv
 *   relink_adapter_V8_EnableWebAssemblyTrapHandler  v8::V8::EnableWebAssemblyTrapHandler(bool)
 *       _ZN2v82V828EnableWebAssemblyTrapHandlerEb
 *   relink_adapter_V8_SetEntropySource         v8::V8::SetEntropySource(bool (*)(unsigned char*, size_t))
 *       _ZN2v82V816SetEntropySourceEPFbPhmE
 *   relink_adapter_TracingController_StartTracing   v8::platform::tracing::TracingController::StartTracing(TraceConfig*)
 *       _ZN2v88platform7tracing17TracingController12StartTracingEPNS1_11TraceConfigE
 *   relink_adapter_TracingController_UpdateTraceEventDuration   the same class's UpdateTraceEventDuration
 *       _ZN2v88platform7tracing17TracingController24UpdateTraceEventDurationEPKhPKcm     (a vtable slot, R_*_64)
 *   relink_adapter_InspectorSession_canDispatchMethod   v8_inspector::V8InspectorSession::canDispatchMethod(StringView)
 *       _ZN12v8_inspector18V8InspectorSession17canDispatchMethodENS_10StringViewE
 *
 * In V8 13.6 the first one is not needed, but two more:
 *   relink_adapter_Isolate_Allocate_in_group   v8::Isolate::Allocate(v8::IsolateGroup const&)
 *       _ZN2v87Isolate8AllocateERKNS_12IsolateGroupE
 *   relink_adapter_Isolate_Deinitialize        v8::Isolate::Deinitialize()
 *       _ZN2v87Isolate12DeinitializeEv
 *   relink_adapter_Isolate_Free                v8::Isolate::Free(v8::Isolate*)
 *       _ZN2v87Isolate4FreeEPS0_
 *
 * Where Node is in an isolate of the host's (V8 10.2; shared.cc), the guest's calls that would change it are bound to
 *   relink_adapter_Shared_Initialize, _Lock (v8::Locker::Initialize), _TerminateExecution, _AddMessageListener,
 *   _AllowCodeGeneration, and to one for each of v8::Isolate's SetMicrotasksPolicy, SetAbortOnUncaughtExceptionCallback,
 *   SetFatalErrorHandler, SetOOMErrorHandler, SetPrepareStackTraceCallback, SetAllowWasmCodeGenerationCallback,
 *   SetModifyCodeGenerationFromStringsCallback, SetWasmStreamingCallback, SetPromiseRejectCallback,
 *   SetHostImportModuleDynamicallyCallback, SetHostInitializeImportMetaObjectCallback, SetHostCreateShadowRealmContextCallback:
 *   relink_adapter_Shared_ and the function's name.
 *
 * And for slots of the *host* that call its V8 through a PLT (an embedder of a libv8.so):
 *   relink_adapter_Host_V8_Dispose             v8::V8::Dispose(): relink_bridge_host_leaving() first
 *   relink_adapter_Host_V8_DisposePlatform     v8::V8::DisposePlatform(): likewise
 */

#ifdef __cplusplus
}
#endif

#endif /* RELINK_BRIDGE_H_ */
