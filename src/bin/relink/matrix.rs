//! `relink matrix`: every guest in every host, and the page of docs that shows what came of it.

use super::{library, print, Failure};
use clap::Args;
use relink::kit::matrix::{self, Cell, Outcome};
use relink::kit::parity::Run;
use relink::kit::progress;
use relink::kit::KitError;
use std::path::PathBuf;

/// Fetches what is missing (a gigabyte for all hosts) and takes about ten seconds for each pair. What was run before with the same
/// parts is not run again. Exits with 0 if every pair that is not refused works in full and agrees with `relink check`.
#[derive(Args)]
pub struct Options {
    /// A guest: 18, 20, 22 or 24 (for all V8s that there are adapters for), 18-exact (for its own V8 alone; likewise the others), 18-stock (Debian's own
    /// libnode); may be repeated
    #[arg(long = "guest", value_name = "GUEST", default_values_t = ["18".to_owned(), "18-stock".to_owned(), "20".to_owned()])]
    guests: Vec<String>,
    /// A host, by the name in the table; may be repeated [default: all]
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// Run a part of Node's own tests as well, such as 1,24: Node 18 in its official executables
    #[arg(long, value_name = "N,M")]
    tests: Option<Run>,
    /// Run everything again
    #[arg(long)]
    fresh: bool,
    /// Write the page (docs/COMPATIBILITY.md) here
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the tables.
pub fn run(options: &Options) -> Result<(), Failure> {
    let progress = progress::terminal();
    let unknown = |e| Failure::Library(format!("the command's own path is unknown: {e}"));
    let settings = matrix::Options {
        guests: options.guests.clone(),
        hosts: options.hosts.clone(),
        resume: !options.fresh,
        tests: options.tests,
        relink: std::env::current_exe().map_err(unknown)?,
        library: library::find_to_preload(None, progress.as_ref())?,
    };
    let cells = matrix::run(&settings, progress.as_ref())?;
    drop(progress);
    let page = matrix::page(&cells, &matrix::hosts());
    if let Some(file) = &options.page {
        let failed = |source| KitError::Io { action: "write", path: file.clone(), source };
        std::fs::write(file, &page).map_err(failed)?;
    }
    if options.json {
        let text =
            serde_json::to_string_pretty(&cells).map_err(|e| relink::Error::Internal(e.to_string()))?;
        print(&(text + "\n"));
    } else {
        print(&page);
    }
    judge(&cells)
}

fn judge(cells: &[Cell]) -> Result<(), Failure> {
    let wrong = cells.iter().filter(|cell| matches!(cell.result, Outcome::Failed | Outcome::NotRun));
    let mut names: Vec<_> = wrong
        .map(|cell| format!("{} in {}: {}", cell.guest, cell.host, cell.why.as_deref().unwrap_or("unknown")))
        .collect();
    let lost =
        cells.iter().filter_map(|cell| Some((cell, cell.tests.filter(|tests| tests.unexplained > 0)?)));
    names.extend(
        lost.map(|(cell, t)| format!("{} in {}: {} unexplained tests", cell.guest, cell.host, t.unexplained)),
    );
    if names.is_empty() {
        return Ok(());
    }
    Err(Failure::Matrix(names.join("; ")))
}
