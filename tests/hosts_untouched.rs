//! Layer: the whole way, on both real hosts. What belongs to the host is as it was: signals, limits, streams, code
//! pages; and the guest's calls go to the host's own V8.

#[path = "support/process.rs"]
mod process;
mod support;

use nix::sys::signal::Signal;
use process::{Ended, Program, Running};
use relink::address::RunAddr;
use relink::process::Maps;
use std::path::{Path, PathBuf};
use support::parts;

/// Tells that it runs, waits for the test's word, and ends.
const GUEST: &str = "const fs = require('fs'), at = (name) => `${__dirname}/${name}`;\n\
    process.on('SIGUSR2', () => {}); process.stdin.resume(); process.stdout.write(''); process.stderr.write('');\n\
    require('crypto').randomBytes(8, () => fs.writeFileSync(at('ready'), ''));\n\
    const timer = setInterval(() => { if (fs.existsSync(at('go'))) { clearInterval(timer); process.exit(0); } }, 5);";

/// A host of each kind, and the module that has its V8.
fn hosts() -> [(Program, PathBuf); 2] {
    let node = Program::node("console.log('up'); setInterval(() => {}, 20)");
    [(Program::endless_gameserver(), real(&parts().libv8)), (node, real(&parts().node))]
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().expect("a part")
}

/// What the process shows of itself to others.
#[derive(Debug, PartialEq, Eq)]
struct Outside {
    signals: Vec<String>,
    limits: String,
    streams: Vec<String>,
    provider: Vec<String>,
}

fn outside(host: &Running, provider: &Path) -> Outside {
    let signals = host.proc("status");
    let signals = signals.lines().filter(|l| ["SigBlk", "SigIgn", "SigCgt"].iter().any(|s| l.starts_with(s)));
    let flags = |fd| {
        let info = host.proc(&format!("fdinfo/{fd}"));
        info.lines().find(|l| l.starts_with("flags:")).expect("flags").to_owned()
    };
    Outside {
        signals: signals.map(str::to_owned).collect(),
        limits: host.proc("limits"),
        streams: (0..3).map(flags).collect(),
        provider: protections(&host.maps(), provider),
    }
}

/// Protection of each part of a file, neighbours of the same protection joined.
fn protections(maps: &Maps, file: &Path) -> Vec<String> {
    let mut parts: Vec<(u64, u64, String)> = Vec::new();
    for mapping in maps.of_file(file) {
        let (start, length) = (mapping.offset, mapping.end.0 - mapping.start.0);
        let protection = mapping.protection.to_string();
        match parts.last_mut().filter(|(begin, size, last)| begin + size == start && *last == protection) {
            Some((_, size, _)) => *size += length,
            None => parts.push((start, length, protection)),
        }
    }
    assert!(!parts.is_empty(), "{} is not mapped", file.display());
    parts.iter().map(|(start, length, protection)| format!("{start:#x}+{length:#x} {protection}")).collect()
}

/// The host without Relink, well on its way.
fn plain_outside(host: Program, provider: &Path) -> Outside {
    let mut running = host.start();
    // A node or a game server that sleeps between two frames is through with its own start.
    running.wait_until("sleep", |r| r.maps().of_file(provider).count() > 0 && r.proc("wchan") != "0");
    std::thread::sleep(std::time::Duration::from_millis(500));
    let seen = outside(&running, provider);
    running.signal(Signal::SIGKILL);
    let _ = running.wait();
    seen
}

#[test]
fn signals_limits_streams_and_code_pages_stay_as_they_are() {
    for ((plain, provider), (host, _)) in hosts().into_iter().zip(hosts()) {
        let expected = plain_outside(plain, &provider);
        let mut running = host.relinked_source(GUEST).start();
        running.wait_for_file("ready");
        assert_eq!(outside(&running, &provider), expected, "while the guest runs in {}", provider.display());
        std::fs::write(running.folder().join("go"), "").expect("written");
        running.wait_for_file("report.json");
        assert_eq!(outside(&running, &provider), expected, "after the guest in {}", provider.display());
        running.signal(Signal::SIGKILL);
        assert_eq!(running.wait().outcome(), ("exit", 0));
    }
}

/// Mappings that are writable and executable.
fn both(maps: &Maps) -> Vec<String> {
    let open = maps.0.iter().filter(|m| m.protection.write && m.protection.execute);
    open.map(|m| format!("{}-{} {}", m.start, m.end, m.name.display())).collect()
}

#[test]
fn no_page_is_writable_and_executable_because_of_us() {
    for (host, provider) in hosts() {
        let mut running = host.relinked_source(GUEST).start();
        running.wait_for_file("ready");
        let maps = running.maps();
        let staged = |name: &str| {
            maps.0.iter().filter(|m| m.name.to_string_lossy().contains(name)).collect::<Vec<_>>()
        };
        // The guest's code is mapped from its file, the bridge's from its copy; what is written lies in copies.
        for image in ["libnode-relink.so", "memfd:relink:relink-bridge"] {
            assert!(staged(image).iter().any(|m| m.protection.execute), "{image} is not mapped");
            assert!(staged(image).iter().all(|m| !(m.protection.write && m.protection.execute)), "{image}");
        }
        assert!(staged("memfd:relink:libnode").iter().any(|m| m.protection.write), "the guest's data");
        let of_files: Vec<_> = both(&maps).into_iter().filter(|line| !line.ends_with(' ')).collect();
        assert_eq!(of_files, [] as [&str; 0], "{}", provider.display());
        running.signal(Signal::SIGKILL);
        let _ = running.wait();
    }
}

