//! Files of the Python index by the machine's pip, checked against a checksum that is pinned here.

use super::cache::{hex, Cache};
use super::error::{io, KitError, Result};
use super::run::{find, Program};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::PathBuf;

/// The one file of `package` (`NAME==VERSION`) that has this SHA-256, in the cache: its wheel for any machine, or else its
/// source archive.
pub fn file(cache: &Cache, package: &str, sha256: &str) -> Result<PathBuf> {
    let folder = cache.folder("pypi")?.join(sha256);
    if let Some(found) = with_sum(&folder, sha256) {
        return Ok(found);
    }
    let failed = |why: String| KitError::Package { package: package.into(), why };
    let python = find("python3").ok_or_else(|| KitError::MissingTools {
        tools: vec!["python3".into()],
        remedy: "apt-get install -y python3 python3-pip".into(),
    })?;
    fs::create_dir_all(&folder).map_err(io("create", &folder))?;
    let mut why = String::new();
    for kind in ["--only-binary=:all:", "--no-binary=:all:"] {
        let args = ["-m", "pip", "download", "--quiet", "--no-deps", kind, package, "--dest", "."];
        match Program::fetching(&python, &format!("{package} of PyPI"))?.args(args).dir(&folder).output() {
            Err(KitError::Program { message, .. }) => why = message,
            other => drop(other?),
        }
        if let Some(found) = with_sum(&folder, sha256) {
            return Ok(found);
        }
    }
    let why = if why.is_empty() { "none of its files has the checksum that is pinned".into() } else { why };
    Err(failed(format!("{why}; python3 -m pip is needed (on Debian: apt-get install -y python3-pip)")))
}

fn with_sum(folder: &std::path::Path, sha256: &str) -> Option<PathBuf> {
    let files = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    files.into_iter().find(|path| fs::read(path).is_ok_and(|bytes| hex(&Sha256::digest(bytes)) == sha256))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_file_with_the_sum_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "abc").unwrap();
        // SHA-256 of "abc" (FIPS 180-4, appendix).
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(with_sum(dir.path(), abc), Some(dir.path().join("a")));
        fs::write(dir.path().join("a"), "abd").unwrap();
        assert_eq!(with_sum(dir.path(), abc), None);
    }
}
