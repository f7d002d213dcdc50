//! Differences between two V8s that code of ours stands between, so that a guest does not feel them.

use super::compare::Change;
use super::learned::rules_of;
use super::version::V8Version;

/// One such difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bridged {
    /// Major and minor versions of the V8s that the guests were compiled for.
    pub guests: &'static [(u32, u32)],
    /// Major and minor versions of the hosts' V8s.
    pub hosts: &'static [(u32, u32)],
    /// How the fact's name begins, as [`Change::fact`] has it.
    pub fact: &'static str,
    /// The function of ours that stands between.
    pub by: &'static str,
    /// What the guest cannot do for it; nothing if nothing is lost.
    pub lost: Option<&'static str>,
}

/// All of them, for neutral guests. An entry goes in together with the code that bridges it and a run of Node on such a pair.
pub const BRIDGED: &[Bridged] = &[
    of_18("vtable v8::Platform", "adapter unit: Node's platform in front of the host's V8", None),
    of_18("vtable v8::ValueSerializer::Delegate", "adapter unit: delegates of serializers", None),
    of_18("vtable v8::ValueDeserializer::Delegate", "adapter unit: delegates of serializers", None),
    of_18("vtable v8_inspector::V8InspectorClient", "adapter unit: the inspector and its client", None),
    of_18("vtable v8_inspector::V8InspectorSession", "added behind what the guest calls", None),
    of_18("vtable v8_inspector::V8Inspector", "adapter unit: the inspector and its client", None),
    of_18("vtable v8_inspector::V8StackTrace", "added behind what the guest calls", None),
    of_18(
        "layout v8::Isolate::CreateParams",
        "adapter unit: parameters are the host's own; until 13.6 what both have is in the same places",
        None,
    ),
    of_18("layout v8::ResourceConstraints", "adapter unit: limits are taken field by field", None),
    of_18(
        "layout v8::ScriptCompiler::Source",
        "the guest's has room for more; what both have is in the same places",
        None,
    ),
    of_18("constant v8::kTypeInfo", FAST, None),
    of_18("enum v8::CTypeInfo::", FAST, None),
    of_18("layout v8::FastApiCallbackOptions", FAST, None),
    of_18(
        "interfaces of v8-inspector.h",
        "adapter unit: the inspector and its client; 10.8 has the slots of 11.3, and its connect() takes one argument less",
        None,
    ),
    before_18("interfaces of v8-inspector.h"),
    before_18("vtable v8_inspector::V8InspectorClient"),
    before_18("vtable v8_inspector::V8Inspector"),
    of_18("layout v8::ScriptOrigin", "adapter unit: the field that is gone is added again", None),
    of_18("layout v8::CFunctionInfo", FAST, None),
    of_18("layout v8::HeapStatistics", "adapter unit: the guest is given what it has room for", None),
    of_18("layout v8::TryCatch", "only V8's own functions read its bits", None),
    of_18("vtable v8::TaskRunner", "adapter unit: Node's platform in front of the host's V8", None),
    of_18("vtable v8::EmbedderGraph::Node", "the rewritten headers have the function that was added at the end", None),
    of_18("vtable v8::MeasureMemoryDelegate", "Node has V8 make it", None),
    of_18("enum v8::PropertyHandlerFlags::", "adapter unit: flags of property handlers", None),
    of_18("layout v8::FunctionCallbackInfo<v8::Value>", "the length is longer, and the guest reads the lower half of it", None),
    of_18("layout v8::PropertyCallbackInfo<", "the layout table says where its words are", None),
    of_18("layout v8::String::Utf8Value", "the length is longer, and the guest reads the lower half of it", None),
    of_18("vtable v8::EmbedderGraph", "adapter unit: graphs of heap snapshots", None),
    of_18("vtable v8::ArrayBuffer::Allocator", "adapter unit: allocators of array buffers", None),
    of_18("vtable v8::String::External", "adapter unit: external strings", None),
    of_18("constant v8::internal::kExternalPointerTagShift", "read with the sandbox only", None),
    of_20("layout v8::HeapProfiler::HeapSnapshotOptions", "the guest's has room for more, which is 0: V8's own choice"),
    of_20("layout v8::CppHeapCreateParams", "adapter unit: the heap of C++ objects"),
    of_20("constant cppgc::", "no object of Node's is on a heap of cppgc"),
    of_20("constant v8::internal::kExternalPointer", "read with the sandbox only"),
    of_20("constant v8::internal::Internals::kExternalPointerTableB", "read with the sandbox only"),
    of_20("enum v8::ScriptCompiler::CompileOptions::", "Node has none of those that were renumbered"),
    of_20("vtable cppgc::internal::RootVisitor", "no object of Node's is on a heap of cppgc"),
    of_20("vtable v8::Context::DeepFreezeDelegate", "Node neither implements nor uses it"),
    of_20("layout v8_inspector::V8StackFrame", "Node neither implements nor uses it"),
    of_24("vtable v8::Platform", "adapter unit: Node's platform in front of the host's V8"),
    of_24("layout v8::SourceLocation", "adapter unit: Node is told of no places in sources, and tells none"),
    of_24("vtable cppgc::internal::RootVisitor", "the same slots; Node tells it of no places in sources"),
    of_24("vtable cppgc::Visitor", "the layout table says which slot references to JavaScript's objects go to"),
    of_24("vtable v8::JSVisitor", "the layout table says which slot references to JavaScript's objects go to"),
    of_24("interfaces of v8-inspector.h", "adapter unit: the inspector and its client"),
    of_24("layout v8::Isolate::CreateParams", "adapter unit: parameters are the host's own"),
    of_24("layout v8::ResourceConstraints", "adapter unit: limits are taken field by field"),
    of_24("layout v8::HeapStatistics", "adapter unit: the guest is given what it has room for"),
    of_24("layout v8::HeapProfiler::HeapSnapshotOptions", "adapter unit: options are passed one by one"),
    of_24("layout v8::CpuProfilingOptions", "adapter unit: options are taken field by field"),
    of_24("layout v8::AllocationProfile::Sample", "adapter unit: samples are taken field by field"),
    of_24("layout v8::FunctionCallbackInfo<v8::Value>", "adapter unit: the guest is given words of ours"),
    of_24("layout v8::PropertyCallbackInfo<", "adapter unit: the guest is given words of ours"),
    of_24("layout v8::TryCatch", "only V8's own functions read its bits"),
    of_24("enum v8::Intercepted::", "adapter unit: what interceptors say is translated"),
    of_24("enum v8::ModuleImportPhase::", "adapter unit: phases of imports are translated"),
    of_24("constant v8::internal::kAny", "read with the sandbox only"),
    of_24("layout cppgc::internal::KeepLocationPolicy", UNUSED),
    of_24("layout v8::CpuProfileNode::LineTick", UNUSED),
    of_24("layout v8::Extension", UNUSED),
    of_24("enum v8::PagePermissions::", UNUSED),
    of_24("vtable v8::PageAllocator", UNUSED),
    of_24("vtable v8::VirtualAddressSpace", UNUSED),
    of_22("layout cppgc::HeapStatistics", "adapter unit: the heap of C++ objects"),
    of_22("layout v8::SourceLocation", "adapter unit: Node's platform in front of the host's V8"),
    of_22("enum v8::Intercepted::", "adapter unit: interceptors of properties"),
    unused("layout cppgc::HeapStatistics"),
    unused("vtable cppgc::Platform"),
    unused("constant cppgc::internal::api_constants::"),
    unused("layout cppgc::internal::KeepLocationPolicy"),
    unused("layout v8::AllocationProfile::Sample"),
    unused("layout v8::CpuProfilingOptions"),
    unused("layout v8::Extension"),
    unused("enum v8::PagePermissions::"),
    unused("layout v8::CpuProfileNode::LineTick"),
    unused("layout v8::EmbedderRootsHandler"),
    unused("vtable v8::EmbedderRootsHandler"),
    unused("layout v8::SampleInfo"),
    unused("layout v8::ScriptCompiler::StreamedSource"),
    unused("layout v8::CppHeapCreateParams"),
    unused("layout v8::Isolate::DisallowJavascriptExecutionScope"),
    unused("layout v8::metrics::"),
    unused("layout v8_inspector::WebDriverValue"),
    unused("vtable cppgc::Visitor"),
    unused("vtable v8::JSVisitor"),
    unused("vtable v8::PageAllocator"),
    unused("vtable v8::VirtualAddressSpace"),
    unused("vtable v8::metrics::Recorder"),
    unused("enum v8::CrashKeyId::"),
    unused("enum v8::Intrinsic::"),
];

