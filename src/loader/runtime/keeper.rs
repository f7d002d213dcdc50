//! A keeper: a process between the host and a child of the guest's, where the host would take the child's end away. It is forked from the host,
//! starts the child, tells how it ended, and ends. The host may reap it as it likes.
//!
//! # Safety
//! The keeper is a forked child of a process with many threads: it calls only async-signal-safe functions, and `work`, which promises the
//! same.

use super::guards::errno;
use super::signals;
use std::ffi::{c_int, c_uint};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

/// A host was seen to take the end of a child away.
static LEARNED: AtomicBool = AtomicBool::new(false);

/// From now on children have a keeper.
pub(super) fn learn() {
    LEARNED.store(true, Ordering::Relaxed);
}

/// Whether the host would take the end of a child away: it ignores SIGCHLD, so that the kernel keeps none; it has a handler for it, which may wait
/// for any child; a thread of it waits for any child just now; or it was seen to do so.
pub(super) fn is_needed() -> bool {
    // SAFETY: all zeroes is a valid sigaction, filled by the call.
    let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: asks for the disposition.
    unsafe { libc::sigaction(libc::SIGCHLD, std::ptr::null(), &raw mut now) };
    let keeps_none = now.sa_flags & libc::SA_NOCLDWAIT != 0;
    keeps_none || now.sa_sigaction != libc::SIG_DFL || LEARNED.load(Ordering::Relaxed) || a_thread_waits()
}

/// Whether a thread of this process is in a system call that waits for any child, as `/proc` tells (proc(5), `/proc/PID/syscall`).
fn a_thread_waits() -> bool {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return false };
    tasks.flatten().any(|task| {
        let mut text = [0; 64];
        let read = File::open(task.path().join("syscall")).and_then(|mut file| file.read(&mut text));
        read.is_ok_and(|length| waits_for_any(&String::from_utf8_lossy(&text[..length])))
    })
}

/// The same of the first words of such a file: the call's number and its arguments.
fn waits_for_any(call: &str) -> bool {
    let mut words = call.split_whitespace();
    let number = words.next().and_then(|word| word.parse().ok()).unwrap_or(-1);
    let first =
        words.next().and_then(|word| word.strip_prefix("0x")).and_then(|w| u64::from_str_radix(w, 16).ok());
    let Some(first) = first else { return false };
    let any = first as i32 <= 0;
    let groups = [u64::from(libc::P_ALL), u64::from(libc::P_PGID)];
    (number == libc::SYS_wait4 && any) || (number == libc::SYS_waitid && groups.contains(&first))
}

/// How the end of a child is learned of.
pub(super) enum Watch {
    /// It is a child of this process, of which there may be a descriptor.
    Direct(Option<OwnedFd>),
    /// Its keeper tells.
    Kept(Keeper),
}

/// The keeper of a child, seen from the host.
#[derive(Debug)]
pub(super) struct Keeper {
    process: libc::pid_t,
    tells: UnixStream,
}

/// Starts a child by `work`, in a keeper. 0: this is the child. Every signal is blocked in the calling thread. The error is an errno.
pub(super) fn start(
    work: impl FnOnce() -> Result<libc::pid_t, c_int>,
) -> Result<(libc::pid_t, Watch), c_int> {
    let (tells, told) = UnixStream::pair().map_err(|error| error.raw_os_error().unwrap_or(libc::EMFILE))?;
    // SAFETY: the keeper calls only async-signal-safe functions.
    let process = unsafe { libc::fork() };
    match process {
        -1 => Err(errno()),
        0 => {
            // SAFETY: all zeroes is a valid sigaction: the default.
            let (default, mut before): (libc::sigaction, libc::sigaction) =
                unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
            // SAFETY: the default disposition, in this process, which has one thread. Else the kernel might not keep the child.
            unsafe { libc::sigaction(libc::SIGCHLD, &raw const default, &raw mut before) };
            match work() {
                Ok(0) => {
                    // SAFETY: what was there; the child is as if the host had forked it.
                    unsafe { libc::sigaction(libc::SIGCHLD, &raw const before, std::ptr::null_mut()) };
                    drop((tells, told));
                    Ok((0, Watch::Direct(None)))
                }
                result => keep(&told.into(), result),
            }
        }
        process => {
            drop(told);
            let mut keeper = Keeper { process, tells };
            match keeper.read() {
                Some(child) if child > 0 => Ok((child, Watch::Kept(keeper))),
                said => {
                    keeper.reap();
                    Err(said.map_or(libc::EAGAIN, |error| -error))
                }
            }
        }
    }
}

