//! The guest's children, from their start until it has waited for them. The host may wait for any child (`waitpid(-1, ...)`), or have none
//! kept (SIGCHLD ignored): then the guest would never learn how its own ended. So the end of each is noted as soon as it is seen, and the
//! guest's waits are answered from here. They never see a child of the host's.
//!
//! # Safety
//! As for the other guards ([`super::guards`]): signatures and arguments are those of the libc functions they replace.

use super::guards::{errno, in_child, set_errno};
use crate::plan::Guard;
use relink_elf::address::RunAddr;
use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A status as wait(2) stores it.
pub(super) type Status = c_int;

/// A child of the guest's.
struct Child {
    /// Whether it is a child of this process, and not of a keeper's.
    direct: bool,
    end: Option<Status>,
}

static CHILDREN: Mutex<BTreeMap<libc::pid_t, Child>> = Mutex::new(BTreeMap::new());
/// Notified when one has ended.
static ENDED: Condvar = Condvar::new();

fn children() -> MutexGuard<'static, BTreeMap<libc::pid_t, Child>> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The guest has started a child.
pub(super) fn born(child: libc::pid_t, direct: bool) {
    children().insert(child, Child { direct, end: None });
}

/// It has ended so.
pub(super) fn ended(child: libc::pid_t, status: Status) {
    if let Some(child) = children().get_mut(&child) {
        child.end = Some(status);
    }
    ENDED.notify_all();
}

/// The guest is gone.
pub(super) fn forget() {
    children().clear();
}

/// The guards, for the plan.
pub(super) fn guards() -> Vec<Guard> {
    let keeps =
        "the guest learns of its own children's ends, whoever waits for them, and of none of the host's";
    let guard = |(symbol, function): (&'static str, *const ())| Guard {
        symbol,
        address: RunAddr(function as usize as u64),
        keeps,
    };
    let all = [
        ("wait", wait as *const ()),
        ("waitpid", waitpid as *const ()),
        ("wait3", wait3 as *const ()),
        ("wait4", wait4 as *const ()),
        ("waitid", waitid as *const ()),
    ];
    all.map(guard).into()
}

/// Which children a wait is for.
#[derive(Clone, Copy)]
enum Whom {
    One(libc::pid_t),
    Any,
    Group(libc::pid_t),
}

impl Whom {
    /// As waitpid(2) has it.
    fn of(pid: libc::pid_t) -> Self {
        match pid {
            -1 => Self::Any,
            // SAFETY: getpgrp has no preconditions.
            0 => Self::Group(unsafe { libc::getpgrp() }),
            pid if pid < 0 => Self::Group(pid.saturating_neg()),
            pid => Self::One(pid),
        }
    }

    fn includes(self, child: libc::pid_t) -> bool {
        match self {
            Self::One(pid) => pid == child,
            Self::Any => true,
            // SAFETY: a number of a process that may be gone, which is an error.
            Self::Group(group) => unsafe { libc::getpgid(child) == group },
        }
    }
}

/// What a wait comes to.
enum Found {
    /// This child has ended, or stopped or gone on, as its status says.
    Changed(libc::pid_t, Status),
    /// None has yet.
    Nothing,
    /// The guest has no such child.
    NoChild,
}

/// Looks once. `options` are waitpid(2)'s; with `keep` what is found can be waited for again.
fn look(whom: Whom, options: c_int, keep: bool, usage: *mut libc::rusage) -> Found {
    let mut all = children();
    let mut known = false;
    let numbers: Vec<_> = all.keys().copied().filter(|child| whom.includes(*child)).collect();
    for number in numbers {
        known = true;
        let Some(child) = all.get(&number) else { continue };
        match child.end {
            None if child.direct && options & (libc::WUNTRACED | libc::WCONTINUED) != 0 && !keep => {
                let (mut status, options) = (0, options & !libc::WEXITED | libc::WNOHANG);
                // SAFETY: a child of the guest's; the places are ours and the caller's.
                if unsafe { libc::wait4(number, &raw mut status, options, usage) } == number {
                    if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
                        all.remove(&number);
                    }
                    return Found::Changed(number, status);
                }
            }
            None => {}
            Some(status) if keep => return Found::Changed(number, status),
            Some(status) => {
                let (direct, mut own) = (child.direct, status);
                all.remove(&number);
                // SAFETY: a child of the guest's that has ended; the places are ours and the caller's. The host may have reaped it.
                let reaped =
                    direct && unsafe { libc::wait4(number, &raw mut own, libc::WNOHANG, usage) } == number;
                return Found::Changed(number, if reaped { own } else { status });
            }
        }
    }
    if known {
        Found::Nothing
    } else {
        Found::NoChild
    }
}

