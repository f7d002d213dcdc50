//! Guards: functions that take the place of libc's in the guest's slots, where libc's would act on the whole process.
//!
//! A forked child of the guest is a process of its own (libuv resets signals there, then calls exec), so every guard
//! passes its call on to libc in a child.
//!
//! # Safety
//! The guards have the signatures of the libc functions they replace and are called by the guest's code with arguments
//! that libc would accept. Variadic libc functions are replaced by functions with a fixed third argument: the psABIs
//! of x86-64 and AArch64 Linux pass it in the same register.

use super::lifecycle;
use super::remains;
use super::signals::{self, Effect};
use crate::address::RunAddr;
use crate::plan::Guard;
use std::cell::Cell;
use std::ffi::{c_char, c_int, c_long, c_uint, c_ulong, c_void};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicU8, Ordering};

thread_local! {
    static OF_THE_GUEST: Cell<bool> = const { Cell::new(false) };
    static MADE_FOR_THE_GUEST: Cell<bool> = const { Cell::new(false) };
}

/// The process in which the guest runs; a forked child has another number.
static PROCESS: AtomicI32 = AtomicI32::new(0);

/// All guards, for the plan. To be called in the process in which the guest will run.
pub fn all() -> Vec<Guard> {
    PROCESS.store(own_process(), Ordering::Relaxed);
    let guard = |symbol, function: *const (), keeps| Guard {
        symbol,
        address: RunAddr(function as usize as u64),
        keeps,
    };
    vec![
        guard("exit", exit as *const (), "exit() ends the guest, not the host"),
        guard("_exit", exit_now as *const (), "_exit() ends the guest, not the host"),
        guard("abort", abort as *const (), "abort() ends the guest, not the host"),
        guard("__assert_fail", assert_fail as *const (), "a failed assertion ends the guest, not the host"),
        guard("kill", kill as *const (), "a signal that the guest sends to itself reaches the guest only"),
        guard("raise", raise as *const (), "a signal that the guest sends to itself reaches the guest only"),
        guard("sigaction", sigaction as *const (), "the host's signal dispositions stay as they are"),
        guard("signal", signal as *const (), "the host's signal dispositions stay as they are"),
        guard("fork", fork as *const (), "the guest learns of its children without the host's SIGCHLD"),
        guard("ioctl", ioctl as *const (), "the host's standard streams keep their blocking mode"),
        guard("read", read as *const (), "the host's standard streams keep their blocking mode"),
        guard("dup2", dup2 as *const (), "the host's standard streams stay what they are"),
        guard("dup3", dup3 as *const (), "the host's standard streams stay what they are"),
        guard("getenv", getenv as *const (), "a channel that a parent opened to the host stays the host's"),
        guard(
            "secure_getenv",
            getenv as *const (),
            "a channel that a parent opened to the host stays the host's",
        ),
        guard("fcntl", fcntl as *const (), "the host's standard streams keep their blocking mode"),
        guard("fcntl64", fcntl as *const (), "the host's standard streams keep their blocking mode"),
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
            "pthread_create",
            remains::pthread_create as *const (),
            "threads of the guest are known as such",
        ),
    ]
}

/// Whether the calling thread belongs to the guest.
pub fn is_guest_thread() -> bool {
    OF_THE_GUEST.try_with(Cell::get).unwrap_or(false)
}

/// Whether the calling thread is none of the host's, whoever's code it runs at the moment. One that is past its thread-local
/// storage is no host's that ticks a guest.
pub fn was_made_for_the_guest() -> bool {
    MADE_FOR_THE_GUEST.try_with(Cell::get).unwrap_or(true)
}

/// Marks the calling thread as one of the guest's.
pub fn enter_guest_thread() {
    // A thread that is past its thread-local storage runs nothing of the guest any more.
    let _ = OF_THE_GUEST.try_with(|cell| cell.set(true));
    let _ = MADE_FOR_THE_GUEST.try_with(|cell| cell.set(true));
}

