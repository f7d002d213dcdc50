//! The C interface of the bridge (shim/cpp/bridge.h), mirrored by hand.
//!
//! # Safety
//! The functions are found by name in the staged bridge and have the signatures that the header declares. They may be
//! called once every slot of guest and bridge is bound and their initialisers have run.

use super::channel::Channel;
use super::codes::{refusal, OTHER_BRIDGE};
use super::event_loop::EventLoop;
use super::raw::{kept_for_ever, outcome, times, Host, Options, RunResult};
use super::shared::SharedIsolate;
use super::{guards, lifecycle};
use crate::address::RunAddr;
use crate::error::Error;
use crate::report::log::{self, Level};
use crate::report::Outcome;
use std::ffi::{c_char, c_int, c_void, CStr};
use std::sync::{Mutex, OnceLock, PoisonError};

/// `RELINK_HOST_GUEST_ADAPTED`: the guest's slots of all adapters are bound.
const GUEST_ADAPTED: u32 = 1;

/// With what Node starts.
#[derive(Clone, Debug)]
pub struct Start<'a> {
    /// Its command line.
    pub line: Vec<String>,
    /// What scripts find in `process.relink`: a JSON text.
    pub about: String,
    /// The host's isolate for it to be in.
    pub shared: Option<&'a SharedIsolate>,
}

/// What is known of the host's platform.
#[derive(Clone, Copy, Debug)]
pub struct Platform {
    /// Address of `v8::internal::V8::platform_`.
    pub cell: RunAddr,
    /// Slots of its vtable to be copied.
    pub slots: u32,
    /// Slot of `node::MultiIsolatePlatform::UnregisterIsolate`, if the host is a Node of the guest's line.
    pub unregister_isolate: Option<u32>,
}

/// What the bridge told while it ran.
#[derive(Clone, Debug, Default)]
pub struct Events {
    /// Addresses of the guest's isolates.
    pub isolates: Vec<i64>,
    /// V8 flags that were set.
    pub flags_set: Vec<String>,
    /// V8 flags that were dropped.
    pub flags_dropped: Vec<String>,
    /// The rest.
    pub notes: Vec<String>,
}

static EVENTS: Mutex<Events> = Mutex::new(Events {
    isolates: Vec::new(),
    flags_set: Vec::new(),
    flags_dropped: Vec::new(),
    notes: Vec::new(),
});
static BRIDGE: OnceLock<Bridge> = OnceLock::new();

/// Times of a run in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct RunTimes {
    /// Initialisation of Node and its platform.
    pub init: u64,
    /// Isolate, context and bootstrap.
    pub environment: u64,
    /// The main script.
    pub load: u64,
    /// The event loop.
    pub event_loop: u64,
    /// Taking the environment down.
    pub teardown: u64,
}

/// The functions of a staged bridge.
#[derive(Debug)]
pub struct Bridge {
    attach: extern "C" fn(*const Host) -> c_int,
    detach: extern "C" fn() -> c_int,
    run: extern "C" fn(*const Options, *mut RunResult) -> c_int,
    stop: extern "C" fn() -> c_int,
    host_leaving: extern "C" fn() -> c_int,
    abandon: extern "C" fn(),
    escape: extern "C" fn(),
    release: extern "C" fn() -> c_int,
    begin: extern "C" fn(*const Options) -> c_int,
    tick: extern "C" fn(u64) -> c_int,
    end: extern "C" fn(*mut RunResult) -> c_int,
    entered: extern "C" fn() -> c_int,
    send: extern "C" fn(u64, *const c_char, *const c_char) -> c_int,
    call: extern "C" fn(u64, *const c_char, *const c_char) -> c_int,
    post: extern "C" fn(extern "C" fn(*mut c_void, c_int), *mut c_void) -> c_int,
}

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
            -14 => Self::OtherThread,
            _ => Self::NobodyListens,
        }
    }
}

