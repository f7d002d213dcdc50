// since_10_8.cc: what V8 10.8 changed since 10.2, for guests compiled for older ones.
#include "params.h"

#include <atomic>

#include "unit.h"

namespace relink {
namespace {

// The handler is one per isolate, and Node's is the same for all of its isolates.
using GuestsOomHandler = void (*)(const char* location, bool is_heap_oom);
std::atomic<GuestsOomHandler> g_oom_handler{nullptr};

void out_of_memory(const char* location, const v8::OOMDetails& details) {
  if (GuestsOomHandler handler = g_oom_handler.load()) handler(location, details.is_heap_oom);
}

}  // namespace

// V8 ends the process where an isolate runs out of heap and nobody handles it, as one does that gets too little for what it starts from.
// Node sets its handler only then; the one that it has set for an earlier isolate does here.
void handle_oom(v8::Isolate::CreateParams* params) {
  if (g_oom_handler.load() != nullptr && params->oom_error_callback == nullptr) params->oom_error_callback = out_of_memory;
}

}  // namespace relink

extern "C" {

// Virtual functions that the base classes had in 10.2: they stand in the guest's vtables, and nobody calls them.
RELINK_UNIT_API v8::Maybe<uint32_t> relink_unit_no_shared_id(void*, v8::Isolate*, v8::Local<v8::Value>) {
  return v8::Nothing<uint32_t>();
}
RELINK_UNIT_API bool relink_unit_no_shared_values(const void*) { return false; }
RELINK_UNIT_API v8::MaybeLocal<v8::Value> relink_unit_no_shared_value(void*, v8::Isolate*, uint32_t) { return {}; }

RELINK_UNIT_API void relink_unit_oom_handler(v8::Isolate* isolate, relink::GuestsOomHandler handler) {
  relink::g_oom_handler.store(handler);
  isolate->SetOOMErrorHandler(handler == nullptr ? nullptr : relink::out_of_memory);
}

}  // extern "C"
