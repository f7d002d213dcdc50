//! From the start of a runtime to its end, however it ends: one end, told once. And what concerns all of them: the host leaves.
//!
//! # Safety
//! Two calls of the system without memory of ours: a thread's number, and whether a thread of that number lives.

use super::instance::Instance;
use super::{bridge, threads};
use crate::log;
use crate::outcome::Outcome;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// What is done with a runtime's end.
type Finish = Box<dyn FnOnce(Outcome) + Send>;

#[derive(Default)]
struct State {
    /// An end that was decided from outside Node, and overrides what Node says.
    decided: Option<Outcome>,
    finish: Option<Finish>,
    running: bool,
}

/// The life of one runtime.
#[derive(Default)]
pub struct Life {
    number: usize,
    /// What its scripts may not do: bits of [`super::withheld`].
    withheld: u8,
    state: Mutex<State>,
    changed: Condvar,
    /// The thread that was made for it and ends soon after it; 0: none.
    thread: AtomicI32,
    /// That thread is parked for ever.
    parked: AtomicBool,
    instance: OnceLock<Instance>,
}

impl std::fmt::Debug for Life {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Life").field("number", &self.number).finish_non_exhaustive()
    }
}

/// Of the whole process.
#[derive(Default)]
struct Process {
    /// Those that run.
    lives: Vec<Arc<Life>>,
    /// Threads of those that have ended, which may not have taken their last step.
    ending: Vec<i32>,
    /// A runtime was begun or refused, at least once.
    begun: bool,
    host_leaves: bool,
}

static PROCESS: Mutex<Process> =
    Mutex::new(Process { lives: Vec::new(), ending: Vec::new(), begun: false, host_leaves: false });

/// A thread of ours that takes the guest out; 0: none. And whether the guest's code has parked it.
static UNLOADING: (AtomicI32, AtomicBool) = (AtomicI32::new(0), AtomicBool::new(false));

