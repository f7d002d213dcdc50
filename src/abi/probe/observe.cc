// Observes a V8 from inside a process of its own: calls its out-of-line functions, and writes down their answers with the raw
// memory around. What a guest's inlined code would have read there is judged later, elsewhere (src/abi/probe/judge.rs), so a guest's wrong
// numbers can crash nothing.
//
// Preloaded into the host's program, or beside a shared V8 into any program. It stands before the program's main function: the C
// library initialises all that is loaded and then calls the observer instead, so nothing of the program itself runs. The
// observer brings V8 up, writes to descriptor 3 and ends the process.
// Needs no header of V8's: functions are found by their mangled names, a v8::Local is one pointer (Itanium C++ ABI, 3.2.3).
#include <dlfcn.h>
#include <initializer_list>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
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

Word word(Word at) {
  Word found = 0;
  iovec to{&found, 8}, from{reinterpret_cast<void*>(at), 8};
  return process_vm_readv(getpid(), &to, 1, &from, 1, 0) == 8 ? found : 0;
}

// An object behind a tagged pointer, and its map.
void object(Word tagged) {
  memory(tagged, 256);
  if (Word map = word(tagged & ~Word{3})) memory(map, 64);
}

// An object and everything that its first words point at.
void graph(Word tagged, int words) {
  memory(tagged, 512);
  for (int i = 0; i < words; i++) {
    const Word found = word((tagged & ~Word{3}) + 8 * i);
    if ((found & 3) == 1) memory(found, 1024);
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
                              {"empty_string", "''"}, {"smi", "4242"}, {"string", "'a string'"}, {"number", "1.5"},
                              {"the_hole", "%TheHole()"}};
  for (auto& [name, source] : sources) {
    Handle handle = run(source);
    if (!handle) continue;
    truth(name, *handle);
    if (*handle & 1) object(*handle);
  }
}

// A persistent handle. Since V8 11.5 the function takes the value, before its handle.
Handle globalise(Handle value) {
  auto before = find<Handle(void*, Handle)>("_ZN2v812api_internal18GlobalizeReferenceEPNS_8internal7IsolateEPm");
  auto since = find<Handle(void*, Word)>("_ZN2v812api_internal18GlobalizeReferenceEPNS_8internal7IsolateEm");
  return !value ? nullptr : before ? before(isolate, value) : since ? since(isolate, *value) : nullptr;
}

