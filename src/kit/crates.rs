//! Crates by the machine's cargo, which asks the registry of its own settings and checks what it gets against that registry's index.
//!
//! [`folders`] and [`unpack`] check the archive against a checksum that is pinned here, too, and take what is needed of it. [`crate_v8`] gives
//! the whole crate as cargo has unpacked it: who reads that checks the files himself.

use super::cache::{hex, write_whole, Cache, KeyBuilder};
use super::error::{io, KitError, Result};
use super::progress::Progress;
use super::run::Program;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// A crate's archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crate {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// SHA-256 of the archive, in hexadecimal: the index of the registry has the same.
    pub sha256: &'static str,
}

/// Crates with V8's sources: those that the files in src/abi/v8 name.
pub const V8: [Crate; 6] = [
    v8("0.42.0", "4d743ec43aa5297faec64715b85411340495cac129e34e9cce1a0e879557d32c"),
    v8("0.80.0", "959eead7f97b80b08ec7154262c3abef0d9c4de2f4b80c100762d7fa880258fe"),
    v8("0.82.0", "f53dfb242f4c0c39ed3fc7064378a342e57b5c9bd774636ad34ffe405b808121"),
    v8("129.0.0", "4f276b42044c07ee34aaa7cdc640185148787a78de761c42e8ae0a12af9a9dc6"),
    v8("140.2.0", "8827809a2884fb68530d678a8ef15b1ed1344bbf844879194d68c140c6f844f9"),
    v8("146.9.0", "59b21777080203cb33828681f177e53402fa2927a1e2d17adead072b0c26b401"),
];

const fn v8(version: &'static str, sha256: &'static str) -> Crate {
    Crate { name: "v8", version, sha256 }
}

impl Crate {
    /// The crate `v8` of a version.
    ///
    /// # Errors
    /// Its checksum is not known.
    pub fn v8(version: &str) -> Result<Self> {
        let found = V8.into_iter().find(|one| one.version == version);
        found.ok_or_else(|| KitError::Package {
            package: format!("the crate v8 {version}"),
            why: "no checksum of it is pinned".into(),
        })
    }

    fn failed(&self, why: String) -> KitError {
        KitError::Package { package: format!("the crate {} {}", self.name, self.version), why }
    }

    /// Unpacks folders (or files) of an archive, if it is this crate's; the whole archive if none is named.
    fn unpack(&self, archive: &Path, folders: &[&str], to: &Path) -> Result<()> {
        let sum = hex(&Sha256::digest(fs::read(archive).map_err(io("read", archive))?));
        if sum != self.sha256 {
            return Err(self.failed(format!("its SHA-256 is {sum}, not {}", self.sha256)));
        }
        let inside = folders.iter().map(|folder| format!("{}-{}/{folder}", self.name, self.version));
        let args = ["-xzf".as_ref(), archive.as_os_str(), "--strip-components=1".as_ref()];
        match Program::new("tar").args(args).args(inside).dir(to).output() {
            Err(KitError::Program { message, .. }) => Err(self.failed(message)),
            other => other.map(drop),
        }
    }
}

/// Folders of a crate, unpacked in the cache: the entry has them where the crate has them. What is there is not asked for again.
///
/// # Errors
/// As [`unpack`].
pub fn folders(cache: &Cache, of: &Crate, folders: &[&str], progress: &dyn Progress) -> Result<PathBuf> {
    let key = KeyBuilder::new().add("crate", of.name).add("version", of.version).add("sha256", of.sha256);
    let key = folders.iter().fold(key, |key, folder| key.add("folder", folder)).finish();
    cache.get_or_make("crate", &key, progress, |work| {
        progress.step(&format!("fetching the crate {} {}", of.name, of.version));
        unpack(of, folders, work)
    })
}

/// Unpacks folders of a crate into one that there is; the whole crate if none is named.
///
/// # Errors
/// cargo cannot fetch the crate, its archive is not the one that was pinned, or has not these folders.
pub fn unpack(of: &Crate, folders: &[&str], to: &Path) -> Result<()> {
    let unpacked = by_cargo(of.name, of.version)?;
    let no_archive = || of.failed(format!("cargo has no archive of it, only {}", unpacked.display()));
    of.unpack(&archive(&unpacked).ok_or_else(no_archive)?, folders, to)
}

/// Where cargo has the archive of what it has unpacked: `registry/cache/REGISTRY/x.crate` of `registry/src/REGISTRY/x`.
fn archive(unpacked: &Path) -> Option<PathBuf> {
    let (name, registry) = (unpacked.file_name()?, unpacked.parent()?);
    let root = registry.parent()?.parent()?;
    let file = root.join("cache").join(registry.file_name()?).join(format!("{}.crate", name.to_str()?));
    file.is_file().then_some(file)
}

