// since_14_1.cc: what V8 14.1 changed since 13.6, for guests compiled for older ones.
#include "params.h"

#include <cppgc/internal/logging.h>

#include <atomic>
#include <new>

#include "unit.h"

namespace {

using v8::HandleScope;
using v8::Local;

// Scopes of handles are inline now.
struct Scope : HandleScope {
  using HandleScope::CreateHandle;
};
static_assert(sizeof(HandleScope) == 3 * sizeof(void*), "v8-local-handle.h: the guest has room for three words");

// v8-isolate.h: ResourceConstraints. 14.1 has one field more, before the last.
static_assert(sizeof(v8::ResourceConstraints) == sizeof(guest::ResourceConstraints) + sizeof(uint64_t), "v8-isolate.h");

// What defaults were asked for last; Node asks with the same number for each of its isolates.
std::atomic<uint64_t> g_physical_memory{0};

}  // namespace

namespace relink {

void hosts_params(const guest::CreateParams& guests, v8::Isolate::CreateParams* own) {
  own->code_event_handler = guests.code_event_handler;
  // The memory's size has no setter.
  if (uint64_t memory = g_physical_memory.load()) own->constraints.ConfigureDefaults(memory, 0);
  own->constraints.set_code_range_size_in_bytes(guests.constraints.code_range_size);
  own->constraints.set_max_old_generation_size_in_bytes(guests.constraints.max_old_generation_size);
  own->constraints.set_max_young_generation_size_in_bytes(guests.constraints.max_young_generation_size);
  own->constraints.set_initial_old_generation_size_in_bytes(guests.constraints.initial_old_generation_size);
  own->constraints.set_initial_young_generation_size_in_bytes(guests.constraints.initial_young_generation_size);
  own->constraints.set_stack_limit(guests.constraints.stack_limit);
  own->snapshot_blob = guests.snapshot_blob;
  own->counter_lookup_callback = guests.counter_lookup_callback;
  own->create_histogram_callback = guests.create_histogram_callback;
  own->add_histogram_sample_callback = guests.add_histogram_sample_callback;
  own->array_buffer_allocator = guests.array_buffer_allocator;
  own->array_buffer_allocator_shared = guests.array_buffer_allocator_shared;
  own->external_references = guests.external_references;
  own->allow_atomics_wait = guests.allow_atomics_wait;
  own->fatal_error_callback = guests.fatal_error_callback;
#if RELINK_GUEST >= 1103
  own->oom_error_callback = guests.oom_error_callback;
#endif
#if RELINK_GUEST >= 1204
  own->cpp_heap = guests.cpp_heap;
#endif
}

}  // namespace relink

extern "C" {

RELINK_UNIT_API void relink_unit_handle_scope(void* self, v8::Isolate* isolate) { ::new (self) HandleScope(isolate); }
RELINK_UNIT_API void relink_unit_handle_scope_end(HandleScope* self) { self->~HandleScope(); }
RELINK_UNIT_API v8::internal::Address* relink_unit_create_handle(v8::Isolate* isolate, v8::internal::Address value) {
  return Scope::CreateHandle(isolate, value);
}

// Heaps may only be written to where their isolate is entered, and Node gives an isolate its listener before that.
RELINK_UNIT_API bool relink_unit_message_listener(v8::Isolate* self, v8::MessageCallback callback, int levels,
                                                  Local<v8::Value> data) {
  v8::Isolate::Scope scope(self);
  return self->AddMessageListenerWithErrorLevel(callback, levels, data);
}

RELINK_UNIT_API v8::MaybeLocal<v8::Value> relink_unit_json_parse(Local<v8::Context> context, Local<v8::String> text) {
  return v8::JSON::Parse(context, text);
}

#if RELINK_GUEST >= 1306

// A place in a source is passed by value.
RELINK_UNIT_API void relink_unit_fatal(const char* reason, const guest::SourceLocation&) {
  cppgc::internal::FatalImpl(reason, {});
}

// How many addresses a memory of WebAssembly takes. Node asks whether it can have V8's handler of traps, which guests have not.
RELINK_UNIT_API size_t relink_unit_wasm_reservation(int, size_t) { return 0; }

#endif

// The guest's, in the guest's places.
RELINK_UNIT_API void relink_unit_params(void* self) { ::new (self) guest::CreateParams; }
RELINK_UNIT_API void relink_unit_params_end(guest::CreateParams* self) { self->~CreateParams(); }

RELINK_UNIT_API void relink_unit_configure_defaults(guest::ResourceConstraints* self, uint64_t physical_memory,
                                                    uint64_t virtual_limit) {
  v8::ResourceConstraints own;
  own.ConfigureDefaults(physical_memory, virtual_limit);
  g_physical_memory.store(physical_memory);
  self->code_range_size = own.code_range_size_in_bytes();
  self->max_old_generation_size = own.max_old_generation_size_in_bytes();
  self->max_young_generation_size = own.max_young_generation_size_in_bytes();
  self->initial_old_generation_size = own.initial_old_generation_size_in_bytes();
  self->initial_young_generation_size = own.initial_young_generation_size_in_bytes();
}

}  // extern "C"
