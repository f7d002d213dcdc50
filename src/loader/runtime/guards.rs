//! Guards: functions that take the place of libc's in the guest's slots, where libc's would act on the whole process.
//!
//! A forked child of the guest is a process of its own (libuv resets signals there, then calls exec), so every guard
//! passes its call on to libc in a child.
//!
//! # Safety
//! The guards have the signatures of the libc functions they replace and are called by the guest's code with arguments
//! that libc would accept. Variadic libc functions are replaced by functions with a fixed third argument: the psABIs
//! of x86-64 and AArch64 Linux pass it in the same register.

use super::children;
use super::descriptors;
use super::family;
use super::keys;
use super::lifecycle;
use super::protected;
use super::remains;
use super::runner;
use super::shell;
use super::signals::{self, Effect};
use super::streams;
use super::terminals;
use super::variables;
use crate::plan::Guard;
use relink_elf::address::RunAddr;
use std::ffi::{c_char, c_int, c_uint, c_void};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// The process in which the guest runs; a forked child has another number.
static PROCESS: AtomicI32 = AtomicI32::new(0);

/// All guards, for the plan. To be called in the process in which the guest will run.
pub fn all() -> Vec<Guard> {
    PROCESS.store(own_process(), Ordering::Relaxed);
    streams::look();
    children::watch_forks();
    variables::take();
    let guard = |symbol, function: *const (), keeps| Guard {
        symbol,
        address: RunAddr(function as usize as u64),
        keeps,
    };
    let others = vec![
        guard("exit", exit as *const (), "exit() ends the guest, not the host"),
        guard("_exit", exit_now as *const (), "_exit() ends the guest, not the host"),
        guard("abort", abort as *const (), "abort() ends the guest, not the host"),
        guard("__assert_fail", assert_fail as *const (), "a failed assertion ends the guest, not the host"),
        guard("kill", kill as *const (), "a signal that the guest sends to itself reaches the guest only"),
        guard(
            "killpg",
            killpg as *const (),
            "a signal to the host's group of processes does not reach the host",
        ),
        guard("raise", raise as *const (), "a signal that the guest sends to itself reaches the guest only"),
        guard("sigaction", sigaction as *const (), "the host's signal dispositions stay as they are"),
        guard("signal", signal as *const (), "the host's signal dispositions stay as they are"),
        guard(
            "pthread_sigmask",
            signals::pthread_sigmask as *const (),
            "signals for the process stay the host's",
        ),
        guard("sigprocmask", signals::sigprocmask as *const (), "signals for the process stay the host's"),
        guard("ioctl", streams::ioctl as *const (), "the host's standard streams keep their blocking mode"),
        guard(
            "tcsetattr",
            terminals::tcsetattr as *const (),
            "the host's terminal is as before when the guest has ended",
        ),
        guard("read", streams::read as *const (), "the host's standard streams keep their blocking mode"),
        guard("dup2", streams::dup2 as *const (), "the host's standard streams stay what they are"),
        guard("dup3", streams::dup3 as *const (), "the host's standard streams stay what they are"),
        guard("close", streams::close as *const (), "the host's standard streams stay open"),
        guard("syscall", streams::syscall as *const (), "the host's standard streams stay open"),
        guard("getenv", getenv as *const (), "a channel that a parent opened to the host stays the host's"),
        guard(
            "secure_getenv",
            secure_getenv as *const (),
            "a channel that a parent opened to the host stays the host's",
        ),
        guard("fcntl", streams::fcntl as *const (), "the host's standard streams keep their blocking mode"),
        guard("fcntl64", streams::fcntl as *const (), "the host's standard streams keep their blocking mode"),
        guard("setrlimit64", setrlimit64 as *const (), "the host's resource limits stay as they are"),
        guard(
            "__cxa_atexit",
            remains::cxa_atexit as *const (),
            "the guest's destructors run when it is unloaded, and not in the host's exit()",
        ),
        guard(
            "__cxa_thread_atexit",
            remains::cxa_thread_atexit as *const (),
            "the guest's thread-local variables on a thread of the host's go when it is unloaded",
        ),
        guard(
            "pthread_exit",
            pthread_exit as *const (),
            "an initialiser on a thread of the host's does not end that",
        ),
        guard(
            "pthread_create",
            remains::pthread_create as *const (),
            "threads of the guest are known as such",
        ),
    ];
    let more = [children::guards(), family::guards(), shell::guards(), variables::guards(), runner::guards()];
    [others, more.concat(), descriptors::guards(), keys::guards()].concat()
}

fn own_process() -> i32 {
    // SAFETY: getpid has no preconditions.
    unsafe { libc::getpid() }
}

/// Whether this is a forked child, which is not the host.
pub fn in_child() -> bool {
    own_process() != PROCESS.load(Ordering::Relaxed)
}

