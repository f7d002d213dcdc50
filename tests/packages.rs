//! Process layer: guests that come and go with add-ons as people have them (@swc/core, sharp, node-pty), on a thread of their own and
//! ticked: nothing of them is left, and they take no more memory than the same add-ons in plain Node's Workers.

#[path = "support/c_hosts.rs"]
mod c_hosts;
mod support;

use c_hosts::{checked, command, host, root};
use relink::kit::{cache::Cache, npm, progress};

use std::process::Command;
use support::parts;
use tempfile::TempDir;

/// Name, version. The first is compiled Rust, the second needs the third; the rest is what sharp needs in JavaScript.
const PACKAGES: [(&str, &str); 13] = [
    ("@swc/core-linux-x64-gnu", "1.16.22"),
    ("@img/sharp-linux-x64", "0.33.5"),
    ("@img/sharp-libvips-linux-x64", "1.0.4"),
    ("@lydell/node-pty-linux-x64", "1.1.0"),
    ("sharp", "0.33.5"),
    ("color", "4.2.3"),
    ("color-string", "1.9.1"),
    ("color-convert", "2.0.1"),
    ("color-name", "1.1.4"),
    ("simple-swizzle", "0.2.2"),
    ("is-arrayish", "0.3.2"),
    ("detect-libc", "2.0.3"),
    ("semver", "7.6.3"),
];

/// What a process has after a cycle; memory in KiB.
#[derive(Clone, Copy, Debug, serde::Deserialize)]
struct Cycle {
    threads: i64,
    descriptors: i64,
    mappings: i64,
    resident: i64,
}

/// A folder with all of them, as npm lays them out.
fn packages() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let cache = Cache::locate().expect("a cache");
    for (name, version) in PACKAGES {
        let from = npm::package(&cache, name, version, progress::terminal().as_ref()).expect("the package");
        let to = folder.path().join("node_modules").join(name);
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        checked(Command::new("cp").arg("-r").arg(from.canonicalize().expect("a folder")).arg(&to));
    }
    folder
}

fn cycles(command: &mut Command, count: usize, what: &str) -> Vec<Cycle> {
    let output = checked(command);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{what}");
    let text = String::from_utf8_lossy(&output.stdout);
    let cycles: Vec<Cycle> = text.lines().map(|l| serde_json::from_str(l).expect("a cycle")).collect();
    assert_eq!(cycles.len(), count, "{what}");
    cycles
}

/// `settled`: the cycle from which on everything is compared with the last one. `slack`: how many MiB more than plain Node it may take,
/// on a thread of its own and ticked: each new thread may get another arena of the allocator's.
fn they_come_and_go(count: usize, settled: usize, slack: [i64; 2]) {
    let (folder, packages) = (TempDir::new().expect("a folder"), packages());
    let script = root().join("fixtures/addons/packages.js");
    let mut plain = command(&parts().node);
    let plain = plain.env("PACKAGES", packages.path()).env("CYCLES", count.to_string()).arg(&script);
    let plain = cycles(plain, count, "plain");
    let of_plain = plain[count - 1].resident - plain[settled].resident;
    let again = host("again", folder.path());
    for (mode, slack) in [("own", slack[0]), ("ticked", slack[1])] {
        let mut run = command(&again);
        run.env("PACKAGES", packages.path()).env("AGAIN_SCRIPT", &script);
        let cycles = cycles(run.arg(mode).arg(&parts().guest).arg(count.to_string()), count, mode);
        let (early, last) = (cycles[settled], cycles[count - 1]);
        let seen = format!("{mode}: {early:?} {last:?}; plain Node grows by {of_plain} KiB");
        println!("{seen}");
        assert_eq!((last.threads, last.descriptors), (early.threads, early.descriptors), "{seen}");
        assert!(last.mappings - early.mappings < 10, "{seen}");
        assert!(last.resident - early.resident < of_plain.max(0) + slack * 1024, "{seen}");
    }
}

/// A guest that stayed with its add-ons would take 17 MiB and more each time.
#[test]
fn guests_with_add_ons_of_people_come_and_go() {
    they_come_and_go(8, 3, [60, 12]);
}

#[test]
#[ignore = "100 cycles of each: minutes; see docs/TESTING.md"]
fn guests_with_add_ons_of_people_come_and_go_a_hundred_times() {
    they_come_and_go(100, 40, [24, 8]);
}
