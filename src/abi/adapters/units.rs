//! Adapter units: what stands between a neutral guest and a host whose V8 is of another line. Each is compiled by the kit from
//! shim/adapters against the real headers of the host's V8, and loaded beside the bridge of the guest's line.

use super::absent::ABSENT;
use super::earlier::{BEFORE_10_2, NO_ATTRIBUTES};
use super::from_11_3::{FROM_11_3, FROM_11_3_SINCE_12_9, FROM_11_3_SINCE_13_6, FROM_11_3_SINCE_14_6};
use super::from_12_4::{FROM_12_4, FROM_12_4_SINCE_13_6, FROM_12_4_SINCE_14_6};
use super::node_24::{FROM_13_6, FROM_13_6_SINCE_14_6};
use super::{always, missing, Adapter};
use crate::fingerprint::Fingerprint;
use crate::learned::unit_for as unit_learned_for;
use crate::line::{of_v8, Line};
use crate::note::GuestNote;
use crate::version::V8Version;

/// What one V8 changed, for the guests of some V8s before it.
struct Layer {
    /// The oldest guest that it is for, by the major and minor version of its V8.
    from: (u32, u32),
    /// Major and minor version of the V8 that is otherwise; guests of that one and of later ones know it.
    since: (u32, u32),
    /// What answers to it.
    adapters: &'static [Adapter],
    /// What a guest cannot do from there on.
    lost: &'static [&'static str],
}

/// All layers, oldest first: a later one takes the place of an earlier for the same symbol.
static LAYERS: [Layer; 17] = [
    Layer { from: (10, 2), since: (10, 8), adapters: &SINCE_10_8, lost: &[] },
    Layer { from: (10, 2), since: (11, 3), adapters: &SINCE_11_3, lost: &[] },
    Layer { from: (11, 3), since: (11, 8), adapters: &FROM_11_3, lost: &[] },
    Layer { from: (10, 2), since: (11, 8), adapters: &SINCE_11_8, lost: &[] },
    Layer { from: (10, 2), since: (12, 4), adapters: &SINCE_12_4, lost: &[] },
    Layer { from: (10, 2), since: (12, 9), adapters: &SINCE_12_9, lost: &[] },
    Layer { from: (11, 3), since: (12, 9), adapters: &FROM_11_3_SINCE_12_9, lost: &[FEWER_FAST_CALLS] },
    Layer { from: (12, 4), since: (12, 9), adapters: &FROM_12_4, lost: &[] },
    Layer { from: (10, 2), since: (13, 6), adapters: &SINCE_13_6, lost: &[NO_ATOMICS_TRACE] },
    Layer { from: (11, 3), since: (13, 6), adapters: &FROM_11_3_SINCE_13_6, lost: &[NO_CPP_HEAP] },
    Layer { from: (12, 4), since: (13, 6), adapters: &FROM_12_4_SINCE_13_6, lost: &[] },
    Layer { from: (10, 2), since: (14, 1), adapters: &SINCE_14_1, lost: &[] },
    Layer { from: (13, 6), since: (14, 1), adapters: &FROM_13_6, lost: &[] },
    Layer { from: (10, 2), since: (14, 6), adapters: &SINCE_14_6, lost: &[SLOWER_CALLS] },
    Layer { from: (11, 3), since: (14, 6), adapters: &FROM_11_3_SINCE_14_6, lost: &[] },
    Layer { from: (12, 4), since: (14, 6), adapters: &FROM_12_4_SINCE_14_6, lost: &[] },
    Layer { from: (13, 6), since: (14, 6), adapters: &FROM_13_6_SINCE_14_6, lost: &[] },
];

/// What V8s before these lack, for guests that know it. (There `from` is the oldest guest that does.)
static EARLIER: [Layer; 2] = [
    Layer { from: (10, 2), since: (10, 2), adapters: &BEFORE_10_2, lost: &[] },
    Layer { from: (10, 2), since: (11, 3), adapters: &[], lost: &[NO_ATTRIBUTES] },
];

const NO_ASSERTIONS: &str =
    "assertions of imports as `assert { type: 'json' }`: the host's V8 knows them as `with { type: 'json' }` only";
