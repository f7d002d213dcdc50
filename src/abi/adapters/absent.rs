//! Parts of V8 that an embedder may leave out of its build, and what a guest gets for them from an adapter unit
//! (shim/adapters/no_inspector.cc and promise_hooks.cc).

use super::{always, missing, Adapter};

/// The inspector's (`v8_inspector::StringBuffer::create` is called for every message), what writes traces, and how promises are followed.
pub(super) const ABSENT: [Adapter; 9] = [
    missing("_ZN12v8_inspector12StringBuffer6createENS_10StringViewE", "relink_unit_string_buffer", INSPECTOR).losing(NO_INSPECTOR),
    missing("_ZN12v8_inspector8protocol7Runtime3API10StackTrace10fromBinaryEPKhm", "relink_unit_no_object", INSPECTOR),
    missing("_ZN2v88platform7tracing11TraceWriter21CreateJSONTraceWriterERSo", "relink_unit_no_trace", TRACES),
    missing("_ZN2v88platform7tracing11TraceWriter21CreateJSONTraceWriterERSoRKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE", "relink_unit_no_trace", TRACES),
    missing("_ZN2v88platform7tracing16TraceBufferChunk13AddTraceEventEPm", "relink_unit_no_trace", TRACES),
    missing("_ZN2v88platform7tracing16TraceBufferChunk5ResetEj", "relink_unit_no_trace", TRACES),
    missing("_ZN2v88platform7tracing16TraceBufferChunkC1Ej", "relink_unit_no_trace", TRACES),
    always("_ZN2v87Context15SetPromiseHooksENS_5LocalINS_8FunctionEEES3_S3_S3_", "relink_unit_promise_hooks", HOOKS),
    always("_ZN2v86Object20SlowGetInternalFieldEi", "relink_unit_internal_field_of", "the host's V8 may have been built without internal fields of promises, which Node reads"),
];

const INSPECTOR: &str = "the host's V8 was built without its inspector";
const TRACES: &str = "the host's V8 was built without what writes traces, which a guest never does";
const HOOKS: &str = "the host's V8 may have been built without hooks of promises in JavaScript: functions of C++ call them then";
const NO_INSPECTOR: &str = "the inspector, which the host's V8 was built without: requests are answered with an error, also those of \
     --cpu-prof, --heap-prof and coverage";
