//! The full symbol table (gABI chapter 4, `SHT_SYMTAB`), which only the file has, and only if it is not stripped.

use super::{ElfError, FileImage};
use crate::address::LinkAddr;
use object::elf;
use object::read::elf::{FileHeader as _, Sym as _};
use object::LittleEndian as LE;
use std::collections::{HashMap, HashSet};

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
    let mut found = HashMap::new();
    for symbol in table.iter().filter(|s| s.st_shndx(LE) != elf::SHN_UNDEF) {
        let name = symbol.name(LE, table.strings()).ok().and_then(|n| std::str::from_utf8(n).ok());
        if let Some(name) = name.filter(|n| wanted.contains(n)) {
            found.insert(name.to_owned(), (LinkAddr(symbol.st_value(LE)), symbol.st_type() == elf::STT_FUNC));
        }
    }
    Ok(found)
}
