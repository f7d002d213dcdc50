// since_14_1.h: parameters of isolates, which V8 14.1 has in other places.
#ifndef RELINK_UNIT_SINCE_14_1_H_
#define RELINK_UNIT_SINCE_14_1_H_

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
  std::shared_ptr<v8::ArrayBuffer::Allocator> array_buffer_allocator_shared;
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

// The guest's parameters, field by field.
void hosts_params(const guest::CreateParams& guests, v8::Isolate::CreateParams* own);

}  // namespace relink

#endif  // RELINK_UNIT_SINCE_14_1_H_
