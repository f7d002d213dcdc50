//! The live probe on real V8s, and which wrong numbers it can and cannot see.

#[path = "support/data.rs"]
mod data;
mod support;

use data::{data, of_nodes, V8};
use relink::abi::catalogue::{known_abis, Facts};
use relink::abi::layout::{self, Field};
use relink::abi::probe::{judge, observe, Observation, Outcome};
use relink::abi::version::V8Version;
use relink::kit::guest::{self, BuildOptions};
use relink::kit::headers::V8Headers;
use relink::kit::neutral::neutralise;
use relink::kit::progress::Silent;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use support::parts;

fn facts(version: &str) -> &'static Facts {
    let abi = V8Version::parse(version).map(known_abis).unwrap_or_default();
    abi.first().unwrap_or_else(|| panic!("{version} is not known")).facts()
}

fn ours() -> &'static Facts {
    facts("10.2.154.26")
}

fn hosts() -> [(&'static Path, Observation); 2] {
    [&parts().libv8, &parts().node].map(|host| {
        let seen = observe(host, ours(), None).unwrap_or_else(|e| panic!("{e}"));
        assert!(seen.complete, "{}", host.display());
        (host.as_path(), seen)
    })
}

fn outcomes(facts: &Facts, seen: &Observation) -> BTreeMap<&'static str, Outcome> {
    judge(facts, seen).into_iter().map(|check| (check.what, check.outcome)).collect()
}

/// Whether inlined code with these facts would see anything that V8 says otherwise.
fn differs(facts: &Facts, seen: &Observation) -> bool {
    outcomes(facts, seen).values().any(|outcome| matches!(outcome, Outcome::Differs { .. }))
}

#[test]
fn inlined_code_and_v8_agree_on_both_hosts() {
    for (host, seen) in hosts() {
        let found = outcomes(ours(), &seen);
        let agree = found.values().filter(|o| **o == Outcome::Agrees).count();
        let others: BTreeMap<_, _> = found.iter().filter(|(_, o)| **o != Outcome::Agrees).collect();
        assert!(others.is_empty(), "{}: {others:#?}", host.display());
        assert!(agree >= 55, "{agree}");
    }
}

fn official(node: &str) -> PathBuf {
    let node = relink::kit::hosts::official_node(node, relink::kit::progress::terminal().as_ref());
    node.unwrap_or_else(|e| panic!("{} {e}", e.code()))
}

fn on_line(node: &str, version: &str) -> Observation {
    let seen = observe(&official(node), facts(version), None).unwrap_or_else(|e| panic!("{e}"));
    assert!(seen.complete, "{node}");
    seen
}

/// The same on later lines, as far as the numbers have not got other names.
fn line_agrees(node: &str, version: &str, least: usize) {
    let seen = on_line(node, version);
    let found = outcomes(facts(version), &seen);
    let differ: Vec<_> = found.iter().filter(|(_, o)| matches!(o, Outcome::Differs { .. })).collect();
    assert!(differ.is_empty(), "{node}: {differ:#?}");
    let unknown: Vec<_> =
        found.iter().filter(|(_, o)| **o == Outcome::Unknown).map(|(what, _)| what).collect();
    println!("{node}: {} of {} checks agree, unknown: {unknown:?}", found.len() - unknown.len(), found.len());
    assert!(found.len() - unknown.len() >= least, "{node}: {unknown:?}");
}

#[test]
fn node_20s_v8_is_as_its_headers_say() {
    line_agrees("20.20.2", "11.3.244.8", 55);
}

#[test]
#[ignore = "fetches official nodes; see docs/TESTING.md"]
fn later_v8s_are_as_their_headers_say() {
    for (v8, node) in of_nodes(data()) {
        if let Some(least) = v8.expect.agree {
            line_agrees(node, v8.full(), least);
        }
    }
}

/// Numbers of V8's that the adapter units' code has where a guest's table has words of theirs, or where V8's functions are inline.
#[test]
#[ignore = "fetches official nodes; see docs/TESTING.md"]
fn wrong_numbers_of_units_are_seen() {
    for (v8, node) in of_nodes(data()).filter(|(v8, _)| !v8.expect.wrong.is_empty()) {
        let version = v8.full();
        let seen = on_line(node, version);
        let names =
            v8.expect.wrong.iter().flat_map(|w| w.numbers.iter().map(|name| format!("{}::{name}", w.class)));
        for (name, by) in names.flat_map(|name| [8, -8, 1, -1].map(|by| (name.clone(), by))) {
            let mut mutant = facts(version).clone();
            *mutant.constants.get_mut(&name).expect("V8 has it") += by;
            assert!(differs(&mutant, &seen), "{version}: {name} {by:+}");
        }
        let mut mutant = facts(version).clone();
        mutant.records.get_mut("v8::EscapableHandleScopeBase").expect("V8 has it").size += 8;
        assert!(differs(&mutant, &seen), "{version}: the size of a scope");
    }
}