const FEWER_FAST_CALLS: &str =
    "fast API calls with options or arrays (WASI, a number's index in a buffer, percentiles): they take the slow way";
const NO_ATOMICS_TRACE: &str =
    "--trace-atomics-wait: V8 does not tell any more when Atomics.wait() is called";
pub(super) const NO_CPP_HEAP: &str =
    "objects of C++ that add-ons have V8 collect (cppgc): Node's heap of them is not V8's";
const SLOWER_CALLS: &str = "calls of built-in functions are slower: what V8 tells of them is copied";

/// One unit.
#[derive(Debug, PartialEq, Eq)]
pub struct Unit {
    /// Major and minor version of the V8 that the guest was compiled for.
    pub guest: (u32, u32),
    /// Major and minor version of the host's V8.
    pub host: (u32, u32),
    /// Major and minor version of the V8 up to whose layers it has: the host's, but for a unit that was learned.
    pub layers: (u32, u32),
}

/// All units. One goes in when Node was seen to run through it.
pub static UNITS: [Unit; 21] = [
    Unit::of((10, 2), (10, 1)),
    Unit::of((10, 2), (10, 8)),
    Unit::of((10, 2), (11, 3)),
    Unit::of((10, 2), (11, 8)),
    Unit::of((10, 2), (12, 4)),
    Unit::of((10, 2), (12, 9)),
    Unit::of((10, 2), (13, 6)),
    Unit::of((10, 2), (14, 1)),
    Unit::of((10, 2), (14, 6)),
    Unit::of((11, 3), (11, 8)),
    Unit::of((11, 3), (12, 4)),
    Unit::of((11, 3), (12, 9)),
    Unit::of((11, 3), (13, 6)),
    Unit::of((11, 3), (14, 1)),
    Unit::of((11, 3), (14, 6)),
    Unit::of((12, 4), (12, 9)),
    Unit::of((12, 4), (13, 6)),
    Unit::of((12, 4), (14, 1)),
    Unit::of((12, 4), (14, 6)),
    Unit::of((13, 6), (14, 1)),
    Unit::of((13, 6), (14, 6)),
];

impl Unit {
    const fn of(guest: (u32, u32), host: (u32, u32)) -> Self {
        Self { guest, host, layers: host }
    }

    /// The layers between the guest's V8 and the host's.
    fn changes(&self) -> impl Iterator<Item = &'static Layer> {
        let (guest, layers) = (self.guest, self.layers);
        let later = LAYERS.iter().filter(move |l| l.from <= guest && guest < l.since && l.since <= layers);
        let earlier = EARLIER.iter().filter(move |l| l.from <= guest && layers < l.since);
        later.chain(earlier)
    }

    /// What the guest cannot do there.
    pub fn lost(&self) -> Vec<&'static str> {
        // Node 22 gave them up itself.
        let assertions = (self.guest < (12, 4) && self.layers >= (13, 6)).then_some(NO_ASSERTIONS);
        self.changes().flat_map(|layer| layer.lost).copied().chain(assertions).collect()
    }

    /// `10.2-on-11.3`: the name of its file and of the command that builds it.
    pub fn name(&self) -> String {
        format!("{}.{}-on-{}.{}", self.guest.0, self.guest.1, self.host.0, self.host.1)
    }

    /// The line of its hosts.
    pub fn host_line(&self) -> Option<&'static Line> {
        of_v8(V8Version::new(self.host.0, self.host.1, 0, 0))
    }

    /// The line of its guests, whose bridge comes with it.
    pub fn guest_line(&self) -> Option<&'static Line> {
        of_v8(V8Version::new(self.guest.0, self.guest.1, 0, 0))
    }

    /// Its adapters, one for each symbol.
    pub fn adapters(&self) -> Vec<&'static Adapter> {
        let mut all: Vec<&'static Adapter> = Vec::new();
        // Before 10.8 no V8 has symbols as keys of WeakMaps: what a guest has that can be without is the bridge's (`for_pair`).
        let keys = |a: &&Adapter| {
            self.host >= (10, 8) || ![MODULE_FIELD.symbol, SCRIPT_FIELD.symbol].contains(&a.symbol)
        };
        for adapter in ABSENT.iter().chain(self.changes().flat_map(|layer| layer.adapters)).filter(keys) {
            all.retain(|earlier| earlier.symbol != adapter.symbol);
            all.push(adapter);
        }
        all
    }

    /// Its adapters, and those of the bridge's line for symbols that it has none for.
    pub fn with_bridge(&self, bridge: Vec<&'static Adapter>) -> Vec<&'static Adapter> {
        let own = self.adapters();
        let others = bridge.into_iter().filter(|other| own.iter().all(|a| a.symbol != other.symbol));
        let others: Vec<_> = others.collect();
        own.iter().copied().chain(others).collect()
    }
}

