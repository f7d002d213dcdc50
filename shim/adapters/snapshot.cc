// snapshot.cc: isolates of the guest's start from the snapshot that the host's isolates started from.
//
// The isolates of a process share one read-only heap, which the first of them brought with its snapshot; a later one from another
// snapshot refers to objects that are not where it believes them. A node starts from Node's own snapshot, not from V8's.
#include <sys/uio.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

#include "fast_calls.h"
#include "params.h"
#include "platform.h"
#include "promise_hooks.h"
#include "unit.h"

// src/node_snapshot_builder.h of the host; weak, for not every host is a node.
namespace node {
class SnapshotData;
class SnapshotBuilder {
 public:
  __attribute__((weak)) static const SnapshotData* GetEmbeddedSnapshotData();
  __attribute__((weak)) static const std::vector<intptr_t>& CollectExternalReferences();
};
}  // namespace node

namespace relink {
namespace {

using Params = v8::Isolate::CreateParams;

// Reads memory of this process that may not be there.
bool read(const void* from, void* to, size_t size) {
  iovec local = {to, size}, remote = {const_cast<void*>(from), size};
  return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == static_cast<ssize_t>(size);
}

// Whether a snapshot of this very V8 begins here: its header has V8's version as text.
bool is_snapshot(const char* data, int size) {
  constexpr size_t kHeader = 128;
  char head[kHeader];
  if (data == nullptr || size < static_cast<int>(kHeader) || !read(data, head, kHeader)) return false;
  return std::string(head, kHeader).find(v8::V8::GetVersion()) != std::string::npos;
}

// The V8 part of Node's snapshot: a member of the object that is found by what it points to.
const v8::StartupData* in_nodes(const node::SnapshotData* nodes) {
  constexpr size_t kWords = 64;
  auto* words = reinterpret_cast<const void* const*>(nodes);
  for (size_t i = 0; i < kWords; i++) {
    v8::StartupData candidate;
    if (!read(words + i, &candidate, sizeof candidate)) return nullptr;
    if (is_snapshot(candidate.data, candidate.raw_size)) {
      return reinterpret_cast<const v8::StartupData*>(words + i);
    }
  }
  return nullptr;
}

const v8::StartupData* hosts_snapshot() {
  if (node::SnapshotBuilder::GetEmbeddedSnapshotData == nullptr) return nullptr;
  if (node::SnapshotBuilder::CollectExternalReferences == nullptr) return nullptr;
  const node::SnapshotData* nodes = node::SnapshotBuilder::GetEmbeddedSnapshotData();
  return nodes == nullptr ? nullptr : in_nodes(nodes);
}

}  // namespace

#if !RELINK_PARAMS_OF_ITS_OWN

// The guest's parameters are read as the host's.
static_assert(offsetof(Params, snapshot_blob) == offsetof(guest::CreateParams, snapshot_blob), "v8-isolate.h");
static_assert(offsetof(Params, external_references) == offsetof(guest::CreateParams, external_references),
              "v8-isolate.h");
#if !RELINK_LIBCXX
void hosts_params(const guest::CreateParams& guests, Params* own) { *own = reinterpret_cast<const Params&>(guests); }
#else
// But for who owns the allocator.
void hosts_params(const guest::CreateParams& guests, Params* own) {
  guest::CreateParams rest = guests;
  std::shared_ptr<v8::ArrayBuffer::Allocator> shared;
  if (rest.array_buffer_allocator_shared.get() != nullptr) shared = rest.array_buffer_allocator_shared;
  rest.array_buffer_allocator_shared = nullptr;
  *own = reinterpret_cast<const Params&>(rest);
  own->array_buffer_allocator_shared = std::move(shared);
}
#endif

#endif

}  // namespace relink

extern "C" RELINK_UNIT_API void relink_unit_isolate_initialize(v8::Isolate* isolate,
                                                               const guest::CreateParams& params) {
  static v8::StartupData* const hosts = const_cast<v8::StartupData*>(relink::hosts_snapshot());
  relink::describe_fast_calls();
  relink::forget_promise_hooks(isolate);
  v8::Isolate::CreateParams own;
  relink::hosts_params(params, &own);
  if (own.snapshot_blob == nullptr && hosts != nullptr) {
    own.snapshot_blob = hosts;
    own.external_references = node::SnapshotBuilder::CollectExternalReferences().data();
  }
#if RELINK_GUEST < 1103 && RELINK_OOM_DETAILS
  relink::handle_oom(&own);
#endif
#if RELINK_GUEST < 1306 && RELINK_HOST >= 1306
  relink::hosts_allocator(&own);
#endif
#if RELINK_GUEST >= 1306 && RELINK_CALLS_IN_FRAME
  relink::limited_allocator(&own);
#endif
#if RELINK_CALLS_IN_FRAME
  relink::forget_functions(isolate);
#endif
  if (const uint64_t limit = relink::heap_limit()) own.constraints.set_max_old_generation_size_in_bytes(limit);
  v8::Isolate::Initialize(isolate, own);
}

static_assert(sizeof(v8::SnapshotCreator) == sizeof(void*), "v8-snapshot.h: the guest has room for a pointer");

#if RELINK_GUEST >= 1306

extern "C" RELINK_UNIT_API void relink_unit_snapshot_creator(void* self, v8::Isolate* isolate,
                                                             const guest::CreateParams& params) {
  v8::Isolate::CreateParams own;
  relink::hosts_params(params, &own);
  new (self) v8::SnapshotCreator(isolate, own);
}

#else

// Since 11.3 the blob is constant, since 11.8 there is one argument more.
extern "C" RELINK_UNIT_API void relink_unit_snapshot_creator(void* self, v8::Isolate* isolate, const intptr_t* references,
                                                  v8::StartupData* blob) {
  new (self) v8::SnapshotCreator(isolate, references, blob);
}

#endif
