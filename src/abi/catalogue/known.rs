//! The catalogue that is part of this program: generated files, one for each inlined ABI that V8 has had.

use super::facts::{AbiFile, Facts, Source, SCHEMA};
use crate::learned;
use crate::version::V8Version;
use std::sync::OnceLock;

/// First version, last version and text of each file, made by build.rs.
static FILES: &[([u32; 4], [u32; 4], &str)] = &include!(concat!(env!("OUT_DIR"), "/catalogue.rs"));

/// One inlined ABI and the V8 versions that were seen to have it.
#[derive(Debug)]
pub struct KnownAbi {
    /// The first version seen.
    pub first: V8Version,
    /// The last version seen. Both are of one line (the first three numbers are equal), and header sets of the first, the
    /// last and some between them were seen to have the same facts.
    pub last: V8Version,
    text: &'static str,
    file: OnceLock<AbiFile>,
    learned: bool,
}

impl KnownAbi {
    /// Whether it is not part of the program but was learned from a user's headers.
    pub fn is_learned(&self) -> bool {
        self.learned
    }

    /// The facts. They are parsed when they are first asked for.
    pub fn facts(&self) -> &Facts {
        &self.file().facts
    }

    /// The header sets.
    pub fn sources(&self) -> &[Source] {
        &self.file().sources
    }

    fn file(&self) -> &AbiFile {
        // The text was parsed by build.rs and is parsed by a test; a file that cannot be read has no facts and no sources,
        // and is equal to nothing.
        self.file.get_or_init(|| serde_json::from_str(self.text).unwrap_or_else(|_| empty()))
    }

    /// `V8 10.2.154.4 to 10.2.154.26`.
    pub fn name(&self) -> String {
        if self.first == self.last {
            format!("V8 {}", self.first)
        } else {
            format!("V8 {} to {}", self.first, self.last)
        }
    }
}

fn empty() -> AbiFile {
    AbiFile {
        schema: 0,
        compiler: String::new(),
        sources: Vec::new(),
        facts: Facts::default(),
        code: Default::default(),
    }
}

/// The whole catalogue, sorted by version.
pub fn known() -> &'static [KnownAbi] {
    static KNOWN: OnceLock<Vec<KnownAbi>> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let version = |[major, minor, build, patch]: [u32; 4]| V8Version::new(major, minor, build, patch);
        let of = |(first, last, text): &(_, _, &'static str)| KnownAbi {
            first: version(*first),
            last: version(*last),
            text,
            file: OnceLock::new(),
            learned: false,
        };
        let mut all: Vec<_> = FILES.iter().map(of).collect();
        let learned: Vec<_> =
            learned::catalogue().into_iter().filter_map(|text| learned_abi(text, &all)).collect();
        all.extend(learned);
        all.sort_by_key(|abi| abi.first);
        all
    })
}

/// A file that was learned, if nothing that is built in is about a version of its.
fn learned_abi(text: String, built_in: &[KnownAbi]) -> Option<KnownAbi> {
    let file: AbiFile = serde_json::from_str(&text).ok()?;
    let versions: Vec<_> = file.sources.iter().map(|s| V8Version::parse(&s.v8)).collect::<Option<_>>()?;
    let (first, last) = (*versions.iter().min()?, *versions.iter().max()?);
    let told = built_in.iter().any(|abi| first <= abi.last && abi.first <= last);
    // Read once per process, and lives as long.
    let text = Box::leak(text.into_boxed_str());
    (!told && file.schema == SCHEMA).then(|| KnownAbi { first, last, text, file: file.into(), learned: true })
}

/// The ABIs that a version was seen to have. None: the version is unknown, and none is guessed. Several: builds of that
/// version differ (Node patches its V8 without changing its version), so what holds for all of them holds for it.
pub fn known_abis(version: V8Version) -> Vec<&'static KnownAbi> {
    known().iter().filter(|abi| (abi.first..=abi.last).contains(&version)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_can_be_read() {
        for abi in known() {
            assert_eq!(abi.file().schema, SCHEMA, "{}", abi.name());
            assert!(abi.facts().constants.len() > 100, "{}", abi.name());
            assert!(known_abis(abi.first).iter().any(|found| std::ptr::eq(*found, abi)), "{}", abi.name());
        }
    }

    #[test]
    fn what_was_not_seen_is_unknown() {
        for version in ["10.2.154.3", "10.2.154.27", "10.3.1.1", "11.9.169.1", "99.0.0.0"] {
            assert!(V8Version::parse(version).is_some_and(|v| known_abis(v).is_empty()), "{version}");
        }
    }
}
