//! Builds of V8 that the live probe has observed: known by the build id, they need not be observed again.

use super::known::KnownAbi;
use crate::version::V8Version;

/// One build.
#[derive(Debug, PartialEq, Eq)]
pub struct Proven {
    /// The file's build id (`NT_GNU_BUILD_ID`), which its linker made from all of its contents.
    pub build_id: &'static str,
    /// Its V8.
    pub v8: V8Version,
    /// What it is.
    pub what: &'static str,
}

/// All of them. On each, all checks of the probe agreed with the facts of its version, and the feature script of Node was
/// complete; tests/abi_probe.rs does the first again for those that every test run has.
pub const PROVEN: [Proven; 3] = [
    Proven {
        build_id: "ec9f49303c267a6478856befd1cbd7c76d25f5cf",
        v8: V8Version::new(10, 2, 154, 26),
        what: "libnode.so.108 of Debian 12",
    },
    Proven {
        build_id: "bdc3f4212a228d03a64d92f350b4a3acf92ff96c",
        v8: V8Version::new(10, 2, 154, 26),
        what: "the official node 18.20.4",
    },
    Proven {
        build_id: "ebeaf2df364d5eeb7096f0f7722a69eec6efdf3b",
        v8: V8Version::new(11, 3, 244, 8),
        what: "the official node 20.20.2",
    },
];

/// The proven build with this id, if its V8 has the facts of `abi`.
pub fn proven(build_id: &str, abi: &KnownAbi) -> Option<&'static Proven> {
    PROVEN.iter().find(|p| p.build_id == build_id && (abi.first..=abi.last).contains(&p.v8))
}
