//! `system`, `popen` and what else of libc starts a child inside: made anew of the guards for starting children and for waiting, for libc's own
//! would go past them. The children would be born with every signal blocked, as the guest's threads are, and their ends might be the host's.
//!
//! # Safety
//! As for the other guards ([`super::guards`]): signatures and arguments are those of the libc functions they replace.

use super::children::{fork, posix_spawn};
use super::descriptors;
use super::family::{waitpid, Status};
use super::guards::{errno, in_child, set_errno};
use crate::plan::Guard;
use relink_elf::address::RunAddr;
use std::ffi::{c_char, c_int, CStr};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The guards, for the plan.
pub(super) fn guards() -> Vec<Guard> {
    let keeps = "children of the guest's start with the signals that they start with in plain Node, and it learns of their ends";
    let guard = |(symbol, function): (&'static str, *const ())| Guard {
        symbol,
        address: RunAddr(function as usize as u64),
        keeps,
    };
    let all = [
        ("system", system as *const ()),
        ("popen", popen as *const ()),
        ("pclose", pclose as *const ()),
        ("forkpty", forkpty as *const ()),
        ("daemon", daemon as *const ()),
    ];
    all.map(guard).into()
}

/// Starts `/bin/sh -c command`. The error is an errno.
fn start(
    command: *const c_char,
    actions: *const libc::posix_spawn_file_actions_t,
) -> Result<libc::pid_t, c_int> {
    let words = [c"sh".as_ptr(), c"-c".as_ptr(), command, std::ptr::null()].map(<*const c_char>::cast_mut);
    let mut child = 0;
    let program = c"/bin/sh".as_ptr();
    let environment = super::variables::pointer();
    match posix_spawn(&raw mut child, program, actions, std::ptr::null(), words.as_ptr(), environment) {
        0 => Ok(child),
        error => Err(error),
    }
}

fn wait_for(child: libc::pid_t) -> Status {
    let mut status = -1;
    loop {
        if waitpid(child, &raw mut status, 0) == child {
            return status;
        }
        if errno() != libc::EINTR {
            return -1;
        }
    }
}

extern "C" fn system(command: *const c_char) -> c_int {
    if in_child() {
        // SAFETY: passed on as the guest called it, in its own child.
        return unsafe { libc::system(command) };
    }
    if command.is_null() {
        return 1;
    }
    // The host's dispositions of SIGINT and SIGQUIT, which system(3) changes meanwhile, are the host's.
    start(command, std::ptr::null()).map_or_else(
        |error| {
            set_errno(error);
            -1
        },
        wait_for,
    )
}

/// Streams of `popen`, as addresses, and their children.
static STREAMS: Mutex<Vec<(usize, libc::pid_t)>> = Mutex::new(Vec::new());

fn streams() -> MutexGuard<'static, Vec<(usize, libc::pid_t)>> {
    STREAMS.lock().unwrap_or_else(PoisonError::into_inner)
}

extern "C" fn popen(command: *const c_char, mode: *const c_char) -> *mut libc::FILE {
    if in_child() {
        // SAFETY: passed on as the guest called it, in its own child.
        return unsafe { libc::popen(command, mode) };
    }
    // SAFETY: a NUL-terminated text, as popen(3) wants it.
    let mode = unsafe { CStr::from_ptr(mode) }.to_bytes();
    open(command, mode.contains(&b'w'), mode.contains(&b'e')).unwrap_or_else(|error| {
        set_errno(error);
        std::ptr::null_mut()
    })
}

/// `writes`: to the child's input, else from its output. `closes`: the stream's descriptor is closed in other children.
fn open(command: *const c_char, writes: bool, closes: bool) -> Result<*mut libc::FILE, c_int> {
    let mut ends = [-1; 2];
    // SAFETY: an array of two, to be filled.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(errno());
    }
    let (ours, theirs, stands_for) = if writes { (ends[1], ends[0], 0) } else { (ends[0], ends[1], 1) };
    // SAFETY: all zeroes is a value to be initialised.
    let mut actions: libc::posix_spawn_file_actions_t = unsafe { std::mem::zeroed() };
    // SAFETY: initialised before it is used, and given back once; the descriptors are ours.
    let child = unsafe {
        libc::posix_spawn_file_actions_init(&raw mut actions);
        libc::posix_spawn_file_actions_adddup2(&raw mut actions, theirs, stands_for);
        let child = start(command, &raw const actions);
        libc::posix_spawn_file_actions_destroy(&raw mut actions);
        libc::close(theirs);
        child
    };
    let stream = child.map(|child| {
        // SAFETY: a descriptor of ours, which the stream takes over.
        let stream = unsafe { libc::fdopen(ours, if writes { c"w".as_ptr() } else { c"r".as_ptr() }) };
        if !closes {
            // SAFETY: F_SETFD takes an int.
            unsafe { libc::fcntl(ours, libc::F_SETFD, 0) };
        }
        (stream, child)
    });
    match stream {
        Ok((stream, child)) if !stream.is_null() => {
            streams().push((stream as usize, child));
            Ok(stream)
        }
        result => {
            let error = result.map_or_else(|error| error, |_| errno());
            // SAFETY: a descriptor of ours that nothing has taken over.
            unsafe { libc::close(ours) };
            Err(error)
        }
    }
}

