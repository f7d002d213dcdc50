//! Signals inside the guest. The dispositions of the process belong to the host and are never changed; the guest has a
//! table of its own, and three things put signals into it: the guest signalling itself, a child of the guest ending,
//! and nothing else.
//!
//! # Safety
//! Handlers that the guest registered are called, as the kernel would, with the signal's number. Masks are read from and written to sets
//! of the caller's, as pthread_sigmask(3) has it.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::sync::Mutex;

/// Number of signals (`_NSIG` of the kernel's ABI), with 0 unused.
const COUNT: usize = 65;

/// What the guest wants done for one signal, as `sigaction(2)` has it.
#[derive(Clone, Copy)]
struct Disposition(libc::sigaction);

// SAFETY: plain numbers and a code address; shared behind a mutex.
unsafe impl Send for Disposition {}

static TABLE: Mutex<[Option<Disposition>; COUNT]> = Mutex::new([None; COUNT]);

/// What becomes of a signal that the guest sent to itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// The guest's handler ran, or the signal is ignored.
    Handled,
    /// The default action ends the guest.
    EndsGuest,
}

/// Forgets all dispositions: the guest that set them is gone.
pub fn forget() {
    *TABLE.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = [None; COUNT];
}

/// The guest's `sigaction(2)`: `None` for a number that is no signal.
pub fn exchange(signal: c_int, new: Option<libc::sigaction>) -> Option<libc::sigaction> {
    let index = usize::try_from(signal).ok().filter(|n| (1..COUNT).contains(n))?;
    let mut table = TABLE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let old = table[index].map_or_else(default, |d| d.0);
    if let Some(new) = new {
        table[index] = Some(Disposition(new));
    }
    Some(old)
}

/// Whether a handler may be set: not for SIGKILL and SIGSTOP (signal(7)), nor for the two that glibc keeps for itself.
pub fn can_be_handled(signal: c_int) -> bool {
    const OF_GLIBC: [c_int; 2] = [32, 33];
    ![libc::SIGKILL, libc::SIGSTOP].contains(&signal) && !OF_GLIBC.contains(&signal)
}

/// Does for `signal` what the guest's table says, on the calling thread.
pub fn deliver(signal: c_int) -> Effect {
    let Some(action) = exchange(signal, None) else { return Effect::Handled };
    match action.sa_sigaction {
        libc::SIG_IGN => Effect::Handled,
        libc::SIG_DFL if default_is_harmless(signal) => Effect::Handled,
        libc::SIG_DFL => Effect::EndsGuest,
        handler => {
            if action.sa_flags & libc::SA_RESETHAND != 0 {
                exchange(signal, Some(default()));
            }
            call(handler, action.sa_flags, signal);
            Effect::Handled
        }
    }
}

fn call(handler: usize, flags: c_int, signal: c_int) {
    if flags & libc::SA_SIGINFO != 0 {
        // SAFETY: all zeroes is a valid siginfo_t and ucontext_t (plain data).
        let (mut info, mut context): (libc::siginfo_t, libc::ucontext_t) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        info.si_signo = signal;
        // SAFETY: with SA_SIGINFO the guest registered a function of this signature.
        let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
            unsafe { std::mem::transmute(handler) };
        handler(signal, &raw mut info, (&raw mut context).cast());
    } else {
        // SAFETY: without SA_SIGINFO the guest registered a function of this signature.
        let handler: extern "C" fn(c_int) = unsafe { std::mem::transmute(handler) };
        handler(signal);
    }
}

/// Signals whose default action neither ends nor stops a process (signal(7)). Stopping the guest alone is not
/// possible, so the stop signals do nothing.
fn default_is_harmless(signal: c_int) -> bool {
    [
        libc::SIGCHLD,
        libc::SIGCONT,
        libc::SIGURG,
        libc::SIGWINCH,
        libc::SIGTSTP,
        libc::SIGTTIN,
        libc::SIGTTOU,
        libc::SIGSTOP,
    ]
    .contains(&signal)
}

fn default() -> libc::sigaction {
    // SAFETY: all zeroes is a valid sigaction: SIG_DFL, no flags, an empty mask.
    unsafe { std::mem::zeroed() }
}

/// A set of signals, as the kernel has it: signal `n` is bit `n - 1`.
pub type Mask = u64;