impl Bridge {
    /// Finds the functions of the staged bridge. `function` gives the run-time address of one by its name.
    ///
    /// # Safety
    /// The addresses are those of the bridge; all its slots are bound and its initialisers have run.
    pub unsafe fn find(function: &dyn Fn(&str) -> Result<RunAddr, Error>) -> Result<&'static Self, Error> {
        macro_rules! find {
            ($($field:ident: $name:literal as $kind:ty),* $(,)?) => {
                Self { $($field: {
                    let address = function($name)?.0 as usize;
                    // SAFETY: the address of the bridge's function of that name, whose signature the header declares.
                    unsafe { std::mem::transmute::<usize, $kind>(address) }
                }),* }
            };
        }
        let bridge = find! {
            attach: "relink_bridge_attach" as extern "C" fn(*const Host) -> c_int,
            detach: "relink_bridge_detach" as extern "C" fn() -> c_int,
            run: "relink_bridge_run" as extern "C" fn(*const Options, *mut RunResult) -> c_int,
            stop: "relink_bridge_stop" as extern "C" fn() -> c_int,
            host_leaving: "relink_bridge_host_leaving" as extern "C" fn() -> c_int,
            abandon: "relink_bridge_abandon" as extern "C" fn(),
            escape: "relink_bridge_escape" as extern "C" fn(),
            release: "relink_bridge_release" as extern "C" fn() -> c_int,
            begin: "relink_bridge_begin" as extern "C" fn(*const Options) -> c_int,
            tick: "relink_bridge_tick" as extern "C" fn(u64) -> c_int,
            end: "relink_bridge_end" as extern "C" fn(*mut RunResult) -> c_int,
            entered: "relink_bridge_entered" as extern "C" fn() -> c_int,
            send: "relink_bridge_send" as extern "C" fn(u64, *const c_char, *const c_char) -> c_int,
            call: "relink_bridge_call" as extern "C" fn(u64, *const c_char, *const c_char) -> c_int,
            post: "relink_bridge_post"
                as extern "C" fn(extern "C" fn(*mut c_void, c_int), *mut c_void) -> c_int,
        };
        let kept = BRIDGE.get_or_init(|| bridge);
        // Another one would be bound to this guest, and the kept one entered, which is bound to an earlier guest.
        if kept.run as usize != function("relink_bridge_run")?.0 as usize {
            return Err(refusal(OTHER_BRIDGE));
        }
        Ok(kept)
    }

    /// Installs the platform hook.
    ///
    /// # Safety
    /// `platform` tells the truth about the host's V8; `unit` is the run-time address of `relink_unit_attach` of a unit whose
    /// slots are bound and whose initialisers have run.
    pub unsafe fn attach(
        &self,
        platform: Platform,
        unit: Option<RunAddr>,
        foreign_flags: &[&str],
    ) -> Result<(), Error> {
        let host = Host {
            size: size_of::<Host>() as u32,
            flags: GUEST_ADAPTED,
            platform_cell: platform.cell.0 as usize as *mut *mut c_void,
            platform_slots: platform.slots,
            unregister_isolate_slot: platform.unregister_isolate.map_or(-1, |slot| slot as i32),
            log: on_log,
            guest_thread: on_guest_thread,
            event: on_event,
            foreign_flags: kept_for_ever(foreign_flags.iter().map(|f| (*f).to_owned())).1,
            unit: unit.map_or(std::ptr::null(), |at| at.0 as usize as *const c_void),
        };
        match (self.attach)(&raw const host) {
            0 => Ok(()),
            code => Err(refusal(code)),
        }
    }

    /// Runs Node on the calling thread until it ends.
    pub fn run(&self, start: &Start, channel: Option<&Channel>) -> Result<(Outcome, RunTimes), Error> {
        let options = Options::new(start, channel, None);
        let mut result = RunResult::default();
        match (self.run)(&raw const options, &raw mut result) {
            0 => Ok((outcome(&result), times(&result))),
            code => Err(refusal(code)),
        }
    }

    /// Brings Node up on the calling thread, to be ticked, in an isolate of its own or the host's. `channel` and `event_loop`
    /// must live until [`Bridge::end`].
    pub fn begin(&self, start: &Start, channel: &Channel, event_loop: &EventLoop) -> Result<(), Error> {
        let options = Options::new(start, Some(channel), Some(event_loop));
        match guards::as_guest(|| (self.begin)(&raw const options)) {
            0 => Ok(()),
            code => Err(refusal(code)),
        }
    }

    /// Does what is due. `false`: Node has ended.
    pub fn tick(&self, budget_us: u64) -> Result<bool, Error> {
        const NOT_RUNNING: c_int = -9;
        match guards::as_guest(|| (self.tick)(budget_us)) {
            0 => Ok(true),
            NOT_RUNNING => Ok(false),
            code => Err(refusal(code)),
        }
    }

    /// Ends what [`Bridge::begin`] began, on the same thread.
    pub fn end(&self) -> Result<(Outcome, RunTimes), Error> {
        let mut result = RunResult::default();
        match guards::as_guest(|| (self.end)(&raw mut result)) {
            0 => Ok((outcome(&result), times(&result))),
            code => Err(refusal(code)),
        }
    }

    /// Takes the platform hook out; `false` if the host is leaving, which then takes its platform down itself.
    pub fn detach(&self) -> Result<bool, Error> {
        const LEAVING: c_int = -10;
        match (self.detach)() {
            0 => Ok(true),
            LEAVING => Ok(false),
            code => Err(refusal(code)),
        }
    }
}

/// Takes Node's per-process part down when the guest has ended, and forgets what the bridge has told.
///
/// # Errors
/// Something of the guest can never end: it must stay loaded.
pub fn release() -> Result<(), Error> {
    let code = BRIDGE.get().map_or(0, |bridge| (bridge.release)());
    *EVENTS.lock().unwrap_or_else(PoisonError::into_inner) = Events::default();
    match code {
        0 => Ok(()),
        code => Err(refusal(code)),
    }
}

