//! Adapters for guests of V8 13.6, which Node 24 has, on later V8s.

use super::units::{FRAME, INSPECTOR_OF, ISOLATE, JOB_HANDLE, PARAMS, RESOLVER};
use super::{always, missing, Adapter};

/// What stands between a guest of V8 13.6 and any later one.
pub(super) const FROM_13_6: [Adapter; 6] = [
    ISOLATE,
    JOB_HANDLE,
    INSPECTOR_OF,
    always(
        "_ZN2v815SnapshotCreatorC1EPNS_7IsolateERKNS1_12CreateParamsE",
        "relink_unit_snapshot_creator",
        PARAMS,
    ),
    missing(
        "_ZN5cppgc8internal9FatalImplEPKcRKN2v814SourceLocationE",
        "relink_unit_fatal",
        "V8 14.1: a place in a source is passed by value",
    ),
    missing(
        "_ZN2v82V835GetWasmMemoryReservationSizeInBytesENS0_14WasmMemoryTypeEm",
        "relink_unit_wasm_reservation",
        "a function that Node 24.11's V8 and later ones of that line have, and 14.6",
    ),
];

/// What changed from V8 14.1 to 14.6, for what Node 24 has and older ones have not.
pub(super) const FROM_13_6_SINCE_14_6: [Adapter; 13] = [
    always("_ZN2v87CppHeap6CreateEPNS_8PlatformERKNS_19CppHeapCreateParamsE", "relink_unit_cpp_heap", "V8 14.6: v8::Platform has one virtual function more"),
    always("_ZN2v814ObjectTemplate10SetHandlerERKNS_33NamedPropertyHandlerConfigurationE", "relink_unit_named_interceptors", INTERCEPTED),
    always("_ZN2v814ObjectTemplate10SetHandlerERKNS_35IndexedPropertyHandlerConfigurationE", "relink_unit_indexed_interceptors", INTERCEPTED),
    always("_ZN2v88Template21SetNativeDataPropertyENS_5LocalINS_4NameEEEPFvS3_RKNS_20PropertyCallbackInfoINS_5ValueEEEEPFvS3_NS1_IS5_EERKNS4_IvEEESB_NS_17PropertyAttributeENS_14SideEffectTypeESI_", "relink_unit_template_property", FRAME),
    always("_ZN2v88Template19SetLazyDataPropertyENS_5LocalINS_4NameEEEPFvS3_RKNS_20PropertyCallbackInfoINS_5ValueEEEENS1_IS5_EENS_17PropertyAttributeENS_14SideEffectTypeESD_", "relink_unit_template_lazy_property", FRAME),
    always("_ZN2v86Object21SetNativeDataPropertyENS_5LocalINS_7ContextEEENS1_INS_4NameEEEPFvS5_RKNS_20PropertyCallbackInfoINS_5ValueEEEEPFvS5_NS1_IS7_EERKNS6_IvEEESD_NS_17PropertyAttributeENS_14SideEffectTypeESK_", "relink_unit_object_property", FRAME),
    always("_ZN2v86Object19SetLazyDataPropertyENS_5LocalINS_7ContextEEENS1_INS_4NameEEEPFvS5_RKNS_20PropertyCallbackInfoINS_5ValueEEEENS1_IS7_EENS_17PropertyAttributeENS_14SideEffectTypeESF_", "relink_unit_object_lazy_property", FRAME),
    missing("_ZN2v819CpuProfilingOptionsC1ENS_16CpuProfilingModeEjiNS_10MaybeLocalINS_7ContextEEE", "relink_unit_profiling_options", PROFILES),
    always("_ZN2v811CpuProfiler5StartENS_19CpuProfilingOptionsESt10unique_ptrINS_24DiscardedSamplesDelegateESt14default_deleteIS3_EE", "relink_unit_start_profile", PROFILES),
    always("_ZN2v812HeapProfiler20GetAllocationProfileEv", "relink_unit_allocation_profile", PROFILES),
    always("_ZN2v812HeapProfiler16TakeHeapSnapshotERKNS0_19HeapSnapshotOptionsE", "relink_unit_heap_snapshot_by", RESOLVER),
    always("_ZNK2v813ModuleRequest8GetPhaseEv", "relink_unit_phase", PHASES),
    always("_ZN2v87Isolate47SetHostImportModuleWithPhaseDynamicallyCallbackEPFNS_10MaybeLocalINS_7PromiseEEENS_5LocalINS_7ContextEEENS4_INS_4DataEEENS4_INS_5ValueEEENS4_INS_6StringEEENS_17ModuleImportPhaseENS4_INS_10FixedArrayEEEE", "relink_unit_import_in_phase", PHASES),
];
const INTERCEPTED: &str =
    "V8 14.6: yes and no of an interceptor have other numbers, and what V8 tells of a call is in its stack frame";
const PROFILES: &str = "V8 14.6: options and samples of profiles have one field more";
const PHASES: &str = "V8 14.6: phases of imports have other numbers";
