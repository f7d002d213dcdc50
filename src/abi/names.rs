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

/// Post-mortem metadata: shift of a small integer besides its tag, an `int` (`kSmiShiftSize`): 31 with Smis of 32 bits, 0
/// with Smis of 31.
pub const SMI_SHIFT: &str = "v8dbg_SmiShiftSize";

/// `v8::internal::V8::platform_` (src/init/v8.h): the process-wide `v8::Platform*`.
pub const PLATFORM_CELL: &str = "_ZN2v88internal2V89platform_E";

/// `v8::internal::V8::GetCurrentPlatform()` (src/init/v8.h), which returns [`PLATFORM_CELL`]: component builds export it, and the variable is
/// in no table of theirs.
pub const PLATFORM_RETURNED: (&str, &str) = (PLATFORM_CELL, "_ZN2v88internal2V818GetCurrentPlatformEv");

/// `v8::internal::SoleReadOnlyHeap::shared_ro_heap_` (src/heap/read-only-heap.h): set under a lock while the first
/// isolate of the process is made, hence after `V8::Initialize` has returned.
pub const SHARED_READ_ONLY_HEAP: &str = "_ZN2v88internal16SoleReadOnlyHeap15shared_ro_heap_E";

/// `current_embedded_blob_code_` (src/execution/isolate.cc): set under a lock while the first isolate of the process is made. The V8s of
/// Node 18.0 and 18.1 have no heap that isolates share.
pub const EMBEDDED_BLOB: &str = "_ZN2v88internal12_GLOBAL__N_127current_embedded_blob_code_E";

