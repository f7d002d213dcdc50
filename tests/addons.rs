//! Layer: native add-ons, real ones from npm and ones compiled here against Node's headers, used by the guest and its Workers
//! in both hosts and in `relink node`: they do what they do in plain Node, and are bound to the guest and to the host's V8.

#[path = "support/process.rs"]
mod process;
mod support;

use process::{Ended, Program, Running};
use relink::address::{LinkAddr, RunAddr};
use relink::config;
use relink::elf::arch::Arch;
use relink::elf::FileImage;
use relink::guest::Inventory;
use relink::kit::{cache::Cache, npm, progress};
use relink::process::Maps;
use relink::standalone;
use relink::symbol::{owner, Owner};
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use support::parts;

/// npm packages with binaries inside: name, version, file. The last one is in Rust, and finds Node-API by `dlsym`.
const PACKAGES: [(&str, &str, &str); 4] = [
    ("bufferutil", "4.0.8", "prebuilds/linux-x64/node.napi.node"),
    ("utf-8-validate", "6.0.3", "prebuilds/linux-x64/node.napi.node"),
    ("classic-level", "1.4.1", "prebuilds/linux-x64/node.napi.glibc.node"),
    ("@node-rs/crc32-linux-x64-gnu", "1.10.6", "crc32.linux-x64-gnu.node"),
];

/// Name in the script -> file.
type AddOns = BTreeMap<&'static str, PathBuf>;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/addons")
}

/// The prebuilt add-ons.
fn prebuilt() -> &'static AddOns {
    static FOUND: OnceLock<AddOns> = OnceLock::new();
    let fetch = |(name, version, file): (&'static str, &str, &str)| {
        let cache = Cache::locate().expect("a cache");
        let folder = npm::package(&cache, name, version, progress::terminal().as_ref()).expect("the package");
        let name = if name.contains("crc32") { "crc32" } else { name };
        (name, folder.join(file).canonicalize().expect("a binary inside"))
    };
    FOUND.get_or_init(|| PACKAGES.into_iter().map(fetch).collect())
}

/// Those compiled here, and a broken one, in this folder.
fn compiled(folder: &Path) -> AddOns {
    let headers = parts().node.with_file_name("../include/node");
    let compile = |compiler: &str, options: &[&str], source: &str, name: &str| {
        let (source, out) = (fixtures().join(source), folder.join(name));
        let mut command = Command::new(compiler);
        command.args(options).args(["-O1", "-w", "-fPIC", "-shared", "-isystem"]).arg(&headers);
        let output = command.arg("-o").arg(&out).arg(source).output().expect("the compiler runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        out
    };
    // With unique symbols in it ld.so never unloads an add-on, and plain Node cannot open it a second time.
    let v8 = compile("g++", &["-fno-gnu-unique"], "v8.cc", "v8.node");
    let missing = compile("gcc", &[], "missing.c", "missing.node");
    let bytes = std::fs::read(&prebuilt()["bufferutil"]).expect("read");
    let broken = folder.join("broken.node");
    std::fs::write(&broken, &bytes[..bytes.len() / 2]).expect("written");
    [("v8", v8.clone()), ("where", v8), ("missing", missing), ("broken", broken)].into()
}

/// What the script prints where it runs relinked: the lines of plain Node, and those that only a relinked one has.
fn expected(addons: &AddOns, threads: &[&str]) -> Vec<String> {
    let ordinary: AddOns = addons.iter().filter(|(n, _)| !special(n)).map(|(n, f)| (*n, f.clone())).collect();
    let plain = using(Program::new(&parts().node), &ordinary, threads).args(&[&script()]).run();
    assert_eq!(plain.code(), 0, "{}{}", plain.stdout, plain.stderr);
    let mut lines = sorted(&plain.stdout);
    assert_eq!(lines.len(), ordinary.len() * threads.len());
    for thread in threads {
        lines.push(format!("{thread} broken ERR_DLOPEN_FAILED E0309"));
        lines.push(format!("{thread} missing ERR_DLOPEN_FAILED E0405 true"));
        lines.push(format!("{thread} where guest,guest,guest,host"));
    }
    lines.sort();
    lines
}

fn special(name: &str) -> bool {
    ["broken", "missing", "where"].contains(&name)
}

fn script() -> String {
    fixtures().join("use.js").display().to_string()
}

fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

const EVERYWHERE: [&str; 3] = ["main", "worker", "worker"];
const WORKERS: [&str; 2] = ["worker", "worker"];

fn using(program: Program, addons: &AddOns, threads: &[&str]) -> Program {
    let files = serde_json::to_string(addons).expect("JSON");
    program.env("ADDONS", files).env("ADDONS_IN", if threads == WORKERS { "worker" } else { "" })
}

/// Runs the script as a guest of this host.
fn inside(host: Program, guest: &Path, addons: &AddOns, threads: &[&str]) -> Ended {
    let program = using(host, addons, threads).relinked(Path::new(&script())).guest_output_to_file();
    program.env(config::GUEST, guest).start().end_after_guest()
}

fn check_inside(host: Program, status: i32, guest: &Path, threads: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let addons = [prebuilt().clone(), compiled(folder.path())].into_iter().flatten().collect();
    let ended = inside(host, guest, &addons, threads);
    assert_eq!(sorted(&ended.guest_output()), expected(&addons, threads), "{}", ended.stderr);
    assert_eq!((ended.outcome(), ended.code()), (("finished", 0), status), "{}", ended.stderr);
}

#[test]
fn in_the_game_server() {
    check_inside(Program::endless_gameserver(), 143, &parts().guest, &EVERYWHERE);
}

#[test]
fn in_a_node_that_exports_the_same_names() {
    check_inside(Program::node_until("report.json"), 5, &parts().guest, &EVERYWHERE);
}

#[test]
fn a_stock_guests_are_not_bound_to_its_dead_v8() {
    check_inside(Program::node_until("report.json"), 5, &parts().libv8, &EVERYWHERE);
}

/// The first Worker's end closes the add-ons. Beside a host they stay, and register themselves for the second one all the
/// same.
#[test]
fn opened_closed_and_opened_again_beside_a_host() {
    check_inside(Program::endless_gameserver(), 143, &parts().guest, &WORKERS);
}

#[test]
fn in_relink_node_where_closing_unloads() {
    let folder = tempfile::tempdir().expect("a folder");
    let addons = [prebuilt().clone(), compiled(folder.path())].into_iter().flatten().collect();
    for threads in [&EVERYWHERE[..], &WORKERS] {
        let node = Program::new(&parts().relink_node).env(standalone::V8, &parts().libv8);
        let node = using(node.env(config::GUEST, &parts().guest), &addons, threads);
        let ended = node.args(&[&script()]).run();
        assert_eq!(sorted(&ended.stdout), expected(&addons, threads), "{}", ended.stderr);
        assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""));
    }
}

