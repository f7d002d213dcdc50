//! Layer: planning. The plan for small images made here and for the real guest on both real V8s, as golden text:
//! `tests/snapshots` holds what was looked at and found right. No process, no V8: the same on every machine.

#[path = "support/files.rs"]
mod files;
mod support;

use files::{bytes_of, image_of};
use relink::abi::fingerprint::Fingerprint;
use relink::abi::{adapters, line};
use relink::address::{LinkAddr, LoadBias, RunAddr};
use relink::elf::arch::RelocationKind;
use relink::elf::{relocations, Dynamic, FileImage, SymbolTable};
use relink::error::Error;
use relink::guest::Inventory;
use relink::host::Exports;
use relink::pipeline::{Files, ImageFile, Part};
use relink::plan::{plan, Guard, Plan, Request, StagedImage, Target, Why};
use relink::symbol::{owner, Owner};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use support::{parts, NEUTRAL_LESS, NEUTRAL_MORE};
use tempfile::TempDir;

/// A V8 of a few symbols, and its version script.
const PROVIDER: &str = r#"
namespace v8 {
struct Isolate { static void* GetCurrent(); void Enter(); static int kCells[4]; };
void* Isolate::GetCurrent() { return nullptr; }
void Isolate::Enter() {}
int Isolate::kCells[4] = {1, 2, 3, 4};
struct Task { virtual ~Task(); virtual void Run(); };
Task::~Task() {}
void Task::Run() {}
}
extern "C" void not_of_v8() {}
"#;
const VERSIONS: &str =
    "V8_1 { extern \"C++\" { v8::*; typeinfo?for?v8::*; typeinfo?name?for?v8::*; vtable?for?v8::*; }; };\n";

/// A guest with slots of every kind that can be bound.
const GUEST: &str = r#"
namespace v8 {
struct Isolate { static void* GetCurrent(); void Enter(); static int kCells[4]; __attribute__((weak)) void Newer(); };
struct Task { virtual ~Task(); virtual void Run(); };
}
namespace node {
struct Own : v8::Task { void Run() override { v8::Task::Run(); } };
__attribute__((weak)) void Defined(v8::Isolate* i) { i->Enter(); }
void (*const table[])(v8::Isolate*) = {Defined, nullptr};
void* (*getter)() = &v8::Isolate::GetCurrent;
int* third = &v8::Isolate::kCells[2];
void (v8::Isolate::*newer)() = &v8::Isolate::Newer;
int first() { return v8::Isolate::kCells[0]; }
v8::Task* make() { return new Own; }
}
extern "C" int kill(int, int);
extern "C" int start(v8::Isolate* i) { i->Enter(); v8::Isolate::GetCurrent(); return kill(1, 0) + node::first(); }
"#;

/// Compiles `source` in `folder`; the path of the shared object.
fn compile(folder: &Path, name: &str, source: &str, arguments: &[&str]) -> std::path::PathBuf {
    let (text, library) = (folder.join(format!("{name}.cc")), folder.join(format!("lib{name}.so")));
    std::fs::write(&text, source).expect("written");
    let mut command = Command::new("g++");
    command.args(["-std=c++17", "-O1", "-fPIC", "-shared", "-fno-exceptions", "-fno-plt", "-Wl,-z,lazy"]);
    let output = command.arg("-o").arg(&library).arg(&text).args(arguments).output().expect("g++ runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    library
}

fn small_provider(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    bytes_of(&compile(folder, "v8", PROVIDER, arguments))
}

fn with_exports<T>(bytes: &[u8], use_them: impl FnOnce(&Exports) -> T) -> T {
    let file = image_of(bytes);
    let dynamic = Dynamic::parse(&file.image).expect("dynamic section");
    use_them(&Exports::new(&file.image, &dynamic, LoadBias(0)).expect("exports"))
}

const GUARDS: [Guard; 1] = [Guard { symbol: "kill", address: RunAddr(0x9000), keeps: "a test" }];

/// Plans without a bridge and without libraries.
fn planned<'d>(guest: &'d [u8], provider: &Exports) -> Result<Plan<'d>, Error> {
    let image = ImageFile::in_memory(StagedImage::Guest, Path::new("guest"), guest)?;
    planned_all(&[image], provider)
}

