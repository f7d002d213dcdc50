//! The last stage: initialisers, the platform hook, Node's whole life, and leaving.
//!
//! # Safety
//! Only bound images are entered; the host's platform is described from its own data, seen set by the wait stage.

use super::{lock, observe, Bound, Clock, Images, SharedReport};
use crate::abi::adapters;
use crate::abi::catalogue::PLATFORM_CELL;
use crate::address::RunAddr;
use crate::config::Config;
use crate::error::Error;
use crate::plan::StagedImage;
use crate::process::LiveModule;
use crate::report::log::{self, Level};
use crate::report::{Outcome, Report};
use crate::runtime::bridge::{self, Bridge, RunTimes, Start};
use crate::runtime::channel::Channel;
use crate::runtime::event_loop::EventLoop;
use crate::runtime::host_slots::HostSlots;
use crate::runtime::{guards, lifecycle, platform, remains, signals};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

/// A guest that has ended. It stays loaded until it is unloaded.
#[derive(Debug)]
#[must_use]
pub struct Entered {
    pub(super) images: Images,
    pub(super) order: Vec<StagedImage>,
    /// What the images are bound to, held.
    pub(super) provider: LiveModule,
}

impl Entered {
    /// Leaves it loaded for ever, and what it is bound to.
    pub fn keep(self) {
        std::mem::forget(self.provider);
        self.images.keep();
    }

    /// Takes the guest out of the process: its destructors and finalisers run, its images are unloaded, and another guest
    /// may come. Its thread has ended, for what is thread-local there ends with that thread. A destructor that aborts or
    /// does not return holds a thread of ours and not the caller's.
    ///
    /// # Errors
    /// Something of it can never end, so it stays loaded.
    pub fn unload(self) -> Result<(), Error> {
        // Here, for a host's isolate that the guest was in may be this thread's.
        if let Err(error) = bridge::release() {
            self.keep();
            return Err(error);
        }
        // SAFETY: Node was taken down just now, and the images are loaded still.
        unsafe { remains::leave_thread() };
        let (sender, result) = mpsc::channel();
        let thread = std::thread::Builder::new().name("relink-unload".into()).stack_size(UNLOADING_STACK);
        let spawned = signals::blocked(|| {
            thread.spawn(move || {
                // The receiver is gone only where the caller has given up.
                let _ = sender.send(lifecycle::unloading(|| self.take_out()));
            })
        });
        let thread = spawned.map_err(|e| Error::Unload { why: format!("no thread for it: {e}") })?;
        let result = await_unloading(&result)?;
        // What it leaves to be destroyed with it is destroyed before the caller goes on.
        let joined = thread.join().map_err(|_| Error::Internal("a panic after a guest was unloaded".into()));
        result.and(joined)
    }

    fn take_out(self) -> Result<(), Error> {
        // SAFETY: Node has ended and was taken down, and its thread with it.
        if let Err(threads) = unsafe { self.images.unload(&self.order) } {
            std::mem::forget(self.provider);
            return Err(Error::StillRuns { threads });
        }
        if lifecycle::renew() {
            Ok(())
        } else {
            Err(Error::Internal("a guest runs that was unloaded".into()))
        }
    }
}

/// Destructors may need as much stack as Node's main thread has, in bytes.
const UNLOADING_STACK: usize = 8 * 1024 * 1024;

/// Waits for the thread that unloads a guest.
fn await_unloading(result: &mpsc::Receiver<Result<(), Error>>) -> Result<Result<(), Error>, Error> {
    /// Far more than destructors take.
    const LIMIT: Duration = Duration::from_secs(30);
    const PAUSE: Duration = Duration::from_millis(5);
    let deadline = Instant::now() + LIMIT;
    loop {
        let why = match result.recv_timeout(PAUSE) {
            Ok(result) => return Ok(result),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::Internal("a panic while a guest was unloaded".into()))
            }
            Err(RecvTimeoutError::Timeout) if lifecycle::is_parked() => {
                "one of its destructors ended in exit() or abort()".into()
            }
            Err(RecvTimeoutError::Timeout) if Instant::now() >= deadline => {
                format!("its destructors have not returned for {} s", LIMIT.as_secs())
            }
            Err(RecvTimeoutError::Timeout) => continue,
        };
        return Err(Error::Unload { why });
    }
}

