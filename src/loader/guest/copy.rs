//! What differs in the private copy of an image from its file. Pure.
//!
//! - A relocation that Relink binds becomes `R_*_NONE`; one for the image's own definition becomes one without a symbol, so
//!   that ld.so binds it to this image whatever else the process exports.
//! - Initialisers and finalisers are taken out: they are called when every slot is bound, and at unload.
//! - Libraries of the guest's closure that are staged as well are taken out of `DT_NEEDED` and `DT_VERNEED`: ld.so would load
//!   and bind others in their place.
//! - `DT_SONAME` is taken out, so that no library that the host loads later is given this copy; so is
//!   `DF_1_NODELETE`, which would keep it from being unloaded.

use super::inventory::{Inventory, Slot};
use object::elf;
use object::{LittleEndian as LE, U64};
use relink_elf::address::LinkAddr;
use relink_elf::memory_file::Edit;
use relink_elf::{bulk_sections, FileImage};
use std::ops::Range;

/// What becomes of one relocation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rewrite {
    /// Nothing is to be done by ld.so.
    None,
    /// The load bias plus this link-time address.
    Relative(LinkAddr),
    /// A thread-local variable of the image itself, at this offset in its thread-local segment.
    OwnTls(LinkAddr),
}

/// A segment whose pages are those of the file itself, for nothing in it is edited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SharedSegment {
    /// Link-time address of its first byte.
    pub at: LinkAddr,
    /// Offset of its first byte in the file.
    pub offset: u64,
    /// Size in bytes.
    pub size: u64,
    /// Whether it is code.
    pub execute: bool,
}

/// How the copy is made.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Copy {
    /// What differs, in order of offset.
    pub edits: Vec<Edit>,
    /// Segments to be mapped from the file instead.
    pub shared: Vec<SharedSegment>,
    /// Parts of the file, in order, that the copy leaves out because they lie in shared segments and nobody reads them
    /// through the copy.
    pub holes: Vec<Range<u64>>,
}

impl Copy {
    /// Has the copy hold these words from `at` on, in a segment that is not shared.
    ///
    /// # Errors
    /// The link-time address of a word that has no bytes in the file, or that is shared with it.
    pub fn write(&mut self, file: &FileImage, at: LinkAddr, words: &[i32]) -> Result<(), LinkAddr> {
        const SIZE: usize = 4;
        for (number, word) in words.iter().enumerate() {
            let at = at.offset((number * SIZE) as u64).ok_or(at)?;
            let offset = file.file_offset(at).ok_or(at)? as u64;
            let shared = self.shared.iter().any(|s| (s.offset..s.offset + s.size).contains(&offset));
            if shared || offset + SIZE as u64 > file.bytes.len() as u64 {
                return Err(at);
            }
            self.edits.push(Edit { offset, word: u64::from(*word as u32), size: SIZE });
        }
        self.edits.sort_by_key(|e| e.offset);
        Ok(())
    }
}

/// Plans the copy of `file`. `rewrites` says what becomes of relocations (by the address of their entries), `private` which
/// libraries of `DT_NEEDED` are staged as well.
///
/// # Errors
/// The link-time address of something that has no bytes in the file.
pub fn plan_copy<'s>(
    file: &FileImage,
    inventory: &Inventory,
    rewrites: impl Iterator<Item = (&'s Slot<'s>, Rewrite)>,
    private: &dyn Fn(&str) -> bool,
) -> Result<Copy, LinkAddr> {
    let mut editor = Editor { file, edits: Vec::new() };
    for (slot, rewrite) in rewrites {
        editor.relocation(slot, rewrite)?;
    }
    editor.dynamic(inventory, private)?;
    editor.version_needs(inventory, private)?;
    let mut edits = editor.edits;
    edits.sort_by_key(|e| e.offset);
    // Resolvers run while ld.so loads the copy, before the file's own pages are put in place; and what ld.so has relocated in
    // code would be lost then.
    if inventory.has_resolvers || relocates_code(inventory) {
        return Ok(Copy { edits, ..Copy::default() });
    }
    let shared = shared_segments(file, &edits);
    let inside = |r: &Range<u64>| shared.iter().any(|s| s.offset <= r.start && r.end <= s.offset + s.size);
    let holes = bulk_sections(file).into_iter().filter(inside).collect();
    Ok(Copy { edits, shared, holes })
}