fn process() -> MutexGuard<'static, Process> {
    PROCESS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Life {
    /// A runtime's that is not there yet. `withheld`: bits of [`super::withheld`].
    pub fn new(withheld: u8) -> Arc<Self> {
        static LAST: AtomicUsize = AtomicUsize::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        Arc::new(Self { number, withheld, ..Self::default() })
    }

    /// No other's in this process; never 0.
    pub fn number(&self) -> usize {
        self.number
    }

    /// What its scripts may not do.
    pub(super) fn withheld(&self) -> u8 {
        self.withheld
    }

    /// The bridge's part of it, once there is one.
    pub fn instance(&self) -> Option<&Instance> {
        self.instance.get()
    }

    /// Gives it the bridge's part; the first one is kept.
    pub fn has(&self, instance: Instance) -> &Instance {
        self.instance.get_or_init(|| instance)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The calling thread was made for it. A host that leaves waits for its last step, too: when a thread ends, pthread
    /// calls destructors for what V8 and the host's OpenSSL (V8 takes random seeds from it) left in the thread, and the host's
    /// exit() frees the same.
    pub fn on_own_thread(&self) {
        self.thread.store(own_thread(), Ordering::Relaxed);
    }

    /// That thread was joined.
    pub fn thread_is_gone(&self) {
        let thread = self.thread.swap(0, Ordering::Relaxed);
        process().ending.retain(|ending| *ending != thread);
    }

    /// It is about to start: `finish` is called once with its end. `false`: the host is leaving already, and nothing may be
    /// started.
    #[must_use]
    pub fn begin(self: &Arc<Self>, finish: impl FnOnce(Outcome) + Send + 'static) -> bool {
        let mut process = process();
        process.begun = true;
        if process.host_leaves {
            return false;
        }
        process.lives.push(Arc::clone(self));
        let mut state = self.state();
        state.finish = Some(Box::new(finish));
        state.running = true;
        true
    }

    /// What was begun came to nothing: its end is told as the refusal that it is.
    pub fn cancel(&self) {
        *self.state() = State::default();
        self.over();
    }

    /// It has ended by itself. An end that was decided before is told instead.
    pub fn end(&self, outcome: Outcome) {
        let (finish, outcome) = {
            let mut state = self.state();
            (state.finish.take(), state.decided.take().unwrap_or(outcome))
        };
        if let Some(finish) = finish {
            finish(outcome);
        }
        self.over();
    }

    fn over(&self) {
        {
            let mut process = process();
            process.lives.retain(|life| life.number != self.number);
            // One that is parked was taken away.
            let thread = self.thread.load(Ordering::Relaxed);
            process.ending.retain(|ending| is_alive(*ending));
            process.ending.extend((thread != 0).then_some(thread));
        }
        // Last: who waits for the end then waits for the thread.
        self.state().running = false;
        self.changed.notify_all();
    }

    /// Asks it to stop and remembers why. Returns at once; [`Life::end`] follows.
    pub fn stop(&self, how: &str, exit_code: i32, message: &str) {
        self.state().decided.get_or_insert_with(|| outcome(how, exit_code, message));
        if let Some(instance) = self.instance() {
            instance.stop();
        }
    }

    /// Whether it has ended on a thread that never will.
    pub fn is_parked(&self) -> bool {
        self.parked.load(Ordering::Relaxed) && !self.state().running
    }

    /// A thread of its own, or one that works for all, never goes on: this is its end.
    fn lose(&self, how: &str, exit_code: i32, message: &str) {
        if self.thread.compare_exchange(own_thread(), 0, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.parked.store(true, Ordering::Relaxed);
        }
        self.stop(how, exit_code, message);
        self.end(outcome(how, exit_code, message));
    }

    /// Waits until its end was told.
    fn wait(&self, deadline: Instant) -> bool {
        let mut state = self.state();
        while state.running {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return false };
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

/// Those that run.
fn lives() -> Vec<Arc<Life>> {
    process().lives.clone()
}

/// The runtimes that the calling thread works for: one, or all that run.
pub(super) fn here() -> Vec<Arc<Life>> {
    let (owner, mut lives) = (threads::owner(), lives());
    if owner != 0 {
        lives.retain(|life| life.number == owner);
    }
    lives
}

/// Does this on a thread of ours that takes the guest out: where the guest's code parks it, [`unloading_is_parked`] says so.
pub fn unloading<T>(work: impl FnOnce() -> T) -> T {
    UNLOADING.0.store(own_thread(), Ordering::Relaxed);
    let done = work();
    UNLOADING.0.store(0, Ordering::Relaxed);
    done
}

/// Whether the thread that takes the guest out never will.
pub fn unloading_is_parked() -> bool {
    UNLOADING.1.load(Ordering::Relaxed)
}

/// The number of the calling thread.
pub(super) fn own_thread() -> i32 {
    // SAFETY: gettid has no preconditions.
    unsafe { libc::gettid() }
}

/// Whether a thread of this number lives in this process.
pub(super) fn is_alive(thread: i32) -> bool {
    // SAFETY: no signal is sent (0); getpid has no preconditions.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, 0) == 0 }
}

/// The way in has ended without a runtime: there is nothing to be told at the host's end.
pub fn never() {
    process().begun = true;
}

/// Asks the runtimes that the calling thread works for to stop.
pub(super) fn stop_here(how: &str, exit_code: i32, message: &str) {
    here().iter().for_each(|life| life.stop(how, exit_code, message));
}

/// The calling thread of the guest cannot go on: tells the end of the runtimes that it works for and parks the thread for ever, because it
/// can neither return nor be ended without harm to the host. A thread of the host's that ticks one leaves it instead.
pub fn abandon(how: &str, exit_code: i32, message: &str) -> ! {
    log::tell(log::Level::Error, &format!("the guest is abandoned: {message}; the host goes on"));
    let lost = here();
    bridge::abandon(&lost);
    // Parked, it never ends.
    if UNLOADING.0.load(Ordering::Relaxed) == own_thread() {
        UNLOADING.1.store(true, Ordering::Relaxed);
    }
    lost.iter().for_each(|life| life.lose(how, exit_code, message));
    drop(lost);
    bridge::escape();
    loop {
        std::thread::park();
    }
}

/// The host goes on without waiting any longer: the ends that are not known are told as that.
pub fn give_up(message: &str) {
    lives().iter().for_each(|life| life.end(outcome("unknown", 1, message)));
}

/// The host is leaving: nothing of its V8 may be touched any more once it has gone on. `true` if no runtime was begun nor
/// refused: it came too late.
pub fn host_leaves() -> bool {
    let mut process = process();
    process.host_leaves = true;
    !std::mem::replace(&mut process.begun, true)
}

/// Whether the host was seen leaving.
pub fn host_is_leaving() -> bool {
    process().host_leaves
}

/// Ends those that the calling thread ticks.
pub fn end_those_here() {
    for life in lives() {
        if let Some(outcome) = life.instance().and_then(|instance| instance.end().ok()) {
            life.end(outcome.0);
        }
    }
}

/// Waits until every end was told and every thread is gone that was made for a runtime, but the calling one, at most `limit`.
pub fn wait(limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    if !lives().iter().all(|life| life.wait(deadline)) {
        return false;
    }
    let some_end = |ending: &[i32]| ending.iter().any(|thread| *thread != own_thread() && is_alive(*thread));
    while some_end(&process().ending) {
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
        let life = Life::new(0);
        assert!(life.begin(drop));
        let ended = Arc::clone(&life);
        let thread = std::thread::spawn(move || {
            ended.on_own_thread();
            LEFT.with(|_| ());
            ended.end(outcome("finished", 0, ""));
            assert!(wait(Duration::ZERO), "not for itself");
        });
        assert!(wait(Duration::from_secs(10)) && GONE.load(Ordering::SeqCst));
        thread.join().expect("joined");
        life.thread_is_gone();
    }

    /// One test, for what concerns the host is one per process.
    #[test]
    fn the_first_decision_is_told_once_and_waiters_go_on() {
        a_thread_that_still_ends_is_waited_for();
        let (sender, told) = mpsc::channel();
        let (life, other) = (Life::new(0), Life::new(0));
        assert!(life.begin(move |outcome| sender.send(outcome).expect("received")) && other.begin(drop));
        assert!(!wait(Duration::from_millis(5)));
        threads::as_guest(life.number(), || stop_here("signal", 130, "first"));
        life.stop("signal", 143, "second");
        let waiter = std::thread::spawn(|| wait(Duration::from_secs(10)));
        life.end(outcome("finished", 0, ""));
        assert_eq!(here().iter().map(|l| l.number()).collect::<Vec<_>>(), [other.number()], "it goes on");
        other.end(outcome("finished", 0, ""));
        assert!(waiter.join().expect("joined"));
        assert_eq!(told.recv().expect("told").message, "first");
        life.end(outcome("finished", 0, ""));
        assert!(told.recv().is_err(), "the end is told once");
        assert!(!host_leaves(), "it was begun");
        assert!(!Life::new(0).begin(|_| {}), "nothing is started when the host leaves");
    }
}