extern "C" fn exit(code: c_int) {
    if in_child() {
        // SAFETY: as the guest asked, in its own child.
        unsafe { libc::exit(code) }
    }
    lifecycle::abandon("exit", code, "exit() was called outside of process.exit()");
}

extern "C" fn exit_now(code: c_int) {
    if in_child() {
        // SAFETY: as the guest asked, in its own child.
        unsafe { libc::_exit(code) }
    }
    lifecycle::abandon("exit", code, "_exit() was called");
}

extern "C" fn abort() {
    if in_child() {
        // SAFETY: as the guest asked, in its own child.
        unsafe { libc::abort() }
    }
    lifecycle::abandon("abort", 128 + libc::SIGABRT, "Node aborted");
}

extern "C-unwind" {
    #[link_name = "pthread_exit"]
    fn end_thread(value: *mut c_void) -> !;
}

/// A thread whose caller goes on without what it calls is not the guest's to end.
extern "C-unwind" fn pthread_exit(value: *mut c_void) {
    if protected::is_here() && !in_child() {
        lifecycle::abandon("exit", 0, "pthread_exit() was called");
    }
    // SAFETY: as the guest asked, on its own thread; nothing of this frame is left to be dropped.
    unsafe { end_thread(value) }
}

extern "C" fn assert_fail(what: *const c_char, file: *const c_char, line: c_uint, _function: *const c_char) {
    let text = |p: *const c_char| {
        if p.is_null() {
            return String::new();
        }
        // SAFETY: not null; assert() passes string literals.
        unsafe { std::ffi::CStr::from_ptr(p) }.to_string_lossy().into_owned()
    };
    lifecycle::abandon(
        "abort",
        128 + libc::SIGABRT,
        &format!("{}:{line}: assertion {} failed", text(file), text(what)),
    );
}

extern "C" fn kill(process: libc::pid_t, number: c_int) -> c_int {
    if number != 0 && !in_child() && includes_the_host(process) {
        set_errno(if signals::exchange(number, None).is_some() { libc::EPERM } else { libc::EINVAL });
        return -1;
    }
    if number == 0 || process != own_process() || in_child() {
        // SAFETY: another process, an existence check, or the guest's own child: the guest's right.
        return unsafe { libc::kill(process, number) };
    }
    to_the_guest(number)
}

extern "C" fn killpg(group: libc::pid_t, number: c_int) -> c_int {
    if group < 0 {
        set_errno(libc::EINVAL);
        return -1;
    }
    // So POSIX has it; libc's does the same.
    kill(-group, number)
}

/// Whether kill(2) with this first argument means several processes, the host among them.
fn includes_the_host(process: libc::pid_t) -> bool {
    process == 0 || process == -1 || process == -own_group()
}

fn own_group() -> i32 {
    // SAFETY: getpgrp has no preconditions.
    unsafe { libc::getpgrp() }
}

extern "C" fn raise(number: c_int) -> c_int {
    if in_child() {
        // SAFETY: as the guest asked, in its own child.
        return unsafe { libc::raise(number) };
    }
    to_the_guest(number)
}

fn to_the_guest(number: c_int) -> c_int {
    if signals::exchange(number, None).is_none() {
        set_errno(libc::EINVAL);
        return -1;
    }
    if signals::deliver(number) == Effect::EndsGuest {
        lifecycle::stop_here("signal", 128 + number, &format!("the guest sent itself signal {number}"));
    }
    0
}

extern "C" fn sigaction(number: c_int, new: *const libc::sigaction, old: *mut libc::sigaction) -> c_int {
    if in_child() {
        // SAFETY: as the guest asked, in its own child.
        return unsafe { libc::sigaction(number, new, old) };
    }
    // SAFETY: null, or a valid structure of the caller's.
    let wanted = (!new.is_null()).then(|| unsafe { *new });
    let possible = wanted.is_none() || signals::can_be_handled(number);
    let Some(before) = possible.then(|| signals::exchange(number, wanted)).flatten() else {
        set_errno(libc::EINVAL);
        return -1;
    };
    if !old.is_null() {
        // SAFETY: not null; the caller's structure to be filled.
        unsafe { *old = before };
    }
    0
}

extern "C" fn signal(number: c_int, handler: libc::sighandler_t) -> libc::sighandler_t {
    if in_child() {
        // SAFETY: as the guest asked, in its own child.
        return unsafe { libc::signal(number, handler) };
    }
    // SAFETY: all zeroes is a valid sigaction.
    let mut wanted: libc::sigaction = unsafe { std::mem::zeroed() };
    wanted.sa_sigaction = handler;
    wanted.sa_flags = libc::SA_RESTART;
    if !signals::can_be_handled(number) {
        set_errno(libc::EINVAL);
        return libc::SIG_ERR;
    }
    signals::exchange(number, Some(wanted)).map_or(libc::SIG_ERR, |before| before.sa_sigaction)
}

