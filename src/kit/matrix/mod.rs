//! The matrix: every guest in every host, and what came of it, as docs/COMPATIBILITY.md shows it.
//!
//! Each cell is a run: the real guest in the real host, judged by the feature script against plain Node of the same line. What
//! `relink check` says of the pair must be what the run shows, and what `relink plan` prints what it has written. Cells are kept in the cache under what they were made with, so
//! a run that was stopped goes on where it was.

mod cell;
mod hosts;
mod page;
pub mod planned;

pub use cell::{Cell, Guest, Outcome, Tests};
pub use hosts::{all as hosts, Host};
pub use page::page;

use super::adapter;
use super::cache::{write_whole, Cache, Key, KeyBuilder};
use super::error::{io, KitError, Result};
use super::guest::{self, BuildOptions};
use super::parity::{self, Inside, Kept, Relinked, Run};
use super::progress::Progress;
use super::run::Program;
use cell::Means;
use relink_abi::adapters::{Unit, UNITS};
use relink_abi::line::NODES;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// What Node does in each cell.
const SCRIPT: &str = include_str!("../../../fixtures/scripts/features.js");

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names of guests: a line of Node, also as `18-exact` (for its own V8 alone), and `18-stock`.
    pub guests: Vec<String>,
    /// Names of hosts; none: all.
    pub hosts: Vec<String>,
    /// Whether cells of earlier runs are taken.
    pub resume: bool,
    /// A part of Node's own tests to be run besides, where there are some for the guest and the host.
    pub tests: Option<Run>,
    /// The command `relink`.
    pub relink: PathBuf,
    /// librelink.so.
    pub library: PathBuf,
}

/// Runs what is not known yet; gives all cells, guest by guest.
///
/// # Errors
/// A name is unknown, or a guest can't be had.
pub fn run(options: &Options, progress: &dyn Progress) -> Result<Vec<Cell>> {
    let cache = Cache::locate()?;
    let hosts = chosen(&options.hosts)?;
    let (mut cells, mut fresh) = (Vec::new(), BTreeSet::new());
    let total = options.guests.len() * hosts.len();
    for name in &options.guests {
        let guest = prepare(name, &hosts, progress)?;
        for host in &hosts {
            progress.step(&format!("{} of {total}: Node {name} in {}", cells.len() + 1, host.name));
            cells.push(one(&cache, options, &guest, host, &mut fresh, progress)?);
        }
    }
    progress.finish();
    Ok(cells)
}

fn chosen(names: &[String]) -> Result<Vec<Host>> {
    let all = hosts::all();
    let unknown = |name: &String| KitError::Unsupported {
        why: format!(
            "the matrix has no host {name}, only {}",
            all.iter().map(|h| h.name.as_str()).collect::<Vec<_>>().join(", ")
        ),
    };
    let find =
        |name: &String| all.iter().find(|host| host.name == *name).cloned().ok_or_else(|| unknown(name));
    if names.is_empty() {
        return Ok(all.into_iter().filter(Host::can_be_had).collect());
    }
    names.iter().map(find).collect()
}

/// The guest, and what plain Node of its line prints.
fn prepare(name: &str, hosts: &[Host], progress: &dyn Progress) -> Result<Guest> {
    let unknown = || KitError::Unsupported {
        why: format!("the matrix has no guest {name}; 18, 20, 22, 24, each also as 18-exact, and 18-stock"),
    };
    let (line, kind) = name.split_once('-').unwrap_or((name, ""));
    let node: u32 = line.parse().map_err(|_| unknown())?;
    let line = relink_abi::line::of_node(node).ok_or_else(unknown)?;
    let built = |neutral| {
        guest::build(&BuildOptions { neutral, ..BuildOptions::line(node) }, progress)
            .map(|guest| guest.library)
    };
    let library = match (node, kind) {
        (_, "exact") => built(false)?,
        (18, "stock") => super::hosts::libv8(progress)?.library,
        (_, "") => {
            // With the adapters that it needs in these hosts.
            let needed = |unit: &&Unit| unit.guest == line.v8 && hosts.iter().any(|host| is_for(unit, host));
            for unit in UNITS.iter().filter(needed) {
                adapter::build(unit, progress)?;
            }
            built(true)?
        }
        _ => return Err(unknown()),
    };
    let plain = super::hosts::official_node(super::hosts::version_of(line), progress)?;
    let folder = tempfile::tempdir().map_err(io("create", &std::env::temp_dir()))?;
    let script = folder.path().join("features.js");
    write_whole(&script, SCRIPT)?;
    let plain = Program::new(&plain).args([&script]).output()?;
    Ok(Guest { name: name.to_owned(), library, plain })
}