#[test]
fn relro_of_the_staged_guest_is_read_only_again() {
    for (host, _) in hosts() {
        let mut running = host.relinked_source(GUEST).start();
        running.wait_for_file("ready");
        let maps = running.maps();
        let bytes = std::fs::read(&parts().guest).expect("guest");
        let file = goblin::elf::Elf::parse(&bytes).expect("goblin");
        let header = |kind| file.program_headers.iter().find(move |h| h.p_type == kind).expect("a header");
        let relro = header(goblin::elf::program_header::PT_GNU_RELRO);
        let first =
            maps.0.iter().find(|m| m.name.to_string_lossy().contains("memfd:relink:libnode")).expect("guest");
        let bias = first.start.0 - header(goblin::elf::program_header::PT_LOAD).p_vaddr / 4096 * 4096;
        let (start, end) = (bias + relro.p_vaddr, (bias + relro.p_vaddr + relro.p_memsz) / 4096 * 4096);
        assert!(start < end);
        assert!(maps.covers(RunAddr(start), RunAddr(end), |p| p.read && !p.write && !p.execute));
        running.signal(Signal::SIGKILL);
        let _ = running.wait();
    }
}

/// What the report proves: every witness lies in the provider's code, and no other module has a V8.
fn proven(ended: &Ended, provider: &Path) {
    let report = ended.report();
    assert_eq!(report.v8_modules.iter().map(|m| real(Path::new(m))).collect::<Vec<_>>(), [provider]);
    assert_eq!(report.provider.as_deref().map(|p| real(Path::new(p))).as_deref(), Some(provider));
    assert_eq!(report.witnesses.len(), 4, "{:?}", report.witnesses);
    for witness in &report.witnesses {
        assert_eq!(
            (real(Path::new(&witness.module)).as_path(), witness.protection.as_str()),
            (provider, "r-x")
        );
    }
    assert!(!report.isolates.is_empty());
}

#[test]
fn the_guest_calls_the_v8_that_the_game_server_calls() {
    let host = Program::endless_gameserver().args(&["--addresses"]);
    let ended = host.relinked_source("1").start().end_after_guest();
    proven(&ended, &real(&parts().libv8));
    let first = ended.stdout.lines().next().expect("the host's first line");
    let told = |name: &str| -> String {
        let (_, after) = first.split_once(name).unwrap_or_else(|| panic!("{first}"));
        after.trim_start().split(',').next().unwrap_or_default().to_owned()
    };
    let witness = |w: &&relink::report::Witness| w.symbol == "_ZN2v87Isolate13TryGetCurrentEv";
    let witness = ended.report().witnesses.iter().find(witness).expect("this witness");
    assert_eq!(witness.address, told("TryGetCurrent at"));
    assert!(
        !ended.report().isolates.contains(&told("main isolate")),
        "the host's isolate is not the guest's"
    );
}

#[test]
fn the_guest_calls_the_v8_inside_the_official_executable() {
    let ended = Program::node_until("report.json").relinked_source("1").start().end_after_guest();
    proven(&ended, &real(&parts().node));
    let bytes = std::fs::read(&parts().node).expect("node");
    let file = goblin::elf::Elf::parse(&bytes).expect("goblin");
    for witness in &ended.report().witnesses {
        let named = |s: &goblin::elf::Sym| file.dynstrtab.get_at(s.st_name) == Some(&witness.symbol);
        let symbol = file.dynsyms.iter().find(named).expect("an export of node's");
        // Linked at a fixed address, so that its link-time addresses are those of the process.
        assert_eq!(witness.address, format!("{:#x}", symbol.st_value));
    }
}

/// `process.relink` is the report's own words, and no script can change it.
#[test]
fn scripts_learn_where_they_are() {
    let source = "process.relink.version = 'changed'; delete process.relink;\n\
                  const listed = Object.keys(process).includes('relink');\n\
                  process.stdout.write(JSON.stringify({ ...process.relink, listed }));";
    for host in [Program::endless_gameserver(), Program::node_until("report.json")] {
        let ended = host.relinked_source(source).guest_output_to_file().start().end_after_guest();
        let told: serde_json::Value = serde_json::from_str(&ended.guest_output()).expect("JSON");
        let report = ended.report();
        assert_eq!(told["host"], serde_json::json!({ "v8": report.host_v8, "provider": report.provider }));
        let guest = serde_json::json!({ "node": report.node, "v8": report.guest_v8, "file": report.guest });
        assert_eq!(told["guest"], guest);
        assert_eq!(told["verdict"], serde_json::json!(report.verdict));
        assert_eq!((&told["degraded"], &told["listed"]), (&serde_json::json!([]), &false.into()));
        assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
    }
}

#[test]
fn both_sides_report_one_version_and_their_slots() {
    for (host, version) in
        [(Program::endless_gameserver(), "10.2.154.26"), (Program::node_until("report.json"), "10.2.154.26")]
    {
        let ended = host.relinked_source("1").start().end_after_guest();
        let report = ended.report();
        assert!(report.host_v8.as_ref().is_some_and(|v| v.starts_with(version)), "{:?}", report.host_v8);
        assert_eq!(report.guest_v8.as_deref(), Some(version));
        assert_eq!(report.node.as_deref(), Some("18.20.4"));
        assert_eq!(report.slots.values().sum::<usize>(), report.reasons.values().sum::<usize>());
        assert!(report.slots["JumpSlot"] >= 500 && report.slots["Abs64"] >= 16, "{:?}", report.slots);
        assert!(report.pages > 0 && report.left_to_the_linker > 0);
        let stages: Vec<_> = report.stages.iter().map(|s| s.stage.as_str()).collect();
        let first = [
            "observe",
            "detect",
            "read",
            "admit",
            "probe",
            "plan",
            "wait",
            "load",
            "apply",
            "initialise",
            "attach",
        ];
        assert_eq!(stages[..first.len()], first);
    }
}
