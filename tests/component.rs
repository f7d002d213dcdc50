//! Process layer: a host whose V8 was made as Counter-Strike 2's, a component build with libc++: `RELINK_V8_COMPONENT` names it, or
//! `relink host build v8-component` has left it in the cache.

#[path = "support/c_hosts.rs"]
mod c_hosts;
#[path = "support/process.rs"]
mod process;
mod support;

use c_hosts::{checked, command, object, root, scripts};
use process::{Ended, Program};
use relink::config;
use relink::kit::guest::{self, BuildOptions};
use relink::kit::headers::V8Headers;
use relink::kit::{adapter, clang, component, crates, hosts, progress};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use support::parts;
use tempfile::TempDir;

/// The lines of Node whose guests are tried.
const LINES: [u32; 2] = [18, 20];
/// What a game may tell its V8.
const FLAGS: [&str; 2] = ["", "--jitless"];
/// The version of a crate `v8` whose headers are of a V8 before this one.
const LEARNED: &str = "0.80.0";
/// Frames that say something about the game's sums.
const FRAMES: usize = 40;

/// The V8 and what is made for it.
struct Component {
    v8: PathBuf,
    tools: component::Toolchain,
    gameserver: PathBuf,
    /// For each of [`LINES`].
    guests: Vec<PathBuf>,
}

fn component() -> &'static Component {
    static FOUND: OnceLock<Component> = OnceLock::new();
    FOUND.get_or_init(|| {
        let progress = progress::terminal();
        let failed = |e: relink::kit::KitError| -> ! { panic!("{} {e}", e.code()) };
        let v8 = component::v8().unwrap_or_else(|e| failed(e));
        let version = component::version(&v8).expect("its version");
        let guest = |line: &u32| {
            let of_line = relink::abi::line::of_node(*line).expect("a line").v8;
            for unit in
                relink::abi::adapters::UNITS.iter().filter(|u| (u.guest, u.host) == (of_line, version))
            {
                adapter::build(unit, progress.as_ref()).unwrap_or_else(|e| failed(e));
            }
            guest::build(&BuildOptions::line(*line), progress.as_ref()).unwrap_or_else(|e| failed(e)).library
        };
        let guests = LINES.iter().map(guest).collect();
        let gameserver = component::gameserver(progress.as_ref()).unwrap_or_else(|e| failed(e));
        let tools = component::toolchain(&v8, progress.as_ref()).unwrap_or_else(|e| failed(e));
        Component { v8, tools, gameserver, guests }
    })
}

/// A host in C (fixtures/capi) on that V8: only what has V8's headers is compiled with its C++ library.
fn host(name: &str, folder: &Path) -> PathBuf {
    let Component { tools, .. } = component();
    let main = folder.join("v8_main.o");
    let mut compiler = Command::new(&tools.compiler);
    compiler.args(&tools.compile).args(["-O1", "-g", "-Wall", "-Wextra", "-Werror", "-c"]);
    checked(compiler.arg(root().join("fixtures/hosts/v8_main.cc")).arg("-o").arg(&main));
    let c = object(&root().join("fixtures/capi").join(format!("{name}.c")), folder);
    let program = folder.join(name);
    let library = &parts().library;
    let own = library.parent().expect("a folder").display();
    let mut linker = Command::new(&tools.compiler);
    linker.arg(main).arg(c).arg(library).args(&tools.link).arg(format!("-Wl,-rpath,{own}"));
    checked(linker.args(["-pthread", "-o"]).arg(&program));
    program
}

/// The game for a number of frames, or as long as the guest needs.
fn game(flags: &str, frames: usize) -> Program {
    let frames = frames.to_string();
    let game = Program::new(&component().gameserver).args(&["--frames", &frames, "--fps", "0"]);
    if flags.is_empty() {
        game
    } else {
        game.args(&["--v8-flags", flags])
    }
}

