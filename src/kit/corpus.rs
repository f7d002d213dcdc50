//! The corpus: published files with and without a V8, for judging `relink inspect`. Each is named with the place it comes
//! from and the SHA-256 of the very file, so that what is expected of it stays true.

use super::apt::{self, Deb};
use super::cache::{self, hex, Cache, KeyBuilder};
use super::error::{io, KitError, Result};
use super::progress::Progress;
use super::run::{missing, Program};
use super::{guest, hosts, npm, suites};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// One file of the corpus.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Entry {
    /// Its name in tests and in the list of expected facts.
    pub name: String,
    /// Where it comes from.
    pub from: Origin,
    /// Its path inside the package.
    pub file: String,
    /// SHA-256 of the file; none for one that the kit builds.
    pub sha256: Option<String>,
    /// Whether every test run looks at it, not only the full one.
    #[serde(default)]
    pub always: bool,
}

/// Where a file comes from.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// An npm package: name and version.
    Npm(String, String),
    /// A package of any of Debian's suites: name and version.
    Debian(String, String),
    /// A wheel: project and version.
    Pypi(String, String),
    /// A part that the kit has anyway: `libv8`, `node` or `guest`.
    Kit(String),
}

/// Suites of Debian that the corpus takes packages from.
const SUITES: &str = "bullseye bookworm trixie forky sid";
const SECURITY: &str = "bullseye-security bookworm-security trixie-security";

/// Platforms of wheels that this machine is looked at as: the newest interpreter and C library that a wheel asks for.
const WHEELS: [&str; 12] = [
    "--python-version=3.11",
    "--implementation=cp",
    "--abi=cp311",
    "--abi=none",
    "--platform=manylinux1_x86_64",
    "--platform=manylinux2014_x86_64",
    "--platform=manylinux_2_17_x86_64",
    "--platform=manylinux_2_27_x86_64",
    "--platform=manylinux_2_28_x86_64",
    "--platform=manylinux_2_31_x86_64",
    "--only-binary=:all:",
    "--no-deps",
];

/// The file, fetched if it is not in the cache, and checked.
pub fn fetch(entry: &Entry, progress: &dyn Progress) -> Result<PathBuf> {
    let cache = Cache::locate()?;
    let dir = match &entry.from {
        Origin::Npm(name, version) => npm::package(&cache, name, version, progress)?,
        Origin::Debian(name, version) => debian(&cache, name, version, progress)?,
        Origin::Pypi(name, version) => wheel(&cache, name, version, progress)?,
        Origin::Kit(part) => return own(part, progress),
    };
    progress.finish();
    let file = dir.join(&entry.file);
    let sum = hex(&Sha256::digest(std::fs::read(&file).map_err(io("read", &file))?));
    if entry.sha256.as_ref().is_none_or(|wanted| *wanted == sum) {
        return Ok(file);
    }
    let why =
        format!("its SHA-256 is {sum}, not the one in the corpus list: another build of {}", entry.name);
    Err(KitError::Input { option: "corpus file", path: file, why })
}

fn own(part: &str, progress: &dyn Progress) -> Result<PathBuf> {
    match part {
        "libv8" => hosts::libv8(progress).map(|v8| v8.library),
        "node" => hosts::plain_node(progress),
        _ => guest::build(&guest::BuildOptions::default(), progress).map(|guest| guest.library),
    }
}

/// An unpacked wheel. PyPI never lets a file of a version change; its client checks what it fetches.
fn wheel(cache: &Cache, name: &str, version: &str, progress: &dyn Progress) -> Result<PathBuf> {
    let key = KeyBuilder::new().add("pypi", name).add("version", version).finish();
    cache.get_or_make("pypi", &key, progress, |work| {
        progress.step(&format!("fetching {name} {version} from PyPI"));
        let pip = ["-m", "pip", "download", "--quiet", "--dest", "wheel"];
        let wanted = format!("{name}=={version}");
        let fetcher = Program::fetching("python3", &format!("{wanted} of PyPI"))?;
        let fetched = fetcher.args(pip).args(WHEELS).args([&wanted]).dir(work).output();
        fetched.map_err(|e| unavailable(&wanted, e, "python3 -m pip"))?;
        for file in std::fs::read_dir(work.join("wheel")).map_err(io("read", work))?.flatten() {
            let file = file.path();
            let unpack = [Path::new("-m"), Path::new("zipfile"), Path::new("-e"), &file, Path::new(".")];
            Program::new("python3").args(unpack).dir(work).output()?;
        }
        cache::remove(&work.join("wheel"))
    })
}

