//! Layer: the whole way, on both real hosts. What cannot be brought in is refused with one line and one code, and the
//! host does what it would do without Relink.

#[path = "support/files.rs"]
mod files;
#[path = "support/process.rs"]
mod process;
mod support;

use files::{bytes_of, libc_module};
use process::{Ended, Program};
use relink::config;
use std::path::{Path, PathBuf};
use support::{make_exact, parts};

/// A thing to be refused: what is wrong, the code, words of the message, and how a program gets it.
struct Case {
    what: &'static str,
    code: &'static str,
    says: &'static [&'static str],
    give: fn(Program) -> Program,
}

const fn case(
    what: &'static str,
    code: &'static str,
    says: &'static [&'static str],
    give: fn(Program) -> Program,
) -> Case {
    Case { what, code, says, give }
}

/// A guest of these bytes.
fn guest_of(program: Program, bytes: impl AsRef<[u8]>) -> Program {
    let path = program.file("libguest.so", bytes);
    program.env(config::GUEST, path)
}

/// The real guest with `change` made to its bytes.
fn changed(program: Program, change: impl FnOnce(&mut Vec<u8>)) -> Program {
    let mut bytes = bytes_of(&parts().guest);
    change(&mut bytes);
    guest_of(program, bytes)
}

/// Puts `new` in the place of the only occurrence of `old`, which has the same length.
fn replace(bytes: &mut [u8], old: &str, new: &str) {
    assert_eq!(old.len(), new.len());
    let places: Vec<_> = memchr_all(bytes, old.as_bytes());
    assert!(!places.is_empty(), "{old} is not in the guest");
    for at in places {
        bytes[at..at + new.len()].copy_from_slice(new.as_bytes());
    }
}

fn memchr_all(bytes: &[u8], wanted: &[u8]) -> Vec<usize> {
    let first = |(_, b): &(usize, &u8)| **b == wanted[0];
    let starts = bytes.iter().enumerate().filter(first).map(|(at, _)| at);
    starts.filter(|at| bytes[*at..].starts_with(wanted)).collect()
}

