// params.h: parameters of isolates as the guest has them, and what is done with them before the host's V8 makes one.
#ifndef RELINK_UNIT_PARAMS_H_
#define RELINK_UNIT_PARAMS_H_

#include "guest.h"

namespace guest {

// v8-isolate.h: ResourceConstraints
struct ResourceConstraints {
  size_t code_range_size = 0;
  size_t max_old_generation_size = 0;
  size_t max_young_generation_size = 0;
  size_t initial_old_generation_size = 0;
  size_t initial_young_generation_size = 0;
  uint32_t* stack_limit = nullptr;
};

// v8-isolate.h: Isolate::CreateParams
struct CreateParams {
  v8::JitCodeEventHandler code_event_handler = nullptr;
  ResourceConstraints constraints;
  const v8::StartupData* snapshot_blob = nullptr;
  v8::CounterLookupCallback counter_lookup_callback = nullptr;
  v8::CreateHistogramCallback create_histogram_callback = nullptr;
  v8::AddHistogramSampleCallback add_histogram_sample_callback = nullptr;
  v8::ArrayBuffer::Allocator* array_buffer_allocator = nullptr;
  shared_ptr<v8::ArrayBuffer::Allocator> array_buffer_allocator_shared;
  const intptr_t* external_references = nullptr;
  bool allow_atomics_wait = true;
#if RELINK_GUEST < 1306
  bool only_terminate_in_safe_scope = false;
#endif
  int embedder_wrapper_type_index = -1;
  int embedder_wrapper_object_index = -1;
  v8::FatalErrorCallback fatal_error_callback = nullptr;
#if RELINK_GUEST < 1103
  void (*oom_error_callback)(const char* location, bool is_heap_oom) = nullptr;  // of another type since 10.8; Node has none
  void* experimental_attach_to_shared_isolate = nullptr;
#else
  v8::OOMErrorCallback oom_error_callback = nullptr;
#endif
#if RELINK_GUEST >= 1204
  v8::CppHeap* cpp_heap = nullptr;
#endif
};
static_assert(sizeof(CreateParams) == (1103 <= RELINK_GUEST && RELINK_GUEST < 1204 ? 152 : 160), "v8-isolate.h");

}  // namespace guest

namespace relink {

// The guest's parameters as the host's V8 has them.
void hosts_params(const guest::CreateParams& guests, v8::Isolate::CreateParams* own);

// That the isolate is short of heap goes to the guest's handler, where V8 tells it with details.
void handle_oom(v8::Isolate::CreateParams* params);

// Puts an object with the host's layout before the guest's allocator.
void hosts_allocator(v8::Isolate::CreateParams* params);

// Puts an allocator before the guest's that is not asked for more than a process can have.
void limited_allocator(v8::Isolate::CreateParams* params);

// Forgets what an earlier isolate at this address has left. See functions.cc.
void forget_functions(v8::Isolate* isolate);

}  // namespace relink

#endif  // RELINK_UNIT_PARAMS_H_
