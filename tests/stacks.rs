//! Process layer: the stacks that a guest is entered on: threads' own, fibers, a heap's, by turns and nested, too small; and a host whose V8 flags are for larger ones.
//! Scripts that go as deep as they can get a RangeError on each.

#[path = "support/c_hosts.rs"]
mod c_hosts;
mod support;

use c_hosts::{checked, command, host, object_with, root};
use relink::abi::line;
use relink::kit::guest::{self, BuildOptions};
use relink::kit::{hosts, progress};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::parts;
use tempfile::TempDir;

/// Ways and sizes in KiB.
const STACKS: [(&str, u32); 13] = [
    ("fiber", 256),
    ("fiber", 4096),
    ("thread-fiber", 256),
    ("thread-fiber", 700),
    ("thread", 400),
    ("thread", 2048),
    ("turns", 256),
    ("turns", 1024),
    ("nested", 1024),
    ("heap", 512),
    ("stale", 300),
    ("own", 0),
    ("own", 512),
];

#[test]
fn scripts_get_a_range_error_on_every_stack() {
    let folder = TempDir::new().expect("a folder");
    let stacks = host("stacks", folder.path());
    for (way, kib) in STACKS {
        let output = checked(command(&stacks).arg(&parts().guest).arg(way).arg(kib.to_string()));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{way} {kib}");
    }
    let output = checked(command(&stacks).arg(&parts().guest).arg("refused").arg("150"));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with("the stack is too small: 14") && said.contains("256 KiB and more"), "{said}");
}

/// stacks.c as an add-on of official nodes, and their script.
fn in_node(folder: &Path) -> (PathBuf, PathBuf) {
    let object = object_with(&["-DIN_NODE", "-fPIC"], &root().join("fixtures/capi/stacks.c"), folder);
    let addon = folder.join("stacks.node");
    let relink = parts().library.parent().expect("a folder").display();
    let mut linker = Command::new("gcc");
    linker.arg("-shared").arg(object).arg(&parts().library).arg(format!("-Wl,-rpath,{relink}"));
    checked(linker.arg("-o").arg(&addon));
    let script = folder.join("host.js");
    let source = "const it = { exports: {} }; process.dlopen(it, process.argv[2]);\n\
                  console.log(it.exports.stacks(...process.argv.slice(3)));\n";
    std::fs::write(&script, source).expect("written");
    (addon, script)
}

fn guest_20() -> PathBuf {
    let built = guest::build(&BuildOptions::line(20), progress::terminal().as_ref());
    built.unwrap_or_else(|e| panic!("{} {e}", e.code())).library
}

fn node_20() -> PathBuf {
    let version = hosts::version_of(line::of_node(20).expect("a line"));
    let node = hosts::official_node(version, progress::terminal().as_ref());
    node.unwrap_or_else(|e| panic!("{} {e}", e.code()))
}

/// V8's collector reads the thread's own stack from Node 20 on: another one is refused before harm, and the thread's own does.
#[test]
fn a_fiber_is_refused_where_v8_cannot_be_on_one() {
    let folder = TempDir::new().expect("a folder");
    let (addon, script) = in_node(folder.path());
    let (node, guest) = (node_20(), guest_20());
    let run = |guest: &Path, way: &str, kib: &str| -> Output {
        let mut run = command(&node);
        run.arg(&script).arg(&addon).arg(guest).args([way, kib]).output().expect("it runs")
    };
    for (way, kib) in [("thread", "2048"), ("own", "0")] {
        let output = run(&guest, way, kib);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "all is well\n", "{way}: {output:?}");
    }
    for (way, kib) in [("fiber", "1024"), ("thread-fiber", "512"), ("turns", "1024")] {
        let output = run(&guest, way, kib);
        let errors = String::from_utf8_lossy(&output.stderr);
        // host.h's status for an answer that was not expected, which is REFUSED.
        assert_eq!(output.status.code(), Some(71), "{way}: {errors}");
        assert!(
            errors.contains(" is 4: E0601 ") && errors.contains("this stack is not the calling thread's own"),
            "{errors}"
        );
    }
}

/// The flag is the process's: a host with large stacks sets it for all isolates, and Node's thread and Workers have their own.
#[test]
fn a_large_stack_of_the_hosts_is_not_the_guests() {
    let folder = TempDir::new().expect("a folder");
    let script = folder.path().join("deep.js");
    let source = "const { Worker, isMainThread } = require('worker_threads');\n\
        const f = () => f(); try { f(); } catch (error) { console.log(isMainThread, error.name); }\n\
        const o = {}; let p = o; for (let i = 0; i < 1e6; i++) p = p.p = {};\n\
        try { JSON.stringify(o); } catch (error) { console.log(isMainThread, error.name); }\n\
        if (isMainThread) new Worker(__filename);\n";
    std::fs::write(&script, source).expect("written");
    let report = folder.path().join("report.json");
    let host = "const fs = require('fs'); setInterval(() => { if (fs.existsSync(process.argv[1])) process.exit(5); }, 20)";
    for node_args in [
        &[][..],
        &["--node-arg=--stack-size=2000"],
        &["--node-arg=--stack-size=60000"],
        &["--stack-kib=1024"],
    ] {
        let mut run = command(Path::new(env!("CARGO_BIN_EXE_relink")));
        run.args(["run", "--report"])
            .arg(&report)
            .arg("--library")
            .arg(&parts().library)
            .arg("--guest")
            .arg(&parts().guest);
        run.arg("--script").arg(&script).args(node_args).arg("--").arg(&parts().node);
        let output = run.args(["--stack-size=50000", "-e", host]).arg(&report).output().expect("it runs");
        std::fs::remove_file(&report).expect("a report");
        let said = String::from_utf8_lossy(&output.stdout);
        let count = |line: &str| said.lines().filter(|l| *l == line).count();
        assert_eq!(output.status.code(), Some(5), "{node_args:?}: {output:?}");
        assert_eq!((count("true RangeError"), count("false RangeError")), (2, 2), "{node_args:?}: {said}");
    }
}