extern "C" fn pclose(stream: *mut libc::FILE) -> c_int {
    let mut all = streams();
    let at = all.iter().position(|(known, _)| *known == stream as usize);
    let child = at.map(|at| all.swap_remove(at).1);
    drop(all);
    let Some(child) = child else {
        // SAFETY: passed on as the guest called it.
        return unsafe { libc::pclose(stream) };
    };
    // SAFETY: a stream of `open`, given back once.
    unsafe { libc::fclose(stream) };
    wait_for(child)
}

/// forkpty(3) of its parts, so that the child is one of the guards'.
extern "C" fn forkpty(
    master: *mut c_int,
    name: *mut c_char,
    terminal: *const libc::termios,
    size: *const libc::winsize,
) -> libc::pid_t {
    let (mut own, mut childs) = (-1, -1);
    // SAFETY: two places of ours, the rest as the guest called it.
    if unsafe { libc::openpty(&raw mut own, &raw mut childs, name, terminal, size) } != 0 {
        return -1;
    }
    let child = fork();
    // SAFETY: the descriptors of openpty, each closed or given away once; `master` is the caller's variable.
    unsafe {
        match child {
            0 => {
                libc::close(own);
                if libc::login_tty(childs) != 0 {
                    libc::_exit(1);
                }
            }
            -1 => {
                let error = errno();
                libc::close(own);
                libc::close(childs);
                set_errno(error);
            }
            _ => {
                libc::close(childs);
                *master = descriptors::opened(own);
            }
        }
    }
    child
}

/// It would end the host's process, and go on without its threads.
extern "C" fn daemon(stay: c_int, keep_open: c_int) -> c_int {
    if in_child() {
        // SAFETY: passed on as the guest called it, in its own child.
        return unsafe { libc::daemon(stay, keep_open) };
    }
    set_errno(libc::EPERM);
    -1
}

/// For a child that nobody will ask about any more.
#[cfg(test)]
fn gone(child: libc::pid_t) -> bool {
    waitpid(child, std::ptr::null_mut(), libc::WNOHANG) == -1
}

#[cfg(test)]
mod tests {
    use super::super::guards::all;
    use super::super::signals;
    use super::*;

    /// What is blocked in a shell that `popen` starts, as the kernel tells.
    fn blocked() -> u64 {
        // The shell itself reads it: dash unblocks all for what it starts.
        let command =
            c"while read a b; do case $a in SigBlk:) echo $a $b;; esac; done < /proc/self/status; exit 3";
        let stream = popen(command.as_ptr(), c"re".as_ptr());
        assert!(!stream.is_null());
        let mut line = [0u8; 100];
        // SAFETY: an open stream and a buffer of that size.
        assert!(!unsafe { libc::fgets(line.as_mut_ptr().cast(), 100, stream) }.is_null());
        assert_eq!(libc::WEXITSTATUS(pclose(stream)), 3);
        let text = String::from_utf8_lossy(&line);
        let digits = text.split_whitespace().nth(1).expect("a mask");
        u64::from_str_radix(digits.trim_end_matches('\0'), 16).expect("a number")
    }

    #[test]
    fn a_shell_is_born_with_what_the_guest_has_blocked() {
        all();
        std::thread::spawn(|| {
            signals::set_mask(signals::Mask::MAX);
            assert_eq!(blocked(), 0);
            signals::believe(1 << (libc::SIGUSR2 - 1));
            assert_eq!(blocked(), 1 << (libc::SIGUSR2 - 1));
        })
        .join()
        .expect("joined");
    }

    #[test]
    fn system_tells_how_the_shell_ended() {
        all();
        assert_eq!(libc::WEXITSTATUS(system(c"exit 5".as_ptr())), 5);
        assert_eq!(libc::WTERMSIG(system(c"kill -TERM $$".as_ptr())), libc::SIGTERM);
        assert_eq!(system(std::ptr::null()), 1);
        let child = start(c"true".as_ptr(), std::ptr::null()).expect("started");
        assert_eq!(wait_for(child), 0);
        assert!(gone(child));
        assert_eq!((daemon(0, 0), errno()), (-1, libc::EPERM));
    }
}