/// The features that a line of the script's output begins with `ok` or `FAIL` for.
fn features(said: &str, how: &str) -> BTreeSet<String> {
    let names = said.lines().filter_map(|line| line.strip_prefix(how)?.strip_prefix(' ')?.split(' ').next());
    names.map(str::to_owned).collect()
}

/// What plain Node of a line prints for features of the script; all of them if none is named.
fn plain(line: u32, flags: &str, names: &BTreeSet<String>) -> String {
    let line = relink::abi::line::of_node(line).expect("a line");
    let node = hosts::official_node(hosts::version_of(line), progress::terminal().as_ref());
    let mut node = Command::new(node.unwrap_or_else(|e| panic!("{} {e}", e.code())));
    let flags = Some(flags).filter(|flags| !flags.is_empty());
    let output = node.args(flags).arg(root().join("fixtures/scripts/features.js")).args(names).output();
    String::from_utf8_lossy(&output.expect("node runs").stdout).into_owned()
}

/// What V8 itself lacks: its ICU has no data file in a build from the crate, and then the host has no Intl either.
fn lacking() -> Option<String> {
    (!component().v8.join("icudtl.dat").is_file()).then(|| "intl".to_owned())
}

fn own_sums(ended: &Ended) -> Vec<&str> {
    ended.stdout.lines().filter(|line| line.starts_with("frame ") || line.contains("checksum")).collect()
}

#[test]
#[ignore = "needs a component build of V8: RELINK_V8_COMPONENT; see docs/TESTING.md"]
fn every_feature_that_the_v8_has_works_and_the_games_sums_stay() {
    let script = root().join("fixtures/scripts/features.js");
    for flags in FLAGS {
        let alone = game(flags, FRAMES).run();
        assert_eq!(alone.code(), 0, "{}", alone.stderr);
        assert_eq!(own_sums(&alone).len(), FRAMES + 1, "{}", alone.stdout);
        for (line, guest) in LINES.into_iter().zip(&component().guests) {
            // Plain Node's fetch ends the process there.
            let mut wanted = features(&plain(line, "", &BTreeSet::new()), "ok");
            if flags == "--jitless" {
                wanted.remove("fetch");
            }
            let plain = plain(line, flags, &wanted);
            let args: Vec<_> = wanted.iter().collect();
            let host = game(flags, FRAMES).relinked(&script).until_reported().env(config::AUDIT, "1");
            let host = host.env(config::ARGS, serde_json::json!(args).to_string());
            let ended = host.env(config::GUEST, guest).guest_output_to_file().run();
            let report = ended.report();
            assert!(report.error.is_none(), "{flags}: {:?}", report.error);
            let said = ended.guest_output();
            let mut works = features(&plain, "ok");
            works.retain(|name| lacking().as_ref() != Some(name));
            assert!(works.len() >= 41 && wanted.len() >= 44, "{plain}");
            assert_eq!(features(&said, "ok"), works, "{flags}: {said}\n{}", ended.stderr);
            assert_eq!((ended.code(), own_sums(&ended)), (0, own_sums(&alone)), "{flags}: {}", ended.stderr);
            // Every slot holds what the plan says.
            let audit = report.audit.as_ref().expect("an audit");
            assert!(audit.wrong.is_empty() && audit.right > 0, "{:?}", audit.wrong);
        }
    }
}

#[test]
#[ignore = "needs a component build of V8: RELINK_V8_COMPONENT; see docs/TESTING.md"]
fn a_host_in_c_talks_to_its_guest_on_its_own_thread_and_ticked() {
    let folder = scripts();
    let talk = host("talk", folder.path());
    for guest in &component().guests {
        for mode in ["own", "ticked"] {
            let output = checked(command(&talk).arg(mode).arg(guest).arg(folder.path()).arg("bridgeable"));
            assert_eq!(String::from_utf8_lossy(&output.stdout), "all is well\n", "{mode}");
        }
    }
}

