//! Code of the guest's, of its libraries' and of add-ons' that may not return: initialisers, and destructors on a thread of the host's.
//! It is called through the bridge (shim/cpp/protect.cc), which comes back whether it returns, throws, aborts or exits. So
//! no lock, neither ours nor one of Node's further out on the stack, is held by a thread that never goes on.
//!
//! In a process of our own (`relink node`) there is no bridge: Node's `abort()` is the process's there.
//!
//! # Safety
//! The two functions are the bridge's, which is never unloaded once they are known.

use super::raw::header::{Functions, RELINK_BRIDGE_E_LEFT, RELINK_BRIDGE_E_THROWN};
use crate::guest::stage::Initialisers;
use relink_abi::error::Error;
use relink_elf::address::RunAddr;
use std::cell::RefCell;
use std::ffi::{c_void, CStr};
use std::sync::{Mutex, PoisonError};

/// The bridge's functions.
static BRIDGE: Mutex<Option<Functions>> = Mutex::new(None);

thread_local! {
    /// Why the calling thread leaves what it runs.
    static REASON: RefCell<Option<Left>> = const { RefCell::new(None) };
}

/// How a function ended that was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// How the guest would have ended: `abort` or `exit`.
    pub how: String,
    /// With which exit code.
    pub exit_code: i32,
    /// In words.
    pub message: String,
}

/// How a protected call ended, if it did not return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It called `abort()`, `exit()` or the like.
    Left(Left),
    /// It threw an exception, of which this is known.
    Thrown(String),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::Left(left) => write!(f, "{} ({})", left.message, left.exit_code),
            Self::Thrown(what) if what.is_empty() => f.write_str("it threw an exception"),
            Self::Thrown(what) => write!(f, "it threw an exception: {what}"),
        }
    }
}

/// Finds the bridge's functions. `function` gives the run-time address of one by its name.
///
/// # Errors
/// The bridge has no such function.
///
/// # Safety
/// The addresses are those of the bridge, whose slots are bound, and which is not unloaded from now on.
pub unsafe fn know(function: &dyn Fn(&str) -> Result<RunAddr, Error>) -> Result<(), Error> {
    // SAFETY: promised by the caller.
    let found = unsafe { Functions::find(|name| function(name).map(|at| at.0 as usize)) }?;
    *BRIDGE.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
    Ok(())
}

fn known() -> Option<Functions> {
    *BRIDGE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls `function(context)`.
///
/// # Errors
/// It did not return: how it ended. Its frames are gone, and what they held is not given back.
///
/// # Safety
/// The function may be called with this argument; its frames and those of what it calls up to the guest's code may be jumped
/// over, for they own nothing.
pub unsafe fn call(function: extern "C-unwind" fn(*mut c_void), context: *mut c_void) -> Result<(), Ended> {
    let Some(Functions { protect, .. }) = known() else {
        function(context);
        return Ok(());
    };
    let mut what = [0u8; 256];
    // SAFETY: both types are called alike; what unwinds out of the function is caught in the bridge.
    let function = unsafe {
        std::mem::transmute::<extern "C-unwind" fn(*mut c_void), unsafe extern "C" fn(*mut c_void)>(function)
    };
    // SAFETY: promised by the caller; `what` is as long as is said.
    match unsafe { protect(Some(function), context, what.as_mut_ptr().cast(), what.len()) } {
        0 => Ok(()),
        RELINK_BRIDGE_E_LEFT => {
            let reason = REASON.try_with(|reason| reason.borrow_mut().take()).ok().flatten();
            let unknown = || Left { how: "abort".into(), exit_code: 134, message: "it left".into() };
            Err(Ended::Left(reason.unwrap_or_else(unknown)))
        }
        code => {
            debug_assert_eq!(code, RELINK_BRIDGE_E_THROWN);
            let what = CStr::from_bytes_until_nul(&what).unwrap_or_default();
            Err(Ended::Thrown(what.to_string_lossy().into_owned()))
        }
    }
}

/// Runs initialisers.
///
/// # Errors
/// One did not return; those after it were not called.
///
/// # Safety
/// As for [`Initialisers::run`].
pub unsafe fn initialise(initialisers: &Initialisers) -> Result<(), Ended> {
    extern "C-unwind" fn run(initialisers: *mut c_void) {
        // SAFETY: those that were given to `initialise`, whose caller promises the rest.
        unsafe { (*initialisers.cast::<Initialisers>()).run() };
    }
    // SAFETY: the function takes a pointer to initialisers, and neither it nor what it calls owns anything.
    unsafe { call(run, std::ptr::from_ref(initialisers).cast_mut().cast()) }
}

/// Whether the calling thread is in a protected call.
pub(super) fn is_here() -> bool {
    // SAFETY: it has no preconditions.
    known().is_some_and(|known| unsafe { (known.protects)() } != 0)
}

/// The calling thread cannot go on where it is. Does not return if that is in a protected call.
pub(super) fn leave(how: &str, exit_code: i32, message: &str) {
    let Some(Functions { leave, .. }) = known().filter(|_| is_here()) else { return };
    let reason = Left { how: how.to_owned(), exit_code, message: message.to_owned() };
    // A thread that is past its thread-local storage gives no reason.
    let _ = REASON.try_with(|place| *place.borrow_mut() = Some(reason));
    // SAFETY: this thread is in a protected call, whose frames own nothing (see `call`).
    unsafe { leave() };
}
