//! What the functions of shim/include/relink.h answer, and why.
//!
//! # Safety
//! Texts are handed out as C strings that the caller gives back to `relink_free`, once.

use crate::{header, process};
use relink_abi::error::Error;
use relink_loader::runtime::{float, sanitizers};
use std::ffi::{c_char, c_int, c_void, CString};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::OnceLock;

/// `enum relink_answer`.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Ok = header::RELINK_OK,
    Nothing = header::RELINK_NOTHING,
    Busy = header::RELINK_BUSY,
    Timeout = header::RELINK_TIMEOUT,
    Refused = header::RELINK_REFUSED,
    Stays = header::RELINK_STAYS,
    Argument = header::RELINK_ARGUMENT,
    Ended = header::RELINK_ENDED,
    Threw = header::RELINK_THREW,
    Unknown = header::RELINK_UNKNOWN,
    WrongThread = header::RELINK_WRONG_THREAD,
    Internal = header::RELINK_INTERNAL,
    Forked = header::RELINK_FORKED,
}

impl Answer {
    /// With its reason.
    pub fn because(self, why: impl Into<String>) -> No {
        No { answer: self, why: why.into() }
    }

    /// The one of this number, of those that the bootstrap script gives.
    pub fn of(number: i32) -> Self {
        match number {
            header::RELINK_OK => Self::Ok,
            header::RELINK_THREW => Self::Threw,
            header::RELINK_UNKNOWN => Self::Unknown,
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
        let answer = if matches!(error, Error::Forked { .. }) { Answer::Forked } else { Answer::Refused };
        answer.because(error.line())
    }
}

/// What this thread keeps until its next call: why its last one did not answer OK. By a key of pthread's: a thread-local variable with a
/// destructor is registered with ld.so, whose lock another thread may hold that waits for this one.
fn key() -> Option<libc::pthread_key_t> {
    static KEY: OnceLock<Option<libc::pthread_key_t>> = OnceLock::new();
    unsafe extern "C" fn forget(text: *mut c_void) {
        // SAFETY: what `remember` has left, once.
        drop(unsafe { CString::from_raw(text.cast()) });
    }
    *KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: a place for the key, and a destructor for what is left under it.
        (unsafe { libc::pthread_key_create(&raw mut key, Some(forget)) } == 0).then_some(key)
    })
}

fn remember(why: Option<CString>) {
    let Some(key) = key() else { return };
    // SAFETY: the key is valid for ever; what is left under it is a string of ours, taken back once.
    unsafe {
        let before: *mut c_char = libc::pthread_getspecific(key).cast();
        let now = why.map_or(std::ptr::null_mut(), CString::into_raw);
        if before.is_null() && now.is_null() {
            return;
        }
        libc::pthread_setspecific(key, now.cast());
        if !before.is_null() {
            drop(CString::from_raw(before));
        }
    }
}

/// Answers a call, and remembers why it was not OK. Nothing of ours may unwind into the host.
pub fn answer(work: impl FnOnce() -> Result<(), No>) -> c_int {
    let work = || process::not_forked().map_err(No::from).and_then(|()| work());
    let done = catch_unwind(AssertUnwindSafe(|| sanitizers::unjudged(|| float::as_guest(work))))
        .unwrap_or_else(|_| Err(Answer::Internal.because("a panic, told on standard error")));
    let (answer, why) = done.map_or_else(|no| (no.answer, Some(no.why)), |()| (Answer::Ok, None));
    let why = why.map(|why| CString::new(why.replace('\0', " ")).unwrap_or_default());
    remember(why);
    answer as c_int
}

/// Why the last function that this thread called did not answer OK.
#[no_mangle]
pub extern "C" fn relink_last_error() -> *const c_char {
    // SAFETY: the key is valid for ever.
    let why = key().map_or(std::ptr::null_mut(), |key| unsafe { libc::pthread_getspecific(key) });
    if why.is_null() {
        c"".as_ptr()
    } else {
        why.cast_const().cast()
    }
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