// The numbers at which V8 begins to keep an integer as a heap object, by the width that a small integer may have.
void small_integers() {
  const char* sources[][3] = {{"1073741823", "1073741824", "-1073741824"}, {"2147483647", "2147483648", "-2147483648"}};
  for (auto& [last, next, least] : sources) {
    Handle a = run(last), b = run(next), c = run(least);
    if (!a || !b || !c || (*a & 1) || !(*b & 1) || (*c & 1)) continue;
    truth("smi_max", strtoul(last, nullptr, 10));
    truth("smi_min", static_cast<Word>(strtol(least, nullptr, 10)));
  }
  if (auto size = find<int>("v8dbg_TaggedSize")) truth("tagged_size", *size);
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

bool anybody(Handle, Handle, Handle) { return true; }

// An object that is asked before it is touched.
void special_object() {
  auto make = find<Handle(void*, Handle)>("_ZN2v814ObjectTemplate3NewEPNS_7IsolateENS_5LocalINS_16FunctionTemplateEEE");
  auto ask = find<void(Handle, bool (*)(Handle, Handle, Handle), Handle)>(
      "_ZN2v814ObjectTemplate22SetAccessCheckCallbackEPFbNS_5LocalINS_7ContextEEENS1_INS_6ObjectEEENS1_INS_5ValueEEEES7_");
  auto instance = find<Handle(Handle, Handle)>("_ZN2v814ObjectTemplate11NewInstanceENS_5LocalINS_7ContextEEE");
  if (!make || !ask || !instance) return;
  Handle model = make(isolate, nullptr);
  ask(model, anybody, nullptr);
  Handle made = instance(model, context);
  if (!made) return;
  truth("special_object", *made);
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
  object(*receiver);
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

// V8 calls these with the key's handle and a PropertyCallbackInfo, which points at the arguments or, since V8 12.9, holds them.
Word tried, initial;
bool getter_seen, setter_seen;
Handle property_data, property_this, property_holder;

Word* arguments_of(Handle* info) {
  for (int at = 0; at < 7; at++) {
    if (word(reinterpret_cast<Word>(info[0] + at)) == reinterpret_cast<Word>(isolate)) return info[0];
  }
  return reinterpret_cast<Word*>(info);
}

// Both accessors get theirs at the same place of the stack, one after the other, so a copy is written down.
void tell_arguments(const char* name, Handle* info, Word (&copy)[2][8]) {
  const Word* arguments = arguments_of(info);
  const bool points = arguments != reinterpret_cast<Word*>(info);
  memcpy(copy[0], info, points ? sizeof(Word) : sizeof copy[0]);
  memcpy(copy[1], arguments, sizeof copy[1]);
  if (points) copy[0][0] = reinterpret_cast<Word>(copy[1]);
  truth(name, reinterpret_cast<Word>(copy));
  memory(reinterpret_cast<Word>(copy), sizeof copy);
}

void getter(Handle key, Handle* info) {
  static Word copy[2][8];
  if (!getter_seen) tell_arguments("property_info", info, copy);
  getter_seen = true;
  Word* arguments = arguments_of(info);
  // Only a word that is neither a number nor one of the objects that V8 hands over may be the result.
  const Word now = arguments[tried];
  const bool known = now == *property_data || now == *property_this || now == *property_holder || now == *key;
  if ((now & 3) != 1 || known) return;
  initial = now;
  arguments[tried] = Word{5000} << 32;
}

void setter(Handle, Handle, Handle* info) {
  static Word copy[2][8];
  if (!setter_seen) tell_arguments("property_set_info", info, copy);
  setter_seen = true;
}

void property_callbacks() {
  auto define = find<short(Handle, Handle, Handle, void (*)(Handle, Handle*), void (*)(Handle, Handle, Handle*), Handle, int, int, int)>(
      "_ZN2v86Object21SetNativeDataPropertyENS_5LocalINS_7ContextEEENS1_INS_4NameEEEPFvS5_RKNS_20PropertyCallbackInfoINS_"
      "5ValueEEEEPFvS5_NS1_IS7_EERKNS6_IvEEESD_NS_17PropertyAttributeENS_14SideEffectTypeESK_");
  property_data = run("88880");
  property_holder = run("globalThis.holder = {}");
  property_this = run("globalThis.receiver = Object.create(holder)");
  Handle key = text("x");
  if (!define || !key || !property_data || !property_holder || !property_this) return;
  define(property_holder, context, key, getter, setter, property_data, 0, 0, 0);
  truth("property_data", *property_data);
  for (tried = 0; tried < 8; tried++) {
    Handle result = run("receiver.x");
    if (!result || *result != Word{5000} << 32) continue;
    truth("property_return_index", tried);
    truth("property_return_initial", initial);
    break;
  }
  run("holder.x = 7");
  // They may have moved when the scripts ran.
  truth("property_this", *property_this);
  truth("property_holder", *property_holder);
}

// A word of memory that holds 0, and what happens with another number in it.
template <typename Try>
bool holds(void* at, size_t size, Try attempt) {
  unsigned char before[8];
  memcpy(before, at, size);
  memset(at, 0, size);
  *static_cast<unsigned char*>(at) = 0x77;
  const bool found = attempt();
  memcpy(at, before, size);
  return found;
}

// A v8::PersistentHandleVisitor: two slots for its destructor, then its only function.
Word visited;
void no_destructor(void*) {}
void visit(void*, Handle*, unsigned short id) {
  if (id == 0x77) visited++;
}

// The class id of a handle: the two bytes with which V8 finds it.
void class_ids() {
  auto all = find<void(void*, void*)>("_ZN2v87Isolate24VisitHandlesWithClassIdsEPNS_23PersistentHandleVisitorE");
  auto node = reinterpret_cast<unsigned char*>(globalise(run("({})")));
  if (!all || !node) return;
  static void* table[] = {reinterpret_cast<void*>(no_destructor), reinterpret_cast<void*>(no_destructor),
                          reinterpret_cast<void*>(visit)};
  static void* visitor[] = {table};
  for (int at : {8, 10, 12}) {
    auto found = [&] { visited = 0; all(isolate, visitor); return visited == 1; };
    if (holds(node + at, 2, found)) return truth("class_id_offset", at);
  }
}

// The counter by whose change V8 knows that a new task has begun and its statistics start anew.
void long_tasks() {
  struct Stats { int64_t us[8]; };
  auto get = find<Stats(void*)>("_ZN2v87metrics13LongTaskStats3GetEPNS_7IsolateE");
  if (!get || !run("gc(); gc(); gc()")) return;
  auto any = [&] { const Stats now = get(isolate); return now.us[0] > 0 || now.us[1] > 0 || now.us[2] > 0; };
  auto words = static_cast<unsigned char*>(isolate);
  for (int at = 0; at < 1024 && any(); at += 8) {
    if (word(reinterpret_cast<Word>(words + at)) != 0) continue;
    if (holds(words + at, 8, [&] { return !any(); })) return truth("long_task_offset", at);
  }
}

// How many internal fields a weak callback gets, of an object that has more.
const Word kFields[] = {0x1110, 0x2220, 0x3330, 0x4440};

Handle weakened;

void weak_fields_callback(const Word* info) {
  // V8 wants the handle to be reset at once.
  if (auto dispose = find<void(Handle)>("_ZN2v812api_internal13DisposeGlobalEPm")) dispose(weakened);
  Word most = 0;
  for (int at = 0; at < 8; at++) {
    Word count = 0;
    while (count < 4 && at + count < 12 && info[at + count] == kFields[count]) count++;
    if (count > most) most = count;
  }
  truth("weak_fields", most);
}

void weak_fields() {
  auto make = find<Handle(void*, Handle)>("_ZN2v814ObjectTemplate3NewEPNS_7IsolateENS_5LocalINS_16FunctionTemplateEEE");
  auto count = find<void(Handle, int)>("_ZN2v814ObjectTemplate21SetInternalFieldCountEi");
  auto instance = find<Handle(Handle, Handle)>("_ZN2v814ObjectTemplate11NewInstanceENS_5LocalINS_7ContextEEE");
  auto set = find<void(Handle, int, void*)>("_ZN2v86Object32SetAlignedPointerInInternalFieldEiPv");
  auto weak = find<void(Handle, void*, void (*)(const Word*), int)>(
      "_ZN2v812api_internal8MakeWeakEPmPvPFvRKNS_16WeakCallbackInfoIvEEENS_16WeakCallbackTypeE");
  auto scope = find<void(void*, void*)>("_ZN2v811HandleScopeC1EPNS_7IsolateE");
  auto end_scope = find<void(void*)>("_ZN2v811HandleScopeD1Ev");
  if (!make || !count || !instance || !set || !weak || !scope || !end_scope) return;
  alignas(16) unsigned char handles[256];
  scope(handles, isolate);
  Handle model = make(isolate, nullptr);
  count(model, 4);
  if (Handle made = instance(model, context)) {
    for (int i = 0; i < 4; i++) set(made, i, reinterpret_cast<void*>(kFields[i]));
    weakened = globalise(made);
    weak(weakened, nullptr, weak_fields_callback, 1);
  }
  end_scope(handles);
  run("gc()");
}

void weak() {
  auto make_weak = find<void(Handle, void*, void (*)(const void*), int)>(
      "_ZN2v812api_internal8MakeWeakEPmPvPFvRKNS_16WeakCallbackInfoIvEEENS_16WeakCallbackTypeE");
  Handle value = run("({})"), strong = globalise(value);
  if (!make_weak || !strong) return;
  truth("strong_handle", reinterpret_cast<Word>(strong));
  memory(reinterpret_cast<Word>(strong), 64);
  // Nobody calls it, for the value lives on. No byte of it looks like a state of a handle, wherever a wrong offset reads.
  auto never = reinterpret_cast<void (*)(const void*)>(Word{0x0101010101010101});
  // Several, for the number of one may look like a state.
  for (const char* name : {"weak_handle", "second_weak_handle", "third_weak_handle"}) {
    Handle other = globalise(value);
    if (!other) return;
    make_weak(other, nullptr, never, 0);
    truth(name, reinterpret_cast<Word>(other));
    memory(reinterpret_cast<Word>(other), 64);
  }
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

// The resource of an external string, whose functions note in which slots V8 calls them.
const char16_t kWide[] = u"external text";
const char kText[] = "external text";
unsigned long calls;
int data_slot, length_slot;
const void* data;

template <int N>
Word stub(void*) {
  calls |= 1ul << N;
  return N == data_slot ? reinterpret_cast<Word>(data) : N == length_slot ? sizeof kText - 1 : 1;
}

// Makes a string of it; `kind` begins the names of what is told.
void external(const char* kind, const char* make_name, const char* variable, const void* characters) {
  auto make = find<Handle(void*, void*)>(make_name);
  const char* slots = getenv(variable);
  if (!make || !slots || sscanf(slots, "%d,%d", &data_slot, &length_slot) != 2) return;
  static Word (*table[])(void*) = {stub<0>, stub<1>, stub<2>, stub<3>, stub<4>, stub<5>, stub<6>, stub<7>,
                                   stub<8>, stub<9>, stub<10>, stub<11>, stub<12>, stub<13>, stub<14>, stub<15>};
  static void* resources[2][8];
  void** resource = resources[kind[0] == 'w'];
  resource[0] = table;
  data = characters;
  calls = 0;
  Handle string = make(isolate, resource);
  char name[64];
  auto tell = [&](const char* what, Word value) {
    snprintf(name, sizeof name, "%s_%s", kind, what);
    truth(name, value);
  };
  tell("calls", calls);
  if (!string) return;
  tell("string", *string);
  tell("resource", reinterpret_cast<Word>(resource));
  object(*string);
}

void external_strings() {
  external("external", "_ZN2v86String18NewExternalOneByteEPNS_7IsolateEPNS0_29ExternalOneByteStringResourceE",
           "RELINK_OBSERVE_SLOTS", kText);
  external("wide", "_ZN2v86String18NewExternalTwoByteEPNS_7IsolateEPNS0_22ExternalStringResourceE",
           "RELINK_OBSERVE_WIDE_SLOTS", kWide);
}

// Brings up a V8 that nobody has started yet; false if that is not possible here.
bool bring_up() {
  // The last parameter came with V8 12.
  using NewPlatform = void(void**, int, int, int, void**, int);
  auto platform = find<NewPlatform>(
      "_ZN2v88platform18NewDefaultPlatformEiNS0_15IdleTaskSupportENS0_21InProcessStackDumpingESt10unique_ptrINS_"
      "17TracingControllerESt14default_deleteIS4_EE");
  if (!platform) {
    platform = find<NewPlatform>(
        "_ZN2v88platform18NewDefaultPlatformEiNS0_15IdleTaskSupportENS0_21InProcessStackDumpingESt10unique_ptrINS_"
        "17TracingControllerESt14default_deleteIS4_EENS0_12PriorityModeE");
  }
  auto flags = find<void(const char*)>("_ZN2v82V818SetFlagsFromStringEPKc");
  auto set_platform = find<void(void*)>("_ZN2v82V818InitializePlatformEPNS_8PlatformE");
  auto initialize = find<bool(int)>("_ZN2v82V810InitializeEi");
  auto params = find<void(void*)>("_ZN2v87Isolate12CreateParamsC1Ev");
  auto allocator = find<void*()>("_ZN2v811ArrayBuffer9Allocator19NewDefaultAllocatorEv");
  auto make = find<void*(void*)>("_ZN2v87Isolate3NewERKNS0_12CreateParamsE");
  auto enter = find<void(void*)>("_ZN2v87Isolate5EnterEv");
  const char* offset = getenv("RELINK_OBSERVE_ALLOCATOR");
  if (!platform || !set_platform || !initialize || !params || !allocator || !make || !enter || !offset) return false;
  void *made = nullptr, *none = nullptr;
  if (flags) flags("--allow-natives-syntax --expose-gc");
  platform(&made, 1, 0, 0, &none, 0);
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

// V8 12 and 13 each added a parameter of two words. Words more than a function takes do no harm, and all are null.
bool make_context() {
  using Make = Handle(void*, void*, void*, void*, void*, void*, void*, void*, void*, void*, void*);
  const char* names[] = {
      "_ZN2v87Context3NewEPNS_7IsolateEPNS_22ExtensionConfigurationENS_10MaybeLocalINS_14ObjectTemplateEEENS5_INS_"
      "5ValueEEENS_33DeserializeInternalFieldsCallbackEPNS_14MicrotaskQueueE",
      "_ZN2v87Context3NewEPNS_7IsolateEPNS_22ExtensionConfigurationENS_10MaybeLocalINS_14ObjectTemplateEEENS5_INS_"
      "5ValueEEENS_33DeserializeInternalFieldsCallbackEPNS_14MicrotaskQueueENS_30DeserializeContextDataCallbackE",
      "_ZN2v87Context3NewEPNS_7IsolateEPNS_22ExtensionConfigurationENS_10MaybeLocalINS_14ObjectTemplateEEENS5_INS_"
      "5ValueEEENS_33DeserializeInternalFieldsCallbackEPNS_14MicrotaskQueueENS_30DeserializeContextDataCallbackENS_"
      "29DeserializeAPIWrapperCallbackE"};
  auto enter = find<void(Handle)>("_ZN2v87Context5EnterEv");
  for (const char* name : names) {
    auto make = find<Make>(name);
    if (!make || !enter) continue;
    void* none = nullptr;
    context = make(isolate, none, none, none, none, none, none, none, none, none, none);
    if (context) enter(context);
    return context;
  }
  return false;
}

int observe(int, char**, char**) {
  if (!(out = fdopen(3, "w"))) _exit(2);
  auto scope = find<void(void*, void*)>("_ZN2v811HandleScopeC1EPNS_7IsolateE");
  if (!scope) _exit(3);
  if (!bring_up()) _exit(4);
  alignas(16) static unsigned char handles[256];
  scope(handles, isolate);
  truth("isolate", reinterpret_cast<Word>(isolate));
  memory(reinterpret_cast<Word>(isolate), 2048);
  if (!make_context()) _exit(5);
  values();
  small_integers();
  internal_fields();
  special_object();
  embedder_data();
  weak();
  extents();
  callbacks();
  property_callbacks();
  external_strings();
  class_ids();
  weak_fields();
  long_tasks();
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
