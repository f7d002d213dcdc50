//! Our reading of ELF files against goblin's, an independent one, entry by entry. Each check takes the files to read.

use goblin::elf::{reloc, Elf, Reloc};
use relink::address::LinkAddr;
use relink::elf::arch::{Arch, RelocationKind};
use relink::elf::{relocations, Dynamic, FileImage, Image, SymbolTable, Table, Versions};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

fn bytes_of(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Calls `check` with each file, read by us and by goblin.
fn for_each_file(files: &[PathBuf], check: impl Fn(&Path, &FileImage, &Elf)) {
    for path in files {
        let bytes = bytes_of(path);
        let theirs =
            Elf::parse(&bytes).unwrap_or_else(|error| panic!("goblin on {}: {error}", path.display()));
        check(path, &FileImage::parse(&bytes, Arch::native()).expect("a file of this machine"), &theirs);
    }
}

fn dynamic<'i, 'd>(image: &'i Image<'d>) -> Dynamic<'i, 'd> {
    Dynamic::parse(image).expect("a dynamic section")
}

pub fn dynamic_entries_needed_and_soname(files: &[PathBuf]) {
    for_each_file(files, |path, ours, theirs| {
        let dynamic = dynamic(&ours.image);
        let entries: Vec<_> = dynamic.entries().iter().map(|e| (e.tag, e.value)).collect();
        let expected = &theirs.dynamic.as_ref().expect("goblin finds one too").dyns;
        let expected: Vec<_> =
            expected.iter().map(|d| (d.d_tag, d.d_val)).filter(|(tag, _)| *tag != 0).collect();
        assert!(expected.len() > 10, "{}", path.display());
        assert_eq!(entries, expected, "{}", path.display());
        assert_eq!(dynamic.needed().expect("needed"), theirs.libraries, "{}", path.display());
        assert_eq!(dynamic.soname().expect("soname"), theirs.soname, "{}", path.display());
    });
}

/// A program that is linked at a fixed address is read by that address.
pub fn an_executable_with_a_link_base(path: &Path) {
    let bytes = bytes_of(path);
    let theirs = Elf::parse(&bytes).expect("goblin");
    assert_eq!(theirs.header.e_type, goblin::elf::header::ET_EXEC);
    let ours = FileImage::parse(&bytes, Arch::native()).expect("a file of this machine");
    let loads = || theirs.program_headers.iter().filter(|h| h.p_type == goblin::elf::program_header::PT_LOAD);
    let start = loads().map(|h| h.p_vaddr).min().expect("segments");
    let end = loads().map(|h| h.p_vaddr + h.p_memsz).max().expect("segments");
    assert!(start > 0x1000, "{start:#x}");
    assert_eq!(ours.image.span(), LinkAddr(start)..LinkAddr(end));
    // Every byte that the file has for a segment is where the program header says.
    for header in loads() {
        for inside in [0, header.p_filesz / 2, header.p_filesz - 1] {
            let offset = ours.file_offset(LinkAddr(header.p_vaddr + inside));
            assert_eq!(offset, Some((header.p_offset + inside) as usize));
        }
    }
}

/// What we call the relocation kinds, written down a second time.
fn kind_of(r_type: u32) -> RelocationKind {
    match r_type {
        reloc::R_X86_64_JUMP_SLOT => RelocationKind::JumpSlot,
        reloc::R_X86_64_GLOB_DAT => RelocationKind::GlobDat,
        reloc::R_X86_64_64 => RelocationKind::Abs64,
        reloc::R_X86_64_RELATIVE => RelocationKind::Relative,
        reloc::R_X86_64_IRELATIVE => RelocationKind::Irelative,
        reloc::R_X86_64_COPY => RelocationKind::Copy,
        reloc::R_X86_64_DTPMOD64 | reloc::R_X86_64_DTPOFF64 | reloc::R_X86_64_TPOFF64 => RelocationKind::Tls,
        other => RelocationKind::Unknown(other),
    }
}

pub fn every_relocation(files: &[PathBuf]) {
    for_each_file(files, |path, ours, theirs| {
        let all = relocations(&ours.image, &dynamic(&ours.image), ours.arch).expect("relocations");
        for (table, expected) in [(Table::Rela, &theirs.dynrelas), (Table::Plt, &theirs.pltrelocs)] {
            let found: Vec<_> = all.iter().filter(|r| r.table == table).collect();
            assert_eq!(found.len(), expected.len(), "{} {table:?}", path.display());
            for (found, expected) in found.iter().zip(expected.iter()) {
                let Reloc { r_offset, r_addend, r_sym, r_type } = expected;
                let ours = (found.offset.0, Some(found.addend), found.symbol as usize, found.kind);
                assert_eq!(ours, (r_offset, r_addend, r_sym, kind_of(r_type)), "{}", path.display());
            }
        }
        assert!(all.len() > 10, "{}: {} relocations", path.display(), all.len());
    });
}

pub fn relocation_entries_lie_where_they_say(files: &[PathBuf]) {
    for_each_file(files, |path, ours, _| {
        for found in relocations(&ours.image, &dynamic(&ours.image), ours.arch).expect("relocations") {
            let at = ours.file_offset(found.entry).unwrap_or_else(|| panic!("{}: {found:?}", path.display()));
            let word = ours.bytes[at..at + 8].try_into().expect("eight bytes");
            assert_eq!(u64::from_le_bytes(word), found.offset.0, "{}", path.display());
        }
    });
}

/// goblin's defined, non-local symbols: every index by name.
fn defined<'e>(theirs: &Elf<'e>) -> HashMap<&'e str, BTreeSet<usize>> {
    let mut by_name: HashMap<_, BTreeSet<_>> = HashMap::new();
    for (index, symbol) in theirs.dynsyms.iter().enumerate() {
        if symbol.st_shndx != 0 && symbol.st_bind() != goblin::elf::sym::STB_LOCAL {
            let name = theirs.dynstrtab.get_at(symbol.st_name).expect("a name");
            by_name.entry(name).or_default().insert(index);
        }
    }
    by_name
}

