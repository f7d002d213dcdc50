//! The host's terminal: scripts may set it (`setRawMode`), and it is as before when the runtime that did has ended, in whatever way.
//!
//! The host's terminal is the one that a standard stream of its is, or that controls the process; a terminal that a script opens
//! itself (a pseudo-terminal, a serial line) is none of the host's. Where a runtime has set it first, what it was is kept. At the end of
//! the last runtime that has set it those settings that are still as the guest left them are put back: what the host has changed
//! meanwhile stays.
//!
//! # Safety
//! As for the other guards ([`super::guards`]): signatures and arguments are those of the libc functions they replace. `termios` and the
//! kernel's structures are read and written by the calls that take them.

use super::guards::in_child;
use super::{lifecycle, threads};
use std::ffi::{c_int, c_uint, c_ulong, c_void};
use std::fs::{File, OpenOptions};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is kept of a terminal.
struct Kept {
    /// Its device.
    device: u32,
    /// Its settings before a runtime has set any.
    before: libc::termios,
    /// As the guest left it.
    left: libc::termios,
    /// The numbers of the runtimes that have set it; 0: a thread of all.
    by: Vec<usize>,
}

static KEPT: Mutex<Vec<Kept>> = Mutex::new(Vec::new());

fn kept() -> MutexGuard<'static, Vec<Kept>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `tcsetattr(3)`.
pub(super) extern "C" fn tcsetattr(fd: c_int, when: c_int, settings: *const libc::termios) -> c_int {
    // SAFETY: passed on as the guest called it.
    set(fd, || unsafe { libc::tcsetattr(fd, when, settings) })
}

/// Whether a request of `ioctl(2)` sets what `tcsetattr(3)` sets.
pub(super) fn is_setting(request: c_ulong) -> bool {
    /// `TCSETS`, `TCSETSW`, `TCSETSF`, `TCSETA`, `TCSETAW`, `TCSETAF`.
    const OLD: [c_ulong; 6] = [0x5402, 0x5403, 0x5404, 0x5406, 0x5407, 0x5408];
    /// `TCSETS2`, `TCSETSW2`, `TCSETSF2`.
    const NEW: [c_ulong; 3] = [0x402c_542b, 0x402c_542c, 0x402c_542d];
    OLD.contains(&request) || NEW.contains(&request)
}

/// Has `change` set a terminal, whose settings are kept before if it is the host's.
pub(super) fn set(fd: c_int, change: impl FnOnce() -> c_int) -> c_int {
    if in_child() {
        return change();
    }
    // Held meanwhile, so that nobody puts back what is just being set.
    let mut kept = kept();
    let known = device_of(fd).filter(|device| is_the_hosts(*device)).zip(settings_of(fd));
    let done = change();
    let Some((device, before)) = known.filter(|_| done == 0) else { return done };
    let Some(left) = settings_of(fd) else { return done };
    let runtime = threads::owner();
    match kept.iter_mut().find(|kept| kept.device == device) {
        Some(kept) => {
            kept.left = left;
            if !kept.by.contains(&runtime) {
                kept.by.push(runtime);
            }
        }
        None => kept.push(Kept { device, before, left, by: vec![runtime] }),
    }
    done
}

/// A runtime has ended: what it alone has set is put back.
pub(super) fn put_back(runtime: usize) {
    let mut kept = kept();
    // What a thread of all has set goes with the last of them.
    let last = !kept.is_empty() && lifecycle::is_last(runtime);
    kept.retain_mut(|kept| {
        kept.by.retain(|by| *by != runtime && !(last && *by == 0));
        if kept.by.is_empty() {
            restore(kept);
        }
        !kept.by.is_empty()
    });
}

fn restore(kept: &Kept) {
    let standard = (0..=2).find(|fd| device_of(*fd) == Some(kept.device));
    let opened = if standard.is_none() { controlling() } else { None };
    let opened = opened.filter(|file| device_of(file.as_raw_fd()) == Some(kept.device));
    let Some(fd) = standard.or(opened.as_ref().map(AsRawFd::as_raw_fd)) else { return };
    let Some(now) = settings_of(fd) else { return };
    let wanted = merged(&kept.before, &kept.left, &now);
    // A process in the background is stopped by the terminal for setting it, but not with SIGTTOU blocked.
    super::signals::blocked(|| {
        // SAFETY: settings that were read from this terminal; an error leaves it as it is.
        unsafe { libc::tcsetattr(fd, libc::TCSANOW, &raw const wanted) }
    });
}