/// Looks until something is found, or once with WNOHANG.
fn look_on(whom: Whom, options: c_int, keep: bool, usage: *mut libc::rusage) -> Found {
    /// An end between two looks is heard of at the latest then; so is a stop, of which nobody tells.
    const PAUSE: Duration = Duration::from_millis(20);
    loop {
        let found = look(whom, options, keep, usage);
        if !matches!(found, Found::Nothing) || options & libc::WNOHANG != 0 {
            return found;
        }
        drop(ENDED.wait_timeout(children(), PAUSE));
    }
}

fn is_known(whom: Whom) -> bool {
    !matches!(whom, Whom::One(pid) if !children().contains_key(&pid))
}

pub(super) extern "C" fn wait4(
    pid: libc::pid_t,
    status: *mut c_int,
    options: c_int,
    usage: *mut libc::rusage,
) -> libc::pid_t {
    let whom = Whom::of(pid);
    // A process that is no child of the guest's by all that is known may have been started past the guards.
    if in_child() || !is_known(whom) {
        // SAFETY: passed on as the guest called it.
        return unsafe { libc::wait4(pid, status, options, usage) };
    }
    match look_on(whom, options, false, usage) {
        Found::Changed(child, how) => {
            if !status.is_null() {
                // SAFETY: the caller's variable.
                unsafe { *status = how };
            }
            child
        }
        Found::Nothing => 0,
        Found::NoChild => {
            set_errno(libc::ECHILD);
            -1
        }
    }
}

pub(super) extern "C" fn waitpid(pid: libc::pid_t, status: *mut c_int, options: c_int) -> libc::pid_t {
    wait4(pid, status, options, std::ptr::null_mut())
}

extern "C" fn wait(status: *mut c_int) -> libc::pid_t {
    waitpid(-1, status, 0)
}

extern "C" fn wait3(status: *mut c_int, options: c_int, usage: *mut libc::rusage) -> libc::pid_t {
    wait4(-1, status, options, usage)
}

/// The head of `siginfo_t` for SIGCHLD (the kernel's `asm-generic/siginfo.h`).
#[repr(C)]
struct ChildInfo {
    signal: c_int,
    errno: c_int,
    code: c_int,
    _padding: c_int,
    pid: libc::pid_t,
    user: libc::uid_t,
    status: c_int,
}

extern "C" fn waitid(
    kind: libc::idtype_t,
    id: libc::id_t,
    info: *mut libc::siginfo_t,
    options: c_int,
) -> c_int {
    let whom = match kind {
        libc::P_ALL => Some(Whom::Any),
        libc::P_PID => Some(Whom::One(id as libc::pid_t)),
        libc::P_PGID if id == 0 => Some(Whom::of(0)),
        libc::P_PGID => Some(Whom::Group(id as libc::pid_t)),
        _ => None,
    };
    let Some(whom) = whom.filter(|whom| !in_child() && is_known(*whom) && options & libc::WEXITED != 0)
    else {
        // SAFETY: passed on as the guest called it.
        return unsafe { libc::waitid(kind, id, info, options) };
    };
    let keep = options & libc::WNOWAIT != 0;
    let (child, status) = match look_on(whom, options, keep, std::ptr::null_mut()) {
        Found::Changed(child, status) => (child, status),
        Found::Nothing => (0, 0),
        Found::NoChild => {
            set_errno(libc::ECHILD);
            return -1;
        }
    };
    if !info.is_null() {
        // SAFETY: the caller's structure, which begins so for a child and is larger.
        unsafe {
            info.write(std::mem::zeroed());
            if child != 0 {
                info.cast::<ChildInfo>().write(child_info(child, status));
            }
        }
    }
    0
}

fn child_info(child: libc::pid_t, status: Status) -> ChildInfo {
    let (code, status) = if libc::WIFEXITED(status) {
        (libc::CLD_EXITED, libc::WEXITSTATUS(status))
    } else if libc::WIFSTOPPED(status) {
        (libc::CLD_STOPPED, libc::WSTOPSIG(status))
    } else if libc::WIFCONTINUED(status) {
        (libc::CLD_CONTINUED, libc::SIGCONT)
    } else if libc::WCOREDUMP(status) {
        (libc::CLD_DUMPED, libc::WTERMSIG(status))
    } else {
        (libc::CLD_KILLED, libc::WTERMSIG(status))
    };
    // SAFETY: getuid has no preconditions.
    let user = unsafe { libc::getuid() };
    ChildInfo { signal: libc::SIGCHLD, errno: 0, code, _padding: 0, pid: child, user, status }
}

