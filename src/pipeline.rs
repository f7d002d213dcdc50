//! The way in, from the observed process to the running guest. The only place where the stages meet.
//!
//! # Safety
//! Loading, writing slots and starting are unsafe by nature; what each asks for is established by the stage before it,
//! and the types let no stage be left out: only a [`VerifiedPlan`] is applied, only applied slots are entered.

use crate::abi::adapters::{self, Adapter};
use crate::abi::catalogue::{PLATFORM_CELL, WITNESSES};
use crate::abi::gate::{self, VerifiedPlan};
use crate::abi::line::{self, Bridges, Line};
use crate::address::RunAddr;
use crate::config::Config;
use crate::elf::arch::Arch;
use crate::elf::{Dynamic, FileImage};
use crate::error::Error;
use crate::guest::stage::{self, Staged};
use crate::guest::{closure, map_file, note, GuestNote, Inventory};
use crate::host::{detect, Exports, Provider};
use crate::patch::live::LiveMemory;
use crate::patch::{apply, by_page, Applied, Memory, SlotWrite};
use crate::plan::{place, plan, Binding, Guard, Placement, Request, StagedImage};
use crate::process::{Maps, Modules};
use crate::report::log::{self, Level};
use crate::report::{Outcome, Report, Witness};
use crate::runtime::bridge::{self, Bridge};
use crate::runtime::host_slots::HostSlots;
use crate::runtime::readiness::Cells;
use crate::runtime::{guards, lifecycle, platform};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The report of this process, filled as the stages go.
pub type SharedReport = Arc<Mutex<Report>>;

/// Reads a report that another thread may be filling.
pub fn lock(report: &SharedReport) -> MutexGuard<'_, Report> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An image file and what was found in it.
pub struct GuestFile<'d> {
    /// The file.
    pub file: FileImage<'d>,
    /// Its slots, definitions and needs.
    pub inventory: Inventory<'d>,
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
}

/// Guest and bridge, loaded and bound; none of their code has run.
pub struct Bound<'b, 'd> {
    guest: Staged,
    bridge: Staged,
    applied: Applied,
    guest_inventory: &'b Inventory<'d>,
    bridge_inventory: &'b Inventory<'d>,
    exports: &'b Exports<'b, 'b>,
    verified: &'b VerifiedPlan<'d>,
    line: &'static Line,
}