/// What again.c prints of each cycle.
#[derive(Debug, serde::Deserialize)]
struct Cycle {
    threads: i64,
    descriptors: i64,
    mappings: i64,
    resident: i64,
}

#[test]
#[ignore = "needs a component build of V8: RELINK_V8_COMPONENT; two hundred guests take minutes; see docs/TESTING.md"]
fn two_hundred_guests_come_and_go_without_growth() {
    let folder = TempDir::new().expect("a folder");
    let again = host("again", folder.path());
    for (guest, mode) in component().guests.iter().zip(["ticked", "own"]) {
        let output = checked(command(&again).arg(mode).arg(guest).arg("200"));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{mode}");
        let text = String::from_utf8_lossy(&output.stdout);
        let cycles: Vec<Cycle> = text.lines().map(|l| serde_json::from_str(l).expect("a cycle")).collect();
        assert_eq!(cycles.len(), 200, "{mode}");
        let (first, early, last) = (&cycles[0], &cycles[60], &cycles[199]);
        for cycle in &cycles {
            assert_eq!((cycle.threads, cycle.descriptors), (first.threads, first.descriptors), "{mode}");
        }
        println!("{mode}: {early:?} {last:?}");
        assert!(last.mappings - early.mappings < 20, "{mode}: {early:?} {last:?}");
        assert!(last.resident - early.resident < 24 * 1024, "{mode}: {early:?} {last:?}");
    }
}

fn relink(args: &[&str], guest: &Path) -> Value {
    let mut command = Command::new(&parts().relink);
    command.args(args).arg("--host").arg(component().v8.join("libv8.so")).arg("--guest").arg(guest);
    let output = command.output().expect("relink runs");
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {said}"))
}

/// `relink check` and `relink plan` read the same of the files as a run finds, in each module of V8.
#[test]
#[ignore = "needs a component build of V8: RELINK_V8_COMPONENT; see docs/TESTING.md"]
fn a_check_and_a_plan_say_what_happens() {
    for guest in &component().guests {
        assert_eq!(relink(&["check", "--json"], guest)["result"], "bridgeable");
        let host = game("", FRAMES).relinked_source("0").until_reported().env(config::AUDIT, "1");
        let ended = host.env(config::GUEST, guest).run();
        let audit = ended.report().audit.clone().expect("an audit");
        let planned =
            relink::kit::matrix::planned::planned(&parts().relink, &component().v8.join("libv8.so"), guest);
        let planned = planned.unwrap_or_else(|e| panic!("{} {e}", e.code()));
        let written = relink::kit::matrix::planned::written(&audit);
        assert_eq!(relink::kit::matrix::planned::difference(&planned, &written), None);
        let of = |name: &str| planned.iter().filter(|slot| slot.target.contains(name)).count();
        assert!(of("libv8_libplatform.so") > 0, "nothing leads to the part with the platform");
    }
}

/// A name of V8's that has a class of the guest's C++ library in it is none of this V8's: a function of the unit stands in.
#[test]
#[ignore = "needs a component build of V8: RELINK_V8_COMPONENT; see docs/TESTING.md"]
fn names_with_classes_of_the_other_cxx_library_lead_to_the_unit() {
    for guest in &component().guests {
        let plan = relink(&["plan", "--json"], guest);
        let bindings = plan["bindings"].as_array().expect("bindings");
        let text = |binding: &Value, name: &str| binding[name].as_str().unwrap_or_default().to_owned();
        // libstdc++'s classes are in std itself; libc++'s in an inline namespace of it ("NSt2Cr").
        let classes = ["St10unique_ptr", "St10shared_ptr", "St6vector", "NSt7__cxx11", "St8function"];
        let is_of_v8 = |symbol: &str| {
            ["_ZN2v8", "_ZNK2v8", "_ZN12v8_inspector", "_ZNK12v8_inspector", "_ZN6cppgc"]
                .iter()
                .any(|n| symbol.starts_with(n))
        };
        let is_other = |symbol: &str| is_of_v8(symbol) && classes.iter().any(|class| symbol.contains(class));
        let of_guest = bindings.iter().filter(|b| text(b, "image") == "guest");
        let (of_host, others): (Vec<_>, Vec<_>) = of_guest
            .filter(|b| is_other(&text(b, "symbol")))
            .partition(|b| text(b, "bound").starts_with("host's V8"));
        assert!(of_host.is_empty() && !others.is_empty(), "{of_host:?}");
        // What a function returns is not in its name.
        let store = bindings.iter().find(|b| text(b, "symbol") == "_ZN2v811ArrayBuffer15GetBackingStoreEv");
        assert_eq!(store.map(|b| text(b, "bound")).as_deref(), Some("relink_unit_cxx_store"));
        let stand_ins: BTreeSet<_> = bindings
            .iter()
            .map(|b| text(b, "bound"))
            .filter(|to| to.starts_with("relink_unit_cxx_"))
            .collect();
        assert!(stand_ins.len() > 5, "{stand_ins:?}");
    }
}

