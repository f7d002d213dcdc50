//! What an image to be staged consists of, as far as binding is concerned. Pure: reads bytes, changes nothing.

use crate::address::LinkAddr;
use crate::elf::arch::RelocationKind;
use crate::elf::{relocations, Dynamic, ElfError, FileImage, Relocation, SymbolTable, Versions};
use crate::symbol::{owner, Owner};
use object::elf;
use object::{LittleEndian as LE, U64};
use std::collections::HashMap;

/// One relocated word that depends on a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot<'d> {
    /// Link-time address of the word.
    pub at: LinkAddr,
    /// Link-time address of its relocation entry.
    pub entry: LinkAddr,
    /// Its role.
    pub kind: RelocationKind,
    /// The symbol's (mangled) name.
    pub symbol: &'d str,
    /// The symbol version that the reference asks for.
    pub version: Option<&'d str>,
    /// Added to the symbol's address.
    pub addend: i64,
    /// Whether the reference is weak: an undefined one is then 0 and no error.
    pub weak: bool,
    /// The image's own definition of the symbol, if it has one.
    pub own: Option<LinkAddr>,
    /// What the word holds in the file.
    pub initial: u64,
}

/// Functions to be called when the image comes and goes (gABI chapter 5, "Initialization and Termination
/// Functions"), held back while it is staged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Lifecycle {
    /// `DT_INIT`.
    pub init: Option<LinkAddr>,
    /// `DT_INIT_ARRAY`: address of the array and number of entries.
    pub init_array: Option<(LinkAddr, u64)>,
}

/// An image's slots, definitions and needs.
#[derive(Clone, Debug)]
pub struct Inventory<'d> {
    /// `DT_SONAME`, or "" without one.
    pub soname: &'d str,
    /// `DT_NEEDED`, in order.
    pub needed: Vec<&'d str>,
    /// Every slot with a symbol.
    pub slots: Vec<Slot<'d>>,
    /// Every definition by name.
    pub definitions: HashMap<&'d str, LinkAddr>,
    /// Initialisers.
    pub lifecycle: Lifecycle,
    /// Dynamic entries that make ld.so call initialisers and finalisers: link-time address and tag.
    pub callers: Vec<(LinkAddr, u64)>,
}

impl<'d> Inventory<'d> {
    /// Takes stock of `file`.
    pub fn read(file: &FileImage<'d>) -> Result<Self, ElfError> {
        let dynamic = Dynamic::parse(&file.image)?;
        let symbols = SymbolTable::parse(&file.image, &dynamic)?;
        let versions = Versions::parse(&file.image, &dynamic)?;
        let reader = SlotReader { file, symbols: &symbols, versions: &versions };
        let symbolic = relocations(&file.image, &dynamic, file.arch)?.into_iter().filter(|r| r.symbol != 0);
        Ok(Self {
            soname: dynamic.soname()?.unwrap_or(""),
            needed: dynamic.needed()?,
            slots: symbolic.map(|r| reader.slot(&r)).collect::<Result<_, _>>()?,
            definitions: symbols.definitions()?.into_iter().map(|s| (s.name, s.value)).collect(),
            lifecycle: lifecycle(file, &dynamic)?,
            callers: callers(&dynamic),
        })
    }

    /// The V8 symbols that the image defines: none, in a guest without V8.
    pub fn own_v8(&self) -> Vec<&'d str> {
        let mut names: Vec<_> = self.definitions.keys().copied().filter(|n| owner(n) == Owner::V8).collect();
        names.sort_unstable();
        names
    }
}

struct SlotReader<'a, 'i, 'd> {
    file: &'a FileImage<'d>,
    symbols: &'a SymbolTable<'i, 'd>,
    versions: &'a Versions<'d>,
}

impl<'d> SlotReader<'_, '_, 'd> {
    fn slot(&self, relocation: &Relocation) -> Result<Slot<'d>, ElfError> {
        let symbol = self.symbols.get(relocation.symbol)?;
        Ok(Slot {
            at: relocation.offset,
            entry: relocation.entry,
            kind: relocation.kind,
            symbol: symbol.name,
            version: self.versions.of(&self.file.image, relocation.symbol)?,
            addend: relocation.addend,
            weak: symbol.bind == elf::STB_WEAK,
            own: symbol.defined.then_some(symbol.value),
            initial: self.initial(relocation.offset)?,
        })
    }

    /// The word at `at` as ld.so will map it; 0 in the part of a segment that has no bytes in the file.
    fn initial(&self, at: LinkAddr) -> Result<u64, ElfError> {
        match self.file.image.value::<U64<LE>>("a slot", at) {
            Ok(word) => Ok(word.get(LE)),
            Err(_) if self.file.image.span().contains(&at) => Ok(0),
            Err(error) => Err(error),
        }
    }
}

/// The initialisers, seen to lie inside of the image: they will be called.
fn lifecycle(file: &FileImage, dynamic: &Dynamic) -> Result<Lifecycle, ElfError> {
    let init = dynamic.address(elf::DT_INIT);
    if let Some(address) = init.filter(|at| !file.image.is_code(*at)) {
        return Err(ElfError::Malformed {
            what: "the initialiser (DT_INIT)",
            address,
            why: "is not in code",
        });
    }
    let size = dynamic.value(elf::DT_INIT_ARRAYSZ).unwrap_or(0);
    let count = size / size_of::<u64>() as u64;
    let init_array = dynamic.address(elf::DT_INIT_ARRAY).filter(|_| count > 0).map(|at| (at, count));
    if let Some((at, _)) = init_array {
        file.image.bytes("the array of initialisers (DT_INIT_ARRAY)", at, size)?;
    }
    Ok(Lifecycle { init, init_array })
}

fn callers(dynamic: &Dynamic) -> Vec<(LinkAddr, u64)> {
    let calls = [elf::DT_INIT, elf::DT_FINI, elf::DT_INIT_ARRAYSZ, elf::DT_FINI_ARRAYSZ].map(u64::from);
    dynamic.entries().iter().filter(|e| calls.contains(&e.tag)).map(|e| (e.at, e.tag)).collect()
}
