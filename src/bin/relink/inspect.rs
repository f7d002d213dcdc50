//! `relink inspect`: is there a V8 in a file or in a process, and what is it?

use super::Failure;
use clap::Args;
use relink::abi::adapters::{Unit, UNITS};
use relink::abi::catalogue::known_abis;
use relink::abi::fingerprint::CxxLibrary;
use relink::abi::version::V8Version;
use relink::elf::file::map_file;
use relink::elf::FileImage;
use relink::host::inspect::live::{Module, Process, State};
use relink::host::inspect::{architecture, inspect, Build, Fact, Kind, Linkage, Presence};
use relink::Error;
use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Exits with 0 if there is a V8, certainly or probably, else with 1. A process is looked at through the files that it has
/// mapped and a few words of its memory; it is not stopped.
#[derive(Args)]
pub struct Options {
    /// An ELF file, or the number of a process
    target: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// All that was found.
#[derive(serde::Serialize)]
struct Found {
    /// Version of this form.
    schema: u32,
    /// The process, if one was asked for.
    pid: Option<u32>,
    modules: Vec<Module>,
    /// Mapped files that could not be looked into.
    unread: Vec<Unread>,
    /// Why the memory of the process could not be read.
    memory: Option<String>,
}

#[derive(serde::Serialize)]
struct Unread {
    file: PathBuf,
    why: String,
}

/// Prints what was found; `false` if that is no V8.
pub fn run(options: &Options) -> Result<bool, Failure> {
    let number = options.target.to_str().and_then(|t| t.parse::<u32>().ok());
    let found = match number.filter(|_| !options.target.exists()) {
        Some(pid) => in_process(pid)?,
        None => in_file(&options.target)?,
    };
    let text = if options.json {
        serde_json::to_string_pretty(&found).map_err(|e| Error::Internal(e.to_string()))? + "\n"
    } else {
        text(&found)
    };
    // A reader that has gone away is no failure of ours.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(found.modules.iter().any(|m| m.findings.v8.is_v8()))
}

fn in_file(path: &Path) -> Result<Found, Failure> {
    let failed = |why: String| Failure::Inspect { what: path.display().to_string(), why };
    let bytes = map_file(path).map_err(|e| failed(reason(&e.into())))?;
    let file = FileImage::parse(&bytes, architecture(&bytes)).map_err(|e| failed(e.to_string()))?;
    let findings = inspect(&file).map_err(|e| failed(e.to_string()))?;
    let module = Module { file: path.to_owned(), findings, load_bias: None, state: None, platform: None };
    Ok(Found { schema: 1, pid: None, modules: vec![module], unread: Vec::new(), memory: None })
}

/// The system's reason alone: the whole message speaks of guests.
fn reason(error: &Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

fn in_process(pid: u32) -> Result<Found, Failure> {
    let failed = |e: std::io::Error| Failure::Inspect { what: format!("process {pid}"), why: e.to_string() };
    let process = Process::open(pid).map_err(failed)?;
    let (modules, unread) = process.modules();
    let unread = unread.into_iter().map(|(file, why)| Unread { file, why }).collect();
    Ok(Found { schema: 1, pid: Some(pid), modules, unread, memory: process.memory_error() })
}

fn text(found: &Found) -> String {
    let mut lines: Vec<String> = found.modules.iter().flat_map(|m| module(m, found.pid.is_some())).collect();
    if found.modules.is_empty() {
        lines.push("no V8 in any file that the process has mapped".into());
    }
    lines.extend(found.unread.iter().map(|u| format!("not read: {}: {}", u.file.display(), u.why)));
    lines.extend(found.memory.iter().map(|why| format!("the memory of the process cannot be read: {why}")));
    lines.join("\n") + "\n"
}

fn module(module: &Module, live: bool) -> Vec<String> {
    let findings = &module.findings;
    let mut lines = vec![format!("{}: {}", module.file.display(), presence(findings.v8))];
    let kind = match findings.kind {
        Kind::Executable => "executable",
        Kind::Library => "shared library",
    };
    lines.push(line("file", format!("{kind}, {}", findings.machine)));
    lines.extend(
        findings.evidence.iter().filter(|_| findings.v8 != Presence::Dynsym).map(|e| line("evidence", e)),
    );
    if findings.v8.is_v8() {
        lines.extend(facts(module));
    }
    if live && findings.v8.is_v8() {
        lines.push(fact("state", &module.state, |s| state(*s).into()));
        lines.push(fact("platform", &module.platform, String::clone));
    }
    if let Some(node) = &findings.node {
        lines.push(fact("node", &node.version, String::clone));
        lines.push(fact("NODE_MODULE_VERSION", &node.module_version, u32::to_string));
    }
    lines.extend(
        findings
            .guest
            .iter()
            .map(|g| line("guest", format!("Node {} without V8, compiled for V8 {}", g.node, g.v8))),
    );
    lines.extend(findings.needs.iter().map(|n| line("needs", format!("{n}, which may hold the V8 it uses"))));
    lines
}

fn facts(module: &Module) -> Vec<String> {
    let (findings, build) = (&module.findings, &module.findings.build);
    let yes = |b: &bool| if *b { "yes" } else { "no" }.to_owned();
    let linkage = |l: &Linkage| {
        match l {
            Linkage::Component => "component build: V8 is several libraries",
            Linkage::Monolithic => "monolithic",
        }
        .to_owned()
    };
    vec![
        fact("version", &findings.version, String::clone),
        fact("pointer compression", &build.pointer_compression, yes),
        line("small integers", small_integers(build)),
        fact("sandbox", &build.sandbox, yes),
        fact("static roots", &build.static_roots, yes),
        fact("checks (debug build)", &build.checks, yes),
        fact("WebAssembly", &build.webassembly, yes),
        fact("Intl", &build.i18n, yes),
        fact("linkage", &build.linkage, linkage),
        fact("C++ library", &findings.cxx, |c| c.0.to_owned()),
        fact("compilers", &findings.compilers, |c| c.join("; ")),
        line("inlined ABI", findings.profile.unwrap_or("of no Node that can be a guest")),
        line("adapters", adapters(module)),
    ]
}

/// With pointer compression they have 31 bits. Without, only data for debuggers tells, or the live probe.
fn small_integers(build: &Build) -> String {
    match (&build.smi_bits, &build.pointer_compression) {
        (Some(bits), _) => format!("{} bits", bits.value),
        (None, Some(Fact { value: false, .. })) => {
            "31 or 32 bits: nothing in the file tells, the live probe does".into()
        }
        (None, _) => "unknown".into(),
    }
}

/// The commands that make adapters for such a V8.
fn adapters(module: &Module) -> String {
    let findings = &module.findings;
    let version = findings.version.as_ref().and_then(|version| V8Version::parse(&version.value));
    let (Some(version), Some(cxx)) = (version, &findings.cxx) else { return "unknown".into() };
    let is_known = !known_abis(version).is_empty();
    let host = (version.major, version.minor);
    let own = UNITS.iter().filter(|unit| is_known && unit.host == host && unit.cxx == cxx.value);
    let names: Vec<_> = own.map(Unit::name).collect();
    if !names.is_empty() {
        return names
            .iter()
            .map(|name| format!("relink adapter build {name}"))
            .collect::<Vec<_>>()
            .join("; ");
    }
    // The oldest guests' own V8 needs none.
    if is_known && cxx.value == CxxLibrary::LIBSTDCXX {
        return "none needed".into();
    }
    format!(
        "with the headers of V8 {version} in DIR: relink adapter build --v8-headers DIR --host {}",
        module.file.display()
    )
}

fn presence(v8: Presence) -> &'static str {
    match v8 {
        Presence::Dynsym => "V8, its symbols visible (.dynsym)",
        Presence::Symtab => "V8, its symbols hidden (.symtab only)",
        Presence::Probable => "probably V8, without symbols",
        Presence::Imitation => "no V8: another engine with a part of V8's API",
        Presence::NotSeen => "no V8 seen",
    }
}

fn state(state: State) -> &'static str {
    match state {
        State::NoPlatform => "not initialised (no platform)",
        State::PlatformSet => "a platform is set; whether V8 is initialised is unknown",
        State::NoIsolate => "a platform is set, no isolate yet",
        State::Initialised => "initialised",
        State::Disposed => "disposed",
    }
}

fn line(name: &str, value: impl Display) -> String {
    format!("  {name:20} {value}")
}

fn fact<T>(name: &str, fact: &Option<Fact<T>>, show: impl Fn(&T) -> String) -> String {
    line(name, fact.as_ref().map_or_else(|| "unknown".to_owned(), |f| show(&f.value)))
}
