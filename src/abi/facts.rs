//! The facts of one V8's public headers, as the catalogue's files hold them.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The `schema` of the files that this version reads and writes.
pub const SCHEMA: u32 = 1;

/// What the headers compile into their users. Names are C++'s qualified names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Which optional headers were there, beside v8.h and those that it brings: `inspector`.
    pub parts: BTreeSet<String>,
    /// Constants, as the compiler evaluated them.
    pub constants: BTreeMap<String, i128>,
    /// The constants among them that code in the headers reads, by their plain name.
    pub read: BTreeSet<String>,
    /// Classes and structures with contents.
    pub records: BTreeMap<String, Record>,
    /// Virtual functions in the order of their slots.
    pub vtables: BTreeMap<String, Vec<String>>,
    /// Enumerators and their values.
    pub enums: BTreeMap<String, BTreeMap<String, i128>>,
}

/// The layout of a class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// `sizeof`, in bytes.
    pub size: u64,
    /// `OFFSET+SIZE NAME` in bytes for each member and base class (in brackets), `OFFSETbSIZE NAME` in bits for bit-fields.
    pub fields: Vec<String>,
}

impl Record {
    /// Where the fields lie, without their names: a field that was renamed is the same to the machine.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|f| f.split(' ').next().unwrap_or(f))
    }
}

/// One set of headers that the facts were derived from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Source {
    /// Their version, `MAJOR.MINOR.BUILD.PATCH`.
    pub v8: String,
    /// Where they come from.
    pub from: String,
    /// SHA-256 over their names and contents, in hexadecimal.
    pub headers: String,
}

/// One file of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbiFile {
    /// Version of the file's own form.
    pub schema: u32,
    /// The compiler that evaluated the headers.
    pub compiler: String,
    /// All header sets that were seen to have these facts, sorted by version.
    pub sources: Vec<Source>,
    /// The facts.
    pub facts: Facts,
    /// For each class the digests of its inline functions' machine code, `NAME:CODE` in hexadecimal, both cut short: evidence,
    /// not looked at by the gate.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub code: BTreeMap<String, String>,
}

impl AbiFile {
    /// The classes with an inline function that both sides have and whose code differs.
    pub fn other_code<'a>(&'a self, other: &Self) -> Vec<&'a str> {
        let differs = |(class, list): &(&String, &String)| {
            other.code.get(*class).is_some_and(|theirs| !shared_code_is_equal(list, theirs))
        };
        self.code.iter().filter(differs).map(|(class, _)| class.as_str()).collect()
    }
}

fn shared_code_is_equal(ours: &str, theirs: &str) -> bool {
    let functions: BTreeMap<_, _> = theirs.split(' ').filter_map(|f| f.split_once(':')).collect();
    let mut shared = ours.split(' ').filter_map(|f| f.split_once(':'));
    shared.all(|(name, code)| functions.get(name).is_none_or(|theirs| *theirs == code))
}
