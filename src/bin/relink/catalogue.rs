//! `relink catalogue`: what is known of V8's binary interface, and how to learn more.

use super::{print, Failure};
use clap::{Args, Subcommand};
use relink::abi::catalogue::{known, known_abis, list_text, KnownAbi};
use relink::abi::compare::{changes, Change};
use relink::abi::version::V8Version;
use relink::kit::catalogue::{enter, generate, Entered, Request, Store};
use relink::kit::{progress, KitError};
use relink::stages::{Files, Part};
use relink::Error;
use std::path::{Path, PathBuf};

/// What to do with the catalogue.
#[derive(Subcommand)]
pub enum Command {
    /// Describe the V8 of a folder of headers, say how it differs from the nearest known one, and enter it
    Generate(Generate),
    /// List the V8 versions that are known, with the header sets that show it
    List,
    /// Say how two known V8s differ
    Diff(Diff),
    /// Print the names of V8 that a guest built without V8 refers to: the list by which a stock libnode of that line is bound
    Needs(Needs),
}

/// Compiles, and runs nothing of V8.
#[derive(Args)]
pub struct Generate {
    /// Folder with v8.h and v8-version.h
    #[arg(long, value_name = "DIR")]
    headers: PathBuf,
    /// Where the headers come from [default: Node's version in node_version.h beside them]
    #[arg(long, value_name = "TEXT")]
    from: Option<String>,
    /// The catalogue's folder in the source tree
    #[arg(long, value_name = "DIR", default_value = "src/abi/catalogue/profiles")]
    catalogue: PathBuf,
    /// Show the differences that no guest feels, too
    #[arg(long)]
    all: bool,
}

/// Both versions must be in the catalogue.
#[derive(Args)]
pub struct Diff {
    /// The V8 that a guest was compiled for
    guest: String,
    /// The host's V8
    host: String,
    /// Show the differences that no guest feels, too
    #[arg(long)]
    all: bool,
}

/// The output is a file of src/abi/catalogue/needs.
#[derive(Args)]
pub struct Needs {
    /// A guest that `relink guest build` made
    #[arg(long, value_name = "FILE")]
    guest: PathBuf,
}

/// Carries out one of the commands.
pub fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Generate(options) => generate_one(options),
        Command::List => list(),
        Command::Diff(options) => diff(options),
        Command::Needs(options) => needs(&options.guest),
    }
}

fn generate_one(options: &Generate) -> Result<(), Failure> {
    let mut store = Store::open(&options.catalogue)?;
    let request = Request { headers: options.headers.clone(), from: options.from.clone() };
    let found = generate(&request, progress::terminal().as_ref())?;
    let source = found.sources.iter().map(|s| format!("V8 {} ({})", s.v8, s.from)).collect::<String>();
    let Entered { file, new, nearest } = enter(&mut store, found)?;
    if let Some((name, changes)) = &nearest {
        println!("{source} compared with V8 {name}:");
        tell(changes, options.all);
    }
    let what = if new { "a new file" } else { "the same ABI, one more header set in" };
    println!("{source}: {what} {}", file.display());
    Ok(())
}

fn tell(changes: &[Change], all: bool) {
    let shown: Vec<_> = changes.iter().filter(|c| all || c.harmless.is_none()).collect();
    for change in &shown {
        let note = change.harmless.map_or(String::new(), |why| format!("  ({why})"));
        println!("  {}{note}", change.text());
    }
    let felt = changes.iter().filter(|c| c.harmless.is_none()).count();
    println!("  {felt} differences that a guest feels, {} that none does", changes.len() - felt);
}

fn list() -> Result<(), Failure> {
    for abi in known() {
        println!("{}", abi.name());
        abi.sources().iter().for_each(|s| println!("  {} {}", s.v8, s.from));
    }
    Ok(())
}

fn diff(options: &Diff) -> Result<(), Failure> {
    let (guest, host) = (find(&options.guest)?, find(&options.host)?);
    tell(&changes(guest.facts(), host.facts()), options.all);
    Ok(())
}

fn needs(guest: &Path) -> Result<(), Failure> {
    let files = Files::open(guest)?;
    let images = files.images()?;
    let parts = Part::read_all(&images)?;
    let (guest, note) = (&parts[0], parts[0].note()?);
    if guest.has_v8().map_err(|source| Error::GuestImage { path: guest.path.to_owned(), source })? {
        let why = "it has a V8 of its own; the list is that of a guest built without V8".into();
        return Err(Failure::Kit(KitError::Input { option: "--guest", path: guest.path.to_owned(), why }));
    }
    print(&list_text(&note, guest.inventory.needed_v8()));
    Ok(())
}

fn find(version: &str) -> Result<&'static KnownAbi, Failure> {
    let known = V8Version::parse(version).and_then(|v| known_abis(v).pop());
    known.ok_or_else(|| {
        let why = "no version of the catalogue; `relink catalogue list` shows them".into();
        Failure::Kit(KitError::Input { option: "V8", path: version.into(), why })
    })
}
