//! `relink run`: sets the environment up and becomes the host.

use super::program::{self, Link};
use super::{guests, library, Failure};
use clap::Args;
use relink::config;
use relink::kit::progress::Silent;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Node runs beside the host, on a thread of its own, as soon as the host's V8 is ready. The exit status is the host's.
#[derive(Args)]
pub struct Options {
    /// The libnode to relink [default: of those that `relink guest build` made, the one that loses least on the host's V8]
    #[arg(long, env = config::GUEST)]
    guest: Option<PathBuf>,
    /// The script that Node runs
    #[arg(long, env = config::SCRIPT)]
    script: PathBuf,
    /// An argument for the script; may be repeated
    #[arg(long = "arg", value_name = "ARG", allow_hyphen_values = true)]
    args: Vec<String>,
    /// An option for Node, such as --no-warnings; may be repeated
    #[arg(long = "node-arg", value_name = "OPTION", allow_hyphen_values = true)]
    node_args: Vec<String>,
    /// Write a report (JSON) here when Node has ended
    #[arg(long, env = config::REPORT)]
    report: Option<PathBuf>,
    /// What is told on standard error
    #[arg(long, env = config::LOG, value_parser = ["off", "error", "warn", "info", "debug"])]
    log: Option<String>,
    /// A part of the path of the module whose V8 is to be used, if the host has several
    #[arg(long, env = config::PROVIDER)]
    provider: Option<String>,
    /// When the host's V8 is observed before Node starts: once for each pair (auto), always, never
    #[arg(long, env = config::PROBE, value_parser = ["always", "auto", "never"])]
    probe: Option<String>,
    /// How long to wait for the host's V8, in milliseconds
    #[arg(long, env = config::WAIT_MS)]
    wait_ms: Option<u64>,
    /// The stack of Node's thread, in KiB [default: 8192]
    #[arg(long, env = config::STACK_KIB)]
    stack_kib: Option<u32>,
    /// In place of the host's NODE_OPTIONS, for Node alone
    #[arg(long, value_name = "OPTIONS", env = config::NODE_OPTIONS, allow_hyphen_values = true)]
    node_options: Option<String>,
    /// Act only in the program of this file name, also if it loads its V8 later (a plug-in, an engine's library), or in the node that runs
    /// the script of this name (server.js, app/server.js)
    #[arg(long = "in", value_name = "NAME", env = config::HOST)]
    name: Option<String>,
    /// Children of the host get Node as well
    #[arg(long)]
    inherit: bool,
    /// Say as JSON which guest was chosen, and why
    #[arg(long)]
    json: bool,
    /// librelink.so [default: the one installed with this command]
    #[arg(long, env = "RELINK_LIBRARY")]
    library: Option<PathBuf>,
    /// The host and its arguments
    #[arg(last = true, required = true, value_name = "HOST")]
    host: Vec<OsString>,
}

/// Replaces this process by the host; returns only if that fails.
pub fn run(options: &Options) -> Result<(), Failure> {
    let Some((program, args)) = options.host.split_first() else {
        return Err(cannot_start(OsStr::new(""), "no program was given", 2));
    };
    let library = library::find_to_preload(options.library.as_deref(), &Silent)?;
    let chain = program::chain(program, args);
    check_programs(options, &chain)?;
    let mut command = Command::new(program);
    command.args(args);
    set_environment(&mut command, options, &library, &chain)?;
    let error = command.exec();
    let status = if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
    Err(cannot_start(program, &error.to_string(), status))
}

fn set_environment(
    command: &mut Command,
    options: &Options,
    library: &Path,
    chain: &[Link],
) -> Result<(), Failure> {
    let guest = match &options.guest {
        Some(named) => named.clone(),
        None => chosen(options, chain.last().map(|link| &*link.path))?,
    };
    command.env(config::GUEST, absolute(&guest)).env(config::SCRIPT, absolute(&options.script));
    for (name, list) in [(config::ARGS, &options.args), (config::NODE_ARGS, &options.node_args)] {
        if !list.is_empty() {
            command.env(name, serde_json::Value::from(list.clone()).to_string());
        }
    }
    if let Some(report) = &options.report {
        command.env(config::REPORT, absolute(report));
    }
    let texts = [
        (config::LOG, options.log.clone()),
        (config::PROVIDER, options.provider.clone()),
        (config::PROBE, options.probe.clone()),
        (config::WAIT_MS, options.wait_ms.map(|ms| ms.to_string())),
        (config::STACK_KIB, options.stack_kib.map(|kib| kib.to_string())),
        (config::HOST, options.name.clone()),
        (config::NODE_OPTIONS, options.node_options.clone()),
        (config::INHERIT, options.inherit.then(|| "1".to_owned())),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command.env(config::PRELOAD, preload(library));
    command.env(config::ASAN_OPTIONS, config::without_link_order(std::env::var_os(config::ASAN_OPTIONS)));
    Ok(())
}

/// The guest that is taken when none is named; says on standard error which, and why.
fn chosen(options: &Options, host: Option<&Path>) -> Result<PathBuf, Failure> {
    let choice = guests::choose(host)?;
    if options.json {
        let text = serde_json::to_string(&choice).map_err(|e| relink::Error::Internal(e.to_string()))?;
        eprintln!("{text}");
    } else if !matches!(options.log.as_deref(), Some("off" | "error")) {
        eprintln!("relink: {}", choice.text());
    }
    Ok(choice.guest)
}

/// `LD_PRELOAD` with whatever the user has in it first: a sanitizer's run-time library wants to be the first of all.
///
/// The library stands in it as `$ORIGIN/../../…/path`, which leads to the same file from wherever a program lies, but in glibc's ld.so alone
/// (ld.so(8), "Dynamic string tokens"). musl's loader, which a wrapper may come to start, knows no tokens there: it finds no such file and goes
/// on without a word, where it would end the program for a library of glibc's.
fn preload(library: &Path) -> OsString {
    /// As many as no path has folders; at the root `..` leads to the root.
    const UP: usize = 32;
    let mut list = std::env::var_os(config::PRELOAD).filter(|v| !v.is_empty()).unwrap_or_default();
    if !list.is_empty() {
        list.push(":");
    }
    list.push("$ORIGIN");
    list.push("/..".repeat(UP));
    list.push(library);
    list
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Looks at what the command line leads to. A program that Relink cannot be loaded into would run without Node and without a word: one that
/// is started directly is refused, of one behind a wrapper it is said.
fn check_programs(options: &Options, chain: &[Link]) -> Result<(), Failure> {
    let Some((last, before)) = chain.split_last() else { return Ok(()) };
    let meant = options.name.as_ref().is_none_or(|name| last.path.file_name() == Some(OsStr::new(name)));
    let dropped = before.iter().find_map(|link| link.drops_preload().map(|why| (link, why)));
    let unsuitable = || if meant { last.unsuitable() } else { last.drops_preload() };
    let Some((link, why)) = dropped.or_else(|| unsuitable().map(|why| (last, why))) else { return Ok(()) };
    if last.direct && meant {
        return Err(cannot_start(link.path.as_os_str(), &why, 126));
    }
    if options.log.as_deref() != Some("off") {
        eprintln!("relink: \"{}\" {why}; it runs without Node", link.path.display());
    }
    Ok(())
}

fn cannot_start(program: &OsStr, why: &str, status: u8) -> Failure {
    Failure::Host { program: program.to_string_lossy().into_owned(), why: why.to_owned(), status }
}