/// Runs initialisers, attaches the platform bridge and runs Node to its end.
pub(super) fn start(
    bound: Bound,
    config: &Config,
    channel: Option<&Channel>,
    report: &SharedReport,
) -> Result<Entered, Error> {
    guards::enter_guest_thread();
    let brought_up = bring_up(&bound, config, report);
    let (bound, bridge, host_slots) = up(bound, brought_up)?;
    let ended = bridge.run(&with(config, report), channel);
    over(ended, bridge, host_slots, bound.entered(), report)
}

fn with<'c>(config: &'c Config, report: &SharedReport) -> Start<'c> {
    let about = lock(report).about().to_string();
    Start { line: config.command_line(), about, shared: config.shared.as_ref() }
}

/// A guest that the host's own thread ticks. Everything is to be called on the thread that began it.
#[derive(Debug)]
#[must_use]
pub struct Ticked {
    bridge: &'static Bridge,
    host_slots: HostSlots,
    entered: Entered,
    report: SharedReport,
    /// The guest refers to both. For ever if it is in an isolate of the host's, whose scripts may call it after its end.
    referred_to: (Arc<Channel>, Box<EventLoop>),
    shared: bool,
}

impl Ticked {
    /// Does what is due, and no more than so many microseconds' worth. `false`: Node has ended.
    pub fn tick(&self, budget_us: u64) -> Result<bool, Error> {
        self.bridge.tick(budget_us)
    }

    /// Ends it if it still runs.
    pub fn end(self) -> Result<Entered, Error> {
        let ended = self.bridge.end();
        if self.shared {
            std::mem::forget(self.referred_to);
        }
        over(ended, self.bridge, self.host_slots, self.entered, &self.report)
    }
}

/// Runs initialisers, attaches the platform bridge and brings Node up to be ticked.
pub(super) fn begin(
    bound: Bound,
    config: &Config,
    channel: Arc<Channel>,
    report: &SharedReport,
) -> Result<Ticked, Error> {
    let brought_up = guards::as_guest(|| bring_up(&bound, config, report));
    let (bound, bridge, host_slots) = up(bound, brought_up)?;
    // SAFETY: the guest is bound, and stays loaded as long as it is ticked.
    let event_loop = unsafe { EventLoop::find() }.map(Box::new);
    let begin = |found: &EventLoop| bridge.begin(&with(config, report), &channel, found);
    let begun = event_loop.and_then(|found| begin(&found).map(|()| found));
    match begun {
        Ok(event_loop) => Ok(Ticked {
            bridge,
            host_slots,
            entered: bound.entered(),
            report: Arc::clone(report),
            referred_to: (channel, event_loop),
            shared: config.shared.is_some(),
        }),
        Err(error) => over(Err(error), bridge, host_slots, bound.entered(), report).and_then(|entered| {
            entered.keep();
            Err(Error::Internal("a guest that was not begun has ended".into()))
        }),
    }
}

/// What Node runs with; nothing if the host is leaving.
type BroughtUp = Result<Option<(&'static Bridge, HostSlots)>, Error>;

/// Sees to what becomes of the images where it came to nothing.
fn up<'a, 'b>(
    bound: Bound<'a, 'b>,
    brought_up: BroughtUp,
) -> Result<(Bound<'a, 'b>, &'static Bridge, HostSlots), Error> {
    match brought_up {
        Ok(Some((bridge, host_slots))) => Ok((bound, bridge, host_slots)),
        Ok(None) => {
            bound.keep();
            Err(Error::HostEnded)
        }
        Err(error) => {
            bound.leave();
            Err(error)
        }
    }
}

/// Everything before Node itself.
fn bring_up(bound: &Bound, config: &Config, report: &SharedReport) -> BroughtUp {
    let clock = Clock(report);
    clock.time("initialise", || bound.initialise());
    // SAFETY: the functions are looked for in the staged bridge, which was bound and initialised just now.
    let bridge = unsafe { Bridge::find(&|name| bound.function(StagedImage::Bridge, name)) }?;
    // Before the hook is in: a host that leaves meanwhile waits for what comes of it.
    at_exit_of_the_host();
    let told = Arc::clone(report);
    let file = config.report.clone();
    if !lifecycle::begin(bridge::stop, move |outcome| finish(&told, file.as_deref(), Some(outcome))) {
        return Ok(None);
    }
    let attached = clock.time("attach", || attach(bridge, bound));
    let host_slots = attached.inspect_err(|_| lifecycle::cancel())?;
    log::tell(Level::Info, "Node starts");
    Ok(Some((bridge, host_slots)))
}

/// Node has ended, or never began.
fn over(
    ended: Result<(Outcome, RunTimes), Error>,
    bridge: &Bridge,
    host_slots: HostSlots,
    entered: Entered,
    report: &SharedReport,
) -> Result<Entered, Error> {
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
            leave(bridge, host_slots, outcome);
            Ok(entered)
        }
        Err(error) => {
            let message = error.line();
            leave(bridge, host_slots, Outcome { how: "init-failed".into(), exit_code: 1, message });
            entered.keep();
            Err(error)
        }
    }
}

