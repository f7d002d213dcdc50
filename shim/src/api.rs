//! The part of shim/include/relink.h by which a host brings in a guest that just runs a script.
//!
//! # Safety
//! `relink_start` reads a vector of C strings that the caller promises to be one.

use super::{new_report, settle, spawn, ARMED};
use crate::answer::{answer, Answer, No};
use relink_abi::error::Error;
use relink_loader::config::Config;
use relink_loader::log::{self, Level};
use relink_loader::pipeline::Share;
use relink_loader::runtime::lifecycle::Life;
use std::ffi::{c_char, c_int, CStr, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The guest's thread, which gives back what is to be taken out, or nothing if Node was not brought in; and its life.
type Session = (JoinHandle<Option<Share>>, Arc<Life>);

static SESSION: Mutex<Option<Session>> = Mutex::new(None);

fn session() -> MutexGuard<'static, Option<Session>> {
    SESSION.lock().unwrap_or_else(PoisonError::into_inner)
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
        if session.is_some() || ARMED.load(Ordering::Relaxed) {
            return Err(Answer::Busy.because("there is a guest already"));
        }
        let get = |name: &str| settings.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
        let missing = || Error::Setting {
            name: relink_loader::config::GUEST,
            why: "and RELINK_SCRIPT must be among the settings".into(),
        };
        let config = Config::read(get).unwrap_or_else(|| Err(missing())).and_then(settle);
        let config = config.map_err(|error| {
            log::tell(Level::Error, &error.line());
            No::from(error)
        })?;
        let life = Life::new(0);
        let thread = spawn(config, None, &life, new_report(), || Ok(()), |share| share);
        *session = thread.map(|thread| (thread, life));
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
    answer(|| await_end(timeout_ms, |_| ()))
}

/// Waits for the guest's thread; `meanwhile` is called again and again.
fn await_end(timeout_ms: u32, meanwhile: impl Fn(&Life)) -> Result<(), No> {
    const PAUSE: Duration = Duration::from_millis(1);
    let deadline = Instant::now() + Duration::from_millis(u64::from(timeout_ms));
    loop {
        match &*session() {
            None => return Err(Answer::Nothing.because("there is no guest")),
            Some((thread, life)) if thread.is_finished() || life.is_parked() => return Ok(()),
            Some(_) if Instant::now() >= deadline => {
                return Err(Answer::Timeout.because("Node still runs"));
            }
            Some((_, life)) => meanwhile(life),
        }
        std::thread::sleep(PAUSE);
    }
}

/// Ends the guest and takes it out of the process.
#[no_mangle]
pub extern "C" fn relink_unload(timeout_ms: u32) -> c_int {
    answer(|| {
        // Again and again: a guest that has not begun yet does not hear the first time.
        await_end(timeout_ms, |life| life.stop("stopped", 1, "the host asked for it"))?;
        let mut session = session();
        let nothing = || Answer::Nothing.because("there is no guest");
        let (thread, life) = session.take().ok_or_else(nothing)?;
        if life.is_parked() {
            *session = Some((thread, life));
            return Err(Answer::Stays.because("the guest ended in a way that its thread could not leave"));
        }
        drop(session);
        let share = thread.join().unwrap_or(None);
        life.thread_is_gone();
        // Without one Node was not brought in: nothing is left of it.
        share.map_or(Ok(()), Share::give_back).map_err(|error| {
            log::tell(Level::Error, &error.line());
            Answer::Stays.because(error.line())
        })
    })
}
