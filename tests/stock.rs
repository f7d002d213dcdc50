//! Layer: the whole way, on both real hosts, with a guest that nobody rebuilt: Debian's libnode.so.108, which has a V8 of its
//! own. What Node does, that this V8 stays dead, what every slot holds, and which protections pages have.

#[path = "support/process.rs"]
mod process;
mod support;
#[path = "support/tracer.rs"]
mod tracer;

use nix::sys::signal::Signal;
use process::{Ended, Program, Running};
use relink::config;
use relink::process::{Mapping, Maps};
use relink::symbol::{owner, Owner};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::parts;
use tracer::Watched;

fn feature_script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scripts/features.js")
}

/// Both hosts, which stay until the guest has ended, and the exit status that is their own then.
fn hosts() -> [(Program, i32); 2] {
    [(Program::endless_gameserver(), 143), (Program::node_until("report.json"), 5)]
}

#[test]
fn every_feature_works_with_a_guest_that_nobody_rebuilt() {
    for (host, status) in hosts() {
        let program = host.relinked(&feature_script()).env(config::GUEST, &parts().libv8);
        let ended = program.guest_output_to_file().start().end_after_guest();
        let said = ended.guest_output();
        assert_eq!(said.lines().last(), Some("features: 45 ok, 0 failed"), "{said}\n{}", ended.stderr);
        assert_eq!(ended.outcome(), ("finished", 0));
        assert_eq!((ended.code(), ended.stderr.as_str()), (status, ""));
        assert_eq!(ended.report().v8_modules.len(), 1, "{:?}", ended.report().v8_modules);
        assert!(ended.report().reasons["its own V8, dead"] > 40_000, "{:?}", ended.report().reasons);
    }
}

/// A function of V8 in a file: whether all its names are weak, as those of inline functions of V8's headers are, of which each
/// object file that was compiled with the header may bring the copy that is kept.
#[derive(Debug)]
struct Function {
    name: String,
    weak: bool,
}

/// The functions of V8 that a file exports, by their offset in it.
fn v8_functions(bytes: &[u8]) -> BTreeMap<u64, Function> {
    use goblin::elf::sym::{STB_WEAK, STT_FUNC};
    let file = goblin::elf::Elf::parse(bytes).expect("goblin");
    let mut functions: BTreeMap<u64, Function> = BTreeMap::new();
    for symbol in file.dynsyms.iter().filter(|s| s.st_type() == STT_FUNC && s.st_shndx != 0) {
        let Some(name) = file.dynstrtab.get_at(symbol.st_name).filter(|n| owner(n) == Owner::V8) else {
            continue;
        };
        let has = |h: &&goblin::elf::ProgramHeader| h.vm_range().contains(&(symbol.st_value as usize));
        let code = file.program_headers.iter().filter(|h| h.is_executable()).find(has).expect("code");
        let offset = symbol.st_value - code.p_vaddr + code.p_offset;
        let weak = symbol.st_bind() == STB_WEAK;
        functions.entry(offset).or_insert(Function { name: name.to_owned(), weak: true }).weak &= weak;
    }
    functions
}

/// A copy of libnode108's folder in which each function of its V8 tells when it runs.
fn watched(folder: &Path) -> (Watched, BTreeMap<u64, Function>) {
    let original = &parts().libv8;
    let (lib, share) = (folder.join("usr/lib/watched"), folder.join("usr/share"));
    std::fs::create_dir_all(&lib).expect("made");
    // Some of Node's own scripts lie there.
    symlink(original.ancestors().nth(3).expect("usr").join("share"), share).expect("linked");
    let beside = std::fs::read_dir(original.parent().expect("a folder")).expect("read").flatten();
    for entry in beside.filter(|e| Some(e.file_name().as_os_str()) != original.file_name()) {
        symlink(entry.path(), lib.join(entry.file_name())).expect("linked");
    }
    let bytes = std::fs::read(original).expect("libnode108");
    let functions = v8_functions(&bytes);
    let file = lib.join(original.file_name().expect("a name"));
    (Watched::write(&file, bytes, functions.keys().copied()), functions)
}

/// What of the watched V8 ran: strong functions counted, weak ones by name.
fn ran(
    watched: &(Watched, BTreeMap<u64, Function>),
    command: &mut Command,
    until: &Path,
) -> (usize, Vec<String>) {
    let (offsets, code) = watched.0.run(command, until);
    assert!(code == 0 || code == 143, "{code} of {command:?}");
    let (weak, strong): (Vec<_>, Vec<_>) = offsets.iter().map(|at| &watched.1[at]).partition(|f| f.weak);
    (strong.len(), weak.iter().map(|f| f.name.clone()).collect())
}