fn planned_all<'d>(images: &[ImageFile<'d>], provider: &Exports) -> Result<Plan<'d>, Error> {
    let parts = Part::read_all(images)?;
    let members: Vec<_> = parts.iter().map(Part::member).collect();
    plan(&Request {
        members: &members,
        needs: &|_| false,
        provider,
        provider_name: "libv8.so",
        adapters: &adapters::beside_a_host(line::oldest()),
        guards: &GUARDS,
    })
}

fn inventory(bytes: &[u8]) -> Inventory<'_> {
    Inventory::read(&image_of(bytes)).expect("an inventory")
}

/// Kind, symbol, addend, destination and reason, sorted: without the addresses that a compiler may choose anew.
fn shape(plan: &Plan) -> String {
    let line = |text: &str| text.split_once(' ').map_or("", |(_, rest)| rest).to_owned();
    let mut lines: Vec<_> = plan.explain(false).lines().map(line).collect();
    lines.sort();
    lines.join("\n")
}

#[test]
fn a_small_guest_with_every_kind_of_slot() {
    let folder = TempDir::new().expect("a folder");
    let provider = small_provider(folder.path(), &[]);
    // One guest calls through the PLT, the other through the GOT.
    for (name, flag) in [("plt", "-fplt"), ("got", "-fno-plt")] {
        let guest = bytes_of(&compile(folder.path(), name, GUEST, &[flag]));
        let text = with_exports(&provider, |exports| shape(&planned(&guest, exports).expect("a plan")));
        insta::assert_snapshot!(format!("small_{name}"), text);
    }
}

#[test]
fn versions_of_symbols_are_asked_for() {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("versions"), VERSIONS).expect("written");
    let script = format!("-Wl,--version-script={}", folder.path().join("versions").display());
    let versioned = small_provider(folder.path(), &[&script, "-Wl,-soname,libv8.so"]);
    let library = folder.path().join("libv8.so").display().to_string();
    let guest =
        bytes_of(&compile(folder.path(), "guest", GUEST, &["-Wl,--unresolved-symbols=ignore-all", &library]));
    let inventory = inventory(&guest);
    let wanted: Vec<_> = inventory.slots.iter().filter(|s| owner(s.symbol) == Owner::V8 && !s.weak).collect();
    assert!(wanted.len() > 4);
    assert!(wanted.iter().all(|s| s.version == Some("V8_1")), "{wanted:?}");
    with_exports(&versioned, |exports| assert!(planned(&guest, exports).is_ok()));
    // A definition without versions serves every reference; one of another version serves none of these.
    let plain = small_provider(folder.path(), &["-Wl,-soname,libv8.so"]);
    with_exports(&plain, |exports| assert!(planned(&guest, exports).is_ok()));
    std::fs::write(folder.path().join("versions"), VERSIONS.replace("V8_1", "V8_2")).expect("written");
    let other = small_provider(folder.path(), &[&script, "-Wl,-soname,libv8.so"]);
    let error =
        with_exports(&other, |exports| planned(&guest, exports).map(drop)).expect_err("another version");
    assert_eq!(error.code(), "E0402");
    assert!(error.to_string().contains("_ZN2v87Isolate"), "{error}");
}

#[test]
fn missing_symbols_are_all_named_once() {
    let folder = TempDir::new().expect("a folder");
    let source = "namespace v8 { void A(); void B(); extern int c; } void f() { v8::A(); v8::A(); v8::B(); } int* p = &v8::c;\n\
                  void (*q)() = v8::A;";
    let guest = bytes_of(&compile(folder.path(), "missing", source, &[]));
    let provider = small_provider(folder.path(), &[]);
    let error = with_exports(&provider, |exports| planned(&guest, exports).map(drop)).expect_err("missing");
    let Error::MissingSymbols { names, provider } = &error else { panic!("{error}") };
    assert_eq!(names, &["_ZN2v81AEv", "_ZN2v81BEv", "_ZN2v81cE"]);
    assert_eq!((error.code(), provider.as_str()), ("E0402", "libv8.so"));
}