#[test]
fn another_v8s_numbers_are_seen() {
    let (_, seen) = &hosts()[0];
    let of_file = |v8: &'static V8| (v8.full(), v8.expect.differ.iter().map(String::as_str).collect());
    let older = ("9.4.146.26", vec!["root undefined", "undefined is an oddball"]);
    let all: Vec<(&str, Vec<&str>)> = data().v8s.iter().map(of_file).chain([older]).collect();
    assert!(all.iter().filter(|(_, wrong)| !wrong.is_empty()).count() >= 4);
    for (version, wrong) in all {
        let found = outcomes(facts(version), seen);
        for what in wrong {
            assert!(matches!(found[what], Outcome::Differs { .. }), "{version}: {what} {:?}", found[what]);
        }
    }
}

/// Every constant that the headers' code reads, plus and minus eight and one, and every layout and vtable that V8 10.2 has: seen
/// by the probe on a real V8, or one of those that it is known not to see.
#[test]
fn wrong_numbers_one_by_one() {
    let (_, seen) = &hosts()[0];
    let right = outcomes(ours(), seen);
    let mut unseen = BTreeSet::new();
    let mut caught = BTreeSet::new();
    let mut mutant = ours().clone();
    for name in ours().constants.keys() {
        let plain = name.rsplit("::").next().unwrap_or(name);
        if !ours().read.contains(plain) || name.starts_with("cppgc::") {
            continue;
        }
        for by in [8, -8, 1, -1] {
            *mutant.constants.get_mut(name).expect("it is there") += by;
            let same = outcomes(&mutant, seen) == right;
            if same { &mut unseen } else { &mut caught }.insert(name.as_str());
            *mutant.constants.get_mut(name).expect("it is there") -= by;
        }
    }
    let never: Vec<_> = unseen.difference(&caught).copied().collect();
    println!("caught: {}; never seen: {never:#?}", caught.len());
    assert_eq!(never, NEVER_SEEN.map(|(name, _)| name));
    for name in CAUGHT {
        assert!(caught.contains(*name) && !unseen.contains(*name), "{name} changed and nobody saw it");
    }
}

/// Constants that crash when they are wrong, each seen however it is wrong.
const CAUGHT: &[&str] = &[
    "v8::internal::Internals::kIsolateRootsOffset",
    "v8::internal::Internals::kUndefinedValueRootIndex",
    "v8::internal::Internals::kNullValueRootIndex",
    "v8::internal::Internals::kTrueValueRootIndex",
    "v8::internal::Internals::kFalseValueRootIndex",
    "v8::internal::Internals::kEmptyStringRootIndex",
    "v8::internal::Internals::kMapInstanceTypeOffset",
    "v8::internal::Internals::kHeapObjectMapOffset",
    "v8::internal::Internals::kOddballKindOffset",
    "v8::internal::Internals::kOddballType",
    "v8::internal::Internals::kUndefinedOddballKind",
    "v8::internal::Internals::kNullOddballKind",
    "v8::internal::Internals::kJSObjectHeaderSize",
    "v8::internal::Internals::kEmbedderDataSlotSize",
    "v8::internal::Internals::kEmbedderDataArrayHeaderSize",
    "v8::internal::Internals::kNativeContextEmbedderDataOffset",
    "v8::internal::Internals::kNodeFlagsOffset",
    "v8::internal::Internals::kNodeStateIsWeakValue",
    "v8::internal::Internals::kStringResourceOffset",
    "v8::internal::Internals::kExternalOneByteRepresentationTag",
    "v8::internal::Internals::kTheHoleValueRootIndex",
    "v8::internal::Internals::kNodeClassIdOffset",
    "v8::internal::Internals::kIsolateLongTaskStatsCounterOffset",
    "v8::internal::Internals::kExternalTwoByteRepresentationTag",
    "v8::internal::Internals::kDontThrow",
    "v8::internal::Internals::kInferShouldThrowMode",
    "v8::internal::kHeapObjectTagMask",
    "v8::internal::kSmiMaxValue",
    "v8::internal::kSmiMinValue",
    "v8::internal::kSmiValueSize",
    "v8::internal::kApiTaggedSize",
    "v8::kEmbedderFieldsInWeakCallback",
    "v8::PropertyCallbackInfo<v8::Value>::kDataIndex",
    "v8::PropertyCallbackInfo<v8::Value>::kHolderIndex",
    "v8::PropertyCallbackInfo<v8::Value>::kIsolateIndex",
    "v8::PropertyCallbackInfo<v8::Value>::kReturnValueIndex",
    "v8::PropertyCallbackInfo<v8::Value>::kShouldThrowOnErrorIndex",
    "v8::PropertyCallbackInfo<v8::Value>::kThisIndex",
    "v8::PropertyCallbackInfo<void>::kDataIndex",
    "v8::PropertyCallbackInfo<void>::kIsolateIndex",
    "v8::PropertyCallbackInfo<void>::kShouldThrowOnErrorIndex",
    "v8::PropertyCallbackInfo<void>::kThisIndex",
    "v8::FunctionCallbackInfo<v8::Value>::kIsolateIndex",
    "v8::FunctionCallbackInfo<v8::Value>::kDataIndex",
    "v8::FunctionCallbackInfo<v8::Value>::kReturnValueIndex",
    "v8::FunctionCallbackInfo<v8::Value>::kHolderIndex",
    "v8::internal::kSmiTagSize",
    "v8::internal::kSmiShiftSize",
    "v8::internal::kHeapObjectTag",
];

