//! `relink demo`: the whole way on real parts, twice, with a report.

use super::{library, Failure};
use clap::Args;
use relink::config;
use relink::kit::guest::{self, BuildOptions};
use relink::kit::progress::{self, Progress};
use relink::kit::{hosts, KitError};
use relink::report::{render, Report};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// What Node does inside the hosts.
const SCRIPT: &str = include_str!("../../../fixtures/scripts/demo.js");
/// What the official node executable does for itself.
const HOST_SCRIPT: &str = include_str!("../../../fixtures/scripts/host.js");
/// The last line of [`SCRIPT`] when everything worked.
const DONE: &str = "six of six";
/// The function whose address both sides tell.
const WITNESS: &str = "_ZN2v87Isolate13TryGetCurrentEv";

/// Fetches and builds what is needed on the first run (minutes), then takes seconds.
#[derive(Args)]
pub struct Options {
    /// Frames that the game server runs, 20 a second
    #[arg(long, default_value_t = 40)]
    frames: u32,
    /// Print the reports as JSON instead of text
    #[arg(long)]
    json: bool,
}

/// Everything the demo runs.
struct Parts {
    guest: PathBuf,
    gameserver: PathBuf,
    node: PathBuf,
    library: PathBuf,
}

/// One host's run.
struct Shown {
    report: Report,
    /// Lines that the host or Node printed.
    lines: Vec<String>,
    status: ExitStatus,
}

/// Runs both hosts and checks what they show.
pub fn run(options: &Options) -> Result<(), Failure> {
    let progress = progress::terminal();
    let parts = prepare(progress.as_ref())?;
    drop(progress);
    let folder = tempfile::tempdir().map_err(|e| problem("a temporary folder", &e))?;
    let script = write(folder.path(), "demo.js", SCRIPT)?;
    let host_script = write(folder.path(), "host.js", HOST_SCRIPT)?;

    title("A game server that embeds V8 (a shared library), 20 frames a second, with Node relinked into it");
    let mut gameserver = Command::new(&parts.gameserver);
    gameserver.args(["--addresses", "--fps", "20", "--frames", &options.frames.to_string()]);
    let first = show(gameserver, &parts, &script, folder.path())?;
    check(&first, "frame ", options.frames as usize)?;
    let own = address_told_by_gameserver(&first.lines);

    title("The official node executable (V8 inside), its own script running, with a second Node relinked into it");
    let mut node = Command::new(&parts.node);
    node.arg(&host_script).arg("20");
    let second = show(node, &parts, &script, folder.path())?;
    check(&second, "frame ", 20)?;

    report("Report: game server", &first, options);
    proof(&first.report, own.as_deref())?;
    report("Report: official node", &second, options);
    let executable = second.report.host.clone();
    proof_by_module(&second.report, &executable)?;
    println!("\nBoth hosts went on to their own end; Node did {DONE} in each.");
    Ok(())
}

fn prepare(progress: &dyn Progress) -> Result<Parts, Failure> {
    let build = || -> Result<_, KitError> {
        let gameserver = hosts::gameserver(progress)?.executable;
        let node = hosts::plain_node(progress)?;
        let guest = guest::build(&BuildOptions::default(), progress)?.library;
        Ok((gameserver, node, guest))
    };
    let (gameserver, node, guest) = build()?;
    Ok(Parts { guest, gameserver, node, library: library::find_to_preload(None, progress)? })
}

fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf, Failure> {
    let path = folder.join(name);
    std::fs::write(&path, text).map_err(|e| problem(name, &e))?;
    Ok(path)
}

/// Runs a host with Node in it, shows what it prints as it comes, and reads the report.
fn show(mut host: Command, parts: &Parts, script: &Path, folder: &Path) -> Result<Shown, Failure> {
    let file = folder.join("report.json");
    host.env("LD_PRELOAD", &parts.library)
        .env(config::GUEST, &parts.guest)
        .env(config::SCRIPT, script)
        .env(config::REPORT, &file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = host.spawn().map_err(|e| problem("the host", &e))?;
    let mut lines = Vec::new();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            println!("  {line}");
            lines.push(line);
        }
    }
    let status = child.wait().map_err(|e| problem("the host", &e))?;
    let text = std::fs::read_to_string(&file).map_err(|e| problem("the report", &e))?;
    let report =
        serde_json::from_str(&text).map_err(|e| Failure::Demo(format!("the report is unreadable: {e}")))?;
    Ok(Shown { report, lines, status })
}

/// The host did all of its own work and ended well, and Node did all of its.
fn check(shown: &Shown, frame: &str, frames: usize) -> Result<(), Failure> {
    if let Some(error) = &shown.report.error {
        return Err(Failure::Demo(format!("Node was not brought in: {} {}", error.code, error.message)));
    }
    let seen = shown.lines.iter().filter(|line| line.starts_with(frame)).count();
    let done = shown.lines.iter().any(|line| line.contains(DONE));
    let code = shown.report.outcome.as_ref().map(|o| o.exit_code);
    if shown.status.success() && seen == frames && done && code == Some(0) {
        return Ok(());
    }
    Err(Failure::Demo(format!(
        "expected {frames} frames, \"{DONE}\" and two exit statuses of 0; got {seen} frames, {}, host {}, Node {code:?}",
        if done { "all of Node's work" } else { "part of Node's work" },
        shown.status
    )))
}

/// What the game server prints of itself: `… v8::Isolate::TryGetCurrent at 0x…`.
fn address_told_by_gameserver(lines: &[String]) -> Option<String> {
    let (_, after) = lines.first()?.split_once("TryGetCurrent at ")?;
    after.split([',', ' ']).next().map(str::to_owned)
}

fn report(name: &str, shown: &Shown, options: &Options) {
    title(name);
    if options.json {
        println!("{}", serde_json::to_string_pretty(&shown.report).unwrap_or_default());
    } else {
        print!("{}", render(&shown.report));
    }
}

/// Host and guest call the same function at the same address.
fn proof(report: &Report, host: Option<&str>) -> Result<(), Failure> {
    let guest = report.witnesses.iter().find(|w| w.symbol == WITNESS).map(|w| w.address.as_str());
    match (host, guest) {
        (Some(host), Some(guest)) if host == guest => {
            println!(
                "one V8    the host calls v8::Isolate::TryGetCurrent at {host}, Node at {guest}: the same V8"
            );
            Ok(())
        }
        _ => Err(Failure::Demo(format!(
            "host and Node do not agree on v8::Isolate::TryGetCurrent: {host:?}, {guest:?}"
        ))),
    }
}

/// Every function of V8 that was looked at lies in the executable's own text.
fn proof_by_module(report: &Report, executable: &str) -> Result<(), Failure> {
    let inside = |w: &&relink::report::Witness| w.module == executable && w.protection == "r-x";
    let count = report.witnesses.iter().filter(inside).count();
    if count == 0 || count != report.witnesses.len() {
        return Err(Failure::Demo(format!(
            "{count} of {} functions lie in {executable}",
            report.witnesses.len()
        )));
    }
    println!(
        "one V8    Node's calls go to the executable's own code ({count} of {count} looked at): the same V8"
    );
    Ok(())
}

fn title(text: &str) {
    println!("\n== {text}");
}

fn problem(what: &str, error: &std::io::Error) -> Failure {
    Failure::Demo(format!("{what}: {error}"))
}