/// The unit for a neutral guest on a host of another line.
pub fn unit_for(guest: &GuestNote, host: &Fingerprint) -> Option<&'static Unit> {
    let minor = |v8: V8Version| (v8.major, v8.minor);
    let (guest_v8, host_v8) = (minor(V8Version::parse(&guest.v8)?), minor(host.version?));
    let of_pair = |unit: &&Unit| unit.guest == guest_v8 && unit.host == host_v8;
    let learned = unit_learned_for(guest_v8, host.version?);
    learned.or_else(|| UNITS.iter().find(of_pair)).filter(|_| !guest.layout.is_empty())
}

const DELEGATE: &str =
    "V8 10.8 and 11.8: shared values come by a conveyor, and V8 asks for more, so the delegates have other virtual functions";
const UNUSED_DELEGATE: &str = "V8 10.8: the base class lost this virtual function; nobody calls it any more";
const OOM: &str = "V8 10.8: the handler is told more than whether the heap was exhausted";
const FOR_CORE: &str =
    "Node's V8 18 has a setter for internal fields that are no values; later ones have others";
const JOBS: &str =
    "V8 10.8: v8::Platform has other virtual functions, and a job calls the platform it was made for";
const FAST: &str = "V8 10.8 and 11.3: types of fast API calls have other numbers";
const INSPECTOR: &str =
    "V8 10.8: V8Inspector::connect and V8InspectorClient have more arguments and functions";
const BLOB: &str =
    "all isolates of a process share a read-only heap, so the guest's start from the host's snapshot";
const SNAPSHOT: &str = "V8 11.3: the constructor's last argument is a pointer to a constant";

// What stands between each two lines, or what more than one changed.
pub(super) const ISOLATE: Adapter =
    always("_ZN2v87Isolate10InitializeEPS0_RKNS0_12CreateParamsE", "relink_unit_isolate_initialize", BLOB);
pub(super) const SERIALIZER: Adapter =
    always("_ZN2v815ValueSerializerC1EPNS_7IsolateEPNS0_8DelegateE", "relink_unit_serializer", DELEGATE);
pub(super) const SERIALIZER_END: Adapter =
    always("_ZN2v815ValueSerializerD1Ev", "relink_unit_serializer_end", DELEGATE);
pub(super) const DESERIALIZER: Adapter = always(
    "_ZN2v817ValueDeserializerC1EPNS_7IsolateEPKhmPNS0_8DelegateE",
    "relink_unit_deserializer",
    DELEGATE,
);
pub(super) const DESERIALIZER_END: Adapter =
    always("_ZN2v817ValueDeserializerD1Ev", "relink_unit_deserializer_end", DELEGATE);
pub(super) const MODULE_FIELD: Adapter = missing(
    "_ZN2v86Object27SetInternalFieldForNodeCoreEiNS_5LocalINS_6ModuleEEE",
    "relink_unit_internal_field",
    FOR_CORE,
);
pub(super) const SCRIPT_FIELD: Adapter = missing(
    "_ZN2v86Object27SetInternalFieldForNodeCoreEiNS_5LocalINS_13UnboundScriptEEE",
    "relink_unit_internal_field",
    FOR_CORE,
);
pub(super) const JOB_HANDLE: Adapter = always(
    "_ZN2v88platform19NewDefaultJobHandleEPNS_8PlatformENS_12TaskPriorityESt10unique_ptrINS_7JobTaskESt14default_deleteIS5_EEm",
    "relink_unit_job",
    JOBS,
);
pub(super) const INSPECTOR_OF: Adapter = always(
    "_ZN12v8_inspector11V8Inspector6createEPN2v87IsolateEPNS_17V8InspectorClientE",
    "relink_unit_inspector",
    INSPECTOR,
);
const C_FUNCTION_INFO: Adapter =
    always("_ZN2v813CFunctionInfoC2ERKNS_9CTypeInfoEjPS2_", "relink_unit_c_function_info", FAST);
