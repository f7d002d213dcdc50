//! Whether a host's V8 was seen to be as a guest's inlined code believes, before the guest is brought in.
//!
//! The observation takes a twentieth of a second and more, so it is done once for each pair: a build that the catalogue has
//! proven is not observed, and what was seen of another is kept in the cache.

use super::run::OBSERVER;
use super::{judge, observe, Check, Outcome};
use crate::catalogue::{known_abis, proven, KnownAbi};
use crate::error::Error;
use crate::version::V8Version;
use relink_elf::arch::Arch;
use relink_elf::build_id::build_id;
use relink_elf::cache::KeyBuilder;
use relink_elf::file::map_file;
use relink_elf::{FileImage, Image};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// When the host's V8 is observed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Before every start; a host that cannot be observed is refused.
    Always,
    /// Once for each pair, unless the catalogue has proven the host's build.
    #[default]
    Auto,
    /// Not at all.
    Never,
}

impl Policy {
    /// The policy of this name.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "always" => Some(Self::Always),
            "auto" => Some(Self::Auto),
            "never" => Some(Self::Never),
            _ => None,
        }
    }
}

/// How it is done in this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// When.
    pub policy: Policy,
    /// The cache folder, if one is known. Nothing is made but a folder of its own in it.
    pub cache: Option<PathBuf>,
    /// `LD_LIBRARY_PATH`, by which the host's libraries are found again.
    pub folders: Option<OsString>,
}

/// How it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// The catalogue has proven the host's build.
    Proven,
    /// It was observed before.
    Cached,
    /// It was observed now.
    Observed,
    /// It could not be observed: the verdict rests on the catalogue alone.
    NotObserved,
    /// It was switched off.
    Off,
}

/// What is known of the pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// How.
    pub how: How,
    /// The build that is proven, or why nothing was observed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// Checks in which inlined code and V8 agree.
    pub agree: usize,
    /// Checks that could not be made.
    pub unknown: Vec<String>,
}

impl Standing {
    /// Whether a check was made (and agreed), now or before.
    fn made(&self, check: &str) -> bool {
        matches!(self.how, How::Observed | How::Cached) && self.unknown.iter().all(|unknown| unknown != check)
    }

    /// One line for people.
    pub fn text(&self) -> String {
        let checks =
            format!("{} checks of inlined code agree, {} could not be made", self.agree, self.unknown.len());
        match self.how {
            How::Proven => format!("not needed: the host's build is proven ({})", self.why),
            How::Cached => format!("{checks} (seen before)"),
            How::Observed => checks,
            How::NotObserved => format!("not observed: {}", self.why),
            How::Off => format!("off: {}", self.why),
        }
    }
}

/// The two sides.
#[derive(Clone, Copy)]
pub struct Pair<'a> {
    /// The file with the host's V8.
    pub host: &'a Path,
    /// The same as it is in memory (or the file's own image).
    pub image: &'a Image<'a>,
    /// The V8 whose numbers the guest's inlined code uses in this host.
    pub numbers: Option<V8Version>,
    /// What tells the guest's build from others: its build id.
    pub guest: &'a str,
    /// A check that has to be made, whatever the policy.
    pub must: Option<&'static str>,
}

/// What is kept in the cache.
#[derive(Serialize, Deserialize)]
struct Kept {
    key: String,
    standing: Standing,
}

