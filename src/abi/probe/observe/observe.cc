// Observes a V8 from inside a process of its own: calls its out-of-line functions, and writes down their answers with the raw
// memory around. What a guest's inlined code would have read there is judged later, elsewhere (src/abi/probe/judge.rs), so a
// guest's wrong numbers can crash nothing.
//
// Preloaded into the host's program, or beside a shared V8 into any program. It stands before the program's main function: the C
// library initialises all that is loaded and then calls the observer instead, so nothing of the program itself runs. The
// observer brings V8 up, writes to descriptor 3 and ends the process.
// Needs no header of V8's: functions are found by their mangled names, a v8::Local is one pointer (Itanium C++ ABI, 3.2.3).
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "calls.h"
#include "heap.h"
#include "tools.h"
#include "values.h"

namespace {

// What the observer's starter reads from.
constexpr int kDescriptor = 3;

// Loads what lies beside a V8 of a component build and it does not need itself: libplatform, and the snapshot that it starts from where
// that is a file.
void load_neighbours() {
  Dl_info module;
  char path[4096];
  void* function = dlsym(RTLD_DEFAULT, "_ZN2v82V810InitializeEi");
  if (!function || !dladdr(function, &module)) return;
  const char* name = strrchr(module.dli_fname, '/');
  const int folder = name ? static_cast<int>(name - module.dli_fname) : 0;
  if (!folder) return;
  snprintf(path, sizeof path, "%.*s/libv8_libplatform.so", folder, module.dli_fname);
  if (access(path, R_OK) == 0) dlopen(path, RTLD_NOW | RTLD_GLOBAL);
  snprintf(path, sizeof path, "%.*s/snapshot_blob.bin", folder, module.dli_fname);
  auto snapshot = find<void(const char*)>("_ZN2v82V837InitializeExternalStartupDataFromFileEPKc");
  if (snapshot && access(path, R_OK) == 0) snapshot(path);
}

#define PLATFORM "_ZN2v88platform18NewDefaultPlatformEiNS0_15IdleTaskSupportENS0_21InProcessStackDumpingE"
#define LIBCXX_PLATFORM(ns) PLATFORM "NSt" ns "10unique_ptrINS_17TracingControllerENS3_14default_deleteIS5_EEEE"
#define PRIORITY "NS0_12PriorityModeE"

bool has(const char* name) { return dlsym(RTLD_DEFAULT, name); }

// V8's own platform. The last parameter came with V8 12. Where libc++ has the second version of its ABI, as in Chromium's builds, a
// unique_ptr is passed and returned as the pointer that it is (_LIBCPP_ABI_ENABLE_UNIQUE_PTR_TRIVIAL_ABI).
void* make_platform() {
  for (const char* name : {LIBCXX_PLATFORM("4__Cr"), LIBCXX_PLATFORM("4__Cr") PRIORITY, LIBCXX_PLATFORM("2Cr"),
                           LIBCXX_PLATFORM("2Cr") PRIORITY}) {
    if (has(name)) return find<void*(int, int, int, void*, int)>(name)(1, 0, 0, nullptr, 0);
  }
  auto make = find<void(void**, int, int, int, void**, int)>(
      {PLATFORM "St10unique_ptrINS_17TracingControllerESt14default_deleteIS4_EE",
       PLATFORM "St10unique_ptrINS_17TracingControllerESt14default_deleteIS4_EE" PRIORITY, LIBCXX_PLATFORM("3__1"),
       LIBCXX_PLATFORM("3__1") PRIORITY});
  void *made = nullptr, *none = nullptr;
  if (make) make(&made, 1, 0, 0, &none, 0);
  return made;
}

// Brings up a V8 that nobody has started yet; false if that is not possible here.
bool bring_up() {
  load_neighbours();
  auto flags = find<void(const char*)>("_ZN2v82V818SetFlagsFromStringEPKc");
  auto set_platform = find<void(void*)>("_ZN2v82V818InitializePlatformEPNS_8PlatformE");
  auto initialize = find<bool(int)>("_ZN2v82V810InitializeEi");
  auto params = find<void(void*)>("_ZN2v87Isolate12CreateParamsC1Ev");
  auto allocator = find<void*()>("_ZN2v811ArrayBuffer9Allocator19NewDefaultAllocatorEv");
  auto make = find<void*(void*)>("_ZN2v87Isolate3NewERKNS0_12CreateParamsE");
  auto enter = find<void(void*)>("_ZN2v87Isolate5EnterEv");
  const char* offset = getenv("RELINK_OBSERVE_ALLOCATOR");
  if (!set_platform || !initialize || !params || !allocator || !make || !enter || !offset) return false;
  if (flags) flags("--allow-natives-syntax --expose-gc");
  void* platform = make_platform();
  if (!platform) return false;
  set_platform(platform);
  if (!initialize(0)) return false;
  alignas(16) static unsigned char create[1024];
  params(create);
  void* freshly = allocator();
  memcpy(create + atoi(offset), &freshly, sizeof freshly);
  isolate = make(create);
  if (isolate) enter(isolate);
  return isolate;
}

// V8 12 and 13 each added a parameter of two words. Words more than a function takes do no harm, and all are null.
bool make_context() {
  using Make = Handle(void*, void*, void*, void*, void*, void*, void*, void*, void*, void*, void*);
  auto make = find<Make>(
      {"_ZN2v87Context3NewEPNS_7IsolateEPNS_22ExtensionConfigurationENS_10MaybeLocalINS_14ObjectTemplateEEENS5_INS_"
       "5ValueEEENS_33DeserializeInternalFieldsCallbackEPNS_14MicrotaskQueueE",
       "_ZN2v87Context3NewEPNS_7IsolateEPNS_22ExtensionConfigurationENS_10MaybeLocalINS_14ObjectTemplateEEENS5_INS_"
       "5ValueEEENS_33DeserializeInternalFieldsCallbackEPNS_14MicrotaskQueueENS_30DeserializeContextDataCallbackE",
       "_ZN2v87Context3NewEPNS_7IsolateEPNS_22ExtensionConfigurationENS_10MaybeLocalINS_14ObjectTemplateEEENS5_INS_"
       "5ValueEEENS_33DeserializeInternalFieldsCallbackEPNS_14MicrotaskQueueENS_30DeserializeContextDataCallbackENS_"
       "29DeserializeAPIWrapperCallbackE"});
  void* none = nullptr;
  if (make) context = globalise(make(isolate, none, none, none, none, none, none, none, none, none, none));
  return context;
}

// What is looked at, step by step. Each has its handles to itself.
struct Step {
  const char* name;
  void (*go)();
};
constexpr Step kSteps[] = {{"values", values},
                           {"small integers", small_integers},
                           {"internal fields", internal_fields},
                           {"an object that asks", special_object},
                           {"embedder data", embedder_data},
                           {"weak handles", weak},
                           {"structures that V8 fills", extents},
                           {"calls of functions", callbacks},
                           {"calls of accessors", property_callbacks},
                           {"external strings", external_strings},
                           {"class ids of handles", class_ids},
                           {"fields of a weak object", weak_fields},
                           {"a weak callback", collect},
                           {"long tasks", long_tasks},
                           {"scopes of handles", handle_scopes}};

void begin(const char* step) {
  fprintf(out, "step %s\n", step);
  fflush(out);
}

void go(const Step& step) {
  begin(step.name);
  auto enter = find<void(Handle)>("_ZN2v87Context5EnterEv");
  auto exit = find<void(Handle)>("_ZN2v87Context4ExitEv");
  if (!enter || !exit) return;
  enter(context);
  step.go();
  exit(context);
}

void isolate_and_context() {
  begin("a context");
  truth("isolate", reinterpret_cast<Word>(isolate));
  memory(reinterpret_cast<Word>(isolate), 2048);
  if (!make_context()) _exit(5);
}

// Until V8 14.1 scopes of handles have functions.
bool in_scopes() {
  const char* name = "_ZN2v811HandleScopeC1EPNS_7IsolateE";
  if (!dlsym(RTLD_DEFAULT, name)) return false;
  auto scope = find<void(void*, void*)>(name);
  auto end_scope = find<void(void*)>("_ZN2v811HandleScopeD1Ev");
  if (!scope || !end_scope) return false;
  auto within = [&](auto what) {
    alignas(16) unsigned char handles[256];
    scope(handles, isolate);
    what();
    end_scope(handles);
  };
  within(isolate_and_context);
  for (const Step& step : kSteps) within([&] { go(step); });
  return true;
}

// Since then they are inline, with a number that is not to be believed yet. V8 makes one itself for each microtask that is a
// function.
bool in_microtasks() {
  auto add = find<void(void*, void (*)(void*), void*)>("_ZN2v87Isolate16EnqueueMicrotaskEPFvPvES1_");
  auto work = find<void(void*)>("_ZN2v815MicrotasksScope17PerformCheckpointEPNS_7IsolateE");
  if (!add || !work) return false;
  static unsigned done;
  add(isolate, [](void*) { isolate_and_context(); done++; }, nullptr);
  for (const Step& step : kSteps) {
    add(isolate, [](void* it) { go(*static_cast<const Step*>(it)); done++; }, const_cast<Step*>(&step));
  }
  begin("microtasks");
  work(isolate);
  return done == 1 + sizeof kSteps / sizeof *kSteps;
}

// V8 tells it before it ends the process.
void fatal(const char* where, const char* what) {
  fprintf(out, "ended by V8, %s: %s\n", where ? where : "?", what ? what : "?");
  fflush(out);
  _exit(7);
}

// Says what ended the process; only functions that a signal's handler may call.
void ended(int number) {
  char text[] = "\nended by signal 00\n";
  constexpr size_t kDigits = sizeof text - 4;
  text[kDigits] = static_cast<char>('0' + number / 10);
  text[kDigits + 1] = static_cast<char>('0' + number % 10);
  if (write(kDescriptor, text, sizeof text - 1) < 0) _exit(8);
  _exit(7);
}

int observe(int, char**, char**) {
  if (!(out = fdopen(kDescriptor, "w"))) _exit(2);
  for (int number : {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGABRT, SIGFPE, SIGALRM}) signal(number, ended);
  begin("bringing V8 up");
  if (!bring_up()) _exit(4);
  begin("scopes");
  if (auto set = find<void(void*, void (*)(const char*, const char*))>("_ZN2v87Isolate20SetFatalErrorHandlerEPFvPKcS2_E")) {
    set(isolate, fatal);
  }
  if (!in_scopes() && !in_microtasks()) _exit(3);
  fprintf(out, "end\n");
  fclose(out);
  _exit(0);
}

// Whatever comes of the program: it has nothing of its starter's but the three standard streams and descriptor 3, and it ends.
__attribute__((constructor)) void bound() {
  constexpr unsigned kSeconds = 20;
  syscall(SYS_close_range, 4u, ~0u, 0u);
  alarm(kSeconds);
}

}  // namespace

// Stands before the C library's: a program's entry point calls it with the program's main function.
extern "C" __attribute__((visibility("default"))) int __libc_start_main(int (*)(int, char**, char**), int count, char** arguments,
                                                                        void (*initialise)(), void (*finalise)(),
                                                                        void (*end_of_loader)(), void* stack_end) {
  using Start = int(int (*)(int, char**, char**), int, char**, void (*)(), void (*)(), void (*)(), void*);
  auto start = reinterpret_cast<Start*>(dlsym(RTLD_NEXT, "__libc_start_main"));
  if (!start) _exit(6);
  return start(observe, count, arguments, initialise, finalise, end_of_loader, stack_end);
}