pub(super) const CPP_HEAP: Adapter =
    always("_ZN2v87CppHeap6CreateEPNS_8PlatformERKNS_19CppHeapCreateParamsE", "relink_unit_cpp_heap", JOBS);

/// What changed from V8 10.2 to 10.8.
const SINCE_10_8: [Adapter; 15] = [
    ISOLATE,
    SERIALIZER,
    SERIALIZER_END,
    DESERIALIZER,
    DESERIALIZER_END,
    missing(
        "_ZN2v815ValueSerializer8Delegate16GetSharedValueIdEPNS_7IsolateENS_5LocalINS_5ValueEEE",
        "relink_unit_no_shared_id",
        UNUSED_DELEGATE,
    ),
    missing(
        "_ZNK2v815ValueSerializer8Delegate20SupportsSharedValuesEv",
        "relink_unit_no_shared_values",
        UNUSED_DELEGATE,
    ),
    missing(
        "_ZN2v817ValueDeserializer8Delegate20GetSharedValueFromIdEPNS_7IsolateEj",
        "relink_unit_no_shared_value",
        UNUSED_DELEGATE,
    ),
    missing(
        "_ZNK2v817ValueDeserializer8Delegate20SupportsSharedValuesEv",
        "relink_unit_no_shared_values",
        UNUSED_DELEGATE,
    ),
    missing("_ZN2v87Isolate18SetOOMErrorHandlerEPFvPKcbE", "relink_unit_oom_handler", OOM),
    MODULE_FIELD,
    SCRIPT_FIELD,
    JOB_HANDLE,
    INSPECTOR_OF,
    C_FUNCTION_INFO,
];

/// What changed from V8 10.8 to 11.3.
const SINCE_11_3: [Adapter; 1] = [missing(
    "_ZN2v815SnapshotCreatorC1EPNS_7IsolateEPKlPNS_11StartupDataE",
    "relink_unit_snapshot_creator",
    SNAPSHOT,
)];

/// What changed from V8 11.3 to 11.8.
const SINCE_11_8: [Adapter; 3] = [
    missing("_ZN2v86Object16SetInternalFieldEiNS_5LocalINS_5ValueEEE", "relink_unit_internal_field", DATA),
    missing(
        "_ZN2v812api_internal18GlobalizeReferenceEPNS_8internal7IsolateEPm",
        "relink_unit_globalize",
        "V8 11.8: the reference to be made strong is passed by value",
    ),
    missing(
        "_ZN2v813CFunctionInfoC2ERKNS_9CTypeInfoEjPS2_",
        "relink_unit_c_function_info",
        "V8 11.8: fast API calls may pass integers of 64 bits in two ways",
    ),
];
const DATA: &str = "V8 11.8: internal fields hold any data";