/// What of `now` is as it was `left` becomes what it was `before`.
fn merged(before: &libc::termios, left: &libc::termios, now: &libc::termios) -> libc::termios {
    let flags = |before: c_uint, left: c_uint, now: c_uint| {
        let guests = (before ^ left) & !(left ^ now);
        (now & !guests) | (before & guests)
    };
    let mut merged = *now;
    merged.c_iflag = flags(before.c_iflag, left.c_iflag, now.c_iflag);
    merged.c_oflag = flags(before.c_oflag, left.c_oflag, now.c_oflag);
    merged.c_cflag = flags(before.c_cflag, left.c_cflag, now.c_cflag);
    merged.c_lflag = flags(before.c_lflag, left.c_lflag, now.c_lflag);
    for (merged, (before, left)) in merged.c_cc.iter_mut().zip(before.c_cc.iter().zip(&left.c_cc)) {
        if *merged == *left {
            *merged = *before;
        }
    }
    merged
}

/// Whether a terminal is one of the host's standard streams, or the one that controls the process.
fn is_the_hosts(device: u32) -> bool {
    (0..=2).any(|fd| device_of(fd) == Some(device))
        || controlling().is_some_and(|file| device_of(file.as_raw_fd()) == Some(device))
}

fn controlling() -> Option<File> {
    let flags = libc::O_NOCTTY | libc::O_NONBLOCK;
    OpenOptions::new().read(true).write(true).custom_flags(flags).open("/dev/tty").ok()
}

/// The device of a terminal, also where it was opened as `/dev/tty`.
fn device_of(fd: c_int) -> Option<u32> {
    /// `_IOR('T', 0x32, unsigned int)` of `asm-generic/ioctls.h`.
    const TIOCGDEV: c_ulong = 0x8004_5432;
    let mut device: c_uint = 0;
    // SAFETY: the request writes one integer; what is no terminal is an error.
    let found = unsafe { libc::ioctl(fd, TIOCGDEV, (&raw mut device).cast::<c_void>()) };
    (found == 0).then_some(device)
}

fn settings_of(fd: c_int) -> Option<libc::termios> {
    let mut settings = MaybeUninit::uninit();
    // SAFETY: the structure is filled where the answer is 0.
    let found = unsafe { libc::tcgetattr(fd, settings.as_mut_ptr()) };
    // SAFETY: filled.
    (found == 0).then(|| unsafe { settings.assume_init() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_guest_left_is_put_back() {
        // SAFETY: integers may all be zero.
        let mut before: libc::termios = unsafe { std::mem::zeroed() };
        before.c_lflag = libc::ICANON | libc::ECHO | libc::ISIG;
        before.c_iflag = libc::ICRNL;
        before.c_cc[libc::VMIN] = 1;
        before.c_cc[libc::VINTR] = 3;
        let mut left = before;
        (left.c_lflag, left.c_iflag) = (libc::IEXTEN, 0);
        left.c_cc[libc::VMIN] = 4;
        assert!(merged(&before, &left, &left) == before, "nobody else has set it");
        let mut now = left;
        // The host has switched the echo on, and off what the guest had switched on.
        now.c_lflag = libc::ECHO;
        now.c_oflag = libc::OPOST;
        now.c_cc[libc::VMIN] = 7;
        let put_back = merged(&before, &left, &now);
        assert_eq!(put_back.c_lflag, libc::ICANON | libc::ECHO | libc::ISIG);
        assert_eq!((put_back.c_iflag, put_back.c_oflag), (libc::ICRNL, libc::OPOST));
        assert_eq!((put_back.c_cc[libc::VMIN], put_back.c_cc[libc::VINTR]), (7, 3));
    }

    #[test]
    fn what_is_no_terminal_is_not_kept() {
        super::super::guards::all();
        let pipe = std::io::pipe().expect("a pipe");
        let fd = pipe.0.as_raw_fd();
        // SAFETY: integers may all be zero.
        let settings: libc::termios = unsafe { std::mem::zeroed() };
        assert_eq!(tcsetattr(fd, libc::TCSANOW, &raw const settings), -1);
        assert!(kept().is_empty() && is_setting(libc::TCSETS) && !is_setting(libc::TIOCGWINSZ));
        put_back(1);
    }
}