/// The first word of a `sigset_t`, which has all signals that there are (signal(7)).
///
/// # Safety
/// The pointer is to a set of the caller's.
unsafe fn mask_of(set: *const libc::sigset_t) -> Mask {
    // SAFETY: a set is at least as large as the kernel's; promised by the caller.
    unsafe { set.cast::<Mask>().read_unaligned() }
}

/// The same as a `sigset_t`.
pub fn set_of(mask: Mask) -> libc::sigset_t {
    // SAFETY: all zeroes is a valid, empty sigset_t, whose first word is that of the signals.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        (&raw mut set).cast::<Mask>().write_unaligned(mask);
        set
    }
}

thread_local! {
    /// What the guest's code has blocked in this thread, as it believes: plain Node's threads start with nothing blocked.
    static BLOCKED: Cell<Mask> = const { Cell::new(0) };
    /// What of it was not blocked before by the host or by us.
    static ADDED: Cell<Mask> = const { Cell::new(0) };
}

/// What the guest's code has blocked in the calling thread, as it believes. Its children start with it.
pub fn believed_mask() -> Mask {
    BLOCKED.try_with(Cell::get).unwrap_or(0)
}

/// A thread that believes nothing yet, or what its maker believed.
pub fn believe(mask: Mask) {
    let _ = BLOCKED.try_with(|blocked| blocked.set(mask));
    let _ = ADDED.try_with(|added| added.set(0));
}

/// Sets the calling thread's mask, whatever was blocked. For a child that has just been forked.
pub fn set_mask(mask: Mask) {
    let set = set_of(mask);
    // SAFETY: a valid set; only this thread's mask is changed.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) };
}

/// The guest's `pthread_sigmask(3)`: it may block more than the host or we have, and unblock that again, and nothing else.
pub(super) extern "C" fn pthread_sigmask(
    how: c_int,
    set: *const libc::sigset_t,
    old: *mut libc::sigset_t,
) -> c_int {
    if super::guards::in_child() {
        // SAFETY: passed on as the guest called it, in its own child.
        return unsafe { libc::pthread_sigmask(how, set, old) };
    }
    let before = believed_mask();
    if !set.is_null() {
        // SAFETY: a set of the caller's.
        let set = unsafe { mask_of(set) };
        let wanted = match how {
            libc::SIG_BLOCK => before | set,
            libc::SIG_UNBLOCK => before & !set,
            libc::SIG_SETMASK => set,
            _ => return libc::EINVAL,
        };
        change_mask(before, wanted);
    }
    if !old.is_null() {
        // SAFETY: the caller's set to be filled.
        unsafe { *old = set_of(before) };
    }
    0
}

fn change_mask(before: Mask, wanted: Mask) {
    let added = ADDED.try_with(Cell::get).unwrap_or(0);
    let (more, less) = (set_of(wanted & !before), set_of(before & !wanted & added));
    let mut real = set_of(0);
    // SAFETY: valid sets; only this thread's mask is changed.
    unsafe {
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const more, &raw mut real);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const less, std::ptr::null_mut());
    }
    // SAFETY: the set from above.
    let new = wanted & !before & !unsafe { mask_of(&raw const real) };
    let _ = BLOCKED.try_with(|blocked| blocked.set(wanted));
    let _ = ADDED.try_with(|cell| cell.set((added & wanted) | new));
}

/// The same by the name of processes, with its way to tell errors.
pub(super) extern "C" fn sigprocmask(
    how: c_int,
    set: *const libc::sigset_t,
    old: *mut libc::sigset_t,
) -> c_int {
    match pthread_sigmask(how, set, old) {
        0 => 0,
        error => {
            super::guards::set_errno(error);
            -1
        }
    }
}

/// Runs `work` with every signal blocked in the calling thread.
pub fn all_blocked<T>(work: impl FnOnce() -> T) -> T {
    let all = set_of(Mask::MAX);
    let mut before = set_of(0);
    // SAFETY: valid sets; only this thread's mask is changed.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, &raw mut before) };
    let result = work();
    // SAFETY: this thread's mask from above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
    result
}

