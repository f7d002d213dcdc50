//! Process layer: Python ends, forks, drops its Runtime or gets a signal while Node is there (fixtures/python/ends.py).

#[path = "support/c_hosts.rs"]
mod c_hosts;
mod support;

use c_hosts::root;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use support::parts;

/// The distribution's Python.
const PYTHON: &str = "/usr/bin/python3.11";
/// More Pythons, with blanks between them, for the test that is only run when asked for.
const MORE: &str = "RELINK_TEST_PYTHONS";

/// What a way prints and ends with.
const ENDS: [(&str, &str, i32); 14] = [
    ("end-busy", "", 0),
    ("end-busy-ticked", "", 0),
    ("end-text", "", 1),
    ("end-os-exit", "", 9),
    ("end-pending", "", 4),
    ("end-sleeping", "", 5),
    ("end-computing", "", 6),
    ("end-locked", "", 1),
    ("end-daemon", "", 7),
    ("end-thread", "", 0),
    ("end-ticker", "", 8),
    ("end-handlers", "3\n", 3),
    ("end-in-a-function", "SystemExit: 2\n", 2),
    ("end-raw", "", 5),
];

const OTHERS: [(&str, &str, i32); 6] = [
    ("dropped", "[7, 8, 7, 8] True 200\n", 0),
    ("dropped-ticked", "dropped\n", 0),
    ("fork", "24 [1, 2] 25 42\n", 0),
    ("fork-ticked", "24 [1, 2] 25 42\n", 0),
    ("signals", "42 7\n 8\n9 [10, 10] 1\nno answer within 250 ms\n\ndestroyed\n", 0),
    ("signals-ticked", "42 7\n 8\n9 [10, 10] 1\nno answer within 250 ms\n 2\n\nstopped\ndestroyed\n", 0),
];

/// Far more than any takes.
const LIMIT: Duration = Duration::from_secs(60);

fn run(python: &str, way: &str) -> Output {
    let mut command = Command::new("timeout");
    command.args(["-s", "KILL", &LIMIT.as_secs().to_string(), python]);
    for name in relink::config::VARIABLES.iter().chain(&[
        "LD_PRELOAD",
        "NODE_OPTIONS",
        "NODE_EXTRA_CA_CERTS",
        "PYTHONHOME",
    ]) {
        command.env_remove(name);
    }
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONPATH", root().join("shim/python"));
    command.env("RELINK_LIBRARY", &parts().library);
    command.env("LD_LIBRARY_PATH", parts().libv8.parent().expect("a folder"));
    command.arg(root().join("fixtures/python/ends.py")).arg(way);
    command.arg(&parts().guest).arg(&parts().libv8).output().expect("it runs")
}

/// How long ago Python began to end.
fn took(errors: &str) -> Option<Duration> {
    let at: f64 = errors.lines().find_map(|line| line.strip_prefix("leaves at "))?.parse().ok()?;
    SystemTime::now().duration_since(UNIX_EPOCH).ok()?.checked_sub(Duration::from_secs_f64(at))
}

fn all(python: &str, ways: &[(&str, &str, i32)]) {
    for (way, said, status) in ways {
        let output = run(python, way);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(String::from_utf8_lossy(&output.stdout), *said, "{python} {way}: {errors}");
        assert_eq!(output.status.code(), Some(*status), "{python} {way}: {errors}");
        if let Some(took) = way.starts_with("end-").then(|| took(&errors)).flatten() {
            // As without Node, and 200 ms, on a machine that has other things to do.
            assert!(took < Duration::from_secs(1), "{python} {way}: {took:?}");
        }
        for bad in ["FATAL", "Fatal Python error", "Exception ignored"] {
            assert!(!errors.contains(bad), "{python} {way}: {errors}");
        }
    }
}

#[test]
fn python_ends_as_without_node() {
    all(PYTHON, &ENDS);
}

#[test]
fn python_is_forked_from_interrupted_and_forgetful() {
    all(PYTHON, &OTHERS);
}

/// `RELINK_TEST_PYTHONS="python3.9 python3.13" cargo test --release --test python_ends -- --ignored`
#[test]
#[ignore = "other versions of Python, which the machine must have"]
fn other_pythons_end_as_without_node() {
    let pythons = std::env::var(MORE).unwrap_or_else(|_| panic!("{MORE} names them"));
    for python in pythons.split_whitespace() {
        assert!(Path::new(python).is_absolute(), "{python} is to be a whole path");
        all(python, &ENDS);
        all(python, &OTHERS);
    }
}