/// Every exported function of the guest's own V8 has a breakpoint: some 38,000. None of them runs, initialisers of the
/// guest included, but for a few inline functions of V8's headers that Node's own classes inherit. So does the same file show,
/// as a host's V8, that the measure sees what runs. What it cannot show: functions that the file does not name (static ones,
/// and V8's builtins, which are written in its own assembler); but these are reached from V8's named functions only.
/// Counting resident pages would show less: the kernel maps neighbours of a page that is used, and in the game server
/// guest and host's V8 are the same pages of one file.
#[test]
fn the_v8_of_the_guest_stays_dead() {
    let folder = tempfile::tempdir().expect("a folder");
    let watched = watched(folder.path());
    let strong = watched.1.values().filter(|f| !f.weak).count();
    assert!(strong > 20_000, "{strong} functions are watched");
    let report = folder.path().join("report.json");
    let idle = folder.path().join("host.js");
    std::fs::write(&idle, "setInterval(() => {}, 20)").expect("written");
    let mut game = Command::new(&parts().gameserver);
    game.args(["--frames", "1000000", "--fps", "20"]);
    let mut node = Command::new(&parts().node);
    node.arg(&idle);
    for mut host in [game, node] {
        host.env("LD_PRELOAD", &parts().library).env(config::GUEST, &watched.0.file);
        host.env(config::SCRIPT, feature_script()).env(config::REPORT, &report);
        let (strong, weak) = ran(&watched, &mut host, &report);
        let text = std::fs::read(&report).expect("a report");
        let report_of: relink::report::Report = serde_json::from_slice(&text).expect("a report");
        assert_eq!(report_of.outcome.map(|o| (o.how, o.exit_code)), Some(("finished".into(), 0)));
        assert_eq!(strong, 0);
        assert!(weak.len() < 20, "{weak:?}");
        std::fs::remove_file(&report).expect("a report");
    }
    // The same file as the V8 of the host: its soname makes ld.so take it instead of the one the game server was linked with.
    let mut game = Command::new(&parts().gameserver);
    game.args(["--frames", "20"]).env("LD_PRELOAD", &watched.0.file);
    let (strong, _) = ran(&watched, &mut game, &report);
    assert!(strong > 1000, "{strong} functions of a V8 that is used");
}

const VDSO: &str = "linux-vdso.so.1";

/// Names that the C and C++ run-time libraries define.
fn run_time_names(modules: &BTreeSet<&str>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in modules.iter().filter(|m| is_run_time(m) && **m != VDSO) {
        let bytes = std::fs::read(file).expect("a library");
        let file = goblin::elf::Elf::parse(&bytes).expect("goblin");
        let defined = file.dynsyms.iter().filter(|s| s.st_shndx != 0);
        names.extend(defined.filter_map(|s| file.dynstrtab.get_at(s.st_name)).map(str::to_owned));
    }
    names
}

/// The vDSO counts: libc's IFUNCs for gettimeofday(2) and time(2) lead into it.
fn is_run_time(module: &str) -> bool {
    let name = Path::new(module).file_name().and_then(|n| n.to_str()).unwrap_or_default();
    relink::symbol::is_run_time(name) || module == VDSO
}

/// Every slot holds what the plan says, and what is left to ld.so points into run-time libraries, or into the executable
/// by a run-time library's name.
fn audited(ended: &Ended) -> usize {
    let report = ended.report();
    let audit = report.audit.as_ref().expect("an audit");
    assert_eq!(audit.wrong, [] as [&str; 0]);
    assert!(audit.right >= report.slots.values().sum::<usize>() - audit.thread_local, "{}", audit.right);
    let modules: BTreeSet<_> = audit.left.keys().map(String::as_str).filter(|m| *m != "null").collect();
    for module in &modules {
        assert!(is_run_time(module) || **module == report.host, "{module}: {:?}", audit.left[*module]);
    }
    let run_time = run_time_names(&modules);
    let names = audit.left.iter().filter(|(module, _)| *module != "null").flat_map(|(_, names)| names);
    let others: Vec<_> = names.filter(|name| !run_time.contains(*name)).collect();
    assert_eq!(others, [] as [&String; 0], "in {}", report.host);
    // References that nobody defines are weak ones of the C run time's and the transactional memory's.
    let null: Vec<_> = audit.left.get("null").into_iter().flatten().collect();
    assert!(null.iter().all(|n| n.starts_with("_ITM_") || n.starts_with("__gmon_start__")), "{null:?}");
    audit.right
}

#[test]
fn every_slot_holds_what_the_plan_says() {
    for guest in [&parts().guest, &parts().libv8] {
        for (host, _) in hosts() {
            let program = host.relinked_source("1").env(config::GUEST, guest).env(config::AUDIT, "1");
            let right = audited(&program.start().end_after_guest());
            assert!(right > if guest == &parts().libv8 { 55_000 } else { 1_500 }, "{right}");
        }
    }
}

/// Tells that it runs, waits for the test's word, and ends. No WebAssembly: this V8 keeps code of that kind writable.
const GUEST: &str = "const fs = require('fs'), at = (name) => `${__dirname}/${name}`;\n\
    const warm = (n) => n < 2 ? n : warm(n - 1) + warm(n - 2); warm(24);\n\
    require('crypto').randomBytes(8, () => fs.writeFileSync(at('ready'), ''));\n\
    const timer = setInterval(() => { if (fs.existsSync(at('go'))) { clearInterval(timer); process.exit(0); } }, 5);";

