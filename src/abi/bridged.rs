//! Differences between two V8s that code of ours stands between, so that a guest does not feel them.

use super::catalogue::{known, known_abis, Facts};
use super::compare::{breaking, changes, Change};
use super::learned::layers_of;
use super::version::V8Version;

/// Which differences a rule holds for on a V8 that was learned: the layers of its unit were written for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// The one that the layers' own V8 has.
    There,
    /// Any, where that V8 differs in the same fact or its headers are without it: classes of the unit stand between, made from the
    /// host's own headers.
    Compiled,
    /// Any.
    Always,
}

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
    /// Which differences it holds for on a V8 that was learned.
    pub holds: Holds,
}

impl Bridged {
    const fn compiled(self) -> Self {
        Self { holds: Holds::Compiled, ..self }
    }

    const fn always(self) -> Self {
        Self { holds: Holds::Always, ..self }
    }
}

/// All of them, for neutral guests. An entry goes in together with the code that bridges it and a run of Node on such a pair.
pub const BRIDGED: &[Bridged] = &[
    of_18("vtable v8::Platform", "adapter unit: Node's platform in front of the host's V8", None).compiled(),
    of_18("vtable v8::ValueSerializer::Delegate", "adapter unit: delegates of serializers", None).compiled(),
    of_18("vtable v8::ValueDeserializer::Delegate", "adapter unit: delegates of serializers", None).compiled(),
    of_18("vtable v8_inspector::V8InspectorClient", "adapter unit: the inspector and its client", None).compiled(),
    of_18("vtable v8_inspector::V8InspectorSession", "added behind what the guest calls", None),
    of_18("vtable v8_inspector::V8Inspector", "adapter unit: the inspector and its client", None).compiled(),
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
    of_18("vtable v8::TaskRunner", "adapter unit: Node's platform in front of the host's V8", None).compiled(),
    of_18("vtable v8::EmbedderGraph::Node", "the rewritten headers have the function that was added at the end", None),
    of_18("vtable v8::MeasureMemoryDelegate", "Node has V8 make it", None),
    of_18("enum v8::PropertyHandlerFlags::", "adapter unit: flags of property handlers", None),
    of_18("layout v8::FunctionCallbackInfo<v8::Value>", "the length is longer, and the guest reads the lower half of it", None),
    of_18("layout v8::PropertyCallbackInfo<", "the layout table says where its words are", None),
    of_18("layout v8::String::Utf8Value", "the length is longer, and the guest reads the lower half of it", None),
    of_18("vtable v8::EmbedderGraph", "adapter unit: graphs of heap snapshots", None).compiled(),
    of_18("vtable v8::ArrayBuffer::Allocator", "adapter unit: allocators of array buffers", None).compiled(),
    of_18("vtable v8::String::External", "adapter unit: external strings", None).compiled(),
    of_18("constant v8::internal::kExternalPointerTagShift", "read with the sandbox only", None).always(),
    of_20("layout v8::HeapProfiler::HeapSnapshotOptions", "up to V8 14.1 the guest's has room for more, which is 0: V8's own choice; then an adapter unit passes options one by one"),
    of_20("layout v8::CppHeapCreateParams", "adapter unit: the heap of C++ objects"),
    of_20("constant cppgc::", "no object of Node's is on a heap of cppgc"),
    of_20("constant v8::internal::kExternalPointer", "read with the sandbox only").always(),
    of_20("constant v8::internal::Internals::kExternalPointerTableB", "read with the sandbox only").always(),
    of_20("enum v8::ScriptCompiler::CompileOptions::", "Node has none of those that were renumbered"),
    of_20("vtable cppgc::internal::RootVisitor", "no object of Node's is on a heap of cppgc"),
    of_20("vtable v8::Context::DeepFreezeDelegate", "Node neither implements nor uses it").always(),
    of_20("layout v8_inspector::V8StackFrame", "Node neither implements nor uses it").always(),
    of_24("vtable v8::Platform", "adapter unit: Node's platform in front of the host's V8").compiled(),
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
    of_24("constant v8::internal::kAny", "read with the sandbox only").always(),
    of_24("layout cppgc::internal::KeepLocationPolicy", UNUSED).always(),
    of_24("layout v8::CpuProfileNode::LineTick", UNUSED).always(),
    of_24("layout v8::Extension", UNUSED).always(),
    of_24("enum v8::PagePermissions::", UNUSED).always(),
    of_24("vtable v8::PageAllocator", UNUSED).always(),
    of_24("vtable v8::VirtualAddressSpace", UNUSED).always(),
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
    Bridged { guests: &[(10, 2), (11, 3), (12, 4)], hosts: HOSTS_OF_18, fact, by, lost, holds: Holds::There }
}

/// What guests of Node 18 feel on the V8 of its first releases.
const fn before_18(fact: &'static str) -> Bridged {
    let by = "adapter unit: the inspector and its client; 10.1 has the slots of 10.0";
    Bridged { guests: &[(10, 2)], hosts: &[(10, 1)], fact, by, lost: None, holds: Holds::There }
}

/// What Node 18's V8 does not have, or not so.
const fn of_20(fact: &'static str, by: &'static str) -> Bridged {
    Bridged { guests: &[(11, 3), (12, 4)], hosts: HOSTS_OF_20, fact, by, lost: None, holds: Holds::There }
}

/// What Node 20 does not have, or does not use.
const fn of_22(fact: &'static str, by: &'static str) -> Bridged {
    Bridged { guests: &[(12, 4)], hosts: HOSTS_OF_22, fact, by, lost: None, holds: Holds::There }
}

