//! Files without a name that hold private copies.
//!
//! # Safety
//! `memfd_create`, `fcntl` and `mmap` are called with valid arguments; the descriptor is owned from the first moment.

use std::ffi::CString;
use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

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

/// An anonymous file with these contents, edited, that may be mapped as code; `edits` and `holes` are in order of offset. Whole pages of
/// holes read as zeroes and take no memory.
///
/// It is a memory file, sealed. Where a policy refuses these (a seccomp filter that answers memfd_create(2) with an error, a security
/// module that lets nobody run them), it is a file without a name in a folder whose file system lets files be run.
///
/// # Errors
/// The message names the policy, and each folder with what speaks against it.
pub fn memory_file(bytes: &[u8], edits: &[Edit], holes: &[Range<u64>], name: &str) -> std::io::Result<File> {
    let fill = |file: &File| write(file, bytes, edits, holes);
    let refused = match anonymous(name, &fill) {
        Ok(file) => return Ok(file),
        // That is no policy, and another kind of file would fail in the same way.
        Err((_, error)) if is_shortage(&error) => return Err(error),
        Err(refused) => refused,
    };
    unnamed(&folders(), &fill).map_err(|others| {
        let (call, error) = refused;
        let others: Vec<_> = others.iter().map(|(folder, why)| format!("{} ({why})", folder.display())).collect();
        std::io::Error::other(format!(
            "{call} is refused ({error}) by a policy of this system (a seccomp filter or a security module), and no folder lets a file be \
             run in its place: {}; allow memfd_create(2), or let TMPDIR name a folder that can be written and is not mounted noexec",
            others.join(", ")
        ))
    })
}

fn write(file: &File, bytes: &[u8], edits: &[Edit], holes: &[Range<u64>]) -> std::io::Result<()> {
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
    Ok(())
}

/// Fills a file.
type Fill<'a> = &'a dyn Fn(&File) -> std::io::Result<()>;

/// Whether the system has too little of something: descriptors or memory.
fn is_shortage(error: &std::io::Error) -> bool {
    [libc::EMFILE, libc::ENFILE, libc::ENOMEM].iter().any(|short| error.raw_os_error() == Some(*short))
}

/// A memory file, or which call failed and how.
fn anonymous(name: &str, fill: Fill) -> Result<File, (&'static str, std::io::Error)> {
    let file = create(name).map_err(|error| ("memfd_create(2)", error))?;
    fill(&file).map_err(|error| ("writing to a memory file", error))?;
    seal(&file).map_err(|error| ("sealing a memory file", error))?;
    may_run(&file).map_err(|error| ("running code from a memory file", error))?;
    Ok(file)
}

/// Folders that may let a file be run: the user's own first, then those for all.
fn folders() -> Vec<PathBuf> {
    let named = ["TMPDIR", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME"].into_iter().filter_map(std::env::var_os);
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let all = ["/tmp", "/var/tmp", "/dev/shm", "/run/lock"].map(PathBuf::from);
    let mut found: Vec<PathBuf> = Vec::new();
    for folder in named.map(PathBuf::from).chain(all).chain(home).filter(|folder| folder.is_absolute()) {
        if !found.contains(&folder) {
            found.push(folder);
        }
    }
    found
}

/// A file without a name in the first of the folders that lets it be run, or what speaks against each of them.
fn unnamed(folders: &[PathBuf], fill: Fill) -> Result<File, Vec<(PathBuf, std::io::Error)>> {
    let mut against = Vec::new();
    for folder in folders {
        match unnamed_in(folder, fill) {
            Ok(file) => return Ok(file),
            Err(error) => against.push((folder.clone(), error)),
        }
    }
    Err(against)
}

/// Nobody can open it by a name, for it has none. It cannot be sealed, but from here on it is open for reading alone, and its mode lets
/// none but its owner open it again through `/proc`, for reading.
fn unnamed_in(folder: &Path, fill: Fill) -> std::io::Result<File> {
    const READ_AND_RUN: u32 = 0o500;
    // O_TMPFILE where the file system has it, else a file that only its owner can open and whose name is taken away at once.
    let file = tempfile::tempfile_in(folder)?;
    // Before it is filled: a guest has some ten megabytes.
    may_run(&file)?;
    fill(&file)?;
    file.set_permissions(std::fs::Permissions::from_mode(READ_AND_RUN))?;
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Whether the file may be mapped as code: file systems that are mounted noexec refuse that, and security modules may.
fn may_run(file: &File) -> std::io::Result<()> {
    // The kernel takes whole pages.
    let length = 1;
    // SAFETY: a new mapping at a place that the kernel chooses; the descriptor is open.
    let page = unsafe {
        let protection = libc::PROT_READ | libc::PROT_EXEC;
        libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_PRIVATE, file.as_raw_fd(), 0)
    };
    if page == libc::MAP_FAILED {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the mapping from above, which nobody else knows.
    unsafe { libc::munmap(page, length) };
    Ok(())
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

    #[test]
    fn where_memory_files_are_refused_a_file_without_a_name_does() {
        let (nowhere, folder) = (PathBuf::from("/nowhere"), tempfile::tempdir().expect("a folder"));
        let fill = |file: &File| file.write_all_at(b"code", 0);
        let file = unnamed(&[nowhere.clone(), folder.path().to_owned()], &fill).expect("a file");
        let mut found = [0; 4];
        file.read_exact_at(&mut found, 0).expect("read");
        assert_eq!(&found, b"code");
        assert!(file.write_all_at(b"x", 0).is_err(), "open for reading alone");
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0, "it has no name");
        let against = unnamed(&[nowhere.clone(), PathBuf::from("/proc")], &fill).expect_err("no such folder");
        assert_eq!(against[0].0, nowhere);
    }

    #[test]
    fn a_file_that_must_not_be_run_is_no_place_for_code() {
        // The file systems of the kernel's own are mounted noexec on most machines; where none is, nothing can be seen here.
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("proc is mounted");
        let noexec =
            |line: &&str| line.split(' ').nth(3).is_some_and(|o| o.split(',').any(|o| o == "noexec"));
        for folder in mounts.lines().filter(noexec).filter_map(|line| line.split(' ').nth(1)) {
            assert!(unnamed_in(Path::new(folder), &|_| Ok(())).is_err(), "{folder}");
        }
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
