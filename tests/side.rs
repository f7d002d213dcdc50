//! Process layer: several runtimes in one host, and the bounds that a host sets them.

#[path = "support/c_hosts.rs"]
mod c_hosts;
mod support;

use c_hosts::{addon, checked, command, host, root};
use relink::abi::line;
use relink::kit::guest::{self, BuildOptions};
use relink::kit::{hosts, progress};
use serde_json::Value;
use std::process::Command;
use support::parts;
use tempfile::TempDir;

/// Both Debian's libnode without a V8 and the stock one.
#[test]
fn runtimes_are_side_by_side() {
    let folder = TempDir::new().expect("a folder");
    let side = host("side", folder.path());
    for way in ["mixed", "nested", "kinds", "four", "together", "ends", "withheld", "signals"] {
        let output = checked(command(&side).arg(&parts().guest).arg(way));
        assert_eq!(String::from_utf8_lossy(&output.stdout), "all is well\n", "{way}");
    }
    let output = checked(command(&side).arg(&parts().libv8).arg("mixed"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "all is well\n", "stock");
}

/// What cannot be beside the others is told, with its reason.
#[test]
fn what_cannot_be_beside_others_is_refused() {
    let folder = TempDir::new().expect("a folder");
    let side = host("side", folder.path());
    let output = checked(command(&side).arg(&parts().guest).arg("refused"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "all is well\n");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.lines().count() == 3 && errors.lines().all(|l| l.starts_with("relink: E0607 ")),
        "{errors}"
    );
}

/// One that aborts takes no other along, on a thread of its own or on the host's.
#[test]
fn a_lost_runtime_leaves_the_others() {
    let folder = TempDir::new().expect("a folder");
    let side = host("side", folder.path());
    let addon = folder.path().join("aborts.node");
    let mut compiler = Command::new("gcc");
    compiler.args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-isystem"]);
    compiler.arg(&parts().headers).arg(root().join("fixtures/capi/aborts_addon.c"));
    checked(compiler.arg("-o").arg(&addon));
    for way in ["abort-ticked", "abort-own", "abort-pool"] {
        let output = checked(command(&side).env("SIDE_ADDON", &addon).arg(&parts().guest).arg(way));
        assert_eq!(String::from_utf8_lossy(&output.stdout), "all is well\n", "{way}");
    }
}

#[test]
fn a_host_leaves_several() {
    let folder = TempDir::new().expect("a folder");
    let side = host("side", folder.path());
    for way in ["leaves", "leaves-within"] {
        let output = command(&side).arg(&parts().guest).arg(way).output().expect("it runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{way}: {errors}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "leaves\n", "{way}");
    }
}

/// A script that keeps the host's thread gives it back.
#[test]
fn a_deadline_ends_a_script_on_the_hosts_thread() {
    let folder = TempDir::new().expect("a folder");
    let bounds = host("bounds", folder.path());
    let script = folder.path().join("loops.js");
    std::fs::write(&script, "for (;;);\n").expect("written");
    let output = checked(command(&bounds).arg("ticked").arg(&parts().guest).arg("deadline").arg(&script));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "all is well\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// Of fixtures/capi/inspector.js: ways that scripts can take to the inspector where it is withheld, and where it is not.
fn told(text: &str) -> (Value, Value) {
    let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    let [withheld, open] = &lines[..] else { panic!("{text}") };
    (withheld.clone(), open.clone())
}

/// No way leads to V8's inspector, and all of them do where it is not withheld. `node`: what process.binding() offers is Node's affair.
fn withheld(text: &str, context: &str) {
    const MISSING: &str = "Inspector error -32601: 'Runtime.evaluate' wasn't found";
    let (withheld, open) = told(text);
    let is = |found: &Value, way: &str, wanted: Value| {
        assert_eq!(found[way], wanted, "{context}: {way} in {found}")
    };
    for way in ["session", "node", "import", "open"] {
        is(&withheld, way, "ERR_INSPECTOR_NOT_AVAILABLE".into());
    }
    for way in ["worker", "fromWorker", "execArgv"] {
        is(&withheld, way, MISSING.into());
    }
    for way in ["internal", "server"] {
        is(&withheld, way, (-32601).into());
    }
    for way in ["session", "node", "internal", "worker", "fromWorker", "execArgv", "server"] {
        is(&open, way, 42.into());
    }
    assert_ne!(withheld["binding"], 42, "{context}: {withheld}");
    is(&open, "open", "open".into());
    for way in ["signal", "debugProcess"] {
        is(&withheld, way, "handled".into());
        is(&open, way, "handled".into());
    }
}

#[test]
fn the_inspector_is_withheld() {
    let folder = TempDir::new().expect("a folder");
    let bounds = host("bounds", folder.path());
    let script = root().join("fixtures/capi/inspector.js");
    for mode in ["own", "ticked"] {
        let output = checked(command(&bounds).arg(mode).arg(&parts().guest).arg("inspector").arg(&script));
        withheld(&String::from_utf8_lossy(&output.stdout), mode);
    }
}

#[test]
fn an_official_node_has_several() {
    several_in_official_nodes(&[18, 20]);
}

#[test]
#[ignore = "builds the guests of Node 22 and 24: minutes; see docs/TESTING.md"]
fn later_official_nodes_have_several() {
    several_in_official_nodes(&[22, 24]);
}

/// An official node of each line is the host of several of its line, of which one has no inspector.
fn several_in_official_nodes(numbers: &[u32]) {
    let folder = TempDir::new().expect("a folder");
    let addon = addon("beside", folder.path());
    let script = folder.path().join("host.js");
    let source = "const [, , file, guest, ways] = process.argv; const it = { exports: {} };\n\
        process.dlopen(it, file);\n\
        for (const line of it.exports.several(guest, ways)) console.log(line);\n\
        setTimeout(() => console.log('the host goes on'), 5);\n";
    std::fs::write(&script, source).expect("written");
    let progress = progress::terminal();
    for &number in numbers {
        let guest = guest::build(&BuildOptions::line(number), progress.as_ref())
            .unwrap_or_else(|e| panic!("{} {e}", e.code()));
        let line = line::of_node(number).expect("a line");
        let node = hosts::official_node(hosts::version_of(line), progress.as_ref());
        let node = node.unwrap_or_else(|e| panic!("{} {e}", e.code()));
        let ways = root().join("fixtures/capi/inspector.js");
        let mut run = command(&node);
        let output = checked(run.arg(&script).arg(&addon).arg(&guest.library).arg(ways));
        let said = String::from_utf8_lossy(&output.stdout);
        let lines: Vec<&str> = said.lines().collect();
        let [sum, bound, open, last] = &lines[..] else { panic!("{number}: {said}") };
        assert_eq!((*sum, *last), ("[\"a\",\"b\",\"c\"]", "the host goes on"), "{number}");
        withheld(&format!("{bound}\n{open}\n"), &format!("node {number}"));
    }
}
