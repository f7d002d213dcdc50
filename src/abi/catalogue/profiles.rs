//! Profiles: ranges of V8 versions whose public headers inline the same numbers.

use crate::version::V8Version;

/// V8 versions that share one inlined ABI, and what is known of them besides.
#[derive(Debug, PartialEq, Eq)]
pub struct Profile {
    /// A name for messages.
    pub name: &'static str,
    /// The first version.
    pub first: V8Version,
    /// The last version.
    pub last: V8Version,
    /// How it was established.
    pub evidence: &'static str,
    /// V8 flags that Node of this line sets by itself and that an older V8 of the profile, or a later V8, may not know.
    pub node_flags: &'static [&'static str],
}

/// All profiles. Versions between two profiles are unknown, never guessed.
pub static PROFILES: [Profile; 4] = [
    Profile {
    name: "V8 10.2 (Node 18.3 to 18.20)",
    first: V8Version::new(10, 2, 154, 4),
    last: V8Version::new(10, 2, 154, 26),
    evidence: "117 of 117 inline API functions compile to the same code with the headers of Node 18.12.1 and 18.20.8, \
               those of 18.3.0 to 18.20.8 have the same facts, and Node 18.20 was seen to run in each kind",
    node_flags: &["--harmony-import-attributes", "--harmony-import-assertions", "--no-harmony-import-assertions"],
    },
    Profile {
        name: "V8 11.3 (Node 20)",
        first: V8Version::new(11, 3, 244, 4),
        last: V8Version::new(11, 3, 244, 8),
        evidence: "the headers of Node 20.0.0 and 20.20.2 differ in added functions and one added class only",
        node_flags: &[
            "--harmony-import-attributes",
            "--harmony-import-assertions",
            "--no-harmony-import-assertions",
        ],
    },
    Profile {
        name: "V8 12.4 (Node 22)",
        first: V8Version::new(12, 4, 254, 14),
        last: V8Version::new(12, 4, 254, 21),
        evidence: "the headers of Node 22.0.0 and 22.23.3 differ in added functions and pragmas only",
        // Gone with V8 13.6, the last one with 14.6, which always has it.
        node_flags: &[
            "--no-harmony-import-assertions",
            "--experimental-wasm-memory64",
            "--experimental-wasm-imported-strings",
        ],
    },
    Profile {
        name: "V8 13.6 (Node 24)",
        first: V8Version::new(13, 6, 233, 8),
        last: V8Version::new(13, 6, 233, 17),
        evidence: "the headers of Node 24.0.0 and 24.21.0 differ in added functions and pragmas only",
        // Gone with V8 14.6, which always has it.
        node_flags: &["--experimental-wasm-jspi"],
    },
];

/// The profile that a version belongs to.
pub fn profile_of(version: V8Version) -> Option<&'static Profile> {
    PROFILES.iter().find(|p| (p.first..=p.last).contains(&version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_proven_versions_have_a_profile() {
        let of = |text: &str| V8Version::parse(text).and_then(profile_of).map(|p| p.name);
        assert_eq!(of("10.2.154.4"), of("10.2.154.26"));
        assert!(of("10.2.154.26").is_some());
        for other in ["10.2.154.3", "10.2.154.27", "10.1.124.8", "11.3.244.3", "10.3.1.1"] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
