//! Process layer: a host brings guests in and takes them out again (shim/include/relink.h) while its own threads run
//! JavaScript in the same V8, and nothing grows.

mod support;

use relink::kit::{cache::Cache, npm, progress};
use std::path::{Path, PathBuf};
use std::process::Command;
use support::parts;

/// What the host tells of one cycle (fixtures/hosts/cycles.cc).
#[derive(Debug, serde::Deserialize)]
struct Cycle {
    cycle: usize,
    start: i32,
    wait: i32,
    unload: i32,
    threads: i64,
    descriptors: i64,
    mappings: i64,
    resident: i64,
    /// Where the descriptors lead.
    links: Vec<String>,
}

/// What it tells at its end.
#[derive(Debug, serde::Deserialize)]
struct End {
    runs: u64,
    wrong: u64,
}

const OK: i32 = 0;
const BUSY: i32 = 2;
const TIMEOUT: i32 = 3;
const STAYS: i32 = 5;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Compiles the host.
fn compile(folder: &Path) -> PathBuf {
    let host = folder.join("cycles");
    let libraries = parts().libv8.parent().expect("a folder").display().to_string();
    let output = Command::new("g++")
        .args(["-std=c++17", "-O2", "-isystem"])
        .arg(&parts().headers)
        .arg("-I")
        .arg(root().join("shim/include"))
        .arg("-o")
        .arg(&host)
        .arg(root().join("fixtures/hosts/cycles.cc"))
        .arg(&parts().libv8)
        .arg(format!("-Wl,--disable-new-dtags,-rpath,{libraries},-rpath-link,{libraries}"))
        .args(["-pthread", "-ldl"])
        .output()
        .expect("g++ runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    host
}

/// Runs so many cycles beside two busy threads of the host's; every other guest is ended while it runs.
fn cycles(guest: &Path, count: usize) -> (Vec<Cycle>, End) {
    cycles_of(guest, count, "fixtures/scripts/guest_of_a_cycle.js", &["--cut"], "{}")
}

/// The same with this script and these options of the host's; `addons` are for the script.
fn cycles_of(guest: &Path, count: usize, script: &str, options: &[&str], addons: &str) -> (Vec<Cycle>, End) {
    let (told, end, errors) = all_of(guest, count, script, options, addons);
    assert_eq!(errors, "");
    (told, end)
}

/// The same with what is on standard error.
fn all_of(
    guest: &Path,
    count: usize,
    script: &str,
    options: &[&str],
    addons: &str,
) -> (Vec<Cycle>, End, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let script = root().join(script);
    let output = Command::new(compile(folder.path()))
        .arg(&parts().library)
        .args([&count.to_string(), "2"])
        .args(options)
        .env("ADDONS", addons)
        .arg(format!("RELINK_GUEST={}", guest.display()))
        .arg(format!("RELINK_SCRIPT={}", script.display()))
        // Node never frees the certificates that this makes it read.
        .env_remove("NODE_EXTRA_CA_CERTS")
        .output()
        .expect("the host runs");
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {errors}\n{text}", output.status);
    // What guests print goes to the same place.
    let own = text.lines().filter(|line| line.starts_with('{'));
    let (told, end): (Vec<_>, Vec<_>) = own.partition(|line| line.contains("\"cycle\""));
    let read = |line: &&str| serde_json::from_str(line).expect("a cycle");
    let end = serde_json::from_str(end[0]).expect("the end");
    (told.iter().map(read).collect(), end, errors.into_owned())
}

/// What the host had after the first guest: nobody's thread or descriptor is left of this one.
fn check_one(cycle: &Cycle, first: &Cycle) {
    assert_eq!((cycle.start, cycle.unload), (OK, OK), "{cycle:?}");
    // Fewer, where the host itself had one for a moment when it counted for the first time.
    assert!(cycle.threads <= first.threads, "{cycle:?}");
    assert!(cycle.descriptors <= first.descriptors, "{:?}: {cycle:?}", first.links);
}

/// Every guest came and went, and the host has what it had after the first one, within bounds.
fn check(told: &[Cycle], end: &End, count: usize, settled: usize, growth_kib: i64) {
    assert_eq!(told.len(), count);
    for cycle in told {
        check_one(cycle, &told[0]);
        assert!(cycle.wait == OK || (cycle.wait == TIMEOUT && cycle.cycle % 2 == 1), "{cycle:?}");
    }
    assert!(told.iter().any(|c| c.wait == TIMEOUT), "no guest was ended while it ran");
    let (early, last) = (&told[settled], &told[count - 1]);
    assert!(last.mappings - early.mappings < 20, "{early:?} {last:?}");
    assert!(last.resident - early.resident < growth_kib, "{early:?} {last:?}");
    assert!(end.runs > 100 && end.wrong == 0, "{end:?}");
}

#[test]
fn a_hundred_guests_come_and_go() {
    let (told, end) = cycles(&parts().guest, 100);
    // A leak of one 64th of a guest's memory per cycle would show.
    check(&told, &end, 100, 40, 24 * 1024);
}

#[test]
fn stock_guests_come_and_go() {
    let (told, end) = cycles(&parts().libv8, 10);
    check(&told, &end, 10, 5, 48 * 1024);
}

/// Whether it ends by itself or is ended with files on their way.
#[test]
fn files_that_a_guest_leaves_open_are_closed() {
    let (told, end) =
        cycles_of(&parts().guest, 20, "fixtures/scripts/guest_of_open_files.js", &["--cut"], "{}");
    assert_eq!(told.len(), 20);
    told.iter().for_each(|cycle| check_one(cycle, &told[0]));
    assert!(told[0].links.iter().all(|link| !link.contains("guest_of_open_files")), "{:?}", told[0]);
    assert!(end.runs > 0 && end.wrong == 0, "{end:?}");
}

/// Add-ons are unloaded with the guest that they were bound to, and come again with the next one.
#[test]
fn add_ons_go_with_their_guest() {
    let cache = Cache::locate().expect("a cache");
    let fetch = |name, version| {
        npm::package(&cache, name, version, progress::terminal().as_ref()).expect("the package")
    };
    let mask = fetch("bufferutil", "4.0.8").join("prebuilds/linux-x64/node.napi.node");
    let crc = fetch("@node-rs/crc32-linux-x64-gnu", "1.10.6").join("crc32.linux-x64-gnu.node");
    let addons = serde_json::json!({ "bufferutil": mask, "crc32": crc }).to_string();
    let (told, end) = cycles_of(&parts().guest, 10, "fixtures/addons/use.js", &[], &addons);
    assert_eq!(told.len(), 10);
    for cycle in &told {
        check_one(cycle, &told[0]);
        assert_eq!(cycle.wait, OK, "{cycle:?}");
    }
    assert!(end.runs > 0 && end.wrong == 0, "{end:?}");
}

/// What `relink_start`, `relink_wait` and `relink_unload` answered.
fn answers(cycle: &Cycle) -> [i32; 3] {
    [cycle.start, cycle.wait, cycle.unload]
}

/// A guest that aborted stays, and so does everything else: the host goes on and ends as ever.
#[test]
fn an_aborted_guest_stays_and_its_host_goes_on() {
    let (told, end, errors) = all_of(&parts().guest, 2, "fixtures/scripts/guest_that_aborts.js", &[], "{}");
    assert_eq!(
        told.iter().map(answers).collect::<Vec<_>>(),
        [[OK, OK, STAYS], [BUSY, OK, STAYS]],
        "{told:?}"
    );
    assert!(errors.contains("the guest is abandoned: Node aborted"), "{errors}");
    assert!(end.runs > 0 && end.wrong == 0, "{end:?}");
}

/// Compiles the add-on whose destructor aborts; gives back what the script is told of it.
fn leaving(folder: &Path, options: &[&str]) -> String {
    let out = folder.join("leaves.node");
    let mut command = Command::new("gcc");
    command.args(options).args(["-O1", "-Wall", "-Werror", "-fPIC", "-shared", "-pthread", "-o"]).arg(&out);
    let output = command.arg(root().join("fixtures/addons/leaves.c")).output().expect("gcc runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::json!({ "one": out }).to_string()
}

/// The caller's thread comes back, and is told.
#[test]
fn a_destructor_that_aborts_holds_no_thread_of_the_hosts() {
    let folder = tempfile::tempdir().expect("a folder");
    let addons = leaving(folder.path(), &[]);
    let (told, end, errors) = all_of(&parts().guest, 1, "fixtures/addons/use_one.js", &[], &addons);
    assert_eq!(answers(&told[0]), [OK, OK, STAYS], "{errors}");
    assert!(errors.contains("the guest is abandoned") && errors.contains("E0606"), "{errors}");
    assert!(end.runs > 0 && end.wrong == 0, "{end:?}");
}

/// A thread that goes on finds nothing destroyed: no destructor has run.
#[test]
fn nothing_is_destroyed_while_a_thread_of_the_guests_lives() {
    let folder = tempfile::tempdir().expect("a folder");
    let addons = leaving(folder.path(), &["-DTHREAD"]);
    let (told, end, errors) = all_of(&parts().guest, 1, "fixtures/addons/use_one.js", &[], &addons);
    assert_eq!(answers(&told[0]), [OK, OK, STAYS], "{errors}");
    assert!(errors.contains("E0604") && !errors.contains("abandoned"), "{errors}");
    assert!(end.runs > 0 && end.wrong == 0, "{end:?}");
}

/// A guest that was refused after its initialisers had run leaves its bridge to the next one.
#[test]
fn a_guest_comes_after_one_that_could_not_be_attached() {
    let (told, end, errors) =
        all_of(&parts().guest, 5, "fixtures/scripts/guest_of_a_cycle.js", &["--hide"], "{}");
    assert_eq!(told.len(), 5);
    assert!(told.iter().all(|cycle| answers(cycle) == [OK, OK, OK]), "{told:?}: {errors}");
    assert!(errors.contains("an initialised V8") && errors.lines().count() == 1, "{errors}");
    told[1..].iter().for_each(|cycle| check_one(cycle, &told[1]));
    assert!(end.runs > 0 && end.wrong == 0, "{end:?}");
}
