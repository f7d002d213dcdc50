//! The part of shim/include/relink.h by which a host brings in a guest that just runs a script.
//!
//! # Safety
//! `relink_start` reads a vector of C strings that the caller promises to be one.

use super::{new_report, settle, spawn, ARMED};
use crate::answer::{answer, Answer, No};
use crate::embed::current;
use relink_core::config::Config;
use relink_core::error::Error;
use relink_core::pipeline::Entered;
use relink_core::report::log::{self, Level};
use relink_core::runtime::lifecycle;
use std::ffi::{c_char, c_int, CStr, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The guest's thread; it gives back what is to be unloaded, or nothing if Node was not brought in.
type Session = JoinHandle<Option<Entered>>;

static SESSION: Mutex<Option<Session>> = Mutex::new(None);

fn session() -> MutexGuard<'static, Option<Session>> {
    SESSION.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps other guests away while one is made. `None`: there is one.
pub fn reserve() -> Option<impl Drop> {
    let session = session();
    let free = session.is_none() && !ARMED.load(Ordering::Relaxed) && current().is_none();
    free.then_some(session)
}

/// Brings Node in.
///
/// # Safety
/// `settings` is null or a vector of NUL-terminated strings that ends with a null pointer.
#[no_mangle]
pub unsafe extern "C" fn relink_start(settings: *const *const c_char) -> c_int {
    // SAFETY: promised by the caller.
    let settings = unsafe { strings(settings) };
    answer(|| {
        let mut session = session();
        if session.is_some() || ARMED.load(Ordering::Relaxed) || current().is_some() {
            return Err(Answer::Busy.because("there is a guest already"));
        }
        let get = |name: &str| settings.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
        let missing = || Error::Setting {
            name: relink_core::config::GUEST,
            why: "and RELINK_SCRIPT must be among the settings".into(),
        };
        let config = Config::read(get).unwrap_or_else(|| Err(missing())).and_then(settle);
        let config = config.map_err(|error| {
            log::tell(Level::Error, &error.line());
            No::from(error)
        })?;
        *session = spawn(config, None, new_report(), || Ok(()), |entered| entered);
        session.as_ref().map(|_| ()).ok_or_else(|| Answer::Refused.because("no thread for Node"))
    })
}

/// Names and values.
///
/// # Safety
/// As for [`relink_start`].
unsafe fn strings(settings: *const *const c_char) -> Vec<(String, OsString)> {
    let mut found = Vec::new();
    let mut next = settings;
    // SAFETY: null ends the vector, or is given in place of one.
    while !next.is_null() && !unsafe { *next }.is_null() {
        // SAFETY: a NUL-terminated string.
        let text = unsafe { CStr::from_ptr(*next) }.to_bytes();
        if let Some(at) = text.iter().position(|b| *b == b'=') {
            let name = String::from_utf8_lossy(&text[..at]).into_owned();
            found.push((name, OsStr::from_bytes(&text[at + 1..]).to_owned()));
        }
        // SAFETY: the vector goes on to its null.
        next = unsafe { next.add(1) };
    }
    found
}

/// Waits until the guest has ended by itself.
#[no_mangle]
pub extern "C" fn relink_wait(timeout_ms: u32) -> c_int {
    answer(|| await_end(timeout_ms, || ()))
}

/// Waits for the guest's thread; `meanwhile` is called again and again.
fn await_end(timeout_ms: u32, meanwhile: impl Fn()) -> Result<(), No> {
    const PAUSE: Duration = Duration::from_millis(1);
    let deadline = Instant::now() + Duration::from_millis(u64::from(timeout_ms));
    loop {
        match &*session() {
            None => return Err(Answer::Nothing.because("there is no guest")),
            Some(thread) if thread.is_finished() || lifecycle::is_parked() => return Ok(()),
            Some(_) if Instant::now() >= deadline => {
                return Err(Answer::Timeout.because("Node still runs"));
            }
            Some(_) => {}
        }
        meanwhile();
        std::thread::sleep(PAUSE);
    }
}

/// Ends the guest and takes it out of the process.
#[no_mangle]
pub extern "C" fn relink_unload(timeout_ms: u32) -> c_int {
    answer(|| {
        // Again and again: a guest that has not begun yet does not hear the first time.
        await_end(timeout_ms, || lifecycle::stop("stopped", 1, "the host asked for it"))?;
        if lifecycle::is_parked() {
            return Err(Answer::Stays.because("the guest ended in a way that its thread could not leave"));
        }
        let nothing = || Answer::Nothing.because("there is no guest");
        let thread = session().take().ok_or_else(nothing)?;
        let Ok(Some(entered)) = thread.join() else {
            // Node was not brought in: nothing is left of it.
            let stays = || Answer::Stays.because("a guest still runs");
            return lifecycle::renew().then_some(()).ok_or_else(stays);
        };
        entered.unload().map_err(|error| {
            log::tell(Level::Error, &error.line());
            Answer::Stays.because(error.line())
        })
    })
}
