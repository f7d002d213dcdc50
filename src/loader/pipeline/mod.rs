//! Brings a guest in: from the observed process to the running guest. All stages meet here and nowhere else.
//!
//! [`prepare`] takes the stages that change nothing ([`crate::stages`]): they read the host and the guest, ask the ABI gate, plan every
//! slot and verify the plan. [`bind`] takes those that load private copies, write the slots and enter the guest:
//! `Observed -> Admitted -> Planned -> Verified -> Loaded -> Applied -> Running`. Between the two the host's V8 is waited for. A failure
//! before the copies are loaded changes nothing; a later one takes all back (except E0504 and E0506).
//!
//! # Safety
//! Loading, writing slots and starting are unsafe by nature. The stage before each establishes what it requires. The types let
//! nobody leave a stage out: only verified plans are applied, only applied slots are entered.

mod applied;
mod audit;
mod await_v8;
mod fill;
mod load;
mod place;
mod start;

pub use applied::{Applied, Loaded, Running};
pub use await_v8::await_v8;
pub use load::Images;
pub use place::Share;
pub use start::{begin, finish, run, Ticked};

use crate::config::Config;
use crate::host::{detect, Exports, Provider};
use crate::log::{self, Level};
use crate::process::{Maps, Modules};
use crate::report::Report;
use crate::runtime::readiness::{Cells, Variable};
use crate::runtime::{addons, guards, readiness, unpacked};
use crate::stages::{HostProcess, Inputs, Observed, Terms, Units, Verified};
use relink_abi::adapters;
use relink_abi::catalogue::{PLATFORM_CELL, SHARED_READ_ONLY_HEAP};
use relink_abi::error::Error;
use relink_abi::line::Bridges;
use relink_abi::probe::standing::Settings;
use relink_elf::address::RunAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The report of this process, filled as the stages go.
pub type SharedReport = Arc<Mutex<Report>>;

/// Reads a report that another thread may be filling.
pub fn lock(report: &SharedReport) -> MutexGuard<'_, Report> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is to be bound to what in this process.
pub struct Wanted<'a> {
    /// The guest's file.
    pub guest: &'a Path,
    /// A part of the provider's path, where there are several.
    pub provider: Option<&'a str>,
    /// How.
    pub terms: Terms<'a>,
    /// How the host's V8 is observed; nothing if it is not.
    pub probe: Option<&'a Settings>,
}

impl<'a> Wanted<'a> {
    fn by(config: &'a Config, bridges: Bridges<'a>) -> Self {
        let units = config.adapters.as_deref().map_or(Units::Kits, Units::In);
        let beside = beside_a_host(&config.guest, Some(bridges), units);
        let terms = match config.shared {
            Some(_) => Terms { adapters: adapters::inside_an_isolate, shared: true, ..beside },
            None => beside,
        };
        Self { guest: &config.guest, provider: config.provider.as_deref(), terms, probe: Some(&config.probe) }
    }
}

/// How a guest is bound that is a guest: beside a host that owns V8. Without bridges for plans that are made from files alone.
pub fn beside_a_host<'a>(guest: &Path, bridges: Option<Bridges<'a>>, units: Units<'a>) -> Terms<'a> {
    Terms {
        bridges,
        units,
        adapters: adapters::beside_a_host,
        guards: [unpacked::guards(guest), guards::all(), addons::guards()].concat(),
        shared: false,
    }
}

/// The stages that change nothing: the process is observed, the guest is admitted to its V8, every slot is planned and the plan
/// verified. The report is filled as they go.
///
/// # Errors
/// There is no V8, the guest does not fit, or no plan can be made.
pub fn prepare<'a>(
    inputs: &'a Inputs<'a>,
    wanted: &Wanted<'a>,
    report: &SharedReport,
) -> Result<Verified<'a>, Error> {
    let clock = Clock(report);
    let files = inputs.guest(wanted.guest)?;
    let (modules, maps) = clock.time("observe", observe)?;
    let (provider, because) = clock.time("detect", || find_provider(&modules, &maps, wanted.provider))?;
    lock(report).found(&provider, because);
    let host = HostProcess::of(inputs, provider, &maps);
    let observed = clock.time("read", || Observed::of(inputs, files, host))?;
    lock(report).read(observed.note());
    let admitted = clock.time("admit", || observed.admit())?;
    lock(report).notes.extend(admitted.observed().warnings());
    if let Some(settings) = wanted.probe {
        let standing = clock.time("probe", || admitted.probe(settings))?;
        lock(report).probe = Some(standing);
    }
    let planned = clock.time("plan", || admitted.plan(&wanted.terms))?;
    lock(report).degraded.extend(planned.lost().iter().cloned());
    let verified = planned.verify()?;
    lock(report).planned(&verified);
    Ok(verified)
}

/// The stages that change the process: all images are loaded and every slot is written, or nothing. None of the images' code has
/// run then. Add-ons can be bound from here on. `audit`: the report is to say what every slot holds.
///
/// # Errors
/// An image cannot be loaded, or a slot cannot be written.
pub fn bind<'a>(verified: Verified<'a>, audit: bool, report: &SharedReport) -> Result<Applied<'a>, Error> {
    let clock = Clock(report);
    let loaded = clock.time("load", || verified.load())?;
    let applied = clock.time("apply", || loaded.apply())?;
    applied.tell(&mut lock(report))?;
    addons::know(applied.world()?);
    if audit {
        lock(report).audit = Some(clock.time("audit", || applied.audit())?);
    }
    Ok(applied)
}

