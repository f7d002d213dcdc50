//! What is fuzzed: everything that reads a file's bytes. The same functions run over the found files in every test run.
#![allow(dead_code, reason = "each user calls one or all of them")]

use relink::abi::note;
use relink::abi::{adapters, line};
use relink::address::RunAddr;
use relink::elf::arch::Arch;
use relink::elf::{full_symbols, relocations, Dynamic, ElfError, FileImage, SymbolTable, Versions};
use relink::host::exports::{Definition, Visibility};
use relink::host::inspect::{architecture, inspect as look};
use relink::plan::{plan as make_plan, Definitions, Request, StagedImage};
use relink::stages::{ImageFile, Part};
use std::collections::HashSet;
use std::path::Path;

/// The names that are looked up in every file.
const NAMES: [&str; 3] = ["_ZN2v87Isolate10GetCurrentEv", "printf", ""];

/// Reads every table of an ELF file.
pub fn elf(bytes: &[u8]) {
    // The answer does not matter: that there is one does.
    let _ = read_tables(bytes);
}

fn read_tables(bytes: &[u8]) -> Result<(), ElfError> {
    let file = FileImage::parse(bytes, Arch::native())?;
    let _ = note::find(&file.image);
    let _ = full_symbols(&file, &HashSet::from(NAMES));
    let dynamic = Dynamic::parse(&file.image)?;
    let _ = (dynamic.needed(), dynamic.soname(), file.image.span());
    let versions = Versions::parse(&file.image, &dynamic);
    let table = SymbolTable::parse(&file.image, &dynamic)?;
    for name in NAMES {
        let _ = table.lookup(name);
    }
    for relocation in relocations(&file.image, &dynamic, file.arch)?.iter().take(1000) {
        let _ = (table.get(relocation.symbol), file.file_offset(relocation.offset));
        let _ = versions.as_ref().map(|v| v.of(&file.image, relocation.symbol));
    }
    for symbol in table.definitions()?.iter().take(1000) {
        let _ = (file.image.is_code(symbol.value), file.image.tail("a symbol", symbol.value));
    }
    Ok(())
}

/// Looks for a V8.
pub fn inspect(bytes: &[u8]) {
    if let Ok(file) = FileImage::parse(bytes, architecture(bytes)) {
        if let Ok(findings) = look(&file) {
            // Numbers that came out of a file must fit into the report.
            assert!(findings.v8.is_v8() || findings.version.is_none(), "{findings:?}");
        }
    }
}

/// Every V8 symbol is at one address.
struct Everything;

impl Definitions for Everything {
    fn find(&self, _name: &str, _version: Option<&str>) -> Result<Option<Definition>, ElfError> {
        let at = RunAddr(0x1000);
        Ok(Some(Definition { address: at, is_function: true, visibility: Visibility::Dynsym, part: None }))
    }
}

/// Reads a guest and plans for it.
pub fn plan(bytes: &[u8]) {
    let Ok(image) = ImageFile::in_memory(StagedImage::Guest, Path::new("guest.so"), bytes) else { return };
    let Ok(guest) = Part::read(&image) else { return };
    let _ = guest.note();
    let request = Request {
        members: &[guest.member()],
        needs: &|_| false,
        provider: &Everything,
        provider_name: "host",
        adapters: &adapters::beside_a_host(line::oldest()),
        guards: &[],
    };
    let _ = make_plan(&request);
}
