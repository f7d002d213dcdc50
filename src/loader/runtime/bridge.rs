//! The C interface of the bridge (shim/cpp/bridge.h).
//!
//! # Safety
//! The functions are found by name in the staged bridge and have the signatures that the header declares. They may be
//! called once every slot of guest and bridge is bound and their initialisers have run.

use super::codes::{refusal, LOST, OTHER_BRIDGE};
use super::instance::Instance;
use super::lifecycle::{self, Life};
use super::raw::header::{
    relink_bridge_host, relink_bridge_runtime, Functions, RELINK_BRIDGE_E_LEAVING,
    RELINK_EVENT_CALL_WITHHELD, RELINK_EVENT_FLAG_FILTERED, RELINK_EVENT_FLAG_SET, RELINK_EVENT_HOST_LEAVING,
    RELINK_EVENT_ISOLATE_ADDED, RELINK_EVENT_ISOLATE_REMOVED, RELINK_EVENT_RESTRICTED,
    RELINK_HOST_GUEST_ADAPTED, RELINK_LOG_DEBUG, RELINK_LOG_ERROR, RELINK_LOG_INFO, RELINK_LOG_WARN,
};
use super::raw::kept_for_ever;
use super::shared::SharedIsolate;
use super::{float, host_calls, stacks, threads, withheld};
use crate::log::{self, Level};
use relink_abi::error::Error;
use relink_elf::address::RunAddr;
use std::collections::BTreeMap;
use std::ffi::{c_char, c_int, c_void, CStr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// With what Node starts.
#[derive(Clone, Debug)]
pub struct Start<'a> {
    /// Its command line.
    pub line: Vec<String>,
    /// How many of these, behind the first, are Node's own options.
    pub node_args: usize,
    /// A limit of its JavaScript heap, in MiB; 0: V8's own.
    pub max_heap_mib: u32,
    /// What scripts find in `process.relink`: a JSON text.
    pub about: String,
    /// The host's isolate for it to be in.
    pub shared: Option<&'a SharedIsolate>,
    /// What it may use of the stack of a thread of the host's that ticks it, in KiB; 0: what there is.
    pub stack_kib: u32,
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
    /// What the guest cannot do because of how the host has set up V8.
    pub restricted: Vec<String>,
    /// The rest.
    pub notes: Vec<String>,
}

/// By the number of the runtime; 0: what concerns all.
static EVENTS: Mutex<BTreeMap<usize, Events>> = Mutex::new(BTreeMap::new());
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

/// `relink_bridge_runtime *`.
pub(super) type Raw = *mut relink_bridge_runtime;

/// A staged bridge.
#[derive(Debug)]
pub struct Bridge(Functions);

impl Bridge {
    /// Finds the functions of the staged bridge. `function` gives the run-time address of one by its name.
    ///
    /// # Safety
    /// The addresses are those of the bridge; all its slots are bound and its initialisers have run.
    pub unsafe fn find(function: &dyn Fn(&str) -> Result<RunAddr, Error>) -> Result<&'static Self, Error> {
        // SAFETY: promised by the caller; a bridge stays loaded.
        let found = unsafe { Functions::find(|name| function(name).map(|at| at.0 as usize)) }?;
        let kept = BRIDGE.get_or_init(|| Self(found));
        // Another one would be bound to this guest, and the kept one entered, which is bound to an earlier guest.
        if kept.0.run as usize != found.run as usize {
            return Err(refusal(OTHER_BRIDGE));
        }
        Ok(kept)
    }

    /// Its functions, each to be called as the header says.
    pub(super) fn functions(&self) -> &Functions {
        &self.0
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
        let host = relink_bridge_host {
            size: size_of::<relink_bridge_host>() as u32,
            flags: RELINK_HOST_GUEST_ADAPTED as u32,
            platform_cell: platform.cell.0 as usize as *mut *mut c_void,
            platform_slots: platform.slots,
            unregister_isolate_slot: platform.unregister_isolate.map_or(-1, |slot| slot as i32),
            log: Some(on_log),
            guest_thread: Some(on_guest_thread),
            event: Some(on_event),
            foreign_flags: kept_for_ever(foreign_flags.iter().map(|f| (*f).to_owned())).1,
            unit: unit.map_or(std::ptr::null(), |at| at.0 as usize as *const c_void),
            may_inspect: Some(may_inspect),
            calculating: Some(calculating),
            stack: Some(stack_at),
        };
        // SAFETY: promised by the caller; the bridge copies the structure, and what it points at lives for ever.
        match unsafe { (self.0.attach)(&raw const host) } {
            0 => Ok(()),
            code => Err(refusal(code)),
        }
    }

    /// A runtime that does not run yet, for the life of this number.
    ///
    /// # Errors
    /// A runtime was lost in this guest, which takes no more.
    ///
    /// # Safety
    /// The guest that the bridge is bound to has been initialised, and stays loaded until the runtime is closed.
    pub unsafe fn open(&'static self, number: usize) -> Result<Instance, Error> {
        // SAFETY: promised by the caller.
        let raw = unsafe { (self.0.open)() };
        if raw.is_null() {
            return Err(refusal(LOST));
        }
        // SAFETY: it was opened just now, and the rest is promised by the caller.
        Ok(unsafe { Instance::new(self, raw, number) })
    }

    /// Takes the platform hook out; `false` if the host is leaving, which then takes its platform down itself.
    pub fn detach(&self) -> Result<bool, Error> {
        // SAFETY: any thread may call it at any time; where nothing is attached it says so.
        match unsafe { (self.0.detach)() } {
            0 => Ok(true),
            RELINK_BRIDGE_E_LEAVING => Ok(false),
            code => Err(refusal(code)),
        }
    }
}

