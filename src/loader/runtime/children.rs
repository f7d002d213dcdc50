//! Guards for what starts other programs: the guest's own children become other programs and the host does not, and the guest
//! learns of their ends without the host's SIGCHLD.
//!
//! # Safety
//! As for the other guards ([`super::guards`]): signatures and arguments are those of the libc functions they replace.

use super::guards::{errno, in_child, set_errno};
use super::keeper::{self, Watch};
use super::withheld::may_start_children;
use super::{family, sanitizers, signals, streams, threads, variables};
use crate::log::{self, Level};
use crate::plan::Guard;
use relink_elf::address::RunAddr;
use std::cell::Cell;
use std::ffi::{c_char, c_int, c_short};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Once;

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
        guard("execv", execv as *const (), "the host's program stays the process's"),
        guard("execvp", execvp as *const (), "the host's program stays the process's"),
        guard("execvpe", execvpe as *const (), "the host's program stays the process's"),
        guard("fork", fork as *const (), quietly),
        guard("_Fork", fork as *const (), quietly),
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

/// As execve(2), with the environment of the process, or after a search in `PATH`.
extern "C" fn execv(path: *const c_char, arguments: *const *const c_char) -> c_int {
    execve(path, arguments, variables::pointer().cast())
}

extern "C" fn execvp(file: *const c_char, arguments: *const *const c_char) -> c_int {
    execvpe(file, arguments, variables::pointer().cast())
}

extern "C" fn execvpe(
    file: *const c_char,
    arguments: *const *const c_char,
    environment: *const *const c_char,
) -> c_int {
    if !in_child() {
        set_errno(libc::EPERM);
        return -1;
    }
    // SAFETY: passed on as the guest called it, in its own child.
    unsafe { libc::execvpe(file, arguments, environment) }
}

pub(super) extern "C" fn fork() -> libc::pid_t {
    start(forked).unwrap_or_else(|error| {
        set_errno(error);
        -1
    })
}

/// Forks, and holds the child back until there is a descriptor of it: by that the kernel tells how it ended, although the host may be faster to
/// reap it.
fn forked() -> Result<Started, c_int> {
    let mut ends = [-1; 2];
    // SAFETY: an array of two, to be filled.
    let held = unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } == 0;
    // SAFETY: as the guest asked; libuv calls only async-signal-safe functions in the child.
    let child = unsafe { libc::fork() };
    let (error, mut byte) = (errno(), 0u8);
    let place = (&raw mut byte).cast();
    let handle = if child > 0 { handle_of(child) } else { None };
    if held {
        // SAFETY: both ends are ours, here and in the child, and closed once; a byte of ours.
        unsafe {
            if child == 0 {
                libc::close(ends[1]);
                // Not its end, which a child of another thread's may have open: the byte.
                while libc::read(ends[0], place, 1) == -1 && errno() == libc::EINTR {}
                libc::close(ends[0]);
            } else {
                libc::write(ends[1], place.cast_const(), 1);
                libc::close(ends[0]);
                libc::close(ends[1]);
            }
        }
    }
    if child < 0 {
        return Err(error);
    }
    Ok((child, handle))
}

/// A child's number, 0 in the child itself, and a descriptor of it.
type Started = (libc::pid_t, Option<OwnedFd>);

thread_local! {
    /// A guard of this thread's starts a child, and sees to its mask.
    static STARTS: Cell<bool> = const { Cell::new(false) };
}

/// Has children of libraries that have no guards (what an add-on was linked with) start with the signals of plain Node's. The host's own
/// forks are left as they are.
pub(super) fn watch_forks() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        // SAFETY: the handler is a function of this library's, which is never unloaded.
        unsafe { libc::pthread_atfork(None, None, Some(in_a_forked_child)) };
    });
}

unsafe extern "C" fn in_a_forked_child() {
    if STARTS.try_with(Cell::get).unwrap_or(true) {
        return;
    }
    if threads::is_made_for_the_guest() {
        signals::set_mask(signals::believed_mask());
    } else if threads::is_guests() {
        // Around the guest's code the host's thread has SIGPIPE blocked.
        let pipe = signals::set_of(1 << (libc::SIGPIPE - 1));
        // SAFETY: a valid set; only this thread's mask is changed.
        unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const pipe, std::ptr::null_mut()) };
    }
}

