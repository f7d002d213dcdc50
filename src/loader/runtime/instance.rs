//! One runtime in the bridge, from `relink_bridge_open` to `relink_bridge_close` (shim/cpp/bridge.h).
//!
//! # Safety
//! The bridge's functions take the pointer that it gave, until that was closed: every function below looks at that first. The guest
//! that the bridge is bound to is loaded meanwhile ([`Bridge::open`]). Work that is posted is a box that the bridge gives
//! back once.

use super::bridge::{Bridge, Raw, RunTimes, Start};
use super::channel::Channel;
use super::codes::{refusal, LOST};
use super::event_loop::EventLoop;
use super::raw::header::{
    Functions, RELINK_BRIDGE_E_ISOLATE, RELINK_BRIDGE_E_NOT_RUNNING, RELINK_BRIDGE_E_SHARED,
    RELINK_BRIDGE_E_THREAD,
};
use super::raw::{no_result, options, outcome, times};
use super::{host_calls, lifecycle, threads};
use crate::outcome::Outcome;
use relink_abi::error::Error;
use std::ffi::{c_int, c_void, CStr};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How a message for the guest fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It was taken.
    Taken,
    /// Nobody listens (any more).
    NobodyListens,
    /// It can only be given on the guest's main thread.
    OtherThread,
}

/// Whether a runtime can be entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entrance {
    /// It can.
    Open,
    /// It is in an isolate of the host's, which the calling thread has not entered.
    NotInItsIsolate,
}

impl Sent {
    fn of(code: c_int) -> Self {
        match code {
            0 => Self::Taken,
            RELINK_BRIDGE_E_THREAD => Self::OtherThread,
            _ => Self::NobodyListens,
        }
    }
}

/// One runtime in the bridge.
#[derive(Debug)]
pub struct Instance {
    bridge: &'static Bridge,
    raw: Raw,
    number: usize,
    open: Mutex<Open>,
    changed: Condvar,
    /// The thread that ticks it; 0: none.
    ticker: AtomicI32,
    /// How often that thread is in it.
    entered: AtomicUsize,
    /// That thread may not enter it any more.
    locked_out: AtomicBool,
    /// It is in an isolate of the host's.
    shared: AtomicBool,
}

/// Whether it was not closed, and how many threads are in the bridge with it.
#[derive(Debug)]
struct Open {
    is_open: bool,
    inside: usize,
}

/// A thread is in the bridge while this lives.
struct Inside<'i>(&'i Instance);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.open().inside -= 1;
        self.0.changed.notify_all();
    }
}
// SAFETY: the bridge says of each function which thread may call it, and answers others with an error.
unsafe impl Send for Instance {}
// SAFETY: as above.
unsafe impl Sync for Instance {}

impl Instance {
    /// What the bridge has opened.
    ///
    /// # Safety
    /// `raw` was opened by this bridge and is nobody else's; the guest stays loaded until it is closed.
    pub(super) unsafe fn new(bridge: &'static Bridge, raw: Raw, number: usize) -> Self {
        Self {
            bridge,
            raw,
            number,
            open: Mutex::new(Open { is_open: true, inside: 0 }),
            changed: Condvar::new(),
            ticker: AtomicI32::new(0),
            entered: AtomicUsize::new(0),
            locked_out: AtomicBool::new(false),
            shared: AtomicBool::new(false),
        }
    }

    /// The number of the thread that ticks it; 0: it has one of its own.
    pub(super) fn ticker(&self) -> i32 {
        self.ticker.load(Ordering::Relaxed)
    }

    /// Whether it is in an isolate of the host's.
    pub fn is_shared(&self) -> bool {
        self.shared.load(Ordering::Relaxed)
    }

    /// Keeps the thread that ticks it out from now on. `false`: it is in there.
    pub(super) fn lock_out(&self) -> bool {
        self.locked_out.store(true, Ordering::SeqCst);
        self.entered.load(Ordering::SeqCst) == 0
    }

