//! The gate's verdict for every pair of a Node line's V8 as the host and Node 18's and 20's as the guest, and that nothing of
//! what a guest feels can change unnoticed.

use relink::abi::catalogue::{known, known_abis, Facts, KnownAbi};
use relink::abi::compare::{breaking, Change};
use relink::abi::fingerprint::{CxxLibrary, Fingerprint};
use relink::abi::gate::{judge, Verdict};
use relink::abi::version::V8Version;
use std::collections::BTreeMap;

/// Node 18.20's V8.
const GUEST_18: &str = "10.2.154.26";
/// Node 20.20's.
const GUEST_20: &str = "11.3.244.8";

fn v8(version: &str) -> Fingerprint {
    Fingerprint {
        version: V8Version::parse(version),
        tagged_size: Some(8),
        smi_bits: Some(32),
        cxx: Some(CxxLibrary("libstdc++")),
        ..Fingerprint::default()
    }
}

fn abi(version: &str) -> &'static KnownAbi {
    let found = V8Version::parse(version).map(known_abis).unwrap_or_default();
    found.into_iter().next().unwrap_or_else(|| panic!("{version} is not in the catalogue"))
}

/// The facts that differ; none if the verdict is "identical".
fn differences(guest: &str, host: &str) -> Vec<Change> {
    match judge(&v8(guest), &v8(host)) {
        Verdict::Identical { .. } => Vec::new(),
        Verdict::Refused { differences, remedies } => {
            assert!(!remedies.is_empty(), "{guest} on {host}: no remedy");
            differences
        }
        Verdict::Bridgeable { .. } => panic!("{guest} on {host}: nothing is bridged yet"),
    }
}

const ROOTS: &str = "constant v8::internal::Internals::kIsolateRootsOffset";
const EMBEDDER: &str = "constant v8::internal::Internals::kIsolateEmbedderDataOffset";
const WEAK: &str = "constant v8::internal::Internals::kNodeStateMask";
const ODDBALL: &str = "constant v8::internal::Internals::kUndefinedOddballKind";
const FIELDS: &str = "offset of internal fields";
const PLATFORM: &str = "vtable v8::Platform";
const RUNNER: &str = "vtable v8::TaskRunner";
const DELEGATES: [&str; 2] =
    ["vtable v8::ValueSerializer::Delegate", "vtable v8::ValueDeserializer::Delegate"];
const SOURCE: &str = "layout v8::ScriptCompiler::Source";
const ORIGIN: &str = "layout v8::ScriptOrigin";
const PARAMS: &str = "layout v8::Isolate::CreateParams";
const CALLBACK: &str = "layout v8::PropertyCallbackInfo<v8::Value>";
const HANDLER_FLAGS: &str = "enum v8::PropertyHandlerFlags::kNonMasking";
const MEASURE: &str = "vtable v8::MeasureMemoryDelegate";
const GRAPH_NODE: &str = "vtable v8::EmbedderGraph::Node";
const GRAPH: &str = "vtable v8::EmbedderGraph";
const ALLOCATOR: &str = "vtable v8::ArrayBuffer::Allocator";
const STRINGS: &str = "vtable v8::String::ExternalStringResource";
const INSPECTOR: &str = "interfaces of v8-inspector.h";

/// Node's version, its V8's, and facts that must be among those that a guest for Node 18's V8 feels there. Established with
/// tables that were measured by other means: `abi_tables.rs`.
const HOSTS_FOR_18: &[(&str, &str, &[&str])] = &[
    ("16.20.2", "9.4.146.26", &[ROOTS, EMBEDDER, PLATFORM, SOURCE, DELEGATES[0], DELEGATES[1]]),
    ("18.0.0", "10.1.124.8", &[INSPECTOR]),
    ("18.4.0", "10.2.154.4", &[]),
    ("18.12.1", "10.2.154.15", &[]),
    ("18.20.8", "10.2.154.26", &[]),
    ("19.8.1", "10.8.168.25", &[ROOTS, EMBEDDER, WEAK, PLATFORM, DELEGATES[0], DELEGATES[1], PARAMS]),
    ("20.0.0", "11.3.244.4", &[ROOTS, EMBEDDER, WEAK, PLATFORM, DELEGATES[0], SOURCE]),
    ("20.20.2", "11.3.244.8", &[ROOTS, EMBEDDER, WEAK, PLATFORM, DELEGATES[0], SOURCE]),
    ("21.7.3", "11.8.172.17", &[ROOTS, EMBEDDER, SOURCE, MEASURE, GRAPH_NODE]),
    ("22.23.3", "12.4.254.21", &[ROOTS, ODDBALL, ORIGIN, RUNNER, HANDLER_FLAGS, MEASURE]),
    ("23.11.1", "12.9.202.28", &[ROOTS, FIELDS, ODDBALL, CALLBACK, GRAPH]),
    ("24.21.0", "13.6.233.17", &[ROOTS, FIELDS, CALLBACK, ALLOCATOR, STRINGS, GRAPH]),
    ("25.9.0", "14.1.146.11", &[ROOTS, FIELDS, CALLBACK, PARAMS, ALLOCATOR]),
    ("26.10.0", "14.6.202.34", &[ROOTS, FIELDS, ALLOCATOR, "layout v8::FunctionCallbackInfo<v8::Value>"]),
];