/// What changed from V8 11.8 to 12.4.
const SINCE_12_4: [Adapter; 26] = [
    always("_ZNK2v812ScriptOrigin24VerifyHostDefinedOptionsEv", "relink_unit_nothing", ORIGIN),
    always(
        "_ZN2v86Script7CompileENS_5LocalINS_7ContextEEENS1_INS_6StringEEEPNS_12ScriptOriginE",
        "relink_unit_compile",
        ORIGIN,
    ),
    missing(
        "_ZN2v87Context3NewEPNS_7IsolateEPNS_22ExtensionConfigurationENS_10MaybeLocalINS_14ObjectTemplateEEENS5_INS_5ValueEEENS_33DeserializeInternalFieldsCallbackEPNS_14MicrotaskQueueE",
        "relink_unit_context",
        MORE,
    ),
    missing(
        "_ZN2v87Context12FromSnapshotEPNS_7IsolateEmNS_33DeserializeInternalFieldsCallbackEPNS_22ExtensionConfigurationENS_10MaybeLocalINS_5ValueEEEPNS_14MicrotaskQueueE",
        "relink_unit_context_from_snapshot",
        MORE,
    ),
    missing("_ZN2v820EscapableHandleScopeC1EPNS_7IsolateE", "relink_unit_escapable_scope", ESCAPE),
    missing("_ZN2v820EscapableHandleScope6EscapeEPm", "relink_unit_escape", ESCAPE),
    missing("_ZN2v89Exception5ErrorENS_5LocalINS_6StringEEE", "relink_unit_error", MORE),
    missing("_ZN2v89Exception10RangeErrorENS_5LocalINS_6StringEEE", "relink_unit_range_error", MORE),
    missing("_ZN2v89Exception11SyntaxErrorENS_5LocalINS_6StringEEE", "relink_unit_syntax_error", MORE),
    missing("_ZN2v89Exception9TypeErrorENS_5LocalINS_6StringEEE", "relink_unit_type_error", MORE),
    missing("_ZN2v87Isolate23SafeForTerminationScopeC1EPS0_", "relink_unit_nothing", TERMINATION),
    missing("_ZN2v87Isolate23SafeForTerminationScopeD1Ev", "relink_unit_nothing", TERMINATION),
    missing(
        "_ZN2v86Module21CreateSyntheticModuleEPNS_7IsolateENS_5LocalINS_6StringEEERKSt6vectorIS5_SaIS5_EEPFNS_10MaybeLocalINS_5ValueEEENS3_INS_7ContextEEENS3_IS0_EEE",
        "relink_unit_synthetic_module",
        "V8 12.4: the names of exports come as a span",
    ),
    missing(
        "_ZNK2v813ModuleRequest19GetImportAssertionsEv",
        "relink_unit_import_assertions",
        "V8 12.4: import assertions are called attributes",
    ),
    missing(
        "_ZN2v814ObjectTemplate11SetAccessorENS_5LocalINS_4NameEEEPFvS3_RKNS_20PropertyCallbackInfoINS_5ValueEEEEPFvS3_NS1_IS5_EERKNS4_IvEEESB_NS_13AccessControlENS_17PropertyAttributeENS_14SideEffectTypeESJ_",
        "relink_unit_set_accessor",
        ACCESS,
    ),
    missing(
        "_ZN2v814ObjectTemplate11SetAccessorENS_5LocalINS_6StringEEEPFvS3_RKNS_20PropertyCallbackInfoINS_5ValueEEEEPFvS3_NS1_IS5_EERKNS4_IvEEESB_NS_13AccessControlENS_17PropertyAttributeENS_14SideEffectTypeESJ_",
        "relink_unit_set_accessor",
        ACCESS,
    ),
    missing(
        "_ZN2v88Template19SetAccessorPropertyENS_5LocalINS_4NameEEENS1_INS_16FunctionTemplateEEES5_NS_17PropertyAttributeENS_13AccessControlE",
        "relink_unit_set_accessor_property",
        ACCESS,
    ),
    missing(
        "_ZN2v815SnapshotCreator10AddContextENS_5LocalINS_7ContextEEENS_31SerializeInternalFieldsCallbackE",
        "relink_unit_snapshot_context",
        MORE,
    ),
    missing(
        "_ZN2v815SnapshotCreator17SetDefaultContextENS_5LocalINS_7ContextEEENS_31SerializeInternalFieldsCallbackE",
        "relink_unit_snapshot_default_context",
        MORE,
    ),
    missing("_ZNK2v85Value7IsFalseEv", "relink_unit_is_false", "V8 12.4: inline, with a function of another name"),
    missing("_ZNK2v85Value6IsTrueEv", "relink_unit_is_true", "V8 12.4: inline, with a function of another name"),
    missing(
        "_ZN2v86Module30GetStalledTopLevelAwaitMessageEPNS_7IsolateE",
        "relink_unit_stalled_modules",
        "V8 12.4: modules and messages come in two lists",
    ),
    always("_ZNK2v87Message15GetScriptOriginEv", "relink_unit_message_origin", ORIGIN),
    always("_ZNK2v88Function15GetScriptOriginEv", "relink_unit_function_origin", ORIGIN),
    always(
        "_ZN2v814ObjectTemplate10SetHandlerERKNS_33NamedPropertyHandlerConfigurationE",
        "relink_unit_named_handler",
        FLAGS,
    ),
    always(
        "_ZN2v814ObjectTemplate10SetHandlerERKNS_35IndexedPropertyHandlerConfigurationE",
        "relink_unit_indexed_handler",
        FLAGS,
    ),
];
const MORE: &str = "V8 12.4: the function has more arguments, which have defaults in its headers";
const ESCAPE: &str = "V8 12.4: the class has a base, and Escape must not be given an empty handle";
const TERMINATION: &str = "V8 12.4: the scope is gone; executions may always be terminated";
pub(super) const ACCESS: &str = "V8 12.4: access control of accessors is gone";
const ORIGIN: &str = "V8 12.4: a ScriptOrigin has lost its first field";
const FLAGS: &str = "V8 12.4: flags of property handlers have other numbers";

