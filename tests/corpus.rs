//! Layer: `relink inspect` on published files. Every fact it reports is right or unknown, by what was established without
//! it (fixtures/corpus/README.md). A few files are looked at in every run, all of them by
//! `cargo test --release --test corpus -- --ignored`.

use relink::kit::corpus::{fetch, Entry};
use relink::kit::progress;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

const LIST: &str = include_str!("../fixtures/corpus/list.json");
const EXPECTED: &str = include_str!("../fixtures/corpus/expected.json");

/// The facts of a V8.
const FACTS: [&str; 11] = [
    "version",
    "pointer_compression",
    "smi_bits",
    "sandbox",
    "static_roots",
    "checks",
    "webassembly",
    "i18n",
    "linkage",
    "cxx",
    "compilers",
];

fn list() -> Vec<Entry> {
    serde_json::from_str(LIST).expect("the list")
}

fn expected() -> BTreeMap<String, Value> {
    serde_json::from_str(EXPECTED).expect("the expected facts")
}

fn path(entry: &Entry) -> PathBuf {
    let found = fetch(entry, progress::terminal().as_ref());
    found.unwrap_or_else(|e| panic!("{}: {} {e}", entry.name, e.code()))
}

/// What the command prints of one file, and its exit status.
fn inspect(file: &Path) -> (Value, Option<i32>) {
    let output = Command::new(env!("CARGO_BIN_EXE_relink")).args(["inspect", "--json"]).arg(file).output();
    let output = output.expect("relink runs");
    let all: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{}: {e}: {}", file.display(), String::from_utf8_lossy(&output.stderr)));
    (all["modules"][0].clone(), output.status.code())
}

/// What is wrong with `told`: facts that differ, that nobody established, or that are missing although they need not be.
fn faults(name: &str, facts: &[&str], told: &Value, expected: &Value, may_miss: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for fact in facts {
        let (value, wanted) = (&told[fact]["value"], &expected[fact]["value"]);
        let may_miss = may_miss.as_array().is_some_and(|all| all.iter().any(|n| n == fact));
        match (value.is_null(), wanted.is_null()) {
            (true, false) if !may_miss => faults.push(format!("{name}: {fact} is unknown, it is {wanted}")),
            (false, true) => {
                faults.push(format!("{name}: {fact} is said to be {value}, which nobody has established"))
            }
            (false, false) if value != wanted => {
                faults.push(format!(
                    "{name}: {fact} is said to be {value} ({}), it is {wanted} ({})",
                    told[fact]["how"], expected[fact]["how"]
                ));
            }
            _ => {}
        }
    }
    faults
}

fn judge(entry: &Entry, expected: &Value) -> Vec<String> {
    let name = &entry.name;
    let (told, status) = inspect(&path(entry));
    let mut all = faults(name, &FACTS, &told, &expected["facts"], &expected["unknown"]);
    all.extend(faults(name, &["version", "module_version"], &told["node"], &expected["node"], &Value::Null));
    if told["v8"] != expected["v8"] {
        all.push(format!("{name}: V8 is said to be {}, it is {}", told["v8"], expected["v8"]));
    }
    let there = ["dynsym", "symtab", "probable"].iter().any(|v| expected["v8"] == *v);
    if status != Some(i32::from(!there)) {
        all.push(format!("{name}: exit status {status:?}"));
    }
    all
}

/// One test at a time: one of them measures time.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn judge_all(wanted: impl Fn(&Entry) -> bool) {
    let _alone = alone();
    let expected = expected();
    let entries: Vec<Entry> = list().into_iter().filter(wanted).collect();
    assert!(entries.len() > 5, "a corpus of {} files", entries.len());
    let all: Vec<String> = entries.iter().flat_map(|e| judge(e, &expected[&e.name])).collect();
    assert!(all.is_empty(), "{} of {} files:\n{}", all.len(), entries.len(), all.join("\n"));
}

#[test]
fn files_of_every_run() {
    judge_all(|entry| entry.always);
}

#[test]
#[ignore = "fetches 2 GB from the registries"]
fn the_whole_corpus() {
    judge_all(|_| true);
}

#[test]
#[ignore = "prints where the files are, for fixtures/corpus/establish.py"]
fn paths() {
    let paths: BTreeMap<String, PathBuf> = list().iter().map(|e| (e.name.clone(), path(e))).collect();
    println!("{}", serde_json::to_string(&paths).expect("JSON"));
}

#[test]
fn every_entry_is_established_once() {
    let (list, expected) = (list(), expected());
    let mut names: Vec<&String> = list.iter().map(|e| &e.name).collect();
    names.sort();
    assert_eq!(names, expected.keys().collect::<Vec<_>>());
    for (name, entry) in &expected {
        for (fact, known) in entry["facts"].as_object().into_iter().flatten() {
            assert!(known["how"].as_str().is_some_and(|h| h.len() > 5), "{name}: {fact} without a source");
        }
    }
}

/// The fastest of many runs, none of them beside the other tests here: other work on the machine must not decide.
#[test]
#[ignore = "fetches a host of 266 MB"]
fn a_host_of_250_megabytes_takes_less_than_50_milliseconds() {
    let _alone = alone();
    for name in ["chromium", "iv8"] {
        let file = path(list().iter().find(|e| e.name == name).expect("listed"));
        let size = std::fs::metadata(&file).expect("there").len();
        assert!(size > 240_000_000, "{name}: {size}");
        let once = || {
            let start = Instant::now();
            inspect(&file);
            start.elapsed()
        };
        let fastest = (0..50).map(|_| once()).min().expect("runs");
        println!("{name}: {} MB in {fastest:?}", size / 1_000_000);
        assert!(fastest < Duration::from_millis(50), "{name}: {fastest:?}");
    }
}

#[test]
fn wrong_invented_and_missing_facts_are_faults() {
    let expected =
        serde_json::json!({"version": {"value": "1", "how": "run"}, "smi_bits": {"value": 32, "how": "run"}});
    let told = |version: &str, checks: Value| serde_json::json!({"version": {"value": version, "how": "x"}, "checks": checks});
    let count = |told: &Value, may_miss: Value| faults("x", &FACTS, told, &expected, &may_miss).len();
    let may_miss = serde_json::json!(["smi_bits"]);
    assert_eq!(count(&told("1", Value::Null), may_miss.clone()), 0);
    assert_eq!(count(&told("2", Value::Null), may_miss.clone()), 1, "wrong");
    assert_eq!(count(&told("1", serde_json::json!({"value": true})), may_miss), 1, "invented");
    assert_eq!(count(&told("1", Value::Null), Value::Null), 1, "missing");
}
