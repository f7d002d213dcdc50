//! `relink parity`: Node's own tests in plain Node and relinked.

use super::{library, Failure};
use relink::kit::component;
use relink::kit::guest::{self, BuildOptions};
use relink::kit::parity::{self, Inside, Kept, Relinked, Run, Summary};
use relink::kit::{hosts, progress, KitError, Progress};
use relink::{config, standalone};
use std::path::{Path, PathBuf};

/// Runs Node's own tests (tools/test.py of its source) in plain Node and in `relink node` and compares. Results are kept, so
/// the same command goes on where it was stopped. The exit status is 0 if every test that passes in plain Node passes
/// relinked, but for those that fixtures/parity/known.json explains.
#[derive(clap::Args)]
pub struct Options {
    /// Whose tests: the line of the guest, by Node's major version
    #[arg(long, value_name = "NODE", default_value_t = guest::DEFAULT_LINE)]
    line: u32,
    /// A suite, such as parallel; may be repeated [default: all but `worker`]
    #[arg(long, value_name = "NAME")]
    suite: Vec<String>,
    /// Only part N of M of each suite (test.py's --run); N counts from 0
    #[arg(long, value_name = "N,M")]
    run: Option<Run>,
    /// Only tests with this in their names; `*` stands for anything
    #[arg(long, value_name = "FILTER")]
    only: Option<String>,
    /// Tests at once [default: one per processor]
    #[arg(long, short, value_name = "N")]
    jobs: Option<usize>,
    /// Take results of an earlier run of the same programs on the same tests (this is the default)
    #[arg(long, overrides_with = "fresh")]
    resume: bool,
    /// Throw them away and start again
    #[arg(long)]
    fresh: bool,
    /// Write all that was found here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Plain Node [default: the official executable of the guest's version]
    #[arg(long, value_name = "FILE")]
    plain: Option<PathBuf>,
    /// The program relink-node [default: the one installed with this command]
    #[arg(long, value_name = "FILE")]
    relinked: Option<PathBuf>,
    /// The library whose V8 is used [default: Debian's libnode108, whose V8 is Node 18's]
    #[arg(long, value_name = "FILE", env = standalone::V8)]
    v8: Option<PathBuf>,
    /// The libnode to relink [default: built on first use]
    #[arg(long, env = config::GUEST)]
    guest: Option<PathBuf>,
    /// Compare Node as a guest inside this host, instead of `relink node`, with plain Node
    #[arg(long, value_enum, value_name = "HOST")]
    inside: Option<Host>,
    /// With --inside: the node executable that is the host, if it is not plain Node's: a neutral guest runs in others, too
    #[arg(long, value_name = "FILE", requires = "inside")]
    host: Option<PathBuf>,
    /// With --inside: judge the guest not by plain Node but by itself inside this node executable
    #[arg(long, value_name = "FILE", requires = "inside")]
    base: Option<PathBuf>,
}

/// Hosts that Node's own tests can be run inside.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Host {
    /// The official node executable (or the one that --plain names), by LD_PRELOAD
    Node,
    /// A game server on a V8 of Chromium's component build (RELINK_V8_COMPONENT, or `relink host build v8-component`), likewise
    Component,
}

/// Prints the table on stdout.
pub fn run(options: &Options) -> Result<(), Failure> {
    let progress = progress::terminal();
    let summary = parity::run(&settings(options, progress.as_ref())?, progress.as_ref())?;
    println!("{}", summary.text().trim_end());
    if let Some(file) = &options.json {
        write(file, &summary)?;
    }
    judge(&summary)
}

fn settings(options: &Options, progress: &dyn Progress) -> Result<parity::Options, Failure> {
    if options.line != guest::DEFAULT_LINE && options.inside.is_none() && options.v8.is_none() {
        return Err(Failure::NoV8(options.line));
    }
    let program = options.relinked.clone().map_or_else(|| library::find_node(progress), Ok)?;
    let built = || guest::build(&BuildOptions::line(options.line), progress).map(|guest| guest.library);
    let fetched = || hosts::libv8(progress).map(|v8| v8.library);
    let relinked = Relinked {
        program,
        v8: options.v8.clone().map_or_else(fetched, Ok)?,
        guest: options.guest.clone().map_or_else(built, Ok)?,
    };
    Ok(parity::Options {
        line: options.line,
        suites: options.suite.clone(),
        run: options.run,
        only: options.only.clone(),
        jobs: options.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
        kept: if options.fresh { Kept::None } else { Kept::All },
        plain: options.plain.clone(),
        relinked,
        relink: own()?,
        inside: options.inside.map(|host| inside(host, options, progress)).transpose()?,
    })
}

fn own() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|e| Failure::Library(format!("the command's own path is unknown: {e}")))
}

fn inside(kind: Host, options: &Options, progress: &dyn Progress) -> Result<Inside, Failure> {
    let library = library::find_to_preload(None, progress)?;
    let host = match kind {
        Host::Node => options.host.clone(),
        Host::Component => Some(component::gameserver(progress)?),
    };
    let is_gameserver = matches!(kind, Host::Component);
    Ok(Inside { relink: own()?, library, host, is_gameserver, base: options.base.clone() })
}

fn write(file: &Path, summary: &Summary) -> Result<(), Failure> {
    let failed = |source: std::io::Error| KitError::Io { action: "write", path: file.into(), source };
    let text = serde_json::to_string_pretty(summary).map_err(|e| failed(e.into()))?;
    Ok(std::fs::write(file, text + "\n").map_err(failed)?)
}

fn judge(summary: &Summary) -> Result<(), Failure> {
    let names: Vec<&str> = summary.unexplained().map(|d| d.test.as_str()).collect();
    if names.is_empty() {
        return Ok(());
    }
    let count = names.len();
    Err(Failure::Parity(format!("{count} unexplained: {} pass in plain Node only", names.join(", "))))
}
