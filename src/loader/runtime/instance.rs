//! One runtime in the bridge, from `relink_bridge_open` to `relink_bridge_close` (shim/cpp/bridge.h).
//!
//! # Safety
//! The bridge's functions take the pointer that it gave, until that was closed. Work that is posted is a box that the bridge gives
//! back once.

use super::bridge::{Bridge, Raw, RunTimes, Start};
use super::channel::Channel;
use super::codes::{refusal, NOT_RUNNING, OTHER_THREAD, SHARED};
use super::event_loop::EventLoop;
use super::raw::{outcome, times, Options, RunResult};
use super::threads;
use crate::outcome::Outcome;
use relink_abi::error::Error;
use std::ffi::{c_int, c_void, CStr};
use std::sync::{PoisonError, RwLock};

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

impl Sent {
    fn of(code: c_int) -> Self {
        match code {
            0 => Self::Taken,
            OTHER_THREAD => Self::OtherThread,
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
    /// Whether it was not closed. Held for reading by what any thread may do.
    open: RwLock<bool>,
}
// SAFETY: the bridge says of each function which thread may call it, and answers others with an error.
unsafe impl Send for Instance {}
// SAFETY: as above.
unsafe impl Sync for Instance {}

impl Instance {
    /// What the bridge has opened.
    pub(super) fn new(bridge: &'static Bridge, raw: Raw, number: usize) -> Self {
        Self { bridge, raw, number, open: RwLock::new(true) }
    }

    /// Runs Node on the calling thread until it ends.
    pub fn run(&self, start: &Start, channel: Option<&Channel>) -> Result<(Outcome, RunTimes), Error> {
        let options = Options::new(start, channel, None);
        let mut result = RunResult::default();
        match (self.bridge.run)(self.raw, &raw const options, &raw mut result) {
            0 => Ok((outcome(&result), times(&result))),
            code => Err(refusal(code)),
        }
    }

    /// Brings Node up on the calling thread, to be ticked, in an isolate of its own or the host's. `channel` and `event_loop`
    /// must live until [`Instance::end`].
    pub fn begin(&self, start: &Start, channel: &Channel, event_loop: &EventLoop) -> Result<(), Error> {
        let options = Options::new(start, Some(channel), Some(event_loop));
        match self.as_guest(|| (self.bridge.begin)(self.raw, &raw const options)) {
            0 => Ok(()),
            code => Err(refusal(code)),
        }
    }

    /// Does what is due. `false`: Node has ended.
    pub fn tick(&self, budget_us: u64) -> Result<bool, Error> {
        match self.as_guest(|| (self.bridge.tick)(self.raw, budget_us)) {
            0 => Ok(true),
            NOT_RUNNING => Ok(false),
            code => Err(refusal(code)),
        }
    }

    /// Ends what [`Instance::begin`] began, on the same thread.
    pub fn end(&self) -> Result<(Outcome, RunTimes), Error> {
        let mut result = RunResult::default();
        match self.as_guest(|| (self.bridge.end)(self.raw, &raw mut result)) {
            0 => Ok((outcome(&result), times(&result))),
            code => Err(refusal(code)),
        }
    }

    /// Ends what it is in the bridge, now that Node has ended: nobody listens any more.
    ///
    /// # Errors
    /// Something of it can never end, or the host's isolate refers to the guest's code: the guest must stay loaded.
    pub fn close(&self) -> Result<(), Error> {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let code = self.as_guest(|| (self.bridge.close)(self.raw));
        *open = code != 0 && code != SHARED;
        match code {
            0 => Ok(()),
            code => Err(refusal(code)),
        }
    }

    /// For what any thread may do at any time.
    fn while_open<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.then(work)
    }

    fn as_guest<T>(&self, work: impl FnOnce() -> T) -> T {
        threads::as_guest(self.number, work)
    }

    /// Whether the calling thread has entered the isolate that it is in, if that is the host's.
    pub fn is_entered_here(&self) -> bool {
        (self.bridge.entered)(self.raw) == 0
    }

    /// Has the bootstrap called on its loop. Any thread.
    pub fn send(&self, id: u64, name: &CStr, text: &CStr) -> Sent {
        let send = || Sent::of((self.bridge.send)(self.raw, id, name.as_ptr(), text.as_ptr()));
        self.while_open(send).unwrap_or(Sent::NobodyListens)
    }

    /// The same at once, on its main thread, which alone may close it.
    pub fn call(&self, id: u64, name: &CStr, text: &CStr) -> Sent {
        let call = || Sent::of((self.bridge.call)(self.raw, id, name.as_ptr(), text.as_ptr()));
        match self.while_open(|| ()) {
            Some(()) => self.as_guest(call),
            None => Sent::NobodyListens,
        }
    }

    /// Has the work done on its loop. Any thread.
    pub fn post(&self, work: Work) -> Sent {
        extern "C" fn run(work: *mut c_void, run: c_int) {
            // SAFETY: the box that was given to the bridge, which gives it back once.
            let work = unsafe { Box::from_raw(work.cast::<Work>()) };
            threads::as_host(|| work(run != 0));
        }
        let work = Box::into_raw(Box::new(work));
        let post = || Sent::of((self.bridge.post)(self.raw, run, work.cast()));
        let sent = self.while_open(post).unwrap_or(Sent::NobodyListens);
        if sent != Sent::Taken {
            // SAFETY: the bridge did not take it.
            drop(unsafe { Box::from_raw(work) });
        }
        sent
    }

    /// Asks Node to end. Any thread.
    pub fn stop(&self) {
        self.while_open(|| (self.bridge.stop)(self.raw));
    }

    /// The calling thread, one of its own or of all, never returns.
    pub(super) fn abandon(&self) {
        self.while_open(|| (self.bridge.abandon)(self.raw));
    }
}

/// Work of the host's, and whether it is to be done: the guest may end before.
pub type Work = Box<dyn FnOnce(bool) + Send>;