/// Whether a unit is for a host.
fn is_for(unit: &Unit, host: &Host) -> bool {
    let node = NODES.iter().find(|node| node.v8 == unit.host);
    host.has_v8(unit.host, node.map(|node| node.version))
}

/// A cell, from the cache if it was run with the same parts.
fn one(
    cache: &Cache,
    options: &Options,
    guest: &Guest,
    host: &Host,
    fresh: &mut BTreeSet<PathBuf>,
    progress: &dyn Progress,
) -> Result<Cell> {
    let file = cache.folder("matrix")?.join(format!("{}.json", key(options, guest, host)?.hex()));
    let kept = std::fs::read(&file).ok().and_then(|text| serde_json::from_slice::<Cell>(&text).ok());
    if let (true, Some(cell)) = (options.resume, kept) {
        return Ok(cell);
    }
    let means = Means { library: &options.library, relink: &options.relink, script: SCRIPT };
    let mut cell = Cell::run(guest, host, &means, progress)?;
    cell.tests = own_tests(options, guest, host, &cell, fresh, progress)?;
    // What could not be had or went wrong is tried again the next time.
    if !matches!(cell.result, Outcome::NotRun | Outcome::Failed) {
        let text = serde_json::to_string(&cell).map_err(|e| io("write", &file)(e.into()))?;
        write_whole(&file, &text)?;
    }
    Ok(cell)
}

/// Runs Node's own tests in plain Node 18 and in its guest inside a host: an official node 18, or any for the neutral guest.
/// `fresh` has the plain Nodes whose results are of this very run, where those of earlier ones do not count.
fn own_tests(
    options: &Options,
    guest: &Guest,
    host: &Host,
    cell: &Cell,
    fresh: &mut BTreeSet<PathBuf>,
    progress: &dyn Progress,
) -> Result<Option<Tests>> {
    let works = matches!(cell.result, Outcome::Identical | Outcome::Bridgeable);
    let fits = |version: &&str| match guest.name.as_str() {
        "18-exact" => version.starts_with("18."),
        name => name == "18",
    };
    let (Some(run), Some(version), true) = (options.tests, host.node().filter(fits), works) else {
        return Ok(None);
    };
    let node = super::hosts::official_node(version, progress)?;
    let plain = if version.starts_with("18.") { node.clone() } else { super::hosts::plain_node(progress)? };
    let kept = match options.resume {
        true => Kept::All,
        false if !fresh.insert(plain.clone()) => Kept::Plain,
        false => Kept::None,
    };
    let summary = parity::run(
        &parity::Options {
            line: guest::DEFAULT_LINE,
            suites: vec!["parallel".into()],
            run: Some(run),
            only: None,
            jobs: std::thread::available_parallelism().map_or(1, usize::from),
            kept,
            plain: Some(plain),
            relinked: Relinked {
                program: options.relink.clone(),
                v8: node.clone(),
                guest: guest.library.clone(),
            },
            relink: options.relink.clone(),
            inside: Some(Inside {
                relink: options.relink.clone(),
                library: options.library.clone(),
                host: Some(node),
                is_gameserver: false,
                base: None,
            }),
        },
        progress,
    )?;
    let rate = summary.rate();
    let unexplained = summary.unexplained().count();
    Ok(Some(Tests { equal: rate.pass, plain: rate.of, of_v8: rate.of_v8, unexplained }))
}

fn key(options: &Options, guest: &Guest, host: &Host) -> Result<Key> {
    let mut key = KeyBuilder::new().add("host", host.what()).add("script", SCRIPT).add("plain", &guest.plain);
    for file in [&options.library, &options.relink] {
        key = key.add("part", std::fs::read(file).map_err(io("read", file))?);
    }
    let tests = format!("{:?}", options.tests);
    key = key.add("tests", tests);
    // A guest's folder has the hash of everything that it was made from in its name.
    Ok(key.add("name", &guest.name).add("guest", guest.library.display().to_string()).finish())
}