/// Which of the two names of a channel were looked for.
static LOOKED_FOR: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];

/// When Node starts it looks once for a channel that a parent opened to it, and takes it over; but this one was opened to
/// the host. So the first look finds nothing. Later ones see what is there: the names stand in the environment, and
/// what lists it (a Worker that clones it) must find a value for each.
extern "C" fn getenv(name: *const c_char) -> *mut c_char {
    if name.is_null() || is_first_look(name) {
        return std::ptr::null_mut();
    }
    // SAFETY: a NUL-terminated name, as getenv(3) wants it.
    variables::find(unsafe { std::ffi::CStr::from_ptr(name) })
}

/// The same, where libc's finds nothing if the program has rights that its user has not.
extern "C" fn secure_getenv(name: *const c_char) -> *mut c_char {
    // SAFETY: getauxval has no preconditions.
    if unsafe { libc::getauxval(libc::AT_SECURE) } != 0 {
        return std::ptr::null_mut();
    }
    getenv(name)
}

fn is_first_look(name: *const c_char) -> bool {
    const OF_THE_HOST: [&[u8]; 2] = [b"NODE_CHANNEL_FD", b"NODE_UNIQUE_ID"];
    if name.is_null() {
        return false;
    }
    // SAFETY: a NUL-terminated name, as getenv wants it.
    let wanted = unsafe { std::ffi::CStr::from_ptr(name) }.to_bytes();
    let index = OF_THE_HOST.iter().position(|n| *n == wanted);
    index.is_some_and(|i| !LOOKED_FOR[i].swap(true, Ordering::Relaxed))
}

extern "C" fn setrlimit64(resource: libc::__rlimit_resource_t, limit: *const libc::rlimit64) -> c_int {
    if in_child() {
        // SAFETY: as the guest asked, in its own child.
        return unsafe { libc::setrlimit64(resource, limit) };
    }
    0
}

/// The guest was unloaded: the next one starts as the first one did.
pub fn forget_guest() {
    LOOKED_FOR.iter().for_each(|looked| looked.store(false, Ordering::Relaxed));
    streams::forget();
    signals::forget();
    family::forget();
    variables::forget();
}

pub(super) fn set_errno(value: c_int) {
    // SAFETY: the address of this thread's errno.
    unsafe { *libc::__errno_location() = value };
}

pub(super) fn errno() -> c_int {
    // SAFETY: the address of this thread's errno.
    unsafe { *libc::__errno_location() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_of_the_hosts_is_found_at_the_second_look() {
        LOOKED_FOR[0].store(false, Ordering::Relaxed);
        assert!(is_first_look(c"NODE_CHANNEL_FD".as_ptr()));
        assert!(!is_first_look(c"NODE_CHANNEL_FD".as_ptr()));
        assert!(!is_first_look(c"PATH".as_ptr()));
        let found = |get: extern "C" fn(*const c_char) -> *mut c_char| !get(c"PATH".as_ptr()).is_null();
        assert!(found(getenv) && found(secure_getenv));
        let guard = |name| all().into_iter().find(|g| g.symbol == name).map(|g| g.address);
        assert_ne!(
            guard("getenv"),
            guard("secure_getenv"),
            "the secure one finds nothing where libc's does not"
        );
    }

    #[test]
    fn limits_and_bad_signals() {
        all();
        // SAFETY: all zeroes is a valid rlimit64, filled by the call.
        let mut before: libc::rlimit64 = unsafe { std::mem::zeroed() };
        // SAFETY: as above.
        unsafe { libc::getrlimit64(libc::RLIMIT_NOFILE, &raw mut before) };
        let other = libc::rlimit64 { rlim_cur: before.rlim_cur - 1, ..before };
        assert_eq!(setrlimit64(libc::RLIMIT_NOFILE, &raw const other), 0);
        let mut after = other;
        // SAFETY: as above.
        unsafe { libc::getrlimit64(libc::RLIMIT_NOFILE, &raw mut after) };
        assert_eq!(after.rlim_cur, before.rlim_cur);
        assert_eq!(kill(own_process(), 99), -1);
        assert_eq!(errno(), libc::EINVAL);
        assert_eq!(kill(own_process(), 0), 0);
        assert_eq!(kill(0, libc::SIGTERM), -1);
        assert_eq!(errno(), libc::EPERM);
        for group in [0, 1, own_group()] {
            assert_eq!((killpg(group, libc::SIGTERM), errno()), (-1, libc::EPERM), "{group}");
        }
        assert_eq!((killpg(-1, libc::SIGTERM), errno()), (-1, libc::EINVAL));
        assert_eq!(killpg(own_group(), 0), 0, "an existence check");
        assert_eq!(kill(0, 999), -1);
        assert_eq!(errno(), libc::EINVAL);
        assert_eq!(signal(libc::SIGKILL, libc::SIG_IGN), libc::SIG_ERR);
    }
}
