//! The catalogue of adapters: functions that stand in for a V8 symbol. Their code is in shim/cpp.

mod absent;
mod earlier;
mod from_11_3;
mod from_12_4;
mod node_24;
mod units;

pub use earlier::CAME_WITH_SYMBOL_KEYS;
pub use units::{unit_for, Unit, UNITS};

use earlier::WITHOUT_SYMBOL_KEYS;

use super::line::Line;
use crate::note::{GuestNote, SYMBOL_KEYS};
use std::collections::BTreeSet;

/// When an adapter is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// Only where the host's V8 lacks the symbol.
    Missing,
    /// Always: it stands before the host's function.
    Always,
}

/// One adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Adapter {
    /// The V8 symbol (mangled) in whose place it is bound in the guest.
    pub symbol: &'static str,
    /// The bridge's symbol.
    pub stands_in: &'static str,
    /// When it is used.
    pub when: When,
    /// What it answers to.
    pub reason: &'static str,
    /// What the guest cannot do where it is used, if there is anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<&'static str>,
}

impl Adapter {
    const fn losing(self, what: &'static str) -> Self {
        Self { lost: Some(what), ..self }
    }
}

/// What a guest cannot do where these adapters are in use.
pub fn lost(used: impl IntoIterator<Item = &'static Adapter>) -> BTreeSet<&'static str> {
    used.into_iter().filter_map(|adapter| adapter.lost).collect()
}

const fn missing(symbol: &'static str, stands_in: &'static str, reason: &'static str) -> Adapter {
    Adapter { symbol, stands_in, when: When::Missing, reason, lost: None }
}

const fn always(symbol: &'static str, stands_in: &'static str, reason: &'static str) -> Adapter {
    Adapter { symbol, stands_in, when: When::Always, reason, lost: None }
}

const FLAGS: &str =
    "V8's flags are process-wide: what Node sets is reported, what the host's V8 does not know is dropped";
const ALLOCATE: &str =
    "the platform bridge must know the guest's isolates before V8 asks the platform for them";
const DISPOSE: &str =
    "the platform bridge forgets an isolate when V8 does, and no late SIGPROF of V8's profiler meets the host";
const ONCE: &str = "V8 and its platform belong to the host, which has set them up and will take them down";

const INSPECTOR: &str =
    "a host may withhold the inspector from a runtime: no message reaches V8's part of it then";

const TRACING: &str = "which trace categories are on is one table per process, and the host's V8 would trace into the guest's buffer";

/// What the host's own slots for these symbols of V8 (second) get while the guest lives, where V8 is a library of the
/// host's: functions of the bridge (first) that stop the guest and then call the real ones.
pub const HOST_DISPOSES: [(&str, &str); 2] = [
    ("relink_adapter_Host_V8_Dispose", "_ZN2v82V87DisposeEv"),
    ("relink_adapter_Host_V8_DisposePlatform", "_ZN2v82V815DisposePlatformEv"),
];

/// What every line's bridge has.
const COMMON: [Adapter; 14] = [
    always("_ZN2v87Isolate8AllocateEv", "relink_adapter_Isolate_Allocate", ALLOCATE),
    always("_ZN2v87Isolate7DisposeEv", "relink_adapter_Isolate_Dispose", DISPOSE),
    always("_ZN2v82V818SetFlagsFromStringEPKc", "relink_adapter_SetFlagsFromString", FLAGS),
    always("_ZN2v82V818SetFlagsFromStringEPKcm", "relink_adapter_SetFlagsFromStringLength", FLAGS),
    always("_ZN2v82V823SetFlagsFromCommandLineEPiPPcb", "relink_adapter_SetFlagsFromCommandLine", FLAGS),
    always("_ZN2v82V818InitializePlatformEPNS_8PlatformE", "relink_adapter_V8_InitializePlatform", ONCE),
    always("_ZN2v82V815DisposePlatformEv", "relink_adapter_V8_DisposePlatform", ONCE),
    always("_ZN2v82V810InitializeEi", "relink_adapter_V8_Initialize", ONCE),
    always("_ZN2v82V87DisposeEv", "relink_adapter_V8_Dispose", ONCE),
    always(
        "_ZN2v82V828EnableWebAssemblyTrapHandlerEb",
        "relink_adapter_V8_EnableWebAssemblyTrapHandler",
        "the trap handler needs a SIGSEGV handler, and the host's signal dispositions stay as they are",
    ),
    always("_ZN2v82V816SetEntropySourceEPFbPhmE", "relink_adapter_V8_SetEntropySource", ONCE),
    always(
        "_ZN2v88platform7tracing17TracingController12StartTracingEPNS1_11TraceConfigE",
        "relink_adapter_TracingController_StartTracing",
        TRACING,
    ),
    always(
        "_ZN2v88platform7tracing17TracingController24UpdateTraceEventDurationEPKhPKcm",
        "relink_adapter_TracingController_UpdateTraceEventDuration",
        TRACING,
    ),
    always(
        "_ZN12v8_inspector18V8InspectorSession17canDispatchMethodENS_10StringViewE",
        "relink_adapter_InspectorSession_canDispatchMethod",
        INSPECTOR,
    ),
];

const FOR_NODE_LTS: Adapter = missing(
    "_ZN2v811ArrayBuffer25NewBackingStoreForNodeLTSEPNS_7IsolateEm",
    "relink_adapter_NewBackingStoreForNodeLTS",
    "a function that Debian's V8 has and official executables lack; NewBackingStore does the same there",
);

/// The adapters for V8 11.3.
pub const V8_11_3: [Adapter; 15] = joined(&COMMON, &[FOR_NODE_LTS]);

/// The adapters for V8 12.4: those of 11.3.
pub const V8_12_4: [Adapter; 15] = V8_11_3;

/// The adapters for V8 10.2: those of 11.3, and functions that the V8s of earlier Nodes 18 lack.
pub const V8_10_2: [Adapter; 18] = {
    const LATE: &str =
        "a function that came to V8 10.2 with a later Node 18; the host's own Node asks the backing store";
    let late = [
        missing("_ZNK2v811ArrayBuffer11WasDetachedEv", "relink_adapter_ArrayBuffer_WasDetached", LATE),
        missing("_ZNK2v811ArrayBuffer4DataEv", "relink_adapter_ArrayBuffer_Data", LATE),
        missing("_ZNK2v817SharedArrayBuffer4DataEv", "relink_adapter_SharedArrayBuffer_Data", LATE),
    ];
    joined(&V8_11_3, &late)
};

/// The adapters for V8 13.6: nobody needs Node's own function there any more, and isolates are made in a group and freed in
/// two steps.
pub const V8_13_6: [Adapter; 17] = {
    let in_groups = [
        always(
            "_ZN2v87Isolate8AllocateERKNS_12IsolateGroupE",
            "relink_adapter_Isolate_Allocate_in_group",
            ALLOCATE,
        ),
        always(
            "_ZN2v87Isolate12DeinitializeEv",
            "relink_adapter_Isolate_Deinitialize",
            "V8's profiler may have sent a last SIGPROF when it puts back what the process does at one",
        ),
        always("_ZN2v87Isolate4FreeEPS0_", "relink_adapter_Isolate_Free", DISPOSE),
    ];
    joined(&COMMON, &in_groups)
};

/// `first` and then `second`, which are `N` together.
const fn joined<const N: usize>(first: &[Adapter], second: &[Adapter]) -> [Adapter; N] {
    assert!(first.len() + second.len() == N);
    let mut all = [first[0]; N];
    let mut at = 0;
    while at < N {
        all[at] = if at < first.len() { first[at] } else { second[at - first.len()] };
        at += 1;
    }
    all
}

/// All adapters of a line: the guest is a guest, beside a host that owns V8.
pub fn beside_a_host(line: &'static Line) -> Vec<&'static Adapter> {
    line.adapters.iter().collect()
}

/// The adapters for a guest on a host: those `of` the host's line, or of the unit that stands between them and of its guests' line; and those
/// for what its note says that it can be without.
pub fn for_pair(
    guest: &GuestNote,
    unit: Option<&'static Unit>,
    host: Option<&'static Line>,
    of: fn(&'static Line) -> Vec<&'static Adapter>,
) -> Vec<&'static Adapter> {
    let spares = guest.spares.iter().any(|spared| spared == SYMBOL_KEYS);
    let unpatched = |line: &Line| if spares && line.v8 == (10, 2) { &WITHOUT_SYMBOL_KEYS[..] } else { &[] };
    let all = |line| of(line).into_iter().chain(unpatched(line)).collect();
    let bridge = |line: Option<&'static Line>| line.map(all).unwrap_or_default();
    match unit {
        Some(unit) => unit.with_bridge(bridge(unit.guest_line())),
        None => bridge(host),
    }
}

const SHARED: &str = "the isolate is the host's: what it has stays, and Node is to get it as it is";

macro_rules! shared {
    ($symbol:literal, $name:literal) => {
        always($symbol, concat!("relink_adapter_Shared_", $name), SHARED)
    };
}

/// The adapters of V8 10.2, besides, for a guest in an isolate of the host's.
pub const SHARED_10_2: [Adapter; 17] = [
    shared!("_ZN2v87Isolate10InitializeEPS0_RKNS0_12CreateParamsE", "Initialize"),
    shared!("_ZN2v86Locker10InitializeEPNS_7IsolateE", "Lock"),
    shared!("_ZN2v87Isolate18TerminateExecutionEv", "TerminateExecution"),
    shared!("_ZN2v87Isolate32AddMessageListenerWithErrorLevelEPFvNS_5LocalINS_7MessageEEENS1_INS_5ValueEEEEiS5_", "AddMessageListener"),
    shared!("_ZN2v87Context30AllowCodeGenerationFromStringsEb", "AllowCodeGeneration"),
    shared!("_ZN2v87Isolate19SetMicrotasksPolicyENS_16MicrotasksPolicyE", "SetMicrotasksPolicy"),
    shared!("_ZN2v87Isolate35SetAbortOnUncaughtExceptionCallbackEPFbPS0_E", "SetAbortOnUncaughtExceptionCallback"),
    shared!("_ZN2v87Isolate20SetFatalErrorHandlerEPFvPKcS2_E", "SetFatalErrorHandler"),
    shared!("_ZN2v87Isolate18SetOOMErrorHandlerEPFvPKcbE", "SetOOMErrorHandler"),
    shared!("_ZN2v87Isolate28SetPrepareStackTraceCallbackEPFNS_10MaybeLocalINS_5ValueEEENS_5LocalINS_7ContextEEENS4_IS2_EENS4_INS_5ArrayEEEE", "SetPrepareStackTraceCallback"),
    shared!("_ZN2v87Isolate34SetAllowWasmCodeGenerationCallbackEPFbNS_5LocalINS_7ContextEEENS1_INS_6StringEEEE", "SetAllowWasmCodeGenerationCallback"),
    shared!("_ZN2v87Isolate42SetModifyCodeGenerationFromStringsCallbackEPFNS_37ModifyCodeGenerationFromStringsResultENS_5LocalINS_7ContextEEENS2_INS_5ValueEEEbE", "SetModifyCodeGenerationFromStringsCallback"),
    shared!("_ZN2v87Isolate24SetWasmStreamingCallbackEPFvRKNS_20FunctionCallbackInfoINS_5ValueEEEE", "SetWasmStreamingCallback"),
    shared!("_ZN2v87Isolate24SetPromiseRejectCallbackEPFvNS_20PromiseRejectMessageEE", "SetPromiseRejectCallback"),
    shared!("_ZN2v87Isolate38SetHostImportModuleDynamicallyCallbackEPFNS_10MaybeLocalINS_7PromiseEEENS_5LocalINS_7ContextEEENS4_INS_4DataEEENS4_INS_5ValueEEENS4_INS_6StringEEENS4_INS_10FixedArrayEEEE", "SetHostImportModuleDynamicallyCallback"),
    shared!("_ZN2v87Isolate41SetHostInitializeImportMetaObjectCallbackEPFvNS_5LocalINS_7ContextEEENS1_INS_6ModuleEEENS1_INS_6ObjectEEEE", "SetHostInitializeImportMetaObjectCallback"),
    shared!("_ZN2v87Isolate39SetHostCreateShadowRealmContextCallbackEPFNS_10MaybeLocalINS_7ContextEEENS_5LocalIS2_EEE", "SetHostCreateShadowRealmContextCallback"),
];

/// All adapters of a line for a guest in an isolate of the host's.
pub fn inside_an_isolate(line: &'static Line) -> Vec<&'static Adapter> {
    line.adapters.iter().chain(line.shared).collect()
}

/// What a neutral Node 18 cannot do where V8 lacks [`CAME_WITH_SYMBOL_KEYS`].
pub fn lost_without_symbol_keys() -> BTreeSet<&'static str> {
    lost(&WITHOUT_SYMBOL_KEYS)
}

/// Only those for missing symbols: the guest owns V8 and its platform, as node does (`relink node`).
pub fn for_an_owner(line: &'static Line) -> Vec<&'static Adapter> {
    line.adapters.iter().filter(|a| a.when == When::Missing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::{self, LINES};

    #[test]
    fn what_is_lost_is_said_once_and_only_where_the_stand_in_is_used() {
        assert!(lost(&V8_10_2).is_empty());
        let all: Vec<_> = absent::ABSENT.iter().chain(&absent::ABSENT).chain(&WITHOUT_SYMBOL_KEYS).collect();
        assert_eq!(lost(all).len(), 3);
        assert!(lost(absent::ABSENT.iter().skip(1)).is_empty());
    }

    #[test]
    fn only_guests_that_can_be_without_symbol_keys_get_what_stands_in_for_them() {
        let host = crate::fingerprint::Fingerprint::default();
        let mut guest = GuestNote::of_stock("libnode.so.108", &host);
        let given = |guest: &GuestNote, line| {
            let all = for_pair(guest, None, Some(line), beside_a_host);
            WITHOUT_SYMBOL_KEYS.iter().filter(|adapter| all.contains(adapter)).count()
        };
        let later = line::of_node(20).expect("Node 20");
        assert_eq!(given(&guest, line::oldest()), 0);
        guest.spares.push(SYMBOL_KEYS.into());
        assert_eq!((given(&guest, line::oldest()), given(&guest, later)), (2, 0));
    }

    #[test]
    fn each_symbol_has_one_adapter_and_each_adapter_one_symbol() {
        for line in &LINES {
            let mut symbols: Vec<_> = line.adapters.iter().map(|a| a.symbol).collect();
            let mut functions: Vec<_> = line.adapters.iter().map(|a| a.stands_in).collect();
            for names in [&mut symbols, &mut functions] {
                names.sort_unstable();
                names.dedup();
                assert_eq!(names.len(), line.adapters.len(), "V8 {}", line.name);
            }
        }
    }
}
