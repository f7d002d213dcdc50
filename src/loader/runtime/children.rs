//! Guards for what starts other programs: the guest's own children become other programs and the host does not, and the guest
//! learns of their ends without the host's SIGCHLD.
//!
//! # Safety
//! As for the other guards ([`super::guards`]): signatures and arguments are those of the libc functions they replace.

use super::guards::{errno, in_child, set_errno};
use super::withheld::may_start_children;
use super::{signals, streams};
use crate::log::{self, Level};
use crate::plan::Guard;
use relink_elf::address::RunAddr;
use std::ffi::{c_char, c_int};

/// The guards, for the plan.
pub(super) fn guards() -> Vec<Guard> {
    let guard = |symbol, function: *const (), keeps| Guard {
        symbol,
        address: RunAddr(function as usize as u64),
        keeps,
    };
    let quietly = "the guest learns of its children without the host's SIGCHLD";
    vec![
        guard("execve", execve as *const (), "the host's program stays the process's"),
        guard("fork", fork as *const (), quietly),
        guard("vfork", fork as *const (), quietly),
        guard("posix_spawn", posix_spawn as *const (), quietly),
        guard("posix_spawnp", posix_spawnp as *const (), quietly),
    ]
}

extern "C" fn execve(
    path: *const c_char,
    arguments: *const *const c_char,
    environment: *const *const c_char,
) -> c_int {
    if !in_child() {
        set_errno(libc::EPERM);
        return -1;
    }
    // SAFETY: passed on as the guest called it, in its own child.
    unsafe { libc::execve(path, arguments, environment) }
}

extern "C" fn fork() -> libc::pid_t {
    let child = start(|| {
        // SAFETY: as the guest asked; libuv calls only async-signal-safe functions in the child.
        let child = unsafe { libc::fork() };
        if child < 0 {
            Err(errno())
        } else {
            Ok(child)
        }
    });
    child.unwrap_or_else(|error| {
        set_errno(error);
        -1
    })
}

/// `posix_spawn` and `posix_spawnp`, which looks for the program in `PATH`. libuv starts children so from 1.53 on. Unlike
/// fork(2), they return the error, and 0 for none.
macro_rules! spawn {
    ($name:ident) => {
        extern "C" fn $name(
            child: *mut libc::pid_t,
            program: *const c_char,
            actions: *const libc::posix_spawn_file_actions_t,
            attributes: *const libc::posix_spawnattr_t,
            arguments: *const *mut c_char,
            environment: *const *mut c_char,
        ) -> c_int {
            let started = start(|| {
                let mut number = 0;
                let place = &raw mut number;
                // SAFETY: passed on as the guest called it, but for the place of the number, which is ours.
                match unsafe { libc::$name(place, program, actions, attributes, arguments, environment) } {
                    0 => Ok(number),
                    error => Err(error),
                }
            });
            if let (Ok(number), false) = (&started, child.is_null()) {
                // SAFETY: the caller's variable, as posix_spawn(3) wants it.
                unsafe { *child = *number };
            }
            started.err().unwrap_or(0)
        }
    };
}
spawn!(posix_spawn);
spawn!(posix_spawnp);

/// Starts a child by `work` and watches it. 0: this is the child. The error is an errno.
fn start(work: impl FnOnce() -> Result<libc::pid_t, c_int>) -> Result<libc::pid_t, c_int> {
    if !may_start_children() {
        return Err(libc::EPERM);
    }
    streams::remember();
    let child = work()?;
    if child > 0 {
        watch(child);
    }
    Ok(child)
}

/// Delivers SIGCHLD to the guest when its child has ended, which leaves the child to be reaped by the guest.
fn watch(child: libc::pid_t) {
    const STACK: usize = 64 * 1024;
    let watcher = std::thread::Builder::new().name("relink-child".into()).stack_size(STACK);
    let watched = watcher.spawn(move || {
        wait_for(child);
        signals::deliver(libc::SIGCHLD);
    });
    if watched.is_err() {
        let line = format!("no thread to watch the guest's child {child}: its end will not be seen");
        log::tell(Level::Warn, &line);
    }
}

fn wait_for(child: libc::pid_t) {
    loop {
        // SAFETY: all zeroes is a valid siginfo_t.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let options = libc::WEXITED | libc::WNOWAIT;
        // SAFETY: `info` is filled; WNOWAIT leaves the child as it is.
        let result = unsafe { libc::waitid(libc::P_PID, child as libc::id_t, &raw mut info, options) };
        if result == 0 || errno() != libc::EINTR {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::guards::all;
    use super::*;

    #[test]
    fn the_program_stays() {
        all();
        let arguments = [c"/bin/false".as_ptr(), std::ptr::null()];
        assert_eq!(execve(arguments[0], arguments.as_ptr(), arguments[1..].as_ptr()), -1);
        assert_eq!(errno(), libc::EPERM);
    }

    /// How a child ended that one of the guards started; an errno if it was not.
    fn end_of(spawn: Spawn, program: &std::ffi::CStr) -> Result<c_int, c_int> {
        let arguments = [program.as_ptr().cast_mut(), std::ptr::null_mut()];
        let mut child = 0;
        let (none, no_attributes) = (std::ptr::null(), std::ptr::null());
        let error =
            spawn(&raw mut child, program.as_ptr(), none, no_attributes, arguments.as_ptr(), &arguments[1]);
        if error != 0 {
            return Err(error);
        }
        let mut status = 0;
        // SAFETY: a child of this test's, reaped once.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        Ok(libc::WEXITSTATUS(status))
    }

    type Spawn = extern "C" fn(
        *mut libc::pid_t,
        *const c_char,
        *const libc::posix_spawn_file_actions_t,
        *const libc::posix_spawnattr_t,
        *const *mut c_char,
        *const *mut c_char,
    ) -> c_int;

    #[test]
    fn children_are_started_and_their_errors_told() {
        all();
        assert_eq!(end_of(posix_spawn, c"/bin/false"), Ok(1));
        assert_eq!(end_of(posix_spawnp, c"true"), Ok(0));
        assert_eq!(end_of(posix_spawn, c"/nowhere/at/all"), Err(libc::ENOENT));
        let child = fork();
        if child == 0 {
            // SAFETY: the forked child, which calls nothing else.
            unsafe { libc::_exit(7) }
        }
        let mut status = 0;
        // SAFETY: a child of this test's, reaped once.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(libc::WEXITSTATUS(status), 7);
    }
}