impl Keeper {
    fn read(&mut self) -> Option<i32> {
        let mut word = [0; 4];
        self.tells.read_exact(&mut word).ok().map(|()| i32::from_ne_bytes(word))
    }

    /// Waits until the child has ended. `None`: somebody has ended the keeper.
    pub(super) fn await_end(mut self) -> Option<c_int> {
        let status = self.read();
        self.reap();
        status
    }

    /// The host may have been faster.
    fn reap(&self) {
        // SAFETY: a child of this process; no status is asked for.
        while unsafe { libc::waitpid(self.process, std::ptr::null_mut(), 0) } == -1 && errno() == libc::EINTR
        {
        }
    }
}

/// The keeper's life after the start of its child: it holds nothing of the host's open, waits, tells, and ends. No signal but SIGKILL and
/// SIGSTOP reaches it.
fn keep(told: &OwnedFd, started: Result<libc::pid_t, c_int>) -> ! {
    signals::set_mask(signals::Mask::MAX);
    let number = told.as_raw_fd() as c_uint;
    let tell = |word: i32| {
        let bytes = word.to_ne_bytes();
        // SAFETY: four bytes of ours. If nobody listens any more (SIGPIPE is blocked), nobody has to know.
        unsafe { libc::send(told.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
    };
    tell(started.unwrap_or_else(|error| -error));
    // SAFETY: async-signal-safe calls on this process's own descriptors, name and folder.
    unsafe {
        if number > 0 {
            libc::syscall(libc::SYS_close_range, 0, number - 1, 0);
        }
        libc::syscall(libc::SYS_close_range, number + 1, c_uint::MAX, 0);
        libc::chdir(c"/".as_ptr());
        libc::prctl(libc::PR_SET_NAME, c"relink-keeper".as_ptr());
    }
    if let Ok(child) = started {
        let mut status = 0;
        // SAFETY: the one child of this process.
        while unsafe { libc::waitpid(child, &raw mut status, 0) } == -1 && errno() == libc::EINTR {}
        tell(status);
    }
    // SAFETY: ends this process without anything of the host's being run.
    unsafe { libc::_exit(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_waits_for_any_child_is_seen() {
        let line =
            |call: libc::c_long, first: i64| format!("{call} {first:#x} 0x7ffc 0x0 0x0 0x0 0x0 0x7ffd 0x7f");
        for (text, waits) in [
            (line(libc::SYS_wait4, -1), true),
            (line(libc::SYS_wait4, 0), true),
            (line(libc::SYS_wait4, 4711), false),
            (line(libc::SYS_waitid, 0), true),
            (line(libc::SYS_waitid, 3), false),
            ("running\n".into(), false),
        ] {
            assert_eq!(waits_for_any(&text), waits, "{text}");
        }
    }

    #[test]
    fn a_kept_child_is_one_of_the_keepers() {
        let child = || {
            // SAFETY: the forked child calls async-signal-safe functions alone.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // SAFETY: as above.
                unsafe { libc::_exit(if libc::getppid() == 1 { 1 } else { 9 }) }
            }
            Ok(child)
        };
        let (_, Watch::Kept(keeper)) = signals::all_blocked(|| start(child)).expect("started") else {
            panic!("the host's side")
        };
        assert_eq!(keeper.await_end().map(|status| libc::WEXITSTATUS(status)), Some(9));
        assert_eq!(signals::all_blocked(|| start(|| Err(libc::ENOENT))).map(|_| ()), Err(libc::ENOENT));
    }
}