/// What guests of Node 24 feel.
const fn of_24(fact: &'static str, by: &'static str) -> Bridged {
    Bridged { guests: &[(13, 6)], hosts: &[(14, 1), (14, 6)], fact, by, lost: None, holds: Holds::There }
}

const UNUSED: &str = "Node neither implements nor uses it";

const fn unused(fact: &'static str) -> Bridged {
    of_18(fact, UNUSED, None).always()
}

/// The rules for a guest on a host.
pub struct Rules<'a> {
    table: &'a [Bridged],
    guest: V8Version,
    /// Major and minor version of the V8 whose rules hold.
    layers: (u32, u32),
    /// How that V8 differs from the guest's, where it is not the host's own.
    there: Option<There>,
}

/// The V8 that layers were written for.
struct There {
    /// How it differs from the guest's. Where its headers are without a fact, it has no value.
    changes: Vec<Change>,
    /// Whether it is of the host's own line.
    is_own: bool,
}

impl<'a> Rules<'a> {
    /// Those of `table` for the V8s of a guest and of a host.
    pub fn of(table: &'a [Bridged], guest: V8Version, host: V8Version) -> Self {
        match layers_of(host) {
            Some(layers) => Self::with_layers(table, guest, host, layers),
            None => Self { table, guest, layers: (host.major, host.minor), there: None },
        }
    }

    /// Those for a V8 that was learned, whose unit has the layers up to another one.
    pub fn with_layers(table: &'a [Bridged], guest: V8Version, host: V8Version, layers: (u32, u32)) -> Self {
        let is_layers = |v8: V8Version| (v8.major, v8.minor) == layers;
        let own = known_abis(guest).into_iter().next();
        let other = known().iter().rev().find(|abi| !abi.is_learned() && is_layers(abi.last));
        let changes = own.zip(other).map(|(own, other)| changes(own.facts(), other.facts()));
        let there = There { changes: changes.unwrap_or_default(), is_own: is_layers(host) };
        Self { table, guest, layers, there: Some(there) }
    }

    /// What stands between the two sides of a difference.
    pub fn bridge(&self, change: &Change) -> Option<Bridged> {
        let guest = (self.guest.major, self.guest.minor);
        let pair = |b: &&Bridged| b.guests.contains(&guest) && b.hosts.contains(&self.layers);
        let of_this = |b: &&Bridged| change.fact.starts_with(b.fact) && self.holds(b, change);
        self.table.iter().filter(pair).find(of_this).copied()
    }

    fn holds(&self, rule: &Bridged, change: &Change) -> bool {
        let Some(there) = &self.there else { return true };
        let same = |other: &&Change| other.fact == change.fact;
        match (rule.holds, there.changes.iter().find(same)) {
            (Holds::Always, _) | (Holds::Compiled, Some(_)) => true,
            (Holds::There, Some(other)) if other.host.is_some() => other.host == change.host,
            (Holds::There, Some(_)) => there.is_own,
            (_, None) => false,
        }
    }

    /// What of a learned V8's facts nothing stands between, but for constants, which a neutral guest's table may cover: the differences
    /// that a guest of this line would feel.
    pub fn unanswered(&self, host: &Facts) -> Vec<Change> {
        let own = known_abis(self.guest).into_iter().next();
        let felt = own.map(|own| breaking(own.facts(), host)).unwrap_or_default();
        let is_constant =
            |change: &Change| change.fact.starts_with("constant ") || change.fact.starts_with("offset ");
        felt.into_iter().filter(|change| !is_constant(change) && self.bridge(change).is_none()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(fact: &str, host: &str) -> Change {
        Change { fact: fact.into(), guest: Some("here".into()), host: Some(host.into()), harmless: None }
    }

    #[test]
    fn on_a_learned_v8_a_rule_holds_for_what_its_layers_answer() {
        let guest = V8Version::new(10, 2, 154, 26);
        let [old, new] = [(12, 9), (13, 6)]
            .map(|layers| Rules::with_layers(BRIDGED, guest, V8Version::new(13, 1, 0, 0), layers));
        let answered = |rules: &Rules, fact: &str, host: &str| rules.bridge(&change(fact, host)).is_some();
        // Since 13.6 a class of the unit's stands between; before, V8 calls the guest's own.
        let strings = "vtable v8::String::ExternalStringResource";
        assert!(!answered(&old, strings, "9 slots") && answered(&new, strings, "9 slots"));
        // Room for a structure is for the one that was seen.
        let source = "layout v8::ScriptCompiler::Source";
        let seen = old
            .there
            .iter()
            .flat_map(|there| &there.changes)
            .find(|c| c.fact == source)
            .and_then(|c| c.host.clone());
        assert!(answered(&old, source, &seen.expect("it differs")) && !answered(&old, source, "999 bytes"));
        assert!(answered(&old, "vtable v8::PageAllocator", "99 slots"));
        // A V8 that is built in is not asked what it is like.
        let own = Rules::of(BRIDGED, guest, V8Version::new(12, 9, 202, 28));
        assert!(answered(&own, source, "999 bytes"));
    }

    #[test]
    fn a_v8_with_the_facts_of_its_layers_leaves_nothing_unanswered() {
        let guest = V8Version::new(10, 2, 154, 26);
        for host in
            known().iter().filter(|abi| !abi.is_learned() && (abi.last.major, abi.last.minor) > (10, 2))
        {
            let layers = (host.last.major, host.last.minor);
            if BRIDGED.iter().any(|rule| rule.guests.contains(&(10, 2)) && rule.hosts.contains(&layers)) {
                let left = Rules::with_layers(BRIDGED, guest, host.last, layers).unanswered(host.facts());
                assert!(left.is_empty(), "{}: {left:?}", host.name());
            }
        }
    }
}
