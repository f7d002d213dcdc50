//! Descriptors that the guest has opened and not closed: files that a script was just opening when it was ended, and what it
//! never closed. Node closes what it was given, not what is on its way; the process outlives the guest, so what is left is
//! closed when the guest is unloaded.
//!
//! Each is known with its device and inode. One that means something else by then was closed behind our back and opened by
//! the host, and stays. What has no inode of its own (eventfd, epoll, inotify) could not be told apart: these belong to libuv's
//! handles, which close them. A forked child has a copy of the table, which it may write and nobody reads: so there are no locks.
//!
//! # Safety
//! As for the other guards ([`super::guards`]): signatures and arguments are those of the libc functions they replace; a fixed
//! third argument of open(2) and openat(2) is passed in the same register by the psABIs of x86-64 and AArch64 Linux.

use super::writes;
use crate::plan::Guard;
use relink_elf::address::RunAddr;
use std::ffi::{c_char, c_int, c_uint, c_void};
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

/// What the guest has opened under one number.
struct Opened {
    /// Zero: nothing.
    device: AtomicU64,
    inode: AtomicU64,
    /// The directory stream (`DIR`) around it, or null.
    directory: AtomicPtr<c_void>,
}

/// Numbers from here on are not looked after; untouched entries cost no memory.
const LIMIT: usize = 1 << 16;
static TABLE: [Opened; LIMIT] = [const { Opened::nothing() }; LIMIT];
/// No entry at or above it was ever used.
static USED: AtomicUsize = AtomicUsize::new(0);

impl Opened {
    const fn nothing() -> Self {
        let directory = AtomicPtr::new(std::ptr::null_mut());
        Self { device: AtomicU64::new(0), inode: AtomicU64::new(0), directory }
    }

    fn set(&self, file: [u64; 2], directory: *mut c_void) {
        self.inode.store(file[1], Ordering::Relaxed);
        self.directory.store(directory, Ordering::Relaxed);
        self.device.store(file[0], Ordering::Release);
    }

    fn is_known(&self) -> bool {
        self.device.load(Ordering::Acquire) != 0
    }

    /// Whether this is what a descriptor means that is open with such a device and inode.
    fn is(&self, file: [u64; 2]) -> bool {
        let known = [self.device.load(Ordering::Acquire), self.inode.load(Ordering::Relaxed)];
        file[0] != 0 && known == file
    }
}

fn entry(fd: c_int) -> Option<(usize, &'static Opened)> {
    let number = usize::try_from(fd).ok()?;
    TABLE.get(number).map(|entry| (number, entry))
}

/// Device and inode of an open file; zeroes if it is none, or has no inode of its own. Async-signal-safe.
fn file_of(fd: c_int) -> [u64; 2] {
    // SAFETY: all zeroes is a valid stat, filled by the call.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: as above; a descriptor that is not open is an error.
    let found = unsafe { libc::fstat(fd, &raw mut status) } == 0;
    // Files without a type share one inode (the kernel's anon_inodefs).
    let own = found && status.st_mode & libc::S_IFMT != 0;
    if own {
        [status.st_dev, status.st_ino]
    } else {
        [0, 0]
    }
}

/// The guest has opened this descriptor, unless it is negative; which is given back.
pub(super) fn opened(fd: c_int) -> c_int {
    opened_as(fd, std::ptr::null_mut());
    fd
}

fn opened_as(fd: c_int, directory: *mut c_void) {
    writes::opened(fd);
    let Some((number, entry)) = entry(fd) else { return };
    entry.set(file_of(fd), directory);
    if USED.load(Ordering::Relaxed) <= number {
        USED.fetch_max(number + 1, Ordering::Relaxed);
    }
}

/// The guest is about to close this descriptor, or has given it to somebody who will.
pub(super) fn closing(fd: c_int) {
    writes::closing(fd);
    if let Some((_, entry)) = entry(fd) {
        entry.set([0, 0], std::ptr::null_mut());
    }
}

/// Closes what the guest has left open. Returns how many.
///
/// # Safety
/// No thread of the guest is left, and none of its code runs any more.
pub unsafe fn close_left() -> usize {
    let used = USED.swap(0, Ordering::Relaxed);
    let mut count = 0;
    for (fd, entry) in (0..).zip(&TABLE[..used]).filter(|(_, entry)| entry.is_known()) {
        // SAFETY: promised by the caller.
        let closed = entry.is(file_of(fd)) && unsafe { close(fd, entry) };
        entry.set([0, 0], std::ptr::null_mut());
        count += usize::from(closed);
    }
    count
}

