//! From the start of the guest to its end, however it ends: one guest at a time, one end, told once.
//!
//! # Safety
//! Two calls of the system without memory of ours: a thread's number, and whether a thread of that number lives.

use crate::report::{log, Outcome};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What is done with the guest's end.
type Finish = Box<dyn FnOnce(Outcome) + Send>;

#[derive(Default)]
struct State {
    /// Asks the running Node to stop.
    stopper: Option<fn()>,
    /// An end that was decided from outside Node, and overrides what Node says.
    decided: Option<Outcome>,
    finish: Option<Finish>,
    running: bool,
    begun: bool,
    host_leaves: bool,
}

static STATE: Mutex<State> = Mutex::new(State {
    stopper: None,
    decided: None,
    finish: None,
    running: false,
    begun: false,
    host_leaves: false,
});
static CHANGED: Condvar = Condvar::new();

/// The thread that was made for the guest is parked for ever.
static PARKED: AtomicBool = AtomicBool::new(false);

/// The thread that was made for the guest and ends soon after it; 0: none.
static THREAD: AtomicI32 = AtomicI32::new(0);

/// The calling thread was made for the guest. A host that leaves waits for its last step, too: when a thread ends, pthread
/// calls destructors for what V8 and the host's OpenSSL (V8 takes random seeds from it) left in the thread, and the host's
/// exit() frees the same.
pub fn on_own_thread() {
    state().begun = false;
    THREAD.store(own_thread(), Ordering::Relaxed);
}

/// Does this on a thread of ours that takes the guest out: where the guest's code parks it, [`is_parked`] says so.
pub fn unloading<T>(work: impl FnOnce() -> T) -> T {
    THREAD.store(own_thread(), Ordering::Relaxed);
    let done = work();
    THREAD.store(0, Ordering::Relaxed);
    done
}

/// The number of the calling thread.
pub(super) fn own_thread() -> i32 {
    // SAFETY: gettid has no preconditions.
    unsafe { libc::gettid() }
}

/// Whether the guest's own thread still lives. It does not count where it is the one that asks.
fn thread_lives() -> bool {
    let thread = THREAD.load(Ordering::Relaxed);
    thread != 0 && thread != own_thread() && is_alive(thread)
}

