//! The note in which a guest says what it was built from (gABI chapter 5, "Note Section").

use crate::catalogue::Facts;
use crate::fingerprint::Fingerprint;
use crate::layout::Field;
use relink_elf::address::LinkAddr;
use relink_elf::{notes, ElfError, Image, Note};
use serde::{Deserialize, Serialize};

/// Owner name of the note, with its terminating NUL.
pub const OWNER: &[u8] = b"Relink\0";
/// Type of the note.
pub const TYPE: u32 = 1;
/// Type of the note that says where a neutral guest's layout table is.
pub const TABLE_TYPE: u32 = 2;
/// The `schema` that this version writes and reads.
pub const SCHEMA: u32 = 1;

/// In [`GuestNote::spares`]: symbols as keys of WeakMaps, which came to V8 10.2 with Node 18.20.
pub const SYMBOL_KEYS: &str = "symbols as keys of WeakMaps";

/// What the note says, as JSON in its descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestNote {
    /// Version of the note's own form.
    pub schema: u32,
    /// Node's version.
    pub node: String,
    /// Version of the V8 headers the guest was compiled with, `MAJOR.MINOR.BUILD.PATCH`.
    pub v8: String,
    /// The embedder's suffix in those headers.
    #[serde(default)]
    pub v8_embedder: String,
    /// `NODE_MODULE_VERSION`.
    pub module_version: u32,
    /// SHA-256 of those headers, in hexadecimal.
    pub headers: String,
    /// The compiler that built the guest.
    pub compiler: String,
    /// The C++ library it was compiled with.
    pub cxx: String,
    /// Whether it was compiled for pointer compression.
    pub pointer_compression: bool,
    /// Bits of a small integer it was compiled for.
    pub smi_bits: u32,
    /// The key under which the build kit keeps it.
    #[serde(default)]
    pub key: String,
    /// The words of its layout table; none unless it is a neutral guest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layout: Vec<Field>,
    /// What its Node's own V8 got by patches and it can be without, as [`SYMBOL_KEYS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spares: Vec<String>,
    /// What those headers compile into the guest (sizes, fields, slots of virtual functions, numbers), as far as it tells; the gate
    /// then asks no catalogue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Box<Facts>>,
}

impl GuestNote {
    /// What is known of a stock libnode, which has no note, from the V8 inside of it. What that V8 does not tell is left
    /// empty, or 0, and fits no host.
    pub fn of_stock(soname: &str, v8: &Fingerprint) -> Self {
        Self {
            schema: SCHEMA,
            node: format!("unknown ({soname})"),
            v8: v8.version.map(|v| v.to_string()).unwrap_or_default(),
            v8_embedder: v8.embedder.clone().unwrap_or_default(),
            module_version: soname.rsplit('.').next().and_then(|n| n.parse().ok()).unwrap_or(0),
            headers: String::new(),
            compiler: String::new(),
            cxx: v8.cxx.map(|c| c.0.to_owned()).unwrap_or_default(),
            pointer_compression: v8.tagged_size == Some(4),
            smi_bits: v8.smi_bits.unwrap_or(0),
            key: String::new(),
            layout: Vec::new(),
            spares: Vec::new(),
            facts: None,
        }
    }
}

/// Finds the note in `image`. `Ok(Err(why))` says that there is none that can be used.
pub fn find(image: &Image) -> Result<Result<GuestNote, String>, ElfError> {
    let found = own(image, TYPE)?.map(|note| parse(note.descriptor));
    Ok(found.unwrap_or_else(|| Err("it has no such note".into())))
}

/// Where the layout table of a neutral guest is, and how many words it has.
pub fn find_table(image: &Image) -> Result<Option<(LinkAddr, usize)>, ElfError> {
    let Some(note) = own(image, TABLE_TYPE)? else { return Ok(None) };
    let word = |n: usize| note.descriptor.get(4 * n..4 * n + 4)?.try_into().ok().map(i32::from_le_bytes);
    let table = || {
        let distance = i64::from(word(0)?);
        Some((LinkAddr(note.at.0.checked_add_signed(distance)?), usize::try_from(word(1)?).ok()?))
    };
    Ok(table())
}

/// Relink's note of this type.
fn own<'d>(image: &Image<'d>, kind: u32) -> Result<Option<Note<'d>>, ElfError> {
    Ok(notes(image)?.into_iter().find(|note| note.owner == OWNER && note.kind == kind))
}

fn parse(descriptor: &[u8]) -> Result<GuestNote, String> {
    let text = descriptor.strip_suffix(b"\0").unwrap_or(descriptor);
    let note: GuestNote = serde_json::from_slice(text).map_err(|e| format!("its note is malformed: {e}"))?;
    if note.schema == SCHEMA {
        Ok(note)
    } else {
        Err(format!("its note has schema {}, this version reads {SCHEMA}", note.schema))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_of_another_schema_is_refused_with_a_reason() {
        let text = br#"{"schema":9,"node":"1","v8":"1","module_version":1,"headers":"","compiler":"","cxx":"","pointer_compression":false,"smi_bits":32}"#;
        assert!(parse(text).unwrap_err().contains("schema 9"));
        assert!(parse(b"{").unwrap_err().contains("malformed"));
    }
}
