//! shim/cpp/bridge.h in Rust, and what of it is filled in or read here.
//!
//! Structures, constants and functions are made from the header when Relink is built ([`header`], by src/header), under the names
//! that they have there.
//!
//! # Safety
//! Functions are looked up by name in the staged bridge, which has those of the header.

use super::bridge::{RunTimes, Start};
use super::channel::Channel;
use super::event_loop::EventLoop;
use crate::outcome::Outcome;
use header::{relink_bridge_options, relink_bridge_result};
use std::ffi::{c_char, c_int, c_uint, CStr, CString};

/// What the build made of shim/cpp/bridge.h.
#[allow(non_camel_case_types, reason = "the names are those of the header")]
pub(super) mod header {
    include!(concat!(env!("OUT_DIR"), "/bridge.rs"));
}

/// What the bridge is to run. `start` is kept for ever; `channel` and `event_loop` are only pointed at.
pub(super) fn options(
    start: &Start,
    channel: Option<&Channel>,
    event_loop: Option<&EventLoop>,
) -> relink_bridge_options {
    let (argc, argv) = kept_for_ever(start.line.iter().cloned());
    let about = CString::new(&*start.about).map_or(std::ptr::null(), |text| text.into_raw().cast_const());
    relink_bridge_options {
        size: size_of::<relink_bridge_options>() as u32,
        max_heap_mib: start.max_heap_mib,
        argc,
        node_argc: start.node_args as c_int,
        argv,
        ready: None,
        ctx: std::ptr::null_mut(),
        channel: channel.map_or(std::ptr::null(), |c| &raw const *c.raw()),
        r#loop: event_loop.map_or(std::ptr::null(), |l| &raw const *l.raw()),
        about,
        shared: start.shared.map_or(std::ptr::null(), |shared| &raw const *shared.raw()),
        stack_kib: start.stack_kib,
        reserved: 0,
    }
}

/// Where the bridge says how it went.
pub(super) fn no_result() -> relink_bridge_result {
    relink_bridge_result {
        size: size_of::<relink_bridge_result>() as u32,
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

/// A NULL-terminated vector of C strings that lives for ever, as Node and the bridge expect of theirs.
pub(super) fn kept_for_ever(strings: impl Iterator<Item = String>) -> (c_int, *const *const c_char) {
    let mut pointers: Vec<*const c_char> =
        strings.filter_map(|s| CString::new(s).ok()).map(|s| s.into_raw().cast_const()).collect();
    let count = pointers.len() as c_int;
    pointers.push(std::ptr::null());
    (count, Box::leak(pointers.into_boxed_slice()).as_ptr())
}

/// How a run ended.
pub(super) fn outcome(result: &relink_bridge_result) -> Outcome {
    const HOW: [(c_int, &str); 7] = [
        (header::RELINK_HOW_FINISHED, "finished"),
        (header::RELINK_HOW_EXIT, "exit"),
        (header::RELINK_HOW_UNCAUGHT, "uncaught"),
        (header::RELINK_HOW_STOPPED, "stopped"),
        (header::RELINK_HOW_INIT_FAILED, "init-failed"),
        (header::RELINK_HOW_EARLY, "early"),
        (header::RELINK_HOW_HEAP_LIMIT, "heap-limit"),
    ];
    let how = HOW.iter().find(|(number, _)| *number as c_uint == result.how);
    let message = result.message.map(|c| c as u8);
    let message = CStr::from_bytes_until_nul(&message).map(|m| m.to_string_lossy().into_owned());
    Outcome {
        how: how.map_or("unknown", |(_, name)| name).into(),
        exit_code: result.exit_code,
        message: message.unwrap_or_default(),
    }
}

pub(super) fn times(result: &relink_bridge_result) -> RunTimes {
    RunTimes {
        init: result.us_init,
        environment: result.us_environment,
        load: result.us_load,
        event_loop: result.us_loop,
        teardown: result.us_teardown,
    }
}
