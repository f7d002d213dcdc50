//! Process layer: a host whose V8 comes late and privately (`dlopen` with `RTLD_LOCAL` after the preload constructor has
//! run), behind a wrapper.

#[path = "support/process.rs"]
mod process;
mod support;

use process::Program;
use relink::config;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::parts;

/// Compiles the late host and its engine, the game server as a shared library.
fn compile(folder: &Path) -> (PathBuf, PathBuf) {
    let hosts = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hosts");
    let (host, engine) = (folder.join("latehost"), folder.join("libengine.so"));
    let libraries = parts().libv8.parent().expect("a folder").display().to_string();
    let run = |command: &mut Command| {
        let output = command.output().expect("g++ runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    run(Command::new("g++").args(["-O2", "-o"]).arg(&host).arg(hosts.join("latehost.cc")));
    run(Command::new("g++")
        .args(["-std=c++17", "-O2", "-shared", "-fPIC", "-isystem"])
        .arg(&parts().headers)
        .arg("-o")
        .arg(&engine)
        .arg(hosts.join("gameserver.cc"))
        .arg(&parts().libv8)
        .arg(format!("-Wl,--disable-new-dtags,-rpath,{libraries},-rpath-link,{libraries}")));
    (host, engine)
}

/// The late host behind a shell; its engine runs 120 frames at 60 a second.
fn latehost(host: &Path, engine: &Path) -> Program {
    let line = format!("{} 300 {} --frames 120 --fps 60; exit $?", host.display(), engine.display());
    Program::new("sh").args(&["-c", &line])
}

#[test]
fn a_named_host_gets_node_when_its_v8_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let (host, engine) = compile(folder.path());
    let plain = latehost(&host, &engine).run();
    let features = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scripts/demo.js");
    let program = latehost(&host, &engine).env(config::HOST, "latehost").relinked(&features);
    let ended = program.guest_output_to_file().until_reported().run();
    assert_eq!(ended.outcome(), ("finished", 0), "{}", ended.stderr);
    assert!(ended.guest_output().contains("six of six"), "{}", ended.guest_output());
    assert_eq!((ended.code(), &ended.stdout, &ended.stderr), (plain.code(), &plain.stdout, &plain.stderr));
    assert!(ended.report().host.ends_with("/latehost"), "{}", ended.report().host);
    assert_eq!(ended.report().v8_modules.len(), 1, "{:?}", ended.report().v8_modules);
}

#[test]
fn another_name_means_another_program() {
    let folder = tempfile::tempdir().expect("a folder");
    let (host, engine) = compile(folder.path());
    let plain = latehost(&host, &engine).run();
    let ended =
        latehost(&host, &engine).env(config::HOST, "otherhost").relinked_source("process.exit(9)").run();
    assert_eq!((ended.code(), &ended.stdout, &ended.stderr), (plain.code(), &plain.stdout, &plain.stderr));
    assert!(ended.report.is_none(), "nothing was to happen");
}
