//! Layer: what an add-on was linked with and what it opens. A Node or a V8 among its libraries is the guest and is not loaded; a
//! library that refers to one is bound to the guest with the add-on; and the loader's functions act for the add-on that calls them.

#[path = "support/process.rs"]
mod process;
mod support;

use process::Program;
use relink::{config, standalone};
use serde_json::{json, Value};
use std::path::Path;
use std::process::Command;
use support::parts;
use tempfile::TempDir;

/// Where sources and libraries are.
struct Build<'f>(&'f Path);

impl Build<'_> {
    /// Compiles a part of fixtures/addons/libraries.c to a file of this name.
    fn part(&self, name: &str, options: &[&str]) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new("gcc");
        command.args(["-std=gnu99", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-isystem"]);
        command.arg(parts().node.with_file_name("../include/node")).arg("-o").arg(self.0.join(name));
        command.arg(root.join("fixtures/addons/libraries.c")).arg(format!("-L{}", self.0.display()));
        command.args(["-Wl,--no-as-needed", "-Wl,--enable-new-dtags"]).args(options);
        let output = command.output().expect("gcc runs");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Two add-ons and their libraries. Versions are asked of a Node and of a library that is bound with the add-on.
fn build(folder: &Path) {
    let build = Build(folder);
    let versions = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("written");
        format!("-Wl,--version-script={}", path.display())
    };
    let of_node = versions("node.map", "NODE_999 { global: napi_*; local: *; };\n");
    let of_inner = versions("inner.map", "INNER_1 { global: inner_*; local: *; };\n");
    let soname = |name: &str| format!("-Wl,-soname,{name}");
    build.part("libnode.so.999", &["-DFAKE_NODE", &of_node, &soname("libnode.so.999")]);
    build.part("libv8_libbase.so", &["-DFAKE_NODE", &soname("libv8_libbase.so")]);
    build.part("libanswer.so", &["-DANSWER=42", &soname("libanswer.so")]);
    build.part("libopened.so", &["-DANSWER=43"]);
    std::fs::create_dir(folder.join("sub")).expect("a folder");
    build.part("sub/libsub.so", &["-DANSWER=44"]);
    let node = "-l:libnode.so.999";
    build.part("libinner.so", &["-DINNER", node, &of_inner, &soname("libinner.so")]);
    let outer =
        ["-DOUTER", "-l:libinner.so", "-l:libv8_libbase.so", &soname("libouter.so"), "-Wl,-rpath,$ORIGIN"];
    build.part("libouter.so", &outer);
    let addon = [node, "-l:libouter.so", "-l:libanswer.so", "-Wl,-rpath,$ORIGIN"];
    build.part("first.node", &addon);
    // One that is nowhere, once it was linked.
    build.part("libnode.so.1000", &["-DFAKE_NODE", &soname("libnode.so.1000")]);
    build.part("second.node", &[&addon[1..], &["-l:libnode.so.1000"]].concat());
    std::fs::remove_file(folder.join("libnode.so.1000")).expect("removed");
}

/// What both say, where libraries are shared by them and by the Worker.
fn check(text: &str, folder: &Path, context: &str) {
    let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert_eq!(lines.len(), 2, "{context}: {text}");
    let folder = folder.display().to_string();
    let missing = "libnowhere.so: cannot open shared object file: No such file or directory";
    let mut calls = 0;
    for said in lines {
        for name in ["first.node", "second.node"] {
            calls += 1;
            let wanted = json!({
                "number": calls, "next": 42, "bare": 43, "origin": 44, "nowhere": missing, "file": format!("{folder}/{name}"),
                "folder": folder, "node": 3, "guarded": 1,
            });
            assert_eq!(said[name], wanted, "{context} {name}");
        }
        assert_eq!(said["loaded"], json!([]), "{context}");
    }
}

#[test]
fn an_add_on_brings_no_other_node_along_and_its_libraries_are_bound_to_the_guest() {
    let folder = TempDir::new().expect("a folder");
    let place = folder.path().canonicalize().expect("a folder");
    build(&place);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/addons/libraries.js");
    for (host, status) in [(Program::endless_gameserver(), 143), (Program::node_until("report.json"), 5)] {
        let program = host.env("ADDONS", &place).relinked(&script).guest_output_to_file();
        // Where ld.so finds them, too.
        let program = program.env(config::GUEST, &parts().guest).env("LD_LIBRARY_PATH", &place);
        let ended = program.start().end_after_guest();
        assert_eq!((ended.outcome(), ended.code()), (("finished", 0), status), "{}", ended.stderr);
        check(&ended.guest_output(), &place, &status.to_string());
    }
}

#[test]
fn the_same_in_relink_node() {
    let folder = TempDir::new().expect("a folder");
    let place = folder.path().canonicalize().expect("a folder");
    build(&place);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/addons/libraries.js");
    let node = Program::new(&parts().relink_node).env(standalone::V8, &parts().libv8);
    let node = node.env(config::GUEST, &parts().guest).env("ADDONS", &place);
    let ended = node.args(&[&script.display().to_string()]).run();
    assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""));
    check(&ended.stdout, &place, "relink node");
}