/// The caller's attributes with the mask that the guest believes to have, unless they say which.
///
/// # Safety
/// `attributes` is null or initialised.
unsafe fn with_mask(attributes: *const libc::posix_spawnattr_t) -> libc::posix_spawnattr_t {
    const SET_MASK: c_short = libc::POSIX_SPAWN_SETSIGMASK as c_short;
    // SAFETY: promised by the caller. glibc's structure has values alone (spawn.h), so a copy of it is one, and all zeroes is what
    // posix_spawnattr_init(3) makes.
    let mut own = unsafe {
        if attributes.is_null() {
            std::mem::zeroed()
        } else {
            *attributes
        }
    };
    let mut flags = 0;
    let mask = signals::set_of(signals::believed_mask());
    // SAFETY: attributes of ours, a flag that there is, and a valid set.
    unsafe {
        libc::posix_spawnattr_getflags(&raw const own, &raw mut flags);
        if flags & SET_MASK == 0 {
            libc::posix_spawnattr_setflags(&raw mut own, flags | SET_MASK);
            libc::posix_spawnattr_setsigmask(&raw mut own, &raw const mask);
        }
    }
    own
}

/// `posix_spawn` and `posix_spawnp`, which looks for the program in `PATH`. libuv starts children so from 1.53 on. Unlike
/// fork(2), they return the error, and 0 for none.
macro_rules! spawn {
    ($name:ident) => {
        pub(super) extern "C" fn $name(
            child: *mut libc::pid_t,
            program: *const c_char,
            actions: *const libc::posix_spawn_file_actions_t,
            attributes: *const libc::posix_spawnattr_t,
            arguments: *const *mut c_char,
            environment: *const *mut c_char,
        ) -> c_int {
            // SAFETY: as posix_spawn(3) wants them.
            let own = unsafe { with_mask(attributes) };
            let attributes = &raw const own;
            let started = start(|| {
                let mut number = 0;
                let place = &raw mut number;
                // SAFETY: passed on as the guest called it, but for the place of the number, which is ours.
                match unsafe { libc::$name(place, program, actions, attributes, arguments, environment) } {
                    0 => Ok((number, handle_of(number))),
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

/// Starts a child by `work` and watches it. 0: this is the child, with the mask that the guest believes to have. The error is an errno.
fn start(work: impl FnOnce() -> Result<Started, c_int>) -> Result<libc::pid_t, c_int> {
    if !may_start_children() {
        return Err(libc::EPERM);
    }
    streams::remember();
    let kept = keeper::is_needed();
    let _ = STARTS.try_with(|starts| starts.set(true));
    let started = signals::all_blocked(|| match kept {
        true => keeper::start(|| work().map(|(child, _)| child)),
        false => work().map(|(child, handle)| (child, Watch::Direct(handle))),
    });
    let _ = STARTS.try_with(|starts| starts.set(false));
    let (child, by) = started?;
    if child > 0 {
        watch(child, by);
    } else {
        signals::set_mask(signals::believed_mask());
    }
    Ok(child)
}

/// Notes how the child ends, and delivers SIGCHLD to the guest then.
fn watch(child: libc::pid_t, by: Watch) {
    const STACK: usize = 64 * 1024;
    family::born(child, matches!(by, Watch::Direct(_)));
    let watcher = std::thread::Builder::new().name("relink-child".into()).stack_size(STACK);
    let watched = signals::blocked(|| {
        watcher.spawn(move || {
            sanitizers::leave_thread_unjudged();
            let end = match by {
                Watch::Kept(keeper) => keeper.await_end(),
                Watch::Direct(handle) => family::await_end(child, handle.as_ref().map(AsRawFd::as_raw_fd)),
            };
            family::ended(child, end.unwrap_or_else(|| lost(child)));
            signals::deliver(libc::SIGCHLD);
        })
    });
    if watched.is_err() {
        let line = format!("no thread to watch the guest's child {child}: its end will not be seen");
        log::tell(Level::Warn, &line);
    }
}

/// The host was faster, and how the child ended is not known. It must have an end, or the guest waits for ever.
fn lost(child: libc::pid_t) -> c_int {
    /// Of a status: the process has exited with 255.
    const UNKNOWN: c_int = 255 << 8;
    keeper::learn();
    let line = format!(
        "the host has waited for child {child} of the guest's, so how it ended is unknown: the guest is told exit code 255; later children are kept from the host"
    );
    log::tell(Level::Error, &line);
    UNKNOWN
}

/// A descriptor of a process (pidfd_open(2)), where the kernel has them.
fn handle_of(child: libc::pid_t) -> Option<OwnedFd> {
    // SAFETY: the call takes a number and flags.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, child, 0) };
    // SAFETY: a new descriptor, which is nobody else's.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd as c_int) })
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
        assert_eq!(family::waitpid(child, &raw mut status, 0), child);
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
        assert_eq!(family::waitpid(child, &raw mut status, 0), child);
        assert_eq!(libc::WEXITSTATUS(status), 7);
    }
}
