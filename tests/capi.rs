//! Process layer: hosts in C99 that talk to their guest through shim/include/relink.h, on a thread of its own and ticked.

#[path = "support/c_hosts.rs"]
mod c_hosts;
mod support;

use c_hosts::{addon, checked, command, host, object, program, root, scripts};
use relink::abi::line;
use relink::kit::guest::{self, BuildOptions};
use relink::kit::{hosts, progress};
use std::process::Command;
use std::time::{Duration, Instant};
use support::parts;
use tempfile::TempDir;

/// How the guest runs.
const MODES: [&str; 2] = ["own", "ticked"];

#[test]
fn the_header_is_strict_c_and_cpp_and_needs_no_other() {
    let folder = TempDir::new().expect("a folder");
    let text = std::fs::read_to_string(root().join("shim/include/relink.h")).expect("the header");
    assert!(!text.contains("#include"));
    for (compiler, standard, name) in [
        ("gcc", "-std=c99", "a.c"),
        ("gcc", "-std=c11", "a.c"),
        ("g++", "-std=c++11", "a.cc"),
        ("g++", "-std=c++20", "a.cc"),
    ] {
        let source = folder.path().join(name);
        std::fs::write(
            &source,
            "#include \"relink.h\"\nint main(void) { relink_options o; (void)o; return 0; }\n",
        )
        .expect("written");
        let mut command = Command::new(compiler);
        command.args([
            standard,
            "-Wall",
            "-Wextra",
            "-Werror",
            "-pedantic",
            "-fsyntax-only",
            "-nostdinc",
            "-I",
        ]);
        checked(command.arg(root().join("shim/include")).arg(&source));
    }
}

/// Everything that the header offers.
#[test]
fn a_host_talks_to_its_guest() {
    let folder = scripts();
    let talk = host("talk", folder.path());
    for guest in [&parts().guest, &parts().libv8] {
        for mode in MODES {
            let output = checked(command(&talk).arg(mode).arg(guest).arg(folder.path()));
            assert_eq!(
                String::from_utf8_lossy(&output.stdout),
                "all is well\n",
                "{mode} {}",
                guest.display()
            );
            let errors = String::from_utf8_lossy(&output.stderr);
            // What it asks for on purpose is told.
            assert!(errors.lines().all(|line| line.starts_with("relink: E0301 ")), "{mode}: {errors}");
        }
    }
}

/// How a guest ends, and what its report says then.
const ENDINGS: [(&str, &str, i32); 11] = [
    ("exit", "exit", 7),
    ("uncaught", "uncaught", 1),
    ("rejection", "uncaught", 1),
    ("loop", "stopped", 1),
    ("wait", "stopped", 1),
    ("heap", "heap-limit", 134),
    ("worker", "stopped", 1),
    ("idle", "stopped", 1),
    ("server", "stopped", 1),
    ("abort", "abort", 134),
    ("nested-abort", "abort", 134),
];