/// A host of each kind that runs until it is killed.
fn endless_hosts() -> [Program; 2] {
    [Program::endless_gameserver(), Program::node("console.log('up'); setInterval(() => {}, 20)")]
}

/// Mappings that are writable and executable, but for anonymous ones that do not follow a file's: V8 10.2 itself opens a page of its
/// code space for as long as it writes there (`MemoryChunk::DefaultWritableCodePermissions`), in plain Node as here. Memory of
/// staged images is mapped from files, and the rest of their data follows that.
fn both(maps: &Maps) -> BTreeSet<String> {
    let first = maps.0.first().into_iter().map(|m| (m, m));
    let pairs = first.chain(maps.0.iter().zip(maps.0.iter().skip(1)));
    let of_image =
        |(before, m): &(&Mapping, &Mapping)| m.inode != 0 || (before.inode != 0 && before.end == m.start);
    let open = pairs.filter(of_image).map(|(_, m)| m).filter(|m| m.protection.write && m.protection.execute);
    open.map(|m| format!("{}-{} {}", m.start, m.end, m.name.display())).collect()
}

/// A look at the mappings every half millisecond from the first instruction on. What is there for a shorter time can be
/// missed, so this shows that no page is left open; that none is ever opened so by us is what `patch/`'s unit tests show.
#[test]
fn no_page_is_writable_and_executable_all_through_the_start() {
    for guest in [&parts().guest, &parts().libv8] {
        for host in endless_hosts() {
            let running = host.relinked_source(GUEST).env(config::GUEST, guest).start();
            let (mut seen, mut looks, mut staged) = (BTreeSet::new(), 0, 0);
            while !running.folder().join("ready").exists() {
                let maps = running.maps();
                staged +=
                    usize::from(maps.0.iter().any(|m| m.name.to_string_lossy().contains("memfd:relink:")));
                seen.extend(both(&maps));
                looks += 1;
                assert!(looks < 200_000, "the guest does not start");
                std::thread::sleep(std::time::Duration::from_micros(500));
            }
            running.signal(Signal::SIGKILL);
            let _ = running.wait();
            assert_eq!(seen, BTreeSet::new(), "{}", guest.display());
            assert!(looks > 20 && staged > 10, "{looks} looks, {staged} of them at staged images");
        }
    }
}

/// Protections of the parts of every file that the process maps, neighbours of the same protection joined.
fn protections(maps: &Maps) -> BTreeMap<PathBuf, Vec<(u64, u64, String)>> {
    let mut files: BTreeMap<PathBuf, Vec<(u64, u64, String)>> = BTreeMap::new();
    for mapping in maps.0.iter().filter(|m| m.inode != 0) {
        let (start, length) = (mapping.offset, mapping.end.0 - mapping.start.0);
        let protection = mapping.protection.to_string();
        let parts = files.entry(mapping.name.clone()).or_default();
        match parts.last_mut().filter(|(begin, size, last)| begin + *size == start && *last == protection) {
            Some((_, size, _)) => *size += length,
            None => parts.push((start, length, protection)),
        }
    }
    files
}

fn settled(host: Program) -> BTreeMap<PathBuf, Vec<(u64, u64, String)>> {
    let mut running = host.start();
    running.wait_until("sleep", |r| {
        r.proc("maps").contains("libstdc++") || r.proc("maps").contains("/bin/node")
    });
    std::thread::sleep(std::time::Duration::from_millis(700));
    let seen = protections(&running.maps());
    running.signal(Signal::SIGKILL);
    let _ = running.wait();
    seen
}

fn same_protections(running: &Running, plain: &BTreeMap<PathBuf, Vec<(u64, u64, String)>>, when: &str) {
    let now = protections(&running.maps());
    for (file, parts) in plain {
        assert_eq!(now.get(file), Some(parts), "{} {when}", file.display());
    }
}

#[test]
fn protections_of_all_files_of_the_host_are_those_without_relink() {
    for (plain, host) in endless_hosts().into_iter().zip(endless_hosts()) {
        let plain = settled(plain);
        assert!(plain.len() > 3, "{plain:?}");
        let mut running = host.relinked_source(GUEST).env(config::GUEST, &parts().libv8).start();
        running.wait_for_file("ready");
        same_protections(&running, &without_guest(&plain), "while the guest runs");
        std::fs::write(running.folder().join("go"), "").expect("written");
        running.wait_for_file("report.json");
        same_protections(&running, &without_guest(&plain), "after the guest");
        running.signal(Signal::SIGKILL);
        assert_eq!(running.wait().outcome(), ("exit", 0));
    }
}

/// Without libnode108 itself: it is the stock guest, too, whose code is mapped from the same file a second time.
fn without_guest(
    plain: &BTreeMap<PathBuf, Vec<(u64, u64, String)>>,
) -> BTreeMap<PathBuf, Vec<(u64, u64, String)>> {
    let libraries = parts().libv8.parent().expect("a folder").canonicalize().expect("a folder");
    plain
        .iter()
        .filter(|(file, _)| !file.starts_with(&libraries))
        .map(|(f, p)| (f.clone(), p.clone()))
        .collect()
}