impl Pair<'_> {
    /// Looks for what is known, and observes the host's V8 if nothing is and the policy allows it.
    ///
    /// # Errors
    /// Inlined code and V8 do not agree; nothing could be observed although the policy asks for it; or the check that has to be made
    /// was not.
    pub fn standing(&self, settings: &Settings) -> Result<Standing, Error> {
        let standing = self.known(settings)?;
        let Some(must) = self.must.filter(|check| !standing.made(check)) else { return Ok(standing) };
        Err(Error::Unseen { host: self.host.into(), what: must, why: standing.text() })
    }

    fn known(&self, settings: &Settings) -> Result<Standing, Error> {
        if settings.policy == Policy::Never {
            return Ok(unseen(How::Off, "RELINK_PROBE is never".into()));
        }
        let id = build_id(self.image);
        let abi = self.numbers.and_then(|version| known_abis(version).pop());
        if let (Policy::Auto, Some(id), Some(abi)) = (settings.policy, &id, abi) {
            if let Some(build) = proven(id, abi) {
                return Ok(unseen(How::Proven, build.what.into()));
            }
        }
        let place = settings.cache.as_ref().zip(self.key(id.as_deref()));
        let place = place.map(|(root, key)| (root.join("probes").join(format!("{}.json", &key[..20])), key));
        if let (Policy::Auto, Some((file, key))) = (settings.policy, &place) {
            if let Some(kept) = recall(file, key) {
                return Ok(kept);
            }
        }
        let standing = self.observe(settings, id.as_deref(), abi)?;
        if let (How::Observed, Some((file, key))) = (standing.how, place) {
            // A cache that cannot be written to costs an observation the next time, and nothing else.
            let _ = keep(&file, &Kept { key, standing: standing.clone() });
        }
        Ok(standing)
    }

    /// Both builds, the observer's and Relink's version. A host without a build id is known by its file's place and times.
    fn key(&self, id: Option<&str>) -> Option<String> {
        let host = match id {
            Some(id) => id.to_owned(),
            None => {
                let file = std::fs::metadata(self.host).ok()?;
                let times = [file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()];
                format!("{} {} {} {times:?}", file.dev(), file.ino(), file.size())
            }
        };
        let key = KeyBuilder::new().add("relink", env!("CARGO_PKG_VERSION")).add("observer", OBSERVER);
        let key = key.add("host", host).add("guest", self.guest).add("numbers", self.numbers?.to_string());
        Some(key.finish().hex().to_owned())
    }

    fn observe(
        &self,
        settings: &Settings,
        id: Option<&str>,
        abi: Option<&KnownAbi>,
    ) -> Result<Standing, Error> {
        let seen = match abi {
            None => Err("the V8 that the guest was compiled for is not in the catalogue".to_owned()),
            Some(_) if !self.file_is(id) => Err("its file is not the one that was loaded".to_owned()),
            Some(abi) => observe(self.host, abi.facts(), settings.folders.as_deref())
                .map(|seen| (judge(abi.facts(), &seen), seen.broke_off()))
                .map_err(|error| error.to_string()),
        };
        let always = settings.policy == Policy::Always;
        let refused = |why| Err(Error::NotProbed { host: self.host.into(), why });
        let (checks, broke_off) = match seen {
            Ok(seen) => seen,
            Err(why) if always => return refused(why),
            Err(why) => return Ok(unseen(How::NotObserved, why)),
        };
        let differ: Vec<_> = checks.iter().filter_map(Check::difference).collect();
        if !differ.is_empty() {
            return Err(Error::ProbeDiffers { host: self.host.into(), differ });
        }
        let with = |outcome| checks.iter().filter(move |check| check.outcome == outcome);
        let why = broke_off.map(|why| format!("the observation is not whole: {why}"));
        if let (true, Some(why)) = (always, &why) {
            return refused(why.clone());
        }
        Ok(Standing {
            how: if why.is_none() { How::Observed } else { How::NotObserved },
            why: why.unwrap_or_default(),
            agree: with(Outcome::Agrees).count(),
            unknown: with(Outcome::Unknown).map(|check| check.what.to_owned()).collect(),
        })
    }

    /// Whether the file is still of the build that is in memory.
    fn file_is(&self, id: Option<&str>) -> bool {
        let Ok(bytes) = map_file(self.host) else { return false };
        FileImage::parse(&bytes, Arch::native()).is_ok_and(|file| build_id(&file.image).as_deref() == id)
    }
}

fn unseen(how: How, why: String) -> Standing {
    Standing { how, why, agree: 0, unknown: Vec::new() }
}

/// What was kept under this key. A file that is damaged, of another key, or that somebody else could have written is none.
fn recall(file: &Path, key: &str) -> Option<Standing> {
    const LONGEST: u64 = 1 << 16;
    let file = std::fs::File::open(file).ok()?;
    let about = file.metadata().ok()?;
    if about.uid() != nix::unistd::geteuid().as_raw() || about.mode() & 0o022 != 0 || !about.is_file() {
        return None;
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).ok()?;
    let kept: Kept = serde_json::from_str(&text).ok()?;
    let sound = kept.key == key && kept.standing.how == How::Observed && kept.standing.agree > 0;
    sound.then_some(Standing { how: How::Cached, ..kept.standing })
}

/// Writes it whole or not at all, readable for this user alone.
fn keep(file: &Path, kept: &Kept) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder)?;
    let mut written = tempfile::NamedTempFile::new_in(folder)?;
    written.write_all(serde_json::to_string(kept)?.as_bytes())?;
    written.persist(file).map(drop).map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn kept(key: &str, how: How, agree: usize) -> Kept {
        let standing = Standing { how, why: String::new(), agree, unknown: vec!["x".into()] };
        Kept { key: key.into(), standing }
    }

    #[test]
    fn what_was_kept_is_found_again_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("probes/a.json");
        assert_eq!(recall(&file, "k"), None);
        keep(&file, &kept("k", How::Observed, 3)).expect("written");
        let found = recall(&file, "k").expect("it is there");
        assert_eq!((found.how, found.agree, found.unknown.len()), (How::Cached, 3, 1));
        assert_eq!(recall(&file, "other"), None, "another key");
        for bad in [kept("k", How::NotObserved, 3), kept("k", How::Observed, 0)] {
            keep(&file, &bad).expect("written");
            assert_eq!(recall(&file, "k"), None);
        }
        for text in ["", "{", "null", "{\"key\":\"k\"}"] {
            std::fs::write(&file, text).expect("written");
            assert_eq!(recall(&file, "k"), None, "{text}");
        }
        keep(&file, &kept("k", How::Observed, 3)).expect("written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).expect("set");
        assert_eq!(recall(&file, "k"), None, "anybody may have written it");
    }

    #[test]
    fn a_check_is_made_only_where_something_was_observed() {
        let seen = |how| kept("k", how, 3).standing;
        assert!(seen(How::Observed).made("y") && seen(How::Cached).made("y"));
        assert!(!seen(How::Observed).made("x"), "it could not be made");
        for how in [How::Proven, How::NotObserved, How::Off] {
            assert!(!seen(how).made("y"), "{how:?}");
        }
    }

    #[test]
    fn policies_have_names() {
        assert_eq!(Policy::parse("always"), Some(Policy::Always));
        assert_eq!(Policy::parse("auto"), Some(Policy::default()));
        assert_eq!(Policy::parse("never"), Some(Policy::Never));
        assert_eq!(Policy::parse("1"), None);
    }
}
