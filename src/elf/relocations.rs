//! Dynamic relocations (gABI chapter 4 "Relocation", chapter 5 `DT_RELA` and `DT_JMPREL`).

use super::arch::{Arch, RelocationKind};
use super::{Dynamic, ElfError, Image};
use crate::address::LinkAddr;
use object::elf::{self, Rela64};
use object::LittleEndian as LE;

/// The table a relocation stands in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    /// `DT_RELA`.
    Rela,
    /// `DT_JMPREL`: those of the procedure linkage table.
    Plt,
}

/// One relocation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Relocation {
    /// The table it stands in.
    pub table: Table,
    /// Link-time address of the entry itself.
    pub entry: LinkAddr,
    /// `r_offset`: link-time address of the word to be written.
    pub offset: LinkAddr,
    /// The role of the word.
    pub kind: RelocationKind,
    /// Index of the symbol in the dynamic symbol table; 0 for none.
    pub symbol: u32,
    /// `r_addend`.
    pub addend: i64,
}

/// All relocations of an image, those of `DT_RELA` first. `DT_RELR` holds relative ones only, and no symbol, so it
/// is of no concern here; `DT_REL` does not exist in the psABIs that Relink knows.
pub fn relocations(image: &Image, dynamic: &Dynamic, arch: &Arch) -> Result<Vec<Relocation>, ElfError> {
    let mut all = Vec::new();
    for (table, start, size) in
        [(Table::Rela, elf::DT_RELA, elf::DT_RELASZ), (Table::Plt, elf::DT_JMPREL, elf::DT_PLTRELSZ)]
    {
        let Some(start) = dynamic.address(start) else { continue };
        let count = dynamic.value(size).unwrap_or(0) / size_of::<Rela64<LE>>() as u64;
        let entries: &[Rela64<LE>] = image.table("a relocation table", start, count)?;
        all.extend(entries.iter().zip(0u64..).map(|(entry, index)| Relocation {
            table,
            entry: LinkAddr(start.0.wrapping_add(index * size_of::<Rela64<LE>>() as u64)),
            offset: LinkAddr(entry.r_offset.get(LE)),
            kind: arch.kind(entry.r_type(LE, false)),
            symbol: entry.r_sym(LE, false),
            addend: entry.r_addend.get(LE),
        }));
    }
    Ok(all)
}
