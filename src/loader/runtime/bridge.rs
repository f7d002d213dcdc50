//! The C interface of the bridge (shim/cpp/bridge.h), mirrored by hand.
//!
//! # Safety
//! The functions are found by name in the staged bridge and have the signatures that the header declares. They may be
//! called once every slot of guest and bridge is bound and their initialisers have run.

use super::codes::{refusal, LOST, OTHER_BRIDGE};
use super::instance::Instance;
use super::lifecycle::{self, Life};
use super::raw::{kept_for_ever, Host, Options, RunResult};
use super::shared::SharedIsolate;
use super::{threads, withheld};
use crate::log::{self, Level};
use relink_abi::error::Error;
use relink_elf::address::RunAddr;
use std::collections::BTreeMap;
use std::ffi::{c_char, c_int, c_void, CStr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// `RELINK_HOST_GUEST_ADAPTED`: the guest's slots of all adapters are bound.
const GUEST_ADAPTED: u32 = 1;

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

/// `relink_bridge_runtime`.
pub(super) type Raw = *mut c_void;

/// The functions of a staged bridge.
#[derive(Debug)]
pub struct Bridge {
    pub(super) attach: extern "C" fn(*const Host) -> c_int,
    pub(super) detach: extern "C" fn() -> c_int,
    pub(super) host_leaving: extern "C" fn() -> c_int,
    pub(super) escape: extern "C" fn(),
    pub(super) release: extern "C" fn() -> c_int,
    pub(super) open: extern "C" fn() -> Raw,
    pub(super) close: extern "C" fn(Raw) -> c_int,
    pub(super) run: extern "C" fn(Raw, *const Options, *mut RunResult) -> c_int,
    pub(super) begin: extern "C" fn(Raw, *const Options) -> c_int,
    pub(super) tick: extern "C" fn(Raw, u64) -> c_int,
    pub(super) end: extern "C" fn(Raw, *mut RunResult) -> c_int,
    pub(super) entered: extern "C" fn(Raw) -> c_int,
    pub(super) send: extern "C" fn(Raw, u64, *const c_char, *const c_char) -> c_int,
    pub(super) call: extern "C" fn(Raw, u64, *const c_char, *const c_char) -> c_int,
    pub(super) post: extern "C" fn(Raw, extern "C" fn(*mut c_void, c_int), *mut c_void) -> c_int,
    pub(super) stop: extern "C" fn(Raw) -> c_int,
    pub(super) abandon: extern "C" fn(Raw),
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
            host_leaving: "relink_bridge_host_leaving" as extern "C" fn() -> c_int,
            escape: "relink_bridge_escape" as extern "C" fn(),
            release: "relink_bridge_release" as extern "C" fn() -> c_int,
            open: "relink_bridge_open" as extern "C" fn() -> Raw,
            close: "relink_bridge_close" as extern "C" fn(Raw) -> c_int,
            run: "relink_bridge_run" as extern "C" fn(Raw, *const Options, *mut RunResult) -> c_int,
            begin: "relink_bridge_begin" as extern "C" fn(Raw, *const Options) -> c_int,
            tick: "relink_bridge_tick" as extern "C" fn(Raw, u64) -> c_int,
            end: "relink_bridge_end" as extern "C" fn(Raw, *mut RunResult) -> c_int,
            entered: "relink_bridge_entered" as extern "C" fn(Raw) -> c_int,
            send: "relink_bridge_send" as extern "C" fn(Raw, u64, *const c_char, *const c_char) -> c_int,
            call: "relink_bridge_call" as extern "C" fn(Raw, u64, *const c_char, *const c_char) -> c_int,
            post: "relink_bridge_post"
                as extern "C" fn(Raw, extern "C" fn(*mut c_void, c_int), *mut c_void) -> c_int,
            stop: "relink_bridge_stop" as extern "C" fn(Raw) -> c_int,
            abandon: "relink_bridge_abandon" as extern "C" fn(Raw),
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
            may_inspect,
        };
        match (self.attach)(&raw const host) {
            0 => Ok(()),
            code => Err(refusal(code)),
        }
    }

    /// A runtime that does not run yet, for the life of this number.
    ///
    /// # Errors
    /// A runtime was lost in this guest, which takes no more.
    pub fn open(&'static self, number: usize) -> Result<Instance, Error> {
        let raw = (self.open)();
        if raw.is_null() {
            return Err(refusal(LOST));
        }
        Ok(Instance::new(self, raw, number))
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

/// Takes Node's per-process part down when all runtimes have ended, and forgets what the bridge has told.
///
/// # Errors
/// Something of the guest can never end: it must stay loaded.
pub fn release() -> Result<(), Error> {
    let code = BRIDGE.get().map_or(0, |bridge| (bridge.release)());
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
    (bridge.abandon)(std::ptr::null_mut());
    for instance in lives.iter().filter_map(|life| life.instance()) {
        instance.abandon();
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
    if kind == 4 {
        threads::has_an_isolate();
    }
    let mut all = all_events();
    let events = all.entry(threads::owner()).or_default();
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