const GUESTS: [Case; 16] = [
    case("no such file", "E0301", &["/nowhere/libnode.so", "No such file", "relink guest path"], |p| {
        p.env(config::GUEST, "/nowhere/libnode.so")
    }),
    case("a folder", "E0301", &["/tmp", "not a regular file"], |p| p.env(config::GUEST, "/tmp")),
    case("a device", "E0301", &["/dev/zero", "not a regular file"], |p| p.env(config::GUEST, "/dev/zero")),
    case("an empty file", "E0302", &["libguest.so", "not an ELF file"], |p| guest_of(p, "")),
    case("a text", "E0302", &["libguest.so", "not an ELF file", "23212f62"], |p| guest_of(p, "#!/bin/sh\n")),
    case("half of the guest", "E0304", &["libguest.so", "truncated", "segment"], |p| {
        changed(p, |bytes| bytes.truncate(bytes.len() / 2))
    }),
    case("the first 100 bytes", "E0304", &["truncated", "program header"], |p| {
        changed(p, |bytes| bytes.truncate(100))
    }),
    case("another machine", "E0303", &["machine", "aarch64", "x86-64"], |p| changed(p, |b| b[18] = 183)),
    case("32 bits", "E0303", &["class (EI_CLASS) is 1"], |p| changed(p, |b| b[4] = 1)),
    case("big-endian", "E0303", &["byte order"], |p| changed(p, |b| b[5] = 2)),
    case("a relocatable object", "E0303", &["type (e_type)"], |p| changed(p, |b| b[16] = 1)),
    case("no note", "E0306", &["libc.so.6", "no Relink note", "relink guest build"], |p| {
        p.env(config::GUEST, libc_module().path)
    }),
    case("a guest for V8 11.3", "E0401", &["11.3.154.26", "10.2.154.26", "--v8-headers"], |p| {
        changed(p, |bytes| {
            replace(bytes, r#""10.2.154.26""#, r#""11.3.154.26""#);
            make_exact(bytes);
        })
    }),
    case("a guest with pointer compression", "E0401", &["pointer compression"], |p| {
        changed(p, |bytes| replace(bytes, r#""pointer_compression":false"#, r#""pointer_compression":true "#))
    }),
    case("a symbol that no V8 has", "E0402", &["lacks 1 symbols", "_ZN2v87Isolate5QqqqqEv"], |p| {
        changed(p, |bytes| replace(bytes, "_ZN2v87Isolate5EnterEv", "_ZN2v87Isolate5QqqqqEv"))
    }),
    case("a library that is not there", "E0308", &["libnxde", "put it beside the guest"], |p| {
        changed(p, |bytes| replace(bytes, "libstdc++.so.6\0", "libnxde++.so.6\0"))
    }),
];

const SETTINGS: [Case; 9] = [
    case("no such script", "E0102", &["/nowhere/x.js", "RELINK_SCRIPT"], |p| {
        p.env(config::SCRIPT, "/nowhere/x.js")
    }),
    case("a folder as script", "E0102", &["/tmp", "Is a directory"], |p| p.env(config::SCRIPT, "/tmp")),
    case("arguments that are no JSON", "E0101", &["RELINK_ARGS", "JSON array"], |p| {
        p.env(config::ARGS, "a b")
    }),
    case("arguments that are no strings", "E0101", &["RELINK_ARGS"], |p| p.env(config::ARGS, "[1]")),
    case("options that are no JSON", "E0101", &["RELINK_NODE_ARGS"], |p| p.env(config::NODE_ARGS, "--x")),
    case("a log level", "E0101", &["RELINK_LOG", "loud", "error"], |p| p.env(config::LOG, "loud")),
    case("a waiting time", "E0101", &["RELINK_WAIT_MS", "soon"], |p| p.env(config::WAIT_MS, "soon")),
    case("no script at all", "E0101", &["RELINK_SCRIPT", "RELINK_GUEST"], |p| p.env(config::SCRIPT, "")),
    case("a provider that is not there", "E0201", &["no V8"], |p| p.env(config::PROVIDER, "libother.so")),
];

/// Hosts that run for less than a second and print all the while; the node one exits with 3.
fn hosts() -> [fn() -> Program; 2] {
    let game = || Program::gameserver(&["--frames", "35", "--fps", "50"]);
    let node = || {
        Program::node(
            "let n = 0; setInterval(() => { console.log('host', ++n); if (n === 28) process.exit(3); }, 25);",
        )
    };
    [game, node]
}

/// Runs a host with what the case gives, and looks into it when the refusal was told.
fn refused(host: fn() -> Program, case: &Case) -> Ended {
    let program = (case.give)(host().relinked_source("console.log('the guest runs')"));
    let mut running = program.start();
    running.wait_for_file("report.json");
    let maps = running.maps();
    let staged = |name: &Path| name.to_string_lossy().contains("relink:") || name.ends_with("libguest.so");
    let left: Vec<_> = maps.0.iter().filter(|m| staged(&m.name)).map(|m| m.name.clone()).collect();
    assert_eq!(left, [] as [PathBuf; 0], "{}", case.what);
    running.wait()
}

fn check(case: &Case, plain: &Ended, ended: &Ended) {
    ended.same_as(plain);
    let lines: Vec<_> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 1, "{}: {}", case.what, ended.stderr);
    assert!(lines[0].starts_with(&format!("relink: {} ", case.code)), "{}: {}", case.what, lines[0]);
    assert!(lines[0].ends_with("; the host goes on without Node"), "{}: {}", case.what, lines[0]);
    for words in case.says {
        assert!(lines[0].contains(words), "{}: \"{words}\" is not in: {}", case.what, lines[0]);
    }
    let error = ended.report().error.as_ref().expect("an error");
    assert_eq!((error.code.as_str(), ended.report().outcome.is_none()), (case.code, true), "{}", case.what);
    assert!(lines[0].contains(&error.message), "{}: {}", case.what, error.message);
}

fn check_all(host: fn() -> Program, cases: &[Case]) {
    let plain = host().run();
    for case in cases {
        check(case, &plain, &refused(host, case));
    }
}

#[test]
fn bad_guests_in_the_game_server() {
    check_all(hosts()[0], &GUESTS);
}

#[test]
fn bad_guests_in_the_official_node() {
    check_all(hosts()[1], &GUESTS);
}

#[test]
fn bad_settings_in_the_game_server() {
    check_all(hosts()[0], &SETTINGS);
}

#[test]
fn bad_settings_in_the_official_node() {
    check_all(hosts()[1], &SETTINGS);
}

#[test]
fn a_v8_that_is_not_ready_in_time() {
    let case = case("no time", "E0203", &["not ready after 1 ms", "RELINK_WAIT_MS"], |p| {
        p.env(config::WAIT_MS, "1")
    });
    // An official node takes tens of milliseconds to its first isolate.
    check_all(hosts()[1], &[case]);
}

#[test]
fn a_process_without_room_is_left_alone() {
    const STEP: u64 = 256 * 1024;
    let gameserver = parts().gameserver.display().to_string();
    let limited = |kib: u64| {
        let command = format!("ulimit -c 0; ulimit -v {kib} && exec \"$@\"");
        Program::new("sh").args(&["-c", &command, "sh", &gameserver, "--frames", "30"])
    };
    // The host runs in this much, and there is less than a GiB to spare.
    let enough = (1..64).map(|n| n * STEP).find(|kib| limited(*kib).run().code() == 0).expect("a limit");
    let program = || limited(enough + STEP);
    let ended = program().relinked_source("1").run();
    ended.same_as(&program().run());
    assert!(ended.stderr.contains("E0505") && ended.stderr.contains("RLIMIT_AS"), "{}", ended.stderr);
    assert_eq!(ended.report().error.as_ref().map(|e| e.code.as_str()), Some("E0505"));
}

#[test]
fn nothing_is_said_when_nothing_shall_be_said() {
    for host in hosts() {
        let program = host().relinked_source("1").env(config::GUEST, "/nowhere").env(config::LOG, "off");
        let ended = program.run();
        ended.same_as(&host().run());
        assert_eq!(ended.stderr, "");
        assert_eq!(ended.report().error.as_ref().map(|e| e.code.as_str()), Some("E0301"));
    }
}

#[test]
fn a_report_that_cannot_be_written_is_told_and_the_guest_runs_all_the_same() {
    for host in hosts() {
        let program = host().guest_output_to_file();
        let program = program
            .relinked_source("console.log('the guest runs')")
            .env(config::REPORT, "/proc/nowhere/r.json");
        let ended = program.run();
        ended.same_as(&host().run());
        assert_eq!(ended.guest_output(), "the guest runs\n");
        let lines: Vec<_> = ended.stderr.lines().collect();
        assert_eq!(lines.len(), 1, "{}", ended.stderr);
        assert!(
            lines[0].starts_with("relink: ") && lines[0].contains("\"/proc/nowhere/r.json\""),
            "{}",
            lines[0]
        );
    }
}

#[test]
fn a_guest_that_never_opens_does_not_hold_the_host_up() {
    for host in hosts() {
        let program = host().relinked_source("1");
        let pipe = program.file("unused", "").with_file_name("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a named pipe");
        program.env(config::GUEST, pipe).run().same_as(&host().run());
    }
}