/// `relink inspect` tells what the names of libv8.so tell, and the command that makes adapters.
#[test]
#[ignore = "needs a component build of V8: RELINK_V8_COMPONENT; see docs/TESTING.md"]
fn an_inspection_tells_the_library_the_words_and_the_command() {
    let file = component().v8.join("libv8.so");
    let output = checked(Command::new(&parts().relink).arg("inspect").arg(&file));
    let said = String::from_utf8_lossy(&output.stdout);
    let (major, minor) = component::version(&component().v8).expect("its version");
    let told = |name: &str| {
        let line = said.lines().find_map(|line| line.trim_start().strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name}: {said}")).trim().to_owned()
    };
    assert!(told("version").starts_with(&format!("{major}.{minor}.")), "{said}");
    assert!(told("C++ library").starts_with("libc++ (std::"), "{said}");
    assert_eq!(told("pointer compression"), "no");
    assert!(told("small integers").starts_with("31 or 32 bits"), "{said}");
    assert!(told("linkage").starts_with("component build"), "{said}");
    assert!(told("adapters").contains("relink adapter build "), "{said}");
}

/// Headers of a V8 that is learned: the units are for the host's C++ library, which is in their names.
#[test]
#[ignore = "needs a component build of V8: RELINK_V8_COMPONENT; see docs/TESTING.md"]
fn units_are_learned_for_the_library_of_the_hosts() {
    let headers = crates::crate_v8(LEARNED).unwrap_or_else(|e| panic!("{} {e}", e.code())).join("v8/include");
    let version = V8Headers::read("headers", &headers).expect("headers of a V8").version;
    let library = component().v8.join("libv8.so");
    let learn = |host: Option<&Path>| {
        let catalogue = TempDir::new().expect("a folder");
        let mut command = Command::new(&parts().relink);
        command
            .args(["adapter", "build", "--v8-headers"])
            .arg(&headers)
            .env(relink::abi::learned::CATALOGUE, catalogue.path());
        let output = checked(command.args(host.iter().flat_map(|host| [Path::new("--host"), host])));
        let made = String::from_utf8_lossy(&output.stdout).into_owned();
        let name = |line: &str| Path::new(line).file_name().expect("a name").to_string_lossy().into_owned();
        made.lines().map(name).collect::<BTreeSet<_>>()
    };
    let of = |suffix: &str| {
        let name = |guest| format!("relink-adapter-{guest}-on-{version}{suffix}.so");
        ["10.2", "11.3"].map(name).into_iter().collect::<BTreeSet<_>>()
    };
    let cxx = clang::cxx_of(component::COMPONENT, &library).unwrap_or_else(|e| panic!("{} {e}", e.code()));
    assert!(cxx.is_libcxx());
    assert_eq!(learn(Some(&library)), of(&cxx.suffix()));
    assert_eq!(learn(None), of(""));
}
