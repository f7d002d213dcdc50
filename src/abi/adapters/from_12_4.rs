//! What answers to changes of V8 for guests of V8 12.4 and later ones: what their Node has and older ones have not.

use super::units::{CPP_HEAP, FRAME, INSPECTOR_OF, ISOLATE, JOB_HANDLE, MODE};
use super::{always, missing, Adapter};

/// What stands between a guest of V8 12.4 and any later one.
pub(super) const FROM_12_4: [Adapter; 10] = [
    ISOLATE,
    JOB_HANDLE,
    INSPECTOR_OF,
    CPP_HEAP,
    always("_ZN2v87CppHeap17CollectStatisticsEN5cppgc14HeapStatistics11DetailLevelE", "relink_unit_cpp_statistics", "V8 12.9: statistics have one field more, among the others"),
    missing("_ZN2v87Context3NewEPNS_7IsolateEPNS_22ExtensionConfigurationENS_10MaybeLocalINS_14ObjectTemplateEEENS5_INS_5ValueEEENS_33DeserializeInternalFieldsCallbackEPNS_14MicrotaskQueueENS_30DeserializeContextDataCallbackE", "relink_unit_context_with_data", WRAPPERS),
    missing("_ZN2v87Context12FromSnapshotEPNS_7IsolateEmNS_33DeserializeInternalFieldsCallbackEPNS_22ExtensionConfigurationENS_10MaybeLocalINS_5ValueEEEPNS_14MicrotaskQueueENS_30DeserializeContextDataCallbackE", "relink_unit_context_of_snapshot_with_data", WRAPPERS),
    missing("_ZN2v815SnapshotCreator10AddContextENS_5LocalINS_7ContextEEENS_31SerializeInternalFieldsCallbackENS_28SerializeContextDataCallbackE", "relink_unit_snapshot_context_with_data", WRAPPERS),
    missing("_ZN2v815SnapshotCreator17SetDefaultContextENS_5LocalINS_7ContextEEENS_31SerializeInternalFieldsCallbackENS_28SerializeContextDataCallbackE", "relink_unit_snapshot_default_with_data", WRAPPERS),
    missing("_ZN2v817SharedArrayBuffer3NewEPNS_7IsolateEm", "relink_unit_shared_array_buffer", MODE),
];
const WRAPPERS: &str = "V8 12.9: the function has one argument more, about what wraps objects of C++";

/// What changed from V8 12.9 to 13.6.
pub(super) const FROM_12_4_SINCE_13_6: [Adapter; 1] = [missing(
    "_ZNK2v814SourceLocation8ToStringB5cxx11Ev",
    "relink_unit_location_text",
    "V8 13.6: the function is not exported any more",
)];

/// What changed from V8 14.1 to 14.6.
pub(super) const FROM_12_4_SINCE_14_6: [Adapter; 2] = [
    always("_ZN2v88Template21SetNativeDataPropertyENS_5LocalINS_4NameEEEPFvS3_RKNS_20PropertyCallbackInfoINS_5ValueEEEEPFvS3_NS1_IS5_EERKNS4_IvEEESB_NS_17PropertyAttributeENS_14SideEffectTypeESI_", "relink_unit_template_property", FRAME),
    always("_ZN2v86Object19SetLazyDataPropertyENS_5LocalINS_7ContextEEENS1_INS_4NameEEEPFvS5_RKNS_20PropertyCallbackInfoINS_5ValueEEEENS1_IS7_EENS_17PropertyAttributeENS_14SideEffectTypeESF_", "relink_unit_object_lazy_property", FRAME),
];
