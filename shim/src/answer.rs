//! What the functions of shim/include/relink.h answer, and why.
//!
//! # Safety
//! Texts are handed out as C strings that the caller gives back to `relink_free`, once.

use relink_abi::error::Error;
use relink_loader::runtime::sanitizers;
use std::cell::RefCell;
use std::ffi::{c_char, c_int, CString};
use std::panic::{catch_unwind, AssertUnwindSafe};

/// `enum relink_answer`.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Ok = 0,
    Nothing = 1,
    Busy = 2,
    Timeout = 3,
    Refused = 4,
    Stays = 5,
    Argument = 6,
    Ended = 7,
    Threw = 8,
    Unknown = 9,
    WrongThread = 10,
    Internal = 11,
}

impl Answer {
    /// With its reason.
    pub fn because(self, why: impl Into<String>) -> No {
        No { answer: self, why: why.into() }
    }

    /// The one of this number.
    pub fn of(number: i32) -> Self {
        match number {
            0 => Self::Ok,
            8 => Self::Threw,
            9 => Self::Unknown,
            _ => Self::Internal,
        }
    }
}

/// Any answer but OK.
#[derive(Debug)]
pub struct No {
    /// Which.
    pub answer: Answer,
    /// Why, for `relink_last_error`.
    pub why: String,
}

impl From<Error> for No {
    fn from(error: Error) -> Self {
        Answer::Refused.because(error.line())
    }
}

thread_local! {
    /// Why this thread's last call did not answer OK.
    static WHY: RefCell<Option<CString>> = const { RefCell::new(None) };
}

/// Answers a call, and remembers why it was not OK. Nothing of ours may unwind into the host.
pub fn answer(work: impl FnOnce() -> Result<(), No>) -> c_int {
    let done = catch_unwind(AssertUnwindSafe(|| sanitizers::unjudged(work)))
        .unwrap_or_else(|_| Err(Answer::Internal.because("a panic, told on standard error")));
    let (answer, why) = done.map_or_else(|no| (no.answer, Some(no.why)), |()| (Answer::Ok, None));
    let why = why.map(|why| CString::new(why.replace('\0', " ")).unwrap_or_default());
    // A thread that is past its thread-local storage has nobody to ask for the reason.
    let _ = WHY.try_with(|last| *last.borrow_mut() = why);
    answer as c_int
}

/// Why the last function that this thread called did not answer OK.
#[no_mangle]
pub extern "C" fn relink_last_error() -> *const c_char {
    let why = WHY.try_with(|why| why.borrow().as_ref().map(|why| why.as_ptr()));
    why.ok().flatten().unwrap_or(c"".as_ptr())
}

/// Gives the caller a text of its own.
///
/// # Safety
/// `place` is null or can be written.
pub unsafe fn hand_out(place: *mut *mut c_char, text: &str) {
    if place.is_null() {
        return;
    }
    let text = CString::new(text.replace('\0', " ")).unwrap_or_default();
    // SAFETY: promised by the caller.
    unsafe { *place = text.into_raw() };
}

/// Takes a text back.
///
/// # Safety
/// `text` is null or was handed out and not given back yet.
#[no_mangle]
pub unsafe extern "C" fn relink_free(text: *mut c_char) {
    if !text.is_null() {
        // SAFETY: promised by the caller.
        drop(unsafe { CString::from_raw(text) });
    }
}