struct Editor<'f, 'd> {
    file: &'f FileImage<'d>,
    edits: Vec<Edit>,
}

impl Editor<'_, '_> {
    /// Edits `size` bytes at `at`, `inside` bytes on.
    fn edit(&mut self, at: LinkAddr, inside: u64, word: u64, size: usize) -> Result<(), LinkAddr> {
        let offset = self.file.file_offset(at).ok_or(at)? as u64 + inside;
        if offset + size as u64 > self.file.bytes.len() as u64 {
            return Err(at);
        }
        self.edits.push(Edit { offset, word, size });
        Ok(())
    }

    /// Edits an `Elf64_Rela`: `r_info` is its second word, `r_addend` the third.
    fn relocation(&mut self, slot: &Slot, rewrite: Rewrite) -> Result<(), LinkAddr> {
        let arch = self.file.arch;
        let (kind, addend) = match rewrite {
            Rewrite::None => return self.edit(slot.entry, 8, u64::from(arch.none), 8),
            Rewrite::Relative(to) => (u64::from(arch.relative), to.0),
            Rewrite::OwnTls(offset) => {
                let info = slot.entry.offset(8).ok_or(slot.entry)?;
                let info: &U64<LE> = self.file.image.value("r_info", info).map_err(|_| slot.entry)?;
                (info.get(LE) & u64::from(u32::MAX), offset.0.wrapping_add_signed(slot.addend))
            }
        };
        self.edit(slot.entry, 8, kind, 8)?;
        self.edit(slot.entry, 16, addend, 8)
    }