/// Installs the platform hook, and sees to it that a host which disposes its V8 stops the guest first.
fn attach(bridge: &Bridge, bound: &Bound) -> Result<HostSlots, Error> {
    let missing = || Error::MissingEntry { image: "the host's V8".into(), symbol: PLATFORM_CELL.into() };
    let unreadable = |source| Error::ProviderImage { path: "the host's V8".into(), source };
    let cell = bound.exports.find(PLATFORM_CELL, None).map_err(unreadable)?.ok_or_else(missing)?;
    // First, so that a host which disposes its V8 from here on is noticed.
    let watched = watch_for_dispose(bound, cell.address)?;
    let hook = || {
        // SAFETY: the cell is V8's own variable, seen set by the wait stage.
        let platform =
            unsafe { platform::describe(cell.address, bound.exports, bound.line) }.map_err(unreadable)?;
        // SAFETY: the platform was described from the host's own data.
        unsafe { bridge.attach(platform, bound.unit()?, bound.verified.admitted().profile().node_flags) }
    };
    if let Err(error) = hook() {
        watched.restore()?;
        return Err(error);
    }
    Ok(watched)
}

fn watch_for_dispose(bound: &Bound, provider: RunAddr) -> Result<HostSlots, Error> {
    let (modules, maps) = observe()?;
    let function = |(stands_in, symbol): &(&'static str, &'static str)| {
        Ok((*symbol, bound.function(StagedImage::Bridge, stands_in)?))
    };
    let functions = adapters::HOST_DISPOSES.iter().map(function).collect::<Result<Vec<_>, Error>>()?;
    let mut except: Vec<RunAddr> = bound.spans().map(|span| span.start).collect();
    except.push(provider);
    // SAFETY: the bridge's functions call the real ones after they have stopped the guest.
    unsafe { HostSlots::bind(&modules, &maps, &functions, &except) }
}

/// Takes the platform hook out again, unless the host is on its way out: then its platform may be gone already.
fn leave(bridge: &Bridge, host_slots: HostSlots, outcome: Outcome) {
    let restored = bridge.detach().and_then(|staying| if staying { host_slots.restore() } else { Ok(()) });
    if let Err(error) = restored {
        log::tell(Level::Warn, &error.line());
    }
    lifecycle::end(outcome);
}

/// When the host calls exit(), the guest is stopped and its report written before anything is torn down: handlers run
/// in reverse order of registration, and this one is registered late.
fn at_exit_of_the_host() {
    extern "C" fn stop_the_guest() {
        /// For the guest's thread to write its report once Node has ended.
        const TO_REPORT: Duration = Duration::from_secs(1);
        // In a forked child of the host there is no guest.
        if guards::in_child() || lifecycle::wait(Duration::ZERO) {
            return;
        }
        lifecycle::host_leaves();
        bridge::host_leaving();
        // A guest that this very thread ticks has ended by now.
        if let Some(outcome) = bridge::end_ticked() {
            lifecycle::end(outcome);
        }
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

/// Completes the report and writes it where it was asked for.
pub fn finish(report: &SharedReport, file: Option<&Path>, outcome: Option<Outcome>) {
    let mut report = lock(report);
    let events = bridge::events();
    report.isolates = events.isolates.iter().map(|i| RunAddr(*i as u64).to_string()).collect();
    report.flags_set = events.flags_set;
    report.flags_dropped = events.flags_dropped;
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
