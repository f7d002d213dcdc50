// since_14_6.cc: what V8 14.6 changed since 14.1, for guests compiled for older ones. See functions.cc and handlers.cc for what
// scripts call.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>
#include <vector>

#include "params.h"
#include "unit.h"

namespace guest {

// v8-primitive.h: String::WriteOptions
enum WriteOptions { kNoNullTermination = 2, kReplaceInvalidUtf8 = 8 };

// v8-statistics.h: HeapStatistics. 14.6 has one field more, behind the others.
struct HeapStatistics {
  unsigned char words[112];
};
static_assert(sizeof(v8::HeapStatistics) == sizeof(HeapStatistics) + sizeof(size_t), "v8-statistics.h");

#if RELINK_GUEST >= 1306

// v8-script.h: ModuleImportPhase
enum class ModuleImportPhase { kSource, kEvaluation };

// v8-profiler.h: CpuProfilingOptions. 14.6 has one field more, behind the others.
struct CpuProfilingOptions {
  v8::CpuProfilingMode mode;
  unsigned max_samples;
  int sampling_interval;
  v8::Global<v8::Context> filter_context;
};
static_assert(sizeof(v8::CpuProfilingOptions) == sizeof(CpuProfilingOptions) + sizeof(void*), "v8-profiler.h");

#endif

#if RELINK_GUEST >= 1103

// v8-profiler.h: HeapProfiler::HeapSnapshotOptions. Builds of 14.6 have one resolver or two.
struct HeapSnapshotOptions {
  v8::ActivityControl* control;
  void* resolver;  // Node has none
  int mode;
  int numerics_mode;
};

#endif

#if RELINK_GUEST >= 1306

// v8-profiler.h: AllocationProfile. 14.6 says of a sample whether it is live.
class AllocationProfile {
 public:
  struct Sample {
    uint32_t node_id;
    size_t size;
    unsigned count;
    uint64_t sample_id;
  };
  virtual v8::AllocationProfile::Node* GetRootNode() = 0;
  virtual const std::vector<Sample>& GetSamples() = 0;
  virtual ~AllocationProfile() = default;
};

#endif

// Writes characters by a function that is told how many, and says how many there were, as 10.2 did.
template <class Character, class Write>
int write(const v8::String* self, Character* buffer, int start, int length, int options, Write write_some) {
  const int end = length == -1 || length > self->Length() - start ? self->Length() : start + length;
  if (end < 0) return 0;
  const int count = end - start;
  if (count > 0) write_some(static_cast<uint32_t>(start), static_cast<uint32_t>(count));
  if ((options & kNoNullTermination) == 0 && (length == -1 || count < length)) buffer[count] = 0;
  return count;
}

}  // namespace guest

#if RELINK_GUEST >= 1306

namespace relink {
namespace {

using v8::Context;
using v8::Data;
using v8::Local;
using v8::Value;

class AllocationProfile final : public guest::AllocationProfile {
 public:
  explicit AllocationProfile(v8::AllocationProfile* host) : host_(host) {
    for (const auto& sample : host->GetSamples()) {
      samples_.push_back({sample.node_id, sample.size, sample.count, sample.sample_id});
    }
  }
  v8::AllocationProfile::Node* GetRootNode() override { return host_->GetRootNode(); }
  const std::vector<Sample>& GetSamples() override { return samples_; }

 private:
  std::unique_ptr<v8::AllocationProfile> host_;
  std::vector<Sample> samples_;
};

using Allocator = v8::ArrayBuffer::Allocator;

// Where an allocator refuses V8 14.6 tells the isolate that its heap is nearly full.
class LimitedAllocator final : public Allocator {
 public:
  explicit LimitedAllocator(std::shared_ptr<Allocator> guest) : guest_(std::move(guest)) {}
  void* Allocate(size_t length) override { return guest_->Allocate(length); }
  void* AllocateUninitialized(size_t length) override { return guest_->AllocateUninitialized(length); }
  void Free(void* data, size_t length) override { guest_->Free(data, length); }
  // No process has more addresses.
  size_t MaxAllocationSize() const override { return std::min(guest_->MaxAllocationSize(), size_t{1} << 46); }
  v8::PageAllocator* GetPageAllocator() override { return guest_->GetPageAllocator(); }

