//! The dynamic section (gABI chapter 5, "Dynamic Section").

use super::{ElfError, Image};
use crate::address::LinkAddr;
use object::elf::{self, Dyn64};
use object::LittleEndian as LE;

/// One entry and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DynamicEntry {
    /// Link-time address of the entry itself.
    pub at: LinkAddr,
    /// `d_tag`.
    pub tag: u64,
    /// `d_val` or `d_ptr`, as stored.
    pub value: u64,
}

/// A longer string is taken for one without an end, in bytes: the same end must not be searched far away, again and again.
const LONGEST_STRING: usize = 1 << 16;

/// The dynamic section of an image, up to `DT_NULL`.
#[derive(Clone, Debug)]
pub struct Dynamic<'i, 'd> {
    image: &'i Image<'d>,
    entries: Vec<DynamicEntry>,
    strings: Result<Strings<'d>, ElfError>,
}

/// The dynamic string table (`DT_STRTAB`).
#[derive(Clone, Copy, Debug)]
pub struct Strings<'d>(&'d [u8]);

impl<'d> Strings<'d> {
    /// The string at `offset`.
    pub fn get(self, offset: u64) -> Result<&'d str, ElfError> {
        let malformed =
            |why| ElfError::Malformed { what: "a dynamic string", address: LinkAddr(offset), why };
        let bytes = usize::try_from(offset).ok().and_then(|start| self.0.get(start..));
        let bytes = bytes.filter(|b| !b.is_empty()).ok_or(malformed("is outside of DT_STRSZ"))?;
        let bytes = &bytes[..bytes.len().min(LONGEST_STRING)];
        let end = memchr::memchr(0, bytes).ok_or(malformed("has no terminating NUL"))?;
        std::str::from_utf8(&bytes[..end]).map_err(|_| malformed("is not UTF-8"))
    }

    /// Whether the string at `offset` is `text`. For lookups, which compare more often than they find.
    pub fn is(self, offset: u64, text: &str) -> bool {
        let bytes = usize::try_from(offset).ok().and_then(|start| self.0.get(start..)).unwrap_or(&[]);
        bytes.starts_with(text.as_bytes()) && bytes.get(text.len()) == Some(&0)
    }
}

impl<'i, 'd> Dynamic<'i, 'd> {
    /// Reads the dynamic section that `PT_DYNAMIC` points at.
    pub fn parse(image: &'i Image<'d>) -> Result<Self, ElfError> {
        let header =
            image.header(elf::PT_DYNAMIC).ok_or(ElfError::Missing("the dynamic section (PT_DYNAMIC)"))?;
        let start = LinkAddr(header.p_vaddr.get(LE));
        let size = size_of::<Dyn64<LE>>() as u64;
        let table: &[Dyn64<LE>] = image.table("the dynamic section", start, header.p_memsz.get(LE) / size)?;
        let entries = table
            .iter()
            .zip(0u64..)
            .map(|(entry, index)| DynamicEntry {
                at: LinkAddr(start.0.wrapping_add(index * size)),
                tag: entry.d_tag.get(LE),
                value: entry.d_val.get(LE),
            })
            .take_while(|entry| entry.tag != u64::from(elf::DT_NULL))
            .collect();
        let mut dynamic =
            Self { image, entries, strings: Err(ElfError::Missing("the dynamic string table (DT_STRTAB)")) };
        dynamic.strings = dynamic.string_table();
        Ok(dynamic)
    }

    /// All entries before `DT_NULL`.
    pub fn entries(&self) -> &[DynamicEntry] {
        &self.entries
    }

    /// The value of the first entry with this tag (`DT_*`).
    pub fn value(&self, tag: u32) -> Option<u64> {
        self.entries.iter().find(|e| e.tag == u64::from(tag)).map(|e| e.value)
    }

    /// The address held by the first entry with this tag, as a link-time address.
    pub fn address(&self, tag: u32) -> Option<LinkAddr> {
        self.value(tag).map(|value| self.image.dynamic_address(value))
    }

    fn string_table(&self) -> Result<Strings<'d>, ElfError> {
        let start =
            self.address(elf::DT_STRTAB).ok_or(ElfError::Missing("the dynamic string table (DT_STRTAB)"))?;
        let size = self.value(elf::DT_STRSZ).ok_or(ElfError::Missing("DT_STRSZ"))?;
        self.image.bytes("the dynamic string table (DT_STRTAB)", start, size).map(Strings)
    }

    /// The dynamic string table.
    pub fn strings(&self) -> Result<Strings<'d>, ElfError> {
        self.strings.clone()
    }

    /// The string at `offset` of the dynamic string table.
    pub fn string(&self, offset: u64) -> Result<&'d str, ElfError> {
        self.strings()?.get(offset)
    }

    /// The libraries this image asks for (`DT_NEEDED`), in order.
    pub fn needed(&self) -> Result<Vec<&'d str>, ElfError> {
        let needed = self.entries.iter().filter(|e| e.tag == u64::from(elf::DT_NEEDED));
        needed.map(|e| self.string(e.value)).collect()
    }

    /// The name it goes by among libraries (`DT_SONAME`).
    pub fn soname(&self) -> Result<Option<&'d str>, ElfError> {
        self.value(elf::DT_SONAME).map(|offset| self.string(offset)).transpose()
    }
}