/// Makes one field of a layout table wrong, as it would be if the facts that it comes from were; returns whether it is.
fn make_wrong(field: &Field, facts: &mut Facts, by: i128) -> bool {
    const CALLBACK: &str = "v8::FunctionCallbackInfo<v8::Value>";
    const PROPERTY: &str = "v8::PropertyCallbackInfo<v8::Value>";
    const HEADER: &str = "v8::internal::Internals::kJSObjectHeaderSize";
    let right = layout::value(&field.name, facts);
    let later = "v8::internal::Internals::kJSAPIObjectWithEmbedderSlotsHeaderSize";
    // What this V8 has no more, it gets.
    let gone = match field.name.as_str() {
        "v8::FunctionCallbackInfo::target" => Some(("kTargetIndex", 0)),
        "v8::ReturnValue::default_slot" => Some((
            "kReturnValueDefaultValueIndex",
            facts.constants[&format!("{CALLBACK}::kReturnValueIndex")],
        )),
        _ => None,
    };
    if let Some((name, value)) = gone {
        *facts.constants.entry(format!("{CALLBACK}::{name}")).or_insert(value) += by;
        return layout::value(&field.name, facts) != right;
    }
    let constant = match field.name.as_str() {
        "v8::ReturnValue::default_root"
            if facts.constants.contains_key(&format!("{CALLBACK}::kTargetIndex")) =>
        {
            "v8::internal::Internals::kUndefinedValueRootIndex".into()
        }
        "v8::ReturnValue::default_root" => "v8::internal::Internals::kTheHoleValueRootIndex".into(),
        "v8::ReturnValue::isolate_slot" => format!("{CALLBACK}::kIsolateIndex"),
        HEADER if facts.constants.contains_key(later) => later.into(),
        name => name.into(),
    };
    if field.name == "v8::PropertyCallbackInfo::in_place" {
        let record = facts.records.get_mut(PROPERTY).expect("V8 has it");
        record.size = if right == Some(1) { 8 } else { 64 };
        record.fields = vec![format!("0+{} args_", record.size)];
    } else if let Some(value) = facts.constants.get_mut(&constant) {
        *value += by;
    }
    layout::value(&field.name, facts) != right
}

/// Each field of the neutral guest's table, wrong on its own, on a V8: which ones no check sees, and which this V8 has no more, so
/// that no number of its can be wrong.
fn wrong_fields(fields: &[Field], seen: &Observation, right: &Facts) -> [Vec<String>; 2] {
    assert!(!differs(right, seen), "{:#?}", outcomes(right, seen));
    let [mut unseen, mut fixed] = [const { Vec::new() }; 2];
    for field in fields.iter().filter(|field| field.read) {
        let caught: Vec<bool> = [8, -8, 1, -1]
            .into_iter()
            .filter_map(|by| {
                let mut mutant = right.clone();
                let wrong = make_wrong(field, &mut mutant, by);
                wrong.then(|| differs(&mutant, seen))
            })
            .collect();
        if caught.is_empty() {
            fixed.push(field.name.clone());
        } else if !caught.contains(&true) {
            unseen.push(field.name.clone());
        }
    }
    [unseen, fixed]
}