#[test]
fn a_thread_local_variable_of_v8s_cannot_be_bound() {
    let folder = TempDir::new().expect("a folder");
    let provider =
        "namespace v8 { struct T { static thread_local int cell; }; thread_local int T::cell = 1; }";
    let provider = bytes_of(&compile(folder.path(), "tls", provider, &[]));
    let source = "namespace v8 { struct T { static __thread int cell; }; } int f() { return v8::T::cell; }";
    let guest = bytes_of(&compile(folder.path(), "uses", source, &["-ftls-model=initial-exec"]));
    let inventory = inventory(&guest);
    let slot = inventory.slots.iter().find(|s| s.kind == RelocationKind::Tls).expect("a TLS slot");
    assert_eq!(owner(slot.symbol), Owner::V8);
    let error = with_exports(&provider, |exports| planned(&guest, exports).map(drop)).expect_err("TLS");
    // Nothing that a provider exports can be bound to it, so it may be told as missing or as unsupported.
    let named = error.to_string().contains(slot.symbol);
    assert!(named && ["E0402", "E0403"].contains(&error.code()), "{error}");
}

#[test]
fn a_tls_slot_for_a_name_that_v8_has_as_data() {
    let folder = TempDir::new().expect("a folder");
    let provider = "namespace v8 { struct T { static int cell; }; int T::cell = 1; }";
    let provider = bytes_of(&compile(folder.path(), "data", provider, &[]));
    let source = "namespace v8 { struct T { static __thread int cell; }; } int f() { return v8::T::cell; }";
    let guest = bytes_of(&compile(folder.path(), "uses", source, &["-ftls-model=initial-exec"]));
    let error = with_exports(&provider, |exports| planned(&guest, exports).map(drop)).expect_err("TLS");
    assert_eq!(error.code(), "E0403", "{error}");
    assert!(error.to_string().contains("_ZN2v81T4cellE") && error.to_string().contains("Tls"), "{error}");
}

#[test]
fn an_image_linked_elsewhere_is_read_and_planned_by_link_time_addresses() {
    const BASE: u64 = 0x4000_0000;
    let folder = TempDir::new().expect("a folder");
    let provider = small_provider(folder.path(), &["-Wl,-Ttext-segment=0x20000000"]);
    let guest = bytes_of(&compile(
        folder.path(),
        "based",
        GUEST,
        &["-Wl,-Ttext-segment=0x40000000", "-Wl,-z,separate-code"],
    ));
    let file: FileImage = image_of(&guest);
    assert_eq!(file.image.span().start, LinkAddr(BASE));
    let shifted = |h: &&object::elf::ProgramHeader64<object::LittleEndian>| {
        h.p_type.get(object::LittleEndian) == 1
            && h.p_offset.get(object::LittleEndian) != h.p_vaddr.get(object::LittleEndian)
    };
    assert!(file.image.headers().iter().any(|h| shifted(&h)), "p_offset differs from p_vaddr");
    let dynamic = Dynamic::parse(&file.image).expect("dynamic section");
    let all = relocations(&file.image, &dynamic, file.arch).expect("relocations");
    assert!(all.iter().all(|r| r.offset >= LinkAddr(BASE) && file.file_offset(r.entry).is_some()));
    with_exports(&provider, |exports| {
        let plan = planned(&guest, exports).expect("a plan");
        assert!(plan.bindings.len() > 6);
        let theirs = goblin::elf::Elf::parse(&provider).expect("goblin");
        for binding in &plan.bindings {
            assert!(binding.slot.at >= LinkAddr(BASE), "{}", binding.explain(true));
            let Target::Provider(definition) = binding.target else { continue };
            let named =
                |s: &goblin::elf::Sym| theirs.dynstrtab.get_at(s.st_name) == Some(binding.slot.symbol);
            let symbol = theirs.dynsyms.iter().find(named).expect("an export");
            assert_eq!(definition.address, RunAddr(symbol.st_value));
            assert!(symbol.st_value > 0x2000_0000);
        }
    });
}

