// group.cc: what the isolates of a guest that was abandoned leave behind.
//
// Since V8 13.6 isolates belong to a group and hold a reference to it, and V8::Dispose ends the process if anyone but V8 itself still
// holds one (IsolateGroup::TearDownOncePerProcess, src/init/isolate-group.cc). The isolates of a guest whose thread is parked for
// ever are never freed; when the host is about to dispose of V8, they are taken out of the group in their stead.
#include <atomic>
#include <new>

#include "internal.h"

namespace {

// v8::IsolateGroup (v8-isolate.h): one pointer, which counts. It is no trivial class, so functions return it in memory.
struct Group {
  void* group;
  ~Group() {}
};

}  // namespace

// v8::IsolateGroup::GetDefault, which adds a reference, and the destructor, which takes one; null where the host's V8 has none.
extern "C" __attribute__((weak)) Group relink_default_group() __asm__("_ZN2v812IsolateGroup10GetDefaultEv");
extern "C" __attribute__((weak)) void relink_release_group(Group*) __asm__("_ZN2v812IsolateGroupD1Ev");

// v8::internal::IsolateGroup::RemoveIsolate (src/init/isolate-group.h): with its last isolate a group gives up its read-only heap.
extern "C" __attribute__((weak)) void relink_remove_isolate(void* group, v8::Isolate* isolate) __asm__(
    "_ZN2v88internal12IsolateGroup13RemoveIsolateEPNS0_7IsolateE");

namespace relink {
namespace {

std::atomic<bool> g_given_up{false};

}  // namespace

void give_up_isolates() {
  const bool known = relink_default_group != nullptr && relink_release_group != nullptr && relink_remove_isolate != nullptr;
  if (!known || g_given_up.exchange(true)) return;
  Group own = relink_default_group();
  registry::for_each([](v8::Isolate* isolate, void* group) {
    relink_remove_isolate(group, isolate);
    Group its{group};
    relink_release_group(&its);
  }, own.group);
  relink_release_group(&own);
}

void before_freeing(v8::Isolate* isolate) {
  if (!g_given_up.load() || !registry::contains(isolate)) return;
  // Never released: the isolate gives back the reference that was given up for it.
  static_cast<void>(new (std::nothrow) Group(relink_default_group()));
}

}  // namespace relink