/// What changed from V8 12.4 to 12.9.
const SINCE_12_9: [Adapter; 12] = [
    always("_ZN2v814ObjectTemplate10SetHandlerERKNS_33NamedPropertyHandlerConfigurationE", "relink_unit_named_interceptors", INTERCEPT),
    always("_ZN2v814ObjectTemplate10SetHandlerERKNS_35IndexedPropertyHandlerConfigurationE", "relink_unit_indexed_interceptors", INTERCEPT),
    missing("_ZN2v814ObjectTemplate11SetAccessorENS_5LocalINS_4NameEEEPFvS3_RKNS_20PropertyCallbackInfoINS_5ValueEEEEPFvS3_NS1_IS5_EERKNS4_IvEEESB_NS_13AccessControlENS_17PropertyAttributeENS_14SideEffectTypeESJ_", "relink_unit_template_accessor", ACCESSORS),
    missing("_ZN2v814ObjectTemplate11SetAccessorENS_5LocalINS_6StringEEEPFvS3_RKNS_20PropertyCallbackInfoINS_5ValueEEEEPFvS3_NS1_IS5_EERKNS4_IvEEESB_NS_13AccessControlENS_17PropertyAttributeENS_14SideEffectTypeESJ_", "relink_unit_template_accessor", ACCESSORS),
    missing("_ZN2v86Object11SetAccessorENS_5LocalINS_7ContextEEENS1_INS_4NameEEEPFvS5_RKNS_20PropertyCallbackInfoINS_5ValueEEEEPFvS5_NS1_IS7_EERKNS6_IvEEENS_10MaybeLocalIS7_EENS_13AccessControlENS_17PropertyAttributeENS_14SideEffectTypeESN_", "relink_unit_object_accessor", ACCESSORS),
    missing("_ZN2v811ArrayBuffer3NewEPNS_7IsolateEm", "relink_unit_array_buffer", MODE),
    missing("_ZN2v811ArrayBuffer15NewBackingStoreEPNS_7IsolateEm", "relink_unit_backing_store", MODE),
    missing("_ZN2v811ArrayBuffer25NewBackingStoreForNodeLTSEPNS_7IsolateEm", "relink_unit_backing_store_or_null", MODE),
    missing("_ZN2v86String9Utf8ValueC1EPNS_7IsolateENS_5LocalINS_5ValueEEE", "relink_unit_utf8_value", "V8 12.9: the constructor has more arguments, which have defaults in its headers"),
    always("_ZN2v812HeapProfiler29AddBuildEmbedderGraphCallbackEPFvPNS_7IsolateEPNS_13EmbedderGraphEPvES5_", "relink_unit_add_graph_builder", GRAPH),
    always("_ZN2v812HeapProfiler32RemoveBuildEmbedderGraphCallbackEPFvPNS_7IsolateEPNS_13EmbedderGraphEPvES5_", "relink_unit_remove_graph_builder", GRAPH),
    missing("_ZN2v86Module17InstantiateModuleENS_5LocalINS_7ContextEEEPFNS_10MaybeLocalIS0_EES3_NS1_INS_6StringEEENS1_INS_10FixedArrayEEENS1_IS0_EEE", "relink_unit_instantiate", "V8 13.0: modules may import sources, by one more callback"),
];
const INTERCEPT: &str = "V8 12.9: an interceptor says by its result whether it intercepts";
const ACCESSORS: &str =
    "V8 12.9: objects have properties that look like data, and templates have pairs of functions";