/// Neutral guests, by the V8 that they are compiled for.
#[derive(Clone, Copy)]
enum Guest {
    Node18,
    Node20,
}

/// The fields of the table that a neutral guest has, from the rules and the real headers.
fn neutral_fields(guest: Guest) -> Vec<Field> {
    let (from, version) = match guest {
        Guest::Node18 => (parts().headers.clone(), "10.2.154.26"),
        Guest::Node20 => {
            let node = official("20.20.2");
            (node.ancestors().nth(2).expect("a folder").join("include/node"), "11.3.244.8")
        }
    };
    let folder = tempfile::tempdir().expect("a folder");
    V8Headers::read("headers", &from).expect("headers").copy_to(folder.path()).expect("a copy");
    let headers = V8Headers::read("headers", folder.path()).expect("headers");
    neutralise(folder.path(), &headers, facts(version)).expect("rules for all of its headers")
}

/// Those of a V8 that no check sees are in the data files, each with why. (Where V8's words of a call are in its stack frame, the fields of
/// [`layout::made_by_units`] are no numbers of V8's.)
fn only_these_are_unseen(guest: Guest, seen: &Observation, version: &str) {
    let v8 = V8Version::parse(version).expect("a version");
    let fields = neutral_fields(guest);
    // Those that the guest has and this V8, too.
    let has = |name: &str| {
        fields.iter().any(|field| field.read && field.name == name)
            && layout::value(name, facts(version)).is_some()
    };
    let listed = data::unseen(data(), (v8.major, v8.minor)).into_iter().filter(|name| has(name));
    let [mut unseen, fixed] = wrong_fields(&fields, seen, facts(version));
    unseen.sort();
    assert_eq!(unseen, listed.collect::<Vec<_>>(), "{version}");
    let [ours, fixed]: [Vec<_>; 2] = [true, false].map(|ours| {
        fixed.iter().filter(|name| layout::made_by_units(name, facts(version)) == ours).collect()
    });
    let had: Vec<_> = fixed.iter().filter(|name| facts(version).constants.contains_key(**name)).collect();
    assert!(had.is_empty(), "{version}: {had:?} could not be made wrong");
    let in_frame = layout::made_by_units("v8::FunctionCallbackInfo::target", facts(version));
    assert_eq!(ours.is_empty(), !in_frame, "{version}: {ours:?}");
}

#[test]
fn a_wrong_field_of_the_layout_table_is_seen() {
    for (_, seen) in &hosts() {
        only_these_are_unseen(Guest::Node18, seen, "10.2.154.26");
    }
    only_these_are_unseen(Guest::Node20, &on_line("20.20.2", "11.3.244.8"), "11.3.244.8");
}

#[test]
#[ignore = "fetches official nodes; see docs/TESTING.md"]
fn a_wrong_field_is_seen_on_later_v8s() {
    for (v8, node) in of_nodes(data()).filter(|(v8, _)| v8.minor > (10, 2)) {
        let version = v8.full();
        let seen = on_line(node, version);
        only_these_are_unseen(Guest::Node18, &seen, version);
        if v8.minor >= (11, 3) {
            only_these_are_unseen(Guest::Node20, &seen, version);
        }
    }
}

#[test]
fn wrong_sizes_and_slots_are_seen() {
    let (_, seen) = &hosts()[0];
    let right = outcomes(ours(), seen);
    for name in [
        "v8::HandleScope",
        "v8::TryCatch",
        "v8::Isolate::CreateParams",
        "v8::HeapStatistics",
        "v8::HeapSpaceStatistics",
    ] {
        for by in [8i64, -8] {
            let mut mutant = ours().clone();
            let size = &mut mutant.records.get_mut(name).expect("it is there").size;
            *size = size.wrapping_add_signed(by);
            assert_ne!(outcomes(&mutant, seen), right, "{name} {by}");
        }
    }
    let name = "v8::String::ExternalOneByteStringResource";
    for at in [2, 6, 7] {
        let mut mutant = ours().clone();
        mutant.vtables.get_mut(name).expect("it is there").swap(at, 3);
        assert_ne!(outcomes(&mutant, seen), right, "slot {at}");
    }
}

