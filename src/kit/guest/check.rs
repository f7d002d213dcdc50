//! Whether a library is a proper guest: read from the finished file, not from what the build meant to do.

use object::elf::{DF_1_NOW, DF_BIND_NOW, DT_BIND_NOW, DT_FLAGS, DT_FLAGS_1, STB_GNU_UNIQUE};
use relink_abi::note;
use relink_abi::note::GuestNote;
use relink_abi::symbol::{owner, Owner};
use relink_elf::arch::{Arch, RelocationKind};
use relink_elf::{ElfError, FileImage};
use relink_loader::guest::Inventory;
use std::collections::HashSet;

/// Libraries that a guest may need besides ICU: those of the C and C++ run time.
const RUNTIME: [&str; 9] = [
    "libc.so.6",
    "libm.so.6",
    "libstdc++.so.6",
    "libgcc_s.so.1",
    "libdl.so.2",
    "libpthread.so.0",
    "librt.so.1",
    "ld-linux-x86-64.so.2",
    "ld-linux-aarch64.so.1",
];

/// Names without which Node cannot be brought up (parts of mangled names: overloads differ between versions).
const ENTRANCE: [&str; 8] = [
    "_ZN4node22CommonEnvironmentSetupC1E",
    "_ZN4node24InitializeOncePerProcessE",
    "_ZN4node20MultiIsolatePlatform6CreateE",
    "_ZN4node15LoadEnvironmentE",
    "_ZN4node13SpinEventLoopE",
    "_ZN4node21SetProcessExitHandlerE",
    "node_module_register",
    "napi_create_function",
];

/// Fewer V8 symbols than this cannot be all of Node's needs: something was linked in that should not be.
const FEWEST_V8_SYMBOLS: usize = 300;

/// What was counted in a guest.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct GuestFacts {
    /// Its DT_SONAME.
    pub soname: String,
    /// Its DT_NEEDED.
    pub needed: Vec<String>,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Number of exported symbols.
    pub exports: usize,
    /// Number of V8 symbols it needs.
    pub v8_symbols: usize,
    /// Slots for V8 symbols: procedure linkage table.
    pub jump_slots: usize,
    /// Slots for V8 symbols: global offset table.
    pub glob_dat: usize,
    /// Slots for V8 symbols: 64-bit words in data.
    pub abs64: usize,
    /// What it says of itself.
    pub note: GuestNote,
}

/// Reads a library. `Err` lists every requirement that it misses.
pub fn check(bytes: &[u8], expected: &GuestNote) -> Result<GuestFacts, Vec<String>> {
    read(bytes, expected).unwrap_or_else(|error| Err(vec![error.to_string()]))
}

fn read(bytes: &[u8], expected: &GuestNote) -> Result<Result<GuestFacts, Vec<String>>, ElfError> {
    let file = FileImage::parse(bytes, Arch::native())?;
    let inventory = Inventory::read(&file)?;
    let mut faults = Vec::new();
    check_binding(&file, &mut faults)?;
    check_unique(&file, &mut faults)?;
    check_needed(&inventory, &mut faults);
    let exports = exports(&file)?;
    check_exports(&exports, &mut faults);
    check_slots(&inventory, &mut faults);
    let note = match note::find(&file.image)? {
        Ok(note) if note == *expected => note,
        Ok(_) => return Ok(Err(with(faults, "its note is not the one that was to be linked in".into()))),
        Err(why) => return Ok(Err(with(faults, format!("no note: {why}")))),
    };
    Ok(if faults.is_empty() { Ok(facts(bytes, &inventory, exports.len(), note)) } else { Err(faults) })
}

fn with(mut faults: Vec<String>, fault: String) -> Vec<String> {
    faults.push(fault);
    faults
}

/// ld.so must leave the slots alone until Relink has bound them.
fn check_binding(file: &FileImage, faults: &mut Vec<String>) -> Result<(), ElfError> {
    let dynamic = relink_elf::Dynamic::parse(&file.image)?;
    let flag = |tag: u32, bit: u32| dynamic.value(tag).unwrap_or(0) & u64::from(bit) != 0;
    if dynamic.value(DT_BIND_NOW).is_some() || flag(DT_FLAGS, DF_BIND_NOW) || flag(DT_FLAGS_1, DF_1_NOW) {
        faults.push("it is linked with -z now: ld.so would want every V8 symbol at load".into());
    }
    Ok(())
}

fn check_unique(file: &FileImage, faults: &mut Vec<String>) -> Result<(), ElfError> {
    let dynamic = relink_elf::Dynamic::parse(&file.image)?;
    let symbols = relink_elf::SymbolTable::parse(&file.image, &dynamic)?;
    let unique: Vec<&str> =
        symbols.definitions()?.into_iter().filter(|s| s.bind == STB_GNU_UNIQUE).map(|s| s.name).collect();
    report(&unique, "symbols are STB_GNU_UNIQUE (bound process-wide)", faults);
    Ok(())
}

fn check_needed(inventory: &Inventory, faults: &mut Vec<String>) {
    let foreign: Vec<&str> = inventory
        .needed
        .iter()
        .copied()
        .filter(|n| !RUNTIME.contains(n) && !n.starts_with("libicu"))
        .collect();
    report(&foreign, "libraries are needed that should be linked in", faults);
}

