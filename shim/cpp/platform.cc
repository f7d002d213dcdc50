// platform.cc: the host's v8::Platform, shared by isolate.
//
// V8 has one platform per process and asks it for every isolate; the host's does not know the guest's isolates. The
// host's platform object gets a copy of its vtable in which a few slots lead here: calls for the guest's isolates go to
// Node's platform, all others to the functions that stood there before. Only the object's vtable pointer is written,
// atomically; either value is right for a thread that reads it meanwhile. The copy is never freed.
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <new>

#include "../adapters/unit.h"
#include "hooks.h"
#include "internal.h"

extern "C" void relink_adapter_SetFlagsFromString(const char* flags);

namespace relink {

relink_bridge_host g_host;

namespace {

using v8::Isolate;
using v8::Platform;

// The destructors are declared first in every line.
constexpr uint32_t kCompleteDestructor = 0;
constexpr uint32_t kDeletingDestructor = 1;

// Words before a vtable's first slot: offset to top, type information.
constexpr uint32_t kPrefix = 2;

std::atomic<Platform*> g_node_platform{nullptr};
std::atomic<bool> g_attached{false};
std::atomic<pid_t> g_installing{0};  // serialises attach and detach: the process of the thread that does; 0: none
Platform* g_host_platform = nullptr;
uint32_t g_slots = 0;  // slots in the shadow

// Lets one thread attach or detach. A forked child takes over what a thread held that it does not have.
bool try_lock() {
  pid_t own = getpid(), holder = 0;
  while (!g_installing.compare_exchange_strong(holder, own)) {
    if (holder == own) return false;
  }
  return true;
}

// The host destroys its platform: it is leaving, and after this V8 must not be used.
template <uint32_t slot>
void destroy(Platform* self) {
  if (!stop_for_leaving_host()) {
    logf(RELINK_LOG_WARN, "the guest still runs: the host's platform is left standing instead of being destroyed");
    return;
  }
  while (!try_lock()) sched_yield();  // not while the guest's thread puts the vtable back
  g_attached.store(false);
  g_host_platform = nullptr;
  g_installing.store(0);
  original<void (*)(Platform*)>(slot)(self);
}

// node::MultiIsolatePlatform::UnregisterIsolate of a Node host: on the main thread it is the end of its main isolate.
void unregister_isolate(Platform* self, Isolate* isolate) {
  if (gettid() == getpid() && !registry::contains(isolate)) {
    stop_for_leaving_host();
    give_up_isolates();
  }
  original<decltype(&unregister_isolate)>(static_cast<uint32_t>(g_host.unregister_isolate_slot))(self, isolate);
}

// What an adapter unit asks of the bridge.
const relink_unit_services kServices = {
    sizeof(relink_unit_services),
    [](void* isolate) -> void* { return guest_platform(static_cast<Isolate*>(isolate)); },
    []() -> void* { return worker_platform(); },
    [](void* isolate) -> int { return DisposingScope::covers(static_cast<Isolate*>(isolate)) ? 1 : 0; },
    [](uint32_t slot) -> void* { return g_original[slot]; },
    [](int level, const char* text) { g_host.log(level, text); },
    [](const char* flag) { relink_adapter_SetFlagsFromString(flag); },
    []() -> uint64_t { return heap_limit(); },
};

// Where the host's V8 is of another line than the guest, the unit knows which functions are hooked, and how.
bool hook_unit() {
  constexpr uint32_t kMaxHooks = 32;
  relink_unit_hook hooks[kMaxHooks];
  auto attach = reinterpret_cast<decltype(&relink_unit_attach)>(const_cast<void*>(g_host.unit));
  uint32_t count = attach(&kServices, hooks, kMaxHooks);
  if (count == 0) return false;
  for (uint32_t i = 0; i < count; i++) {
    if (hooks[i].slot >= g_slots) return false;
    g_shadow[hooks[i].slot] = hooks[i].function;
  }
  return true;
}

bool fill_shadow() {
  put(kCompleteDestructor, &destroy<kCompleteDestructor>);
  put(kDeletingDestructor, &destroy<kDeletingDestructor>);
  if (g_host.unit != nullptr && !hook_unit()) return false;
  if (g_host.unit == nullptr) hook_line();
  if (g_host.unregister_isolate_slot >= 0) {
    put(static_cast<uint32_t>(g_host.unregister_isolate_slot), &unregister_isolate);
  }
  return true;
}

// An object's first word.
void*** vtable_pointer(Platform* object) { return reinterpret_cast<void***>(object); }

bool make_shadow(void** vtable, uint32_t slots) {
  if (vtable == g_original && slots <= g_slots) return true;  // attached before
  void** words = new (std::nothrow) void*[kPrefix + slots];
  if (words == nullptr) return false;
  for (uint32_t i = 0; i < kPrefix + slots; i++) words[i] = vtable[i - static_cast<int64_t>(kPrefix)];
  g_slots = slots;
  g_original = vtable;
  g_shadow = words + kPrefix;
  return true;
}

int check(const relink_bridge_host* host) {
  if (host == nullptr) return RELINK_BRIDGE_E_ARGUMENT;
  if (host->size != sizeof(relink_bridge_host)) return RELINK_BRIDGE_E_SIZE;
  // A unit knows the slots of a platform of another line.
  bool slots = host->unit != nullptr || host->platform_slots >= platform_slots();
  bool complete = host->platform_cell != nullptr && host->log != nullptr && host->guest_thread != nullptr &&
                  host->event != nullptr && host->may_inspect != nullptr && host->calculating != nullptr &&
                  host->stack != nullptr && slots &&
                  host->unregister_isolate_slot < static_cast<int64_t>(host->platform_slots);
  return complete ? 0 : RELINK_BRIDGE_E_ARGUMENT;
}

int install(const relink_bridge_host& host) {
  if (g_attached.load()) return RELINK_BRIDGE_E_ATTACHED;
  auto* platform = static_cast<Platform*>(__atomic_load_n(host.platform_cell, __ATOMIC_ACQUIRE));
  if (platform == nullptr) return RELINK_BRIDGE_E_NO_PLATFORM;
  if (g_original == nullptr) stop_at_exit();
  g_host = host;
  void** vtable = __atomic_load_n(vtable_pointer(platform), __ATOMIC_ACQUIRE);
  if (!make_shadow(vtable, host.platform_slots)) return RELINK_BRIDGE_E_MEMORY;
  if (!fill_shadow()) return RELINK_BRIDGE_E_UNIT;
  g_host_platform = platform;
  g_attached.store(true);
  __atomic_store_n(vtable_pointer(platform), g_shadow, __ATOMIC_RELEASE);
  return 0;
}

int uninstall() {
  if (leaving()) return RELINK_BRIDGE_E_LEAVING;
  if (!g_attached.load() || g_host_platform == nullptr) return RELINK_BRIDGE_E_NOT_ATTACHED;
  if (any_runs()) return RELINK_BRIDGE_E_BUSY;
  if (!registry::empty()) return RELINK_BRIDGE_E_GUEST_ALIVE;
  void** expected = g_shadow;
  if (!__atomic_compare_exchange_n(vtable_pointer(g_host_platform), &expected, g_original, false, __ATOMIC_ACQ_REL,
                                   __ATOMIC_ACQUIRE)) {
    return RELINK_BRIDGE_E_FOREIGN_VTABLE;
  }
  g_attached.store(false);
  return 0;
}

// Runs `action` while no other thread attaches or detaches.
template <class Action>
int exclusively(Action action) {
  if (!try_lock()) return RELINK_BRIDGE_E_BUSY;
  int outcome = action();
  g_installing.store(0);
  return outcome;
}

}  // namespace

void** g_original = nullptr;
void** g_shadow = nullptr;

Platform* guest_platform(Isolate* isolate) { return registry::contains(isolate) ? node_platform() : nullptr; }

Platform* worker_platform() {
  if (g_host.guest_thread() != 0) return node_platform();
  return guest_platform(Isolate::TryGetCurrent());
}

Platform* node_platform() { return g_node_platform.load(std::memory_order_acquire); }

void set_node_platform(Platform* platform) { g_node_platform.store(platform, std::memory_order_release); }

bool attached() { return g_attached.load(); }

}  // namespace relink

extern "C" int relink_bridge_attach(const relink_bridge_host* host) {
  if (int error = relink::check(host)) return error;
  return relink::exclusively([&] { return relink::install(*host); });
}

extern "C" int relink_bridge_detach(void) {
  return relink::exclusively([] { return relink::uninstall(); });
}
