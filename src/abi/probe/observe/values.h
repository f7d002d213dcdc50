// Values, objects and strings. See observe.cc.
#ifndef RELINK_OBSERVE_VALUES_H_
#define RELINK_OBSERVE_VALUES_H_

#include "tools.h"

namespace {

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

// Pointers of the embedder's have a tag since V8 14.6, which says nothing where V8 has no sandbox.
constexpr unsigned short kDefaultTag = 0;
using SetPointer = void(Handle, int, void*, unsigned short);

SetPointer* internal_field_setter() {
  return find<SetPointer>({"_ZN2v86Object32SetAlignedPointerInInternalFieldEiPv",
                           "_ZN2v86Object32SetAlignedPointerInInternalFieldEiPvt"});
}

void internal_fields() {
  auto make = find<Handle(void*, Handle)>("_ZN2v814ObjectTemplate3NewEPNS_7IsolateENS_5LocalINS_16FunctionTemplateEEE");
  auto count = find<void(Handle, int)>("_ZN2v814ObjectTemplate21SetInternalFieldCountEi");
  auto instance = find<Handle(Handle, Handle)>("_ZN2v814ObjectTemplate11NewInstanceENS_5LocalINS_7ContextEEE");
  auto set = internal_field_setter();
  if (!make || !count || !instance || !set) return;
  Handle model = make(isolate, nullptr);
  count(model, 2);
  Handle made = instance(model, context);
  if (!made) return;
  set(made, 0, reinterpret_cast<void*>(0x1234560), kDefaultTag);
  set(made, 1, reinterpret_cast<void*>(0x6543210), kDefaultTag);
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
  auto set = find<SetPointer>({"_ZN2v87Context31SetAlignedPointerInEmbedderDataEiPv",
                               "_ZN2v87Context31SetAlignedPointerInEmbedderDataEiPvt"});
  if (!set) return;
  set(context, 60, reinterpret_cast<void*>(0x7654320), kDefaultTag);
  truth("context", *context);
  truth("embedder_data_60", 0x7654320);
  graph(*context, 16);
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

}  // namespace

#endif  // RELINK_OBSERVE_VALUES_H_