pub(super) const MODE: &str = "V8 12.9: whether memory is made zero is an argument";
const GRAPH: &str = "V8 12.9: graphs of heap snapshots have one virtual function more";

pub(super) const FAST_ARGUMENTS: &str =
    "V8 12.9: fast API calls have other options, and later no types of arrays; where there are some, the slow function is called";

/// What changed from V8 12.9 to 13.6.
const SINCE_13_6: [Adapter; 7] = [
    always("_ZN2v811ArrayBuffer9Allocator19NewDefaultAllocatorEv", "relink_unit_default_allocator", "V8 13.6: allocators have other virtual functions"),
    missing("_ZN2v812BackingStore10ReallocateEPNS_7IsolateESt10unique_ptrIS0_St14default_deleteIS0_EEm", "relink_unit_reallocate", "V8 13.6: a backing store keeps its size; another one is made"),
    always("_ZN2v86String18NewExternalOneByteEPNS_7IsolateEPNS0_29ExternalOneByteStringResourceE", "relink_unit_one_byte_string", EXTERNAL),
    always("_ZN2v86String18NewExternalTwoByteEPNS_7IsolateEPNS0_22ExternalStringResourceE", "relink_unit_two_byte_string", EXTERNAL),
    always("_ZNK2v86String32GetExternalOneByteStringResourceEv", "relink_unit_one_byte_resource", EXTERNAL),
    always("_ZNK2v86String29GetExternalStringResourceSlowEv", "relink_unit_two_byte_resource", EXTERNAL),
    missing("_ZN2v87Isolate22SetAtomicsWaitCallbackEPFvNS0_16AtomicsWaitEventENS_5LocalINS_17SharedArrayBufferEEEmldPNS0_21AtomicsWaitWakeHandleEPvES7_", "relink_unit_no_atomics_trace", NO_ATOMICS_TRACE),
];
const EXTERNAL: &str = "V8 13.6: external strings have other virtual functions";

/// What changed from V8 13.6 to 14.1.
const SINCE_14_1: [Adapter; 9] = [
    always(
        "_ZN2v87Isolate32AddMessageListenerWithErrorLevelEPFvNS_5LocalINS_7MessageEEENS1_INS_5ValueEEEEiS5_",
        "relink_unit_message_listener",
        "V8 14.1: heaps are only written to where their isolate is entered",
    ),
    missing("_ZN2v811HandleScopeC1EPNS_7IsolateE", "relink_unit_handle_scope", SCOPE),
    missing("_ZN2v811HandleScopeD1Ev", "relink_unit_handle_scope_end", SCOPE),
    missing("_ZN2v811HandleScopeD2Ev", "relink_unit_handle_scope_end", SCOPE),
    missing("_ZN2v811HandleScope12CreateHandleEPNS_8internal7IsolateEm", "relink_unit_create_handle", SCOPE),
    missing(
        "_ZN2v84JSON5ParseENS_5LocalINS_7ContextEEENS1_INS_6StringEEE",
        "relink_unit_json_parse",
        "V8 14.1: the function has one more argument, which has a default in its headers",
    ),
    always("_ZN2v87Isolate12CreateParamsC1Ev", "relink_unit_params", PARAMS),
    always("_ZN2v87Isolate12CreateParamsD1Ev", "relink_unit_params_end", PARAMS),
    always("_ZN2v819ResourceConstraints17ConfigureDefaultsEmm", "relink_unit_configure_defaults", PARAMS),
];
const SCOPE: &str = "V8 14.1: scopes of handles are inline, on numbers of its own";
pub(super) const PARAMS: &str = "V8 14.1: limits of an isolate have one field more, before the last";