/// A status as wait(2) has it, of what waitid(2) has told.
///
/// # Safety
/// waitid has filled it for a child that has ended.
unsafe fn status_of(info: &libc::siginfo_t) -> Status {
    /// Of a status: a core was dumped (`__WCOREFLAG`).
    const CORE: c_int = 0x80;
    // SAFETY: promised by the caller; the structure begins so.
    let info = unsafe { &*(&raw const *info).cast::<ChildInfo>() };
    match info.code {
        libc::CLD_EXITED => (info.status & 0xff) << 8,
        libc::CLD_DUMPED => info.status | CORE,
        _ => info.status,
    }
}

/// Waits for a child of this process, which it leaves to be reaped. `handle`: a descriptor of its (pidfd_open(2)), by which it cannot be
/// taken for another that got its number. `None`: somebody else has reaped it, and the kernel does not tell how it ended.
pub(super) fn await_end(child: libc::pid_t, handle: Option<c_int>) -> Option<Status> {
    let (kind, id) =
        handle.map_or((libc::P_PID, child as libc::id_t), |fd| (libc::P_PIDFD, fd as libc::id_t));
    loop {
        // SAFETY: all zeroes is a valid siginfo_t.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: `info` is filled; WNOWAIT leaves the child as it is.
        if unsafe { libc::waitid(kind, id, &raw mut info, libc::WEXITED | libc::WNOWAIT) } == 0 {
            // SAFETY: filled for a child that has ended.
            return Some(unsafe { status_of(&info) });
        }
        if errno() != libc::EINTR {
            return handle.and_then(told_after_reaping);
        }
    }
}

/// `struct pidfd_info` (linux/pidfd.h) as Linux 6.13 had it first.
#[repr(C)]
#[derive(Default)]
struct ProcessInfo {
    mask: u64,
    cgroup: u64,
    numbers: [u32; 11],
    exit_code: i32,
}
const _: () = assert!(size_of::<ProcessInfo>() == 64);

/// How a process ended that somebody has reaped: Linux 6.15 and later tell whoever has a descriptor of it.
fn told_after_reaping(handle: c_int) -> Option<Status> {
    /// `PIDFD_GET_INFO` and `PIDFD_INFO_EXIT` (linux/pidfd.h).
    const GET_INFO: libc::c_ulong = 0xc040_ff0b;
    const EXIT: u64 = 1 << 3;
    let mut info = ProcessInfo { mask: EXIT, ..ProcessInfo::default() };
    let place: *mut c_void = (&raw mut info).cast();
    // SAFETY: an open descriptor; the structure has the size that the call's number says.
    let told = unsafe { libc::ioctl(handle, GET_INFO, place) } == 0 && info.mask & EXIT != 0;
    told.then_some(info.exit_code)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Children of this test's, each known to the family.
    fn child(code: c_int) -> libc::pid_t {
        // SAFETY: the forked child calls one async-signal-safe function.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: as above.
            unsafe { libc::_exit(code) }
        }
        child
    }

    #[test]
    fn a_status_is_known_although_somebody_else_has_reaped() {
        super::super::guards::all();
        let number = child(7);
        born(number, true);
        let mut status = -1;
        assert_eq!(waitpid(number, &raw mut status, libc::WNOHANG), 0);
        let end = await_end(number, None).expect("nobody has reaped it yet");
        // SAFETY: as a host does that waits for any child; this test's own.
        assert_eq!(unsafe { libc::waitpid(number, std::ptr::null_mut(), 0) }, number);
        assert_eq!(await_end(number, None), None);
        ended(number, end);
        // SAFETY: all zeroes is a valid siginfo_t, filled by the call.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let options = libc::WEXITED | libc::WNOWAIT;
        assert_eq!(waitid(libc::P_PID, number as libc::id_t, &raw mut info, options), 0);
        // SAFETY: filled for a child.
        assert_eq!(unsafe { (info.si_pid(), info.si_status()) }, (number, 7));
        assert_eq!(waitpid(number, &raw mut status, 0), number);
        assert_eq!(libc::WEXITSTATUS(status), 7);
        assert_eq!(waitpid(number, &raw mut status, 0), -1, "it was waited for");
    }

    #[test]
    fn how_a_child_ended_is_the_same_in_all_words() {
        for status in [0, 7 << 8, libc::SIGKILL, libc::SIGSEGV | 0x80] {
            // SAFETY: all zeroes is a valid siginfo_t, whose head is written.
            let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
            // SAFETY: as above.
            unsafe { (&raw mut info).cast::<ChildInfo>().write(child_info(5, status)) };
            // SAFETY: filled for a child that has ended.
            assert_eq!(unsafe { status_of(&info) }, status);
        }
    }
}
