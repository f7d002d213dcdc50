//! Symbol versions (LSB core, chapter "Symbol Versioning"): which version a reference asks for and a definition has.

use super::{Dynamic, ElfError, Image};
use crate::address::LinkAddr;
use object::elf::{self, Verdaux, Verdef, Vernaux, Verneed, Versym};
use object::LittleEndian as LE;
use std::collections::HashMap;

/// The versions of one image by version index.
#[derive(Debug, Default)]
pub struct Versions<'d> {
    of_symbol: Option<LinkAddr>,
    names: HashMap<u16, Version<'d>>,
    /// The records of `DT_VERNEED`, in order.
    pub needs: Vec<Need<'d>>,
}

/// A symbol's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version<'d> {
    /// Its name.
    pub name: &'d str,
    /// The library that a reference wants it of (`vn_file`); nothing for a definition.
    pub file: Option<&'d str>,
}

/// One record of `DT_VERNEED`: versions that are wanted of one library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need<'d> {
    /// Link-time address of the record.
    pub at: LinkAddr,
    /// The library, as in `DT_NEEDED`.
    pub file: &'d str,
}

impl<'d> Versions<'d> {
    /// Reads `DT_VERSYM`, `DT_VERNEED` and `DT_VERDEF`; an image without them has no versions.
    pub fn parse(image: &Image<'d>, dynamic: &Dynamic<'_, 'd>) -> Result<Self, ElfError> {
        let mut versions = Self { of_symbol: dynamic.address(elf::DT_VERSYM), ..Self::default() };
        if let (Some(at), Some(count)) = (dynamic.address(elf::DT_VERNEED), dynamic.value(elf::DT_VERNEEDNUM))
        {
            versions.read_needed(image, dynamic, at, count)?;
        }
        if let (Some(at), Some(count)) = (dynamic.address(elf::DT_VERDEF), dynamic.value(elf::DT_VERDEFNUM)) {
            versions.read_defined(image, dynamic, at, count)?;
        }
        Ok(versions)
    }

    /// The version of the symbol at `index`: what a reference wants, or what a definition is. `None`: no version.
    pub fn of(&self, image: &Image<'d>, index: u32) -> Result<Option<Version<'d>>, ElfError> {
        let number = self.number(image, index)? & elf::VERSYM_VERSION;
        Ok(if number <= elf::VER_NDX_GLOBAL { None } else { self.names.get(&number).copied() })
    }

    /// Whether the definition at `index` serves only references that ask for its version, because another one of the same
    /// name is the default.
    pub fn is_hidden(&self, image: &Image<'d>, index: u32) -> Result<bool, ElfError> {
        Ok(self.number(image, index)? & elf::VERSYM_HIDDEN != 0)
    }

    fn number(&self, image: &Image<'d>, index: u32) -> Result<u16, ElfError> {
        let Some(table) = self.of_symbol else { return Ok(elf::VER_NDX_GLOBAL) };
        let at = table.offset(u64::from(index) * 2).unwrap_or(table);
        let versym: &Versym<LE> = image.value("a symbol's version (DT_VERSYM)", at)?;
        Ok(versym.0.get(LE))
    }

    fn read_needed(
        &mut self,
        image: &Image<'d>,
        dynamic: &Dynamic<'_, 'd>,
        at: LinkAddr,
        count: u64,
    ) -> Result<(), ElfError> {
        const WHAT: &str = "a needed version (DT_VERNEED)";
        for file in linked(image, WHAT, at, count, |v: &Verneed<LE>| v.vn_next.get(LE)) {
            let (file_at, file) = file?;
            let library = dynamic.string(u64::from(file.vn_file.get(LE)))?;
            self.needs.push(Need { at: file_at, file: library });
            let first = step(WHAT, file_at, file.vn_aux.get(LE))?;
            let count = u64::from(file.vn_cnt.get(LE));
            for version in linked(image, WHAT, first, count, |v: &Vernaux<LE>| v.vna_next.get(LE)) {
                let (_, version) = version?;
                let name = dynamic.string(u64::from(version.vna_name.get(LE)))?;
                let number = version.vna_other.get(LE) & elf::VERSYM_VERSION;
                self.names.insert(number, Version { name, file: Some(library) });
            }
        }
        Ok(())
    }

    fn read_defined(
        &mut self,
        image: &Image<'d>,
        dynamic: &Dynamic<'_, 'd>,
        at: LinkAddr,
        count: u64,
    ) -> Result<(), ElfError> {
        const WHAT: &str = "a defined version (DT_VERDEF)";
        for version in linked(image, WHAT, at, count, |v: &Verdef<LE>| v.vd_next.get(LE)) {
            let (version_at, version) = version?;
            let name: &Verdaux<LE> = image.value(WHAT, step(WHAT, version_at, version.vd_aux.get(LE))?)?;
            let name = dynamic.string(u64::from(name.vda_name.get(LE)))?;
            self.names.insert(version.vd_ndx.get(LE) & elf::VERSYM_VERSION, Version { name, file: None });
        }
        Ok(())
    }
}

/// Symbols refer to versions by 15 bits (`VERSYM_VERSION`), and no object needs as many as 1,024 of one file.
const MOST_RECORDS: u64 = 1 << 10;

/// A linked list of records of `T`, at most `count` of them; `next` is the distance in bytes to the next, 0 at the end.
fn linked<'i, 'd: 'i, T: object::Pod>(
    image: &'i Image<'d>,
    what: &'static str,
    at: LinkAddr,
    count: u64,
    next: impl Fn(&T) -> u32 + 'i,
) -> impl Iterator<Item = Result<(LinkAddr, &'d T), ElfError>> + 'i {
    let mut at = Some(at);
    let mut left = count.min(MOST_RECORDS);
    std::iter::from_fn(move || {
        let here = at.take().filter(|_| left > 0 || count > MOST_RECORDS)?;
        if left == 0 {
            return Some(Err(ElfError::Malformed { what, address: here, why: "has too many entries" }));
        }
        left -= 1;
        let record = match image.value::<T>(what, here) {
            Ok(record) => record,
            Err(error) => return Some(Err(error)),
        };
        at = Some(next(record)).filter(|distance| *distance != 0).and_then(|d| here.offset(u64::from(d)));
        Some(Ok((here, record)))
    })
}

fn step(what: &'static str, at: LinkAddr, distance: u32) -> Result<LinkAddr, ElfError> {
    at.offset(u64::from(distance)).ok_or(ElfError::Malformed { what, address: at, why: "overflows" })
}
