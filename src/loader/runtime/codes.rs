//! What the bridge's answers mean.

use super::raw::header::{
    RELINK_BRIDGE_E_ARGUMENT, RELINK_BRIDGE_E_ATTACHED, RELINK_BRIDGE_E_BUSY, RELINK_BRIDGE_E_FOREIGN_VTABLE,
    RELINK_BRIDGE_E_GUEST_ALIVE, RELINK_BRIDGE_E_ISOLATE, RELINK_BRIDGE_E_LEAVING, RELINK_BRIDGE_E_MEMORY,
    RELINK_BRIDGE_E_NOT_ATTACHED, RELINK_BRIDGE_E_NOT_RUNNING, RELINK_BRIDGE_E_NO_PLATFORM,
    RELINK_BRIDGE_E_ONCE, RELINK_BRIDGE_E_SHARED, RELINK_BRIDGE_E_SIZE, RELINK_BRIDGE_E_STACK,
    RELINK_BRIDGE_E_THREAD, RELINK_BRIDGE_E_TIMEOUT, RELINK_BRIDGE_E_UNIT,
};
use relink_abi::error::Error;
use std::ffi::c_int;

/// Not one of the bridge's own codes: it is not the one that is in use.
pub(super) const OTHER_BRIDGE: c_int = -100;

/// Not one of the bridge's own codes: a runtime was lost in this guest.
pub(super) const LOST: c_int = -101;

/// The meaning of the codes of `enum relink_bridge_error`.
pub(super) fn refusal(code: c_int) -> Error {
    let why = match code {
        RELINK_BRIDGE_E_SHARED => return Error::StaysShared,
        RELINK_BRIDGE_E_SIZE => "bridge and loader are of different versions",
        RELINK_BRIDGE_E_ARGUMENT => "an argument is unusable",
        RELINK_BRIDGE_E_ATTACHED => "it is attached already",
        RELINK_BRIDGE_E_NO_PLATFORM => "the host's V8 has no platform (any more)",
        RELINK_BRIDGE_E_NOT_ATTACHED => "it is not attached",
        RELINK_BRIDGE_E_GUEST_ALIVE => "an isolate of the guest still lives",
        RELINK_BRIDGE_E_BUSY => "it is running",
        RELINK_BRIDGE_E_ONCE => "Node could not be set up, and that is tried once",
        RELINK_BRIDGE_E_NOT_RUNNING => "nothing is running",
        RELINK_BRIDGE_E_LEAVING => "the host is leaving",
        RELINK_BRIDGE_E_MEMORY => "out of memory",
        RELINK_BRIDGE_E_FOREIGN_VTABLE => {
            "the host has replaced its platform's virtual functions meanwhile"
        }
        RELINK_BRIDGE_E_TIMEOUT => "the guest did not end in time",
        RELINK_BRIDGE_E_THREAD => "another thread began it",
        RELINK_BRIDGE_E_UNIT => "the adapter unit is not one for this bridge",
        RELINK_BRIDGE_E_ISOLATE => {
            "the calling thread has not entered the host's isolate that the guest is in"
        }
        RELINK_BRIDGE_E_STACK => "this stack is not the calling thread's own: a runtime on a thread of its own cannot be called from one that its functions have changed to, V8 collects the C++ heap that Node has from 20 on by reading the thread's own stack, and from 13.6 on checks that it is on it; call on that, or give Node a thread of its own",
        LOST => "another runtime was lost in this process (abort, or V8 out of memory): what remains of it stays, and none can come",
        OTHER_BRIDGE => "an earlier guest's bridge stays in this process, and another cannot take its place",
        _ => "unknown code",
    };
    Error::Bridge { code, why }
}
