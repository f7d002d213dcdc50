//! The gate's verdict for every pair of a Node line's V8 as the host and Node 18's and 20's as the guest, and that nothing of
//! what a guest feels can change unnoticed.

#[path = "support/data.rs"]
mod data;

use data::{data, V8};
use relink::abi::catalogue::{known, known_abis, Facts, KnownAbi};
use relink::abi::compare::{breaking, Change};
use relink::abi::fingerprint::{CxxLibrary, Fingerprint};
use relink::abi::gate::{judge, Verdict};
use relink::abi::layout::{value, DERIVED};
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
const PLATFORM: &str = "vtable v8::Platform";
const SOURCE: &str = "layout v8::ScriptCompiler::Source";

/// Versions of V8, and facts that must be among those that a guest for Node 18's V8 feels there. Established with tables that were measured
/// by other means: `abi_tables.rs`. Those of the V8s that are served stand in their data files.
const HOSTS_FOR_18: &[(&str, &[&str])] = &[
    ("9.4.146.26", &[ROOTS, EMBEDDER, PLATFORM, SOURCE]),
    ("10.2.154.4", &[]),
    ("10.2.154.15", &[]),
    ("11.3.244.4", &[ROOTS, EMBEDDER, PLATFORM, SOURCE]),
];

/// Likewise for a guest for Node 20's V8.
const HOSTS_FOR_20: &[(&str, &[&str])] =
    &[("9.4.146.26", &[ROOTS, EMBEDDER, PLATFORM, SOURCE]), ("11.3.244.4", &[])];

fn check(guest: &str, hosts: &[(&str, &[&str])], felt: fn(&V8) -> &Vec<String>) {
    let of_file = |v8: &'static V8| (v8.full(), felt(v8).iter().map(String::as_str).collect::<Vec<_>>());
    let others = hosts.iter().map(|(version, expected)| (*version, expected.to_vec()));
    for (version, expected) in data().v8s.iter().map(of_file).chain(others) {
        let found = differences(guest, version);
        let names: Vec<_> = found.iter().map(|c| c.fact.as_str()).collect();
        assert_eq!(names.is_empty(), expected.is_empty(), "{guest} on V8 {version}: {names:#?}");
        for fact in expected {
            assert!(names.contains(&fact), "{guest} on V8 {version}: not \"{fact}\" among {names:#?}");
        }
    }
}

#[test]
fn a_guest_for_node_18_on_every_line() {
    check(GUEST_18, HOSTS_FOR_18, |v8| &v8.expect.felt_by_18);
}

#[test]
fn a_guest_for_node_20_on_every_line() {
    check(GUEST_20, HOSTS_FOR_20, |v8| &v8.expect.felt_by_20);
}

/// The V8s before the oldest guest's inline the same: only what their files say (the inspector's interfaces) is not the same.
#[test]
fn nothing_else_separates_earlier_v8s_from_the_oldest_guests() {
    let earlier: Vec<_> = data().v8s.iter().filter(|v8| v8.is_before_guests()).collect();
    assert!(!earlier.is_empty());
    for v8 in earlier {
        let found = differences(GUEST_18, v8.full());
        let facts: Vec<_> = found.into_iter().map(|c| c.fact).collect();
        assert_eq!(facts, v8.expect.felt_by_18, "{}", v8.full());
    }
}

/// Where two builds of one version have layouts that differ, that version is not even identical to itself.
#[test]
fn a_version_of_two_layouts_is_refused() {
    let two: Vec<_> = known().iter().map(|abi| abi.last).filter(|v8| known_abis(*v8).len() == 2).collect();
    assert!(!two.is_empty());
    for version in two.iter().map(V8Version::to_string) {
        let found = differences(&version, &version);
        assert!(found.iter().any(|c| c.fact.contains("HeapSnapshotOptions")), "{version}: {found:?}");
    }
}

/// The numbers that crash when they are wrong, per line: roots, embedder data, node state mask, kind of undefined, internal
/// fields; sizes of CreateParams, Source and ScriptOrigin; slots of Platform and TaskRunner.
#[test]
fn the_numbers_that_matter_most() {
    let of_file = |v8: &'static V8| Some((v8.full(), v8.expect.numbers.clone()?));
    let older = [("9.4.146.26", vec![112, 0, 7, 5, 24, 160, 56, 48, 18, 10])];
    let all: Vec<_> = data().v8s.iter().filter_map(of_file).chain(older).collect();
    assert!(all.len() >= 8);
    for (version, numbers) in all {
        assert_eq!(key_numbers(abi(version).facts()).to_vec(), numbers, "{version}");
    }
}

/// Words of the layout table that are no constants follow the headers.
#[test]
fn derived_words_are_those_of_the_data_files() {
    let all = data().v8s.iter().filter_map(|v8| Some((v8.full(), v8.expect.derived.clone()?)));
    let all: Vec<_> = all.collect();
    assert!(all.len() >= 4);
    for (version, words) in all {
        let facts = abi(version).facts();
        let found: Vec<_> = DERIVED.iter().filter_map(|(name, _)| value(name, facts)).collect();
        assert_eq!(found, words, "{version}");
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
    let not_served =
        [("9.0.257", 1), ("9.1.269", 1), ("9.2.230", 1), ("9.3.345", 1), ("9.4.146", 2), ("10.7.193", 2)];
    let not_served = not_served.map(|(line, sets)| (line.to_owned(), sets));
    let of_file = |v8: &V8| {
        let line = v8.full().rsplit_once('.').map(|(line, _)| line.to_owned());
        (line.expect("a version"), v8.expect.header_sets)
    };
    let lines = data().v8s.iter().map(of_file).chain(not_served);
    let mut sets: BTreeMap<String, usize> = BTreeMap::new();
    for abi in known() {
        let line = format!("{}.{}.{}", abi.first.major, abi.first.minor, abi.first.build);
        *sets.entry(line).or_default() += abi.sources().len();
    }
    for (line, least) in lines {
        assert!(sets.get(&line).is_some_and(|n| *n >= least), "{line}: {sets:?}");
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