/// The folder of the crate `v8` in cargo's own registry.
///
/// # Errors
/// cargo cannot fetch it.
pub fn crate_v8(version: &str) -> Result<PathBuf> {
    by_cargo("v8", version)
}

/// The folder of a crate in cargo's own registry.
fn by_cargo(name: &str, version: &str) -> Result<PathBuf> {
    let work = tempfile::tempdir().map_err(io("create a folder in", std::env::temp_dir()))?;
    let manifest = format!(
        "[package]\nname = \"headers\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\n{name} = \"={version}\"\n"
    );
    write_whole(&work.path().join("Cargo.toml"), &manifest)?;
    fs::create_dir(work.path().join("src")).map_err(io("create", work.path()))?;
    write_whole(&work.path().join("src/lib.rs"), "")?;
    let args = ["metadata", "--format-version", "1", "--quiet"];
    // cargo's registry is its own cache: it is asked without the network where that is forbidden.
    let what = format!("the crate {name} {version}");
    let text = match Program::fetching("cargo", &what) {
        Ok(cargo) => cargo.args(args).dir(work.path()).output()?,
        Err(forbidden) => {
            let cargo = Program::new("cargo").args(args).args(["--offline"]).dir(work.path());
            cargo.output().map_err(|_| forbidden)?
        }
    };
    let failed = |why: String| KitError::Package { package: what.clone(), why };
    let metadata: serde_json::Value = serde_json::from_str(&text).map_err(|e| failed(e.to_string()))?;
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    let found = packages.iter().find(|p| p["name"] == name).and_then(|p| p["manifest_path"].as_str());
    let found = found.ok_or_else(|| failed("cargo does not say where it is".into()))?;
    Ok(Path::new(found).parent().unwrap_or(Path::new("/")).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A crate as cargo has it: the archive and what it has unpacked. The checksum is that of this archive.
    fn registry() -> (tempfile::TempDir, PathBuf, Crate) {
        let root = tempfile::tempdir().unwrap();
        let [source, cache] =
            ["src", "cache"].map(|part| root.path().join("registry").join(part).join("here-1"));
        let unpacked = source.join("tiny-1.0.0");
        for folder in ["a/include", "b"] {
            fs::create_dir_all(unpacked.join(folder)).unwrap();
        }
        for file in ["a/include/x.h", "a/y", "b/z"] {
            fs::write(unpacked.join(file), file).unwrap();
        }
        fs::create_dir_all(&cache).unwrap();
        let archive = cache.join("tiny-1.0.0.crate");
        let args = ["-czf".as_ref(), archive.as_os_str(), "tiny-1.0.0".as_ref()];
        Program::new("tar").args(args).dir(&source).output().unwrap();
        let sha256 = hex(&Sha256::digest(fs::read(archive).unwrap()));
        (root, unpacked, Crate { name: "tiny", version: "1.0.0", sha256: sha256.leak() })
    }

    #[test]
    fn only_the_folders_that_are_asked_for_are_unpacked() {
        let (_root, unpacked, of) = registry();
        let (archive, to) = (archive(&unpacked).unwrap(), tempfile::tempdir().unwrap());
        of.unpack(&archive, &["a/include", "b"], to.path()).unwrap();
        let there = ["a/include/x.h", "a/y", "b/z"].map(|file| to.path().join(file).is_file());
        assert_eq!(there, [true, false, true]);
        of.unpack(&archive, &[], to.path()).unwrap();
        assert!(to.path().join("a/y").is_file());
        let error = of.unpack(&archive, &["c"], to.path()).unwrap_err();
        assert_eq!((error.code(), error.to_string().contains("tiny 1.0.0")), ("E0706", true), "{error}");
    }

    #[test]
    fn an_archive_with_another_checksum_is_refused_before_it_is_unpacked() {
        let (_root, unpacked, of) = registry();
        let (archive, to) = (archive(&unpacked).unwrap(), tempfile::tempdir().unwrap());
        let other = Crate { sha256: V8[0].sha256, ..of };
        let error = other.unpack(&archive, &["b"], to.path()).unwrap_err();
        assert!(error.to_string().contains(of.sha256) && error.to_string().contains(other.sha256), "{error}");
        assert_eq!(fs::read_dir(to.path()).unwrap().count(), 0);
        assert_eq!(super::archive(&unpacked.join("b")), None);
    }

    #[test]
    fn a_version_without_a_checksum_is_refused() {
        assert_eq!(Crate::v8("0.82.0").unwrap(), V8[2]);
        assert!(Crate::v8("0.81.0").unwrap_err().to_string().contains("0.81.0"));
        assert!(V8.iter().all(|one| one.sha256.len() == 64));
    }
}