/// Counts of a plan by kind and by reason, and the adapters by name.
fn summary(plan: &Plan) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut adapters: BTreeMap<&str, usize> = BTreeMap::new();
    for binding in plan.bindings.iter().filter(|b| b.image == StagedImage::Guest) {
        let why = match binding.why {
            Why::Adapter(adapter) => {
                *adapters.entry(adapter.stands_in).or_default() += 1;
                "adapter"
            }
            Why::HostsV8 => "host's V8",
            Why::WeakUndefined => "weak, undefined",
            Why::Guarded(_) => "guard",
            Why::GuestsNode => "guest's Node",
            Why::Own => "its own",
            Why::DeadV8 => "its own V8, dead",
            Why::Closure => "its libraries",
        };
        *counts.entry(format!("{:?} {why}", binding.slot.kind)).or_default() += 1;
    }
    let counts = counts.iter().map(|(what, count)| format!("{count:>4} {what}\n"));
    let adapters = adapters.iter().map(|(name, count)| format!("{count:>4} {name}\n"));
    counts.chain(adapters).collect()
}

/// The plan of the real guest and its libraries on the V8 in this file.
fn real_plan(provider: &Path, check: impl FnOnce(&Plan, &Exports)) {
    let files = Files::open(&parts().guest).expect("the guest and its libraries");
    let images = files.images().expect("images");
    let host = bytes_of(provider);
    with_exports(&host, |exports| check(&planned_all(&images, exports).expect("a plan"), exports));
}

/// An IFUNC, a symbol that is unique process-wide, and a thread-local variable, all the image's own.
const SPECIAL: &str = r#"
template <class T> struct Unique { static int cell; };
template <class T> int Unique<T>::cell = 3;
int& unique() { return Unique<int>::cell; }
thread_local int counter = 1;
int next() { return counter++; }
extern "C" {
int one() { return 1; }
int (*pick())() { return one; }
int picked() __attribute__((ifunc("pick")));
int call() { return picked(); }
}
"#;

#[test]
fn an_images_own_special_symbols_stay_its_own() {
    let folder = TempDir::new().expect("a folder");
    let provider = small_provider(folder.path(), &[]);
    let guest = bytes_of(&compile(folder.path(), "special", SPECIAL, &["-fplt"]));
    assert!(inventory(&guest).has_resolvers, "ld.so calls the IFUNC's resolver");
    with_exports(&provider, |exports| {
        let plan = planned(&guest, exports).expect("a plan");
        let of = |name: &str| plan.bindings.iter().filter(|b| b.slot.symbol == name).collect::<Vec<_>>();
        let unique = of("_ZN6UniqueIiE4cellE");
        assert!(
            !unique.is_empty() && unique.iter().all(|b| matches!(b.target, Target::Own(_))),
            "{unique:?}"
        );
        let local = of("counter");
        assert!(
            !local.is_empty() && local.iter().all(|b| matches!(b.target, Target::OwnTls(_))),
            "{local:?}"
        );
        assert!(of("picked").is_empty(), "an IFUNC is left to ld.so");
        assert!(plan.left_to_the_linker > 0);
    });
}

#[test]
fn a_copy_relocation_has_no_rule() {
    let folder = TempDir::new().expect("a folder");
    let provider = compile(folder.path(), "v8", PROVIDER, &[]);
    let source = "namespace v8 { struct Isolate { static int kCells[4]; }; } int main() { return v8::Isolate::kCells[1]; }";
    let (text, program) = (folder.path().join("main.cc"), folder.path().join("program"));
    std::fs::write(&text, source).expect("written");
    let mut command = Command::new("g++");
    command.args(["-O1", "-fno-pie", "-no-pie", "-o"]).arg(&program).arg(&text).arg(&provider);
    assert!(command.status().expect("g++ runs").success());
    let (program, provider) = (bytes_of(&program), bytes_of(&provider));
    let error = with_exports(&provider, |exports| planned(&program, exports).map(drop)).expect_err("COPY");
    assert_eq!(error.code(), "E0403", "{error}");
    assert!(error.to_string().contains("Copy") && error.to_string().contains("kCells"), "{error}");
}

#[test]
fn a_guest_with_a_v8_of_an_unknown_line_is_refused() {
    let version = r"
namespace v8 { namespace internal { struct Version { static int major_, minor_, build_, patch_; }; } }
int v8::internal::Version::major_ = 9, v8::internal::Version::minor_ = 8;
int v8::internal::Version::build_ = 7, v8::internal::Version::patch_ = 6;";
    let folder = TempDir::new().expect("a folder");
    let bytes = bytes_of(&compile(folder.path(), "stock", &format!("{PROVIDER}{version}"), &[]));
    let image = ImageFile::in_memory(StagedImage::Guest, Path::new("stock"), &bytes).expect("an image");
    let guest = Part::read(&image).expect("readable");
    let note = guest.note().expect("derived from its V8");
    assert_eq!(note.v8, "9.8.7.6");
    let error = guest.needs(&note).expect_err("no list for 9.8");
    assert_eq!(error.code(), "E0307", "{error}");
    assert!(error.to_string().contains("9.8.7.6") && error.to_string().contains("relink guest build"));
}

