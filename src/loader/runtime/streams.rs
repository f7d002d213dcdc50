//! Guards for the host's standard streams: the guest uses them, but they stay open, in their places and in their mode.
//!
//! # Safety
//! As for the other guards ([`super::guards`]): signatures and arguments are those of the libc functions they replace.

use super::descriptors::{closing, opened};
use super::guards::{in_child, set_errno};
use std::ffi::{c_int, c_long, c_ulong, c_void};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The standard streams are open file descriptions that the host shares, with a child of the guest that inherits them,
/// too; their flags are the host's own. What else a child has in their places is the guest's, and so is what the guest opens
/// where the host has none.
fn is_standard_stream(fd: c_int) -> bool {
    (0..=2).contains(&fd) && if in_child() { is_inherited(fd) } else { host_has(fd).load(Ordering::Relaxed) }
}

/// Looks which standard streams the host has.
pub(super) fn look() {
    (0..=2).for_each(|fd| host_has(fd).store(file_of(fd) != [0, 0], Ordering::Relaxed));
}

/// The guest was unloaded: the next one believes what the first one did at its start.
pub(super) fn forget() {
    (0..=2).for_each(|stream| believes_non_blocking(stream).store(false, Ordering::Relaxed));
}

/// Whether the host had this standard stream when the guest was asked for.
fn host_has(stream: c_int) -> &'static AtomicBool {
    static STREAMS: [AtomicBool; 3] = [const { AtomicBool::new(true) }; 3];
    &STREAMS[stream.clamp(0, 2) as usize]
}

/// Device and inode of the host's standard streams at the guest's last fork(2).
static STREAMS: [[AtomicU64; 2]; 3] = [const { [const { AtomicU64::new(0) }; 2] }; 3];

/// The guest is about to fork.
pub(super) fn remember() {
    for (fd, place) in (0..).zip(&STREAMS) {
        let [device, inode] = file_of(fd);
        place[0].store(device, Ordering::Relaxed);
        place[1].store(inode, Ordering::Relaxed);
    }
}

/// Whether a forked child has one of the host's streams here, in whatever place it was.
fn is_inherited(fd: c_int) -> bool {
    let file = file_of(fd);
    file != [0, 0] && STREAMS.iter().any(|s| file == [0, 1].map(|i: usize| s[i].load(Ordering::Relaxed)))
}

/// Device and inode of an open file; zeroes if it is none. Async-signal-safe.
fn file_of(fd: c_int) -> [u64; 2] {
    // SAFETY: all zeroes is a valid stat, filled by the call.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: as above; a descriptor that is not open is an error.
    let found = unsafe { libc::fstat(fd, &raw mut status) } == 0;
    if found {
        [status.st_dev, status.st_ino]
    } else {
        [0, 0]
    }
}

pub(super) extern "C" fn ioctl(fd: c_int, request: c_ulong, argument: *mut c_void) -> c_int {
    if request == libc::FIONBIO as c_ulong && is_standard_stream(fd) {
        // SAFETY: FIONBIO's argument is an int of the caller's.
        let on = !argument.is_null() && unsafe { *argument.cast::<c_int>() } != 0;
        believes_non_blocking(fd).store(on, Ordering::Relaxed);
        return 0;
    }
    // SAFETY: passed on as the guest called it.
    unsafe { libc::ioctl(fd, request, argument) }
}

pub(super) extern "C" fn fcntl(fd: c_int, command: c_int, argument: c_long) -> c_int {
    if command == libc::F_SETFL && is_standard_stream(fd) {
        let on = argument & c_long::from(libc::O_NONBLOCK) != 0;
        believes_non_blocking(fd).store(on, Ordering::Relaxed);
        return 0;
    }
    // SAFETY: passed on as the guest called it.
    let result = unsafe { libc::fcntl(fd, command, argument) };
    if matches!(command, libc::F_DUPFD | libc::F_DUPFD_CLOEXEC) {
        opened(result);
    }
    result
}

/// Whether the guest believes to have made this standard stream non-blocking.
fn believes_non_blocking(stream: c_int) -> &'static AtomicBool {
    static STREAMS: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];
    &STREAMS[stream.clamp(0, 2) as usize]
}

