//! The neutral guest: V8's headers rewritten by rules, and one Node 18 on the V8s of several lines.
//!
//! Building that guest takes minutes, so the tests that run it are only run when asked for
//! (`cargo test --release --test neutral -- --ignored`).

#[path = "support/process.rs"]
mod process;
mod support;

use process::{Ended, Program};
use relink::abi::adapters::UNITS;
use relink::abi::catalogue::{known_abis, Facts};
use relink::abi::layout::Field;
use relink::abi::version::V8Version;
use relink::config;
use relink::kit::guest::{self, BuildOptions};
use relink::kit::headers::V8Headers;
use relink::kit::neutral::neutralise;
use relink::kit::progress::Silent;
use relink::kit::{adapter, hosts, KitError};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Facts of Node 18's V8.
fn facts() -> &'static Facts {
    known_abis(V8Version::parse("10.2.154.26").expect("a version"))[0].facts()
}

/// A copy of Node 18's real V8 headers.
fn copy_of_headers() -> (TempDir, V8Headers) {
    let folder = tempfile::tempdir().expect("a folder");
    V8Headers::read("headers", &support::parts().headers)
        .expect("headers")
        .copy_to(folder.path())
        .expect("a copy");
    let headers = V8Headers::read("headers", folder.path()).expect("headers");
    (folder, headers)
}

fn neutral_headers() -> (TempDir, Vec<Field>) {
    let (folder, headers) = copy_of_headers();
    let fields = neutralise(folder.path(), &headers, facts()).expect("rules for all of Node 18's headers");
    (folder, fields)
}

#[test]
fn the_rules_cover_the_real_headers_of_node_18() {
    let (folder, fields) = neutral_headers();
    let value = |name: &str| fields.iter().find(|f| f.name == name).map(|f| (f.value, f.read));
    assert_eq!(value("v8::internal::Internals::kIsolateRootsOffset"), Some((288, true)));
    assert_eq!(value("v8::FunctionCallbackInfo<v8::Value>::kDataIndex"), Some((4, true)));
    assert_eq!(value("v8::ReturnValue::default_slot"), Some((-1, true)));
    assert!(fields.len() > 70, "{}", fields.len());
    let text = std::fs::read_to_string(folder.path().join("v8-internal.h")).expect("the header");
    let left: Vec<_> = text.lines().filter(|l| l.contains("static const int kIsolate")).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Code compiled with the neutral headers reads isolates, callbacks and handles by the table, not by its own numbers.
#[test]
fn compiled_code_reads_the_table() {
    let (folder, fields) = neutral_headers();
    let moved = |field: &Field| match field.name.as_str() {
        "v8::internal::Internals::kIsolateEmbedderDataOffset" => 464,
        "v8::internal::Internals::kIsolateRootsOffset" => 496,
        "v8::PropertyCallbackInfo<v8::Value>::kIsolateIndex" => 3,
        "v8::PropertyCallbackInfo::in_place" => 1,
        "v8::ReturnValue::default_slot" => 0,
        _ => field.value,
    };
    let words: Vec<String> = fields.iter().map(|f| moved(f).to_string()).collect();
    let source = format!(
        "#include <v8.h>\n#include <cstdio>\n\
         extern \"C\" {{ extern const int relink_layout[]; const int relink_layout[] = {{{}}}; }}\n\
         int main() {{\n\
           static void* isolate[100];\n\
           for (long i = 0; i < 100; i++) isolate[i] = reinterpret_cast<void*>(8 * i);\n\
           auto* v8s = reinterpret_cast<v8::Isolate*>(isolate);\n\
           void* words[8] = {{isolate, isolate, isolate, v8s, 0, 0, 0, 0}};\n\
           auto* info = reinterpret_cast<v8::PropertyCallbackInfo<v8::Value>*>(words);\n\
           words[3] = v8s;\n\
           void* value[4] = {{nullptr, v8s, nullptr, nullptr}};\n\
           auto* set = reinterpret_cast<v8::ReturnValue<v8::Value>*>(&value[2]);\n\
           value[2] = &value[3];\n\
           set->Set(v8::Local<v8::Value>());\n\
           std::printf(\"%ld %ld %d %ld\\n\", reinterpret_cast<long>(v8s->GetData(1)),\n\
             reinterpret_cast<long>(*reinterpret_cast<void**>(*v8::True(v8s))), info->GetIsolate() == v8s,\n\
             reinterpret_cast<long>(value[3]));\n\
         }}\n",
        words.join(",")
    );
    let dir = tempfile::tempdir().expect("a folder");
    let [text, program] = ["a.cc", "a"].map(|name| dir.path().join(name));
    std::fs::write(&text, source).expect("written");
    // What the headers call out of line is never called here.
    let flags = ["-std=c++17", "-O2", "-w", "-Wl,--unresolved-symbols=ignore-all", "-o"];
    let built =
        Command::new("g++").args(flags).arg(&program).arg(&text).arg("-I").arg(folder.path()).output();
    let built = built.expect("g++");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let ran = Command::new(&program).output().expect("it runs");
    // Data slot 1 at 464 + 8; root 7 (true) at 496 + 56; the default is root 5 (the hole) at 496 + 40.
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "472 552 1 536\n");
}

