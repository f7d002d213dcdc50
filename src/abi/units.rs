//! Adapter units as files: the sources that are in this program, and where a unit's library lies. The kit compiles them.

use crate::adapters::Unit;
use crate::learned::library_of;
use relink_elf::cache::{self, KeyBuilder};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// Sources of the units, by name.
pub const FILES: [(&str, &str); 32] = [
    ("guest.h", include_str!("../../shim/adapters/guest.h")),
    ("loan.h", include_str!("../../shim/adapters/loan.h")),
    ("slot_of.h", include_str!("../../shim/adapters/slot_of.h")),
    ("unit.h", include_str!("../../shim/adapters/unit.h")),
    ("unit.map", include_str!("../../shim/adapters/unit.map")),
    ("unit_map.h", include_str!("../../shim/adapters/unit_map.h")),
    ("platform.h", include_str!("../../shim/adapters/platform.h")),
    ("platform.cc", include_str!("../../shim/adapters/platform.cc")),
    ("no_inspector.h", include_str!("../../shim/adapters/no_inspector.h")),
    ("no_inspector.cc", include_str!("../../shim/adapters/no_inspector.cc")),
    ("promise_hooks.h", include_str!("../../shim/adapters/promise_hooks.h")),
    ("promise_hooks.cc", include_str!("../../shim/adapters/promise_hooks.cc")),
    ("inspector.cc", include_str!("../../shim/adapters/inspector.cc")),
    ("words.h", include_str!("../../shim/adapters/words.h")),
    ("handlers.cc", include_str!("../../shim/adapters/handlers.cc")),
    ("functions.cc", include_str!("../../shim/adapters/functions.cc")),
    ("snapshot.cc", include_str!("../../shim/adapters/snapshot.cc")),
    ("serializer.cc", include_str!("../../shim/adapters/serializer.cc")),
    ("fast_calls.h", include_str!("../../shim/adapters/fast_calls.h")),
    ("fast_calls.cc", include_str!("../../shim/adapters/fast_calls.cc")),
    ("cpp_heap.cc", include_str!("../../shim/adapters/cpp_heap.cc")),
    ("since_10_8.h", include_str!("../../shim/adapters/since_10_8.h")),
    ("since_10_8.cc", include_str!("../../shim/adapters/since_10_8.cc")),
    ("since_11_8.cc", include_str!("../../shim/adapters/since_11_8.cc")),
    ("since_12_4.cc", include_str!("../../shim/adapters/since_12_4.cc")),
    ("since_12_9.cc", include_str!("../../shim/adapters/since_12_9.cc")),
    ("since_13_6.h", include_str!("../../shim/adapters/since_13_6.h")),
    ("since_13_6.cc", include_str!("../../shim/adapters/since_13_6.cc")),
    ("since_14_1.h", include_str!("../../shim/adapters/since_14_1.h")),
    ("since_14_1.cc", include_str!("../../shim/adapters/since_14_1.cc")),
    ("since_14_6.h", include_str!("../../shim/adapters/since_14_6.h")),
    ("since_14_6.cc", include_str!("../../shim/adapters/since_14_6.cc")),
];

/// Which headers each unit is compiled against.
pub const HEADERS: &str = include_str!("../../shim/adapters/headers.json");

/// How units are compiled: nothing exported but what unit.map names, nothing unique process-wide.
pub const COMPILE: [&str; 17] = [
    "-std=c++20",
    "-O2",
    "-fPIC",
    "-shared",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-fvisibility=hidden",
    "-fvisibility-inlines-hidden",
    "-fno-gnu-unique",
    "-fno-exceptions",
    "-fno-rtti",
    "-Wl,-soname,relink-unit.so",
    "-Wl,-Bsymbolic",
    "-Wl,-z,lazy",
    "-Wl,--as-needed",
    "-Wl,--version-script=unit.map",
];

/// The file that names a unit's library, beside the entries of the cache.
#[derive(Serialize, Deserialize)]
pub struct Built {
    /// What it was made from.
    pub sources: String,
    /// The library.
    pub library: PathBuf,
}

/// A unit's library in a folder, or else the one that the kit has built from these very sources.
pub fn find(folder: Option<&Path>, unit: &Unit) -> Option<PathBuf> {
    let file = match folder {
        Some(folder) => folder.join(library_name(unit)),
        None => match library_of(unit) {
            Some(library) => library.to_owned(),
            None => built(&cache::place()?, unit)?,
        },
    };
    file.is_file().then_some(file)
}

/// The file name of its library.
pub fn library_name(unit: &Unit) -> String {
    format!("relink-adapter-{}.so", unit.name())
}

/// The file that names the library that was made from these very sources: programs of several versions may share a cache.
pub fn pointer(cache: &Path, unit: &Unit) -> PathBuf {
    cache.join(format!("adapter-{}-{}.json", unit.name(), &sources(unit)[..12]))
}

fn built(cache: &Path, unit: &Unit) -> Option<PathBuf> {
    let text = fs::read_to_string(pointer(cache, unit)).ok()?;
    let built: Built = serde_json::from_str(&text).ok()?;
    (built.sources == sources(unit)).then_some(built.library)
}

/// What tells the sources of a unit that are in this program from those of another build of it.
pub fn sources(unit: &Unit) -> String {
    sources_key(unit).finish().hex().into()
}

/// The part of the cache key that is in the program itself.
pub fn sources_key(unit: &Unit) -> KeyBuilder {
    let key = KeyBuilder::new().add("unit", unit.name()).add("flags", COMPILE.join(" ")).add("pins", HEADERS);
    FILES.iter().fold(key, |key, (name, text)| key.add(name, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::UNITS;

    #[test]
    fn a_unit_of_other_sources_is_not_taken() {
        let root = tempfile::tempdir().unwrap();
        let write = |told: &Built| {
            fs::write(pointer(root.path(), &UNITS[0]), serde_json::to_string(told).unwrap()).unwrap();
        };
        let mut told = Built { sources: "old".into(), library: "/x.so".into() };
        write(&told);
        assert_eq!(built(root.path(), &UNITS[0]), None);
        told.sources = sources(&UNITS[0]);
        write(&told);
        assert_eq!(built(root.path(), &UNITS[0]), Some("/x.so".into()));
    }
}
