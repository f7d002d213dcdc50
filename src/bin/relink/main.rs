//! The command `relink`.

mod catalogue;
mod check;
mod demo;
mod explain;
mod guests;
mod inspect;
mod library;
mod matrix;
mod node;
mod parity;
mod plan;
mod plugin;
mod program;
mod reap;
mod run;

use clap::{Parser, Subcommand};
use relink::codes;
use relink::elf::file::FileError;
use relink::kit::cli::KitCommand;
use relink::kit::KitError;
use std::process::ExitCode;

/// Run Node.js on the V8 that a process already has.
#[derive(Parser)]
#[command(name = "relink", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a program with Node relinked into it
    Run(run::Options),
    /// Behave as `node` does, on the V8 of another library
    Node(node::Options),
    /// Say whether there is a V8 in a file or a process, and what it is; runs nothing
    Inspect(inspect::Options),
    /// Say for every slot of a guest where it would go in a host, and why; runs nothing
    Plan(plan::Options),
    /// Say where the slots for one symbol would go in a host, and why; runs nothing
    Explain(explain::Options),
    /// Say whether a guest fits a host, what differs and what would cure it; runs nothing
    Check(check::Options),
    /// The catalogue of V8's binary interfaces: list, compare, add a version
    #[command(subcommand)]
    Catalogue(catalogue::Command),
    #[command(flatten)]
    Kit(KitCommand),
    /// Show the whole way on real parts: fetch, build, and run Node inside two hosts
    Demo(demo::Options),
    /// Run Node's own tests in plain Node and relinked, and compare
    Parity(parity::Options),
    /// Run a program, and end all that it leaves running
    #[command(hide = true)]
    Reap(reap::Options),
    /// The plugin for Metamod:Source
    #[command(subcommand)]
    Plugin(plugin::Command),
    /// Run guests in hosts, and show what came of each pair (docs/COMPATIBILITY.md is its page)
    Matrix(matrix::Options),
}

/// `relink inspect` says no.
const NO_V8: u8 = 1;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// On the way in.
    #[error("{}", .0.line())]
    Relink(#[from] relink::Error),
    /// In the kit.
    #[error("{code} {0}", code = .0.code())]
    Kit(#[from] KitError),
    /// The program to be started can't be.
    #[error("{code} \"{program}\": {why}", code = codes::E0801)]
    Host { program: String, why: String, status: u8 },
    /// librelink.so is not where it should be.
    #[error("{code} {0}", code = codes::E0802)]
    Library(String),
    /// What the demo showed is not what it should have shown.
    #[error("{code} {0}", code = codes::E0803)]
    Demo(String),
    /// A file or process can't be looked into.
    #[error("{code} cannot inspect \"{what}\": {why}; name an ELF file or the number of a process", code = codes::E0810)]
    Inspect { what: String, why: String },
    /// Relinked Node fails tests that plain Node passes.
    #[error("{code} {0}", code = codes::E0804)]
    Parity(String),
    /// Node's own tests of a line that the V8 that is fetched by default is not for.
    #[error("{code} the V8 that `relink parity` fetches is that of Node 18, and not for Node {0}: name another with --v8, or a host with --inside", code = codes::E0808)]
    NoV8(u32),
    /// A pair of the matrix did not do what it should.
    #[error("{code} {0}", code = codes::E0806)]
    Matrix(String),
    /// The plugin can't be laid out.
    #[error("{code} {0}; name the game's folder, which must be one that can be written", code = codes::E0807)]
    Install(String),
    /// No slot refers to the symbol.
    #[error("{code} neither the guest nor its libraries have a slot for {0}: nothing of it is bound; `relink plan` lists all that is", code = codes::E0805)]
    Unknown(String),
}

/// Prints to standard output; a reader who has had enough (`| head`) is no error.
fn print(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    // Whatever else is wrong with standard output, there is nobody left to be told.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Self::Relink(error.into())
    }
}

impl Failure {
    /// The exit status: 2 for what the user can cure by calling differently, 126 and 127 as shells have them for a
    /// program that can't be started, else 1.
    fn status(&self) -> u8 {
        match self {
            Self::Relink(_) | Self::Demo(_) | Self::Parity(_) | Self::Matrix(_) => 1,
            Self::Kit(error) => error.exit_code() as u8,
            Self::Host { status, .. } => *status,
            Self::Library(_) | Self::NoV8(_) | Self::Unknown(_) | Self::Install(_) | Self::Inspect { .. } => {
                2
            }
        }
    }
}

/// Prints clap's message. `relink check` answers with its exit status, so a wrong call of it must have one of its own.
fn wrongly_called(error: &clap::Error) -> ExitCode {
    let check = std::env::args_os().nth(1).is_some_and(|name| name == "check");
    // A closed terminal is no reason for another status.
    let _ = error.print();
    let status = if check && error.use_stderr() { i32::from(check::USAGE) } else { error.exit_code() };
    ExitCode::from(u8::try_from(status).unwrap_or(2))
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return wrongly_called(&error),
    };
    let result = match cli.command {
        Command::Run(options) => run::run(&options),
        Command::Node(options) => node::run(&options),
        Command::Inspect(options) => match inspect::run(&options) {
            Ok(true) => Ok(()),
            Ok(false) => return ExitCode::from(NO_V8),
            Err(failure) => Err(failure),
        },
        Command::Plan(options) => plan::run(&options),
        Command::Explain(options) => explain::run(&options),
        Command::Check(options) => match check::run(&options) {
            Ok(status) => return ExitCode::from(status),
            Err(failure) => {
                eprintln!("relink: {failure}");
                return ExitCode::from(check::NO_VERDICT);
            }
        },
        Command::Catalogue(command) => catalogue::run(&command),
        Command::Kit(command) => relink::kit::cli::run(command).map_err(Failure::from),
        Command::Demo(options) => demo::run(&options),
        Command::Parity(options) => parity::run(&options),
        Command::Reap(options) => match reap::run(&options) {
            Ok(status) => return status,
            Err(failure) => Err(failure),
        },
        Command::Plugin(command) => plugin::run(&command),
        Command::Matrix(options) => matrix::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("relink: {failure}");
            ExitCode::from(failure.status())
        }
    }
}
