//! Node is brought in for a runtime: on a thread of its own, or on the host's.
//!
//! # Safety
//! Gives the calling thread file-system attributes of its own (`unshare(2)`).

use super::calls::Calls;
use super::options::Wanted;
use super::runtime::{here, join, take_out, Session, PAUSE};
use crate::answer::{Answer, No};
use crate::{bridge, fail, spawn};
use relink_abi::error::Error;
use relink_loader::pipeline::{self, lock, SharedReport};
use relink_loader::runtime::channel::Channel;
use relink_loader::runtime::lifecycle::Life;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Instant;

/// Why Node is not there although nothing refused it.
fn why_ended(report: &SharedReport) -> No {
    let report = lock(report);
    let failed = report.error.as_ref().map(|e| format!("{} {}", e.code, e.message));
    let ended = report.outcome.as_ref().map(|o| format!("Node ended at once ({}) {}", o.how, o.message));
    Answer::Refused.because(failed.or(ended).unwrap_or_else(|| "Node did not start".into()))
}

pub fn on_own_thread(
    wanted: Wanted,
    channel: Arc<Channel>,
    calls: &Arc<Calls>,
    place: &Arc<AtomicUsize>,
    life: &Arc<Life>,
    report: &SharedReport,
) -> Result<Session, No> {
    let (place, at_the_end) = (Arc::clone(place), Arc::clone(calls));
    let cwd = wanted.config.cwd.clone();
    let prepare = move || {
        place.store(here(), Ordering::Relaxed);
        cwd.as_deref().map_or(Ok(()), own_working_directory)
    };
    let end = move |entered| {
        at_the_end.end();
        entered
    };
    let thread = spawn(wanted.config, Some(channel), life, Arc::clone(report), prepare, end);
    let thread = thread.ok_or_else(|| why_ended(report))?;
    while !calls.opened() {
        if thread.is_finished() && !calls.opened() {
            let no = take_out(join(thread, life)).err();
            return Err(no.unwrap_or_else(|| why_ended(report)));
        }
        calls.pause(Instant::now() + PAUSE);
    }
    Ok(Session::Thread(thread))
}

pub fn begin(
    wanted: &Wanted,
    channel: Arc<Channel>,
    calls: &Calls,
    life: &Arc<Life>,
    report: &SharedReport,
) -> Result<Session, No> {
    let config = &wanted.config;
    lock(report).guest = config.guest.display().to_string();
    let ticked = pipeline::begin(config, bridge::all(), channel, life, report);
    calls.main_script_has_run();
    let ticked = ticked.map_err(|error| {
        fail(&error, report, config.report.as_deref());
        No::from(error)
    })?;
    if calls.opened() {
        return Ok(Session::Ticked(ticked));
    }
    let left = take_out(Some(ticked.end()?)).err();
    Err(left.unwrap_or_else(|| why_ended(report)))
}

/// The guest's thread, and those that it makes, get a working directory of their own.
fn own_working_directory(folder: &Path) -> Result<(), Error> {
    let failed = |e: std::io::Error| Error::Setting {
        name: "cwd",
        why: format!("\"{}\": {e}; name a folder that can be entered", folder.display()),
    };
    // SAFETY: this thread alone stops sharing its file-system attributes.
    if unsafe { libc::unshare(libc::CLONE_FS) } != 0 {
        return Err(failed(std::io::Error::last_os_error()));
    }
    std::env::set_current_dir(folder).map_err(failed)
}