/// A host that fails half way: the message has the step and what was wrong there.
#[test]
fn what_breaks_off_says_where() {
    let mut wrong = ours().clone();
    let params = wrong.records.get_mut("v8::Isolate::CreateParams").expect("it is there");
    for field in &mut params.fields {
        if field.ends_with(" array_buffer_allocator") {
            *field = "1000+8 array_buffer_allocator".into();
        }
    }
    let said = observe(&parts().node, &wrong, None).expect_err("V8 has no allocator").to_string();
    assert!(said.contains("broke off at \"bringing V8 up\" (ended by signal"), "{said}");
}

#[test]
fn what_cannot_be_observed_says_so() {
    for host in ["/bin/sh", "/nowhere/node", "/usr/lib/x86_64-linux-gnu/libc.so.6"] {
        assert!(observe(Path::new(host), ours(), None).is_err(), "{host}");
    }
}

const FAST: &str =
    "part of what an embedder registers for fast calls: V8 reads it when it compiles them, and tells nobody";
const FLAG: &str = "V8 only checks it when it compiles a script whose origin has it, with a fatal error";
const ORIGIN: &str = "only a message of a script with such an origin would tell, and none is made";
const OWN: &str = "only the guest's own code uses it: V8 neither sets nor reads it";

/// Constants that no check reads, and why: the catalogue alone watches over them.
const NEVER_SEEN: [(&str, &str); 14] = [
    ("v8::CTypeInfo::kCallbackOptionsType", FAST),
    ("v8::CpuProfilingOptions::kNoSampleLimit", "passed to V8, which gives it back to nobody"),
    ("v8::ScriptOriginOptions::kIsModule", FLAG),
    ("v8::ScriptOriginOptions::kIsOpaque", ORIGIN),
    ("v8::ScriptOriginOptions::kIsSharedCrossOrigin", ORIGIN),
    ("v8::ScriptOriginOptions::kIsWasm", FLAG),
    ("v8::internal::kApiInt32Size", "the size of a C++ type"),
    ("v8::internal::kExternalPointerTagShift", "read with the sandbox only"),
    ("v8::kPersistentContainerNotFound", OWN),
    ("v8::kTypeInfoFloat64", FAST),
    ("v8::kTypeInfoInt32", FAST),
    ("v8::metrics::Recorder::ContextId::kEmptyId", OWN),
    ("v8::platform::tracing::TraceBufferChunk::kChunkSize", OWN),
    ("v8::platform::tracing::kTraceMaxNumArgs", OWN),
];

/// The command asks the probe.
#[test]
fn the_check_command_asks_the_probe() {
    for host in [&parts().libv8, &parts().node] {
        let mut command = std::process::Command::new(&parts().relink);
        command.args(["check", "--json", "--probe", "--host"]).arg(host).arg("--guest").arg(&parts().guest);
        let output = command.output().expect("relink runs");
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(output.status.code(), Some(0), "{json:#}");
        assert!(json["probe"]["agree"].as_u64().is_some_and(|n| n >= 55), "{json:#}");
        assert_eq!(json["probe"]["differ"], serde_json::json!([]));
    }
}

/// What the command says of a neutral guest, whose table has the host's numbers.
#[test]
#[ignore = "fetches official nodes and takes the neutral guest; see docs/TESTING.md"]
fn the_check_command_judges_a_neutral_guest_by_its_table() {
    let guest = guest::build(&BuildOptions::line(18), &Silent).expect("a guest").library;
    let of_file = |(v8, node): (&V8, &'static str)| Some((node, v8.expect.agree_by_table?));
    for (node, least) in of_nodes(data()).filter_map(of_file) {
        let mut command = std::process::Command::new(&parts().relink);
        command.args(["check", "--json", "--probe", "--host"]).arg(official(node));
        let output = command.arg("--guest").arg(&guest).output().expect("relink runs");
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(output.status.code(), Some(1), "{json:#}");
        assert_eq!(json["probe"]["differ"], serde_json::json!([]), "{node}");
        assert!(
            json["probe"]["agree"].as_u64().is_some_and(|n| n >= least as u64),
            "{node}: {:#}",
            json["probe"]
        );
        assert!(json["probe"].get("why").is_none(), "{node}: {:#}", json["probe"]);
    }
}
