//! Files that the guest's own code writes, for whoever looks for changes that somebody else has made. Kept only where that was asked for.
//!
//! # Safety
//! Descriptors are looked at, never read from; one that is not open is an error.

use super::guards::in_child;
use std::collections::HashMap;
use std::ffi::c_int;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// What tells a file from what it was: device, inode, size in bytes, time of the last change in seconds and nanoseconds.
pub type Mark = (u64, u64, u64, i64, i64);

/// Of a file.
pub fn mark(about: &std::fs::Metadata) -> Mark {
    (about.dev(), about.ino(), about.size(), about.mtime(), about.mtime_nsec())
}

/// What the guest has done to a file.
#[derive(Default)]
struct Written {
    /// How often it has it open for writing now.
    open: usize,
    /// What it was when it was closed last.
    left: Option<Mark>,
}

static WANTED: AtomicBool = AtomicBool::new(false);

fn all() -> MutexGuard<'static, HashMap<(u64, u64), Written>> {
    static ALL: OnceLock<Mutex<HashMap<(u64, u64), Written>>> = OnceLock::new();
    ALL.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on it is kept which files the guest writes, also over the ends of guests; or no longer.
pub fn keep(wanted: bool) {
    WANTED.store(wanted, Ordering::Relaxed);
    if !wanted {
        all().clear();
    }
}

/// Whether a file is as the guest itself has left it, or is being written by it.
pub fn is_own(mark: &Mark) -> bool {
    all()
        .get(&(mark.0, mark.1))
        .is_some_and(|written| written.open > 0 || written.left.as_ref() == Some(mark))
}

/// A descriptor was opened.
pub(super) fn opened(fd: c_int) {
    if let Some(mark) = written_through(fd) {
        let mut all = all();
        /// Files that nobody looks for are forgotten before there are too many.
        const MOST: usize = 10_000;
        if all.len() >= MOST {
            all.retain(|_, written| written.open > 0);
        }
        all.entry((mark.0, mark.1)).or_default().open += 1;
    }
}

/// It is about to be closed.
pub(super) fn closing(fd: c_int) {
    if let Some(mark) = written_through(fd) {
        if let Some(written) = all().get_mut(&(mark.0, mark.1)) {
            written.open = written.open.saturating_sub(1);
            written.left = Some(mark);
        }
    }
}

/// The file that is open under this number for writing, if that is to be kept.
fn written_through(fd: c_int) -> Option<Mark> {
    if fd < 0 || !WANTED.load(Ordering::Relaxed) || in_child() {
        return None;
    }
    // SAFETY: F_GETFL takes no argument.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    if flags < 0 || flags & libc::O_ACCMODE == libc::O_RDONLY {
        return None;
    }
    // SAFETY: all zeroes is a valid stat, filled by the call.
    let mut about: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    let known =
        unsafe { libc::fstat(fd, &raw mut about) } == 0 && about.st_mode & libc::S_IFMT == libc::S_IFREG;
    known.then_some((about.st_dev, about.st_ino, about.st_size as u64, about.st_mtime, about.st_mtime_nsec))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn what_the_guest_has_left_is_told_from_what_others_wrote() {
        super::super::guards::all();
        keep(true);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state");
        let now = || mark(&path.metadata().expect("a file"));
        let file = std::fs::File::create(&path).expect("a file");
        opened(file.as_raw_fd());
        std::fs::write(&path, "half").expect("written");
        assert!(is_own(&now()), "it is open");
        closing(file.as_raw_fd());
        drop(file);
        assert!(is_own(&now()));
        std::fs::write(&path, "another's").expect("written");
        assert!(!is_own(&now()));
        // A file that took another's name is the one that was written.
        let other = folder.path().join("other");
        let file = std::fs::File::create(&other).expect("a file");
        opened(file.as_raw_fd());
        closing(file.as_raw_fd());
        drop(file);
        std::fs::rename(&other, &path).expect("renamed");
        assert!(is_own(&now()));
        let read = std::fs::File::open(&path).expect("a file");
        opened(read.as_raw_fd());
        assert!(written_through(read.as_raw_fd()).is_none(), "open for reading");
        keep(false);
        assert!(!is_own(&now()));
    }
}
