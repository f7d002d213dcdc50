//! Files mapped for reading.
//!
//! # Safety
//! A mapping shows the file as it is: if someone shortens it meanwhile, reading faults, as it does for every library that
//! ld.so maps.

use crate::error::Error;
use std::path::Path;

/// Maps a file read-only. The mapping is private: an image that someone rewrites meanwhile may be seen torn, and is
/// then refused by the checks that follow or by ld.so.
pub fn map_file(path: &Path) -> Result<memmap2::Mmap, Error> {
    let failed = |source| Error::GuestFile { path: path.to_owned(), source };
    // Asked before opening: opening a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(std::io::Error::other("not a regular file")));
    }
    let file = std::fs::File::open(path).map_err(failed)?;
    // SAFETY: the file is only read through the mapping; shrinking it meanwhile could fault, as for every library
    // that ld.so maps.
    unsafe { memmap2::Mmap::map(&file) }.map_err(failed)
}
