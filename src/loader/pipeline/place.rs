//! The guest in this process, and the runtimes that share it: the first brings it in, the others find it there, the last one that is taken
//! out takes it along.
//!
//! # Safety
//! Only bound images are entered; the host's platform is described from its own data, seen set by the wait stage. The guest is
//! unloaded when no runtime is left, none of whose threads can still be in its code.

use super::load::Images;
use super::{bind, lock, observe, ready_beside_the_host, start, Applied, Clock, Running, SharedReport};
use crate::config::Config;
use crate::log::{self, Level};
use crate::plan::StagedImage;
use crate::process::LiveModule;
use crate::report::Report;
use crate::runtime::bridge::{self, Bridge, Platform};
use crate::runtime::host_slots::HostSlots;
use crate::runtime::instance::Instance;
use crate::runtime::lifecycle::Life;
use crate::runtime::turn::{NotFree, Taken, Turn};
use crate::runtime::{
    float, host_calls, lifecycle, platform, protected, remains, sanitizers, signals, variables,
};
use crate::stages::Inputs;
use relink_abi::adapters;
use relink_abi::catalogue::PLATFORM_CELL;
use relink_abi::error::Error;
use relink_abi::line::Bridges;
use relink_elf::address::RunAddr;
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The guest that there is. A thread has it while that comes, while a runtime joins it or ends, and while it goes; not while the
/// host's V8 is waited for.
static PLACE: Turn<Option<Place>> = Turn::new(None);

/// For what ends: a guest is not taken out, or its hook left in, if another thread has not done with it by then.
const TO_END: Duration = Duration::from_secs(30);

/// For what comes, however short its time for the host's V8 is: far more than it takes to bring a guest in.
const LEAST: Duration = Duration::from_secs(2);

/// The guest that there is, for the calling thread alone.
///
/// # Errors
/// Another thread has it until `limit` is over, or has lost it; or this one has it, for an initialiser of the guest asks.
fn place(limit: Duration) -> Result<Taken<Option<Place>>, Error> {
    let deadline = Instant::now().checked_add(limit).unwrap_or_else(|| Instant::now() + TO_END);
    let waited_ms = limit.as_millis() as u64;
    PLACE.take(deadline).map_err(|not_free| match not_free {
        NotFree::Busy(thread) => {
            Error::Busy { what: "another runtime is being brought in or taken out", thread, waited_ms }
        }
        NotFree::Here => {
            let (what, thread) = ("a guest is being brought in or taken out", lifecycle::own_thread());
            Error::Busy { what, thread, waited_ms: 0 }
        }
        NotFree::Lost => bridge::taken(),
    })
}

/// What is set up once, and so the same for all runtimes of a guest.
#[derive(Debug, PartialEq, Eq)]
struct Common {
    guest: PathBuf,
    node_args: Vec<String>,
    provider: Option<String>,
    adapters: Option<PathBuf>,
    /// libuv's threads work for all, in one folder.
    cwd: Option<PathBuf>,
}

impl Common {
    fn of(config: &Config) -> Self {
        let guest = std::fs::canonicalize(&config.guest).unwrap_or_else(|_| config.guest.clone());
        Self {
            guest,
            node_args: config.node_args.clone(),
            provider: config.provider.clone(),
            adapters: config.adapters.clone(),
            cwd: config.cwd.clone(),
        }
    }

    /// Why a runtime that wants something else cannot be beside those that there are.
    fn differs(&self, wanted: &Self) -> Option<String> {
        let told = |what: &str, there: &dyn std::fmt::Debug, wanted: &dyn std::fmt::Debug| {
            Some(format!("{what} is {there:?}, and this one asks for {wanted:?}"))
        };
        match wanted {
            _ if self.guest != wanted.guest => told("their guest", &self.guest, &wanted.guest),
            _ if self.node_args != wanted.node_args => {
                told("Node's options (node_args), which it reads once,", &self.node_args, &wanted.node_args)
            }
            _ if self.cwd != wanted.cwd => {
                told("the folder (cwd) that libuv's threads work in", &self.cwd, &wanted.cwd)
            }
            _ if self.provider != wanted.provider => {
                told("the V8 that is meant (provider)", &self.provider, &wanted.provider)
            }
            _ if self.adapters != wanted.adapters => {
                told("the folder with adapter units", &self.adapters, &wanted.adapters)
            }
            _ => None,
        }
    }
}