/// Reads every slot for Node-API of the prebuilt add-ons from a running node's memory: none leads to the host's own.
#[test]
fn every_slot_for_node_api_leads_to_the_guest() {
    let source = "const fs = require('fs');\n\
                  for (const file of Object.values(JSON.parse(process.env.ADDONS))) process.dlopen({ exports: {} }, file);\n\
                  fs.writeFileSync(`${__dirname}/loaded`, '');\n\
                  const wait = setInterval(() => { if (fs.existsSync(`${__dirname}/go`)) clearInterval(wait); }, 10);";
    let folder = tempfile::tempdir().expect("a folder");
    let copied = |(name, file): (&&'static str, &PathBuf)| {
        let copy = folder.path().join(format!("{name}.node"));
        std::fs::copy(file, &copy).expect("copied");
        (*name, copy)
    };
    let addons: AddOns = prebuilt().iter().map(copied).collect();
    let host = using(Program::node_until("report.json"), &addons, &EVERYWHERE);
    let mut running = host.relinked_source(source).start();
    running.wait_for_file("loaded");
    for name in ["bufferutil", "utf-8-validate", "classic-level"] {
        let slots = slots_for_node_api(&running, &addons[name]);
        assert!(slots.len() >= 5, "{name}: {slots:?}");
        let guest = parts().guest.canonicalize().expect("the guest");
        let astray: Vec<_> = slots.iter().filter(|(_, file)| **file != guest).collect();
        assert!(astray.is_empty(), "{name}: {astray:?}");
    }
    std::fs::write(running.folder().join("go"), "").expect("written");
    let ended = running.end_after_guest();
    assert_eq!((ended.outcome(), ended.code()), (("finished", 0), 5), "{}", ended.stderr);
}

/// The files that the add-on's slots for `napi_*` lead to. Code of private copies is mapped from the file itself.
fn slots_for_node_api(running: &Running, addon: &Path) -> BTreeMap<String, PathBuf> {
    let bytes = std::fs::read(addon).expect("read");
    let file = FileImage::parse(&bytes, Arch::native()).expect("an ELF file");
    let maps = running.maps();
    let bias = bias_of(&file, &maps, addon);
    let memory = std::fs::File::open(format!("/proc/{}/mem", running.pid())).expect("its memory");
    let inventory = Inventory::read(&file).expect("readable");
    let of_node = inventory.slots.iter().filter(|s| s.own.is_none() && owner(s.symbol) == Owner::Node);
    let leads_to = |at: LinkAddr| {
        let mut word = [0; 8];
        memory.read_exact_at(&mut word, bias.wrapping_add(at.0)).expect("a mapped slot");
        maps.at(RunAddr(u64::from_le_bytes(word))).map(|m| m.name.clone()).unwrap_or_default()
    };
    of_node.map(|slot| (slot.symbol.to_owned(), leads_to(slot.at))).collect()
}

/// Run-time minus link-time addresses, from where the code is mapped: from the file, or from the copy where that has edits in
/// the same segment.
fn bias_of(file: &FileImage, maps: &Maps, path: &Path) -> u64 {
    let name = path.file_name().expect("a name").to_string_lossy();
    let copy = PathBuf::from(format!("/memfd:relink:{name} (deleted)"));
    let mut mapped = maps.of_file(path).chain(maps.of_file(&copy));
    let code = mapped.find(|m| m.protection.execute).expect("its code is mapped");
    let header = file.image.headers().iter().find(|h| file_page(h) == code.offset && is_code(h));
    let address = header.expect("the segment that is mapped").p_vaddr.get(object::LittleEndian);
    code.start.0.wrapping_sub(address & !0xfff)
}

type Header = object::elf::ProgramHeader64<object::LittleEndian>;

fn file_page(header: &Header) -> u64 {
    header.p_offset.get(object::LittleEndian) & !0xfff
}

fn is_code(header: &Header) -> bool {
    header.p_flags.get(object::LittleEndian) & object::elf::PF_X != 0
}
