//! `relink plan`: the plan of a guest for a host, from their files alone.

use super::{guests, print, Failure};
use clap::Args;
use relink::config;
use relink::pipeline::beside_a_host;
use relink::plan::{Binding, Plan};
use relink::stages::{HostFile, Inputs, Observed, Part, Planned, Terms, Units};
use relink::Error;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

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

/// A host's file and a guest, read: what `plan`, `explain` and `check` begin with.
pub fn observe<'a>(
    inputs: &'a Inputs<'a>,
    host: &Path,
    guest: &Path,
) -> Result<Observed<'a, HostFile<'a>>, Error> {
    let host = HostFile::open(inputs, host)?;
    Observed::of(inputs, inputs.guest(guest)?, host)
}

/// How a guest is bound on files: as in a process, without the bridge, and with the adapter unit if it was built.
pub fn terms(guest: &Path) -> Terms<'static> {
    Terms { units: units(), ..beside_a_host(guest, None, Units::Kits) }
}

/// Where adapter units are, as for `relink run`.
fn units() -> Units<'static> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let named = || std::env::var_os(config::ADAPTERS).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    FOLDER.get_or_init(named).as_deref().map_or(Units::Kits, Units::In)
}

/// The plan of a guest for the host in a file.
pub fn planned<'a>(
    inputs: &'a Inputs<'a>,
    host: &Path,
    guest: Option<&Path>,
) -> Result<Planned<'a, HostFile<'a>>, Failure> {
    let guest = guests::for_host(guest, Some(host))?;
    let admitted = observe(inputs, host, &guest)?.admit()?;
    for warning in admitted.observed().warnings() {
        eprintln!("relink: warning: {warning}");
    }
    Ok(admitted.plan(&terms(&guest))?)
}

/// Prints the plan, or says why there is none.
pub fn run(options: &Options) -> Result<(), Failure> {
    let inputs = Inputs::default();
    let planned = planned(&inputs, &options.host, options.guest.as_deref())?;
    print(&if options.json {
        format!("{}\n", json(&planned, options))
    } else {
        let (libraries, text) = (libraries(planned.parts()), text(planned.plan(), options));
        let (verdict, profile) = (planned.admission().verdict().word(), planned.admission().profile().name);
        format!("{libraries}{text}verdict: {verdict} ({profile})\n")
    });
    Ok(())
}

/// Which library has which number.
fn libraries(parts: &[Part]) -> String {
    parts.iter().map(|part| format!("{}: {}\n", part.image, part.path.display())).collect()
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

fn json<'a>(planned: &Planned<'a, HostFile<'a>>, options: &Options) -> serde_json::Value {
    let (plan, admission) = (planned.plan(), planned.admission());
    let bindings = plan.bindings.iter().filter(|b| wanted(b, options));
    let binding = |b: &Binding| {
        let mut json = b.to_json();
        // As the report's `audit` tells it.
        json["bound"] = serde_json::json!(planned.bound(b).target);
        json
    };
    serde_json::json!({
        "verdict": admission.verdict().word(),
        "profile": admission.profile().name,
        "bindings": bindings.map(binding).collect::<Vec<_>>(),
        "left_to_the_linker": plan.left_to_the_linker,
    })
}
