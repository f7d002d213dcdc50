//! Structures of shim/cpp/bridge.h, mirrored by hand.

use super::bridge::{RunTimes, Start};
use super::channel::{Channel, RawChannel};
use super::event_loop::EventLoop;
use super::shared::RawShared;
use crate::outcome::Outcome;
use std::ffi::{c_char, c_int, c_void, CStr, CString};

/// `relink_bridge_host`.
#[repr(C)]
pub(super) struct Host {
    pub(super) size: u32,
    pub(super) flags: u32,
    pub(super) platform_cell: *mut *mut c_void,
    pub(super) platform_slots: u32,
    pub(super) unregister_isolate_slot: i32,
    pub(super) log: extern "C" fn(c_int, *const c_char),
    pub(super) guest_thread: extern "C" fn() -> c_int,
    pub(super) event: extern "C" fn(c_int, i64, *const c_char),
    pub(super) foreign_flags: *const *const c_char,
    pub(super) unit: *const c_void,
    pub(super) may_inspect: extern "C" fn() -> c_int,
}
const _: () = assert!(size_of::<Host>() == 72);

/// `relink_bridge_options`.
#[repr(C)]
pub(super) struct Options {
    pub(super) size: u32,
    pub(super) max_heap_mib: u32,
    pub(super) argc: c_int,
    pub(super) node_argc: c_int,
    pub(super) argv: *const *const c_char,
    pub(super) ready: Option<extern "C" fn(*mut c_void)>,
    pub(super) context: *mut c_void,
    pub(super) channel: *const RawChannel,
    pub(super) event_loop: *const EventLoop,
    pub(super) about: *const c_char,
    pub(super) shared: *const RawShared,
}
const _: () = assert!(size_of::<Options>() == 72);

/// `relink_bridge_result`.
#[repr(C)]
pub(super) struct RunResult {
    pub(super) size: u32,
    pub(super) exit_code: i32,
    pub(super) how: u32,
    pub(super) us_init: u64,
    pub(super) us_environment: u64,
    pub(super) us_load: u64,
    pub(super) us_loop: u64,
    pub(super) us_teardown: u64,
    pub(super) message: [u8; 512],
}
const _: () = assert!(size_of::<RunResult>() == 568);

impl Options {
    /// `start` is kept for ever.
    pub(super) fn new(start: &Start, channel: Option<&Channel>, event_loop: Option<&EventLoop>) -> Self {
        let (argc, argv) = kept_for_ever(start.line.iter().cloned());
        let about = CString::new(&*start.about).map_or(std::ptr::null(), |text| text.into_raw().cast_const());
        Self {
            size: size_of::<Self>() as u32,
            max_heap_mib: start.max_heap_mib,
            argc,
            node_argc: start.node_args as c_int,
            argv,
            ready: None,
            context: std::ptr::null_mut(),
            channel: channel.map_or(std::ptr::null(), |c| &raw const *c.raw()),
            event_loop: event_loop.map_or(std::ptr::null(), |l| &raw const *l),
            about,
            shared: start.shared.map_or(std::ptr::null(), |shared| &raw const *shared.raw()),
        }
    }
}

impl Default for RunResult {
    fn default() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            exit_code: 0,
            how: 0,
            us_init: 0,
            us_environment: 0,
            us_load: 0,
            us_loop: 0,
            us_teardown: 0,
            message: [0; 512],
        }
    }
}

/// A NULL-terminated vector of C strings that lives for ever, as Node and the bridge expect of theirs.
pub(super) fn kept_for_ever(strings: impl Iterator<Item = String>) -> (c_int, *const *const c_char) {
    let mut pointers: Vec<*const c_char> =
        strings.filter_map(|s| CString::new(s).ok()).map(|s| s.into_raw().cast_const()).collect();
    let count = pointers.len() as c_int;
    pointers.push(std::ptr::null());
    (count, Box::leak(pointers.into_boxed_slice()).as_ptr())
}

pub(super) fn outcome(result: &RunResult) -> Outcome {
    const HOW: [&str; 7] = ["finished", "exit", "uncaught", "stopped", "init-failed", "early", "heap-limit"];
    let message = CStr::from_bytes_until_nul(&result.message).map(|m| m.to_string_lossy().into_owned());
    Outcome {
        how: HOW.get(result.how as usize).copied().unwrap_or("unknown").into(),
        exit_code: result.exit_code,
        message: message.unwrap_or_default(),
    }
}

pub(super) fn times(result: &RunResult) -> RunTimes {
    RunTimes {
        init: result.us_init,
        environment: result.us_environment,
        load: result.us_load,
        event_loop: result.us_loop,
        teardown: result.us_teardown,
    }
}
