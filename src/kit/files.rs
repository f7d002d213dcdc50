//! Trees of files: listing, hashing and copying them in an order that does not depend on the file system.

use super::cache::hex;
use super::error::{io, Result};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// All files and symbolic links below `dir`, as sorted relative paths. `keep` is asked about each relative path; a
/// folder that is not kept is left out whole.
pub fn list(dir: &Path, keep: &dyn Fn(&Path) -> bool) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    walk(dir, Path::new(""), keep, &mut found)?;
    found.sort();
    Ok(found)
}

fn walk(dir: &Path, below: &Path, keep: &dyn Fn(&Path) -> bool, found: &mut Vec<PathBuf>) -> Result<()> {
    let here = dir.join(below);
    for entry in fs::read_dir(&here).map_err(io("read", &here))? {
        let entry = entry.map_err(io("read", &here))?;
        let path = below.join(entry.file_name());
        let kind = entry.file_type().map_err(io("read", entry.path()))?;
        match (keep(&path), kind.is_dir()) {
            (true, true) => walk(dir, &path, keep, found)?,
            (true, false) => found.push(path),
            (false, _) => {}
        }
    }
    Ok(())
}

/// SHA-256 over the paths and contents of the files, in hexadecimal.
pub fn hash(dir: &Path, files: &[PathBuf]) -> Result<String> {
    let mut sha = Sha256::new();
    for file in files {
        let bytes = content(&dir.join(file))?;
        sha.update(format!("{}\0{}\0", file.display(), bytes.len()));
        sha.update(bytes);
    }
    Ok(hex(&sha.finalize()))
}

/// A file's bytes, a link's target.
fn content(path: &Path) -> Result<Vec<u8>> {
    use std::os::unix::ffi::OsStringExt;
    match fs::read_link(path) {
        Ok(target) => Ok(target.into_os_string().into_vec()),
        Err(_) => fs::read(path).map_err(io("read", path)),
    }
}

/// Copies the files, with their permissions; links stay links.
pub fn copy(from: &Path, files: &[PathBuf], to: &Path) -> Result<()> {
    fs::create_dir_all(to).map_err(io("create", to))?;
    for file in files {
        copy_one(&from.join(file), &to.join(file))?;
    }
    Ok(())
}

fn copy_one(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(io("create", parent))?;
    }
    super::cache::remove(to)?;
    match fs::read_link(from) {
        Ok(target) => std::os::unix::fs::symlink(target, to).map_err(io("create", to)),
        Err(_) => fs::copy(from, to).map(drop).map_err(io("copy", from)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("b/out")).unwrap();
        fs::create_dir_all(dir.path().join("out")).unwrap();
        for name in ["b/1", "a", "b/out/2", "out/3"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        std::os::unix::fs::symlink("nowhere", dir.path().join("link")).unwrap();
        dir
    }

    #[test]
    fn folders_that_are_not_kept_are_left_out() {
        let dir = tree();
        let files = list(dir.path(), &|path| path != Path::new("out")).unwrap();
        assert_eq!(files, ["a", "b/1", "b/out/2", "link"].map(PathBuf::from));
    }

    #[test]
    fn a_copy_has_the_same_hash_and_a_changed_file_another() {
        let dir = tree();
        let files = list(dir.path(), &|_| true).unwrap();
        let to = tempfile::tempdir().unwrap();
        copy(dir.path(), &files, to.path()).unwrap();
        copy(dir.path(), &files, to.path()).unwrap();
        assert_eq!(hash(to.path(), &files).unwrap(), hash(dir.path(), &files).unwrap());
        assert_eq!(fs::read_link(to.path().join("link")).unwrap(), Path::new("nowhere"));
        fs::write(to.path().join("a"), "x").unwrap();
        assert_ne!(hash(to.path(), &files).unwrap(), hash(dir.path(), &files).unwrap());
    }
}
