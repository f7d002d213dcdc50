//! Brings a guest in: from the observed process to the running guest. All stages meet here and nowhere else.
//!
//! The stages read the host and the guest, ask the ABI gate, plan every slot, verify the plan, wait for the host's V8, load private
//! copies, write the slots and enter the guest. A failure before the copies are loaded changes nothing; a later one takes all back.
//!
//! # Safety
//! Loading, writing slots and starting are unsafe by nature. The stage before each establishes what it requires. The types let
//! nobody leave a stage out: only a [`VerifiedPlan`] is applied, and only applied slots are entered.

mod audit;
mod await_v8;
mod fill;
mod load;
mod pair;
pub mod parts;
mod place;
mod start;

pub use await_v8::await_v8;
pub use load::Images;
pub use parts::{Files, ImageFile, Part};
pub use place::Share;
pub use start::{begin, finish, run, Ticked};

use crate::config::Config;
use crate::host::{detect, Exports, Provider};
use crate::log::{self, Level};
use crate::patch::live::LiveMemory;
use crate::patch::{Applied, Memory};
use crate::plan::VerifiedPlan;
use crate::plan::{plan, Binding, Guard, Request, StagedImage};
use crate::process::{LiveModule, Maps, Modules};
use crate::report::{Report, Witness};
use crate::runtime::addons::{Known, World};
use crate::runtime::readiness::Cells;
use crate::runtime::{addons, guards, unpacked};
use pair::Companions;
pub use pair::Units;
use relink_abi::adapters::{self, Adapter, When};
use relink_abi::catalogue::{PLATFORM_CELL, WITNESSES};
use relink_abi::error::Error;
use relink_abi::gate;
use relink_abi::line::{self, Bridges, Line};
use relink_abi::probe::standing::{Pair, Settings};
use relink_abi::remedy::warnings;
use relink_elf::address::RunAddr;
use relink_elf::Dynamic;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The report of this process, filled as the stages go.
pub type SharedReport = Arc<Mutex<Report>>;

/// Reads a report that another thread may be filling.
pub fn lock(report: &SharedReport) -> MutexGuard<'_, Report> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is to be bound to what.
pub struct Ask<'a> {
    /// The guest's file.
    pub guest: &'a Path,
    /// The bridges' shared objects.
    pub bridges: Bridges<'a>,
    /// A part of the provider's path, where there are several.
    pub provider: Option<&'a str>,
    /// The adapters to use for a line.
    pub adapters: fn(&'static Line) -> Vec<&'static Adapter>,
    /// The guards to use.
    pub guards: Vec<Guard>,
    /// Where adapter units are.
    pub units: Units<'a>,
    /// Whether the report shall say what every slot holds.
    pub audit: bool,
    /// Whether Node is to be in an isolate of the host's.
    pub shared: bool,
    /// How the host's V8 is observed; nothing if it is not.
    pub probe: Option<&'a Settings>,
}

/// Guest, closure and bridge, loaded and bound; none of their code has run.
pub struct Bound<'b, 'd> {
    images: Images,
    applied: Applied,
    parts: &'b [Part<'b, 'd>],
    order: Vec<StagedImage>,
    exports: &'b Exports<'b, 'b>,
    /// The module that provides the host's V8: held, for the host may let go of it before it asks for the guest's end.
    provider: LiveModule,
    verified: &'b VerifiedPlan<'d>,
    /// The line of the host.
    line: &'static Line,
    adapters: Vec<&'static Adapter>,
}

/// Whether [`run`] would get as far as changing the process; which it does not. The report is filled as far as that.
pub fn probe(config: &Config, bridges: Bridges, report: &SharedReport) -> Result<(), Error> {
    let mut admitted = false;
    let stop = |_: &Exports, _: &Provider| {
        admitted = true;
        Err(Error::HostEnded)
    };
    // Observing the host's V8 would start a process and leave a file.
    let ask = Ask { probe: None, ..ask(config, bridges) };
    match bind(&ask, report, stop, |_| Ok(())) {
        Err(_) if admitted => Ok(()),
        other => other,
    }
}

fn beside_the_host<T>(
    config: &Config,
    bridges: Bridges,
    report: &SharedReport,
    enter: impl FnOnce(Bound) -> Result<T, Error>,
) -> Result<T, Error> {
    if !config.script.as_os_str().is_empty() {
        readable_script(config)?;
    }
    let ask = ask(config, bridges);
    if config.host.is_some() {
        Clock(report).time("wait-for-V8", || wait_for_provider(config.wait, ask.provider, &|| true))?;
    }
    let wait = |exports: &Exports, provider: &Provider| wait_until_ready(exports, provider, config);
    bind(&ask, report, wait, enter)
}