/// Whether [`run`] would get as far as changing the process; which it does not. The report is filled as far as that.
pub fn probe(config: &Config, bridges: Bridges, report: &SharedReport) -> Result<(), Error> {
    // Observing the host's V8 would start a process and leave a file.
    let wanted = Wanted { probe: None, ..Wanted::by(config, bridges) };
    prepare(&Inputs::default(), &wanted, report).map(drop)
}

/// The stages that change nothing, for what the configuration asks for, and the wait for the host's V8.
fn ready_beside_the_host<'a>(
    inputs: &'a Inputs<'a>,
    config: &'a Config,
    bridges: Bridges<'a>,
    report: &SharedReport,
) -> Result<Verified<'a>, Error> {
    if !config.script.as_os_str().is_empty() {
        readable_script(config)?;
    }
    let wanted = Wanted::by(config, bridges);
    let clock = Clock(report);
    if config.host.is_some() {
        clock.time("wait-for-V8", || wait_for_provider(config.wait, wanted.provider, &|| true))?;
    }
    let verified = prepare(inputs, &wanted, report)?;
    clock.time("wait", || wait_until_ready(&verified, config))?;
    Ok(verified)
}

fn readable_script(config: &Config) -> Result<(), Error> {
    let failed = |source| Error::Script { path: config.script.clone(), source };
    let kind = std::fs::metadata(&config.script).map_err(failed)?;
    if kind.is_dir() {
        return Err(failed(std::io::Error::from_raw_os_error(libc::EISDIR)));
    }
    // Opening a pipe would wait for its writer; that is Node's to do.
    if kind.is_file() {
        std::fs::File::open(&config.script).map_err(failed)?;
    }
    Ok(())
}

fn observe() -> Result<(Modules, Maps), Error> {
    let maps = Maps::own().map_err(|source| Error::Proc { what: "/proc/self/maps", source })?;
    Ok((Modules::observe(), maps))
}

/// Waits until a module that provides V8 (the wanted one, if one is named) is loaded, or the time is over (then detection
/// says what is missing), or nobody goes on waiting. Costs one look at ld.so's counter every few milliseconds.
fn wait_for_provider(limit: Duration, wanted: Option<&str>, go_on: &dyn Fn() -> bool) -> Result<(), Error> {
    const PAUSE: Duration = Duration::from_millis(5);
    let start = Instant::now();
    let mut seen = 0;
    loop {
        let loads = Modules::loads_so_far();
        if loads != seen {
            seen = loads;
            let (modules, maps) = observe()?;
            if detect::any_named(&modules, &maps, wanted) {
                return Ok(());
            }
        }
        if start.elapsed() >= limit || !go_on() {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
}

fn find_provider(modules: &Modules, maps: &Maps, wanted: Option<&str>) -> Result<(Provider, String), Error> {
    let found = detect::providers(modules, maps)?;
    let all: Vec<_> = found.iter().map(|p| p.module.path.display().to_string()).collect();
    let chosen = detect::choose(found, wanted, modules.0.len())?;
    let because = detect::because(&chosen, &all, wanted);
    Ok((chosen, because))
}

/// What tells that the host's V8 is ready.
fn ready_cells(verified: &Verified) -> Result<Cells, Error> {
    let line = verified.line();
    let at = |name| variable(verified.exports(), verified.host().provider(), "readiness", name);
    let first_isolate = at(line.first_isolate())?;
    let first_isolate = match line.counts_isolates() {
        true => Variable::Counter(first_isolate),
        false => Variable::Pointer(first_isolate),
    };
    let cells = vec![Variable::Pointer(at(PLATFORM_CELL)?), first_isolate];
    // SAFETY: both are variables of the provider, which stays loaded, and of the size that V8 has them in.
    Ok(unsafe { Cells::new(cells) })
}

fn wait_until_ready(verified: &Verified, config: &Config) -> Result<(), Error> {
    /// The host's thread may be moving the heap that it has just made to where it stays; in a forked child it never comes.
    const SETTLED: Duration = Duration::from_secs(1);
    let provider = verified.host().provider();
    if !ready_cells(verified)?.wait(config.wait, &|| true) {
        return Err(not_ready(provider, config.wait));
    }
    if verified.line().first_isolate() != SHARED_READ_ONLY_HEAP {
        return Ok(());
    }
    let cell = variable(verified.exports(), provider, "shared heap", SHARED_READ_ONLY_HEAP)?;
    let until = Instant::now() + SETTLED;
    loop {
        let maps = Maps::own().map_err(|source| Error::Proc { what: "/proc/self/maps", source })?;
        // SAFETY: V8's variable of that name, which was seen set just now.
        if unsafe { readiness::shared_heap_is_here(cell, &maps) } {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(Error::HeapNotForked { provider: provider.module.name() });
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn not_ready(provider: &Provider, waited: Duration) -> Error {
    Error::NotReady { provider: provider.module.name(), waited_ms: waited.as_millis() as u64 }
}

fn variable(
    exports: &Exports,
    provider: &Provider,
    what: &'static str,
    symbol: &'static str,
) -> Result<RunAddr, Error> {
    let unreadable = |source| Error::ProviderImage { path: provider.module.path.clone(), source };
    let found = exports.find(symbol, None).map_err(unreadable)?;
    let unknown = || Error::UnknownFact { path: provider.module.path.clone(), what, symbol };
    found.filter(|d| !d.is_function).map(|d| d.address).ok_or_else(unknown)
}

/// Times stages into a report.
struct Clock<'r>(&'r SharedReport);

impl Clock<'_> {
    fn time<T>(&self, stage: &str, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        let us = start.elapsed().as_micros() as u64;
        lock(self.0).spent(stage, us);
        log::tell(Level::Debug, &format!("{stage}: {us} µs"));
        result
    }
}