/// Whether the calling thread has entered the isolate that a shared guest is in; yes for any other guest.
pub fn is_entered_here() -> bool {
    BRIDGE.get().is_none_or(|bridge| (bridge.entered)() == 0)
}

/// Ends a guest that the calling thread ticks; nothing if that is another one.
pub fn end_ticked() -> Option<Outcome> {
    BRIDGE.get()?.end().ok().map(|(outcome, _)| outcome)
}

/// Has the guest's bootstrap called on its loop. Any thread.
pub fn send(id: u64, name: &CStr, text: &CStr) -> Sent {
    BRIDGE.get().map_or(Sent::NobodyListens, |b| Sent::of((b.send)(id, name.as_ptr(), text.as_ptr())))
}

/// The same at once, on the guest's main thread.
pub fn call(id: u64, name: &CStr, text: &CStr) -> Sent {
    let call = |b: &Bridge| Sent::of(guards::as_guest(|| (b.call)(id, name.as_ptr(), text.as_ptr())));
    BRIDGE.get().map_or(Sent::NobodyListens, call)
}

/// Work of the host's, and whether it is to be done: the guest may end before.
type Work = Box<dyn FnOnce(bool) + Send>;

/// Has the work done on the guest's loop. Any thread.
pub fn post(work: Work) -> Sent {
    extern "C" fn run(work: *mut c_void, run: c_int) {
        // SAFETY: the box that was given to the bridge, which gives it back once.
        let work = unsafe { Box::from_raw(work.cast::<Work>()) };
        guards::as_host(|| work(run != 0));
    }
    let Some(bridge) = BRIDGE.get() else { return Sent::NobodyListens };
    let work = Box::into_raw(Box::new(work));
    let sent = Sent::of((bridge.post)(run, work.cast()));
    if sent != Sent::Taken {
        // SAFETY: the bridge did not take it.
        drop(unsafe { Box::from_raw(work) });
    }
    sent
}

/// Whether a bridge was entered in this process: there is no other one then.
pub fn is_entered() -> bool {
    BRIDGE.get().is_some()
}

/// The refusal where the bridge serves a guest that stays.
pub fn taken() -> Error {
    refusal(OTHER_BRIDGE)
}

/// Asks a running Node to stop, if there is a bridge.
pub fn stop() {
    if let Some(bridge) = BRIDGE.get() {
        (bridge.stop)();
    }
}

/// Tells the bridge that the calling thread of the guest will never return.
pub fn abandon() {
    if let Some(bridge) = BRIDGE.get() {
        (bridge.abandon)();
    }
}

/// Does not return on a thread of the host's that ticks the guest: it goes on where it entered the guest, which is lost.
pub fn escape() {
    if let Some(bridge) = BRIDGE.get() {
        (bridge.escape)();
    }
}

/// Tells the bridge that the host is leaving: it stops Node and waits for it, within bounds.
pub fn host_leaving() {
    if let Some(bridge) = BRIDGE.get() {
        (bridge.host_leaving)();
    }
}

/// What the bridge has told so far.
pub fn events() -> Events {
    EVENTS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

extern "C" fn on_guest_thread() -> c_int {
    c_int::from(guards::is_guest_thread())
}

extern "C" fn on_log(level: c_int, message: *const c_char) {
    let level = match level {
        1 => Level::Error,
        2 => Level::Warn,
        3 => Level::Info,
        _ => Level::Debug,
    };
    log::tell(level, &text(message));
}

/// `enum relink_bridge_event`.
extern "C" fn on_event(kind: c_int, value: i64, message: *const c_char) {
    let message = text(message);
    if kind == 3 {
        lifecycle::host_leaves();
    }
    let mut events = EVENTS.lock().unwrap_or_else(PoisonError::into_inner);
    match kind {
        1 => events.flags_dropped.push(message),
        2 => events.flags_set.push(message),
        3 => events.notes.push("the host left before the guest had ended".into()),
        4 => events.isolates.push(value),
        5 => {}
        6 => events.notes.push(format!("withheld from the host: {message}")),
        other => events.notes.push(format!("event {other} ({value}) {message}")),
    }
}

fn text(message: *const c_char) -> String {
    if message.is_null() {
        return String::new();
    }
    // SAFETY: not null; the bridge passes NUL-terminated strings that live for the call.
    unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_bridge_for_all_guests() {
        extern "C" fn first() -> c_int {
            0
        }
        extern "C" fn second() -> c_int {
            1
        }
        let find = |function: extern "C" fn() -> c_int| {
            let address = RunAddr(function as usize as u64);
            // SAFETY: none of what is found is called but by tests, which want nothing of it.
            unsafe { Bridge::find(&|_| Ok(address)) }.map(|_| ())
        };
        assert!(find(first).is_ok() && find(first).is_ok());
        assert!(matches!(find(second), Err(Error::Bridge { code: OTHER_BRIDGE, .. })));
    }
}