/// A thread inherits the signal mask of its maker. Signals for the process are the host's: with every signal blocked
/// in our thread the kernel gives them to the host's, as before. What is meant for the thread itself stays deliverable:
/// its faults, for which V8 may have a handler, and SIGPROF, by which V8's profiler samples it.
pub fn blocked<T>(work: impl FnOnce() -> T) -> T {
    const OWN: [i32; 8] = [
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGILL,
        libc::SIGTRAP,
        libc::SIGABRT,
        libc::SIGSYS,
        libc::SIGPROF,
    ];
    // SAFETY: all zeroes is a valid sigset_t.
    let (mut blocked, mut before): (libc::sigset_t, libc::sigset_t) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    // SAFETY: the sets are valid, the signal numbers too, and only this thread's mask is changed.
    unsafe {
        libc::sigfillset(&raw mut blocked);
        for signal in OWN {
            libc::sigdelset(&raw mut blocked, signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const blocked, &raw mut before);
    }
    let result = work();
    // SAFETY: `before` is this thread's mask from above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::without_sigpipe;
    use std::sync::atomic::{AtomicI32, Ordering};

    static SEEN: AtomicI32 = AtomicI32::new(0);

    extern "C" fn note(signal: c_int) {
        SEEN.store(signal, Ordering::SeqCst);
    }

    fn action(handler: usize) -> libc::sigaction {
        libc::sigaction { sa_sigaction: handler, ..default() }
    }

    #[test]
    fn a_pipe_that_nobody_reads_does_not_end_the_process() {
        let (read, write) = nix::unistd::pipe().expect("a pipe");
        drop(read);
        // The test harness ignores SIGPIPE; here it must have its default action, which would end this process.
        // SAFETY: no handler of ours; put back below.
        let before = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        let written = without_sigpipe(|| nix::unistd::write(&write, b"x"));
        // SAFETY: what was there.
        unsafe { libc::signal(libc::SIGPIPE, before) };
        assert_eq!(written, Err(nix::errno::Errno::EPIPE));
    }

    #[test]
    fn the_guest_blocks_and_unblocks_no_more_than_its_own() {
        let bit = |signal: c_int| 1 << (signal - 1);
        let (user, window) = (bit(libc::SIGUSR1), bit(libc::SIGWINCH));
        let real = || {
            let mut now = set_of(0);
            // SAFETY: asks for the calling thread's mask.
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut now) };
            // SAFETY: the set from above.
            unsafe { mask_of(&raw const now) }
        };
        super::super::guards::all();
        std::thread::spawn(move || {
            set_mask(user);
            let change = |how, mask| {
                let (set, mut old) = (set_of(mask), set_of(0));
                assert_eq!(pthread_sigmask(how, &raw const set, &raw mut old), 0);
                // SAFETY: the set from above.
                unsafe { mask_of(&raw const old) }
            };
            assert_eq!(change(libc::SIG_BLOCK, user | window), 0, "it believes that nothing is blocked");
            assert_eq!((believed_mask(), real()), (user | window, user | window));
            assert_eq!(change(libc::SIG_SETMASK, 0), user | window);
            assert_eq!((believed_mask(), real()), (0, user), "what the host has blocked stays so");
            let nothing = set_of(0);
            assert_eq!(sigprocmask(77, &raw const nothing, std::ptr::null_mut()), -1);
        })
        .join()
        .expect("joined");
    }

    #[test]
    fn the_guests_table_is_its_own() {
        // SAFETY: all zeroes is a valid sigaction; reading a disposition changes nothing.
        let real = || unsafe {
            let mut now: libc::sigaction = std::mem::zeroed();
            libc::sigaction(libc::SIGUSR2, std::ptr::null(), &raw mut now);
            now.sa_sigaction
        };
        let before = real();
        assert_eq!(deliver(libc::SIGUSR2), Effect::EndsGuest);
        let handler = note as extern "C" fn(c_int) as usize;
        let old = exchange(libc::SIGUSR2, Some(action(handler))).expect("a signal");
        assert_eq!(old.sa_sigaction, libc::SIG_DFL);
        assert_eq!(deliver(libc::SIGUSR2), Effect::Handled);
        assert_eq!(SEEN.load(Ordering::SeqCst), libc::SIGUSR2);
        assert_eq!(real(), before, "the process's own disposition");
        exchange(libc::SIGUSR2, Some(action(libc::SIG_IGN)));
        assert_eq!(deliver(libc::SIGUSR2), Effect::Handled);
    }

    #[test]
    fn harmless_defaults_and_numbers_that_are_no_signals() {
        assert_eq!(deliver(libc::SIGCHLD), Effect::Handled);
        assert_eq!(deliver(libc::SIGTERM), Effect::EndsGuest);
        for number in [0, -1, 65, 1000] {
            assert!(exchange(number, None).is_none(), "{number}");
        }
    }
}