 private:
  std::shared_ptr<Allocator> guest_;
};

guest::ModuleImportPhase guests_phase(v8::ModuleImportPhase host) {
  return host == v8::ModuleImportPhase::kSource ? guest::ModuleImportPhase::kSource
                                                : guest::ModuleImportPhase::kEvaluation;
}

using ImportInPhase = v8::MaybeLocal<v8::Promise> (*)(Local<Context>, Local<Data>, Local<Value>, Local<v8::String>,
                                                      guest::ModuleImportPhase, Local<v8::FixedArray>);

// Node's is the same for all isolates.
std::atomic<ImportInPhase> g_import{nullptr};

v8::MaybeLocal<v8::Promise> import(Local<Context> context, Local<Data> options, Local<Value> name,
                                   Local<v8::String> specifier, v8::ModuleImportPhase phase,
                                   Local<v8::FixedArray> attributes) {
  return g_import.load()(context, options, name, specifier, guests_phase(phase), attributes);
}

}  // namespace

void limited_allocator(v8::Isolate::CreateParams* params) {
  std::shared_ptr<Allocator> guests = params->array_buffer_allocator_shared;
  if (guests == nullptr) guests = {std::shared_ptr<void>(), params->array_buffer_allocator};
  // Shared: V8 ends it with the last of its buffers.
  params->array_buffer_allocator_shared = std::make_shared<LimitedAllocator>(std::move(guests));
  params->array_buffer_allocator = nullptr;
}

}  // namespace relink

extern "C" {

// Phases of imports have other numbers.

RELINK_UNIT_API guest::ModuleImportPhase relink_unit_phase(const v8::ModuleRequest* self) {
  return relink::guests_phase(self->GetPhase());
}
RELINK_UNIT_API void relink_unit_import_in_phase(v8::Isolate* self, relink::ImportInPhase callback) {
  relink::g_import.store(callback);
  self->SetHostImportModuleWithPhaseDynamicallyCallback(callback == nullptr ? nullptr : relink::import);
}

// Profiles.

RELINK_UNIT_API void relink_unit_profiling_options(void* self, v8::CpuProfilingMode mode, unsigned max_samples,
                                                   int sampling_interval, v8::MaybeLocal<v8::Context> filter) {
  auto* own = ::new (self) guest::CpuProfilingOptions{mode, max_samples, sampling_interval, {}};
  v8::Local<v8::Context> context;
  if (filter.ToLocal(&context)) own->filter_context.Reset(v8::Isolate::GetCurrent(), context);
}
RELINK_UNIT_API v8::CpuProfilingResult relink_unit_start_profile(
    v8::CpuProfiler* self, const guest::CpuProfilingOptions& options,
    std::unique_ptr<v8::DiscardedSamplesDelegate> delegate) {
  v8::MaybeLocal<v8::Context> filter;
  if (!options.filter_context.IsEmpty()) filter = options.filter_context.Get(v8::Isolate::GetCurrent());
  return self->Start(v8::CpuProfilingOptions(options.mode, options.max_samples, options.sampling_interval, filter),
                     std::move(delegate));
}
RELINK_UNIT_API guest::AllocationProfile* relink_unit_allocation_profile(v8::HeapProfiler* self) {
  v8::AllocationProfile* host = self->GetAllocationProfile();
  return host == nullptr ? nullptr : new relink::AllocationProfile(host);
}
}  // extern "C"

#endif

