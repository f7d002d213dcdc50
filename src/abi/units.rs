//! Adapter units as files: the sources that are in this program, and where a unit's library lies. The kit compiles them.

pub use crate::tables::{Inspector, Pin, Place};
use crate::tables::{Minor, Unit, FEATURES, FILES, PINS};
use relink_elf::cache::{self, KeyBuilder};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

/// How units are compiled: nothing exported but what unit.map names, nothing unique process-wide. The kit adds what the compiler of a
/// host's C++ library needs.
pub const COMPILE: [&str; 16] = [
    "-std=c++20",
    "-O2",
    "-fPIC",
    "-shared",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-fvisibility=hidden",
    "-fvisibility-inlines-hidden",
    "-fno-exceptions",
    "-fno-rtti",
    "-Wl,-soname,relink-unit.so",
    "-Wl,-Bsymbolic",
    "-Wl,-z,lazy",
    "-Wl,--as-needed",
    "-Wl,--version-script=unit.map",
];

/// What g++ is told besides: clang makes nothing unique process-wide.
pub const COMPILE_BY_GCC: [&str; 1] = ["-fno-gnu-unique"];

/// What clang is told besides, for hosts whose V8 has libc++, with that library in a folder `libcxx`. The unit has what the library's
/// headers call out of line itself: a host may show nothing of its own. The functions are called by C++ alone.
pub const COMPILE_BY_CLANG: [&str; 9] = [
    "-nostdinc++",
    "-isystem",
    "libcxx/site",
    "-isystem",
    "libcxx/include",
    "-Ilibcxx/src",
    "-D_LIBCPP_BUILDING_LIBRARY",
    "-Wno-return-type-c-linkage",
    "libcxx/src/memory.cpp",
];

/// The version of the crate `v8` whose libc++ it is.
pub const LIBCXX: &str = "0.82.0";

/// SHA-256 over the names and contents of that library's files, in hexadecimal.
pub const LIBCXX_SHA256: &str = "bdf2e5c07f411955eef7b0cb936844d2773467193fe0023aeaf01644fdf80679";

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
        None => match &unit.learned {
            Some(learned) => learned.library.clone(),
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

/// The part of the cache key that is in the program itself: what the unit is compiled from, and nothing of V8s that it is not for.
pub fn sources_key(unit: &Unit) -> KeyBuilder {
    let pin = pin_of(unit.layers).map(|pin| format!("{pin:?}")).unwrap_or_default();
    let key = KeyBuilder::new()
        .add("unit", unit.name())
        .add("flags", COMPILE.join(" "))
        .add("own flags", own_flags(unit).join(" "))
        .add("libc++", if unit.cxx.is_libcxx() { LIBCXX_SHA256 } else { "" })
        .add("pin", pin);
    files(unit).into_iter().fold(key, |key, (name, text)| key.add(name, &*text))
}

/// What the compiler of a unit is told besides [`COMPILE`].
pub fn own_flags(unit: &Unit) -> &'static [&'static str] {
    if unit.cxx.is_libcxx() {
        &COMPILE_BY_CLANG
    } else {
        &COMPILE_BY_GCC
    }
}

/// Where the headers of a V8 come from.
pub fn pin_of(v8: Minor) -> Option<&'static Pin> {
    PINS.iter().find(|pin| pin.v8 == v8)
}

/// What a unit is compiled from, names and texts: all sources, but for what V8s changed that its guest knows or that come after its host.
pub fn files(unit: &Unit) -> Vec<(&'static str, Cow<'static, str>)> {
    let since = |name: &str| {
        let version = name.strip_prefix("since_")?.split('.').next()?;
        let (major, minor) = version.split_once('_')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    };
    let is_for = |name: &str| since(name).is_none_or(|v8| unit.guest < v8 && v8 <= unit.layers);
    let sources = FILES.iter().filter(|(name, _)| is_for(name));
    let sources = sources.map(|(name, text)| (*name, Cow::Borrowed(*text)));
    let features = FEATURES.iter().filter(|(v8, _)| *v8 <= unit.layers).map(|(_, line)| format!("{line}\n"));
    sources.chain([("host_features.h", features.collect::<String>().into())]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::UNITS;

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
