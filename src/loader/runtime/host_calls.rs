//! Calls of the host's functions by scripts: a gate before them for a host whose language ends before the process does, and who is in one
//! for a host that leaves.
//!
//! A thread that is in a function of the host's can neither be stopped nor be waited for: the host may hold what the function needs (a
//! language's run time that has ended lets no thread in, or ends it by `pthread_exit(3)`). Such a thread is left behind: it never comes
//! back into the guest, and nobody waits for it.

use super::{lifecycle, threads};
use std::cell::Cell;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a leaving host waits for a thread that is in a function of the host's.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long it waits for all the others.
const LIMIT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(1);

/// A call that has not returned.
struct Inside {
    thread: i32,
    runtime: usize,
    since: Instant,
    /// How often the function has called the guest again, further in.
    back: usize,
    /// The thread must not go back into the guest.
    left: bool,
}

struct State {
    inside: Vec<Inside>,
    /// Runtimes that call nothing of the host's any more.
    closed: Vec<usize>,
}

static STATE: Mutex<State> = Mutex::new(State { inside: Vec::new(), closed: Vec::new() });
static CHANGED: Condvar = Condvar::new();

thread_local! {
    /// How many calls this thread is in.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// The innermost call that this thread is in.
    fn last_of(&mut self, thread: i32) -> Option<&mut Inside> {
        self.inside.iter_mut().rev().find(|call| call.thread == thread)
    }

    fn leave(&mut self, thread: i32) -> Option<Inside> {
        let last = self.inside.iter().rposition(|call| call.thread == thread)?;
        Some(self.inside.remove(last))
    }
}

/// While one lives the thread is in a function of the host's.
struct Entered;

impl Entered {
    fn enter(runtime: usize) -> Option<Self> {
        let thread = lifecycle::own_thread();
        let mut state = state();
        if state.closed.contains(&runtime) {
            return None;
        }
        state.inside.push(Inside { thread, runtime, since: Instant::now(), back: 0, left: false });
        let _ = DEPTH.try_with(|depth| depth.set(depth.get() + 1));
        Some(Self)
    }

    /// Whether the thread may go on.
    fn leave() -> bool {
        let left = state().leave(lifecycle::own_thread());
        let _ = DEPTH.try_with(|depth| depth.set(depth.get().saturating_sub(1)));
        CHANGED.notify_all();
        left.is_none_or(|call| !call.left)
    }
}

impl Drop for Entered {
    /// The function has returned; or it is left by what unwinds its frames, which must not go on into the guest's: `pthread_exit()`, or
    /// an exception of another language.
    fn drop(&mut self) {
        if !Self::leave() {
            park();
        }
    }
}

/// Calls a function of the host's for this runtime. `None`: its functions are not called any more.
pub fn call<T>(runtime: usize, work: impl FnOnce() -> T) -> Option<T> {
    /// Dropped when the frames below are unwound.
    struct Unwound(usize);
    impl Drop for Unwound {
        fn drop(&mut self) {
            // A panic of our own is caught further out.
            if !std::thread::panicking() {
                unwound(self.0);
            }
        }
    }
    let _entered = Entered::enter(runtime)?;
    let unwound = Unwound(runtime);
    let done = threads::as_host(work);
    std::mem::forget(unwound);
    Some(done)
}

/// The thread is about to end within a function of the host's.
fn unwound(runtime: usize) -> ! {
    let expected = lifecycle::host_is_leaving() || state().closed.contains(&runtime);
    Entered::leave();
    if !expected {
        let why = "a function of the host's did not return (an exception, or the end of its thread)";
        threads::as_guest(runtime, || lifecycle::abandon("abort", 1, why));
    }
    lifecycle::leave_behind(runtime);
    park();
}

fn park() -> ! {
    loop {
        std::thread::park();
    }
}

/// The calling thread enters the guest, perhaps from within a function of the host's.
pub(super) fn back<T>(work: impl FnOnce() -> T) -> T {
    if DEPTH.try_with(Cell::get).unwrap_or(0) == 0 {
        return work();
    }
    let thread = lifecycle::own_thread();
    let count = |by: isize| {
        if let Some(call) = state().last_of(thread) {
            call.back = call.back.saturating_add_signed(by);
            call.since = Instant::now();
        }
    };
    count(1);
    let done = work();
    count(-1);
    done
}

