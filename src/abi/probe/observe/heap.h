// Handles, what the garbage collector does with them, and structures that V8 fills. See observe.cc.
#ifndef RELINK_OBSERVE_HEAP_H_
#define RELINK_OBSERVE_HEAP_H_

#include "tools.h"
#include "values.h"

namespace {

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
  auto set = internal_field_setter();
  auto weak = find<void(Handle, void*, void (*)(const Word*), int)>(
      "_ZN2v812api_internal8MakeWeakEPmPvPFvRKNS_16WeakCallbackInfoIvEEENS_16WeakCallbackTypeE");
  if (!make || !count || !instance || !set || !weak) return;
  Handle model = make(isolate, nullptr);
  count(model, 4);
  if (Handle made = instance(model, context)) {
    for (int i = 0; i < 4; i++) set(made, i, reinterpret_cast<void*>(kFields[i]), kDefaultTag);
    weakened = globalise(made);
    weak(weakened, nullptr, weak_fields_callback, 1);
  }
}

// By then nothing else holds the object.
void collect() { run("gc()"); }

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


// Where an isolate keeps the place of its next handle: the word that follows each new one. And how far the constructor of a
// scope that lets a handle out writes, which is a function since V8 12 (other scopes are inline since 14.1).
void handle_scopes() {
  constexpr int kWords = 256;
  auto words = static_cast<Handle>(isolate);
  bool follows[kWords];
  for (int step = 0; step < 3; step++) {
    Handle made = text("a handle");
    for (int at = 0; at < kWords; at++) {
      follows[at] = (step == 0 || follows[at]) && word(reinterpret_cast<Word>(words + at)) == reinterpret_cast<Word>(made + 1);
    }
  }
  int found = -1;
  for (int at = 0; at < kWords; at++) {
    if (!follows[at]) continue;
    if (found >= 0) return;
    found = at;
  }
  if (found < 0) return;
  truth("handle_scope_offset", 8 * found);
  auto scope = find<void(void*, void*)>("_ZN2v824EscapableHandleScopeBaseC2EPNS_7IsolateE");
  if (!scope) return;
  // Its end is inline: what it changed is put back.
  Word before[3];
  memcpy(before, words + found, sizeof before);
  extent("extent v8::EscapableHandleScopeBase", [&](void* p) { scope(p, isolate); });
  memcpy(words + found, before, sizeof before);
}

}  // namespace

#endif  // RELINK_OBSERVE_HEAP_H_
