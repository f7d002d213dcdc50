//! The commands `relink guest …` and `relink host …`. Results go to stdout, everything else to stderr.

use super::clang::cxx_of;
use super::error::{KitError, Result};
use super::guest::{self, BuildOptions, Guest};
use super::{adapter, component, component_build, hosts, learn, progress};
use clap::{Args, Subcommand, ValueEnum};
use relink_abi::adapters::UNITS;
use relink_abi::fingerprint::CxxLibrary;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What the kit can be told to do.
#[derive(Debug, Subcommand)]
pub enum KitCommand {
    /// Build or find the guest: Node as a shared library without V8
    Guest {
        /// What to do with the guest
        #[command(subcommand)]
        command: GuestCommand,
    },
    /// Build or find adapters: what a neutral guest needs on a host with another V8
    Adapter {
        /// What to do with the adapters
        #[command(subcommand)]
        command: AdapterCommand,
    },
    /// Fetch or find real hosts: processes with a V8 of their own
    Host {
        /// What to do with the hosts
        #[command(subcommand)]
        command: HostCommand,
    },
}

/// `relink guest …`
#[derive(Debug, Subcommand)]
pub enum GuestCommand {
    /// Build the guest, or take it from the cache; prints its path
    Build(BuildArgs),
    /// Print the path of the guest that was built last without --source and --v8-headers
    Path {
        /// The line of Node
        #[arg(long, value_name = "MAJOR", default_value_t = guest::DEFAULT_LINE)]
        line: u32,
        /// The one that was built with --exact
        #[arg(long)]
        exact: bool,
    },
}

/// `relink guest build …`
#[derive(Debug, Default, Args)]
pub struct BuildArgs {
    /// The line of Node, by its major version: 18, 20, 22 or 24 [default: 18]
    #[arg(long, value_name = "MAJOR")]
    pub line: Option<u32>,
    /// Unpacked Node source to build [default: the line's own, for 18 Debian's source package of 18.20.4]
    #[arg(long, value_name = "DIR")]
    pub source: Option<PathBuf>,
    /// Folder with v8.h of another V8 [default: the source's own headers]
    #[arg(long, value_name = "DIR")]
    pub v8_headers: Option<PathBuf>,
    /// Compile V8's numbers in: the guest then runs on the V8 of its own line only (docs/ABI.md)
    #[arg(long)]
    pub exact: bool,
    /// Compilers at once [default: one per processor]
    #[arg(long, short, value_name = "N")]
    pub jobs: Option<usize>,
    /// Build again from fresh sources even if the cache has it
    #[arg(long)]
    pub rebuild: bool,
    /// Print all that is known of the guest as JSON instead of its path
    #[arg(long)]
    pub json: bool,
}

/// `relink adapter …`
#[derive(Debug, Subcommand)]
pub enum AdapterCommand {
    /// Build adapters, or take them from the cache; prints their paths
    Build {
        /// Which, as 10.2-on-11.3: the guest's V8 and the host's [default: all]
        name: Option<String>,
        /// Folder with v8.h of a V8 that is not known: enters it into a catalogue of your own, and builds adapters for it
        #[arg(long, value_name = "DIR", conflicts_with = "name")]
        v8_headers: Option<PathBuf>,
        /// The host's module with that V8: its C++ library is the one that the adapters are for [default: libstdc++]
        #[arg(long, value_name = "FILE", requires = "v8_headers")]
        host: Option<PathBuf>,
    },
    /// Print the path of adapters that were built
    Path {
        /// Which
        name: String,
    },
}

/// `relink host …`
#[derive(Debug, Subcommand)]
pub enum HostCommand {
    /// Fetch and compile all hosts
    Fetch,
    /// Build a V8 as games have it, a component build with libc++, or take it from the cache; prints its folder. Takes an hour and a
    /// half on two cores, and goes on where it was stopped
    Build {
        /// What to build
        what: Built,
        /// Compilers at once [default: one per processor]
        #[arg(long, short, value_name = "N")]
        jobs: Option<usize>,
    },
    /// Print where a host lies
    Path {
        /// Which one
        host: Host,
    },
}

/// What `relink host build` builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Built {
    /// V8 12.0 by Debian's clang with Chromium's libc++, in several libraries
    V8Component,
}

/// The hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Host {
    /// Small C++ program with a frame loop and V8 as a shared library
    Gameserver,
    /// Official Node executable
    Node,
    /// Shared library with the game server's V8
    Libv8,
    /// The game server on a V8 that Chromium's tools built: RELINK_V8_COMPONENT=DIR, or by `relink host build v8-component`
    Component,
}

impl Host {
    fn name(self) -> &'static str {
        match self {
            Self::Gameserver => "gameserver",
            Self::Node => "node",
            Self::Libv8 => "libv8",
            Self::Component => "component",
        }
    }
}

