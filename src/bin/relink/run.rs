//! `relink run`: sets the environment up and becomes the host.

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
    /// Act only in the program of this file name, also if it loads its V8 later (a plug-in, an engine's library)
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
    check_program(program, args)?;
    let mut command = Command::new(program);
    command.args(args);
    set_environment(&mut command, options, &library)?;
    let error = command.exec();
    let status = if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
    Err(cannot_start(program, &error.to_string(), status))
}

fn set_environment(command: &mut Command, options: &Options, library: &Path) -> Result<(), Failure> {
    let host = options.host.split_first().and_then(|(program, args)| host_file(program, args));
    let guest = match &options.guest {
        Some(named) => named.clone(),
        None => chosen(options, host.as_deref())?,
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
        (config::INHERIT, options.inherit.then(|| "1".to_owned())),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command.env("LD_PRELOAD", preload(library));
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

/// `LD_PRELOAD` with the library first and whatever the user has in it after.
fn preload(library: &Path) -> OsString {
    let mut list = library.as_os_str().to_owned();
    if let Some(others) = std::env::var_os("LD_PRELOAD").filter(|v| !v.is_empty()) {
        list.push(":");
        list.push(others);
    }
    list
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// A statically linked program has no dynamic linker, so nothing can be preloaded into it; it would run without Node
/// and without a word.
fn check_program(program: &OsStr, args: &[OsString]) -> Result<(), Failure> {
    let Some(path) = host_file(program, args) else { return Ok(()) };
    // Scripts and programs of other kinds are the system's to judge.
    if linkage(&path).is_none_or(|linkage| linkage != Linkage::Static) {
        return Ok(());
    }
    let why = "is statically linked, so Relink cannot be loaded into it; use a dynamically linked build";
    Err(cannot_start(path.as_os_str(), why, 126))
}

/// How a program comes by its libraries.
#[derive(PartialEq, Eq)]
enum Linkage {
    /// The kernel starts the dynamic linker that it names.
    Dynamic,
    Static,
    /// It is a dynamic linker itself.
    Linker,
}

fn linkage(path: &Path) -> Option<Linkage> {
    use relink::elf::{arch::Arch, Dynamic, FileImage};
    let bytes = relink::elf::file::map_file(path).ok()?;
    let file = FileImage::parse(&bytes, Arch::native()).ok()?;
    if file.image.header(object::elf::PT_INTERP).is_some() {
        return Some(Linkage::Dynamic);
    }
    let name = Dynamic::parse(&file.image).ok().and_then(|d| d.soname().ok().flatten().map(str::to_owned));
    let linker = name.is_some_and(|name| name.starts_with("ld-linux"));
    Some(if linker { Linkage::Linker } else { Linkage::Static })
}

/// The file of the host: where a dynamic linker is called as a program, what it is given (ld.so(8)).
fn host_file(program: &OsStr, args: &[OsString]) -> Option<PathBuf> {
    /// Options of ld.so's that are followed by a value.
    const VALUED: [&str; 7] = [
        "--library-path",
        "--inhibit-rpath",
        "--audit",
        "--preload",
        "--argv0",
        "--glibc-hwcaps-prepend",
        "--glibc-hwcaps-mask",
    ];
    let path = in_path(program)?;
    if linkage(&path) != Some(Linkage::Linker) {
        return Some(path);
    }
    let mut rest = args.iter();
    while let Some(word) = rest.next() {
        if !word.to_string_lossy().starts_with("--") {
            return Some(word.into());
        }
        if VALUED.iter().any(|option| word == option) {
            rest.next();
        }
    }
    None
}

fn in_path(program: &OsStr) -> Option<PathBuf> {
    let path = Path::new(program);
    if path.components().count() > 1 {
        return Some(path.to_owned());
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|p| p.is_file())
}

fn cannot_start(program: &OsStr, why: &str, status: u8) -> Failure {
    Failure::Host { program: program.to_string_lossy().into_owned(), why: why.to_owned(), status }
}