/// Hosts with an adapter unit for guests of V8 10.2.
const HOSTS_OF_18: &[(u32, u32)] = &[(10, 8), (11, 3), (11, 8), (12, 4), (12, 9), (13, 6), (14, 1), (14, 6)];
/// The same for guests of V8 11.3.
const HOSTS_OF_20: &[(u32, u32)] = &[(11, 8), (12, 4), (12, 9), (13, 6), (14, 1), (14, 6)];
/// The same for guests of V8 12.4.
const HOSTS_OF_22: &[(u32, u32)] = &[(12, 9), (13, 6), (14, 1), (14, 6)];
const FAST: &str =
    "adapter unit: V8 is told of fast functions in its own numbers, and of none that it would call otherwise";

/// What guests of Node 18 feel, and those of later Nodes if it is not older than they.
const fn of_18(fact: &'static str, by: &'static str, lost: Option<&'static str>) -> Bridged {
    Bridged { guests: &[(10, 2), (11, 3), (12, 4)], hosts: HOSTS_OF_18, fact, by, lost }
}

/// What guests of Node 18 feel on the V8 of its first releases.
const fn before_18(fact: &'static str) -> Bridged {
    let by = "adapter unit: the inspector and its client; 10.1 has the slots of 10.0";
    Bridged { guests: &[(10, 2)], hosts: &[(10, 1)], fact, by, lost: None }
}

/// What Node 18's V8 does not have, or not so.
const fn of_20(fact: &'static str, by: &'static str) -> Bridged {
    Bridged { guests: &[(11, 3), (12, 4)], hosts: HOSTS_OF_20, fact, by, lost: None }
}

/// What Node 20 does not have, or does not use.
const fn of_22(fact: &'static str, by: &'static str) -> Bridged {
    Bridged { guests: &[(12, 4)], hosts: HOSTS_OF_22, fact, by, lost: None }
}

/// What guests of Node 24 feel.
const fn of_24(fact: &'static str, by: &'static str) -> Bridged {
    Bridged { guests: &[(13, 6)], hosts: &[(14, 1), (14, 6)], fact, by, lost: None }
}

const UNUSED: &str = "Node neither implements nor uses it";

const fn unused(fact: &'static str) -> Bridged {
    of_18(fact, UNUSED, None)
}

/// What of `table` stands between the two sides of `change`.
pub fn bridge(table: &[Bridged], guest: V8Version, host: V8Version, change: &Change) -> Option<Bridged> {
    let host = rules_of(host);
    let pair = |b: &&Bridged| {
        b.guests.contains(&(guest.major, guest.minor)) && b.hosts.contains(&(host.major, host.minor))
    };
    table.iter().filter(pair).find(|b| change.fact.starts_with(b.fact)).copied()
}
