//! What a file holds: is there a V8 in it, how visible, and what is it? Nothing of the file runs, and of a large one only
//! the pages that hold the answers are touched.

use super::{CxxLibrary, Fingerprint};
use crate::abi::catalogue::{
    profile_of, CXX_WITNESSES, MARKER, PLATFORM_CELL, SMI_SHIFT, TAGGED_SIZE, VERSION_EMBEDDER,
    VERSION_NUMBERS,
};
use crate::elf::{full_symbols, Dynamic, ElfError, FileImage, SymbolTable};
use crate::guest::note;
use serde::Serialize;
use std::collections::HashSet;

/// What was found. `None` means unknown, never "no".
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Whether V8's symbols were found, and in which table.
    pub v8: Presence,
    /// Its version, with the embedder's suffix if that is known.
    pub version: Option<String>,
    /// Whether a word that refers to an object is half as wide as a pointer.
    pub pointer_compression: Option<bool>,
    /// Bits of a small integer.
    pub smi_bits: Option<u32>,
    /// The C++ library that its API was compiled with.
    pub cxx: Option<CxxLibrary>,
    /// The profile of its inlined ABI, if Relink knows it.
    pub profile: Option<&'static str>,
    /// Whether this is a guest without V8: what its note says.
    pub guest: Option<note::GuestNote>,
}

/// How V8 shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// Its API is in the dynamic symbol table: a guest can be bound to it.
    Dynsym,
    /// Its API is only in the full symbol table: it is there, and hidden.
    Symtab,
    /// No symbol of it was found. It may still be there, in a stripped file.
    NotSeen,
}

/// Looks into `file`.
pub fn inspect(file: &FileImage) -> Result<Findings, ElfError> {
    let guest = note::find(&file.image)?.ok();
    // A static executable has no dynamic section; its symbols can only be in the full table.
    if let Ok(dynamic) = Dynamic::parse(&file.image) {
        let symbols = SymbolTable::parse(&file.image, &dynamic)?;
        if symbols.lookup(MARKER)?.is_some() {
            let visible = Fingerprint::read(&file.image, &symbols)?;
            return Ok(findings(Presence::Dynsym, &visible, guest));
        }
    }
    let hidden = full_symbols(file, &wanted())?;
    if !hidden.contains_key(MARKER) {
        return Ok(findings(Presence::NotSeen, &Fingerprint::default(), guest));
    }
    let find = |name: &str| Ok(hidden.get(name).map(|(at, _)| *at));
    Ok(findings(Presence::Symtab, &Fingerprint::read_with(&file.image, &find)?, guest))
}

/// The symbols that tell something.
fn wanted() -> HashSet<&'static str> {
    let witnesses = CXX_WITNESSES.map(|(name, _)| name);
    let facts = [MARKER, VERSION_EMBEDDER, TAGGED_SIZE, SMI_SHIFT, PLATFORM_CELL];
    VERSION_NUMBERS.into_iter().chain(witnesses).chain(facts).collect()
}

fn findings(v8: Presence, found: &Fingerprint, guest: Option<note::GuestNote>) -> Findings {
    Findings {
        v8,
        version: found.version.map(|_| found.version_text()),
        pointer_compression: found.tagged_size.map(|size| size == 4),
        smi_bits: found.smi_bits,
        cxx: found.cxx,
        profile: found.version.and_then(profile_of).map(|p| p.name),
        guest,
    }
}
