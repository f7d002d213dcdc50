//! Neutral guests: V8's headers rewritten by rules, and one Node 18, 20, 22, 24 each on its own V8 and later ones.
//!
//! The guests of Node 22 and 24 take minutes to build, and all pairs take minutes to run, so most tests that run them are only run when
//! asked for (`cargo test --release --test neutral -- --ignored`).

#[path = "support/data.rs"]
mod data;
#[path = "support/facts.rs"]
mod facts;
#[path = "support/process.rs"]
mod process;
mod support;

use data::data;
use facts::facts;
use process::{Ended, Program};
use relink::abi::adapters::{Unit, UNITS};
use relink::abi::catalogue::{known, KnownAbi};
use relink::abi::layout::{words, Field};
use relink::abi::line;
use relink::config;
use relink::kit::guest::{self, BuildOptions};
use relink::kit::headers::V8Headers;
use relink::kit::neutral::neutralise;
use relink::kit::progress::Silent;
use relink::kit::{adapter, hosts, KitError};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The real V8 headers of a Node.
fn headers_of(node: u32) -> PathBuf {
    if node == 18 {
        return support::parts().headers.clone();
    }
    let line = line::of_node(node).expect("a line");
    let host = hosts::official_node(hosts::version_of(line), &Silent);
    let host = host.unwrap_or_else(|e| panic!("{} {e}", e.code()));
    host.ancestors().nth(2).expect("a folder").join("include/node")
}

/// A copy of them.
fn copy_of_headers(node: u32) -> (TempDir, V8Headers) {
    let folder = tempfile::tempdir().expect("a folder");
    V8Headers::read("headers", &headers_of(node)).expect("headers").copy_to(folder.path()).expect("a copy");
    let headers = V8Headers::read("headers", folder.path()).expect("headers");
    (folder, headers)
}

fn neutral_headers(node: u32) -> (TempDir, Vec<Field>) {
    let (folder, headers) = copy_of_headers(node);
    let fields = neutralise(folder.path(), &headers, facts(node)).expect("rules for all of its headers");
    (folder, fields)
}

#[test]
fn the_rules_cover_the_real_headers_of_node_18() {
    the_rules_cover(18, 288, -1);
}

#[test]
fn the_rules_cover_the_real_headers_of_node_20() {
    let fields = the_rules_cover(20, 496, -1);
    let never = "v8::internal::Internals::kTracedNodeClassIdOffset";
    assert!(fields.iter().any(|field| field.name == never && !field.read));
}

#[test]
fn the_rules_cover_the_real_headers_of_node_22() {
    let fields = the_rules_cover(22, 592, 0);
    let never = "v8::internal::Internals::kExternalPointerTableBasePointerOffset";
    assert!(fields.iter().any(|field| field.name == never && !field.read));
}

#[test]
fn the_rules_cover_the_real_headers_of_node_24() {
    let (folder, fields) = neutral_headers(24);
    let value = |name: &str| fields.iter().find(|f| f.name == name).map(|f| (f.value, f.read));
    assert_eq!(value("v8::internal::Internals::kIsolateRootsOffset"), Some((640, true)));
    assert_eq!(value("v8::FunctionCallbackInfo<v8::Value>::kDataIndex"), Some((-1, true)));
    assert_eq!(value("v8::JSVisitor::traced_slot"), Some((10, true)));
    let bit = "cppgc::internal::api_constants::kFullyConstructedBitMask";
    assert_eq!(value(bit), Some((1, true)));
    assert!(fields.len() > 100, "{}", fields.len());
    // What it reads is told by every later V8 that there are adapters for.
    let later = |abi: &&KnownAbi| {
        let host = (abi.last.major, abi.last.minor);
        UNITS.iter().any(|unit| unit.guest == (13, 6) && unit.host == host)
    };
    for host in known().iter().filter(later) {
        let host = host.facts();
        let told = words(&fields, host).expect("all that is read");
        let of = |name: &str| told[fields.iter().position(|f| f.name == name).expect("a field")];
        assert_eq!(of("v8::JSVisitor::traced_slot"), 11);
    }
    let text = std::fs::read_to_string(folder.path().join("v8-internal.h")).expect("the header");
    assert!(
        text.contains("#include \"v8-relink-layout.h\"") && !text.contains("static const int kNodeStateMask")
    );
}

