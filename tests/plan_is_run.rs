//! Layer: planning against the process. What `relink plan` prints for a host's file and a guest is what a run has written: slot by
//! slot, with its target by symbol and link-time address, and the reason. The run's side is read back from memory.

#[path = "support/process.rs"]
mod process;
mod support;

use goblin::elf::Elf;
use process::{Ended, Program};
use relink::config;
use relink::kit::guest::{self, BuildOptions};
use relink::kit::matrix::planned::{difference, planned, written};
use relink::kit::{adapter, hosts, progress, KitError};
use relink::plan::BoundSlot;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::parts;

fn failed<T>(error: KitError) -> T {
    panic!("a part that the tests need: {} {error}", error.code())
}

/// A host that stays until the guest's report is there.
fn node(file: &Path) -> Program {
    let host = Program::new(file);
    let source = "const fs = require('fs');\n\
                  setInterval(() => { if (fs.existsSync(`${__dirname}/report.json`)) process.exit(5); }, 20);";
    let script = host.file("host.js", source).display().to_string();
    host.args(&[&script])
}

/// Runs the guest in the host, and compares what the plan for the two files says.
fn same(host: Program, guest: &Path) -> BTreeSet<BoundSlot> {
    same_with(host, guest, "1").1
}

/// The same with a script.
fn same_with(host: Program, guest: &Path, script: &str) -> (Ended, BTreeSet<BoundSlot>) {
    let ended = host.relinked_source(script).env(config::GUEST, guest).env(config::AUDIT, "1").start();
    let ended = ended.end_after_guest();
    let report = ended.report();
    assert!(report.error.is_none(), "{:?}", report.error);
    let audit = report.audit.as_ref().expect("an audit");
    assert_eq!(audit.wrong, [] as [&str; 0]);
    let provider = report.provider.as_deref().expect("a provider");
    let said = planned(&parts().relink, Path::new(provider), guest).unwrap_or_else(failed);
    let wrote = written(audit);
    assert_eq!(difference(&said, &wrote), None, "{} in {provider}", guest.display());
    let bound = report.slots.values().sum::<usize>();
    assert_eq!(wrote.iter().filter(|slot| slot.image == "guest").count(), bound);
    (ended, wrote)
}

fn to(slots: &BTreeSet<BoundSlot>, beginning: &str) -> usize {
    slots.iter().filter(|slot| slot.target.starts_with(beginning)).count()
}

/// The neutral guest in the V8 of its own line, where that is an executable and where it is a library.
#[test]
fn a_guest_on_the_v8_of_its_line() {
    let in_node = same(node(&parts().node), &parts().guest);
    let in_game = same(Program::endless_gameserver(), &parts().guest);
    for slots in [&in_node, &in_game] {
        assert!(to(slots, "host's V8+0x") > 500 && to(slots, "relink_adapter_") > 8, "{}", slots.len());
        assert!(to(slots, "Relink's ") > 20 && to(slots, "library0+0x") > 0, "{}", slots.len());
    }
    // A plan for another host is another one.
    assert!(difference(&in_node, &in_game).is_some());
}

/// A guest with a V8 of its own: 59,000 slots, most of which stay inside of it.
#[test]
fn a_stock_guest() {
    for host in [node(&parts().node), Program::endless_gameserver()] {
        let slots = same(host, &parts().libv8);
        let dead = slots.iter().filter(|slot| slot.why.contains("stays dead")).count();
        assert!(dead > 40_000 && to(&slots, "host's V8+0x") > 500, "{dead} of {}", slots.len());
    }
}

/// On a later V8 the adapter unit comes along: the plan has its slots, and leads to its functions.
#[test]
fn a_guest_on_a_later_v8_with_its_adapter_unit() {
    let progress = progress::terminal();
    for (unit, version) in [("10.2-on-11.3", "20.20.2"), ("10.2-on-13.6", "24.21.0")] {
        adapter::build(adapter::unit(unit).expect("a unit"), progress.as_ref()).unwrap_or_else(failed);
        let guest = guest::build(&BuildOptions::line(18), progress.as_ref()).unwrap_or_else(failed).library;
        let host = hosts::official_node(version, progress.as_ref()).unwrap_or_else(failed);
        let slots = same(node(&host), &guest);
        assert!(to(&slots, "relink_unit_") > 0 && to(&slots, "relink_adapter_") > 0, "{version}");
        assert!(slots.iter().any(|slot| slot.image == "adapter unit"), "{version}");
    }
}

