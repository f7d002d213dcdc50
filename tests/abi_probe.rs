//! The live probe on real V8s, and which wrong numbers it can and cannot see.

mod support;

use relink::abi::catalogue::{known_abis, Facts};
use relink::abi::probe::{judge, observe, Observation, Outcome};
use relink::abi::version::V8Version;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
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
        let seen = observe(host, ours()).unwrap_or_else(|e| panic!("{e}"));
        assert!(seen.complete, "{}", host.display());
        (host.as_path(), seen)
    })
}

fn outcomes(facts: &Facts, seen: &Observation) -> BTreeMap<&'static str, Outcome> {
    judge(facts, seen).into_iter().map(|check| (check.what, check.outcome)).collect()
}

#[test]
fn inlined_code_and_v8_agree_on_both_hosts() {
    for (host, seen) in hosts() {
        let found = outcomes(ours(), &seen);
        let agree = found.values().filter(|o| **o == Outcome::Agrees).count();
        let others: BTreeMap<_, _> = found.iter().filter(|(_, o)| **o != Outcome::Agrees).collect();
        assert!(others.is_empty(), "{}: {others:#?}", host.display());
        assert!(agree >= 30, "{agree}");
    }
}

#[test]
fn another_v8s_numbers_are_seen() {
    let (_, seen) = &hosts()[0];
    for (version, wrong) in [
        ("11.3.244.8", ["root undefined", "root true"].as_slice()),
        ("10.8.168.25", &["root undefined", "root null"]),
        ("12.9.202.28", &["root undefined", "internal field 0", "kind of undefined"]),
        ("9.4.146.26", &["root undefined", "undefined is an oddball"]),
    ] {
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
    for name in ours().constants.keys() {
        let plain = name.rsplit("::").next().unwrap_or(name);
        if !ours().read.contains(plain) || name.starts_with("cppgc::") {
            continue;
        }
        for by in [8, -8, 1, -1] {
            let mut mutant = ours().clone();
            *mutant.constants.get_mut(name).expect("it is there") += by;
            if outcomes(&mutant, seen) == right {
                unseen.insert(name.as_str());
            } else {
                caught.insert(name.as_str());
            }
        }
    }
    let never: Vec<_> = unseen.difference(&caught).copied().collect();
    println!("caught: {}; never seen: {never:#?}", caught.len());
    assert_eq!(never, NEVER_SEEN);
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
    "v8::FunctionCallbackInfo<v8::Value>::kIsolateIndex",
    "v8::FunctionCallbackInfo<v8::Value>::kDataIndex",
    "v8::FunctionCallbackInfo<v8::Value>::kReturnValueIndex",
    "v8::FunctionCallbackInfo<v8::Value>::kHolderIndex",
    "v8::internal::kSmiTagSize",
    "v8::internal::kSmiShiftSize",
    "v8::internal::kHeapObjectTag",
];

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

#[test]
fn what_cannot_be_observed_says_so() {
    for host in ["/bin/sh", "/nowhere/node", "/usr/lib/x86_64-linux-gnu/libc.so.6"] {
        assert!(observe(Path::new(host), ours()).is_err(), "{host}");
    }
}

/// Constants that no check reads (docs/ABI.md says why): the catalogue alone watches over them.
const NEVER_SEEN: &[&str] = &[
    "v8::CTypeInfo::kCallbackOptionsType",
    "v8::CpuProfilingOptions::kNoSampleLimit",
    "v8::PropertyCallbackInfo<v8::Value>::kDataIndex",
    "v8::PropertyCallbackInfo<v8::Value>::kHolderIndex",
    "v8::PropertyCallbackInfo<v8::Value>::kIsolateIndex",
    "v8::PropertyCallbackInfo<v8::Value>::kReturnValueIndex",
    "v8::PropertyCallbackInfo<v8::Value>::kShouldThrowOnErrorIndex",
    "v8::PropertyCallbackInfo<v8::Value>::kThisIndex",
    "v8::PropertyCallbackInfo<void>::kDataIndex",
    "v8::PropertyCallbackInfo<void>::kHolderIndex",
    "v8::PropertyCallbackInfo<void>::kIsolateIndex",
    "v8::PropertyCallbackInfo<void>::kReturnValueIndex",
    "v8::PropertyCallbackInfo<void>::kShouldThrowOnErrorIndex",
    "v8::PropertyCallbackInfo<void>::kThisIndex",
    "v8::ScriptOriginOptions::kIsModule",
    "v8::ScriptOriginOptions::kIsOpaque",
    "v8::ScriptOriginOptions::kIsSharedCrossOrigin",
    "v8::ScriptOriginOptions::kIsWasm",
    "v8::internal::Internals::kDontThrow",
    "v8::internal::Internals::kExternalTwoByteRepresentationTag",
    "v8::internal::Internals::kInferShouldThrowMode",
    "v8::internal::Internals::kIsolateEmbedderDataOffset",
    "v8::internal::Internals::kIsolateLongTaskStatsCounterOffset",
    "v8::internal::Internals::kNodeClassIdOffset",
    "v8::internal::Internals::kNumIsolateDataSlots",
    "v8::internal::Internals::kStringEncodingMask",
    "v8::internal::Internals::kTheHoleValueRootIndex",
    "v8::internal::kApiInt32Size",
    "v8::internal::kApiTaggedSize",
    "v8::internal::kExternalPointerTagShift",
    "v8::internal::kHeapObjectTagMask",
    "v8::internal::kSmiMaxValue",
    "v8::internal::kSmiMinValue",
    "v8::internal::kSmiValueSize",
    "v8::kEmbedderFieldsInWeakCallback",
    "v8::kPersistentContainerNotFound",
    "v8::kTypeInfoFloat64",
    "v8::kTypeInfoInt32",
    "v8::metrics::Recorder::ContextId::kEmptyId",
    "v8::platform::tracing::TraceBufferChunk::kChunkSize",
    "v8::platform::tracing::kTraceMaxNumArgs",
];

/// The command asks the probe, and a second time the cache.
#[test]
fn the_check_command_asks_the_probe() {
    for host in [&parts().libv8, &parts().node] {
        for _ in 0..2 {
            let mut command = std::process::Command::new(&parts().relink);
            command
                .args(["check", "--json", "--probe", "--host"])
                .arg(host)
                .arg("--guest")
                .arg(&parts().guest);
            let output = command.output().expect("relink runs");
            let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
            assert_eq!(output.status.code(), Some(0), "{json:#}");
            assert!(json["probe"]["agree"].as_u64().is_some_and(|n| n >= 30), "{json:#}");
            assert_eq!(json["probe"]["differ"], serde_json::json!([]));
        }
    }
}