/// Likewise for a guest for Node 20's V8.
const HOSTS_FOR_20: &[(&str, &str, &[&str])] = &[
    ("16.20.2", "9.4.146.26", &[ROOTS, EMBEDDER, PLATFORM, SOURCE]),
    ("18.0.0", "10.1.124.8", &[ROOTS, EMBEDDER, PLATFORM]),
    ("18.20.8", "10.2.154.26", &[ROOTS, EMBEDDER, PLATFORM, SOURCE, PARAMS]),
    ("19.8.1", "10.8.168.25", &[ROOTS, EMBEDDER, PLATFORM, SOURCE]),
    ("20.0.0", "11.3.244.4", &[]),
    ("20.20.2", "11.3.244.8", &[]),
    ("21.7.3", "11.8.172.17", &[ROOTS, EMBEDDER, PLATFORM, MEASURE]),
    ("22.23.3", "12.4.254.21", &[ROOTS, ODDBALL, ORIGIN, RUNNER, SOURCE, PARAMS]),
    ("23.11.1", "12.9.202.28", &[ROOTS, FIELDS, ODDBALL, CALLBACK]),
    ("24.21.0", "13.6.233.17", &[ROOTS, FIELDS, CALLBACK, ALLOCATOR, STRINGS]),
    ("25.9.0", "14.1.146.11", &[ROOTS, FIELDS, CALLBACK, PARAMS]),
    ("26.10.0", "14.6.202.34", &[ROOTS, FIELDS, ALLOCATOR, STRINGS]),
];

fn check(guest: &str, hosts: &[(&str, &str, &[&str])]) {
    for (node, version, expected) in hosts {
        let found = differences(guest, version);
        let names: Vec<_> = found.iter().map(|c| c.fact.as_str()).collect();
        assert_eq!(names.is_empty(), expected.is_empty(), "{guest} on Node {node}: {names:#?}");
        for fact in *expected {
            assert!(names.contains(fact), "{guest} on Node {node}: not \"{fact}\" among {names:#?}");
        }
    }
}

#[test]
fn a_guest_for_node_18_on_every_line() {
    check(GUEST_18, HOSTS_FOR_18);
}

#[test]
fn a_guest_for_node_20_on_every_line() {
    check(GUEST_20, HOSTS_FOR_20);
}

/// Node 18.0's V8 inlines the same; only the inspector's interfaces (29 functions of a client, not 31) are not the same.
#[test]
fn only_the_inspector_separates_10_1_from_10_2() {
    let found = differences(GUEST_18, "10.1.124.8");
    assert_eq!(found.iter().map(|c| c.fact.as_str()).collect::<Vec<_>>(), [INSPECTOR]);
}

/// Two builds of 14.6.202.34 have layouts that differ: that version is not even identical to itself.
#[test]
fn a_version_of_two_layouts_is_refused() {
    let found = differences("14.6.202.34", "14.6.202.34");
    assert!(found.iter().any(|c| c.fact.contains("HeapSnapshotOptions")), "{found:?}");
    assert_eq!(V8Version::parse("14.6.202.34").map(|v| known_abis(v).len()), Some(2));
}

/// The numbers that crash when they are wrong, per line: roots, embedder data, node state mask, kind of undefined, internal
/// fields; sizes of CreateParams, Source and ScriptOrigin; slots of Platform and TaskRunner.
#[test]
fn the_numbers_that_matter_most() {
    let expected = [
        ("9.4.146.26", [112, 0, 7, 5, 24, 160, 56, 48, 18, 10]),
        ("10.2.154.26", [288, 224, 7, 5, 24, 160, 64, 48, 20, 10]),
        ("10.8.168.25", [248, 184, 3, 5, 24, 152, 64, 48, 20, 10]),
        ("11.3.244.8", [496, 464, 3, 5, 24, 152, 80, 48, 23, 10]),
        ("11.8.172.17", [576, 536, 3, 5, 24, 152, 80, 48, 28, 10]),
        ("12.4.254.21", [592, 536, 3, 4, 24, 160, 104, 40, 22, 15]),
        ("12.9.202.28", [584, 536, 3, 4, 32, 160, 104, 40, 21, 10]),
        ("13.6.233.17", [640, 584, 3, 4, 32, 160, 104, 40, 20, 10]),
        ("14.1.146.11", [648, 584, 3, 4, 32, 168, 104, 40, 20, 10]),
    ];
    for (version, numbers) in expected {
        assert_eq!(key_numbers(abi(version).facts()), numbers, "{version}");
    }
}

