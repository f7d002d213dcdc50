//! `relink check` and `relink catalogue` on real files, and the generator on real headers.

#[path = "support/data.rs"]
mod data;
mod support;

use data::data;
use relink::abi::catalogue::AbiFile;
use relink::kit::catalogue::{enter, generate, Request, Store};
use relink::kit::hosts;
use relink::kit::progress::Silent;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::{make_exact, parts};

fn relink(arguments: &[&str]) -> Output {
    Command::new(&parts().relink).args(arguments).output().expect("relink runs")
}

fn check(host: &Path, guest: &Path) -> (Option<i32>, Value) {
    let [host, guest] = [host, guest].map(|p| p.to_str().expect("UTF-8"));
    let output = relink(&["check", "--json", "--host", host, "--guest", guest]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {said}"));
    (output.status.code(), json)
}

/// The guest with another V8 version in its note, as if its numbers were compiled in.
fn guest_for(v8: &str, folder: &Path) -> PathBuf {
    let mut bytes = std::fs::read(&parts().guest).expect("the guest");
    let (old, new) = (br#""10.2.154.26""#, format!("\"{v8}\""));
    let at = bytes.windows(old.len()).position(|w| w == old).expect("the note");
    // The note has a fixed length: what is too short is filled up with blanks, which JSON ignores.
    let padded = format!("{new:<width$}", width = old.len());
    assert_eq!(padded.len(), old.len());
    bytes[at..at + old.len()].copy_from_slice(padded.as_bytes());
    make_exact(&mut bytes);
    let path = folder.join("libguest.so");
    std::fs::write(&path, bytes).expect("written");
    path
}

#[test]
fn the_guest_fits_both_hosts() {
    for (host, stand_ins) in [(&parts().libv8, 0), (&parts().node, 1)] {
        let (status, json) = check(host, &parts().guest);
        assert_eq!((status, json["result"].as_str()), (Some(0), Some("identical")), "{json:#}");
        assert_eq!(json["abi"]["verdict"], "identical");
        assert_eq!(json["bridge"]["served"], true);
        assert_eq!(json["missing_symbols"], serde_json::json!([]));
        assert_eq!(json["stand_ins"].as_object().map(|s| s.len()), Some(stand_ins), "{json:#}");
    }
}

#[test]
fn a_guest_for_another_v8_is_refused_fact_by_fact() {
    let folder = tempfile::tempdir().expect("a folder");
    let guest = guest_for("11.3.244.8", folder.path());
    let (status, json) = check(&parts().libv8, &guest);
    assert_eq!((status, json["result"].as_str()), (Some(2), Some("refused")));
    let differences = json["abi"]["differences"].as_array().expect("differences");
    let roots =
        differences.iter().find(|d| d["fact"].as_str().is_some_and(|f| f.ends_with("kIsolateRootsOffset")));
    let roots = roots.unwrap_or_else(|| panic!("{differences:#?}"));
    assert_eq!((roots["guest"].as_str(), roots["host"].as_str()), (Some("496"), Some("288")));
    let cure = json["abi"]["remedies"][0].as_str().unwrap_or_default();
    assert!(cure.ends_with("relink guest build --line 18"), "{cure}");
    let text = relink(&[
        "check",
        "--host",
        parts().libv8.to_str().expect("UTF-8"),
        "--guest",
        guest.to_str().expect("UTF-8"),
    ]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    for part in ["verdict: refused", "kIsolateRootsOffset: 496 -> 288", "remedy: "] {
        assert!(text.contains(part), "{text}");
    }
}

/// 10.2.154.20 lies between two versions with the same facts, and nobody has looked at it: it passes, and that is said.
#[test]
fn a_version_that_nobody_has_looked_at_is_warned_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let guest = guest_for("10.2.154.20", folder.path());
    let (status, json) = check(&parts().libv8, &guest);
    assert_eq!((status, json["result"].as_str()), (Some(0), Some("identical")), "{json:#}");
    let warning = json["warnings"][0].as_str().unwrap_or_default();
    for part in ["guest's V8 10.2.154.20", "10.2.154.15", "10.2.154.26"] {
        assert!(warning.contains(part), "{json:#}");
    }
    let (_, json) = check(&parts().libv8, &parts().guest);
    assert_eq!((&json["warnings"], &json["degraded"]), (&serde_json::json!([]), &serde_json::json!([])));
    let [host, guest] = [&parts().libv8, &guest].map(|p| p.to_str().expect("UTF-8"));
    let text = relink(&["check", "--host", host, "--guest", guest]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("  warning: the guest's V8 10.2.154.20"));
    let text = relink(&["explain", "--host", host, "--guest", guest, "v8::Isolate::Enter"]);
    assert!(String::from_utf8_lossy(&text.stderr).contains("warning: the guest's V8 10.2.154.20"));
}

#[test]
fn an_identical_abi_without_a_bridge_is_refused_for_that() {
    // There are no guests of the host's very line, that of the oldest V8, so there is no bridge for one.
    let folder = tempfile::tempdir().expect("a folder");
    let oldest = data().v8s[0].node.as_ref().expect("a Node has it");
    let host = hosts::official_node(&oldest.version, &Silent);
    let host = host.unwrap_or_else(|e| panic!("{} {e}", e.code()));
    let (status, json) = check(&host, &guest_for(&oldest.v8, folder.path()));
    assert_eq!((status, &json["abi"]["verdict"]), (Some(2), &Value::from("identical")), "{json:#}");
    assert_eq!(json["bridge"]["served"], false);
}

#[test]
fn a_missing_symbol_is_named_and_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("libguest.so");
    let mut bytes = std::fs::read(&parts().guest).expect("the guest");
    let (old, new) = (b"_ZN2v87Isolate5EnterEv\0", b"_ZN2v87Isolate5QqqqqEv\0");
    let at = bytes.windows(old.len()).position(|w| w == old).expect("the symbol");
    bytes[at..at + old.len()].copy_from_slice(new);
    std::fs::write(&path, bytes).expect("written");
    let (status, json) = check(&parts().libv8, &path);
    assert_eq!((status, json["result"].as_str()), (Some(2), Some("refused")));
    assert_eq!(json["missing_symbols"], serde_json::json!(["_ZN2v87Isolate5QqqqqEv"]));
}

#[test]
fn wrong_calls_and_unusable_files_look_like_no_verdict() {
    let libv8 = parts().libv8.to_str().expect("UTF-8");
    let cases: [(&[&str], i32); 6] = [
        (&["check"], 64),
        (&["check", "--host"], 64),
        (&["check", "--no-such-option", "--host", libv8], 64),
        (&["check", "--host", "/nowhere/node"], 65),
        (&["check", "--host", "/bin/sh"], 65),
        (&["check", "--host", libv8, "--guest", "/bin/sh"], 65),
    ];
    for (arguments, status) in cases {
        assert_eq!(relink(arguments).status.code(), Some(status), "{arguments:?}");
    }
    assert_eq!(relink(&["check", "--help"]).status.code(), Some(0));
    assert_eq!(relink(&["plan", "--no-such-option"]).status.code(), Some(2));
}

#[test]
fn a_process_can_be_the_host() {
    let mut node = Command::new(&parts().node);
    let mut child = node.args(["-e", "setInterval(() => {}, 1000)"]).spawn().expect("node starts");
    let host = child.id().to_string();
    let guest = parts().guest.to_str().expect("UTF-8");
    let output = relink(&["check", "--host", &host, "--guest", guest, "--json"]);
    child.kill().and_then(|()| child.wait()).expect("node ends");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["host"].as_str().map(Path::new), Some(parts().node.as_path()));
}