/// What changed from V8 14.1 to 14.6.
const SINCE_14_6: [Adapter; 22] = [
    missing("_ZN2v812HeapProfiler16TakeHeapSnapshotEPNS_15ActivityControlEPNS0_18ObjectNameResolverEbb", "relink_unit_heap_snapshot", RESOLVER),
    missing("_ZN2v813WasmStreaming6FinishEb", "relink_unit_wasm_finish", RENAMED),
    missing("_ZN2v86Object10GetIsolateEv", "relink_unit_isolate_of", OWNER),
    missing("_ZN2v86Object12GetPrototypeEv", "relink_unit_prototype", RENAMED),
    missing("_ZN2v86Object12SetPrototypeENS_5LocalINS_7ContextEEENS1_INS_5ValueEEE", "relink_unit_set_prototype", RENAMED),
    missing("_ZN2v86Object32SetAlignedPointerInInternalFieldEiPv", "relink_unit_set_aligned_pointer", TAGS),
    missing("_ZN2v86Object38SlowGetAlignedPointerFromInternalFieldEi", "relink_unit_aligned_pointer", TAGS),
    missing("_ZN2v87Context10GetIsolateEv", "relink_unit_isolate_of", OWNER),
    missing("_ZN2v87Context31SetAlignedPointerInEmbedderDataEiPv", "relink_unit_set_embedder_pointer", TAGS),
    missing("_ZN2v88External3NewEPNS_7IsolateEPv", "relink_unit_external", TAGS),
    always("_ZN2v88Function3NewENS_5LocalINS_7ContextEEEPFvRKNS_20FunctionCallbackInfoINS_5ValueEEEENS1_IS5_EEiNS_19ConstructorBehaviorENS_14SideEffectTypeE", "relink_unit_called_function", FRAME),
    missing("_ZNK2v810FixedArray3GetENS_5LocalINS_7ContextEEEi", "relink_unit_fixed_array_get", RENAMED),
    missing("_ZNK2v86String10Utf8LengthEPNS_7IsolateE", "relink_unit_utf8_length", RENAMED),
    missing("_ZNK2v86String12WriteOneByteEPNS_7IsolateEPhiii", "relink_unit_write_one_byte", RENAMED),
    missing("_ZNK2v86String5WriteEPNS_7IsolateEPtiii", "relink_unit_write", RENAMED),
    missing("_ZNK2v86String9WriteUtf8EPNS_7IsolateEPciPii", "relink_unit_write_utf8", RENAMED),
    missing("_ZNK2v87Message10GetIsolateEv", "relink_unit_isolate_of", OWNER),
    missing("_ZNK2v88External5ValueEv", "relink_unit_external_value", TAGS),
    always("_ZN2v816FunctionTemplate3NewEPNS_7IsolateEPFvRKNS_20FunctionCallbackInfoINS_5ValueEEEENS_5LocalIS4_EENSA_INS_9SignatureEEEiNS_19ConstructorBehaviorENS_14SideEffectTypeEPKNS_9CFunctionEttt", "relink_unit_called_template", FRAME),
    always("_ZN2v87Isolate24SetWasmStreamingCallbackEPFvRKNS_20FunctionCallbackInfoINS_5ValueEEEE", "relink_unit_wasm_streaming", FRAME),
    always("_ZN2v814HeapStatisticsC1Ev", "relink_unit_heap_statistics", STATISTICS),
    always("_ZN2v87Isolate17GetHeapStatisticsEPNS_14HeapStatisticsE", "relink_unit_get_heap_statistics", STATISTICS),
];
pub(super) const FRAME: &str =
    "V8 14.6: what V8 tells of a call is in its stack frame, otherwise for each kind of call";
const TAGS: &str = "V8 14.6: pointers of the embedder's have a tag";
const OWNER: &str = "V8 14.6: the isolate of an object is the one that is entered";
const RENAMED: &str = "V8 14.6: the function has another name or other arguments";
pub(super) const RESOLVER: &str = "V8 14.6: who gives names to contexts is asked, and nobody about objects";
const STATISTICS: &str = "V8 14.6: statistics have one field more, behind the others";
