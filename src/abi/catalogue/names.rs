//! Names of V8 symbols that Relink looks for by itself.

/// Defined by every module that provides V8 (`v8::Isolate::GetCurrent()`, include/v8-isolate.h).
pub const MARKER: &str = "_ZN2v87Isolate10GetCurrentEv";

/// `v8::internal::Version::{major_,minor_,build_,patch_}` (src/utils/version.h): four `int`.
pub const VERSION_NUMBERS: [&str; 4] = [
    "_ZN2v88internal7Version6major_E",
    "_ZN2v88internal7Version6minor_E",
    "_ZN2v88internal7Version6build_E",
    "_ZN2v88internal7Version6patch_E",
];

/// `v8::internal::Version::embedder_`: `const char*`, for Node "-node.N".
pub const VERSION_EMBEDDER: &str = "_ZN2v88internal7Version9embedder_E";

/// Post-mortem metadata (tools/gen-postmortem-metadata.py): size of a tagged word in bytes, an `int`; 4 means
/// pointer compression.
pub const TAGGED_SIZE: &str = "v8dbg_TaggedSize";

/// Post-mortem metadata: shift of a small integer besides its tag, an `int`; 31 means 32-bit Smis.
pub const SMI_SHIFT: &str = "v8dbg_SmiShiftSize";

/// `v8::internal::V8::platform_` (src/init/v8.h): the process-wide `v8::Platform*`.
pub const PLATFORM_CELL: &str = "_ZN2v88internal2V89platform_E";

/// `v8::internal::SoleReadOnlyHeap::shared_ro_heap_` (src/heap/read-only-heap.h): set under a lock while the first
/// isolate of the process is made, hence after `V8::Initialize` has returned.
pub const SHARED_READ_ONLY_HEAP: &str = "_ZN2v88internal16SoleReadOnlyHeap15shared_ro_heap_E";

/// `v8::ArrayBuffer::New(Isolate*, std::shared_ptr<BackingStore>)`: its mangled name tells the C++ library that V8
/// was compiled with, because each has its own inline namespace.
pub const CXX_WITNESSES: [(&str, &str); 3] = [
    ("_ZN2v811ArrayBuffer3NewEPNS_7IsolateESt10shared_ptrINS_12BackingStoreEE", "libstdc++"),
    ("_ZN2v811ArrayBuffer3NewEPNS_7IsolateENSt3__110shared_ptrINS_12BackingStoreEEE", "libc++"),
    ("_ZN2v811ArrayBuffer3NewEPNS_7IsolateENSt4__Cr10shared_ptrINS_12BackingStoreEEE", "libc++ (std::__Cr)"),
];

/// Functions whose addresses are shown as the proof that host and guest run on one V8.
pub const WITNESSES: [&str; 4] = [
    "_ZN2v87Isolate13TryGetCurrentEv",
    "_ZN2v87Isolate10InitializeEPS0_RKNS0_12CreateParamsE",
    "_ZN2v87Isolate5EnterEv",
    "_ZN2v86Script3RunENS_5LocalINS_7ContextEEE",
];

/// `vtable for node::NodePlatform` (src/node_platform.h): tells a Node host by its platform object.
pub const NODE_PLATFORM_VTABLE: &str = "_ZTVN4node12NodePlatformE";
