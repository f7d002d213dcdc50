//! Process layer: hosts that fork, that leave while their guest is in one of their functions, or that lose the thread that it runs on;
//! libraries that call Relink while ld.so loads or unloads them.

#[path = "support/c_hosts.rs"]
mod c_hosts;
mod support;

use c_hosts::{checked, command, host, object, program, root};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use support::parts;
use tempfile::TempDir;

#[test]
fn a_forked_child_is_answered_at_once() {
    let folder = TempDir::new().expect("a folder");
    let forks = host("forks", folder.path());
    for mode in ["own", "ticked"] {
        for way in ["children", "others", "daemon", "before", "while-it-comes"] {
            // A thread that ticks is not forked.
            if (mode, way) == ("ticked", "while-it-comes") {
                continue;
            }
            let output = checked(command(&forks).arg(mode).arg(&parts().guest).arg(way));
            assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{way}\n"), "{mode}");
            let errors = String::from_utf8_lossy(&output.stderr);
            // What it asks for on purpose is told.
            assert!(errors.lines().all(|line| line.starts_with("relink: E0214 ")), "{mode} {way}: {errors}");
        }
    }
}

/// What a host prints and ends with. Those that leave do it within 200 ms.
const WAYS: [(&str, &str, i32); 17] = [
    ("stuck", "in time\n", 7),
    ("slow", "in time\n", 7),
    ("pending", "5 told\nin time\n", 7),
    ("unticked", "in time\n", 7),
    ("ticked-elsewhere", "in time\n", 7),
    ("static-before", "destroyed 5, called 1\nin time\n", 7),
    ("static-after", "destroyed 0, called 1\nin time\n", 7),
    ("handlers", "handler: 0 2\nhandler: 7 \nin time\n", 7),
    ("throws", "lost\nin time\n", 7),
    ("ends-its-thread", "lost\nin time\n", 7),
    ("disconnect-stuck", "left behind\nin time\n", 7),
    ("disconnect-own", "3 told, 0 posted\nin time\n", 0),
    ("disconnect-ticked", "3 told, 1 posted\nin time\n", 0),
    ("ticker-ends", "ended three times\nin time\n", 0),
    ("creator-ends", "goes on\nin time\n", 0),
    ("steps-own", "in steps\nin time\n", 0),
    ("steps-ticked", "in steps\nin time\n", 0),
];

#[test]
fn host_and_guest_part_without_harm() {
    let folder = TempDir::new().expect("a folder");
    let source = root().join("fixtures/capi/parts.cc");
    let partings = program("parts", &[object(&source, folder.path())], folder.path());
    for (way, said, status) in WAYS {
        let output = command(&partings).arg(&parts().guest).arg(way).output().expect("it runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(String::from_utf8_lossy(&output.stdout), said, "{way}: {errors}");
        assert_eq!(output.status.code(), Some(status), "{way}: {errors}");
    }
}

/// fixtures/capi/moment_library.c, linked with librelink.so.
fn moment_library(folder: &Path) -> PathBuf {
    let library = folder.join("moment_library.so");
    let relink = parts().library.parent().expect("a folder").display();
    let mut compiler = Command::new("gcc");
    compiler.args(["-std=c99", "-D_DEFAULT_SOURCE", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]);
    compiler.arg("-I").arg(root().join("shim/include")).arg("-I").arg(root().join("fixtures/capi"));
    compiler.arg(root().join("fixtures/capi/moment_library.c")).arg(&parts().library);
    checked(compiler.arg(format!("-Wl,-rpath,{relink}")).arg("-pthread").arg("-o").arg(&library));
    library
}

/// What a library does while dlopen() or dlclose() holds ld.so's lock, and what it is answered.
const MOMENTS: [(&str, &str); 6] = [
    ("create", "create 4 E0212 \n"),
    ("tick", "create 4 E0212 \n"),
    ("probe", "probe 0 \n"),
    ("thread", "thread 4 E0212 \n"),
    ("destroy", "destroy 3 E0212 \nagain 3 E0212 \n"),
    ("stop", "stop 3 E0212 \n"),
];

#[test]
fn a_call_from_within_dlopen_is_answered_in_time() {
    let folder = TempDir::new().expect("a folder");
    let moments = host("moments", folder.path());
    let library = moment_library(folder.path());
    for (way, said) in MOMENTS {
        let mut run = command(&moments);
        run.env("MOMENT", way).env("GUEST", &parts().guest);
        let output = checked(run.arg(&parts().guest).arg(&library).arg(way));
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{said}goes on\n"), "{way}");
    }
}

#[test]
fn of_two_librelinks_one_brings_node_in() {
    let folder = TempDir::new().expect("a folder");
    let moments = host("moments", folder.path());
    let other = folder.path().join("librelink-other.so");
    std::fs::copy(&parts().library, &other).expect("copied");
    for (first, said) in [(false, "the second is refused\n"), (true, "the first is refused\n")] {
        let mut run = command(&moments);
        if first {
            run.env("FIRST", "1");
        }
        let output = checked(run.arg(&parts().guest).arg(&other).arg("second"));
        assert_eq!(String::from_utf8_lossy(&output.stdout), said);
    }
}

/// A server that becomes a daemon before it initialises its V8.
#[test]
fn a_daemon_has_a_guest() {
    let folder = TempDir::new().expect("a folder");
    let source = root().join("fixtures/capi/daemon.cc");
    let object = object(&source, folder.path());
    let daemon = folder.path().join("daemon");
    let of = |file: &Path| file.parent().expect("a folder").display().to_string();
    let (v8, relink) = (of(&parts().libv8), of(&parts().library));
    let mut linker = Command::new("g++");
    linker.arg(object).arg(&parts().libv8).arg(&parts().library).arg("-pthread");
    linker.arg(format!("-Wl,--disable-new-dtags,-rpath,{v8},-rpath-link,{v8},-rpath,{relink}"));
    checked(linker.arg("-o").arg(&daemon));
    for mode in ["own", "ticked"] {
        let told = folder.path().join(mode);
        checked(command(&daemon).arg(mode).arg(&parts().guest).arg(&told));
        let until = Instant::now() + Duration::from_secs(60);
        while !told.exists() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(std::fs::read_to_string(&told).expect("told"), "42\n", "{mode}");
    }
}