extern "C" {

// The isolate of an object is the one that is entered.
RELINK_UNIT_API v8::Isolate* relink_unit_isolate_of(const void*) { return v8::Isolate::GetCurrent(); }

// Pointers have a tag, which says nothing where V8 has no sandbox.

RELINK_UNIT_API v8::Local<v8::External> relink_unit_external(v8::Isolate* isolate, void* value) {
  return v8::External::New(isolate, value, v8::kExternalPointerTypeTagDefault);
}
RELINK_UNIT_API void* relink_unit_external_value(const v8::External* self) {
  return self->Value(v8::kExternalPointerTypeTagDefault);
}
RELINK_UNIT_API void relink_unit_set_aligned_pointer(v8::Object* self, int index, void* value) {
  self->SetAlignedPointerInInternalField(index, value, v8::kEmbedderDataTypeTagDefault);
}
RELINK_UNIT_API void* relink_unit_aligned_pointer(v8::Object* self, int index) {
  return self->GetAlignedPointerFromInternalField(index, v8::kEmbedderDataTypeTagDefault);
}
RELINK_UNIT_API void relink_unit_set_embedder_pointer(v8::Context* self, int index, void* value) {
  self->SetAlignedPointerInEmbedderData(index, value, v8::kEmbedderDataTypeTagDefault);
}

// Functions with other names and arguments.

RELINK_UNIT_API v8::Local<v8::Value> relink_unit_prototype(v8::Object* self) { return self->GetPrototypeV2(); }
RELINK_UNIT_API v8::Maybe<bool> relink_unit_set_prototype(v8::Object* self, v8::Local<v8::Context> context,
                                                          v8::Local<v8::Value> prototype) {
  return self->SetPrototypeV2(context, prototype);
}
RELINK_UNIT_API v8::Local<v8::Data> relink_unit_fixed_array_get(const v8::FixedArray* self, v8::Local<v8::Context>,
                                                                int index) {
  return self->Get(index);
}
// Who gives names to objects was another one; Node has none.
RELINK_UNIT_API const v8::HeapSnapshot* relink_unit_heap_snapshot(v8::HeapProfiler* self, v8::ActivityControl* control,
                                                                  void*, bool hide_internals, bool numbers) {
  return self->TakeHeapSnapshot(control, nullptr, hide_internals, numbers);
}
#if RELINK_GUEST >= 1103
RELINK_UNIT_API const v8::HeapSnapshot* relink_unit_heap_snapshot_by(v8::HeapProfiler* self,
                                                                     const guest::HeapSnapshotOptions& options) {
  using Profiler = v8::HeapProfiler;
  return self->TakeHeapSnapshot(options.control, nullptr,
                                options.mode == static_cast<int>(Profiler::HeapSnapshotMode::kRegular),
                                options.numerics_mode == static_cast<int>(Profiler::NumericsMode::kExposeNumericValues));
}
#endif
RELINK_UNIT_API void relink_unit_wasm_finish(v8::WasmStreaming* self, bool) { self->Finish(nullptr); }

// Statistics: V8 would write behind the guest's.

RELINK_UNIT_API void relink_unit_heap_statistics(guest::HeapStatistics* self) { *self = {}; }
RELINK_UNIT_API void relink_unit_get_heap_statistics(v8::Isolate* self, guest::HeapStatistics* statistics) {
  v8::HeapStatistics own;
  self->GetHeapStatistics(&own);
  std::memcpy(statistics, static_cast<const void*>(&own), sizeof *statistics);
}

// Characters of strings.

RELINK_UNIT_API int relink_unit_write(const v8::String* self, v8::Isolate* isolate, uint16_t* buffer, int start,
                                      int length, int options) {
  return guest::write(self, buffer, start, length, options, [&](uint32_t from, uint32_t count) {
    self->WriteV2(isolate, from, count, buffer);
  });
}
RELINK_UNIT_API int relink_unit_write_one_byte(const v8::String* self, v8::Isolate* isolate, uint8_t* buffer, int start,
                                               int length, int options) {
  return guest::write(self, buffer, start, length, options, [&](uint32_t from, uint32_t count) {
    self->WriteOneByteV2(isolate, from, count, buffer);
  });
}
RELINK_UNIT_API int relink_unit_utf8_length(const v8::String* self, v8::Isolate* isolate) {
  return static_cast<int>(self->Utf8LengthV2(isolate));
}
// The terminating zero is written where there is room for it, and counted.
RELINK_UNIT_API int relink_unit_write_utf8(const v8::String* self, v8::Isolate* isolate, char* buffer, int length,
                                           int* characters, int options) {
  const size_t capacity = length < 0 ? self->Utf8LengthV2(isolate) : static_cast<size_t>(length);
  const int flags = (options & guest::kReplaceInvalidUtf8) != 0 ? v8::String::WriteFlags::kReplaceInvalidUtf8
                                                                : v8::String::WriteFlags::kNone;
  size_t processed = 0;
  int written = static_cast<int>(self->WriteUtf8V2(isolate, buffer, capacity, flags, &processed));
  if (characters != nullptr) *characters = static_cast<int>(processed);
  if ((options & guest::kNoNullTermination) == 0 && (length < 0 || written < length)) buffer[written++] = '\0';
  return written;
}

}  // extern "C"
