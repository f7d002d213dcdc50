// cpp_heap.cc: the heap of C++ objects that Node has since 20 for each isolate. It is empty but for what add-ons put there.
#include "guest.h"

#if RELINK_GUEST >= 1103

#include <cppgc/heap-statistics.h>
#include <v8-cppgc.h>

#include <string>
#include <utility>
#include <vector>

#include "platform.h"
#include "unit.h"

// What cppgc::InitializeProcess sets (src/heap/cppgc/platform.cc, gc-info-table.cc; component builds show the second), and v8::internal::GetPlatformPageAllocator: the allocator of V8's
// own heaps, which lives as long as the process. Null where the host's V8 does not show them.
extern "C" __attribute__((weak)) v8::PageAllocator* relink_page_allocator[] __asm__(
    "_ZN5cppgc8internal12_GLOBAL__N_116g_page_allocatorE");
extern "C" __attribute__((weak)) void* relink_global_table[] __asm__(
    "_ZN5cppgc8internal17GlobalGCInfoTable13global_table_E");
extern "C" __attribute__((weak)) v8::PageAllocator* relink_platform_allocator() __asm__(
    "_ZN2v88internal24GetPlatformPageAllocatorEv");

namespace relink {
namespace {

// Makes what the heaps of C++ objects share, where the host has none of them and has not done so: V8 by itself does not.
void initialize_process() {
  void* const* const set = relink_page_allocator != nullptr ? reinterpret_cast<void**>(relink_page_allocator)
                                                            : relink_global_table;
  if (set == nullptr || *set != nullptr || relink_platform_allocator == nullptr) return;
  cppgc::InitializeProcess(relink_platform_allocator());
}

}  // namespace
}  // namespace relink

#if RELINK_GUEST < 1306

namespace {

static_assert(sizeof(guest::CppHeapCreateParams) == 40, "v8-cppgc.h of 11.3 and 12.4");
static_assert(sizeof(guest::WrapperDescriptor) == 12, "v8-cppgc.h of 11.3 and 12.4");

#if !RELINK_OBJECTS_HOLD_WRAPPABLES
v8::CppHeapCreateParams hosts_params(const guest::WrapperDescriptor& guests) {
  static_assert(sizeof(v8::CppHeapCreateParams) == sizeof(guest::CppHeapCreateParams), "v8-cppgc.h");
  return {{},
          {guests.wrappable_type_index, guests.wrappable_instance_index, guests.embedder_id_for_garbage_collected}};
}
#else
// Since 12.9 objects of JavaScript say by themselves which objects of C++ are theirs.
v8::CppHeapCreateParams hosts_params(const guest::WrapperDescriptor&) { return v8::CppHeapCreateParams({}); }
#endif

#if RELINK_GUEST >= 1204

// cppgc/heap-statistics.h: HeapStatistics. 12.9 has one field more, among the others.
struct GuestsStatistics {
  size_t committed_size_bytes;
  size_t resident_size_bytes;
  size_t used_size_bytes;
  cppgc::HeapStatistics::DetailLevel detail_level;
  std::vector<cppgc::HeapStatistics::SpaceStatistics> space_stats;
  std::vector<std::string> type_names;
};
static_assert(sizeof(GuestsStatistics) == 80, "heap-statistics.h of 12.4");

#endif

}  // namespace

extern "C" {

// The heap's platform is Node's. Node gives it no spaces of its own.
RELINK_UNIT_API guest::unique_ptr<v8::CppHeap> relink_unit_cpp_heap(guest::Platform* platform,
                                                                  const guest::CppHeapCreateParams& params) {
  relink::initialize_process();
  return v8::CppHeap::Create(relink::as_hosts(platform), hosts_params(params.wrapper_descriptor));
}

// In place of what the host has done for the process, or what V8 does by itself.
RELINK_UNIT_API void relink_unit_cppgc(void*) {}

// What Node would compare its own fields with: none is meant.
RELINK_UNIT_API guest::WrapperDescriptor relink_unit_wrapper_descriptor(const v8::CppHeap*) {
  return {-1, -1, UINT16_MAX};
}

#if RELINK_GUEST >= 1204
RELINK_UNIT_API GuestsStatistics relink_unit_cpp_statistics(v8::CppHeap* self,
                                                            cppgc::HeapStatistics::DetailLevel detail) {
  auto own = self->CollectStatistics(detail);
  return {own.committed_size_bytes,        own.resident_size_bytes,   own.used_size_bytes, own.detail_level,
          std::move(own.space_stats), std::move(own.type_names)};
}
#endif

}  // extern "C"

#else

extern "C" RELINK_UNIT_API guest::unique_ptr<v8::CppHeap> relink_unit_cpp_heap(guest::Platform* platform,
                                                                             const v8::CppHeapCreateParams& params) {
  relink::initialize_process();
  return v8::CppHeap::Create(relink::as_hosts(platform), params);
}

#endif

#endif  // RELINK_GUEST >= 1103