fn key_numbers(facts: &Facts) -> [u64; 10] {
    let constant = |name: &str| {
        facts.constants.get(&format!("v8::internal::Internals::{name}")).map(|value| *value as u64)
    };
    let size = |name: &str| facts.records.get(name).map_or(0, |r| r.size);
    let slots = |name: &str| facts.vtables.get(name).map_or(0, |v| v.len() as u64);
    let fields =
        constant("kJSAPIObjectWithEmbedderSlotsHeaderSize").or_else(|| constant("kJSObjectHeaderSize"));
    [
        constant("kIsolateRootsOffset").unwrap_or(0),
        constant("kIsolateEmbedderDataOffset").unwrap_or(0),
        constant("kNodeStateMask").unwrap_or(0),
        constant("kUndefinedOddballKind").unwrap_or(0),
        fields.unwrap_or(0),
        size("v8::Isolate::CreateParams"),
        size("v8::ScriptCompiler::Source"),
        size("v8::ScriptOrigin"),
        slots("v8::Platform"),
        slots("v8::TaskRunner"),
    ]
}

/// Every line that Node 16 to 26 had is in the catalogue, each with the headers of its first and its last release.
#[test]
fn every_line_is_proven_at_both_ends() {
    let lines = [
        ("9.0.257", 1),
        ("9.1.269", 1),
        ("9.2.230", 1),
        ("9.3.345", 1),
        ("9.4.146", 2),
        ("10.1.124", 1),
        ("10.2.154", 8),
        ("10.7.193", 2),
        ("10.8.168", 1),
        ("11.3.244", 5),
        ("11.8.172", 2),
        ("12.4.254", 4),
        ("12.9.202", 2),
        ("13.6.233", 3),
        ("14.1.146", 2),
        ("14.6.202", 3),
    ];
    let mut sets: BTreeMap<String, usize> = BTreeMap::new();
    for abi in known() {
        let line = format!("{}.{}.{}", abi.first.major, abi.first.minor, abi.first.build);
        *sets.entry(line).or_default() += abi.sources().len();
    }
    for (line, least) in lines {
        assert!(sets.get(line).is_some_and(|n| *n >= least), "{line}: {sets:?}");
    }
}

/// One by one, each constant that inline code reads, each size, each field, each slot and each enumerator is changed: the
/// gate's comparison names exactly that fact.
#[test]
fn no_single_fact_can_change_unnoticed() {
    for version in [GUEST_18, GUEST_20, "13.6.233.17"] {
        let facts = abi(version).facts();
        let mut changed = 0;
        for (what, mutant) in mutants(facts) {
            let found = breaking(facts, &mutant);
            assert!(found.iter().any(|c| c.fact == what), "{version}: {what} changed, found {found:?}");
            changed += 1;
        }
        assert!(changed > 800, "{version}: {changed} mutants");
    }
}

fn mutants(facts: &Facts) -> Vec<(String, Facts)> {
    let mut all = Vec::new();
    let with = |change: &dyn Fn(&mut Facts)| {
        let mut mutant = facts.clone();
        change(&mut mutant);
        mutant
    };
    let is_read = |name: &str| name.rsplit("::").next().is_some_and(|plain| facts.read.contains(plain));
    for name in facts.constants.keys().filter(|name| is_read(name)) {
        let more = |f: &mut Facts| *f.constants.get_mut(name).expect("it is there") += 8;
        all.push((format!("constant {name}"), with(&more)));
        // Elsewhere a constant that is gone cannot be told from a header that was not there.
        if !name.starts_with("v8::internal::Internals::") && !name.contains("CallbackInfo<") {
            continue;
        }
        all.push((format!("constant {name}"), with(&|f| f.constants.retain(|other, _| other != name))));
    }
    for (name, record) in &facts.records {
        let grow = |f: &mut Facts| f.records.get_mut(name).expect("it is there").size += 8;
        all.push((format!("layout {name}"), with(&grow)));
        for at in 0..record.fields.len() {
            let shift =
                |f: &mut Facts| f.records.get_mut(name).expect("it is there").fields[at].insert(0, '9');
            all.push((format!("layout {name}"), with(&shift)));
        }
    }
    for (name, slots) in &facts.vtables {
        for at in 1..slots.len() {
            let swap = |f: &mut Facts| f.vtables.get_mut(name).expect("it is there").swap(at - 1, at);
            all.push((format!("vtable {name}"), with(&swap)));
        }
    }
    for (name, values) in &facts.enums {
        for enumerator in values.keys() {
            let add = |f: &mut Facts| {
                *f.enums.get_mut(name).and_then(|v| v.get_mut(enumerator)).expect("it is there") += 1;
            };
            all.push((format!("enum {name}::{enumerator}"), with(&add)));
        }
    }
    let harmless = [
        "ExternalPointerTag",
        "BuildConfigurationFeatures",
        "kUseCounterFeatureCount",
        "EmbedderHeapTracer::",
    ];
    all.retain(|(what, _)| !(what.starts_with("enum") && harmless.iter().any(|h| what.contains(h))));
    all
}