fn the_rules_cover(node: u32, roots: i32, default_slot: i32) -> Vec<Field> {
    let (folder, fields) = neutral_headers(node);
    let value = |name: &str| fields.iter().find(|f| f.name == name).map(|f| (f.value, f.read));
    assert_eq!(value("v8::internal::Internals::kIsolateRootsOffset"), Some((roots, true)));
    assert_eq!(value("v8::FunctionCallbackInfo<v8::Value>::kDataIndex"), Some((4, true)));
    assert_eq!(value("v8::ReturnValue::default_slot"), Some((default_slot, true)));
    assert!(fields.len() > 70, "{}", fields.len());
    let text = std::fs::read_to_string(folder.path().join("v8-internal.h")).expect("the header");
    // Later ones have more of them for the sandbox, which are compiled out.
    let left: Vec<_> = text.lines().filter(|l| l.contains("static const int kIsolate")).collect();
    let sandboxs = |l: &&str| ["ExternalPointerTable", "Trusted"].iter().any(|part| l.contains(part));
    assert!(left.iter().all(sandboxs), "{left:?}");
    fields
}

/// Headers of a V8 that there are no rules for.
#[test]
fn headers_without_rules_are_refused() {
    let (folder, _) = copy_of_headers(18);
    let path = folder.path().join("v8-version.h");
    let text = std::fs::read_to_string(&path).expect("the header");
    std::fs::write(&path, text.replace("V8_MINOR_VERSION 2", "V8_MINOR_VERSION 3")).expect("written");
    let headers = V8Headers::read("headers", folder.path()).expect("headers");
    let error = neutralise(folder.path(), &headers, facts(18)).expect_err("no rules");
    assert_eq!(error.code(), "E0715");
    assert!(error.to_string().contains("V8 10.3.154.26"), "{error}");
}

/// Code compiled with the neutral headers reads isolates, callbacks and handles by the table, not by its own numbers.
#[test]
fn compiled_code_reads_the_table() {
    code_reads_the_table(18, 536);
    code_reads_the_table(20, 536);
    code_reads_the_table(22, 536);
    // 13.6 does not start with the hole (root 5), but with undefined (root 4).
    code_reads_the_table(24, 528);
}

/// `default`: the place of the root that a return value is by default.
fn code_reads_the_table(node: u32, default: u32) {
    let (folder, fields) = neutral_headers(node);
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
    let flags = ["-std=c++20", "-O2", "-w", "-Wl,--unresolved-symbols=ignore-all", "-o"];
    let built =
        Command::new("g++").args(flags).arg(&program).arg(&text).arg("-I").arg(folder.path()).output();
    let built = built.expect("g++");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let ran = Command::new(&program).output().expect("it runs");
    // Data slot 1 at 464 + 8; root 7 (true) at 496 + 56; the default is root 5 (the hole) at 496 + 40.
    assert_eq!(String::from_utf8_lossy(&ran.stdout), format!("472 552 1 {default}\n"));
}

