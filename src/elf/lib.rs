//! Reads ELF64 images (gABI), from a file or from the memory of the process. Never changes a byte of them.
//!
//! An [`Image`] gives out bytes by link-time address. Everything above it (dynamic section, symbols, versions, relocations) is the
//! same code for files and for memory. Structures and numbers come from the `object` crate; only [`arch`] knows relocation numbers
//! (psABI). [`address`] keeps link-time and run-time addresses apart by type.

pub mod address;
pub mod arch;
pub mod build_id;
pub mod cache;
mod dynamic;
pub mod file;
mod image;
pub mod memory_file;
mod notes;
mod relocations;
mod sections;
mod symbols;
mod versions;

pub use dynamic::{Dynamic, DynamicEntry, Strings};
pub use image::{is_program, FileImage, Image, Segment};
pub use notes::{notes, Note};
pub use relocations::{relocations, Relocation, Table};
pub use sections::{bulk_sections, full_symbols};
pub use symbols::{gnu_hash, Symbol, SymbolTable};
pub use versions::{Need, Version, Versions};

use crate::address::LinkAddr;

/// Why bytes are not an ELF image that can be used.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ElfError {
    /// The file does not begin with the ELF magic.
    #[error("not an ELF file (expected 7f454c46 at offset 0, found {found})")]
    NotElf {
        /// The bytes found instead, in hexadecimal.
        found: String,
    },
    /// An ELF file, but of a class, byte order, type or machine that cannot be used here.
    #[error("{what} is {found}, expected {expected}")]
    Unsuitable {
        /// The header field.
        what: &'static str,
        /// What it says.
        found: String,
        /// What it would have to say.
        expected: String,
    },
    /// The file ends before something that its headers promise.
    #[error("truncated: {what} needs bytes {offset:#x}..{end:#x}, the file has {size:#x}")]
    Truncated {
        /// The structure that is cut off.
        what: &'static str,
        /// Its file offset in bytes.
        offset: u64,
        /// Its end in bytes.
        end: u64,
        /// The size of the file in bytes.
        size: u64,
    },
    /// A link-time address that no loaded segment covers.
    #[error("malformed: {what} at link-time address {address}: {why}")]
    Malformed {
        /// The structure.
        what: &'static str,
        /// Where it should be.
        address: LinkAddr,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A structure that every dynamic object has is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
}