/// What scripts may not do, whatever they try: bits of [`DISALLOWED`].
const CHILDREN: u8 = 1;
const ADD_ONS: u8 = 2;
static DISALLOWED: AtomicU8 = AtomicU8::new(0);

/// Withholds `child_process` and `addons` from the guest that comes next; other names mean nothing here.
pub fn disallow(names: &[String]) {
    let bit = |name: &String| match name.as_str() {
        "child_process" => CHILDREN,
        "addons" => ADD_ONS,
        _ => 0,
    };
    DISALLOWED.store(names.iter().map(bit).fold(0, |all, bit| all | bit), Ordering::Relaxed);
}

/// Whether the guest may load add-ons.
pub fn may_load_add_ons() -> bool {
    DISALLOWED.load(Ordering::Relaxed) & ADD_ONS == 0
}

/// Runs `work` as a thread of the guest's: what V8 posts meanwhile is the guest's.
pub fn as_guest<T>(work: impl FnOnce() -> T) -> T {
    as_whose(true, work)
}

/// Runs `work` of the host's that the guest has called.
pub fn as_host<T>(work: impl FnOnce() -> T) -> T {
    as_whose(false, work)
}

fn as_whose<T>(guests: bool, work: impl FnOnce() -> T) -> T {
    struct Back(bool);
    impl Drop for Back {
        fn drop(&mut self) {
            let _ = OF_THE_GUEST.try_with(|cell| cell.set(self.0));
        }
    }
    let _back = Back(OF_THE_GUEST.try_with(|cell| cell.replace(guests)).unwrap_or(false));
    work()
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

/// Whether kill(2) with this first argument means several processes, the host among them.
fn includes_the_host(process: libc::pid_t) -> bool {
    // SAFETY: getpgrp has no preconditions.
    process == 0 || process == -1 || process == -unsafe { libc::getpgrp() }
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
        lifecycle::stop("signal", 128 + number, &format!("the guest sent itself signal {number}"));
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

extern "C" fn fork() -> libc::pid_t {
    if DISALLOWED.load(Ordering::Relaxed) & CHILDREN != 0 {
        set_errno(libc::EPERM);
        return -1;
    }
    remember_streams();
    // SAFETY: as the guest asked; libuv calls only async-signal-safe functions in the child.
    let child = unsafe { libc::fork() };
    if child > 0 {
        watch_child(child);
    }
    child
}

/// Delivers SIGCHLD to the guest when its child has ended, which leaves the child to be reaped by the guest.
fn watch_child(child: libc::pid_t) {
    const STACK: usize = 64 * 1024;
    let watcher = std::thread::Builder::new().name("relink-child".into()).stack_size(STACK);
    let spawned = watcher.spawn(move || {
        loop {
            // SAFETY: all zeroes is a valid siginfo_t.
            let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
            let options = libc::WEXITED | libc::WNOWAIT;
            // SAFETY: `info` is filled; WNOWAIT leaves the child as it is.
            let result = unsafe { libc::waitid(libc::P_PID, child as libc::id_t, &raw mut info, options) };
            if result == 0 || errno() != libc::EINTR {
                break;
            }
        }
        signals::deliver(libc::SIGCHLD);
    });
    if spawned.is_err() {
        crate::report::log::tell(
            crate::report::log::Level::Warn,
            &format!("no thread to watch the guest's child {child}: its end will not be seen"),
        );
    }
}

/// The standard streams are open file descriptions that the host shares, with a child of the guest that inherits them,
/// too; their flags are the host's own. What else a child has in their places is the guest's.
fn is_standard_stream(fd: c_int) -> bool {
    (0..=2).contains(&fd) && (!in_child() || is_inherited(fd))
}

/// Device and inode of the host's standard streams at the guest's last fork(2).
static STREAMS: [[AtomicU64; 2]; 3] = [const { [const { AtomicU64::new(0) }; 2] }; 3];

fn remember_streams() {
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

extern "C" fn ioctl(fd: c_int, request: c_ulong, argument: *mut c_void) -> c_int {
    if request == libc::FIONBIO as c_ulong && is_standard_stream(fd) {
        // SAFETY: FIONBIO's argument is an int of the caller's.
        let on = !argument.is_null() && unsafe { *argument.cast::<c_int>() } != 0;
        believes_non_blocking(fd).store(on, Ordering::Relaxed);
        return 0;
    }
    // SAFETY: passed on as the guest called it.
    unsafe { libc::ioctl(fd, request, argument) }
}

extern "C" fn fcntl(fd: c_int, command: c_int, argument: c_long) -> c_int {
    if command == libc::F_SETFL && is_standard_stream(fd) {
        let on = argument & c_long::from(libc::O_NONBLOCK) != 0;
        believes_non_blocking(fd).store(on, Ordering::Relaxed);
        return 0;
    }
    // SAFETY: passed on as the guest called it.
    unsafe { libc::fcntl(fd, command, argument) }
}

/// Whether the guest believes to have made this standard stream non-blocking.
fn believes_non_blocking(stream: c_int) -> &'static AtomicBool {
    static STREAMS: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];
    &STREAMS[stream.clamp(0, 2) as usize]
}

/// A stream that the guest believes to be non-blocking answers as such, so that reading all there is does not hold the
/// guest's event loop.
extern "C" fn read(fd: c_int, buffer: *mut c_void, size: usize) -> isize {
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
extern "C" fn dup2(from: c_int, to: c_int) -> c_int {
    if is_standard_stream(to) && !in_child() {
        return to;
    }
    // SAFETY: passed on as the guest called it.
    unsafe { libc::dup2(from, to) }
}

extern "C" fn dup3(from: c_int, to: c_int, flags: c_int) -> c_int {
    if is_standard_stream(to) && !in_child() {
        return to;
    }
    // SAFETY: passed on as the guest called it.
    unsafe { libc::dup3(from, to, flags) }
}

/// Which of the two names of a channel were looked for.
static LOOKED_FOR: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];

/// When Node starts it looks once for a channel that a parent opened to it, and takes it over; but this one was opened to
/// the host. So the first look finds nothing. Later ones see what is there: the names stand in the environment, and
/// what lists it (a Worker that clones it) must find a value for each.
extern "C" fn getenv(name: *const c_char) -> *mut c_char {
    const OF_THE_HOST: [&[u8]; 2] = [b"NODE_CHANNEL_FD", b"NODE_UNIQUE_ID"];
    if !name.is_null() {
        // SAFETY: a NUL-terminated name, as getenv wants it.
        let wanted = unsafe { std::ffi::CStr::from_ptr(name) }.to_bytes();
        let index = OF_THE_HOST.iter().position(|n| *n == wanted);
        if index.is_some_and(|i| !LOOKED_FOR[i].swap(true, Ordering::Relaxed)) {
            return std::ptr::null_mut();
        }
    }
    // SAFETY: passed on as the guest called it.
    unsafe { libc::getenv(name) }
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
    (0..=2).for_each(|stream| believes_non_blocking(stream).store(false, Ordering::Relaxed));
    signals::forget();
    disallow(&[]);
}

fn set_errno(value: c_int) {
    // SAFETY: the address of this thread's errno.
    unsafe { *libc::__errno_location() = value };
}

fn errno() -> c_int {
    // SAFETY: the address of this thread's errno.
    unsafe { *libc::__errno_location() }
}

#[cfg(test)]
mod tests {
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
    fn a_childs_own_streams_are_told_from_the_hosts() {
        remember_streams();
        assert!((0..=2).all(is_inherited));
        let pipe = std::io::pipe().expect("a pipe");
        assert!(!is_inherited(std::os::fd::AsRawFd::as_raw_fd(&pipe.0)));
        assert!(!is_inherited(-1));
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
        assert_eq!(kill(0, 999), -1);
        assert_eq!(errno(), libc::EINVAL);
        assert_eq!(signal(libc::SIGKILL, libc::SIG_IGN), libc::SIG_ERR);
    }
}