/// The stock libnode as the guest: what Node's code refers to goes to the host's V8, all other V8 code stays inside.
#[test]
fn the_stock_guest_on_the_official_v8() {
    let files = Files::open(&parts().libv8).expect("the guest and its libraries");
    let images = files.images().expect("images");
    let all = Part::read_all(&images).expect("readable");
    let needs = all[0].needs(&all[0].note().expect("derived")).expect("a known line");
    let v8_less = bytes_of(&parts().guest);
    let undefined: std::collections::BTreeSet<_> = inventory(&v8_less)
        .slots
        .iter()
        .filter(|s| s.own.is_none() && owner(s.symbol) == Owner::V8)
        .map(|s| s.symbol.to_owned())
        .collect();
    let more: Vec<_> = undefined.iter().filter(|name| !needs.contains(name)).collect();
    assert_eq!(more, NEUTRAL_MORE, "the list is that of the built guest");
    assert_eq!(undefined.len() - more.len() + NEUTRAL_LESS.len(), needs.len());
    assert!(NEUTRAL_LESS.iter().all(|name| needs.contains(name)));
    let members: Vec<_> = all.iter().map(Part::member).collect();
    let host = bytes_of(&parts().node);
    with_exports(&host, |exports| {
        let plan = plan(&Request {
            members: &members,
            needs: &|name| needs.contains(name),
            provider: exports,
            provider_name: "node",
            adapters: &adapters::beside_a_host(line::oldest()),
            guards: &GUARDS,
        });
        let plan = plan.expect("a plan");
        insta::assert_snapshot!("stock_official", summary(&plan));
        for binding in plan.bindings.iter().filter(|b| owner(b.slot.symbol) == Owner::V8) {
            let outside = matches!(binding.why, Why::HostsV8 | Why::Adapter(_));
            assert_eq!(outside, needs.contains(binding.slot.symbol), "{}", binding.explain(true));
        }
    });
}

#[test]
fn the_real_guest_on_both_real_v8s() {
    for (name, path) in [("libnode108", &parts().libv8), ("official", &parts().node)] {
        real_plan(path, |plan, exports| {
            insta::assert_snapshot!(format!("real_{name}"), summary(plan));
            let v8: Vec<_> = plan.bindings.iter().filter(|b| owner(b.slot.symbol) == Owner::V8).collect();
            assert!(v8.len() >= 518, "{}", v8.len());
            for binding in v8 {
                if NEUTRAL_MORE.contains(&binding.slot.symbol) {
                    assert_eq!(binding.why, Why::WeakUndefined, "{}", binding.explain(true));
                    continue;
                }
                let adapted = matches!(binding.why, Why::Adapter(_));
                let bound = matches!(binding.target, Target::Provider(_));
                assert!(adapted != bound, "{}", binding.explain(true));
                let found = exports.find(binding.slot.symbol, None).expect("readable");
                let lts = binding.slot.symbol.contains("NewBackingStoreForNodeLTS");
                assert_eq!(found.is_none(), lts && name == "official", "{}", binding.slot.symbol);
            }
        });
    }
}

#[test]
fn both_real_v8s_tell_what_they_are_from_their_files() {
    for path in [&parts().libv8, &parts().node] {
        let bytes = bytes_of(path);
        let file = image_of(&bytes);
        let dynamic = Dynamic::parse(&file.image).expect("dynamic section");
        let symbols = SymbolTable::parse(&file.image, &dynamic).expect("symbols");
        let print = Fingerprint::read(&file.image, &symbols).expect("a fingerprint");
        assert_eq!(
            print.version.map(|v| v.to_string()).as_deref(),
            Some("10.2.154.26"),
            "{}",
            path.display()
        );
        assert_eq!((print.tagged_size, print.smi_bits), (Some(8), Some(32)));
        assert_eq!(print.cxx.map(|c| c.0), Some("libstdc++"));
    }
}