/// Runs a command of the kit. The caller prints the error with its code and exits with its exit code.
pub fn run(command: KitCommand) -> Result<()> {
    match command {
        KitCommand::Guest { command: GuestCommand::Build(args) } => build(args),
        KitCommand::Guest { command: GuestCommand::Path { line, exact } } => guest_path(line, exact),
        KitCommand::Adapter { command: AdapterCommand::Build { v8_headers: Some(dir), host, .. } } => {
            learn(&dir, host.as_deref())
        }
        KitCommand::Adapter { command: AdapterCommand::Build { name, .. } } => {
            build_adapters(name.as_deref())
        }
        KitCommand::Adapter { command: AdapterCommand::Path { name } } => {
            let missing = KitError::NotBuilt { what: "this adapter", remedy: "relink adapter build" };
            print(relink_abi::units::find(None, adapter::unit(&name)?).ok_or(missing)?.display())
        }
        KitCommand::Host { command: HostCommand::Fetch } => fetch_hosts(),
        KitCommand::Host { command: HostCommand::Build { what: Built::V8Component, jobs } } => {
            print(component_build::build(jobs, progress::terminal().as_ref())?.display())
        }
        KitCommand::Host { command: HostCommand::Path { host: Host::Component } } => {
            print(component::path()?.display())
        }
        KitCommand::Host { command: HostCommand::Path { host } } => {
            print(hosts::path(host.name())?.display())
        }
    }
}

fn build(args: BuildArgs) -> Result<()> {
    let progress = progress::terminal();
    let options = BuildOptions {
        line: args.line,
        source: args.source,
        v8_headers: args.v8_headers,
        neutral: !args.exact,
        jobs: args.jobs,
        rebuild: args.rebuild,
    };
    let guest = guest::build(&options, progress.as_ref())?;
    progress.note(&summary(&guest));
    if !args.json {
        return print(guest.library.display());
    }
    let json = serde_json::to_string_pretty(&guest)
        .map_err(|e| KitError::Unsupported { why: format!("the guest's facts are no JSON: {e}") })?;
    print(json)
}

fn build_adapters(name: Option<&str>) -> Result<()> {
    let progress = progress::terminal();
    let named = name.map(adapter::unit).transpose()?;
    for unit in UNITS.iter().filter(|unit| named.is_none_or(|n| std::ptr::eq(n, *unit))) {
        print(adapter::build(unit, progress.as_ref())?.display())?;
    }
    Ok(())
}

fn learn(headers: &Path, host: Option<&Path>) -> Result<()> {
    let progress = progress::terminal();
    let cxx = host.map_or(Ok(CxxLibrary::LIBSTDCXX), |file| cxx_of("--host", file))?;
    let learned = learn::learn(headers, cxx, progress.as_ref())?;
    learned.refused.iter().for_each(|why| progress.note(why));
    for unit in &learned.units {
        let ((major, minor), guest) = (unit.layers, unit.guest);
        progress.note(&format!(
            "V8 {}: adapters with the layers up to {major}.{minor}, for guests of V8 {}.{}",
            learned.v8, guest.0, guest.1
        ));
        print(unit.library.display())?;
    }
    Ok(())
}

fn summary(guest: &Guest) -> String {
    let facts = &guest.facts;
    format!(
        "Node {} for V8 {}: {} V8 symbols ({} jump slots, {} GOT, {} in data), {} exports, {:.1} MB{}",
        facts.note.node,
        facts.note.v8,
        facts.v8_symbols,
        facts.jump_slots,
        facts.glob_dat,
        facts.abs64,
        facts.exports,
        facts.bytes as f64 / 1e6,
        if guest.cached { "; from the cache" } else { "" }
    )
}

fn guest_path(line: u32, exact: bool) -> Result<()> {
    let found = if exact { guest::exact_path_of(line) } else { guest::path_of(line) };
    let remedy = if exact { "relink guest build --exact --line MAJOR" } else { guest::remedy(line) };
    print(found.ok_or(KitError::NotBuilt { what: "the guest", remedy })?.display())
}

fn fetch_hosts() -> Result<()> {
    let progress = progress::terminal();
    let gameserver = hosts::gameserver(progress.as_ref())?;
    let node = hosts::plain_node(progress.as_ref())?;
    print(format!(
        "gameserver {}\nnode {}\nlibv8 {}",
        gameserver.executable.display(),
        node.display(),
        gameserver.v8.library.display()
    ))
}

/// One result on stdout. A reader that has gone away is no failure of ours.
fn print(text: impl std::fmt::Display) -> Result<()> {
    let _ = writeln!(std::io::stdout(), "{text}");
    Ok(())
}