/// From now on this runtime calls nothing of the host's. Waits until the deadline for what it calls at the moment; whoever is in a
/// function of the host's then is left behind. `false`: somebody is.
pub fn close(runtime: usize, deadline: Instant) -> bool {
    let own = lifecycle::own_thread();
    let is_in = |call: &Inside| call.runtime == runtime && call.thread != own;
    let mut state = state();
    if !state.closed.contains(&runtime) {
        state.closed.push(runtime);
    }
    while state.inside.iter().any(is_in) {
        let Some(left) = deadline.checked_duration_since(Instant::now()) else { break };
        state = CHANGED.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
    }
    let mut any = false;
    for call in state.inside.iter_mut().filter(|call| is_in(call)) {
        call.left = true;
        any = true;
    }
    drop(state);
    if any {
        lifecycle::leave_behind(runtime);
    }
    !any
}

/// The runtime of this number is gone.
pub fn forget(runtime: usize) {
    state().closed.retain(|closed| *closed != runtime);
}

/// The host leaves, and all runtimes were asked to end: waits for those that have threads of their own, or that other threads tick. One
/// whose thread is in a function of the host's, or that nobody ticks, is left behind soon.
pub(super) fn see_off() {
    let begun = Instant::now();
    let own = lifecycle::own_thread();
    lifecycle::stop_all();
    while lifecycle::some_run_elsewhere() && begun.elapsed() < LIMIT {
        let stuck: Vec<usize> = {
            let mut state = state();
            let stuck = |call: &&mut Inside| {
                call.thread != own && call.back == 0 && call.since.max(begun).elapsed() >= PATIENCE
            };
            let mark = |call: &mut Inside| {
                call.left = true;
                call.runtime
            };
            state.inside.iter_mut().filter(stuck).map(mark).collect()
        };
        stuck.into_iter().for_each(lifecycle::leave_behind);
        if begun.elapsed() >= PATIENCE {
            lifecycle::leave_unticked();
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Numbers that no other test has.
    const FIRST: usize = usize::MAX - 1;
    const SECOND: usize = usize::MAX - 2;

    #[test]
    fn a_closed_gate_lets_nobody_in_and_waits_for_those_inside() {
        let (enter, entered) = mpsc::channel();
        let (go, wait) = mpsc::channel::<()>();
        let inside = std::thread::spawn(move || {
            call(FIRST, || {
                enter.send(()).expect("received");
                wait.recv().expect("sent");
                7
            })
        });
        entered.recv().expect("entered");
        let closer = std::thread::spawn(|| close(FIRST, Instant::now() + Duration::from_secs(10)));
        while call(FIRST, || ()).is_some() {
            std::thread::sleep(PAUSE);
        }
        assert_eq!(call(SECOND, || 1), Some(1), "another runtime's gate is open");
        go.send(()).expect("received");
        assert!(closer.join().expect("joined"));
        assert_eq!(inside.join().expect("joined"), Some(7));
        forget(FIRST);
        assert_eq!(call(FIRST, || 2), Some(2), "the number is free again");
    }

    #[test]
    fn whoever_does_not_come_back_in_time_never_does() {
        const THIRD: usize = usize::MAX - 3;
        let (enter, entered) = mpsc::channel();
        let (go, wait) = mpsc::channel::<()>();
        let (back, came_back) = mpsc::channel();
        std::thread::spawn(move || {
            call(THIRD, || {
                enter.send(()).expect("received");
                wait.recv().expect("sent");
            });
            let _ = back.send(());
        });
        entered.recv().expect("entered");
        assert!(!close(THIRD, Instant::now()));
        go.send(()).expect("received");
        assert!(came_back.recv_timeout(Duration::from_millis(200)).is_err(), "it is parked");
        forget(THIRD);
    }

    #[test]
    fn calls_within_calls_are_known_by_their_thread() {
        const FOURTH: usize = usize::MAX - 4;
        let nested = call(FOURTH, || back(|| call(FOURTH, || close(FOURTH, Instant::now()))));
        assert_eq!(nested, Some(Some(true)), "not for itself");
        assert_eq!(call(FOURTH, || ()), None);
        forget(FOURTH);
    }
}
