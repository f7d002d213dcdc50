//! Process layer: the hosts that talk to their guests, under tools that see wrong uses of memory.

#[path = "support/c_hosts.rs"]
mod c_hosts;
mod support;

use c_hosts::{checked, command, object_with, program_with, root, scripts};
use relink::kit::{extra_hosts, progress};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::parts;
use tempfile::TempDir;

const MODES: [&str; 2] = ["own", "ticked"];

/// The host's side of every call is watched: its memory, and what it is given. `vptr` would want V8's type information.
const SANITIZED: [&str; 3] =
    ["-fsanitize=address,undefined", "-fno-sanitize=vptr", "-fno-sanitize-recover=undefined"];

/// The host of this file in fixtures/capi, with more options for the compiler.
fn host(options: &[&str], file: &str, folder: &Path) -> PathBuf {
    let object = object_with(options, &root().join("fixtures/capi").join(file), folder);
    let name = format!("{file}-watched");
    program_with(options, &name, &[object], folder)
}

/// A host of [`SANITIZED`]; what its guests leave behind is another test's.
fn sanitized(program: &Path) -> Command {
    let mut command = command(program);
    command.env("ASAN_OPTIONS", "detect_leaks=0");
    command
}

/// It ended well, and none of the tools had anything to say.
fn clean(command: &mut Command) -> Output {
    let output = checked(command);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.contains("Sanitizer") && !errors.contains("runtime error"), "{command:?}: {errors}");
    output
}

#[test]
fn hosts_under_sanitizers() {
    let folder = scripts();
    let talk = host(&SANITIZED, "talk.c", folder.path());
    let ends = host(&SANITIZED, "ends.c", folder.path());
    for mode in MODES {
        let mut talk = sanitized(&talk);
        talk.arg(mode).arg(&parts().guest).arg(folder.path());
        assert_eq!(String::from_utf8_lossy(&clean(&mut talk).stdout), "all is well\n", "{mode}");
        for way in ["exit", "uncaught", "loop", "wait", "worker", "server", "abort", "survives"] {
            clean(sanitized(&ends).arg(mode).arg(&parts().guest).arg(way));
        }
    }
    let side = host(&SANITIZED, "side.c", folder.path());
    for way in ["mixed", "nested", "four", "together", "ends", "abort-ticked", "abort-own"] {
        let output = clean(sanitized(&side).arg(&parts().guest).arg(way));
        assert_eq!(String::from_utf8_lossy(&output.stdout), "all is well\n", "{way}");
    }
    let bounds = host(&SANITIZED, "bounds.c", folder.path());
    let script = folder.path().join("loops.js");
    std::fs::write(&script, "for (;;);\n").expect("written");
    clean(sanitized(&bounds).arg("ticked").arg(&parts().guest).arg("deadline").arg(&script));
    let shared = host(&SANITIZED, "shared.cc", folder.path());
    for way in ["objects", "loop", "uncaught", "exit-in-call", "stopped", "disposes", "beside"] {
        clean(sanitized(&shared).arg(&parts().guest).arg(folder.path()).arg(way));
    }
}

/// How many bytes a host has lost after so many guests.
fn lost(again: &Path, mode: &str, guests: u64) -> u64 {
    let mut command = command(again);
    // Else LeakSanitizer judges what the host allocates alone.
    command.env("RELINK_LEAKS", "1");
    let output = command.arg(mode).arg(&parts().guest).arg(guests.to_string()).output().expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    let summary = errors.lines().find_map(|line| line.strip_prefix("SUMMARY: AddressSanitizer: "));
    let summary = summary.unwrap_or_else(|| panic!("no summary: {errors}"));
    let count = summary.split_once(" byte(s) leaked").and_then(|(count, _)| count.parse().ok());
    count.unwrap_or_else(|| panic!("{summary}"))
}

/// A few texts per guest are kept for ever, as Node expects of its command line.
#[test]
#[ignore = "LeakSanitizer may not look at a process everywhere; see docs/TESTING.md"]
fn guests_leave_little_behind() {
    const BOUND: u64 = 8 * 1024;
    let folder = TempDir::new().expect("a folder");
    let again = host(&SANITIZED, "again.c", folder.path());
    for mode in MODES {
        let (one, five) = (lost(&again, mode, 1), lost(&again, mode, 5));
        assert!((five - one) / 4 < BOUND, "{mode}: {one} bytes after one guest, {five} after five");
    }
}

#[test]
#[ignore = "fetches valgrind and the symbols of Debian's C library, which must be the machine's; see docs/TESTING.md"]
fn hosts_under_valgrind() {
    let fetched = extra_hosts::valgrind(progress::terminal().as_ref());
    let valgrind = fetched.unwrap_or_else(|e| panic!("{} {e}", e.code()));
    let folder = scripts();
    let talk = host(&[], "talk.c", folder.path());
    for mode in MODES {
        let mut command = command(&valgrind.executable);
        command.env("VALGRIND_LIB", &valgrind.tools);
        command.arg(format!("--extra-debuginfo-path={}", valgrind.symbols.display()));
        // V8 makes code at run time.
        command.args(["--smc-check=all-non-file", "--leak-check=no", "--error-exitcode=99"]);
        let output = checked(command.arg(&talk).arg(mode).arg(&parts().guest).arg(folder.path()));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains("ERROR SUMMARY: 0 errors"), "{mode}: {errors}");
    }
}