    fn dynamic(&mut self, inventory: &Inventory, private: &dyn Fn(&str) -> bool) -> Result<(), LinkAddr> {
        let mut needed = inventory.needed.iter();
        for entry in &inventory.dynamic {
            match entry.tag as u32 {
                elf::DT_INIT | elf::DT_FINI | elf::DT_SONAME => self.ignore(entry.at)?,
                elf::DT_INIT_ARRAYSZ | elf::DT_FINI_ARRAYSZ => self.edit(entry.at, 8, 0, 8)?,
                elf::DT_FLAGS_1 if entry.value & u64::from(elf::DF_1_NODELETE) != 0 => {
                    self.edit(entry.at, 8, entry.value & !u64::from(elf::DF_1_NODELETE), 8)?;
                }
                elf::DT_NEEDED if needed.next().is_some_and(|name| private(name)) => self.ignore(entry.at)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Gives the entry a tag in the range reserved for operating systems that no ld.so knows, hence passes over.
    fn ignore(&mut self, entry: LinkAddr) -> Result<(), LinkAddr> {
        const IGNORED_TAG: u64 = elf::DT_LOOS as u64 + 0x52_4c4b;
        self.edit(entry, 0, IGNORED_TAG, 8)
    }

    /// Takes the records of private libraries out of the list of needed versions: ld.so asserts that each library in it is
    /// loaded under its name.
    fn version_needs(
        &mut self,
        inventory: &Inventory,
        private: &dyn Fn(&str) -> bool,
    ) -> Result<(), LinkAddr> {
        let kept: Vec<LinkAddr> =
            inventory.version_needs.iter().filter(|n| !private(n.file)).map(|n| n.at).collect();
        if kept.len() == inventory.version_needs.len() {
            return Ok(());
        }
        let defines = inventory.dynamic.iter().any(|e| e.tag as u32 == elf::DT_VERDEF);
        for entry in &inventory.dynamic {
            match (entry.tag as u32, kept.first()) {
                (elf::DT_VERNEED, Some(first)) => self.edit(entry.at, 8, first.0, 8)?,
                (elf::DT_VERNEEDNUM, Some(_)) => self.edit(entry.at, 8, kept.len() as u64, 8)?,
                (elf::DT_VERNEED | elf::DT_VERNEEDNUM, None) => self.ignore(entry.at)?,
                // Without any version left the symbols' indices would lead nowhere.
                (elf::DT_VERSYM, None) if !defines => self.ignore(entry.at)?,
                _ => {}
            }
        }
        /// Offset of `vn_next` in `Elf64_Verneed`.
        const NEXT: u64 = 12;
        let following = kept.iter().skip(1).map(Some).chain([None]);
        for (record, next) in kept.iter().zip(following) {
            let distance = next.map_or(0, |next| next.0.wrapping_sub(record.0));
            self.edit(*record, NEXT, distance, 4)?;
        }
        Ok(())
    }
}

/// Whether ld.so writes into segments that are not writable (`DT_TEXTREL`, `DF_TEXTREL`).
fn relocates_code(inventory: &Inventory) -> bool {
    inventory.dynamic.iter().any(|entry| match entry.tag as u32 {
        elf::DT_TEXTREL => true,
        elf::DT_FLAGS => entry.value & u64::from(elf::DF_TEXTREL) != 0,
        _ => false,
    })
}

/// Loadable segments that are never written and hold no edit.
fn shared_segments(file: &FileImage, edits: &[Edit]) -> Vec<SharedSegment> {
    let loads = file.image.headers().iter().filter(|h| h.p_type.get(LE) == elf::PT_LOAD);
    let whole = loads.filter(|h| {
        h.p_flags.get(LE) & elf::PF_W == 0
            && h.p_filesz.get(LE) == h.p_memsz.get(LE)
            && h.p_filesz.get(LE) > 0
    });
    let segments = whole.map(|h| SharedSegment {
        at: LinkAddr(h.p_vaddr.get(LE)),
        offset: h.p_offset.get(LE),
        size: h.p_filesz.get(LE),
        execute: h.p_flags.get(LE) & elf::PF_X != 0,
    });
    let edited = |s: &SharedSegment| {
        let at = edits.partition_point(|e| e.offset + e.size as u64 <= s.offset);
        edits.get(at).is_some_and(|e| e.offset < s.offset + s.size)
    };
    segments.filter(|s| !edited(s)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Modules;
    use relink_elf::arch::Arch;
    use relink_elf::file::FileOnDisk;
    use relink_elf::DynamicEntry;

    #[test]
    fn code_that_is_relocated_is_not_shared_with_the_file() {
        let modules = Modules::observe();
        let library =
            modules.0.iter().find(|m| m.name() == "libgcc_s.so.1").expect("this program unwinds by it");
        let on_disk = FileOnDisk::open(&library.path).expect("its file");
        let file = FileImage::parse(&on_disk.bytes, Arch::native()).expect("an ELF file");
        let mut inventory = Inventory::read(&file).expect("its slots");
        inventory.has_resolvers = false;
        let copy = |inventory: &Inventory| {
            plan_copy(&file, inventory, std::iter::empty(), &|_| false).expect("a copy")
        };
        assert!(copy(&inventory).shared.iter().any(|segment| segment.execute));
        for (tag, value) in [(elf::DT_TEXTREL, 0), (elf::DT_FLAGS, u64::from(elf::DF_TEXTREL))] {
            let entry = DynamicEntry { at: inventory.dynamic[0].at, tag: u64::from(tag), value };
            let mut relocated = inventory.clone();
            relocated.dynamic.push(entry);
            let copy = copy(&relocated);
            assert!(copy.shared.is_empty() && copy.holes.is_empty());
        }
    }
}
