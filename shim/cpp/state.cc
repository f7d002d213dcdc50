// state.cc: the host's answers and the registry of the guest's isolates.
#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <utility>

#include "internal.h"

namespace relink {

// Defined in platform.cc, which fills it; zero-initialised, so that there is no constructor to run.
extern relink_bridge_host g_host;

const relink_bridge_host& host() { return g_host; }

void logf(relink_bridge_level level, const char* format, ...) {
  if (g_host.log == nullptr) return;
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  g_host.log(level, text);
}

void report(relink_bridge_event kind, int64_t a, const char* text) {
  if (g_host.event != nullptr) g_host.event(kind, a, text);
}

namespace registry {
namespace {

std::atomic<v8::Isolate*> g_isolates[kMaxIsolates];
std::atomic<int> g_high_water{0};  // no entry at or above it was ever used
std::atomic<int> g_count{0};

void raise_high_water(int used) {
  int seen = g_high_water.load();
  while (seen < used && !g_high_water.compare_exchange_weak(seen, used)) {
  }
}

bool replace(v8::Isolate* from, v8::Isolate* to, int limit) {
  for (int i = 0; i < limit; i++) {
    v8::Isolate* expected = from;
    if (!g_isolates[i].compare_exchange_strong(expected, to)) continue;
    if (to != nullptr) raise_high_water(i + 1);
    return true;
  }
  return false;
}

}  // namespace

bool add(v8::Isolate* isolate) {
  if (!replace(nullptr, isolate, kMaxIsolates)) return false;
  g_count.fetch_add(1);
  return true;
}

void remove(v8::Isolate* isolate) {
  if (replace(isolate, nullptr, g_high_water.load())) g_count.fetch_sub(1);
}

bool contains(v8::Isolate* isolate) {
  if (isolate == nullptr || g_count.load() == 0) return false;
  int limit = g_high_water.load();
  for (int i = 0; i < limit; i++) {
    if (g_isolates[i].load() == isolate) return true;
  }
  return false;
}

bool empty() { return g_count.load() == 0; }

void for_each(void (*with)(v8::Isolate* isolate, void* data), void* data) {
  int limit = g_high_water.load();
  for (int i = 0; i < limit; i++) {
    if (v8::Isolate* isolate = g_isolates[i].load()) with(isolate, data);
  }
}

}  // namespace registry

namespace {
thread_local v8::Isolate* t_disposing = nullptr;
}  // namespace

DisposingScope::DisposingScope(v8::Isolate* isolate) : outer_(t_disposing) { t_disposing = isolate; }
DisposingScope::~DisposingScope() { t_disposing = outer_; }
bool DisposingScope::covers(v8::Isolate* isolate) { return isolate != nullptr && t_disposing == isolate; }

namespace {
thread_local v8::Isolate* t_outer = nullptr;
}  // namespace

OuterIsolate::OuterIsolate(bool outermost) : outermost_(outermost) {
  if (outermost_) before_ = std::exchange(t_outer, v8::Isolate::TryGetCurrent());
}
OuterIsolate::~OuterIsolate() {
  if (outermost_) t_outer = before_;
}

v8::Isolate* OuterIsolate::get() { return t_outer; }
void OuterIsolate::put_back(v8::Isolate* isolate) { t_outer = isolate; }

HostScope::HostScope() : isolate_(t_outer) {
  if (isolate_ != nullptr) isolate_->Enter();
}
HostScope::~HostScope() {
  if (isolate_ != nullptr) isolate_->Exit();
}

}  // namespace relink