fn catalogue() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/abi/catalogue/profiles")
}

fn copy_of_the_catalogue() -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a folder");
    for entry in std::fs::read_dir(catalogue()).expect("the catalogue") {
        let path = entry.expect("an entry").path();
        std::fs::copy(&path, copy.path().join(path.file_name().expect("a name"))).expect("copied");
    }
    copy
}

/// The facts of the real headers of Node 18.20.4 are those of the committed file. Needs the compiler that made the catalogue.
#[test]
fn generating_from_real_headers_gives_what_is_committed() {
    let headers = parts().node.parent().and_then(Path::parent).expect("a folder").join("include/node");
    let found = generate(&Request { headers, from: None }, &Silent).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(
        (found.sources[0].v8.as_str(), found.sources[0].from.as_str()),
        ("10.2.154.26", "Node 18.20.4")
    );
    let copy = copy_of_the_catalogue();
    let mut store = Store::open(copy.path()).expect("the catalogue");
    let entered = enter(&mut store, found).expect("entered");
    assert!(!entered.new, "{:#?}", entered.nearest);
    let name = entered.file.file_name().expect("a name");
    let read = |path: &Path| std::fs::read_to_string(path).expect("a file");
    assert_eq!(read(&entered.file), read(&catalogue().join(name)));
}

/// A header that says something else is another ABI, and the difference is shown.
#[test]
fn a_changed_header_is_a_new_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let headers = relink::kit::headers::V8Headers::read("--headers", &parts().headers).expect("headers");
    headers.copy_to(folder.path()).expect("copied");
    let internal = folder.path().join("v8-internal.h");
    let text = std::fs::read_to_string(&internal).expect("v8-internal.h");
    let changed = text.replacen(
        "kJSObjectHeaderSize = 3 * kApiTaggedSize",
        "kJSObjectHeaderSize = 4 * kApiTaggedSize",
        1,
    );
    assert_ne!(changed, text);
    std::fs::write(&internal, changed).expect("written");
    let request = Request { headers: folder.path().into(), from: Some("a changed header".into()) };
    let copy = copy_of_the_catalogue();
    let mut store = Store::open(copy.path()).expect("the catalogue");
    let found = generate(&request, &Silent).unwrap_or_else(|e| panic!("{e}"));
    let before =
        store.files().find(|f| f.sources.iter().any(|s| s.v8 == "10.2.154.26")).expect("10.2").clone();
    let code = before.other_code(&found);
    assert!(code.contains(&"v8::Object"), "{code:?}");
    let entered = enter(&mut store, found).expect("entered");
    assert!(entered.new);
    let (_, changes) = entered.nearest.expect("a neighbour");
    let felt: Vec<_> = changes.iter().filter(|c| c.harmless.is_none()).map(|c| c.text()).collect();
    assert_eq!(
        felt,
        [
            "constant v8::internal::Internals::kJSObjectHeaderSize: 24 -> 32",
            "offset of internal fields: 24 -> 32"
        ]
    );
}

/// Where the facts of two V8s do not differ, the machine code of their inline functions does not either: the facts miss
/// nothing that the compiler saw.
#[test]
fn equal_facts_mean_equal_code() {
    let store = Store::open(&catalogue()).expect("the catalogue");
    let files: Vec<&AbiFile> = store.files().collect();
    let mut pairs = 0;
    for (n, a) in files.iter().enumerate() {
        for b in &files[n + 1..] {
            // What the compiler inlines depends on all that it sees: only like is compared with like.
            let alike = a.facts.parts == b.facts.parts;
            if alike && relink::abi::compare::breaking(&a.facts, &b.facts).is_empty() {
                pairs += 1;
                assert_eq!(a.other_code(b), [""; 0], "{} and {}", a.sources[0].v8, b.sources[0].v8);
            }
        }
    }
    assert!(pairs > 5, "{pairs} pairs");
}