    /// For the thread that ticks it. `None`: it is locked out.
    fn entering<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        struct Within<'c>(&'c AtomicUsize);
        impl Drop for Within<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let further_in = self.entered.fetch_add(1, Ordering::SeqCst) > 0;
        let _within = Within(&self.entered);
        let may = further_in || !self.locked_out.load(Ordering::SeqCst);
        may.then(|| self.as_guest(work))
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bridge(&self) -> &'static Functions {
        self.bridge.functions()
    }

    /// Runs Node on the calling thread until it ends.
    pub fn run(&self, start: &Start, channel: Option<&Channel>) -> Result<(Outcome, RunTimes), Error> {
        self.check_open()?;
        let options = options(start, channel, None);
        let mut result = no_result();
        // SAFETY: all that is pointed at lives until Node has ended, at which the bridge returns.
        match unsafe { (self.bridge().run)(self.raw, &raw const options, &raw mut result) } {
            0 => Ok((outcome(&result), times(&result))),
            code => Err(refusal(code)),
        }
    }

    /// Brings Node up on the calling thread, to be ticked, in an isolate of its own or the host's.
    ///
    /// # Safety
    /// `channel` and `event_loop` live, and stay where they are, until [`Instance::end`] has given an outcome; in an isolate of the
    /// host's for ever, for its scripts may call the guest's functions after that.
    pub unsafe fn begin(
        &self,
        start: &Start,
        channel: &Channel,
        event_loop: &EventLoop,
    ) -> Result<(), Error> {
        self.check_open()?;
        self.shared.store(start.shared.is_some(), Ordering::Relaxed);
        self.ticker.store(lifecycle::own_thread(), Ordering::Relaxed);
        let options = options(start, Some(channel), Some(event_loop));
        // SAFETY: promised by the caller; the options themselves are copied.
        match self.as_guest(|| unsafe { (self.bridge().begin)(self.raw, &raw const options) }) {
            0 => Ok(()),
            code => Err(refusal(code)),
        }
    }

    /// Does what is due. `false`: Node has ended.
    pub fn tick(&self, budget_us: u64) -> Result<bool, Error> {
        self.check_open()?;
        // SAFETY: see the file's head; what is wrong in state or thread is answered.
        let ticked = self.entering(|| unsafe { (self.bridge().tick)(self.raw, budget_us) });
        match ticked.unwrap_or(RELINK_BRIDGE_E_NOT_RUNNING) {
            0 => Ok(true),
            RELINK_BRIDGE_E_NOT_RUNNING => Ok(false),
            code => Err(refusal(code)),
        }
    }

    /// Ends what [`Instance::begin`] began, on the same thread.
    pub fn end(&self) -> Result<(Outcome, RunTimes), Error> {
        self.check_open()?;
        let mut result = no_result();
        // SAFETY: as above, and the result is written before it returns.
        let ended = self.entering(|| unsafe { (self.bridge().end)(self.raw, &raw mut result) });
        match ended.unwrap_or(RELINK_BRIDGE_E_NOT_RUNNING) {
            0 => Ok((outcome(&result), times(&result))),
            code => Err(refusal(code)),
        }
    }

    /// Ends what it is in the bridge, now that Node has ended: nobody listens any more.
    ///
    /// # Errors
    /// Something of it can never end, or the host's isolate refers to the guest's code: the guest must stay loaded.
    ///
    /// # Safety
    /// No thread is, or comes to be meanwhile, in one of the functions that run Node: `run`, `begin`, `tick`, `end`, `call`.
    pub unsafe fn close(&self) -> Result<(), Error> {
        /// A message is handed over in less; who takes longer never comes back.
        const LIMIT: Duration = Duration::from_secs(10);
        let mut open = self.open();
        if !open.is_open {
            return Ok(());
        }
        open.is_open = false;
        let wait = self.changed.wait_timeout_while(open, LIMIT, |open| open.inside > 0);
        open = wait.unwrap_or_else(PoisonError::into_inner).0;
        let inside = open.inside;
        drop(open);
        if inside > 0 {
            return Err(refusal(LOST));
        }
        // SAFETY: as above; it was open, so it was not closed before, and nobody uses it (promised by the caller, and counted).
        let code = self.as_guest(|| unsafe { (self.bridge().close)(self.raw) });
        self.open().is_open = code != 0 && code != RELINK_BRIDGE_E_SHARED;
        match code {
            0 => Ok(()),
            code => Err(refusal(code)),
        }
    }

    /// For what any thread may do at any time.
    fn while_open<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let inside = {
            let mut open = self.open();
            if !open.is_open {
                return None;
            }
            open.inside += 1;
            Inside(self)
        };
        let done = work();
        drop(inside);
        Some(done)
    }

    /// Whether it was not closed. Who runs Node asks before, and need not hold on to it: see [`Instance::close`].
    fn is_open(&self) -> bool {
        self.open().is_open
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.is_open() {
            Ok(())
        } else {
            Err(refusal(RELINK_BRIDGE_E_NOT_RUNNING))
        }
    }

    fn as_guest<T>(&self, work: impl FnOnce() -> T) -> T {
        threads::as_guest(self.number, work)
    }

    /// Whether the calling thread, which runs or ticks it, may enter it from the stack that it is on.
    ///
    /// # Errors
    /// It has not entered the host's isolate that the runtime is in; or V8 cannot be on such a stack.
    pub fn can_be_entered(&self) -> Result<Entrance, Error> {
        // SAFETY: as above.
        let entered = self.while_open(|| unsafe { (self.bridge().entered)(self.raw) });
        match entered.unwrap_or(RELINK_BRIDGE_E_ISOLATE) {
            0 => Ok(Entrance::Open),
            RELINK_BRIDGE_E_ISOLATE => Ok(Entrance::NotInItsIsolate),
            code => Err(refusal(code)),
        }
    }

    /// Has the bootstrap called on its loop. Any thread.
    pub fn send(&self, id: u64, name: &CStr, text: &CStr) -> Sent {
        // SAFETY: as above; the texts are copied.
        let send = || Sent::of(unsafe { (self.bridge().send)(self.raw, id, name.as_ptr(), text.as_ptr()) });
        self.while_open(send).unwrap_or(Sent::NobodyListens)
    }

    /// The same at once, on its main thread, which alone may close it.
    pub fn call(&self, id: u64, name: &CStr, text: &CStr) -> Sent {
        // SAFETY: as above.
        let call = || Sent::of(unsafe { (self.bridge().call)(self.raw, id, name.as_ptr(), text.as_ptr()) });
        if !self.is_open() {
            return Sent::NobodyListens;
        }
        host_calls::back(|| self.entering(call)).unwrap_or(Sent::NobodyListens)
    }

    /// Has the work done on its loop. Any thread.
    pub fn post(&self, work: Work) -> Sent {
        /// # Safety
        /// `work` is the box that was given to the bridge, which gives it back once.
        unsafe extern "C" fn run(work: *mut c_void, run: c_int) {
            // SAFETY: promised by the caller.
            let work = unsafe { Box::from_raw(work.cast::<Work>()) };
            let _called = host_calls::call(threads::owner(), || work(run != 0));
        }
        let work = Box::into_raw(Box::new(work));
        // SAFETY: as above; the box lives until it is given back.
        let post = || Sent::of(unsafe { (self.bridge().post)(self.raw, Some(run), work.cast()) });
        let sent = self.while_open(post).unwrap_or(Sent::NobodyListens);
        if sent != Sent::Taken {
            // SAFETY: the bridge did not take it.
            drop(unsafe { Box::from_raw(work) });
        }
        sent
    }

    /// Asks Node to end. Any thread.
    pub fn stop(&self) {
        // SAFETY: as above.
        self.while_open(|| unsafe { (self.bridge().stop)(self.raw) });
    }

    /// The thread that runs it never comes back, and nobody waits for it.
    pub(super) fn leave_behind(&self) {
        // SAFETY: as above; any thread may call it.
        self.while_open(|| unsafe { (self.bridge().leave_behind)(self.raw) });
    }

    /// The calling thread, one of its own or of all, never returns.
    pub(super) fn abandon(&self) {
        // SAFETY: as above.
        self.while_open(|| unsafe { (self.bridge().abandon)(self.raw) });
    }
}

/// Work of the host's, and whether it is to be done: the guest may end before.
pub type Work = Box<dyn FnOnce(bool) + Send>;