/// # Safety
/// The entry is that of this descriptor, and its owner is gone.
unsafe fn close(fd: c_int, entry: &Opened) -> bool {
    let directory = entry.directory.load(Ordering::Relaxed);
    if directory.is_null() {
        // SAFETY: promised by the caller.
        unsafe { libc::close(fd) == 0 }
    } else {
        // SAFETY: an open directory stream, for its descriptor is open still; its owner is gone (promised by the caller).
        unsafe { libc::closedir(directory.cast()) == 0 }
    }
}

/// The guards for what opens a descriptor, and for what takes one over. Those for what closes one are among
/// [`super::streams`]'.
pub(super) fn guards() -> Vec<Guard> {
    let keeps = "descriptors that a guest leaves open are closed when it is unloaded";
    let guard = |(symbol, function): (&'static str, *const ())| {
        let address = RunAddr(function as usize as u64);
        Guard { symbol, address, keeps }
    };
    let all = [
        ("open", open as *const ()),
        ("open64", open as *const ()),
        ("__open_2", open_checked as *const ()),
        ("__open64_2", open_checked as *const ()),
        ("openat", openat as *const ()),
        ("openat64", openat as *const ()),
        ("opendir", opendir as *const ()),
        ("closedir", closedir as *const ()),
        ("fdopen", fdopen as *const ()),
        ("fdopendir", fdopendir as *const ()),
        ("dup", dup as *const ()),
        ("pipe", pipe as *const ()),
        ("pipe2", pipe2 as *const ()),
        ("socket", socket as *const ()),
        ("socketpair", socketpair as *const ()),
        ("accept", accept as *const ()),
        ("accept4", accept4 as *const ()),
    ];
    all.map(guard).into()
}

extern "C" fn open(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    // SAFETY: passed on as the guest called it.
    opened(unsafe { libc::open(path, flags, mode) })
}

/// What open(2) is in code compiled with `_FORTIFY_SOURCE`, where there is no mode.
extern "C" fn open_checked(path: *const c_char, flags: c_int) -> c_int {
    open(path, flags, 0)
}

extern "C" fn openat(folder: c_int, path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    // SAFETY: passed on as the guest called it.
    opened(unsafe { libc::openat(folder, path, flags, mode) })
}

extern "C" fn opendir(path: *const c_char) -> *mut libc::DIR {
    // SAFETY: passed on as the guest called it.
    let directory = unsafe { libc::opendir(path) };
    if !directory.is_null() {
        // SAFETY: an open directory stream.
        opened_as(unsafe { libc::dirfd(directory) }, directory.cast());
    }
    directory
}

extern "C" fn closedir(directory: *mut libc::DIR) -> c_int {
    if !directory.is_null() {
        // SAFETY: an open directory stream, as closedir(3) wants it.
        closing(unsafe { libc::dirfd(directory) });
    }
    // SAFETY: passed on as the guest called it.
    unsafe { libc::closedir(directory) }
}

/// From here on the descriptor is the stream's, and fclose(3) closes it.
extern "C" fn fdopen(fd: c_int, mode: *const c_char) -> *mut libc::FILE {
    // SAFETY: passed on as the guest called it.
    let stream = unsafe { libc::fdopen(fd, mode) };
    if !stream.is_null() {
        closing(fd);
    }
    stream
}

extern "C" fn fdopendir(fd: c_int) -> *mut libc::DIR {
    // SAFETY: passed on as the guest called it.
    let directory = unsafe { libc::fdopendir(fd) };
    if !directory.is_null() {
        opened_as(fd, directory.cast());
    }
    directory
}

extern "C" fn dup(fd: c_int) -> c_int {
    // SAFETY: passed on as the guest called it.
    opened(unsafe { libc::dup(fd) })
}

extern "C" fn pipe(ends: *mut c_int) -> c_int {
    // SAFETY: passed on as the guest called it.
    both(unsafe { libc::pipe(ends) }, ends)
}

extern "C" fn pipe2(ends: *mut c_int, flags: c_int) -> c_int {
    // SAFETY: passed on as the guest called it.
    both(unsafe { libc::pipe2(ends, flags) }, ends)
}

extern "C" fn socketpair(domain: c_int, kind: c_int, protocol: c_int, ends: *mut c_int) -> c_int {
    // SAFETY: passed on as the guest called it.
    both(unsafe { libc::socketpair(domain, kind, protocol, ends) }, ends)
}

