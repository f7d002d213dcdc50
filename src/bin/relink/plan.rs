//! `relink plan`: the plan of a guest for a host, from their files alone.

use super::{guest_or_default, Failure};
use clap::Args;
use relink::abi::adapters;
use relink::abi::catalogue::MARKER;
use relink::abi::{gate, line};
use relink::address::LoadBias;
use relink::elf::arch::Arch;
use relink::elf::{Dynamic, FileImage, SymbolTable};
use relink::guest::map_file;
use relink::host::{Exports, Fingerprint};
use relink::pipeline::read_guest;
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

/// Prints the plan, or says why there is none.
pub fn run(options: &Options) -> Result<(), Failure> {
    let guest_path = guest_or_default(options.guest.as_deref())?;
    let (host_bytes, guest_bytes) = (map_file(&options.host)?, map_file(&guest_path)?);
    let (guest, note) = read_guest(&guest_bytes, &guest_path)?;
    let unreadable = |source| Error::ProviderImage { path: options.host.clone(), source };
    let host = FileImage::parse(&host_bytes, Arch::native()).map_err(unreadable)?;
    let dynamic = Dynamic::parse(&host.image).map_err(unreadable)?;
    let symbols = SymbolTable::parse(&host.image, &dynamic).map_err(unreadable)?;
    if symbols.lookup(MARKER).map_err(unreadable)?.is_none() {
        return Err(Error::NoProvider { modules: 1, marker: MARKER }.into());
    }
    let fingerprint = Fingerprint::read(&host.image, &symbols).map_err(unreadable)?;
    let exports = Exports::new(&host.image, &dynamic, LoadBias(0)).map_err(unreadable)?;
    let profile = gate::admit(&note, &fingerprint)?;
    let line = line::of_host(&fingerprint)?;
    let plan = plan(&Request {
        guest: &guest.inventory,
        bridge: None,
        provider: &exports,
        provider_name: &name(&options.host),
        adapters: &adapters::beside_a_host(line),
        guards: &guards::all(),
    })?;
    if options.json {
        println!("{}", json(&plan, options, profile.name));
    } else {
        print!("{}", text(&plan, options));
        println!("verdict: identical ({})", profile.name);
    }
    Ok(())
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

fn json(plan: &Plan, options: &Options, verdict: &str) -> serde_json::Value {
    let bindings: Vec<_> =
        plan.bindings.iter().filter(|b| wanted(b, options)).map(Binding::to_json).collect();
    serde_json::json!({ "verdict": verdict, "bindings": bindings, "left_to_the_linker": plan.left_to_the_linker })
}