/// Rewrites one text in a copy of the headers; gives the refusal.
fn refusal(file: &str, from: &str, to: &str) -> (PathBuf, usize, String) {
    let (folder, _) = copy_of_headers(18);
    let path = folder.path().join(file);
    let text = std::fs::read_to_string(&path).expect("the header");
    assert!(text.contains(from), "{file} has no {from}");
    std::fs::write(&path, text.replacen(from, to, 1)).expect("written");
    let headers = V8Headers::read("headers", folder.path()).expect("headers");
    let error = neutralise(folder.path(), &headers, facts(18)).expect_err("no rule");
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

fn neutral_guest(node: u32) -> PathBuf {
    guest::build(&BuildOptions::line(node), &Silent).unwrap_or_else(|e| panic!("{} {e}", e.code())).library
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scripts").join(name)
}

fn features() -> PathBuf {
    script("features.js")
}

/// The official node of a version with a neutral guest in it; the host counts, and ends with 5 when the guest has ended.
fn in_node(guest: u32, version: &str, script: &Path) -> Ended {
    let host =
        Program::new(hosts::official_node(version, &Silent).unwrap_or_else(|e| panic!("{} {e}", e.code())));
    let source = "const fs = require('fs'); let n = 0;\n\
                  setInterval(() => { console.log('host', ++n);\n\
                    if (fs.existsSync(`${__dirname}/report.json`)) process.exit(5); }, 20);";
    let file = host.file("host.js", source).display().to_string();
    // What a script leaves in the folder for temporary files goes with this one.
    let folder = Path::new(&file).parent().expect("a folder").to_owned();
    let relinked = host.args(&[&file]).relinked(script).env(config::GUEST, neutral_guest(guest));
    relinked.env("TMPDIR", folder).env(config::AUDIT, "1").guest_output_to_file().start().wait()
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

/// The units for neutral guests of a Node, built.
fn units_of(node: u32) -> Vec<&'static Unit> {
    // Those for V8s that a Node has; tests/component.rs has the others.
    let of_node =
        |unit: &&Unit| !unit.cxx.is_libcxx() && unit.guest_line().is_some_and(|line| line.node == node);
    let units: Vec<_> = UNITS.iter().filter(of_node).collect();
    assert!(units.len() >= 2, "Node {node}");
    for unit in &units {
        adapter::build(unit, &Silent).unwrap_or_else(|e| panic!("{} {e}", e.code()));
    }
    units
}

/// The newest V8 that there are units for.
fn newest_host() -> (u32, u32) {
    UNITS.iter().map(|unit| unit.host).max().expect("a unit")
}

/// The official node of a unit's hosts.
fn host_of(unit: &Unit) -> &'static str {
    hosts::version_of(unit.host_line().expect("a line"))
}

#[test]
#[ignore = "builds guests, runs many pairs: minutes; see docs/TESTING.md"]
fn the_neutral_guest_has_all_features_on_its_own_v8() {
    for (node, host) in [(18, "18.20.4"), (20, "20.20.2"), (22, "22.23.3"), (24, "24.21.0")] {
        let ended = in_node(node, host, &features());
        has_all_features(&ended);
        assert_eq!(ended.code(), 5, "{}", ended.stderr);
    }
    let guest = neutral_guest(18);
    let server = Program::endless_gameserver().relinked(&features()).env(config::GUEST, guest);
    let server = server.env(config::AUDIT, "1").guest_output_to_file().start().end_after_guest();
    has_all_features(&server);
}

/// A unit's guest in the official node that is its host.
fn has_all_features_on(node: u32, unit: &Unit) {
    let ended = in_node(node, host_of(unit), &features());
    has_all_features(&ended);
    assert_eq!(ended.code(), 5, "{} {}", unit.name(), ended.stderr);
    let own = ended.stdout.lines().enumerate().all(|(n, line)| line == format!("host {}", n + 1));
    assert!(own && !ended.stdout.is_empty(), "{}", ended.stdout);
}

fn has_all_features_on_every_v8(node: u32) {
    units_of(node).into_iter().for_each(|unit| has_all_features_on(node, unit));
}

/// Those that are built for every run of the tests, on a V8 with many changes below it and on the newest.
#[test]
fn node_18_and_20_have_all_features_on_newer_v8s() {
    for node in [18, 20] {
        let of_node = |unit: &&Unit| unit.guest_line().is_some_and(|line| line.node == node);
        let newest = newest_host();
        let newer = |unit: &&Unit| [(12, 4), newest].contains(&unit.host);
        let units: Vec<_> = UNITS.iter().filter(of_node).filter(newer).collect();
        assert_eq!(units.len(), 2);
        for unit in units {
            adapter::build(unit, &Silent).unwrap_or_else(|e| panic!("{} {e}", e.code()));
            has_all_features_on(node, unit);
        }
    }
}