/// Rewrites one text in a copy of the headers; gives the refusal.
fn refusal(file: &str, from: &str, to: &str) -> (PathBuf, usize, String) {
    let (folder, _) = copy_of_headers();
    let path = folder.path().join(file);
    let text = std::fs::read_to_string(&path).expect("the header");
    assert!(text.contains(from), "{file} has no {from}");
    std::fs::write(&path, text.replacen(from, to, 1)).expect("written");
    let headers = V8Headers::read("headers", folder.path()).expect("headers");
    let error = neutralise(folder.path(), &headers, facts()).expect_err("no rule");
    assert_eq!(error.code(), "E0715");
    match error {
        KitError::NoRule { path, line, text, .. } => {
            (path.strip_prefix(folder.path()).expect("inside").into(), line, text)
        }
        other => panic!("{other}"),
    }
}

#[test]
fn what_has_no_rule_is_named_with_file_and_line() {
    // A text that an edit looks for.
    let (file, _, text) = refusal("v8-function-callback.h", "return value_[-1];", "return value_[-3];");
    assert_eq!((file.to_str(), text.as_str()), (Some("v8-function-callback.h"), "return value_[-1];"));
    // A constant of another form.
    let from = "  static const int kNodeStateMask = 0x7;";
    let (file, line, text) = refusal("v8-internal.h", from, "  enum { kNodeStateMask = 0x7 };");
    assert_eq!((file.to_str(), text.as_str()), (Some("v8-internal.h"), "enum { kNodeStateMask = 0x7 };"));
    assert!((400..420).contains(&line), "{line}");
    // An assertion about a number that is known at run time only.
    let to = format!("{from}\n  static_assert(kNodeStateMask == 7);");
    let (_, _, text) = refusal("v8-internal.h", from, &to);
    assert_eq!(text, "static_assert(kNodeStateMask == 7);");
}

/// The interfaces of the guest's that adapters declare by hand, and what they are called in V8.
const BY_HAND: [(&str, &str); 11] = [
    ("TaskRunner", "v8::TaskRunner"),
    ("Platform", "v8::Platform"),
    ("SerializerDelegate", "v8::ValueSerializer::Delegate"),
    ("DeserializerDelegate", "v8::ValueDeserializer::Delegate"),
    ("Allocator", "v8::ArrayBuffer::Allocator"),
    ("ExternalStringOf", "v8::String::ExternalStringResource"),
    ("ExternalStringOf", "v8::String::ExternalOneByteStringResource"),
    ("EmbedderGraph", "v8::EmbedderGraph"),
    ("InspectorClient", "v8_inspector::V8InspectorClient"),
    ("InspectorSession", "v8_inspector::V8InspectorSession"),
    ("Inspector", "v8_inspector::V8Inspector"),
];

/// The virtual functions that a class in `header` declares, in order; a destructor has two slots.
fn declared(header: &str, class: &str) -> Vec<String> {
    let from = header.split(&format!("class {class} {{\n")).nth(1).expect("the class");
    let body = from.split("\n};").next().expect("its end");
    let functions = body.split("virtual ").skip(1).map(|text| {
        let before = text.split('(').next().expect("a parameter list");
        before.rsplit([' ', '*']).next().expect("a name").to_owned()
    });
    let slots =
        |name: String| if name.starts_with('~') { vec!["~D1".into(), "~D0".into()] } else { vec![name] };
    functions.flat_map(slots).collect()
}

#[test]
fn the_guests_interfaces_have_the_slots_of_its_headers() {
    let header = Path::new(env!("CARGO_MANIFEST_DIR")).join("shim/adapters/guest_10_2.h");
    let header = std::fs::read_to_string(header).expect("the header");
    for (ours, theirs) in BY_HAND {
        let expected: Vec<&str> =
            facts().vtables[theirs].iter().map(|f| f.split('(').next().unwrap_or(f)).collect();
        assert_eq!(declared(&header, ours), expected, "{theirs}");
    }
    let swapped = header.replacen("virtual void muteMetrics", "virtual void unmuteMetrics", 1);
    let slots: Vec<_> = facts().vtables["v8_inspector::V8InspectorClient"].iter().collect();
    assert_ne!(
        declared(&swapped, "InspectorClient").get(5),
        slots.get(5).map(|s| s.split('(').next().unwrap_or(s).to_owned()).as_ref()
    );
}