/// A stream that the guest believes to be non-blocking answers as such, so that reading all there is does not hold the
/// guest's event loop.
pub(super) extern "C" fn read(fd: c_int, buffer: *mut c_void, size: usize) -> isize {
    if is_standard_stream(fd) && believes_non_blocking(fd).load(Ordering::Relaxed) && !in_child() {
        let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid pollfd; returns at once.
        if unsafe { libc::poll(&raw mut poll, 1, 0) } == 0 {
            set_errno(libc::EAGAIN);
            return -1;
        }
    }
    // SAFETY: passed on as the guest called it.
    unsafe { libc::read(fd, buffer, size) }
}

/// For a terminal libuv opens the device again and puts that in the stream's place (`uv_tty_init`), where its flags would
/// be the host's. It goes on to use its own descriptor all the same.
pub(super) extern "C" fn dup2(from: c_int, to: c_int) -> c_int {
    if is_standard_stream(to) && !in_child() {
        return to;
    }
    // SAFETY: passed on as the guest called it.
    copied(from, unsafe { libc::dup2(from, to) })
}

pub(super) extern "C" fn dup3(from: c_int, to: c_int, flags: c_int) -> c_int {
    if is_standard_stream(to) && !in_child() {
        return to;
    }
    // SAFETY: passed on as the guest called it.
    copied(from, unsafe { libc::dup3(from, to, flags) })
}

/// A copy of itself it is not.
fn copied(from: c_int, to: c_int) -> c_int {
    if from == to {
        to
    } else {
        opened(to)
    }
}

pub(super) extern "C" fn close(fd: c_int) -> c_int {
    if stays_open(fd) {
        return 0;
    }
    closing(fd);
    // SAFETY: passed on as the guest called it.
    unsafe { libc::close(fd) }
}

fn stays_open(fd: c_int) -> bool {
    is_standard_stream(fd) && !in_child()
}

/// libuv closes files by syscall(2). Arguments that the caller did not give are not looked at by the kernel either: six are
/// registers, and reading the seventh from the stack, as libc does, finds what the caller has there.
pub(super) extern "C" fn syscall(
    number: c_long,
    first: c_long,
    second: c_long,
    third: c_long,
    fourth: c_long,
    fifth: c_long,
    sixth: c_long,
) -> c_long {
    if number == libc::SYS_close {
        if stays_open(first as c_int) {
            return 0;
        }
        closing(first as c_int);
    }
    // SAFETY: passed on as the guest called it.
    unsafe { libc::syscall(number, first, second, third, fourth, fifth, sixth) }
}

#[cfg(test)]
mod tests {
    use super::super::guards::all;
    use super::*;

    #[test]
    fn standard_streams_keep_their_flags() {
        all();
        // SAFETY: F_GETFL takes no argument.
        let flags = || unsafe { libc::fcntl(2, libc::F_GETFL) };
        let before = flags();
        assert_eq!(fcntl(2, libc::F_SETFL, c_long::from(before | libc::O_NONBLOCK)), 0);
        let mut on: c_int = 1;
        assert_eq!(ioctl(2, libc::FIONBIO as c_ulong, (&raw mut on).cast()), 0);
        assert_eq!(flags(), before);
        on = 0;
        assert_eq!(ioctl(2, libc::FIONBIO as c_ulong, (&raw mut on).cast()), 0);
        assert!(!believes_non_blocking(2).load(Ordering::Relaxed));
    }

    #[test]
    fn standard_streams_stay_open() {
        all();
        assert_eq!(close(2), 0);
        assert_eq!(syscall(libc::SYS_close, 2, 0, 0, 0, 0, 0), 0);
        assert_ne!(file_of(2), [0, 0]);
        let pipe = std::io::pipe().expect("a pipe");
        let fd = std::os::fd::IntoRawFd::into_raw_fd(pipe.0);
        assert_eq!(syscall(libc::SYS_close, c_long::from(fd), 0, 0, 0, 0, 0), 0);
        assert_eq!(syscall(libc::SYS_close, c_long::from(fd), 0, 0, 0, 0, 0), -1, "it was closed");
    }

    #[test]
    fn a_childs_own_streams_are_told_from_the_hosts() {
        remember();
        assert!((0..=2).all(is_inherited));
        let pipe = std::io::pipe().expect("a pipe");
        assert!(!is_inherited(std::os::fd::AsRawFd::as_raw_fd(&pipe.0)));
        assert!(!is_inherited(-1));
    }
}