/// Whether a thread of this number lives in this process.
pub(super) fn is_alive(thread: i32) -> bool {
    // SAFETY: no signal is sent (0); getpid has no preconditions.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, 0) == 0 }
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The guest is about to start: `stopper` asks it to stop, `finish` is called once with its end. `false`: the host is
/// leaving already, and nothing may be started.
#[must_use]
pub fn begin(stopper: fn(), finish: impl FnOnce(Outcome) + Send + 'static) -> bool {
    let mut state = state();
    state.begun = true;
    if state.host_leaves {
        return false;
    }
    state.stopper = Some(stopper);
    state.finish = Some(Box::new(finish));
    state.running = true;
    true
}

/// The guest has ended and was unloaded: another may begin. `false`: one is running.
#[must_use]
pub fn renew() -> bool {
    let mut state = state();
    if state.running {
        return false;
    }
    let host_leaves = state.host_leaves;
    THREAD.store(0, Ordering::Relaxed);
    // Until the next one is on its way there is nothing to be told.
    *state = State { host_leaves, begun: true, ..State::default() };
    true
}

/// What was begun came to nothing: its end is told as the refusal that it is.
pub fn cancel() {
    let mut state = state();
    (state.finish, state.decided, state.stopper, state.running) = (None, None, None, false);
    drop(state);
    CHANGED.notify_all();
}

/// The way in has ended without a guest: there is nothing to be told at the host's end.
pub fn never() {
    state().begun = true;
}

/// The guest has ended by itself. An end that was decided before is told instead.
pub fn end(outcome: Outcome) {
    let (finish, outcome) = {
        let mut state = state();
        (state.finish.take(), state.decided.take().unwrap_or(outcome))
    };
    if let Some(finish) = finish {
        finish(outcome);
    }
    state().running = false;
    CHANGED.notify_all();
}

/// Asks the guest to stop and remembers why. Returns at once; [`end`] follows.
pub fn stop(how: &str, exit_code: i32, message: &str) {
    let stopper = {
        let mut state = state();
        state.decided.get_or_insert_with(|| outcome(how, exit_code, message));
        state.stopper
    };
    if let Some(stopper) = stopper {
        stopper();
    }
}

/// The calling thread of the guest cannot go on: tells the end and parks the thread for ever, because it can neither
/// return nor be ended without harm to the host. A thread of the host's that ticks the guest leaves it instead.
pub fn abandon(how: &str, exit_code: i32, message: &str) -> ! {
    log::tell(log::Level::Error, &format!("the guest is abandoned: {message}; the host goes on"));
    super::bridge::abandon();
    // Parked, it never ends.
    if THREAD.compare_exchange(own_thread(), 0, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
        PARKED.store(true, Ordering::Relaxed);
    }
    stop(how, exit_code, message);
    end(outcome(how, exit_code, message));
    super::bridge::escape();
    loop {
        std::thread::park();
    }
}

/// Whether the guest has ended on a thread that never will.
pub fn is_parked() -> bool {
    PARKED.load(Ordering::Relaxed) && !state().running
}

/// The host goes on without waiting any longer: the guest's end is told as what it is, not known.
pub fn give_up(message: &str) {
    end(outcome("unknown", 1, message));
}

/// The host is leaving: nothing of its V8 may be touched any more once it has gone on. `true` if the guest was neither
/// begun nor refused: it came too late.
pub fn host_leaves() -> bool {
    let mut state = state();
    state.host_leaves = true;
    !std::mem::replace(&mut state.begun, true)
}

/// Whether the host was seen leaving.
pub fn host_is_leaving() -> bool {
    state().host_leaves
}

/// Waits until the guest's end was told and its thread is gone, at most `limit`.
pub fn wait(limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    let mut state = state();
    while state.running {
        let Some(left) = deadline.checked_duration_since(Instant::now()) else { return false };
        state = CHANGED.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
    }
    drop(state);
    while thread_lives() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

fn outcome(how: &str, exit_code: i32, message: &str) -> Outcome {
    Outcome { how: how.into(), exit_code, message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    static GONE: AtomicBool = AtomicBool::new(false);

    /// What a thread leaves for pthread to destroy.
    struct Left;

    impl Drop for Left {
        fn drop(&mut self) {
            std::thread::sleep(Duration::from_millis(50));
            GONE.store(true, Ordering::SeqCst);
        }
    }

    thread_local!(static LEFT: Left = const { Left });

    fn a_thread_that_still_ends_is_waited_for() {
        let thread = std::thread::spawn(|| {
            on_own_thread();
            LEFT.with(|_| ());
            assert!(begin(|| {}, drop));
            end(outcome("finished", 0, ""));
            assert!(wait(Duration::ZERO), "not for itself");
        });
        while THREAD.load(Ordering::Relaxed) == 0 || state().running || state().finish.is_some() {
            std::thread::yield_now();
        }
        assert!(!wait(Duration::ZERO) || GONE.load(Ordering::SeqCst));
        assert!(wait(Duration::from_secs(10)) && GONE.load(Ordering::SeqCst));
        thread.join().expect("joined");
    }

    /// One test, for the state is one per process.
    #[test]
    fn the_first_decision_is_told_once_and_waiters_go_on() {
        a_thread_that_still_ends_is_waited_for();
        let (sender, told) = mpsc::channel();
        assert!(begin(|| {}, move |outcome| sender.send(outcome).expect("received")));
        assert!(!wait(Duration::from_millis(5)));
        stop("signal", 130, "first");
        stop("signal", 143, "second");
        let waiter = std::thread::spawn(|| wait(Duration::from_secs(10)));
        end(outcome("finished", 0, ""));
        assert!(waiter.join().expect("joined"));
        assert_eq!(told.recv().expect("told").message, "first");
        end(outcome("finished", 0, ""));
        assert!(told.recv().is_err(), "the end is told once");
        assert!(!host_leaves(), "it was begun");
        assert!(!begin(|| {}, |_| {}), "nothing is started when the host leaves");
    }
}