/// The images of a guest that was entered.
#[derive(Debug)]
struct Entered {
    images: Images,
    order: Vec<StagedImage>,
    /// What the images are bound to, held.
    provider: LiveModule,
}

/// How the platform hook is put in.
struct Hook {
    platform: Platform,
    unit: Option<RunAddr>,
    node_flags: &'static [&'static str],
    /// Functions of the bridge in place of the host's that dispose its V8.
    functions: Vec<(&'static str, RunAddr)>,
    /// Addresses in modules that are left alone.
    except: Vec<RunAddr>,
}

struct Place {
    common: Common,
    bridge: &'static Bridge,
    entered: Entered,
    hook: Hook,
    /// The hook is in: somebody runs.
    installed: Option<HostSlots>,
    running: usize,
    /// Runtimes that were not taken out.
    users: usize,
    /// It was bound so that a runtime can be in an isolate of the host's.
    shareable: bool,
    /// A runtime is in one.
    shared: bool,
    /// Something of it can never end.
    stays: bool,
    /// What was found on the way in.
    seen: Report,
}

/// A runtime's share of the guest, from its start on. It is kept for ever, unless it is given back.
#[derive(Debug)]
#[must_use]
pub struct Share {
    life: Arc<Life>,
}

/// A share of the guest for a runtime that is about to run: of the one that there is, or else it is brought in.
///
/// # Errors
/// The guest cannot be brought in, or the one that is there is not the one that is wanted.
pub(super) fn enter(
    config: &Config,
    bridges: Bridges,
    life: &Arc<Life>,
    report: &SharedReport,
) -> Result<Share, Error> {
    let limit = config.wait.max(LEAST);
    let mut there = place(limit)?;
    if there.is_none() {
        drop(there);
        there = bring_in(config, bridges, report)?;
    }
    let Some(guest) = there.as_mut() else { return Err(Error::HostEnded) };
    if guest.users > 0 {
        guest.fits(config)?;
        guest.tell(report);
    }
    let joined = guest.join(life, config, report);
    if joined.is_err() && guest.users == 0 {
        if let Some(guest) = there.take() {
            guest.come_to_nothing();
        }
    }
    joined.map(|()| Share { life: Arc::clone(life) })
}

/// Brings a guest in, if no other thread has done so by the time that the host's V8 is ready.
fn bring_in(config: &Config, bridges: Bridges, report: &SharedReport) -> Result<Taken<Option<Place>>, Error> {
    let inputs = Inputs::default();
    let verified = ready_beside_the_host(&inputs, config, bridges, report)?;
    let mut there = place(config.wait.max(LEAST))?;
    if there.is_none() {
        let bound = bind(verified, config.audit, report)?;
        *there = Some(Place::of(bound, config, report)?);
    }
    Ok(there)
}

impl Place {
    /// Runs the initialisers of a guest that was bound.
    fn of(bound: Applied, config: &Config, report: &SharedReport) -> Result<Self, Error> {
        let protect = |name: &str| bound.function(StagedImage::Bridge, name);
        // SAFETY: the functions are looked for in the staged bridge, which was bound just now and is kept once an initialiser has
        // been called, whatever comes of it.
        unsafe { protected::know(&protect) }?;
        variables::hold();
        let bound = Clock(report).time("initialise", || bound.initialise())?;
        let found = Hook::of(&bound).and_then(|hook| {
            // SAFETY: the functions are looked for in the staged bridge, which was bound and initialised just now.
            let bridge = unsafe { Bridge::find(&|name| bound.function(StagedImage::Bridge, name)) }?;
            Ok((hook, bridge))
        });
        let (hook, bridge) = match found {
            Ok(found) => found,
            Err(error) => {
                bound.leave();
                return Err(error);
            }
        };
        // Before the hook is in: a host that leaves meanwhile waits for what comes of it.
        start::at_exit_of_the_host();
        let (images, order, provider) = bound.into_parts();
        Ok(Self {
            common: Common::of(config),
            bridge,
            entered: Entered { images, order, provider },
            hook,
            installed: None,
            running: 0,
            users: 0,
            shareable: config.shared.is_some(),
            shared: false,
            stays: false,
            seen: Report { stages: Vec::new(), ..lock(report).clone() },
        })
    }