/// Takes Node's per-process part down when all runtimes have ended, and forgets what the bridge has told.
///
/// # Errors
/// Something of the guest can never end: it must stay loaded.
///
/// # Safety
/// The guest that the bridge is bound to is loaded.
pub unsafe fn release() -> Result<(), Error> {
    // SAFETY: promised by the caller.
    let code = BRIDGE.get().map_or(0, |bridge| unsafe { (bridge.0.release)() });
    all_events().clear();
    match code {
        0 => Ok(()),
        code => Err(refusal(code)),
    }
}

/// Whether a bridge was entered in this process: there is no other one then.
pub fn is_entered() -> bool {
    BRIDGE.get().is_some()
}

/// The refusal where the bridge serves a guest that stays.
pub fn taken() -> Error {
    refusal(OTHER_BRIDGE)
}

/// Tells the bridge that the calling thread of the guest, which works for these, will never return.
pub fn abandon(lives: &[Arc<Life>]) {
    let Some(bridge) = BRIDGE.get() else { return };
    // SAFETY: any thread may call it, and null is some runtime.
    unsafe { (bridge.0.abandon)(std::ptr::null_mut()) };
    for instance in lives.iter().filter_map(|life| life.instance()) {
        instance.abandon();
    }
}

/// Does not return on a thread of the host's that ticks the guest: it goes on where it entered the guest, which is lost.
pub fn escape() {
    if let Some(bridge) = BRIDGE.get() {
        // SAFETY: any thread may call it; the frames that it leaves are the guest's and the bridge's, and are never entered again.
        unsafe { (bridge.0.escape)() };
    }
}

/// Tells the bridge that the host is leaving: it stops Node and waits for it, within bounds.
pub fn host_leaving() {
    if let Some(bridge) = BRIDGE.get() {
        // SAFETY: any thread may call it at any time.
        unsafe { (bridge.0.host_leaving)() };
    }
}

fn all_events() -> MutexGuard<'static, BTreeMap<usize, Events>> {
    EVENTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the bridge has told so far of the runtime of this number, and of all.
pub fn events(number: usize) -> Events {
    let all = all_events();
    let mut told = all.get(&0).cloned().unwrap_or_default();
    if let Some(own) = all.get(&number) {
        told.isolates.extend(&own.isolates);
        told.flags_set.extend_from_slice(&own.flags_set);
        told.flags_dropped.extend_from_slice(&own.flags_dropped);
        told.restricted.extend_from_slice(&own.restricted);
        told.notes.extend_from_slice(&own.notes);
    }
    told
}

/// The runtime of this number is gone.
pub fn forget_events(number: usize) {
    all_events().remove(&number);
}

extern "C" fn on_guest_thread() -> c_int {
    c_int::from(threads::is_guests())
}

extern "C" fn may_inspect() -> c_int {
    c_int::from(withheld::may_inspect())
}

/// # Safety
/// `own` is null or points to an integer.
unsafe extern "C" fn stack_at(here: usize, own: *mut c_int) -> usize {
    let (lowest, is_own) = stacks::at(here);
    if !own.is_null() {
        // SAFETY: the bridge's integer.
        unsafe { *own = c_int::from(is_own) };
    }
    lowest
}

/// # Safety
/// `work` may be called with `data`.
unsafe extern "C" fn calculating(work: Option<unsafe extern "C" fn(*mut c_void)>, data: *mut c_void) {
    if let Some(work) = work {
        // SAFETY: promised by the caller.
        float::as_guest(|| unsafe { work(data) });
    }
}

/// # Safety
/// `message` is null or a NUL-terminated string.
unsafe extern "C" fn on_log(level: c_int, message: *const c_char) {
    let level = match level {
        RELINK_LOG_ERROR => Level::Error,
        RELINK_LOG_WARN => Level::Warn,
        RELINK_LOG_INFO => Level::Info,
        RELINK_LOG_DEBUG => Level::Debug,
        _ => Level::Debug,
    };
    // SAFETY: promised by the caller.
    log::tell(level, &unsafe { text(message) });
}

/// `kind` is one of `enum relink_bridge_event`.
///
/// # Safety
/// `message` is null or a NUL-terminated string.
unsafe extern "C" fn on_event(kind: c_int, value: i64, message: *const c_char) {
    // SAFETY: promised by the caller.
    let message = unsafe { text(message) };
    if kind == RELINK_EVENT_HOST_LEAVING {
        lifecycle::host_leaves();
        host_calls::see_off();
    }
    if kind == RELINK_EVENT_ISOLATE_ADDED {
        threads::has_an_isolate();
    }
    let mut all = all_events();
    let events = all.entry(threads::owner()).or_default();
    match kind {
        RELINK_EVENT_FLAG_FILTERED => events.flags_dropped.push(message),
        RELINK_EVENT_FLAG_SET => events.flags_set.push(message),
        RELINK_EVENT_HOST_LEAVING => events.notes.push("the host left before the guest had ended".into()),
        RELINK_EVENT_ISOLATE_ADDED => events.isolates.push(value),
        RELINK_EVENT_ISOLATE_REMOVED => {}
        RELINK_EVENT_RESTRICTED => events.restricted.push(message),
        RELINK_EVENT_CALL_WITHHELD => events.notes.push(format!("withheld from the host: {message}")),
        other => events.notes.push(format!("event {other} ({value}) {message}")),
    }
}

/// # Safety
/// `message` is null or a NUL-terminated string.
unsafe fn text(message: *const c_char) -> String {
    if message.is_null() {
        return String::new();
    }
    // SAFETY: not null, and promised by the caller.
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