/// `v8::ArrayBuffer::New(Isolate*, std::shared_ptr<BackingStore>)`, and that of `v8::SharedArrayBuffer` for programs whose linker dropped the
/// first: the mangled name tells the C++ library that V8
/// was compiled with, because each has its own inline namespace.
pub const CXX_WITNESSES: [(&str, &str); 8] = [
    ("_ZN2v811ArrayBuffer3NewEPNS_7IsolateESt10shared_ptrINS_12BackingStoreEE", "libstdc++"),
    ("_ZN2v811ArrayBuffer3NewEPNS_7IsolateENSt3__110shared_ptrINS_12BackingStoreEEE", "libc++"),
    ("_ZN2v811ArrayBuffer3NewEPNS_7IsolateENSt4__Cr10shared_ptrINS_12BackingStoreEEE", "libc++ (std::__Cr)"),
    ("_ZN2v811ArrayBuffer3NewEPNS_7IsolateENSt2Cr10shared_ptrINS_12BackingStoreEEE", "libc++ (std::Cr)"),
    ("_ZN2v817SharedArrayBuffer3NewEPNS_7IsolateESt10shared_ptrINS_12BackingStoreEE", "libstdc++"),
    ("_ZN2v817SharedArrayBuffer3NewEPNS_7IsolateENSt3__110shared_ptrINS_12BackingStoreEEE", "libc++"),
    (
        "_ZN2v817SharedArrayBuffer3NewEPNS_7IsolateENSt4__Cr10shared_ptrINS_12BackingStoreEEE",
        "libc++ (std::__Cr)",
    ),
    (
        "_ZN2v817SharedArrayBuffer3NewEPNS_7IsolateENSt2Cr10shared_ptrINS_12BackingStoreEEE",
        "libc++ (std::Cr)",
    ),
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

/// `v8::V8::GetVersion()` (include/v8-initialization.h). With it, or the version numbers, a module that defines
/// [`MARKER`] holds V8; other engines (Bun's JavaScriptCore) define a part of V8's API without either.
pub const GET_VERSION: &str = "_ZN2v82V810GetVersionEv";

/// `v8::internal::(anonymous namespace)::v8_startup_state_` (src/init/v8.cc, since V8 10.1), a `V8StartupState`: only in
/// `.symtab`.
pub const STARTUP_STATE: &str = "_ZN2v88internal12_GLOBAL__N_117v8_startup_state_E";

/// `v8::internal::ObjectVisitor::VisitPointer` (src/objects/visitors.h), whose parameter is `ObjectSlot`: an alias of
/// `FullObjectSlot`, and of `CompressedObjectSlot` with pointer compression (src/common/globals.h). The two forms are
/// those before and after V8 11.5, where `Tagged<>` came. Component builds export `v8::internal::Heap::MoveRange` (src/heap/heap.h) instead,
/// whose second parameter is one.
pub const FULL_SLOTS: [&str; 4] = [
    "_ZN2v88internal13ObjectVisitor12VisitPointerENS0_10HeapObjectENS0_14FullObjectSlotE",
    "_ZN2v88internal13ObjectVisitor12VisitPointerENS0_6TaggedINS0_10HeapObjectEEENS0_14FullObjectSlotE",
    "_ZN2v88internal4Heap9MoveRangeENS0_10HeapObjectENS0_14FullObjectSlotES3_iNS0_16WriteBarrierModeE",
    "_ZN2v88internal4Heap9MoveRangeENS0_6TaggedINS0_10HeapObjectEEENS0_14FullObjectSlotES5_iNS0_16WriteBarrierModeE",
];

/// The same with pointer compression.
pub const COMPRESSED_SLOTS: [&str; 4] = [
    "_ZN2v88internal13ObjectVisitor12VisitPointerENS0_10HeapObjectENS0_20CompressedObjectSlotE",
    "_ZN2v88internal13ObjectVisitor12VisitPointerENS0_6TaggedINS0_10HeapObjectEEENS0_20CompressedObjectSlotE",
    "_ZN2v88internal4Heap9MoveRangeENS0_10HeapObjectENS0_20CompressedObjectSlotES3_iNS0_16WriteBarrierModeE",
    "_ZN2v88internal4Heap9MoveRangeENS0_6TaggedINS0_10HeapObjectEEENS0_20CompressedObjectSlotES5_iNS0_16WriteBarrierModeE",
];

/// `v8::V8::GetSandboxSizeInBytes()`: declared under `V8_ENABLE_SANDBOX` only (include/v8-initialization.h).
pub const SANDBOX_SIZE: &str = "_ZN2v82V821GetSandboxSizeInBytesEv";

/// `v8::internal::StaticReadOnlyRootsPointerTable` (src/roots/static-roots.h): a local constant of builds with static
/// roots, only in `.symtab`.
pub const STATIC_ROOTS: &str = "_ZN2v88internalL31StaticReadOnlyRootsPointerTableE";

/// `v8::internal::wasm::WasmOpcodes::OpcodeName(WasmOpcode)` (src/wasm/wasm-opcodes.h).
pub const WEBASSEMBLY: &str = "_ZN2v88internal4wasm11WasmOpcodes10OpcodeNameENS1_10WasmOpcodeE";

/// `v8::internal::Intl::CreateTimeZoneCache()` (src/objects/intl-objects.h): compiled with `V8_INTL_SUPPORT` only.
pub const INTL: &str = "_ZN2v88internal4Intl19CreateTimeZoneCacheEv";

/// `v8::internal::Heap::TearDown()` (src/heap/heap.h): where it is seen, `v8::internal` is.
pub const INTERNALS: &str = "_ZN2v88internal4Heap8TearDownEv";

/// Functions of debug builds: `JSObject::JSObjectVerify` (src/diagnostics/objects-debug.cc, under `VERIFY_HEAP`), which
/// the collector of such a build calls.
pub const DEBUG_ONLY: [&str; 2] =
    ["_ZN2v88internal8JSObject14JSObjectVerifyEPNS0_7IsolateE", "_ZN2v88internal8JSObject14JSObjectVerifyEv"];

/// `node::Start(int, char**)` (src/node.h): exported by every Node since 0.10.
pub const NODE_START: &str = "_ZN4node5StartEiPPc";

/// Node's structures of built-in modules, which begin with an `int`, `NODE_MODULE_VERSION` (src/node.h, `node_module` and
/// before 0.11 `node_module_struct`); all have the first name in Node 1 to 18.
pub const NODE_MODULES: [&str; 3] = ["_ZL7_module", "_module", "node_buffer_module"];
/// A counter in src/execution/isolate.cc (`int`) that every isolate takes its number from: not 0 once the first one is being
/// made, hence after `V8::Initialize`. V8 13.6 has one read-only heap per group of isolates and no `SoleReadOnlyHeap`.
pub const ISOLATE_COUNTER: &str = "_ZN2v88internal12_GLOBAL__N_115isolate_counterE";

/// `v8::IsolateGroup` (include/v8-isolate.h, since V8 13.4): `GetDefault` and the destructor; and `v8::internal::IsolateGroup::RemoveIsolate`
/// (src/init/isolate-group.h), which only .symtab names. The bridge calls them (shim/cpp/group.cc), where V8 has them.
pub const GROUP_FUNCTIONS: [&str; 3] = [
    "_ZN2v812IsolateGroup10GetDefaultEv",
    "_ZN2v812IsolateGroupD1Ev",
    "_ZN2v88internal12IsolateGroup13RemoveIsolateEPNS0_7IsolateE",
];

/// Those of V8's own that the bridge calls and V8 may hide, since 13.6.
pub const HIDDEN_SINCE_13_6: [&str; 3] = [FLAG_FUNCTIONS[0], FLAG_FUNCTIONS[1], GROUP_FUNCTIONS[2]];

/// `v8::internal::FlagList` (src/flags/flags.h): whether flags can be set no more, and what is to be done when some were set after
/// `V8::Initialize` for those that they imply. The bridge calls both (shim/cpp/flags.cc), where V8 has them.
pub const FLAG_FUNCTIONS: [&str; 2] =
    ["_ZN2v88internal8FlagList8IsFrozenEv", "_ZN2v88internal8FlagList23EnforceFlagImplicationsEv"];
