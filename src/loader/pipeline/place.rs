//! The guest in this process, and the runtimes that share it: the first brings it in, the others find it there, the last one that is taken
//! out takes it along.
//!
//! # Safety
//! Only bound images are entered; the host's platform is described from its own data, seen set by the wait stage. The guest is
//! unloaded when no runtime is left, none of whose threads can still be in its code.

use super::load::Images;
use super::{beside_the_host, lock, observe, start, Bound, Clock, SharedReport};
use crate::config::Config;
use crate::log::{self, Level};
use crate::plan::StagedImage;
use crate::process::LiveModule;
use crate::report::Report;
use crate::runtime::bridge::{self, Bridge, Platform};
use crate::runtime::host_slots::HostSlots;
use crate::runtime::instance::Instance;
use crate::runtime::lifecycle::Life;
use crate::runtime::{lifecycle, platform, remains, sanitizers, signals, variables};
use relink_abi::adapters;
use relink_abi::catalogue::PLATFORM_CELL;
use relink_abi::error::Error;
use relink_abi::line::Bridges;
use relink_elf::address::RunAddr;
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The guest that there is. Held while it comes and while it goes.
static PLACE: Mutex<Option<Place>> = Mutex::new(None);

fn place() -> MutexGuard<'static, Option<Place>> {
    PLACE.lock().unwrap_or_else(PoisonError::into_inner)
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
    let mut place = place();
    let there = match place.take() {
        Some(there) => {
            let fits = there.fits(config);
            let there = place.insert(there);
            fits?;
            there.tell(report);
            there
        }
        None => {
            let brought = beside_the_host(config, bridges, report, |bound| Place::of(bound, config, report))?;
            place.insert(brought)
        }
    };
    let joined = there.join(life, config, report);
    if joined.is_err() && there.users == 0 {
        if let Some(there) = place.take() {
            there.come_to_nothing();
        }
    }
    joined.map(|()| Share { life: Arc::clone(life) })
}

impl Place {
    /// Runs the initialisers of a guest that was bound.
    fn of(bound: Bound, config: &Config, report: &SharedReport) -> Result<Self, Error> {
        variables::hold();
        Clock(report).time("initialise", || bound.initialise());
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
        let Bound { images, order, provider, .. } = bound;
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
        let instance = self.bridge.open(life.number())?;
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
    fn of(bound: &Bound) -> Result<Self, Error> {
        let missing = || Error::MissingEntry { image: "the host's V8".into(), symbol: PLATFORM_CELL.into() };
        let unreadable = |source| Error::ProviderImage { path: "the host's V8".into(), source };
        let cell = bound.exports.find(PLATFORM_CELL, None).map_err(unreadable)?.ok_or_else(missing)?;
        // SAFETY: the cell is V8's own variable, seen set by the wait stage.
        let platform = unsafe { platform::describe(cell.address, bound.exports, bound.line) };
        let function = |(stands_in, symbol): &(&'static str, &'static str)| {
            Ok((*symbol, bound.function(StagedImage::Bridge, stands_in)?))
        };
        let except = bound.spans().map(|span| span.start).chain([cell.address]).collect();
        Ok(Self {
            platform: platform.map_err(unreadable)?,
            unit: bound.unit()?,
            node_flags: bound.verified.admitted().profile().node_flags,
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
        if let Some(there) = place().as_mut() {
            there.one_has_ended();
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
        let closed = self.life.instance().map_or(Ok(()), Instance::close);
        if closed.is_ok() {
            // SAFETY: the guest is loaded as long as there is a share of it. What this thread runs besides gets anew what it needs.
            unsafe { remains::leave_thread() };
        }
        bridge::forget_events(self.life.number());
        let mut place = place();
        let Some(there) = place.as_mut() else { return closed };
        there.users -= 1;
        there.stays |= closed.is_err();
        if there.users > 0 {
            return closed;
        }
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