    /// Whether another runtime may come.
    fn fits(&self, config: &Config) -> Result<(), Error> {
        if self.stays {
            return Err(bridge::taken());
        }
        if let Some(why) = self.common.differs(&Common::of(config)) {
            return Err(Error::Beside { why });
        }
        let why = match (&config.shared, self.shareable, self.shared) {
            (Some(_), false, _) => {
                "their guest is not bound for an isolate of the host's: the shared one has to come first"
            }
            (Some(_), true, true) => "one of them is in an isolate of the host's, and only one can be",
            _ => return Ok(()),
        };
        Err(Error::Beside { why: why.into() })
    }

    /// What the first one's report says of host and guest.
    fn tell(&self, report: &SharedReport) {
        let mut report = lock(report);
        let (stages, notes) = (std::mem::take(&mut report.stages), std::mem::take(&mut report.notes));
        *report = Report { stages, ..self.seen.clone() };
        report.notes.extend(notes);
        report.notes.push(format!("the guest was there, with {} other runtime(s)", self.users));
    }

    fn join(&mut self, life: &Arc<Life>, config: &Config, report: &SharedReport) -> Result<(), Error> {
        // SAFETY: the guest was initialised when this place was made, and stays loaded as long as there is a runtime in it.
        let instance = unsafe { self.bridge.open(life.number()) }?;
        let (told, file, number) = (Arc::clone(report), config.report.clone(), life.number());
        if !life.begin(move |outcome| start::finish(&told, file.as_deref(), number, Some(outcome))) {
            return Err(Error::HostEnded);
        }
        if self.running == 0 {
            let installed = Clock(report).time("attach", || self.hook.install(self.bridge));
            self.installed = Some(installed.inspect_err(|_| life.cancel())?);
        }
        life.has(instance);
        self.shared |= config.shared.is_some();
        self.running += 1;
        self.users += 1;
        Ok(())
    }

    /// The first runtime could not begin.
    fn come_to_nothing(self) {
        if lifecycle::host_is_leaving() {
            self.entered.keep();
        } else {
            // The initialisers have run, and nothing else has.
            self.entered.images.leave();
        }
    }

    /// One runtime less runs. Takes the platform hook out after the last one, unless the host is on its way out: then its platform
    /// may be gone already.
    fn one_has_ended(&mut self) {
        self.running -= 1;
        let Some(slots) = self.installed.take_if(|_| self.running == 0) else { return };
        let restored =
            self.bridge.detach().and_then(|staying| if staying { slots.restore() } else { Ok(()) });
        if let Err(error) = restored {
            log::tell(Level::Warn, &error.line());
        }
    }
}

impl Hook {
    fn of(bound: &Running) -> Result<Self, Error> {
        let verified = bound.verified();
        let missing = || Error::MissingEntry { image: "the host's V8".into(), symbol: PLATFORM_CELL.into() };
        let unreadable = |source| Error::ProviderImage { path: "the host's V8".into(), source };
        let cell = verified.exports().find(PLATFORM_CELL, None).map_err(unreadable)?.ok_or_else(missing)?;
        // SAFETY: the cell is V8's own variable, seen set by the wait stage.
        let platform = unsafe { platform::describe(cell.address, verified.exports(), verified.line()) };
        let function = |(stands_in, symbol): &(&'static str, &'static str)| {
            Ok((*symbol, bound.function(StagedImage::Bridge, stands_in)?))
        };
        let except = bound.spans().map(|span| span.start).chain([cell.address]).collect();
        Ok(Self {
            platform: platform.map_err(unreadable)?,
            unit: bound.unit()?,
            node_flags: verified.plan().admission().profile().node_flags,
            functions: adapters::HOST_DISPOSES.iter().map(function).collect::<Result<_, Error>>()?,
            except,
        })
    }