/// The official node with a name taken out of its dynamic symbols: only its full symbol table has it.
fn with_hidden(folder: &Path, name: &str) -> (PathBuf, u64) {
    let mut bytes = std::fs::read(&parts().node).expect("the official node");
    let elf = Elf::parse(&bytes).expect("goblin");
    let named = |s: &goblin::elf::Sym| elf.dynstrtab.get_at(s.st_name) == Some(name);
    let (number, symbol) = elf.dynsyms.iter().enumerate().find(|(_, s)| named(s)).expect("an export");
    let table = elf.section_headers.iter().find(|h| h.sh_type == goblin::elf::section_header::SHT_DYNSYM);
    // `st_shndx` is 6 bytes into an entry of 24; 0 says that the symbol is not defined here.
    let at = table.expect("a section").sh_offset as usize + number * 24 + 6;
    bytes[at..at + 2].fill(0);
    let file = folder.join("node");
    std::fs::write(&file, bytes).expect("written");
    assert!(Command::new("chmod").arg("+x").arg(&file).status().expect("chmod runs").success());
    (file, symbol.st_value)
}

/// An add-on that refers to a function of this name.
fn addon(folder: &Path, name: &str) -> PathBuf {
    let (source, addon) = (folder.join("addon.c"), folder.join("addon.node"));
    let text = format!(
        "extern void {name}(void); void (*const refers)(void) = {name};\n\
         void *napi_register_module_v1(void *env, void *exports) {{ return refers ? exports : 0; }}\n"
    );
    std::fs::write(&source, text).expect("written");
    let mut command = Command::new("gcc");
    command.args(["-shared", "-fPIC", "-o"]).arg(&addon).arg(&source);
    assert!(command.status().expect("gcc runs").success());
    addon
}

/// What a V8 hides from its dynamic symbols is found by a run, by its add-ons, by the plan and by the check alike.
#[test]
fn a_name_that_the_host_hides() {
    const NAME: &str = "_ZN2v87Isolate5EnterEv";
    let folder = tempfile::tempdir().expect("a folder");
    let (host, at) = with_hidden(folder.path(), NAME);
    let script = format!("require({:?})", addon(folder.path(), NAME).display().to_string());
    let (ended, slots) = same_with(node(&host), &parts().guest, &script);
    assert_eq!((ended.outcome(), ended.code()), (("finished", 0), 5), "{}", ended.stderr);
    let slot = slots.iter().find(|slot| slot.symbol == NAME).expect("a slot");
    assert_eq!(slot.target, format!("host's V8+{at:#x}"));
    let mut check = Command::new(&parts().relink);
    check.args(["check", "--json", "--host"]).arg(&host).arg("--guest").arg(&parts().guest);
    let said = check.output().expect("relink runs");
    let said: serde_json::Value = serde_json::from_slice(&said.stdout).expect("JSON");
    assert_eq!(
        (said["result"].as_str(), &said["missing_symbols"]),
        (Some("identical"), &serde_json::json!([]))
    );
}

/// Every pair of the matrix: `relink matrix` compares the plan with the run in each cell. A gigabyte of downloads the first time, and
/// about ten seconds for each of the pairs.
#[test]
#[ignore = "every pair of the matrix; cargo test --release --test plan_is_run -- --ignored"]
fn every_pair_of_the_matrix() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(&parts().relink);
    command.args(["matrix", "--fresh", "--json", "--page"]).arg(folder.path().join("page.md"));
    for guest in ["18", "18-stock", "20", "22", "24"] {
        command.args(["--guest", guest]);
    }
    let output = command.env("RELINK_LIBRARY", &parts().library).output().expect("relink runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
