//! Memory files that hold private copies.
//!
//! # Safety
//! `memfd_create` and `fcntl` are called with valid arguments; the descriptor is owned from the first moment.

use std::ffi::CString;
use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;

/// Some bytes of the copy that differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Edit {
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// What stands there, little-endian.
    pub word: u64,
    /// How many bytes of it: 4 or 8.
    pub size: usize,
}

/// A sealed, anonymous file with these contents, edited; `edits` and `holes` are in order of offset. Whole pages of
/// holes read as zeroes and take no memory.
pub fn memory_file(bytes: &[u8], edits: &[Edit], holes: &[Range<u64>], name: &str) -> std::io::Result<File> {
    let file = create(name)?;
    file.set_len(bytes.len() as u64)?;
    for kept in complement(holes, bytes.len() as u64) {
        let mut part = bytes[kept.start as usize..kept.end as usize].to_vec();
        let first = edits.partition_point(|e| e.offset < kept.start);
        for edit in edits[first..].iter().take_while(|e| e.offset + (e.size as u64) <= kept.end) {
            let at = (edit.offset - kept.start) as usize;
            part[at..at + edit.size].copy_from_slice(&edit.word.to_le_bytes()[..edit.size]);
        }
        file.write_all_at(&part, kept.start)?;
    }
    seal(&file)?;
    Ok(file)
}

fn create(name: &str) -> std::io::Result<File> {
    let c_name = CString::new(format!("relink:{name}"))?;
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // Kernels that forbid executable memory files by default want MFD_EXEC; those before 6.3 do not know it.
    let fd = [flags | libc::MFD_EXEC, flags]
        .into_iter()
        // SAFETY: the name is NUL-terminated.
        .map(|flags| unsafe { libc::memfd_create(c_name.as_ptr(), flags) })
        .find(|fd| *fd >= 0)
        .ok_or_else(std::io::Error::last_os_error)?;
    // SAFETY: the descriptor is new and belongs to nobody else.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// Nobody can write to the file or change its length any more.
///
/// `F_SEAL_WRITE` is refused (EBUSY) while anything holds a page of the file, be it the kernel that reclaims memory: it answers for
/// those that write to pages they hold already. Nobody but us ever had this file, so `F_SEAL_FUTURE_WRITE` (Linux 5.1,
/// `fcntl(2)`) promises the same, and at once.
fn seal(file: &File) -> std::io::Result<()> {
    let all = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    let mut last = std::io::Error::from(std::io::ErrorKind::InvalidInput);
    for writes in [libc::F_SEAL_FUTURE_WRITE, libc::F_SEAL_WRITE] {
        // SAFETY: F_ADD_SEALS takes an int; the descriptor is open.
        if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, all | writes) } == 0 {
            return Ok(());
        }
        last = std::io::Error::last_os_error();
    }
    Err(last)
}

/// What is between the holes.
fn complement(holes: &[Range<u64>], length: u64) -> Vec<Range<u64>> {
    let mut kept = Vec::new();
    let mut at = 0;
    for hole in holes.iter().filter(|h| h.start < h.end && h.end <= length) {
        if hole.start > at {
            kept.push(at..hole.start);
        }
        at = at.max(hole.end);
    }
    if at < length {
        kept.push(at..length);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_its_edits_and_leaves_its_holes_out() {
        let bytes: Vec<u8> = (0..100).collect();
        let edits = [Edit { offset: 8, word: u64::MAX, size: 4 }, Edit { offset: 60, word: 0x0102, size: 8 }];
        let file = memory_file(&bytes, &edits, &[20..40, 80..100], "test").expect("a memory file");
        let mut found = vec![0; 100];
        file.read_exact_at(&mut found, 0).expect("read");
        let mut expected = bytes.clone();
        expected[8..12].fill(0xff);
        expected[60..68].copy_from_slice(&[2, 1, 0, 0, 0, 0, 0, 0]);
        expected[20..40].fill(0);
        expected[80..].fill(0);
        assert_eq!(found, expected);
        assert!(file.write_all_at(b"x", 0).is_err(), "sealed");
        assert!(file.set_len(1).is_err(), "sealed");
    }

    /// As the kernel does for a moment when memory is short.
    #[test]
    fn a_file_is_sealed_while_something_holds_its_pages() {
        let file = create("held").expect("a memory file");
        file.write_all_at(&[1; 8192], 0).expect("written");
        let (_reader, writer) = nix::unistd::pipe().expect("a pipe");
        let mut from = 0;
        let held = nix::fcntl::splice(
            &file,
            Some(&mut from),
            &writer,
            None,
            8192,
            nix::fcntl::SpliceFFlags::empty(),
        );
        assert_eq!(held, Ok(8192), "the pipe holds the pages themselves");
        seal(&file).expect("sealed");
        assert!(file.write_all_at(b"x", 0).is_err(), "sealed");
        assert!(file.set_len(1).is_err(), "sealed");
    }

    #[test]
    fn overlapping_holes_are_one() {
        assert_eq!(complement(&[2..6, 4..8, 8..9], 12), [0..2, 9..12]);
        assert_eq!(complement(&[], 3).first(), Some(&(0..3)));
        assert!(complement(std::slice::from_ref(&(0..3)), 3).is_empty());
    }
}