/// A call that opens two descriptors has ended so.
fn both(result: c_int, ends: *const c_int) -> c_int {
    if result == 0 {
        // SAFETY: the call has filled the caller's array of two.
        let [one, other] = unsafe { [*ends, *ends.add(1)] };
        opened(one);
        opened(other);
    }
    result
}

extern "C" fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    // SAFETY: passed on as the guest called it.
    opened(unsafe { libc::socket(domain, kind, protocol) })
}

extern "C" fn accept(fd: c_int, address: *mut libc::sockaddr, size: *mut libc::socklen_t) -> c_int {
    // SAFETY: passed on as the guest called it.
    opened(unsafe { libc::accept(fd, address, size) })
}

extern "C" fn accept4(
    fd: c_int,
    address: *mut libc::sockaddr,
    size: *mut libc::socklen_t,
    flags: c_int,
) -> c_int {
    // SAFETY: passed on as the guest called it.
    opened(unsafe { libc::accept4(fd, address, size, flags) })
}

#[cfg(test)]
mod tests {
    use super::super::streams;
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    fn is_open(fd: c_int) -> bool {
        // SAFETY: F_GETFD takes no argument.
        unsafe { libc::fcntl(fd, libc::F_GETFD) != -1 }
    }

    /// The numbers of all that is opened in each of the ways.
    fn open_all() -> Vec<c_int> {
        let (mut pipes, mut pair) = ([-1; 2], [-1; 2]);
        assert_eq!(pipe2(pipes.as_mut_ptr(), libc::O_CLOEXEC), 0);
        assert_eq!(socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, pair.as_mut_ptr()), 0);
        let folder = opendir(c"/".as_ptr());
        // SAFETY: an open directory stream, just made.
        let folder = unsafe { libc::dirfd(folder) };
        let file = open(c"/dev/null".as_ptr(), libc::O_RDONLY, 0);
        let at = openat(libc::AT_FDCWD, c"/dev/null".as_ptr(), libc::O_RDONLY, 0);
        let checked = open_checked(c"/dev/null".as_ptr(), libc::O_RDONLY);
        let stream = socket(libc::AF_INET, libc::SOCK_STREAM, 0);
        let copies = [dup(file), streams::fcntl(file, libc::F_DUPFD_CLOEXEC, 0)];
        [&pipes[..], &pair, &copies, &[folder, file, at, checked, stream]].concat()
    }

    /// One test, for the table is one per process.
    #[test]
    fn what_is_left_open_is_closed_and_nothing_else() {
        let left = open_all();
        assert!(left.iter().all(|fd| is_open(*fd)), "{left:?}");
        let (closed, taken) =
            (open(c"/dev/null".as_ptr(), libc::O_RDONLY, 0), open(c"/dev/null".as_ptr(), libc::O_RDONLY, 0));
        assert_eq!(streams::close(closed), 0);
        // Behind our back, as a host might: the number means another file by now.
        let other = std::io::pipe().expect("a pipe");
        // SAFETY: `taken` is this test's own.
        assert_eq!(unsafe { libc::dup2(other.0.as_raw_fd(), taken) }, taken);
        // A stream's descriptor is the stream's.
        let of_a_stream = open(c"/dev/null".as_ptr(), libc::O_RDONLY, 0);
        let stream = fdopen(of_a_stream, c"r".as_ptr());
        // SAFETY: nothing else uses what was left.
        assert_eq!(unsafe { close_left() }, left.len());
        // SAFETY: the stream was just made; its descriptor is open still, or this would fail.
        assert_eq!(unsafe { libc::fclose(stream) }, 0);
        // SAFETY: `taken` is a copy of the pipe's end, and nobody else's.
        let taken = std::fs::File::from(unsafe { OwnedFd::from_raw_fd(taken) });
        (&other.1).write_all(b"x").expect("written");
        let mut read = [0];
        (&taken).read_exact(&mut read).expect("read");
        assert_eq!(read, *b"x");
        // SAFETY: as above.
        assert_eq!(unsafe { close_left() }, 0);
    }

    #[test]
    fn what_has_no_inode_of_its_own_is_not_known() {
        // SAFETY: a new descriptor, given back below.
        let fd = unsafe { OwnedFd::from_raw_fd(libc::eventfd(0, libc::EFD_CLOEXEC)) };
        assert_eq!(file_of(fd.as_raw_fd()), [0, 0]);
        assert_eq!(file_of(-1), [0, 0]);
        assert_ne!(file_of(2), [0, 0]);
    }
}