/// Brings the guest in beside the host and runs it on the calling thread, which has 8 MiB of stack, until it ends.
pub fn run(config: &Config, bridges: Bridges, report: &SharedReport) -> Result<(), Error> {
    readable_script(config)?;
    let ask = Ask {
        guest: &config.guest,
        bridges,
        provider: config.provider.as_deref(),
        adapters: adapters::beside_a_host,
        guards: guards::all(),
    };
    if config.host.is_some() {
        Clock(report).time("wait-for-V8", || wait_for_provider(config.wait))?;
    }
    let wait = |exports: &Exports, provider: &Provider| wait_until_ready(exports, provider, config);
    bind(&ask, report, wait, |bound| start(bound, config, report))
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
    let guest_bytes = map_file(ask.guest)?;
    let (modules, maps) = clock.time("observe", observe)?;
    let provider = clock.time("detect", || find_provider(&modules, &maps, ask.provider))?;
    lock(report).found(&provider);
    let (guest, note) = clock.time("read", || read_guest(&guest_bytes, ask.guest))?;
    lock(report).read(&note);

    let image = provider.module.image(&maps);
    let unreadable = |source| Error::ProviderImage { path: provider.module.path.clone(), source };
    let dynamic = Dynamic::parse(&image).map_err(unreadable)?;
    let exports = Exports::new(&image, &dynamic, provider.module.bias).map_err(unreadable)?;
    // A guest for another V8 lacks symbols as a rule; what the user must hear is the version.
    gate::admit(&note, &provider.fingerprint)?;
    let (line, bridge) = ask.bridges.of(&provider.fingerprint)?;
    let bridge = read_bridge(bridge)?;
    let planned = clock.time("plan", || {
        plan(&Request {
            guest: &guest.inventory,
            bridge: Some(&bridge.inventory),
            provider: &exports,
            provider_name: &provider.module.name(),
            adapters: &(ask.adapters)(line),
            guards: &ask.guards,
        })
    })?;
    let verified = clock.time("verify", || gate::verify(planned, &note, &provider.fingerprint))?;
    lock(report).planned(&verified);

    clock.time("wait", || wait(&exports, &provider))?;
    let (guest_image, bridge_image) =
        clock.time("load", || load(ask.guest, &guest, &bridge, &verified, &modules))?;
    let writes = clock.time("place", || {
        place(verified.plan(), Placement { guest: guest_image.bias, bridge: bridge_image.bias })
    });
    let (guest_image, bridge_image, applied) =
        clock.time("apply", || write(guest_image, bridge_image, writes))?;
    let bound = Bound {
        guest: guest_image,
        bridge: bridge_image,
        applied,
        guest_inventory: &guest.inventory,
        bridge_inventory: &bridge.inventory,
        exports: &exports,
        verified: &verified,
        line,
    };
    bound.tell(&mut lock(report))?;
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

/// Waits until a module that provides V8 is loaded, or the time is over (then detection says what is missing). Costs one
/// look at ld.so's counter every few milliseconds.
fn wait_for_provider(limit: Duration) -> Result<(), Error> {
    const PAUSE: Duration = Duration::from_millis(5);
    let start = Instant::now();
    let mut seen = 0;
    loop {
        let loads = Modules::loads_so_far();
        if loads != seen {
            seen = loads;
            let (modules, maps) = observe()?;
            if detect::any(&modules, &maps) {
                return Ok(());
            }
        }
        if start.elapsed() >= limit {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
}

fn find_provider(modules: &Modules, maps: &Maps, wanted: Option<&str>) -> Result<Provider, Error> {
    detect::choose(detect::providers(modules, maps)?, wanted, modules.0.len())
}

/// Reads a guest's file and its note.
pub fn read_guest<'d>(bytes: &'d [u8], path: &Path) -> Result<(GuestFile<'d>, GuestNote), Error> {
    let broken = |source| Error::GuestImage { path: path.to_owned(), source };
    let file = FileImage::parse(bytes, Arch::native()).map_err(broken)?;
    let inventory = Inventory::read(&file).map_err(broken)?;
    let own_v8 = inventory.own_v8();
    if let Some(example) = own_v8.first() {
        return Err(Error::GuestHasV8 {
            path: path.to_owned(),
            count: own_v8.len(),
            example: (*example).to_owned(),
        });
    }
    let note = note::find(&file.image).map_err(broken)?;
    let note = note.map_err(|why| Error::NoNote { path: path.to_owned(), why })?;
    Ok((GuestFile { file, inventory }, note))
}

fn read_bridge(bytes: &[u8]) -> Result<GuestFile<'_>, Error> {
    let broken = |source| Error::GuestImage { path: "the embedded bridge".into(), source };
    let file = FileImage::parse(bytes, Arch::native()).map_err(broken)?;
    Ok(GuestFile { inventory: Inventory::read(&file).map_err(broken)?, file })
}

fn wait_until_ready(exports: &Exports, provider: &Provider, config: &Config) -> Result<(), Error> {
    let names = [PLATFORM_CELL, line::of_host(&provider.fingerprint)?.first_isolate];
    let cells = names.map(|name| variable(exports, provider, "readiness", name));
    let cells = cells.into_iter().collect::<Result<Vec<_>, _>>()?;
    // SAFETY: both are pointer variables of the provider, which stays loaded.
    if unsafe { Cells::new(cells) }.wait(config.wait) {
        return Ok(());
    }
    Err(Error::NotReady { provider: provider.module.name(), waited_ms: config.wait.as_millis() as u64 })
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

/// Loads those libraries of the guest's closure that the process does not have, then guest and bridge, none of whose code
/// runs.
fn load(
    path: &Path,
    guest: &GuestFile,
    bridge: &GuestFile,
    verified: &VerifiedPlan,
    loaded: &Modules,
) -> Result<(Staged, Staged), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let needed: Vec<_> = guest.inventory.needed.iter().copied().filter(|n| !loaded.has(n)).collect();
    for library in closure::load_order(folder, &needed, &mut closure::needed_by)? {
        // SAFETY: a library that the guest needs and that was put beside it.
        unsafe { stage::load_dependency(&library) }?;
    }
    let guest_image = load_image(StagedImage::Guest, guest, verified)?;
    match load_image(StagedImage::Bridge, bridge, verified) {
        Ok(bridge_image) => Ok((guest_image, bridge_image)),
        Err(error) => {
            guest_image.discard();
            Err(error)
        }
    }
}

fn load_image(image: StagedImage, source: &GuestFile, verified: &VerifiedPlan) -> Result<Staged, Error> {
    let claimed = verified.plan().bindings.iter().filter(|b| b.image == image).map(|b| b.slot.entry);
    let name = source.inventory.soname;
    let edits = stage::edits(&source.file, &source.inventory, claimed).map_err(|at| Error::Stage {
        what: name.to_owned(),
        why: format!("its file has no bytes for link-time address {at}"),
    })?;
    // SAFETY: with these edits the copy calls no initialisers.
    unsafe { stage::load(&source.file, &edits, name) }
}

/// Writes the slots, or unloads both images again.
fn write(guest: Staged, bridge: Staged, writes: Vec<SlotWrite>) -> Result<(Staged, Staged, Applied), Error> {
    let written = (|| {
        let proc = |source| Error::Proc { what: "/proc/self/maps", source };
        // SAFETY: both images are loaded, none of their code has run, and nobody else knows them.
        let mut memory =
            unsafe { LiveMemory::new(vec![guest.span.clone(), bridge.span.clone()]) }.map_err(proc)?;
        let page_size = memory.page_size();
        apply(&mut memory, &by_page(writes, page_size))
    })();
    match written {
        Ok(applied) => Ok((guest, bridge, applied)),
        Err(error) => {
            // After a failed roll-back a slot may point anywhere; but no code of the images has run, and unloading
            // them runs none either.
            bridge.discard();
            guest.discard();
            Err(error)
        }
    }
}

impl Bound<'_, '_> {
    /// Where calls of the guest to V8 really go, read back from its slots, and which modules define V8 now.
    fn tell(&self, report: &mut Report) -> Result<(), Error> {
        let proc = |source| Error::Proc { what: "/proc/self/maps", source };
        let (modules, maps) = observe()?;
        // SAFETY: the guest is loaded and its code has not run; the memory is only read.
        let memory = unsafe { LiveMemory::new(vec![self.guest.span.clone()]) }.map_err(proc)?;
        let of_guest = self.verified.plan().bindings.iter().filter(|b| b.image == StagedImage::Guest);
        let shown = of_guest.filter(|b| WITNESSES.contains(&b.slot.symbol));
        report.pages = self.applied.pages();
        report.witnesses =
            shown.filter_map(|b| witness(b, self.guest.bias.run(b.slot.at), &memory, &maps)).collect();
        let found = detect::providers(&modules, &maps)?;
        report.v8_modules = found.into_iter().map(|p| p.module.path.display().to_string()).collect();
        Ok(())
    }

    /// Runs the initialisers of both images.
    fn initialise(&self) {
        // SAFETY: every slot of both images is bound; the guest's run first, for the bridge calls the guest.
        unsafe {
            self.guest.initialise(self.guest_inventory);
            self.bridge.initialise(self.bridge_inventory);
        }
    }

    /// The images have been entered and stay.
    fn keep(self) {
        self.guest.keep();
        self.bridge.keep();
    }

    /// Runs the initialisers, and gives the run-time address of one of the guest's own functions.
    ///
    /// # Errors
    /// The guest does not export it.
    pub fn enter(&self, symbol: &str) -> Result<RunAddr, Error> {
        let missing = || Error::MissingEntry { image: "the guest".into(), symbol: symbol.to_owned() };
        let at = *self.guest_inventory.definitions.get(symbol).ok_or_else(missing)?;
        self.initialise();
        Ok(self.guest.bias.run(at))
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

/// Runs initialisers, attaches the platform bridge and runs Node to its end.
fn start(bound: Bound, config: &Config, report: &SharedReport) -> Result<(), Error> {
    let clock = Clock(report);
    guards::enter_guest_thread();
    clock.time("initialise", || bound.initialise());
    // SAFETY: the inventory is that of the staged bridge, bound and initialised just now.
    let bridge = unsafe { Bridge::find(bound.bridge_inventory, bound.bridge.bias) }?;
    let host_slots = clock.time("attach", || attach(bridge, &bound))?;
    at_exit_of_the_host();
    let told = Arc::clone(report);
    let file = config.report.clone();
    if !lifecycle::begin(bridge::stop, move |outcome| finish(&told, file.as_deref(), Some(outcome))) {
        bound.keep();
        return Err(Error::HostEnded);
    }
    log::tell(Level::Info, "Node starts");
    match bridge.run(&config.command_line()) {
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
            bound.keep();
            Ok(())
        }
        Err(error) => {
            leave(
                bridge,
                host_slots,
                Outcome { how: "init-failed".into(), exit_code: 1, message: error.line() },
            );
            Err(error)
        }
    }
}

/// Installs the platform hook, and sees to it that a host which disposes its V8 stops the guest first.
fn attach(bridge: &Bridge, bound: &Bound) -> Result<HostSlots, Error> {
    let missing = || Error::MissingEntry { image: "the host's V8".into(), symbol: PLATFORM_CELL.into() };
    let unreadable = |source| Error::ProviderImage { path: "the host's V8".into(), source };
    let cell = bound.exports.find(PLATFORM_CELL, None).map_err(unreadable)?.ok_or_else(missing)?;
    // SAFETY: the cell is V8's own variable, seen set by the wait stage.
    let platform =
        unsafe { platform::describe(cell.address, bound.exports, bound.line) }.map_err(unreadable)?;
    // SAFETY: the platform was described from the host's own data.
    unsafe { bridge.attach(platform, bound.verified.profile().node_flags) }?;
    let watched = watch_for_dispose(bound, cell.address);
    if watched.is_err() {
        bridge.detach()?;
    }
    watched
}

fn watch_for_dispose(bound: &Bound, provider: RunAddr) -> Result<HostSlots, Error> {
    let (modules, maps) = observe()?;
    let function = |(stands_in, symbol): &(&'static str, &'static str)| {
        let missing = || Error::MissingEntry { image: "the bridge".into(), symbol: (*stands_in).into() };
        let at = *bound.bridge_inventory.definitions.get(stands_in).ok_or_else(missing)?;
        Ok((*symbol, bound.bridge.bias.run(at)))
    };
    let functions = adapters::HOST_DISPOSES.iter().map(function).collect::<Result<Vec<_>, Error>>()?;
    let except = [provider, bound.guest.span.start, bound.bridge.span.start];
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
        if !lifecycle::wait(TO_REPORT) {
            lifecycle::give_up("the host left, and the guest could not be stopped in time");
        }
    }
    // SAFETY: the handler is a function of this library, which is never unloaded.
    unsafe { libc::atexit(stop_the_guest) };
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
