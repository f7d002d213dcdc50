//! What answers to changes of V8 for guests of V8 11.3 and later ones: what their Node has and older ones have not.

use super::units::{
    ACCESS, CPP_HEAP, DESERIALIZER, DESERIALIZER_END, FAST_ARGUMENTS, FRAME, INSPECTOR_OF, ISOLATE,
    JOB_HANDLE, MODULE_FIELD, NO_CPP_HEAP, RESOLVER, SCRIPT_FIELD, SERIALIZER, SERIALIZER_END,
};
use super::{always, missing, Adapter};

/// What stands between a guest of V8 11.3 and any later one.
pub(super) const FROM_11_3: [Adapter; 12] = [
    ISOLATE,
    SERIALIZER,
    SERIALIZER_END,
    DESERIALIZER,
    DESERIALIZER_END,
    MODULE_FIELD,
    SCRIPT_FIELD,
    JOB_HANDLE,
    INSPECTOR_OF,
    missing(
        "_ZN2v815SnapshotCreatorC1EPNS_7IsolateEPKlPKNS_11StartupDataE",
        "relink_unit_snapshot_creator",
        "V8 11.8: the constructor has one argument more",
    ),
    CPP_HEAP,
    missing(
        "_ZN5cppgc17InitializeProcessEPN2v813PageAllocatorE",
        "relink_unit_cppgc",
        "V8 11.8: it has one argument more; the host has done it",
    ),
];

/// What changed from V8 12.4 to 12.9.
pub(super) const FROM_11_3_SINCE_12_9: [Adapter; 4] = [
    always("_ZN2v816FunctionTemplate3NewEPNS_7IsolateEPFvRKNS_20FunctionCallbackInfoINS_5ValueEEEENS_5LocalIS4_EENSA_INS_9SignatureEEEiNS_19ConstructorBehaviorENS_14SideEffectTypeEPKNS_9CFunctionEttt", "relink_unit_function_template", FAST_ARGUMENTS),
    always("_ZN2v816FunctionTemplate25NewWithCFunctionOverloadsEPNS_7IsolateEPFvRKNS_20FunctionCallbackInfoINS_5ValueEEEENS_5LocalIS4_EENSA_INS_9SignatureEEEiNS_19ConstructorBehaviorENS_14SideEffectTypeERKNS_10MemorySpanIKNS_9CFunctionEEE", "relink_unit_overloads", FAST_ARGUMENTS),
    missing("_ZN2v88Template21SetNativeDataPropertyENS_5LocalINS_4NameEEEPFvS3_RKNS_20PropertyCallbackInfoINS_5ValueEEEEPFvS3_NS1_IS5_EERKNS4_IvEEESB_NS_17PropertyAttributeENS_13AccessControlENS_14SideEffectTypeESJ_", "relink_unit_native_property", ACCESS),
    missing("_ZNK2v87CppHeap18wrapper_descriptorEv", "relink_unit_wrapper_descriptor", "V8 12.9: objects say by themselves which objects of C++ are theirs"),
];

/// What changed from V8 12.9 to 13.6.
pub(super) const FROM_11_3_SINCE_13_6: [Adapter; 3] = [
    missing(
        "_ZN2v811ArrayBuffer9Allocator10ReallocateEPvmm",
        "relink_unit_allocator_reallocate",
        "V8 13.6: the base class lost this virtual function",
    ),
    missing("_ZN2v87Isolate13AttachCppHeapEPNS_7CppHeapE", "relink_unit_cppgc", NO_CPP_HEAP),
    missing("_ZN2v87Isolate13DetachCppHeapEv", "relink_unit_cppgc", NO_CPP_HEAP),
];

/// What changed from V8 14.1 to 14.6.
pub(super) const FROM_11_3_SINCE_14_6: [Adapter; 2] = [
    always("_ZN2v816FunctionTemplate25NewWithCFunctionOverloadsEPNS_7IsolateEPFvRKNS_20FunctionCallbackInfoINS_5ValueEEEENS_5LocalIS4_EENSA_INS_9SignatureEEEiNS_19ConstructorBehaviorENS_14SideEffectTypeERKNS_10MemorySpanIKNS_9CFunctionEEE", "relink_unit_called_overloads", FRAME),
    always("_ZN2v812HeapProfiler16TakeHeapSnapshotERKNS0_19HeapSnapshotOptionsE", "relink_unit_heap_snapshot_by", RESOLVER),
];
