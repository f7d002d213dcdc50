//! What only a file has, and only if it is not stripped: sections and the full symbol table (gABI chapter 4, "Sections",
//! `SHT_SYMTAB`).

use super::{ElfError, FileImage};
use crate::address::LinkAddr;
use object::elf;
use object::read::elf::{FileHeader as _, SectionHeader as _, Sym as _};
use object::LittleEndian as LE;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// Those of the `wanted` names that the full symbol table defines: link-time address, and whether it is a function. One
/// pass over the table, however many names. A stripped file has none of them.
pub fn full_symbols(
    file: &FileImage,
    wanted: &HashSet<&str>,
) -> Result<HashMap<String, (LinkAddr, bool)>, ElfError> {
    let unreadable = |_| ElfError::Missing("a readable section header table");
    let header = elf::FileHeader64::<LE>::parse(file.bytes).map_err(unreadable)?;
    let sections = header.sections(LE, file.bytes).map_err(unreadable)?;
    let table = sections.symbols(LE, file.bytes, elf::SHT_SYMTAB).map_err(unreadable)?;
    let strings = sections.section(table.string_section()).and_then(|s| s.data(LE, file.bytes));
    let strings = strings.unwrap_or(&[]);
    let longest = wanted.iter().map(|n| n.len()).max().unwrap_or(0);
    let mut found = HashMap::new();
    for symbol in table.iter().filter(|s| s.st_shndx(LE) != elf::SHN_UNDEF) {
        let name = string(strings, symbol.st_name(LE), longest);
        if let Some(name) = name.filter(|n| wanted.contains(n)) {
            found.insert(name.to_owned(), (LinkAddr(symbol.st_value(LE)), symbol.st_type() == elf::STT_FUNC));
        }
    }
    Ok(found)
}

/// The parts of the file that are code or constants: sections that neither ld.so nor a debugger reads from the file. Empty
/// without a section header table.
pub fn bulk_sections(file: &FileImage) -> Vec<Range<u64>> {
    let Ok(header) = elf::FileHeader64::<LE>::parse(file.bytes) else { return Vec::new() };
    let Ok(sections) = header.sections(LE, file.bytes) else { return Vec::new() };
    let alike = |s: &&elf::SectionHeader64<LE>| {
        let flags = s.sh_flags(LE);
        let constant = sections.section_name(LE, s).is_ok_and(|name| name.starts_with(b".rodata"));
        s.sh_type(LE) == elf::SHT_PROGBITS
            && flags & u64::from(elf::SHF_WRITE) == 0
            && flags & u64::from(elf::SHF_ALLOC) != 0
            && (constant || flags & u64::from(elf::SHF_EXECINSTR) != 0)
    };
    let range = |s: &elf::SectionHeader64<LE>| s.sh_offset(LE)..s.sh_offset(LE).saturating_add(s.sh_size(LE));
    sections.iter().filter(alike).map(range).filter(|r| r.end <= file.bytes.len() as u64).collect()
}

/// The string at `offset`, if it is not longer than `longest` bytes: the end of another one is not searched for.
fn string(strings: &[u8], offset: u32, longest: usize) -> Option<&str> {
    let rest = strings.get(offset as usize..)?;
    let end = memchr::memchr(0, &rest[..rest.len().min(longest + 1)])?;
    std::str::from_utf8(&rest[..end]).ok()
}
