//! Layer: reading ELF, with what every machine has: the C library, the dynamic linker, this test's own executable and a
//! program that is compiled here. `elf_oracle.rs` makes the same checks on the guest and the hosts.

#[path = "support/oracle.rs"]
mod oracle;

use relink::elf::arch::Arch;
use relink::elf::{relocations, Dynamic, FileImage, Image, SymbolTable, Versions};
use relink::process::{LiveModule, Maps, Modules};
use std::path::PathBuf;
use std::process::Command;

/// The C library as it is loaded into this test.
fn libc_module() -> LiveModule {
    let named = |m: &LiveModule| m.name() == "libc.so.6";
    Modules::observe().0.into_iter().find(named).expect("tests are linked to libc.so.6")
}

/// libc.so.6 and this test's executable, which is position-independent.
fn files() -> Vec<PathBuf> {
    vec![libc_module().path, std::env::current_exe().expect("this test's file")]
}

fn dynamic<'i, 'd>(image: &'i Image<'d>) -> Dynamic<'i, 'd> {
    Dynamic::parse(image).expect("a dynamic section")
}

#[test]
fn dynamic_entries_needed_and_soname() {
    oracle::dynamic_entries_needed_and_soname(&files());
}

#[test]
fn every_relocation() {
    oracle::every_relocation(&files());
}

#[test]
fn relocation_entries_lie_where_they_say() {
    oracle::relocation_entries_lie_where_they_say(&files());
}

#[test]
fn every_symbol_by_index() {
    oracle::every_symbol_by_index(&files());
}

#[test]
fn every_symbol_by_hash_and_nothing_else() {
    oracle::every_symbol_by_hash_and_nothing_else(&files());
}

#[test]
fn every_version() {
    oracle::every_version(&files());
}

#[test]
fn an_executable_with_a_link_base() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let (source, program) = (folder.path().join("main.c"), folder.path().join("main"));
    std::fs::write(&source, "int main(void) { return 0; }\n").expect("written");
    let status = Command::new("cc").args(["-fno-pie", "-no-pie", "-o"]).arg(&program).arg(&source).status();
    assert!(status.expect("cc runs").success());
    oracle::an_executable_with_a_link_base(&program);
}

#[test]
fn the_c_library_in_memory_is_the_one_in_its_file() {
    let module = libc_module();
    let maps = Maps::own().expect("maps");
    let live = module.image(&maps);
    let bytes = std::fs::read(&module.path).expect("its file");
    let file = FileImage::parse(&bytes, Arch::native()).expect("a file of this machine");
    let (of_live, of_file) = (dynamic(&live), dynamic(&file.image));
    assert_eq!(of_live.needed(), of_file.needed());
    assert_eq!(of_live.soname(), Ok(Some("libc.so.6")));
    let tags = |d: &Dynamic| d.entries().iter().map(|e| (e.at, e.tag)).collect::<Vec<_>>();
    assert_eq!(tags(&of_live), tags(&of_file));
    let read = |image, dynamic| relocations(image, dynamic, file.arch).expect("relocations");
    assert_eq!(read(&live, &of_live), read(&file.image, &of_file));
    let live_symbols = SymbolTable::parse(&live, &of_live).expect("symbols");
    let file_symbols = SymbolTable::parse(&file.image, &of_file).expect("symbols");
    let (in_memory, in_file) = (live_symbols.definitions(), file_symbols.definitions());
    assert!(in_file.as_ref().is_ok_and(|all| all.len() > 2000));
    assert_eq!(in_memory, in_file);
    let live_versions = Versions::parse(&live, &of_live).expect("versions");
    let file_versions = Versions::parse(&file.image, &of_file).expect("versions");
    for symbol in in_file.expect("definitions") {
        let live_version = live_versions.of(&live, symbol.index);
        assert_eq!(live_version, file_versions.of(&file.image, symbol.index), "{}", symbol.name);
    }
}

#[test]
fn modules_that_cannot_be_described_are_errors_and_no_panics() {
    let maps = Maps::own().expect("maps");
    for module in Modules::observe().0 {
        let image = module.image(&maps);
        // The vDSO has neither relocations nor a file; it may be readable or not, but must not be fatal.
        if let Ok(dynamic) = Dynamic::parse(&image) {
            let _ = SymbolTable::parse(&image, &dynamic).and_then(|s| s.definitions());
            let _ = relocations(&image, &dynamic, Arch::native());
        }
    }
    let nothing_readable = Maps::default();
    for module in Modules::observe().0 {
        assert!(Dynamic::parse(&module.image(&nothing_readable)).is_err(), "{}", module.path.display());
    }
}