#[test]
fn a_guest_ends_and_its_host_goes_on() {
    let folder = TempDir::new().expect("a folder");
    let ends = host("ends", folder.path());
    for mode in MODES {
        for (way, how, code) in ENDINGS {
            // Its own thread is parked, so the call that aborts is answered by nobody.
            if (mode, way) == ("own", "nested-abort") {
                continue;
            }
            let output = checked(command(&ends).arg(mode).arg(&parts().guest).arg(way));
            let told = String::from_utf8_lossy(&output.stdout);
            let wanted = format!("\"how\":\"{how}\",\"exit_code\":{code},");
            assert!(told.starts_with(&wanted), "{mode} {way}: {told}");
        }
        for way in ["survives", "disallowed", "signalled"] {
            let output = checked(command(&ends).arg(mode).arg(&parts().guest).arg(way));
            let (told, errors) =
                (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert_eq!(
                (told.trim(), &*errors),
                (if way == "survives" { "survived" } else { way }, ""),
                "{mode}"
            );
        }
    }
}

/// How a guest in an isolate of the host's is used, and what its report says at last.
const SHARED: [(&str, &str, i32); 10] = [
    ("objects", "stopped", 1),
    ("loop", "stopped", 1),
    ("settings", "stopped", 1),
    ("uncaught", "uncaught", 1),
    ("exit", "exit", 7),
    ("exit-in-call", "exit", 7),
    ("stopped", "stopped", 1),
    ("stopped-outside", "stopped", 1),
    ("not-entered", "stopped", 1),
    ("beside", "uncaught", 1),
];

#[test]
fn scripts_of_the_host_and_nodes_share_an_isolate() {
    let folder = scripts();
    let source = root().join("fixtures/capi/shared.cc");
    let shared = program("shared", &[object(&source, folder.path())], folder.path());
    for (way, how, code) in SHARED {
        let output = checked(command(&shared).arg(&parts().guest).arg(folder.path()).arg(way));
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(told.starts_with(&format!("{{\"how\":\"{how}\",\"exit_code\":{code},")), "{way}: {told}");
    }
    for (way, status) in [("leaves", 5), ("disposes", 0)] {
        let started = Instant::now();
        let output =
            command(&shared).arg(&parts().guest).arg(folder.path()).arg(way).output().expect("it runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*errors), (Some(status), ""), "{way}");
        // Nobody waits for a guest that the host's own thread ticks.
        assert!(started.elapsed() < Duration::from_secs(30), "{way}");
    }
}

/// The host calls exit() while its guest serves, also from within one of the guest's scripts.
#[test]
fn a_host_leaves_before_its_guest() {
    let folder = TempDir::new().expect("a folder");
    let ends = host("ends", folder.path());
    for mode in MODES {
        for way in ["leaves", "leaves-in-script"] {
            let output = command(&ends).arg(mode).arg(&parts().guest).arg(way).output().expect("it runs");
            assert_eq!(
                output.status.code(),
                Some(5),
                "{mode} {way}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            assert_eq!(String::from_utf8_lossy(&output.stdout), "leaves\n", "{mode} {way}");
        }
    }
}

/// What a host has after a cycle.
#[derive(Debug, serde::Deserialize)]
struct Cycle {
    threads: i64,
    descriptors: i64,
    mappings: i64,
    resident: i64,
}

/// Guests come and go, alone or beside two that last, and nothing grows. `settled`: the cycle from which on memory is compared.
#[test]
fn guests_are_created_and_destroyed_over_and_over() {
    let folder = TempDir::new().expect("a folder");
    let again = host("again", folder.path());
    let alone = &[][..];
    for (mode, count, settled, beside) in [
        ("ticked", 100, 40, alone),
        ("own", 40, 25, alone),
        ("ticked", 100, 40, &["beside"]),
        ("own", 60, 30, &["beside"]),
    ] {
        let mut run = command(&again);
        let output = checked(run.arg(mode).arg(&parts().guest).arg(count.to_string()).args(beside));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{mode}");
        let text = String::from_utf8_lossy(&output.stdout);
        let cycles: Vec<Cycle> = text.lines().map(|l| serde_json::from_str(l).expect("a cycle")).collect();
        assert_eq!(cycles.len(), count, "{mode}");
        for cycle in &cycles {
            let first = &cycles[0];
            assert_eq!((cycle.threads, cycle.descriptors), (first.threads, first.descriptors), "{mode}");
        }
        let (early, last) = (&cycles[settled], &cycles[count - 1]);
        assert!(last.mappings - early.mappings < 20, "{mode}: {early:?} {last:?}");
        // A leak of one 64th of a guest's memory per cycle would show.
        assert!(last.resident - early.resident < 24 * 1024, "{mode}: {early:?} {last:?}");
    }
}

/// docs/examples, compiled with every warning an error, do what they say.
#[test]
fn the_examples_work() {
    let folder = TempDir::new().expect("a folder");
    let hello = root().join("docs/examples/hello.c");
    // The same file is plain C99 for a program of the reader's own.
    let mut plain = Command::new("gcc");
    plain.args(["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I"]);
    checked(plain.arg(root().join("shim/include")).arg(&hello));
    let examples = [
        ("hello.c", "the script asks for [\"world\"]\nNode says \"Hello, world! linux\"\n"),
        ("frames.cc", "Node says \"you asked for /frames\"\n"),
    ];
    for (name, said) in examples {
        let source = root().join("docs/examples").join(name);
        let program = program(&format!("{name}.host"), &[object(&source, folder.path())], folder.path());
        let output = checked(command(&program).arg(&parts().guest));
        assert_eq!(String::from_utf8_lossy(&output.stdout), said);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    }
}

/// The pkg-config file leads a compiler to header and library.
#[test]
fn pkg_config_knows_the_library() {
    let folder = TempDir::new().expect("a folder");
    let prefix = folder.path().display().to_string();
    let filled = std::fs::read_to_string(root().join("shim/relink.pc.in")).expect("the file");
    let filled = filled.replace("@PREFIX@", &prefix).replace("@VERSION@", env!("CARGO_PKG_VERSION"));
    std::fs::write(folder.path().join("relink.pc"), filled).expect("written");
    for (name, from) in [("lib", &parts().library), ("include", &root().join("shim/include/relink.h"))] {
        std::fs::create_dir(folder.path().join(name)).expect("a folder");
        std::fs::copy(from, folder.path().join(name).join(from.file_name().expect("a name")))
            .expect("copied");
    }
    let mut asked = Command::new("pkg-config");
    let said = checked(asked.args(["--cflags", "--libs", "relink"]).env("PKG_CONFIG_PATH", &prefix)).stdout;
    let source = folder.path().join("version.c");
    let code =
        "#include <relink.h>\n#include <stdio.h>\nint main(void) { return puts(relink_version()) < 0; }\n";
    std::fs::write(&source, code).expect("written");
    let program = folder.path().join("version");
    let mut compiler = Command::new("gcc");
    compiler.args(["-std=c99", "-Wall", "-Wextra", "-Werror"]).arg(&source).arg("-o").arg(&program);
    checked(compiler.args(String::from_utf8_lossy(&said).split_whitespace()));
    let mut run = command(&program);
    let output = checked(run.env("LD_LIBRARY_PATH", folder.path().join("lib")));
    assert_eq!(String::from_utf8_lossy(&output.stdout), concat!(env!("CARGO_PKG_VERSION"), "\n"));
}

/// An add-on of an official node makes that node the host of another one; also of the next line.
#[test]
fn an_official_node_talks_to_its_guest() {
    let folder = TempDir::new().expect("a folder");
    let addon = addon("in_node", folder.path());
    let script = folder.path().join("host.js");
    let source = "const [, , file, mode, guest] = process.argv; const it = { exports: {} };\n\
        process.dlopen(it, file);\n\
        for (let i = 0; i < 2; i++) console.log(it.exports.talk(mode, guest));\n\
        const { Worker } = require('worker_threads');\n\
        new Worker('require(`worker_threads`).parentPort.postMessage(1)', { eval: true })\n\
          .on('message', () => setTimeout(() => console.log('the host goes on'), 5));\n";
    std::fs::write(&script, source).expect("written");
    let progress = progress::terminal();
    let guest_20 = guest::build(&BuildOptions::line(20), progress.as_ref())
        .unwrap_or_else(|e| panic!("{} {e}", e.code()))
        .library;
    let line_20 = line::of_node(20).expect("a line");
    let node_20 = hosts::official_node(hosts::version_of(line_20), progress.as_ref());
    let node_20 = node_20.unwrap_or_else(|e| panic!("{} {e}", e.code()));
    for (node, guest, line) in [(&parts().node, &parts().guest, 18), (&node_20, &guest_20, 20)] {
        for mode in MODES {
            let output = checked(command(node).arg(&script).arg(&addon).arg(mode).arg(guest));
            let said = format!("[42,\"v{line}\",\"function\"]\n");
            let wanted = format!("{said}{said}the host goes on\n");
            assert_eq!(String::from_utf8_lossy(&output.stdout), wanted, "{mode} {line}");
        }
    }
}
