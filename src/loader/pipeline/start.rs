//! The last stage: Node's whole life, and its end.
//!
//! # Safety
//! The functions of the guest's libuv are looked for while it is loaded, and used no longer. What the bridge is told of by address
//! stays where it is until Node has ended.

use super::place::{self, Share};
use super::{lock, SharedReport};
use crate::config::Config;
use crate::log::{self, Level};
use crate::outcome::Outcome;
use crate::report::Report;
use crate::runtime::bridge::{self, RunTimes, Start};
use crate::runtime::channel::Channel;
use crate::runtime::event_loop::EventLoop;
use crate::runtime::lifecycle::Life;
use crate::runtime::{float, guards, lifecycle, threads};
use relink_abi::error::Error;
use relink_abi::line::Bridges;
use relink_elf::address::RunAddr;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::{Arc, Once};
use std::time::Duration;

/// Brings the guest in beside the host, if it is not there, and runs Node on the calling thread, which has 8 MiB of stack and was made for
/// it, until it ends. With a channel the host can talk to it, and a script is not needed.
///
/// # Errors
/// It cannot be brought in, or cannot be beside those that run.
pub fn run(
    config: &Config,
    bridges: Bridges,
    channel: Option<&Channel>,
    life: &Arc<Life>,
    report: &SharedReport,
) -> Result<Share, Error> {
    let share = threads::as_guest(life.number(), || place::enter(config, bridges, life, report))?;
    threads::enter(life.number());
    log::tell(Level::Info, "Node starts");
    // Its stack is the thread's own.
    let start = Start { stack_kib: 0, ..with(config, report) };
    let ended = share.instance().and_then(|instance| instance.run(&start, channel));
    over(ended, share, life, report)
}

fn with<'c>(config: &'c Config, report: &SharedReport) -> Start<'c> {
    let about = lock(report).about().to_string();
    Start {
        line: config.command_line(),
        node_args: config.node_args.len(),
        max_heap_mib: config.max_heap_mib,
        about,
        shared: config.shared.as_ref(),
        stack_kib: config.stack_kib,
    }
}

/// A runtime that the host's own thread ticks. Everything is to be called on the thread that began it.
#[derive(Debug)]
#[must_use]
pub struct Ticked {
    share: Share,
    life: Arc<Life>,
    report: SharedReport,
    /// What the bridge points at: shared, so that it stays where it is when this value moves, and let go only once Node has ended.
    /// Never if it is in an isolate of the host's, whose scripts may call it after its end.
    referred_to: ManuallyDrop<(Arc<Channel>, Arc<EventLoop>)>,
    shared: bool,
}

impl Ticked {
    /// Does what is due, and no more than so many microseconds' worth. `false`: Node has ended.
    pub fn tick(&self, budget_us: u64) -> Result<bool, Error> {
        self.share.instance()?.tick(budget_us)
    }

    /// Ends it if it still runs.
    pub fn end(self) -> Result<Share, Error> {
        let ended = self.share.instance().and_then(|instance| instance.end());
        if ended.is_ok() && !self.shared {
            drop(ManuallyDrop::into_inner(self.referred_to));
        }
        over(ended, self.share, &self.life, &self.report)
    }
}

/// The same on a thread of the host's, which goes on and ticks it.
///
/// # Errors
/// As for [`run`].
pub fn begin(
    config: &Config,
    bridges: Bridges,
    channel: Arc<Channel>,
    life: &Arc<Life>,
    report: &SharedReport,
) -> Result<Ticked, Error> {
    let share = threads::as_guest(life.number(), || place::enter(config, bridges, life, report))?;
    log::tell(Level::Info, "Node starts");
    // SAFETY: the guest is bound, and stays loaded as long as there is a share of it.
    let event_loop = unsafe { EventLoop::find() }.map(Arc::new);
    let begun = event_loop.and_then(|event_loop| {
        let referred_to = ManuallyDrop::new((channel, event_loop));
        // SAFETY: `Ticked` lets go of both when Node has ended. Where nothing was begun they are left behind.
        unsafe { share.instance()?.begin(&with(config, report), &referred_to.0, &referred_to.1) }?;
        Ok(referred_to)
    });
    match begun {
        Ok(referred_to) => Ok(Ticked {
            share,
            life: Arc::clone(life),
            report: Arc::clone(report),
            referred_to,
            shared: config.shared.is_some(),
        }),
        Err(error) => Err(never_ran(error, share, life)),
    }
}

/// Node has ended, or never began.
fn over(
    ended: Result<(Outcome, RunTimes), Error>,
    share: Share,
    life: &Life,
    report: &SharedReport,
) -> Result<Share, Error> {
    match ended {
        Ok((outcome, times)) => {
            for (stage, us) in [
                ("node-init", times.init),
                ("node-environment", times.environment),
                ("node-load", times.load),
                ("node-loop", times.event_loop),
                ("node-teardown", times.teardown),
            ] {
                lock(report).spent(stage, us);
            }
            share.node_has_ended();
            life.end(outcome);
            Ok(share)
        }
        Err(error) => Err(never_ran(error, share, life)),
    }
}

/// Gives the share back, where nothing was run.
fn never_ran(error: Error, share: Share, life: &Life) -> Error {
    share.node_has_ended();
    life.end(Outcome { how: "init-failed".into(), exit_code: 1, message: error.line() });
    if lifecycle::host_is_leaving() {
        share.keep();
    } else if let Err(stays) = share.give_back() {
        log::tell(Level::Error, &stays.line());
    }
    error
}

/// When the host calls exit(), the guest is stopped and its report written before anything is torn down: handlers run
/// in reverse order of registration, and this one is registered late.
pub(super) fn at_exit_of_the_host() {
    extern "C" fn stop_the_guest() {
        /// For the guest's thread to write its report once Node has ended.
        const TO_REPORT: Duration = Duration::from_secs(1);
        // In a forked child of the host there is no guest.
        if guards::in_child() || lifecycle::wait(Duration::ZERO) {
            return;
        }
        lifecycle::host_leaves();
        float::as_guest(|| {
            bridge::host_leaving();
            // What this very thread ticks has ended by now.
            lifecycle::end_those_here();
        });
        if !lifecycle::wait(TO_REPORT) {
            lifecycle::give_up("the host left, and the guest could not be stopped in time");
        }
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler is a function of this library, which is never unloaded.
        unsafe { libc::atexit(stop_the_guest) };
    });
}

/// Completes the report and writes it where it was asked for. `runtime`: the number of its life; 0: there was none.
pub fn finish(report: &SharedReport, file: Option<&Path>, runtime: usize, outcome: Option<Outcome>) {
    let mut report = lock(report);
    let events = bridge::events(runtime);
    report.isolates = events.isolates.iter().map(|i| RunAddr(*i as u64).to_string()).collect();
    report.flags_set = events.flags_set;
    report.flags_dropped = events.flags_dropped;
    report.degraded.extend(events.restricted);
    report.notes.extend(events.notes);
    report.outcome = outcome;
    let Some(file) = file else { return };
    if let Err(source) = write_report(&report, file) {
        log::tell(Level::Error, &Error::Report { path: file.to_owned(), source }.line());
    }
}

/// Replaces the file in one step, so that a reader sees a whole report or none.
fn write_report(report: &Report, file: &Path) -> std::io::Result<()> {
    let folder = file.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut whole = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer_pretty(&mut whole, report)?;
    whole.persist(file).map(drop).map_err(|e| e.error)
}
