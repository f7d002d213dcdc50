//! What an image to be staged consists of, as far as binding is concerned. Pure: reads bytes, changes nothing.

use object::elf;
use object::{LittleEndian as LE, U64};
use relink_abi::symbol::{owner, Owner};
use relink_elf::address::LinkAddr;
use relink_elf::arch::RelocationKind;
use relink_elf::{
    relocations, Dynamic, DynamicEntry, ElfError, FileImage, Need, Relocation, Symbol, SymbolTable, Version,
    Versions,
};

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
    /// The library that the version is asked of: the link editor noted where it had found the symbol.
    pub library: Option<&'d str>,
    /// Added to the symbol's address.
    pub addend: i64,
    /// Whether the reference is weak: an undefined one is then 0 and no error.
    pub weak: bool,
    /// The image's own definition of the symbol, if it has one.
    pub own: Option<Own>,
    /// What the word holds in the file.
    pub initial: u64,
}

/// An image's own definition of a symbol that one of its slots refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own {
    /// `st_value`: a link-time address, or an offset in the thread-local segment.
    pub value: LinkAddr,
    /// Whether it is an IFUNC: its value is a function that says which function is meant.
    pub is_ifunc: bool,
}

/// Functions to be called when the image comes and goes (gABI chapter 5, "Initialization and Termination
/// Functions"), held back while it is staged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Lifecycle {
    /// `DT_INIT`.
    pub init: Option<LinkAddr>,
    /// `DT_INIT_ARRAY`: address of the array and number of entries.
    pub init_array: Option<(LinkAddr, u64)>,
    /// `DT_FINI_ARRAY`: likewise.
    pub fini_array: Option<(LinkAddr, u64)>,
    /// `DT_FINI`.
    pub fini: Option<LinkAddr>,
}

/// An image's slots and needs.
#[derive(Clone, Debug)]
pub struct Inventory<'d> {
    /// `DT_SONAME`, or "" without one.
    pub soname: &'d str,
    /// `DT_NEEDED`, in order.
    pub needed: Vec<&'d str>,
    /// Every slot with a symbol.
    pub slots: Vec<Slot<'d>>,
    /// Initialisers and finalisers.
    pub lifecycle: Lifecycle,
    /// The dynamic section.
    pub dynamic: Vec<DynamicEntry>,
    /// The records of `DT_VERNEED`.
    pub version_needs: Vec<Need<'d>>,
    /// Whether ld.so calls functions of the image to relocate it (`R_*_IRELATIVE`, IFUNC symbols).
    pub has_resolvers: bool,
}

impl<'d> Inventory<'d> {
    /// Takes stock of `file`.
    pub fn read(file: &FileImage<'d>) -> Result<Self, ElfError> {
        let dynamic = Dynamic::parse(&file.image)?;
        let symbols = SymbolTable::parse(&file.image, &dynamic)?;
        let versions = Versions::parse(&file.image, &dynamic)?;
        let all = relocations(&file.image, &dynamic, file.arch)?;
        let mut reader = SlotReader { file, symbols: &symbols, versions: &versions, read: Vec::new() };
        let symbolic = all.iter().filter(|r| r.symbol != 0);
        let slots = symbolic.map(|r| reader.slot(r)).collect::<Result<Vec<_>, _>>()?;
        let has_resolvers = all.iter().any(|r| r.kind == RelocationKind::Irelative)
            || slots.iter().any(|s| s.own.is_some_and(|own| own.is_ifunc));
        Ok(Self {
            soname: dynamic.soname()?.unwrap_or(""),
            needed: dynamic.needed()?,
            slots,
            lifecycle: lifecycle(file, &dynamic)?,
            dynamic: dynamic.entries().to_vec(),
            version_needs: versions.needs,
            has_resolvers,
        })
    }

    /// The V8 symbols that it needs and does not define, as often as there are slots for them.
    pub fn needed_v8(&self) -> impl Iterator<Item = &'d str> + use<'_, 'd> {
        let undefined = self.slots.iter().filter(|slot| slot.own.is_none()).map(|slot| slot.symbol);
        undefined.filter(|name| owner(name) == Owner::V8)
    }
}

struct SlotReader<'a, 'i, 'd> {
    file: &'a FileImage<'d>,
    symbols: &'a SymbolTable<'i, 'd>,
    versions: &'a Versions<'d>,
    /// What was read of the symbols so far, by index: in a stock guest three slots share a symbol.
    read: Vec<Option<Reference<'d>>>,
}

/// A symbol, and the version that references to it ask for.
type Reference<'d> = (Symbol<'d>, Option<Version<'d>>);

impl<'d> SlotReader<'_, '_, 'd> {
    fn slot(&mut self, relocation: &Relocation) -> Result<Slot<'d>, ElfError> {
        let (symbol, version) = self.reference(relocation.symbol)?;
        let own = Own { value: symbol.value, is_ifunc: symbol.kind == elf::STT_GNU_IFUNC };
        Ok(Slot {
            at: relocation.offset,
            entry: relocation.entry,
            kind: relocation.kind,
            symbol: symbol.name,
            version: version.map(|v| v.name),
            library: version.and_then(|v| v.file),
            addend: relocation.addend,
            weak: symbol.bind == elf::STB_WEAK,
            own: symbol.defined.then_some(own),
            initial: self.initial(relocation.offset)?,
        })
    }

    fn reference(&mut self, index: u32) -> Result<Reference<'d>, ElfError> {
        let at = index as usize;
        if let Some(Some(known)) = self.read.get(at) {
            return Ok(*known);
        }
        let reference = (self.symbols.get(index)?, self.versions.of(&self.file.image, index)?);
        // The symbol is there, so the file is long enough for as many.
        self.read.resize(self.read.len().max(at + 1), None);
        self.read[at] = Some(reference);
        Ok(reference)
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

/// The initialisers and finalisers, seen to lie inside of the image: they will be called.
fn lifecycle(file: &FileImage, dynamic: &Dynamic) -> Result<Lifecycle, ElfError> {
    let function = |tag, what| {
        let found = dynamic.address(tag);
        match found.filter(|at| !file.image.is_code(*at)) {
            Some(address) => Err(ElfError::Malformed { what, address, why: "is not in code" }),
            None => Ok(found),
        }
    };
    let array = |tag, size, what| {
        let size = dynamic.value(size).unwrap_or(0);
        let count = size / size_of::<u64>() as u64;
        let found = dynamic.address(tag).filter(|_| count > 0).map(|at| (at, count));
        found.map(|(at, count)| file.image.bytes(what, at, size).map(|_| (at, count))).transpose()
    };
    Ok(Lifecycle {
        init: function(elf::DT_INIT, "the initialiser (DT_INIT)")?,
        init_array: array(
            elf::DT_INIT_ARRAY,
            elf::DT_INIT_ARRAYSZ,
            "the array of initialisers (DT_INIT_ARRAY)",
        )?,
        fini_array: array(
            elf::DT_FINI_ARRAY,
            elf::DT_FINI_ARRAYSZ,
            "the array of finalisers (DT_FINI_ARRAY)",
        )?,
        fini: function(elf::DT_FINI, "the finaliser (DT_FINI)")?,
    })
}