pub fn every_symbol_by_index(files: &[PathBuf]) {
    for_each_file(files, |path, ours, theirs| {
        let dynamic = dynamic(&ours.image);
        let symbols = SymbolTable::parse(&ours.image, &dynamic).expect("symbols");
        for (index, expected) in theirs.dynsyms.iter().enumerate() {
            let found = symbols.get(index as u32).expect("a symbol");
            let name = theirs.dynstrtab.get_at(expected.st_name);
            let ours = (Some(found.name), found.value.0, found.size, found.bind, found.kind, found.defined);
            let theirs = (
                name,
                expected.st_value,
                expected.st_size,
                expected.st_bind(),
                expected.st_type(),
                expected.st_shndx != 0,
            );
            assert_eq!(ours, theirs, "{} symbol {index}", path.display());
        }
    });
}

pub fn every_symbol_by_hash_and_nothing_else(files: &[PathBuf]) {
    for_each_file(files, |path, ours, theirs| {
        let dynamic = dynamic(&ours.image);
        let symbols = SymbolTable::parse(&ours.image, &dynamic).expect("symbols");
        let expected = defined(theirs);
        for (name, indices) in &expected {
            let found = symbols.lookup(name).expect("readable");
            let found = found.unwrap_or_else(|| panic!("{}: {name} is not found", path.display()));
            assert!(indices.contains(&(found.index as usize)), "{}: {name}", path.display());
            assert_eq!(found.name, *name);
        }
        let undefined = theirs.dynsyms.iter().filter_map(|s| theirs.dynstrtab.get_at(s.st_name));
        for name in undefined.filter(|name| !expected.contains_key(name)) {
            assert_eq!(symbols.lookup(name).expect("readable"), None, "{}: {name}", path.display());
        }
        let listed: BTreeSet<_> =
            symbols.definitions().expect("definitions").iter().map(|s| s.index as usize).collect();
        let all: BTreeSet<_> = expected.values().flatten().copied().collect();
        assert_eq!(listed, all, "{}", path.display());
    });
}

/// Version names by index, as goblin reads them.
fn version_names<'e>(theirs: &Elf<'e>) -> BTreeMap<u16, &'e str> {
    let mut names = BTreeMap::new();
    for file in theirs.verneed.iter().flat_map(|v| v.iter()) {
        names.extend(
            file.iter().map(|aux| (aux.vna_other, theirs.dynstrtab.get_at(aux.vna_name).expect("a name"))),
        );
    }
    for version in theirs.verdef.iter().flat_map(|v| v.iter()) {
        let first = version.iter().next().expect("a name");
        names.insert(version.vd_ndx, theirs.dynstrtab.get_at(first.vda_name).expect("a name"));
    }
    names
}

pub fn every_version(files: &[PathBuf]) {
    for_each_file(files, |path, ours, theirs| {
        let versions = Versions::parse(&ours.image, &dynamic(&ours.image)).expect("versions");
        let names = version_names(theirs);
        let table = theirs.versym.as_ref().expect("goblin finds versions in all of these");
        let mut seen = 0;
        for (index, version) in table.iter().enumerate() {
            let number = version.vs_val & 0x7fff;
            let expected = if number <= 1 { None } else { names.get(&number).copied() };
            let found = versions.of(&ours.image, index as u32).expect("readable").map(|v| v.name);
            assert_eq!(found, expected, "{} symbol {index}", path.display());
            seen += usize::from(found.is_some());
        }
        assert!(seen > 10, "{}: {seen} versions", path.display());
    });
}
