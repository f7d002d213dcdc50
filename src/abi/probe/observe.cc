// Observes a V8 from inside a process of its own: calls its out-of-line functions, and writes down their answers with the raw
// memory around. What a guest's inlined code would have read there is judged later, elsewhere (src/abi/probe/judge.rs), so a guest's wrong
// numbers can crash nothing.
//
// Loaded by process.dlopen into a node, or preloaded beside a shared V8; does all in its constructor and ends the process.
// Needs no header of V8's: functions are found by their mangled names, a v8::Local is one pointer (Itanium C++ ABI, 3.2.3).
#include <dlfcn.h>
#include <initializer_list>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

namespace {

using Word = uintptr_t;
using Handle = Word*;

FILE* out;

template <typename F>
F* find(const char* name) {
  return reinterpret_cast<F*>(dlsym(RTLD_DEFAULT, name));
}

void truth(const char* name, Word value) {
  fprintf(out, "truth %s %lu\n", name, value);
  fflush(out);
}

// Writes down up to `size` bytes from `at` on, as far as they can be read.
void memory(Word at, size_t size) {
  unsigned char bytes[2048];
  at &= ~Word{7};
  for (size_t step = size; step >= 64; step /= 2) {
    iovec to{bytes, step}, from{reinterpret_cast<void*>(at), step};
    if (process_vm_readv(getpid(), &to, 1, &from, 1, 0) != static_cast<ssize_t>(step)) continue;
    fprintf(out, "memory %lu ", at);
    for (size_t i = 0; i < step; i++) fprintf(out, "%02x", bytes[i]);
    fputc('\n', out);
    return;
  }
}

// An object behind a tagged pointer, and its map.
void object(Word tagged) {
  memory(tagged, 256);
  Word map = 0;
  iovec to{&map, 8}, from{reinterpret_cast<void*>(tagged & ~Word{3}), 8};
  if (process_vm_readv(getpid(), &to, 1, &from, 1, 0) == 8) memory(map, 64);
}

// An object and everything that its first words point at.
void graph(Word tagged, int words) {
  memory(tagged, 512);
  for (int i = 0; i < words; i++) {
    Word word = 0;
    iovec to{&word, 8}, from{reinterpret_cast<void*>((tagged & ~Word{3}) + 8 * i), 8};
    if (process_vm_readv(getpid(), &to, 1, &from, 1, 0) == 8 && (word & 3) == 1) memory(word, 1024);
  }
}

void* isolate;
Handle context;

Handle text(const char* source) {
  auto make = find<Handle(void*, const char*, int, int)>("_ZN2v86String11NewFromUtf8EPNS_7IsolateEPKcNS_13NewStringTypeEi");
  return make ? make(isolate, source, 0, -1) : nullptr;
}

Handle run(const char* source) {
  auto compile = find<Handle(Handle, Handle, void*)>(
      "_ZN2v86Script7CompileENS_5LocalINS_7ContextEEENS1_INS_6StringEEEPNS_12ScriptOriginE");
  auto go = find<Handle(Handle, Handle)>("_ZN2v86Script3RunENS_5LocalINS_7ContextEEE");
  if (!compile || !go) return nullptr;
  Handle code = text(source);
  Handle script = code ? compile(context, code, nullptr) : nullptr;
  return script ? go(script, context) : nullptr;
}

void values() {
  const char* sources[][2] = {{"undefined", "undefined"}, {"null", "null"}, {"true", "true"}, {"false", "false"},
                              {"empty_string", "''"}, {"smi", "4242"}, {"string", "'a string'"}, {"number", "1.5"}};
  for (auto& [name, source] : sources) {
    Handle handle = run(source);
    if (!handle) continue;
    truth(name, *handle);
    if (*handle & 1) object(*handle);
  }
}

void internal_fields() {
  auto make = find<Handle(void*, Handle)>("_ZN2v814ObjectTemplate3NewEPNS_7IsolateENS_5LocalINS_16FunctionTemplateEEE");
  auto count = find<void(Handle, int)>("_ZN2v814ObjectTemplate21SetInternalFieldCountEi");
  auto instance = find<Handle(Handle, Handle)>("_ZN2v814ObjectTemplate11NewInstanceENS_5LocalINS_7ContextEEE");
  auto set = find<void(Handle, int, void*)>("_ZN2v86Object32SetAlignedPointerInInternalFieldEiPv");
  if (!make || !count || !instance || !set) return;
  Handle model = make(isolate, nullptr);
  count(model, 2);
  Handle made = instance(model, context);
  if (!made) return;
  set(made, 0, reinterpret_cast<void*>(0x1234560));
  set(made, 1, reinterpret_cast<void*>(0x6543210));
  truth("api_object", *made);
  truth("internal_field_0", 0x1234560);
  truth("internal_field_1", 0x6543210);
  object(*made);
}

void embedder_data() {
  auto set = find<void(Handle, int, void*)>("_ZN2v87Context31SetAlignedPointerInEmbedderDataEiPv");
  if (!set) return;
  set(context, 60, reinterpret_cast<void*>(0x7654320));
  truth("context", *context);
  truth("embedder_data_60", 0x7654320);
  graph(*context, 16);
}

Word candidate;
bool written_down;

// Called by V8 with a FunctionCallbackInfo.
void callback(Handle* info) {
  Handle arguments = info[0];
  if (!written_down) {
    written_down = true;
    truth("callback_info", reinterpret_cast<Word>(info));
    memory(reinterpret_cast<Word>(info), 64);
    memory(reinterpret_cast<Word>(arguments), 128);
    memory(reinterpret_cast<Word>(info[1]), 128);
    memory(reinterpret_cast<Word>(info[1]) - 128, 128);
    return;
  }
  arguments[candidate] = Word{5000} << 32;
}

void callbacks() {
  auto make = find<Handle(Handle, void (*)(Handle*), Handle, int, int, int)>(
      "_ZN2v88Function3NewENS_5LocalINS_7ContextEEEPFvRKNS_20FunctionCallbackInfoINS_5ValueEEEENS1_IS5_EEiNS_"
      "19ConstructorBehaviorENS_14SideEffectTypeE");
  auto call = find<Handle(Handle, Handle, Handle, int, Handle*)>(
      "_ZN2v88Function4CallENS_5LocalINS_7ContextEEENS1_INS_5ValueEEEiPS5_");
  Handle data = run("77770"), receiver = run("({})"), first = run("1001"), second = run("1002");
  if (!make || !call || !data || !receiver || !first || !second) return;
  Handle function = make(context, callback, data, 0, 1, 0);
  if (!function) return;
  Handle arguments[] = {first, second};
  truth("callback_data", *data);
  truth("callback_this", *receiver);
  truth("callback_argument_0", *first);
  truth("callback_argument_1", *second);
  truth("callback_length", 2);
  call(function, context, receiver, 2, arguments);
  // Which word becomes the result? The one whose change comes back. Only words are tried that V8 fills for the callee alone.
  for (candidate = 2; candidate <= 3; candidate++) {
    Handle result = call(function, context, receiver, 2, arguments);
    if (result && *result == Word{5000} << 32) truth("callback_return_index", candidate);
  }
}

void weak_callback(const void*) {}

void weak() {
  auto global = find<Handle(void*, Handle)>("_ZN2v812api_internal18GlobalizeReferenceEPNS_8internal7IsolateEPm");
  auto make_weak = find<void(Handle, void*, void (*)(const void*), int)>(
      "_ZN2v812api_internal8MakeWeakEPmPvPFvRKNS_16WeakCallbackInfoIvEEENS_16WeakCallbackTypeE");
  Handle value = run("({})");
  if (!global || !make_weak || !value) return;
  Handle strong = global(isolate, value);
  truth("strong_handle", reinterpret_cast<Word>(strong));
  memory(reinterpret_cast<Word>(strong), 64);
  Handle other = global(isolate, value);
  make_weak(other, nullptr, weak_callback, 0);
  truth("weak_handle", reinterpret_cast<Word>(other));
  memory(reinterpret_cast<Word>(other), 64);
}

// How many bytes a function writes to an object of its own: the last byte that it changes, whatever was there before.
template <typename Call>
void extent(const char* name, Call call) {
  size_t last = 0;
  for (int fill : {0xa5, 0x5a}) {
    alignas(16) static unsigned char buffer[4096];
    memset(buffer, fill, sizeof buffer);
    call(buffer);
    for (size_t i = 0; i < sizeof buffer; i++) {
      if (buffer[i] != fill && i + 1 > last) last = i + 1;
    }
  }
  if (last) truth(name, last);
}

void extents() {
  using Make = void(void*);
  using With = void(void*, void*);
  auto scope = find<With>("_ZN2v811HandleScopeC1EPNS_7IsolateE");
  auto end_scope = find<Make>("_ZN2v811HandleScopeD1Ev");
  if (scope && end_scope) extent("extent v8::HandleScope", [&](void* p) { scope(p, isolate); end_scope(p); });
  auto caught = find<With>("_ZN2v88TryCatchC1EPNS_7IsolateE");
  auto end_caught = find<Make>("_ZN2v88TryCatchD1Ev");
  if (caught && end_caught) extent("extent v8::TryCatch", [&](void* p) { caught(p, isolate); end_caught(p); });
  auto params = find<Make>("_ZN2v87Isolate12CreateParamsC1Ev");
  if (params) extent("extent v8::Isolate::CreateParams", [&](void* p) { params(p); });
  auto heap = find<With>("_ZN2v87Isolate17GetHeapStatisticsEPNS_14HeapStatisticsE");
  if (heap) extent("extent v8::HeapStatistics", [&](void* p) { heap(isolate, p); });
  auto space = find<bool(void*, void*, size_t)>("_ZN2v87Isolate22GetHeapSpaceStatisticsEPNS_19HeapSpaceStatisticsEm");
  if (space) extent("extent v8::HeapSpaceStatistics", [&](void* p) { space(isolate, p, 0); });
  auto code = find<bool(void*, void*)>("_ZN2v87Isolate32GetHeapCodeAndMetadataStatisticsEPNS_18HeapCodeStatisticsE");
  if (code) extent("extent v8::HeapCodeStatistics", [&](void* p) { code(isolate, p); });
}

// An external string's resource whose functions note in which slots V8 calls them.
const char kText[] = "external text";
unsigned long calls;
int data_slot, length_slot;

template <int N>
Word stub(void*) {
  calls |= 1ul << N;
  return N == data_slot ? reinterpret_cast<Word>(kText) : N == length_slot ? sizeof kText - 1 : 1;
}

void external_string() {
  auto make = find<Handle(void*, void*)>("_ZN2v86String18NewExternalOneByteEPNS_7IsolateEPNS0_29ExternalOneByteStringResourceE");
  const char* slots = getenv("RELINK_OBSERVE_SLOTS");
  if (!make || !slots || sscanf(slots, "%d,%d", &data_slot, &length_slot) != 2) return;
  static Word (*table[])(void*) = {stub<0>, stub<1>, stub<2>, stub<3>, stub<4>, stub<5>, stub<6>, stub<7>,
                                   stub<8>, stub<9>, stub<10>, stub<11>, stub<12>, stub<13>, stub<14>, stub<15>};
  static void* resource[8] = {table};
  Handle string = make(isolate, resource);
  truth("external_calls", calls);
  if (!string) return;
  truth("external_string", *string);
  truth("external_resource", reinterpret_cast<Word>(resource));
  object(*string);
}

// Brings up a V8 that nobody has started yet; false if that is not possible here.
bool bring_up() {
  auto platform = find<void(void**, int, int, int, void**)>(
      "_ZN2v88platform18NewDefaultPlatformEiNS0_15IdleTaskSupportENS0_21InProcessStackDumpingESt10unique_ptrINS_"
      "17TracingControllerESt14default_deleteIS4_EE");
  auto set_platform = find<void(void*)>("_ZN2v82V818InitializePlatformEPNS_8PlatformE");
  auto initialize = find<bool(int)>("_ZN2v82V810InitializeEi");
  auto params = find<void(void*)>("_ZN2v87Isolate12CreateParamsC1Ev");
  auto allocator = find<void*()>("_ZN2v811ArrayBuffer9Allocator19NewDefaultAllocatorEv");
  auto make = find<void*(void*)>("_ZN2v87Isolate3NewERKNS0_12CreateParamsE");
  auto enter = find<void(void*)>("_ZN2v87Isolate5EnterEv");
  const char* offset = getenv("RELINK_OBSERVE_ALLOCATOR");
  if (!platform || !set_platform || !initialize || !params || !allocator || !make || !enter || !offset) return false;
  void *made = nullptr, *none = nullptr;
  platform(&made, 1, 0, 0, &none);
  set_platform(made);
  if (!initialize(0)) return false;
  alignas(16) static unsigned char create[1024];
  params(create);
  void* freshly = allocator();
  memcpy(create + atoi(offset), &freshly, sizeof freshly);
  isolate = make(create);
  if (isolate) enter(isolate);
  return isolate;
}

bool make_context() {
  auto make = find<Handle(void*, void*, Handle, Handle, void*, void*, void*)>(
      "_ZN2v87Context3NewEPNS_7IsolateEPNS_22ExtensionConfigurationENS_10MaybeLocalINS_14ObjectTemplateEEENS5_INS_"
      "5ValueEEENS_33DeserializeInternalFieldsCallbackEPNS_14MicrotaskQueueE");
  auto enter = find<void(Handle)>("_ZN2v87Context5EnterEv");
  if (!make || !enter) return false;
  context = make(isolate, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr);
  if (context) enter(context);
  return context;
}

__attribute__((constructor)) void observe() {
  const char* file = getenv("RELINK_OBSERVE");
  if (!file || !(out = fopen(file, "w"))) return;
  auto try_current = find<void*()>("_ZN2v87Isolate13TryGetCurrentEv");
  auto scope = find<void(void*, void*)>("_ZN2v811HandleScopeC1EPNS_7IsolateE");
  if (!try_current || !scope) _exit(3);
  isolate = try_current();
  const bool ours = !isolate;
  if (ours && !bring_up()) _exit(4);
  alignas(16) static unsigned char handles[256];
  scope(handles, isolate);
  auto current = find<Handle(void*)>("_ZN2v87Isolate17GetCurrentContextEv");
  if (ours ? !make_context() : !current || !(context = current(isolate))) _exit(5);
  truth("isolate", reinterpret_cast<Word>(isolate));
  memory(reinterpret_cast<Word>(isolate), 2048);
  values();
  internal_fields();
  embedder_data();
  weak();
  extents();
  callbacks();
  external_string();
  fprintf(out, "end\n");
  fclose(out);
  _exit(0);
}

}  // namespace
