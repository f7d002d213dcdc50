//! What the bridge's answers mean.

use relink_abi::error::Error;
use std::ffi::c_int;

/// Not one of the bridge's own codes: it is not the one that is in use.
pub(super) const OTHER_BRIDGE: c_int = -100;

/// `RELINK_BRIDGE_E_NOT_RUNNING`.
pub(super) const NOT_RUNNING: c_int = -9;

/// `RELINK_BRIDGE_E_THREAD`.
pub(super) const OTHER_THREAD: c_int = -14;

/// `RELINK_BRIDGE_E_ISOLATE`.
pub(super) const NOT_ENTERED: c_int = -16;

/// Not one of the bridge's own codes: a runtime was lost in this guest.
pub(super) const LOST: c_int = -101;

/// `RELINK_BRIDGE_E_SHARED`.
pub(super) const SHARED: c_int = -17;

/// The meaning of the codes of `enum relink_bridge_error`.
pub(super) fn refusal(code: c_int) -> Error {
    if code == SHARED {
        return Error::StaysShared;
    }
    let why = match code {
        -1 => "bridge and loader are of different versions",
        -2 => "an argument is unusable",
        -3 => "it is attached already",
        -4 => "the host's V8 has no platform (any more)",
        -5 => "it is not attached",
        -6 => "an isolate of the guest still lives",
        -7 => "it is running",
        -8 => "Node could not be set up, and that is tried once",
        NOT_RUNNING => "nothing is running",
        -10 => "the host is leaving",
        -11 => "out of memory",
        -12 => "the host has replaced its platform's virtual functions meanwhile",
        -13 => "the guest did not end in time",
        OTHER_THREAD => "another thread began it",
        -15 => "the adapter unit is not one for this bridge",
        NOT_ENTERED => "the calling thread has not entered the host's isolate that the guest is in",
        LOST => "another runtime was lost in this process (abort, or V8 out of memory): what remains of it stays, and none can come",
        OTHER_BRIDGE => "an earlier guest's bridge stays in this process, and another cannot take its place",
        _ => "unknown code",
    };
    Error::Bridge { code, why }
}
