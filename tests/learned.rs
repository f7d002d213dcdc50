//! A V8 that Relink was not built with, learned from an embedder's own headers: that of the official node 19.3.0, V8 10.8.168.21,
//! which is in no file of the catalogue. The headers are its own, with the inspector's of the same V8 line.
//!
//! The neutral guest is built for these tests, which takes minutes, so they are only run when asked for
//! (`cargo test --release --test learned -- --ignored`).

#[path = "support/process.rs"]
mod process;
mod support;

use process::{Ended, Program};
use relink::config;
use relink::kit::crates::crate_v8;
use relink::kit::guest::{self, BuildOptions};
use relink::kit::headers::V8Headers;
use relink::kit::hosts;
use relink::kit::progress::Silent;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

const NODE: &str = "19.3.0";
/// Has the inspector's headers of V8 10.8.168.4.
const CRATE: &str = "0.54.0";

fn node(version: &str) -> PathBuf {
    hosts::official_node(version, &Silent).unwrap_or_else(|e| panic!("{} {e}", e.code()))
}

/// The headers of an official node, as an embedder has them.
fn headers(version: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let include = node(version).parent().and_then(Path::parent).expect("a folder").join("include/node");
    V8Headers::read("headers", &include).expect("headers").copy_to(folder.path()).expect("a copy");
    let inspector = crate_v8(CRATE).unwrap_or_else(|e| panic!("{} {e}", e.code())).join("v8/include");
    for name in ["v8-inspector.h", "v8-inspector-protocol.h"] {
        std::fs::copy(inspector.join(name), folder.path().join(name)).expect("a copy");
    }
    folder
}

/// Changes one text in a folder of headers.
fn change(folder: &Path, file: &str, from: &str, to: &str) {
    let path = folder.join(file);
    let text = std::fs::read_to_string(&path).expect("the header");
    assert!(text.contains(from), "{file} has no {from}");
    std::fs::write(&path, text.replacen(from, to, 1)).expect("written");
}

fn learn(headers: &Path, catalogue: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relink"));
    command
        .args(["adapter", "build", "--v8-headers"])
        .arg(headers)
        .env(relink::abi::learned::CATALOGUE, catalogue);
    command.output().expect("relink")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn learned(headers: &Path) -> TempDir {
    let catalogue = tempfile::tempdir().expect("a folder");
    let made = learn(headers, catalogue.path());
    assert!(made.status.success(), "{}", stderr(&made));
    assert!(
        stderr(&made).contains("V8 10.8.168.21: adapters with the layers up to 10.8"),
        "{}",
        stderr(&made)
    );
    catalogue
}

/// The neutral guest with the feature script in the node; the host ends with 5 when the guest's report is there.
fn in_node(catalogue: &Path) -> Ended {
    let guest = guest::build(&BuildOptions::default(), &Silent)
        .unwrap_or_else(|e| panic!("{} {e}", e.code()))
        .library;
    let host = Program::new(node(NODE));
    let source = "const fs = require('fs');\n\
                  setInterval(() => { if (fs.existsSync(`${__dirname}/report.json`)) process.exit(5); }, 20);";
    let file = host.file("host.js", source).display().to_string();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scripts/features.js");
    let relinked = host.args(&[&file]).relinked(&script).env(config::GUEST, guest);
    relinked.env(relink::abi::learned::CATALOGUE, catalogue).guest_output_to_file().start().wait()
}

#[test]
#[ignore = "builds the neutral guest: minutes; see docs/TESTING.md"]
fn a_v8_that_was_learned_runs_every_feature_and_is_refused_before() {
    let nothing = tempfile::tempdir().expect("a folder");
    let refused = in_node(nothing.path());
    let report = refused.report();
    let error = report.error.as_ref().expect("a refusal");
    assert_eq!(error.code, "E0401");
    assert!(error.message.contains("10.8.168.21"), "{}", error.message);
    assert_eq!(refused.code(), 5, "{}", refused.stderr);

    let headers = headers(NODE);
    let ended = in_node(learned(headers.path()).path());
    let report = ended.report();
    assert!(report.error.is_none(), "{:?}", report.error);
    assert!(ended.guest_output().contains("features: 45 ok, 0 failed"), "{}", ended.guest_output());
    assert_eq!((ended.outcome(), ended.code()), (("finished", 0), 5), "{}", ended.stderr);
}

#[test]
#[ignore = "builds the neutral guest: minutes; see docs/TESTING.md"]
fn a_difference_without_a_rule_is_refused_by_name() {
    let headers = headers(NODE);
    let from = "  const char* space_name_;";
    change(headers.path(), "v8-statistics.h", from, "  const char* space_name_;\n  size_t new_to_us_;");
    let catalogue = tempfile::tempdir().expect("a folder");
    let told = learn(headers.path(), catalogue.path());
    let said = stderr(&told);
    assert_eq!(told.status.code(), Some(2), "{said}");
    for layers in ["10.8", "11.3"] {
        let why = format!(
            "the layers up to {layers} do not answer: layout v8::HeapSpaceStatistics: 40 bytes -> 48 bytes"
        );
        assert!(said.contains("E0714") && said.contains(&why), "{said}");
    }
    assert_eq!(std::fs::read_dir(catalogue.path()).expect("the folder").count(), 0);
}

#[test]
#[ignore = "fetches two nodes; see docs/TESTING.md"]
fn what_cannot_be_learned_is_told_by_name_and_leaves_nothing() {
    let catalogue = tempfile::tempdir().expect("a folder");
    let refused = |headers: &Path, code: &str, text: &str| {
        let told = learn(headers, catalogue.path());
        assert!(!told.status.success());
        assert!(stderr(&told).contains(code) && stderr(&told).contains(text), "{}", stderr(&told));
    };
    // Headers that contradict what is built in.
    let known = headers("19.8.1");
    change(
        known.path(),
        "v8-statistics.h",
        "  const char* space_name_;",
        "  const char* space_name_;\n  size_t new_;",
    );
    refused(known.path(), "E0714", "layout v8::HeapSpaceStatistics");
    // A layer that does not compile: what it stands on has another name.
    let other = headers(NODE);
    change(other.path(), "v8-isolate.h", "void SetOOMErrorHandler(", "void SetOutOfMemoryHandler(");
    refused(other.path(), "E0710", "SetOOMErrorHandler");
    std::fs::remove_file(other.path().join("v8-inspector.h")).expect("removed");
    refused(other.path(), "E0708", "v8-inspector.h");
    assert_eq!(std::fs::read_dir(catalogue.path()).expect("the folder").count(), 0);
}