fn neutral_guest() -> PathBuf {
    let options = BuildOptions { neutral: true, ..BuildOptions::default() };
    guest::build(&options, &Silent).unwrap_or_else(|e| panic!("{} {e}", e.code())).library
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scripts").join(name)
}

fn features() -> PathBuf {
    script("features.js")
}

/// The official node of a version with a guest in it; the host counts, and ends with 5 when the guest has ended.
fn in_node(version: &str, script: &Path) -> Ended {
    let host =
        Program::new(hosts::official_node(version, &Silent).unwrap_or_else(|e| panic!("{} {e}", e.code())));
    let source = "const fs = require('fs'); let n = 0;\n\
                  setInterval(() => { console.log('host', ++n);\n\
                    if (fs.existsSync(`${__dirname}/report.json`)) process.exit(5); }, 20);";
    let file = host.file("host.js", source).display().to_string();
    let relinked = host.args(&[&file]).relinked(script).env(config::GUEST, neutral_guest());
    relinked.env(config::AUDIT, "1").guest_output_to_file().start().wait()
}

fn has_all_features(ended: &Ended) {
    let report = ended.report();
    assert!(report.error.is_none(), "{:?}", report.error);
    let said = ended.guest_output();
    assert_eq!(said.lines().filter(|line| line.starts_with("ok ")).count(), 45, "{said}\n{}", ended.stderr);
    assert!(said.contains("features: 45 ok, 0 failed"), "{said}");
    assert_eq!(ended.outcome(), ("finished", 0));
    let audit = report.audit.as_ref().expect("an audit");
    assert!(audit.wrong.is_empty() && audit.right > 1000, "{audit:?}");
}

#[test]
#[ignore = "builds the neutral guest: minutes; see docs/TESTING.md"]
fn the_neutral_guest_has_all_features_on_its_own_v8() {
    let ended = in_node("18.20.4", &features());
    has_all_features(&ended);
    assert_eq!(ended.code(), 5, "{}", ended.stderr);
    let server = Program::endless_gameserver().relinked(&features()).env(config::GUEST, neutral_guest());
    let server = server.env(config::AUDIT, "1").guest_output_to_file().start().end_after_guest();
    has_all_features(&server);
}

#[test]
#[ignore = "builds the neutral guest: minutes; see docs/TESTING.md"]
fn one_node_18_has_all_features_on_every_v8_with_adapters() {
    for unit in &UNITS {
        adapter::build(unit, &Silent).unwrap_or_else(|e| panic!("{} {e}", e.code()));
        let line = unit.host_line().expect("a line");
        let ended = in_node(hosts::version_of(line), &features());
        has_all_features(&ended);
        assert_eq!(ended.code(), 5, "{} {}", unit.name(), ended.stderr);
        let own = ended.stdout.lines().enumerate().all(|(n, line)| line == format!("host {}", n + 1));
        assert!(own && !ended.stdout.is_empty(), "{}", ended.stdout);
    }
}

/// What the adapters stand for, one by one: the same as in plain Node, on each V8.
#[test]
#[ignore = "builds the neutral guest: minutes; see docs/TESTING.md"]
fn what_adapters_stand_for_is_as_in_plain_node() {
    let plain = hosts::plain_node(&Silent).expect("plain Node");
    let plain = Command::new(plain).arg(script("adapted.js")).output().expect("plain Node");
    let expected = String::from_utf8_lossy(&plain.stdout).into_owned();
    assert!(expected.ends_with("\nadapted: 15 ok, 0 failed\n"), "{expected}");
    for version in std::iter::once(hosts::NODE_VERSION).chain(UNITS.iter().map(|unit| {
        adapter::build(unit, &Silent).unwrap_or_else(|e| panic!("{} {e}", e.code()));
        hosts::version_of(unit.host_line().expect("a line"))
    })) {
        let ended = in_node(version, &script("adapted.js"));
        assert!(ended.report().error.is_none(), "{version} {:?}", ended.report().error);
        assert_eq!(ended.guest_output(), expected, "{version} {}", ended.stderr);
        assert_eq!((ended.outcome(), ended.code()), (("finished", 0), 5), "{version} {}", ended.stderr);
    }
}

/// The same guest file says 10.2 of its headers, and the host's version of its V8.
#[test]
#[ignore = "builds the neutral guest: minutes; see docs/TESTING.md"]
fn the_neutral_guest_runs_on_the_hosts_v8() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("versions.js");
    std::fs::write(&script, "console.log(process.versions.node, process.versions.v8)").expect("written");
    for unit in &UNITS {
        adapter::build(unit, &Silent).unwrap_or_else(|e| panic!("{} {e}", e.code()));
        let line = unit.host_line().expect("a line");
        let ended = in_node(hosts::version_of(line), &script);
        assert!(ended.report().error.is_none(), "{:?}", ended.report().error);
        let said = ended.guest_output();
        assert!(said.starts_with(&format!("18.20.4 {}.", line.name)), "{said}");
    }
}
