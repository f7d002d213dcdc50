// Functions and accessors that scripts call, and what V8 tells them. See observe.cc.
#ifndef RELINK_OBSERVE_CALLS_H_
#define RELINK_OBSERVE_CALLS_H_

#include "tools.h"

namespace {

// A small integer that nobody else makes.
constexpr Word kOurs = Word{5000} << 32;

enum { kInFrame = 20, kBeforeFrame = 2 };

// Words of a stack frame, as a copy: the next call has the same place.
void tell_frame(const char* name, const Word* frame, Word (&copy)[kBeforeFrame + kInFrame]) {
  memcpy(copy, frame - kBeforeFrame, sizeof copy);
  truth(name, reinterpret_cast<Word>(copy + kBeforeFrame));
  memory(reinterpret_cast<Word>(copy), sizeof copy);
}

enum { kLook, kTry, kConstruct } doing;
Word candidate;
Handle undefined_of_call;

// Since V8 14.6 the words of a call are in its stack frame, beginning with the number of its arguments; until then what V8 hands
// over points to them.
bool framed;
bool in_frame(Handle* info) { return reinterpret_cast<Word>(info[0]) < 4096; }

// More words than V8 has of a call.
constexpr int kMostWords = 16;

void look(Handle* info) {
  truth("callback_info", reinterpret_cast<Word>(info));
  memory(reinterpret_cast<Word>(info), 64);
  memory(reinterpret_cast<Word>(info[0]), 128);
  memory(reinterpret_cast<Word>(info[1]), 128);
  memory(reinterpret_cast<Word>(info[1]) - 128, 128);
}

// Since V8 12.9 the data of a call is found by one of its words, the called function or its template. V8 ends the process if it
// is asked about another function.
Handle (*find_data)(void*, Handle);
Handle data_of_call, function_of_call, template_of_another;

void tell_target(const Word* words) {
  for (int at = 0; at < kMostWords; at++) {
    const Word found = words[at];
    const bool is_template = is_object(found) && word(found - 1) == word(*template_of_another - 1);
    if (found != *function_of_call && !is_template) continue;
    Handle data = find_data(isolate, reinterpret_cast<Handle>(const_cast<Word*>(words + at)));
    if (data && *data == *data_of_call) return truth("callback_target_index", at);
  }
}

// Called by V8 with a FunctionCallbackInfo.
void callback(Handle* info) {
  framed = in_frame(info);
  Word* words = framed ? reinterpret_cast<Word*>(info) : info[0];
  static Word copies[2][kBeforeFrame + kInFrame];
  if (doing == kConstruct) {
    if (framed) tell_frame("construct_info", words, copies[1]);
    return;
  }
  if (doing == kTry) {
    // Of a frame only what holds a result's first value.
    if (!framed || words[candidate] == *undefined_of_call) words[candidate] = kOurs;
    return;
  }
  if (framed) {
    tell_frame("callback_info", words, copies[0]);
  } else {
    look(info);
  }
  if (find_data) tell_target(words);
}

// V8's function for that, with what it needs to be asked safely.
auto finder_of_data() -> decltype(find_data) {
  const char* name = "_ZN2v812api_internal23GetFunctionTemplateDataEPNS_7IsolateENS_5LocalINS_4DataEEE";
  if (!dlsym(RTLD_DEFAULT, name)) return nullptr;
  auto make = find<Handle(void*, void (*)(Handle*), void*, void*, int, int, int, void*, int, int, int)>(
      "_ZN2v816FunctionTemplate3NewEPNS_7IsolateEPFvRKNS_20FunctionCallbackInfoINS_5ValueEEEENS_5LocalIS4_EENSA_INS_"
      "9SignatureEEEiNS_19ConstructorBehaviorENS_14SideEffectTypeEPKNS_9CFunctionEttt");
  template_of_another = make ? make(isolate, callback, nullptr, nullptr, 0, 1, 0, nullptr, 0, 0, 0) : nullptr;
  return template_of_another ? find<Handle(void*, Handle)>(name) : nullptr;
}

void callbacks() {
  // Since V8 14.6 the function's data may be other things than values, too.
  auto make = find<Handle(Handle, void (*)(Handle*), Handle, int, int, int)>(
      {"_ZN2v88Function3NewENS_5LocalINS_7ContextEEEPFvRKNS_20FunctionCallbackInfoINS_5ValueEEEENS1_IS5_EEiNS_"
       "19ConstructorBehaviorENS_14SideEffectTypeE",
       "_ZN2v88Function3NewENS_5LocalINS_7ContextEEEPFvRKNS_20FunctionCallbackInfoINS_5ValueEEEENS1_INS_4DataEEEiNS_"
       "19ConstructorBehaviorENS_14SideEffectTypeE"});
  auto call = find<Handle(Handle, Handle, Handle, int, Handle*)>(
      "_ZN2v88Function4CallENS_5LocalINS_7ContextEEENS1_INS_5ValueEEEiPS5_");
  auto construct = find<Handle(Handle, Handle, int, Handle*)>(
      "_ZNK2v88Function11NewInstanceENS_5LocalINS_7ContextEEEiPNS1_INS_5ValueEEE");
  Handle data = run("77770"), receiver = run("({})"), first = run("1001"), second = run("1002");
  undefined_of_call = run("undefined");
  if (!make || !call || !data || !receiver || !first || !second || !undefined_of_call) return;
  Handle function = make(context, callback, data, 0, 1, 0);
  if (!function) return;
  Handle arguments[] = {first, second};
  truth("callback_data", *data);
  truth("callback_this", *receiver);
  object(*receiver);
  truth("callback_function", *function);
  truth("callback_argument_0", *first);
  truth("callback_argument_1", *second);
  truth("callback_length", 2);
  data_of_call = data;
  function_of_call = function;
  find_data = finder_of_data();
  doing = kLook;
  call(function, context, receiver, 2, arguments);
  // Which word becomes the result? The one whose change comes back. Only words are tried that V8 fills for the callee alone.
  doing = kTry;
  for (candidate = 2; candidate <= (framed ? 8 : 3); candidate++) {
    Handle result = call(function, context, receiver, 2, arguments);
    if (result && *result == kOurs) truth("callback_return_index", candidate);
  }
  doing = kConstruct;
  if (construct) construct(function, context, 2, arguments);
}

// V8 calls these with the key's handle and a PropertyCallbackInfo, which points at the arguments or, since V8 12.9, holds them.
Word tried, initial;
bool getter_seen;
int setters_seen;
Handle property_data, property_this, property_holder;

Word* arguments_of(Handle* info) {
  for (int at = 0; at < 7; at++) {
    if (word(reinterpret_cast<Word>(info[0] + at)) == reinterpret_cast<Word>(isolate)) return info[0];
  }
  return reinterpret_cast<Word*>(info);
}

// Copies of the words, and of the structure if it points at them: both accessors get theirs at the same place of the stack, one
// after the other.
struct Copies {
  static constexpr int kWords = 16;
  Word structure[kWords], arguments[kWords];
};

void tell_arguments(const char* name, Handle* info, Copies& copies) {
  const Word* arguments = arguments_of(info);
  const bool points = arguments != reinterpret_cast<Word*>(info);
  memcpy(copies.structure, info, points ? sizeof(Word) : sizeof copies.structure);
  memcpy(copies.arguments, arguments, sizeof copies.arguments);
  if (points) copies.structure[0] = reinterpret_cast<Word>(copies.arguments);
  truth(name, reinterpret_cast<Word>(&copies));
  memory(reinterpret_cast<Word>(&copies), sizeof copies);
  // Since V8 14.6 the accessor's data is in an object of V8's.
  for (Word found : copies.structure) {
    if (!points && is_object(found)) memory(found, 64);
  }
}

void getter(Handle key, Handle* info) {
  static Copies copies;
  if (!getter_seen) tell_arguments("property_info", info, copies);
  getter_seen = true;
  Word* arguments = arguments_of(info);
  // Only a word that is an object and none of those that V8 hands over may be the result.
  const Word now = arguments[tried];
  const bool known = now == *property_data || now == *property_this || now == *property_holder || now == *key;
  if (!is_object(now) || known) return;
  initial = now;
  arguments[tried] = kOurs;
}

// Twice: by an assignment, and by Reflect.set, where V8 itself says that a refusal throws nothing.
void setter(Handle, Handle, Handle* info) {
  static Copies copies[2];
  constexpr const char* kNames[] = {"property_set_info", "reflect_set_info"};
  if (setters_seen < 2) tell_arguments(kNames[setters_seen], info, copies[setters_seen]);
  setters_seen++;
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
    if (!result || *result != kOurs) continue;
    truth("property_return_index", tried);
    truth("property_return_initial", initial);
    break;
  }
  run("holder.x = 7");
  run("Reflect.set(holder, 'x', 8)");
  // They may have moved when the scripts ran.
  truth("property_this", *property_this);
  truth("property_holder", *property_holder);
}

}  // namespace

#endif  // RELINK_OBSERVE_CALLS_H_