fn ask<'a>(config: &'a Config, bridges: Bridges<'a>) -> Ask<'a> {
    Ask {
        guest: &config.guest,
        bridges,
        provider: config.provider.as_deref(),
        adapters: if config.shared.is_some() { adapters::inside_an_isolate } else { adapters::beside_a_host },
        guards: [unpacked::guards(&config.guest), guards::all(), addons::guards()].concat(),
        units: config.adapters.as_deref().map_or(Units::Kits, Units::In),
        audit: config.audit,
        shared: config.shared.is_some(),
        probe: Some(&config.probe),
    }
}

/// All stages from the observed process to the bound guest, which is then handed to `enter`. `wait` comes between the
/// verdict and the first change of the process.
pub fn bind<T>(
    ask: &Ask,
    report: &SharedReport,
    wait: impl FnOnce(&Exports, &Provider) -> Result<(), Error>,
    enter: impl FnOnce(Bound) -> Result<T, Error>,
) -> Result<T, Error> {
    let clock = Clock(report);
    let files = Files::open(ask.guest)?;
    let (modules, maps) = clock.time("observe", observe)?;
    let (provider, because) = clock.time("detect", || find_provider(&modules, &maps, ask.provider))?;
    lock(report).found(&provider, because);
    let images = files.images()?;
    #[allow(clippy::needless_late_init, reason = "`parts` borrows from them, so they must outlive it")]
    let (companions, ours);
    let mut parts = clock.time("read", || Part::read_all(&images))?;
    let note = parts[0].note()?;
    lock(report).read(&note);

    let image = provider.module.image(&maps);
    let unreadable = |source| Error::ProviderImage { path: provider.module.path.clone(), source };
    let dynamic = Dynamic::parse(&image).map_err(unreadable)?;
    let mut exports = Exports::new(&image, &dynamic, provider.module.bias).map_err(unreadable)?;
    // A guest for another V8 lacks symbols as a rule; what the user must hear is the version.
    let admitted = clock.time("admit", || gate::admit(&note, &provider.fingerprint))?;
    lock(report).notes.extend(warnings(&gate::compiled_for(&note), &provider.fingerprint));
    if let Some(settings) = ask.probe {
        let (host, guest) = (&provider.module.path, parts[0].build());
        let (numbers, must) = (admitted.numbers(), admitted.to_be_seen());
        let pair = Pair { host, image: &image, numbers, guest: &guest, must };
        let standing = clock.time("probe", || pair.standing(settings))?;
        lock(report).probe = Some(standing);
    }
    let needs = parts[0].needs(&note)?;
    let line = line::of_host(&provider.fingerprint)?;
    if ask.shared {
        gate::shareable(&admitted, line, &provider.fingerprint)?;
    }
    companions = Companions::of(&note, &provider.fingerprint, ask)?;
    lock(report).degraded.extend(companions.lost());
    let adapters = companions.adapters(&note, ask);
    ours = companions.images(ask)?;
    parts.extend(Part::read_all(&ours)?);
    let internal =
        [PLATFORM_CELL, line.first_isolate()].into_iter().chain(line.internal_functions().iter().copied());
    let needed = parts.iter().filter(|p| matches!(p.image, StagedImage::Guest | StagedImage::Unit));
    let needed = needed.flat_map(|p| p.inventory.needed_v8());
    let needed = needed.filter(|name| adapters.iter().all(|a| a.when == When::Missing || a.symbol != *name));
    exports.complete(&provider.module.path, internal.chain(needed)).map_err(unreadable)?;
    let planned = clock.time("plan", || {
        let members: Vec<_> = parts.iter().map(Part::member).collect();
        plan(&Request {
            members: &members,
            needs: &|name| needs.contains(name),
            provider: &exports,
            provider_name: &provider.module.name(),
            adapters: &adapters,
            guards: &ask.guards,
        })
    })?;
    let verified = crate::plan::verify(planned, admitted);
    lock(report).planned(&verified, &parts);

    clock.time("wait", || wait(&exports, &provider))?;
    let images = clock.time("load", || Images::load(&parts, &verified))?;
    let (images, applied) = clock.time("apply", || images.bind(verified.plan()))?;
    let order = files.initialisation_order();
    let bound = Bound {
        images,
        applied,
        parts: &parts,
        order,
        exports: &exports,
        provider: provider.module.clone(),
        verified: &verified,
        line,
        adapters,
    };
    bound.tell(&mut lock(report))?;
    addons::know(bound.world(ask, &provider)?);
    if ask.audit {
        lock(report).audit = Some(clock.time("audit", || bound.audit())?);
    }
    enter(bound)
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

/// What tells that a V8 is ready.
fn ready_cells(exports: &Exports, provider: &Provider) -> Result<Cells, Error> {
    let names = [PLATFORM_CELL, line::of_host(&provider.fingerprint)?.first_isolate()];
    let cells = names.map(|name| variable(exports, provider, "readiness", name));
    let cells = cells.into_iter().collect::<Result<Vec<_>, _>>()?;
    // SAFETY: both are variables of the provider, of four bytes or more, which stays loaded.
    Ok(unsafe { Cells::new(cells) })
}

fn wait_until_ready(exports: &Exports, provider: &Provider, config: &Config) -> Result<(), Error> {
    if ready_cells(exports, provider)?.wait(config.wait, &|| true) {
        Ok(())
    } else {
        Err(not_ready(provider, config.wait))
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

impl Bound<'_, '_> {
    /// Where calls of the guest to V8 really go, read back from its slots, and which modules define V8 now.
    fn tell(&self, report: &mut Report) -> Result<(), Error> {
        let (modules, maps) = observe()?;
        let memory = self.images.memory()?;
        let placement = self.images.placement();
        let of_guest = self.verified.plan().bindings.iter().filter(|b| b.image == StagedImage::Guest);
        let shown = of_guest.filter(|b| WITNESSES.contains(&b.slot.symbol));
        report.pages = self.applied.pages();
        report.witnesses = shown.filter_map(|b| witness(b, placement.slot(b), &memory, &maps)).collect();
        let staged = |m: &LiveModule| self.images.spans().any(|span| m.contains(span.start));
        let found = detect::providers(&modules, &maps)?.into_iter().filter(|p| !staged(&p.module));
        report.v8_modules = found.map(|p| p.module.path.display().to_string()).collect();
        Ok(())
    }

    /// What add-ons are to be bound to.
    fn world(&self, ask: &Ask, provider: &Provider) -> Result<World, Error> {
        let placement = self.images.placement();
        let known = |part: &Part| {
            let bias = placement.0.get(&part.image).copied()?;
            Some(Known { image: part.image, soname: part.inventory.soname.to_owned(), bias })
        };
        Ok(World {
            images: self.parts.iter().filter_map(known).collect(),
            provider: (provider.module.name(), provider.module.bias),
            adapters: self.adapters.clone(),
            guards: ask.guards.clone(),
            guest: self.parts[0].reopen()?,
        })
    }

    /// Runs the initialisers of all images.
    fn initialise(&self) {
        for staged in self.order.iter().filter_map(|image| self.images.get(*image)) {
            // SAFETY: every slot of every image is bound, and each image comes after those that it calls.
            unsafe { staged.initialise() };
        }
    }

    /// The initialisers have run, and nothing else has: the images stay, and the bridge is the next guest's.
    fn leave(self) {
        self.images.leave();
    }

    fn spans(&self) -> impl Iterator<Item = std::ops::Range<RunAddr>> + '_ {
        self.images.spans()
    }

    /// The run-time address of a function that one of the images exports.
    ///
    /// # Errors
    /// It does not.
    fn function(&self, image: StagedImage, symbol: &str) -> Result<RunAddr, Error> {
        let missing = || Error::MissingEntry { image: format!("the {image}"), symbol: symbol.to_owned() };
        let part = self.parts.iter().find(|p| p.image == image).ok_or_else(missing)?;
        let unreadable = |source| Error::GuestImage { path: part.path.to_owned(), source };
        let found = part.exports.symbol(symbol, None).map_err(unreadable)?.ok_or_else(missing)?;
        Ok(self.images.get(image).ok_or_else(missing)?.bias.run(found.value))
    }

    /// The run-time address of the adapter unit's entrance, if there is a unit.
    fn unit(&self) -> Result<Option<RunAddr>, Error> {
        const ENTRANCE: &str = "relink_unit_attach";
        let unit = self.images.get(StagedImage::Unit);
        unit.map(|_| self.function(StagedImage::Unit, ENTRANCE)).transpose()
    }

    /// Runs the initialisers, and gives the run-time address of one of the guest's own functions.
    ///
    /// # Errors
    /// The guest does not export it.
    pub fn enter(&self, symbol: &str) -> Result<RunAddr, Error> {
        let entry = self.function(StagedImage::Guest, symbol)?;
        self.initialise();
        Ok(entry)
    }
}

fn witness(binding: &Binding, slot: RunAddr, memory: &LiveMemory, maps: &Maps) -> Option<Witness> {
    let address = RunAddr(memory.read(slot).ok()?);
    let mapping = maps.at(address)?;
    Some(Witness {
        symbol: binding.slot.symbol.to_owned(),
        address: address.to_string(),
        module: mapping.name.display().to_string(),
        protection: mapping.protection.to_string(),
    })
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