/// An unpacked package of Debian's.
fn debian(cache: &Cache, name: &str, version: &str, progress: &dyn Progress) -> Result<PathBuf> {
    let key = KeyBuilder::new().add("debian", name).add("version", version).finish();
    cache.get_or_make("debian", &key, progress, |work| {
        if !missing(&["apt-get", "dpkg-deb"]).is_empty() {
            return Err(KitError::NoDebian { why: "this machine has no apt".into() });
        }
        let _lock = cache.lock("apt-suites", progress)?;
        let apt = cache.folder("apt-suites")?;
        let wanted = format!("{name}={version}");
        let program = |args: &[&str]| {
            Program::fetching("apt-get", &format!("Debian's {wanted}"))?
                .env("APT_CONFIG", apt.join("apt.conf"))
                .args(["-q"])
                .args(args)
                .dir(work)
                .output()
        };
        progress.step(&format!("fetching {name} {version} from Debian"));
        if suites::private_state(&apt, &all_suites(&apt::machine_sources()?))?
            || program(&["download", &wanted]).is_err()
        {
            program(&["update"])?;
            program(&["download", &wanted]).map_err(|e| unavailable(&wanted, e, "the archive"))?;
        }
        let file = downloaded(work)?;
        let deb = Deb { package: name.into(), version: version.into(), file, sha256: String::new() };
        apt::unpack(std::slice::from_ref(&deb), work)?;
        cache::remove(&deb.file)
    })
}

fn downloaded(work: &Path) -> Result<PathBuf> {
    let files = std::fs::read_dir(work).map_err(io("read", work))?.flatten().map(|e| e.path());
    let mut debs = files.filter(|f| f.extension().is_some_and(|e| e == "deb"));
    debs.next().ok_or_else(|| KitError::Package {
        package: work.display().to_string(),
        why: "apt left no file".into(),
    })
}

/// The list for bookworm turned into one for all suites, without sources (pure).
fn all_suites(list: &str) -> String {
    let line = |line: &str| match line.split_once(':') {
        Some(("Types", _)) => "Types: deb".to_owned(),
        Some(("Suites", suites)) if suites.contains("security") => format!("Suites: {SECURITY}"),
        Some(("Suites", _)) => format!("Suites: {SUITES}"),
        _ => line.to_owned(),
    };
    list.lines().map(|l| line(l) + "\n").collect()
}

fn unavailable(package: &str, error: KitError, place: &str) -> KitError {
    match error {
        KitError::Program { message, .. } => {
            let why = format!("{message}; {place} may have replaced this version: fixtures/corpus/README.md says how to take another");
            KitError::Package { package: package.into(), why }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_for_all_suites_keeps_archive_and_key() {
        let list = "Types: deb deb-src\nSuites: bookworm bookworm-updates\nUris: http://m\n\nTypes: deb deb-src\nSuites: bookworm-security\nSigned-By: /k\n";
        let all = all_suites(list);
        assert_eq!(
            all,
            format!("Types: deb\nSuites: {SUITES}\nUris: http://m\n\nTypes: deb\nSuites: {SECURITY}\nSigned-By: /k\n")
        );
    }

    #[test]
    fn entries_name_their_origin() {
        let entry: Entry = serde_json::from_str(
            r#"{"name": "x", "from": {"npm": ["a", "1"]}, "file": "bin/x", "sha256": "00"}"#,
        )
        .unwrap();
        assert!(matches!(entry.from, Origin::Npm(name, _) if name == "a"));
        assert!(!entry.always);
    }
}