/// The names that it exports, sorted.
fn exports<'d>(file: &FileImage<'d>) -> Result<Vec<&'d str>, ElfError> {
    let dynamic = relink_elf::Dynamic::parse(&file.image)?;
    let symbols = relink_elf::SymbolTable::parse(&file.image, &dynamic)?;
    let mut names: Vec<&str> = symbols.definitions()?.into_iter().map(|s| s.name).collect();
    names.sort_unstable();
    Ok(names)
}

fn check_exports(exports: &[&str], faults: &mut Vec<String>) {
    let of = |who| exports.iter().copied().filter(|n| owner(n) == who).collect::<Vec<_>>();
    report(&of(Owner::V8), "V8 symbols are defined by it", faults);
    report(&of(Owner::Other), "symbols are exported that are not Node's interface", faults);
    let has = |part: &&str| exports.iter().any(|name| name.starts_with(part));
    let missing: Vec<&str> = ENTRANCE.iter().copied().filter(|part| !has(part)).collect();
    report(&missing, "symbols of Node's embedder interface are not exported", faults);
}

fn check_slots(inventory: &Inventory, faults: &mut Vec<String>) {
    let undefined = || inventory.slots.iter().filter(|slot| slot.own.is_none());
    let bindable = [RelocationKind::JumpSlot, RelocationKind::GlobDat, RelocationKind::Abs64];
    let of_v8 = |slot: &&relink_loader::guest::Slot| owner(slot.symbol) == Owner::V8;
    let odd: Vec<&str> =
        undefined().filter(of_v8).filter(|s| !bindable.contains(&s.kind)).map(|s| s.symbol).collect();
    report(&odd, "V8 symbols are in slots of a kind that cannot be bound", faults);
    // Run-time libraries version their symbols, ICU puts its version into the names.
    let icu = |name: &str| {
        name.contains("icu_") || name.rsplit('_').next().is_some_and(|n| n.parse::<u32>().is_ok())
    };
    let loose: Vec<&str> = undefined()
        .filter(|s| !of_v8(s) && !s.weak && s.version.is_none() && !icu(s.symbol))
        .map(|s| s.symbol)
        .collect();
    report(&loose, "symbols are needed that no library of its own brings", faults);
    let count = v8_symbols(inventory).len();
    if count < FEWEST_V8_SYMBOLS {
        faults.push(format!("it needs only {count} V8 symbols, at least {FEWEST_V8_SYMBOLS} are expected"));
    }
}

fn v8_symbols<'d>(inventory: &Inventory<'d>) -> HashSet<&'d str> {
    let undefined = inventory.slots.iter().filter(|s| s.own.is_none()).map(|s| s.symbol);
    undefined.filter(|name| owner(name) == Owner::V8).collect()
}

fn report(names: &[&str], what: &str, faults: &mut Vec<String>) {
    if let Some(first) = names.first() {
        faults.push(format!("{} {what}, for example {first}", names.len()));
    }
}

fn facts(bytes: &[u8], inventory: &Inventory, exports: usize, note: GuestNote) -> GuestFacts {
    let count =
        |kind| inventory.slots.iter().filter(|s| s.kind == kind && owner(s.symbol) == Owner::V8).count();
    GuestFacts {
        soname: inventory.soname.into(),
        needed: inventory.needed.iter().map(|n| n.to_string()).collect(),
        bytes: bytes.len() as u64,
        exports,
        v8_symbols: v8_symbols(inventory).len(),
        jump_slots: count(RelocationKind::JumpSlot),
        glob_dat: count(RelocationKind::GlobDat),
        abs64: count(RelocationKind::Abs64),
        note,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn note() -> GuestNote {
        super::super::recipe::tests::note()
    }

    /// Links a shared object from C++ text; the tests of bad libraries need real ones.
    fn library(source: &str, flags: &[&str]) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let [text, object] = ["a.cc", "a.so"].map(|name| dir.path().join(name));
        std::fs::write(&text, source).unwrap();
        let run =
            Command::new("g++").args(["-shared", "-fPIC", "-o"]).arg(&object).arg(&text).args(flags).output();
        let run = run.unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        std::fs::read(&object).unwrap()
    }

    fn faults(source: &str, flags: &[&str]) -> String {
        check(&library(source, flags), &note()).unwrap_err().join("\n")
    }

    #[test]
    fn text_is_no_guest() {
        assert!(check(b"#!/bin/sh\n", &note()).is_err());
        assert!(check(&library("int x;", &[])[..2000], &note()).is_err());
    }

    #[test]
    fn every_requirement_is_checked() {
        let text = faults(
            "namespace v8 { int Own() { return 1; } int Needed(); }\n\
             namespace node { int f() { return v8::Needed(); } }\n\
             extern \"C\" int uv_run(); extern \"C\" int SSL_new() { return uv_run(); }\n\
             template <class T> struct S { static int x; }; template <class T> int S<T>::x = 1;\n\
             int *p = &S<int>::x;\n",
            &["-Wl,-z,now", "-Wl,--no-as-needed", "-lz"],
        );
        for part in [
            "-z now",
            "1 symbols are STB_GNU_UNIQUE",
            "1 libraries are needed that should be linked in, for example libz.so.1",
            "1 V8 symbols are defined by it, for example _ZN2v83OwnEv",
            "for example SSL_new",
            "symbols of Node's embedder interface are not exported",
            "1 symbols are needed that no library of its own brings, for example uv_run",
            "it needs only 1 V8 symbols",
            "no note",
        ] {
            assert!(text.contains(part), "{part:?} is not in:\n{text}");
        }
    }
}
