//! `relink plan`: the plan of a guest for a host, from their files alone.

use super::{guests, print, Failure};
use clap::Args;
use relink::abi::adapters::{self, unit_for};
use relink::abi::catalogue::MARKER;
use relink::abi::claim::holds_v8;
use relink::abi::fingerprint::Fingerprint;
use relink::abi::gate::{self, Admitted};
use relink::abi::line;
use relink::abi::remedy::warnings;
use relink::address::LoadBias;
use relink::elf::arch::Arch;
use relink::elf::file::map_file;
use relink::elf::{Dynamic, FileImage, SymbolTable};
use relink::host::Exports;
use relink::pipeline::{Files, Part};
use relink::plan::{plan, Binding, Plan, Request};
use relink::runtime::guards;
use relink::Error;
use std::path::{Path, PathBuf};

/// Reads both files; no code of either runs.
#[derive(Args)]
pub struct Options {
    /// The file that provides V8: an executable or a shared library
    #[arg(long)]
    host: PathBuf,
    /// The libnode to relink [default: the one that `relink guest build` made]
    #[arg(long)]
    guest: Option<PathBuf>,
    /// Only slots of this (mangled) symbol
    #[arg(long)]
    symbol: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What both `plan` and `explain` look at.
pub struct Planned<'q, 'd> {
    /// The plan.
    pub plan: &'q Plan<'d>,
    /// The guest and its libraries.
    pub parts: &'q [Part<'q, 'd>],
    /// What the gate has found.
    pub admitted: &'q Admitted,
}

/// Plans the guest for the host from their files and hands the plan to `show`.
pub fn with_plan(
    host_path: &Path,
    guest: Option<&Path>,
    show: impl FnOnce(&Planned) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let guest_path = guests::for_host(guest, Some(host_path))?;
    let host_bytes = map_file(host_path)?;
    let files = Files::open(&guest_path)?;
    let images = files.images()?;
    let parts = Part::read_all(&images)?;
    let note = parts[0].note()?;
    let unreadable = |source| Error::ProviderImage { path: host_path.to_owned(), source };
    let host = FileImage::parse(&host_bytes, Arch::native()).map_err(unreadable)?;
    let dynamic = Dynamic::parse(&host.image).map_err(unreadable)?;
    let symbols = SymbolTable::parse(&host.image, &dynamic).map_err(unreadable)?;
    if !holds_v8(&symbols).map_err(unreadable)? {
        return Err(Error::NoProvider { modules: 1, marker: MARKER }.into());
    }
    let fingerprint = Fingerprint::read(&host.image, &symbols).map_err(unreadable)?;
    let exports = Exports::new(&host.image, &dynamic, LoadBias(0)).map_err(unreadable)?;
    let admitted = gate::admit(&note, &fingerprint)?;
    for warning in warnings(&gate::compiled_for(&note), &fingerprint) {
        eprintln!("relink: warning: {warning}");
    }
    let line = line::of_host(&fingerprint)?;
    let needs = parts[0].needs(&note)?;
    let members: Vec<_> = parts.iter().map(Part::member).collect();
    let plan = plan(&Request {
        members: &members,
        needs: &|name| needs.contains(name),
        provider: &exports,
        provider_name: &name(host_path),
        adapters: &adapters::for_pair(
            &note,
            unit_for(&note, &fingerprint),
            Some(line),
            adapters::beside_a_host,
        ),
        guards: &guards::all(),
    })?;
    show(&Planned { plan: &plan, parts: &parts, admitted: &admitted })
}

/// Prints the plan, or says why there is none.
pub fn run(options: &Options) -> Result<(), Failure> {
    with_plan(&options.host, options.guest.as_deref(), |planned| {
        print(&if options.json {
            format!("{}\n", json(planned, options))
        } else {
            let (libraries, text) = (libraries(planned.parts), text(planned.plan, options));
            let (verdict, profile) = (planned.admitted.verdict().word(), planned.admitted.profile().name);
            format!("{libraries}{text}verdict: {verdict} ({profile})\n")
        });
        Ok(())
    })
}

/// Which library has which number.
fn libraries(parts: &[Part]) -> String {
    parts.iter().map(|part| format!("{}: {}\n", part.image, part.path.display())).collect()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn wanted(binding: &Binding, options: &Options) -> bool {
    options.symbol.as_deref().is_none_or(|symbol| binding.slot.symbol == symbol)
}

fn text(plan: &Plan, options: &Options) -> String {
    if options.symbol.is_none() {
        return plan.explain(false);
    }
    plan.bindings.iter().filter(|b| wanted(b, options)).map(|b| b.explain(true) + "\n").collect()
}

fn json(planned: &Planned, options: &Options) -> serde_json::Value {
    let Planned { plan, admitted, .. } = planned;
    let bindings: Vec<_> =
        plan.bindings.iter().filter(|b| wanted(b, options)).map(Binding::to_json).collect();
    serde_json::json!({
        "verdict": admitted.verdict().word(),
        "profile": admitted.profile().name,
        "bindings": bindings,
        "left_to_the_linker": plan.left_to_the_linker,
    })
}
