//! Official nodes 18.0 to 18.19 as hosts: their V8s are older than the one that Node 18.20, the guest, was made for, and had not yet been
//! patched for it.

#[path = "support/process.rs"]
mod process;
mod support;

use process::{Ended, Program};
use relink::abi::adapters::UNITS;
use relink::abi::line::NODES;
use relink::config;
use relink::kit::guest::{self, BuildOptions};
use relink::kit::{adapter, hosts, progress};
use std::path::{Path, PathBuf};
use std::process::Command;
use support::parts;

/// The oldest V8, which has an adapter unit, and the last V8 10.2 without symbols as keys of WeakMaps.
fn hosts() -> [&'static str; 2] {
    [NODES[0].version, "18.19.1"]
}

fn node(version: &str) -> PathBuf {
    let node = hosts::official_node(version, progress::terminal().as_ref());
    node.unwrap_or_else(|e| panic!("{} {e}", e.code()))
}

/// The host waits for the guest's report, and ends with 5.
fn in_node(version: &str, guest: &Path, script: &Path) -> Ended {
    let host = Program::new(node(version));
    let source = "const fs = require('fs');\n\
                  setInterval(() => { if (fs.existsSync(`${__dirname}/report.json`)) process.exit(5); }, 20);";
    let file = host.file("host.js", source).display().to_string();
    let host = host.args(&[&file]).relinked(script).env(config::GUEST, guest);
    host.env(config::AUDIT, "1").guest_output_to_file().start().wait()
}

/// The guest, with what it needs on the oldest V8.
fn neutral_guest() -> PathBuf {
    adapter::build(&UNITS[0], progress::terminal().as_ref()).unwrap_or_else(|e| panic!("{} {e}", e.code()));
    let options = BuildOptions { neutral: true, ..BuildOptions::line(18) };
    let guest = guest::build(&options, progress::terminal().as_ref());
    guest.unwrap_or_else(|e| panic!("{} {e}", e.code())).library
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scripts").join(name)
}

/// With what they lack named, for scripts too.
#[test]
fn a_neutral_node_18_has_all_features_on_the_v8s_of_earlier_nodes_18() {
    for version in hosts() {
        let ended = in_node(version, &neutral_guest(), &fixture("features.js"));
        let (report, said) = (ended.report(), ended.guest_output());
        assert!(report.error.is_none(), "{version}: {:?}", report.error);
        assert_eq!(
            said.lines().last(),
            Some("features: 45 ok, 0 failed"),
            "{version}: {said}\n{}",
            ended.stderr
        );
        assert_eq!((ended.outcome(), ended.code()), (("finished", 0), 5), "{version}: {}", ended.stderr);
        let audit = report.audit.as_ref().expect("an audit");
        assert!(audit.wrong.is_empty() && audit.right > 1000, "{version}: {audit:?}");
        let lost = |what: &str| report.degraded.iter().filter(|lost| lost.contains(what)).count();
        let all = (lost("symbols as keys of WeakMaps"), lost("attributes of imports"), report.degraded.len());
        assert_eq!(all, (1, 1, 2), "{version}: {:?}", report.degraded);
    }
}

/// What such a V8 lacks is what dynamic imports are found by.
#[test]
fn modules_find_their_imports_without_symbols_as_keys() {
    let script = fixture("imports.js");
    let plain = Program::new(node("18.20.4")).args(&[&script.display().to_string()]).run();
    assert_eq!((plain.code(), plain.stdout.lines().count()), (0, 9), "{}{}", plain.stdout, plain.stderr);
    for version in hosts() {
        let ended = in_node(version, &neutral_guest(), &script);
        assert_eq!(ended.guest_output(), plain.stdout, "{version}: {}", ended.stderr);
    }
}

/// The oldest V8 cannot be asked whether a buffer was detached.
#[test]
fn an_empty_buffer_is_not_one_that_was_detached() {
    let script = tempfile::NamedTempFile::with_suffix(".js").expect("a file");
    let source = "const { isUtf8 } = require('buffer'); const full = new ArrayBuffer(8);\n\
                  console.log(isUtf8(new ArrayBuffer(0)), isUtf8(full), isUtf8(new Uint8Array(0)));\n\
                  structuredClone(full, { transfer: [full] });\n\
                  try { isUtf8(full); } catch (e) { console.log(e.code); }";
    std::fs::write(script.path(), source).expect("written");
    for version in hosts() {
        let ended = in_node(version, &neutral_guest(), script.path());
        assert_eq!(
            ended.guest_output(),
            "true true true\nERR_INVALID_STATE\n",
            "{version}: {}",
            ended.stderr
        );
    }
}

/// Without a guest that was asked for, the one that can be without is taken, even if another was built for this very line.
#[test]
fn the_neutral_guest_is_the_one_that_is_chosen() {
    neutral_guest();
    let script = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(script.path(), "process.exit(3)").expect("written");
    let neutral = "Node 18, neutral: on V8 10.2 it loses: attributes of imports";
    for (version, kind) in [("18.19.1", neutral), ("18.20.4", "on V8 10.2 it loses nothing")] {
        let host = node(version);
        let args = [
            "run".as_ref(),
            "--script".as_ref(),
            script.path(),
            "--".as_ref(),
            host.as_path(),
            "-e".as_ref(),
        ];
        let run =
            Command::new(&parts().relink).args(args).arg("setTimeout(() => {}, 3000)").output().expect("run");
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success() && said.contains(kind), "{version}: {} {said}", run.status);
    }
}

/// Node 18.20 as it comes needs the patch, and so does a guest that is not neutral.
#[test]
fn a_stock_node_18_is_refused_there() {
    let ended = in_node("18.19.1", &parts().libv8, &fixture("features.js"));
    let report = ended.report();
    let error = report.error.as_ref().expect("an error");
    assert_eq!(error.code, "E0402", "{error:?}");
    assert!(error.message.contains("SetInternalFieldForNodeCore"), "{error:?}");
    assert_eq!(ended.code(), 5, "{}", ended.stderr);
}
