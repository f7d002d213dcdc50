//! The symbols that tell something, from the dynamic table and, where that does not tell enough, from `.symtab`.

use super::super::exports::Visibility;
use object::elf;
use object::read::elf::{FileHeader as _, SectionHeader as _, Sym as _};
use object::LittleEndian as LE;
use relink_abi::catalogue::*;
use relink_abi::fingerprint::CxxLibrary;
use relink_elf::address::LinkAddr;
use relink_elf::{Dynamic, ElfError, FileImage, SymbolTable};
use std::collections::{BTreeSet, HashMap};

/// Names looked up in the dynamic table: a few pages of it are touched for each.
const WANTED: [&str; 15] = [
    MARKER,
    GET_VERSION,
    VERSION_EMBEDDER,
    TAGGED_SIZE,
    SMI_SHIFT,
    PLATFORM_CELL,
    SHARED_READ_ONLY_HEAP,
    SANDBOX_SIZE,
    WEBASSEMBLY,
    INTL,
    INTERNALS,
    DEBUG_ONLY[0],
    DEBUG_ONLY[1],
    NODE_START,
    NODE_MODULES[2],
];

/// All names that may be in the dynamic table.
fn visible() -> impl Iterator<Item = &'static str> {
    WANTED.into_iter().chain(FULL_SLOTS).chain(COMPRESSED_SLOTS).chain(VERSION_NUMBERS)
}

/// Local names: only in `.symtab`.
const LOCAL: [&str; 4] = [STARTUP_STATE, STATIC_ROOTS, NODE_MODULES[0], NODE_MODULES[1]];

/// Every wanted name begins with one of these, which spares `.symtab`'s other names a lookup.
const BEGINNINGS: [&[u8]; 6] = [b"_ZN2v8", b"_ZNK2v8", b"v8dbg_", b"_ZN4node5", b"_ZL7_mod", b"_module"];

/// No wanted name is longer, in bytes.
const LONGEST: usize = 256;

/// Parts of mangled names by which V8's own symbols tell the C++ library they were compiled with (Itanium C++ ABI,
/// section 5.1: `St` is the namespace std, followed by the inline namespace of the library).
/// `So` is libstdc++'s `std::ostream`: the abbreviation is not for classes in an inline namespace.
const LIBRARIES: [(&[u8], &str); 8] = [
    (b"NSt4__Cr", "libc++ (std::__Cr)"),
    (b"NSt2Cr", "libc++ (std::Cr)"),
    (b"NSt3__1", "libc++"),
    (b"NSt7__cxx11", "libstdc++"),
    (b"St10unique_ptr", "libstdc++"),
    (b"St10shared_ptr", "libstdc++"),
    (b"St6vector", "libstdc++"),
    (b"internallsERSo", "libstdc++"),
];

/// A symbol that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its link-time address.
    pub at: LinkAddr,
    /// The table.
    pub table: Visibility,
}

/// What the symbol tables of a file tell.
#[derive(Clone, Debug, Default)]
pub struct Symbols {
    found: HashMap<&'static str, Found>,
    /// Addresses of Node's module structures.
    pub modules: BTreeSet<LinkAddr>,
    /// The C++ libraries that V8's symbols name.
    pub libraries: BTreeSet<&'static str>,
    /// Whether `.symtab` was there and was read.
    pub full: bool,
    /// Whether the class `v8::internal::Sandbox` has functions in `.symtab`.
    pub sandbox_class: bool,
}

impl Symbols {
    /// Looks the names up in the dynamic table.
    pub fn dynamic(file: &FileImage) -> Result<Self, ElfError> {
        let mut symbols = Self::default();
        // A static executable has no dynamic section.
        let Ok(dynamic) = Dynamic::parse(&file.image) else { return Ok(symbols) };
        let Ok(table) = SymbolTable::parse(&file.image, &dynamic) else { return Ok(symbols) };
        for name in visible() {
            if let Some(symbol) = table.lookup(name)? {
                symbols.note(name, symbol.value, Visibility::Dynsym);
            }
        }
        for (name, library) in CXX_WITNESSES {
            if table.lookup(name)?.is_some() {
                symbols.libraries.insert(library);
            }
        }
        Ok(symbols)
    }