    /// Installs it, and sees to it that a host which disposes its V8 stops the guest first.
    fn install(&self, bridge: &Bridge) -> Result<HostSlots, Error> {
        let (modules, maps) = observe()?;
        // First, so that a host which disposes its V8 from here on is noticed.
        // SAFETY: the bridge's functions call the real ones after they have stopped the guest.
        let watched = unsafe { HostSlots::bind(&modules, &maps, &self.functions, &self.except) }?;
        // SAFETY: the platform was described from the host's own data.
        if let Err(error) = unsafe { bridge.attach(self.platform, self.unit, self.node_flags) } {
            watched.restore()?;
            return Err(error);
        }
        Ok(watched)
    }
}

impl Share {
    /// The runtime's part of the bridge.
    pub(super) fn instance(&self) -> Result<&Instance, Error> {
        self.life.instance().ok_or_else(|| Error::Internal("a runtime without a part of the bridge".into()))
    }

    /// Node has ended, in whatever way.
    pub(super) fn node_has_ended(&self) {
        match place(TO_END) {
            Ok(mut there) => there.iter_mut().for_each(Place::one_has_ended),
            Err(error) => log::tell(Level::Warn, &format!("the platform hook stays: {}", error.line())),
        }
    }

    /// It stays for ever, and with it the guest.
    pub fn keep(self) {}

    /// Takes the runtime out, and with the last one the guest: its destructors and finalisers run, its images are unloaded, and another
    /// guest may come. The thread that ran it has ended, or is the calling one. A destructor that aborts or does not
    /// return holds a thread of ours and not the caller's.
    ///
    /// # Errors
    /// Something of it can never end, so the guest stays loaded.
    pub fn give_back(self) -> Result<(), Error> {
        // Here, for a host's isolate that it was in may be this thread's.
        // SAFETY: the thread that ran it has ended, or is this one, which is in none of its functions.
        let closed = self.life.instance().map_or(Ok(()), |instance| unsafe { instance.close() });
        if closed.is_ok() {
            // SAFETY: the guest is loaded as long as there is a share of it. What this thread runs besides gets anew what it needs.
            unsafe { remains::leave_thread() };
        }
        bridge::forget_events(self.life.number());
        host_calls::forget(self.life.number());
        let mut place = place(TO_END)?;
        let Some(there) = place.as_mut() else { return closed };
        there.users -= 1;
        there.stays |= closed.is_err();
        if there.users > 0 {
            return closed;
        }
        // Nobody brings another one in before this one is gone.
        let Some(Place { entered, stays, .. }) = place.take() else { return closed };
        if stays {
            entered.keep();
            return closed.and_then(|()| Err(bridge::taken()));
        }
        entered.unload()
    }
}

impl Entered {
    /// Leaves the guest loaded for ever, and what it is bound to.
    fn keep(self) {
        std::mem::forget(self.provider);
        self.images.keep();
    }

    fn unload(self) -> Result<(), Error> {
        // SAFETY: the images are loaded still.
        if let Err(error) = float::as_guest(|| unsafe { bridge::release() }) {
            self.keep();
            return Err(error);
        }
        // SAFETY: Node was taken down just now, and the images are loaded still.
        unsafe { remains::leave_thread() };
        // SAFETY: as above.
        unsafe { remains::leave_for_good() };
        let (sender, result) = mpsc::channel();
        let thread = std::thread::Builder::new().name("relink-unload".into()).stack_size(UNLOADING_STACK);
        let spawned = signals::blocked(|| {
            thread.spawn(move || {
                sanitizers::leave_thread_unjudged();
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
        // SAFETY: Node has ended and was taken down, and its threads with it.
        unsafe { self.images.unload(&self.order) }.map_err(|threads| {
            std::mem::forget(self.provider);
            Error::StillRuns { threads }
        })
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
            Err(RecvTimeoutError::Timeout) if lifecycle::unloading_is_parked() => {
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
