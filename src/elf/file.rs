//! Files mapped for reading.
//!
//! # Safety
//! A mapping shows the file as it is: if someone shortens it meanwhile, reading faults, as it does for every library that
//! ld.so maps.

use std::fs::File;
use std::path::{Path, PathBuf};

/// A file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {source}", path.display())]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// The system's reason.
    pub source: std::io::Error,
}

/// A file that is open and mapped.
#[derive(Debug)]
pub struct FileOnDisk {
    /// Where it was found.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: memmap2::Mmap,
    /// The open file: the same one even if the path comes to name another.
    pub file: File,
}

impl FileOnDisk {
    /// Opens and maps the file.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let failed = |source| FileError { path: path.to_owned(), source };
        // Asked before opening: opening a pipe would wait for its writer.
        if !std::fs::metadata(path).map_err(failed)?.is_file() {
            return Err(failed(std::io::Error::other("not a regular file")));
        }
        Self::of(path, File::open(path).map_err(failed)?)
    }

    /// Maps a file that is open already; `path` names it in messages.
    pub fn of(path: &Path, file: File) -> Result<Self, FileError> {
        let failed = |source| FileError { path: path.to_owned(), source };
        // SAFETY: the file is only read through the mapping; shrinking it meanwhile could fault, as for every library
        // that ld.so maps.
        let bytes = unsafe { memmap2::Mmap::map(&file) }.map_err(failed)?;
        Ok(Self { path: path.to_owned(), bytes, file })
    }
}

/// Maps a file read-only. The mapping is private: an image that someone rewrites meanwhile may be seen torn, and is
/// then refused by the checks that follow or by ld.so.
pub fn map_file(path: &Path) -> Result<memmap2::Mmap, FileError> {
    FileOnDisk::open(path).map(|file| file.bytes)
}