/// Since 12.9 V8 enforces what flags imply only when it is initialised, and the host's already is: --prof alone writes no ticks.
#[test]
fn flags_of_a_guest_imply_what_they_do_in_plain_node() {
    let newest = ((10, 2), newest_host());
    let unit = UNITS.iter().find(|unit| (unit.guest, unit.host) == newest).expect("a unit");
    adapter::build(unit, &Silent).unwrap_or_else(|e| panic!("{} {e}", e.code()));
    let node = hosts::official_node(host_of(unit), &Silent).unwrap_or_else(|e| panic!("{} {e}", e.code()));
    let host = Program::new(node).args(&["-e", "setInterval(() => {}, 50)"]);
    let log = host.file("v8.log", "");
    let until_there_is_a_tick = format!(
        "const fs = require('fs'), end = Date.now() + 60_000;\n\
         while (!fs.readFileSync('{}', 'utf8').includes('\\ntick,')) if (Date.now() > end) process.exit(3);",
        log.display()
    );
    let options = format!(r#"["--prof", "--no-logfile-per-isolate", "--logfile={}"]"#, log.display());
    let host = host.env(config::NODE_ARGS, options).env(config::GUEST, neutral_guest(18));
    let ended = host.relinked_source(&until_there_is_a_tick).start().kill_after_guest();
    assert_eq!(ended.outcome(), ("finished", 0), "{}", ended.stderr);
}

#[test]
#[ignore = "builds guests, runs many pairs: minutes; see docs/TESTING.md"]
fn one_node_18_has_all_features_on_every_v8_with_adapters() {
    has_all_features_on_every_v8(18);
}

#[test]
#[ignore = "builds guests, runs many pairs: minutes; see docs/TESTING.md"]
fn one_node_20_has_all_features_on_every_v8_with_adapters() {
    has_all_features_on_every_v8(20);
}

#[test]
#[ignore = "builds guests, runs many pairs: minutes; see docs/TESTING.md"]
fn one_node_22_has_all_features_on_every_v8_with_adapters() {
    has_all_features_on_every_v8(22);
}

#[test]
#[ignore = "builds guests, runs many pairs: minutes; see docs/TESTING.md"]
fn one_node_24_has_all_features_on_every_v8_with_adapters() {
    has_all_features_on_every_v8(24);
}

/// What adapters stand for, one by one: the same as in plain Node, on each V8.
fn adapters_do_as_plain_node(node: u32) {
    let plain = hosts::version_of(line::of_node(node).expect("a line"));
    let program = hosts::official_node(plain, &Silent).unwrap_or_else(|e| panic!("{} {e}", e.code()));
    let output = Command::new(program).arg(script("adapted.js")).output().expect("plain Node");
    let expected = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(expected.ends_with("\nadapted: 17 ok, 0 failed\n"), "{expected}");
    for version in std::iter::once(plain).chain(units_of(node).into_iter().map(host_of)) {
        let ended = in_node(node, version, &script("adapted.js"));
        assert!(ended.report().error.is_none(), "{version} {:?}", ended.report().error);
        assert_eq!(ended.guest_output(), expected, "{version} {}", ended.stderr);
        assert_eq!((ended.outcome(), ended.code()), (("finished", 0), 5), "{version} {}", ended.stderr);
    }
}

#[test]
#[ignore = "builds guests, runs many pairs: minutes; see docs/TESTING.md"]
fn what_adapters_stand_for_is_as_in_plain_node() {
    adapters_do_as_plain_node(18);
}

#[test]
#[ignore = "builds guests, runs many pairs: minutes; see docs/TESTING.md"]
fn what_adapters_of_node_20_stand_for_is_as_in_plain_node() {
    adapters_do_as_plain_node(20);
}

#[test]
#[ignore = "builds guests, runs many pairs: minutes; see docs/TESTING.md"]
fn what_adapters_of_node_22_stand_for_is_as_in_plain_node() {
    adapters_do_as_plain_node(22);
}

#[test]
#[ignore = "builds guests, runs many pairs: minutes; see docs/TESTING.md"]
fn what_adapters_of_node_24_stand_for_is_as_in_plain_node() {
    adapters_do_as_plain_node(24);
}

/// What the script says of fast calls in a Node with this guest.
fn calls_in(node: u32, version: &str) -> String {
    let ended = in_node(node, version, &script("fast_calls.js"));
    assert_eq!(ended.outcome(), ("finished", 0), "{version} {} {}", ended.guest_output(), ended.stderr);
    // Since 13.6 V8 tells of its own work, too.
    let said = ended.guest_output();
    said.lines()
        .filter(|l| l.ends_with(" fast") || l.ends_with(" slow"))
        .map(|l| format!("{l}\n"))
        .collect::<String>()
}

/// The same if the function that takes an array is called so, and all others so.
fn calls(array: &str, other: &str) -> String {
    let others = ["canParse", "byteLength", "now", "hrtime"].map(|name| format!("{name} {other}\n"));
    others.concat() + &format!("indexOf {array}\n")
}

/// Node 22 has the same functions as Node 20 and types for them that V8 12.9 has changed.
#[test]
#[ignore = "builds the neutral guest: minutes; see docs/TESTING.md"]
fn calls_of_node_22_are_fast_where_v8_means_the_same_by_their_types() {
    assert_eq!(calls_in(22, "22.23.3"), calls("fast", "fast"));
    for unit in units_of(22) {
        assert_eq!(calls_in(22, host_of(unit)), calls("slow", "fast"), "{}", unit.name());
    }
}

/// What optimised code calls the fast way: in Node 20 all that it does in plain Node, but for functions that take arrays from V8 12.9
/// on; in Node 18 the two for time, all that it has.
#[test]
#[ignore = "builds the neutral guests: minutes; see docs/TESTING.md"]
fn calls_are_fast_where_v8_means_the_same_by_their_types() {
    assert_eq!(calls_in(20, "20.20.2"), calls("fast", "fast"));
    for unit in units_of(20) {
        let has = |v8: &&data::V8| v8.features.contains_key("FAST_CALLS_WITHOUT_ARRAYS");
        let without = data().v8s.iter().find(has).expect("a V8").minor;
        let array = if unit.host < without { "fast" } else { "slow" };
        assert_eq!(calls_in(20, host_of(unit)), calls(array, "fast"), "{}", unit.name());
    }
    assert_eq!(calls_in(24, "24.21.0"), calls("fast", "fast"));
    for unit in units_of(24) {
        assert_eq!(calls_in(24, host_of(unit)), calls("slow", "fast"), "{}", unit.name());
    }
    // Its own V8, and the one before, make them by a flag only (--turbo-fast-api-calls).
    for unit in units_of(18) {
        let time = if unit.host < unit.guest { "slow" } else { "fast" };
        let wanted = format!("canParse slow\nbyteLength slow\nnow {time}\nhrtime {time}\nindexOf slow\n");
        assert_eq!(calls_in(18, host_of(unit)), wanted, "{}", unit.name());
    }
}

/// The same guest file says its own version of its Node, and the host's of its V8.
#[test]
#[ignore = "builds guests, runs many pairs: minutes; see docs/TESTING.md"]
fn the_neutral_guest_runs_on_the_hosts_v8() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("versions.js");
    std::fs::write(&script, "console.log(process.versions.node, process.versions.v8)").expect("written");
    for (node, version) in [(18, "18.20.4"), (20, "20.19.2"), (22, "22.22.2"), (24, "24.21.0")] {
        for unit in units_of(node) {
            let ended = in_node(node, host_of(unit), &script);
            assert!(ended.report().error.is_none(), "{:?}", ended.report().error);
            let line = unit.host_line().expect("a line");
            let said = ended.guest_output();
            assert!(said.starts_with(&format!("{version} {}.", line.name)), "{said}");
        }
    }
}