    /// Adds what `.symtab` tells: one pass over it. A stripped or unreadable table tells nothing.
    pub fn add_full(&mut self, file: &FileImage) {
        let Ok(header) = elf::FileHeader64::<LE>::parse(file.bytes) else { return };
        let Ok(sections) = header.sections(LE, file.bytes) else { return };
        let Ok(table) = sections.symbols(LE, file.bytes, elf::SHT_SYMTAB) else { return };
        let strings = sections.section(table.string_section()).and_then(|s| s.data(LE, file.bytes));
        let Ok(strings) = strings else { return };
        self.full = !table.is_empty();
        let wanted = wanted();
        for symbol in table.iter().filter(|s| s.st_shndx(LE) != elf::SHN_UNDEF) {
            if let Some(name) = name_at(strings, symbol.st_name(LE)) {
                self.consider(name, LinkAddr(symbol.st_value(LE)), &wanted);
            }
        }
    }

    fn consider(&mut self, name: &[u8], at: LinkAddr, wanted: &HashMap<&'static [u8], &'static str>) {
        if let Some(name) = wanted.get(name) {
            self.note(name, at, Visibility::Symtab);
        }
        self.sandbox_class |= name.starts_with(b"_ZN2v88internal7Sandbox");
        if self.libraries.len() < 2 {
            self.libraries.extend(library_in(name));
        }
    }

    /// The dynamic table's word counts more than that of `.symtab`.
    fn note(&mut self, name: &'static str, at: LinkAddr, table: Visibility) {
        if NODE_MODULES.contains(&name) {
            self.modules.insert(at);
        }
        self.found.entry(name).or_insert(Found { at, table });
    }

    /// The symbol of this name, one of those looked for.
    pub fn get(&self, name: &str) -> Option<Found> {
        self.found.get(name).copied()
    }

    /// The first of `names` that is there.
    pub fn any(&self, names: &[&'static str]) -> Option<&'static str> {
        names.iter().copied().find(|name| self.found.contains_key(name))
    }

    /// Whether the dynamic table has the symbol.
    pub fn exported(&self, name: &str) -> bool {
        self.get(name).is_some_and(|f| f.table == Visibility::Dynsym)
    }

    /// The C++ library, if V8's symbols name exactly one.
    pub fn library(&self) -> Option<CxxLibrary> {
        let mut all = self.libraries.iter();
        all.next().filter(|_| all.next().is_none()).map(|name| CxxLibrary(name))
    }

    /// Looks for the C++ library in the names of all dynamic definitions of V8's: for a V8 from before the API named
    /// types of the standard library.
    pub fn add_library(&mut self, file: &FileImage) {
        let Ok(dynamic) = Dynamic::parse(&file.image) else { return };
        let Ok(table) = SymbolTable::parse(&file.image, &dynamic) else { return };
        // Node 4 has 30,000.
        let names = table.each_definition().map_while(Result::ok).take(200_000);
        self.libraries.extend(names.filter_map(|s| library_in(s.name.as_bytes())));
    }
}

fn wanted() -> HashMap<&'static [u8], &'static str> {
    visible().chain(LOCAL).map(|name| (name.as_bytes(), name)).collect()
}

/// The name at `offset`, if it begins as a wanted one does. Of a longer name than any that is wanted only the beginning: a
/// name without an end must not be searched for it, again for every symbol.
fn name_at(strings: &[u8], offset: u32) -> Option<&[u8]> {
    let rest = strings.get(offset as usize..).filter(|r| BEGINNINGS.iter().any(|b| r.starts_with(b)))?;
    let name = &rest[..rest.len().min(LONGEST)];
    Some(&name[..memchr::memchr(0, name).unwrap_or(name.len())])
}

fn library_in(name: &[u8]) -> Option<&'static str> {
    let of_v8 = name.starts_with(b"_ZN2v8") || name.starts_with(b"_ZNK2v8");
    let found = LIBRARIES.iter().find(|(part, _)| memchr::memmem::find(name, part).is_some());
    found.filter(|_| of_v8).map(|(_, library)| *library)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wanted_names_begin_and_end_as_the_pass_expects() {
        for name in wanted().keys().filter(|n| **n != NODE_MODULES[2].as_bytes()) {
            assert!(BEGINNINGS.iter().any(|b| name.starts_with(b)), "{}", String::from_utf8_lossy(name));
            assert!(name.len() < LONGEST);
        }
    }

    #[test]
    fn the_library_of_a_name() {
        for (name, library) in CXX_WITNESSES {
            assert_eq!(library_in(name.as_bytes()), Some(library), "{name}");
        }
        assert_eq!(library_in(b"_ZNSt6vectorIN2v85LocalIiEEE4fillEv"), None, "not V8's own");
        assert_eq!(library_in(MARKER.as_bytes()), None);
    }
}
