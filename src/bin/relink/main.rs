//! The command `relink`.

mod demo;
mod explain;
mod guests;
mod inspect;
mod library;
mod node;
mod parity;
mod plan;
mod run;

use clap::{Parser, Subcommand};
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
    #[command(flatten)]
    Kit(KitCommand),
    /// Show the whole way on real parts: fetch, build, and run Node inside two hosts
    Demo(demo::Options),
    /// Run Node's own tests in plain Node and relinked, and compare
    Parity(parity::Options),
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
    #[error("E0801 \"{program}\": {why}")]
    Host { program: String, why: String, status: u8 },
    /// librelink.so is not where it should be.
    #[error("E0802 {0}")]
    Library(String),
    /// What the demo showed is not what it should have shown.
    #[error("E0803 {0}")]
    Demo(String),
    /// A file or process can't be looked into.
    #[error("E0810 cannot inspect \"{what}\": {why}; name an ELF file or the number of a process")]
    Inspect { what: String, why: String },
    /// Relinked Node fails tests that plain Node passes.
    #[error("E0804 {0}")]
    Parity(String),
    /// No slot refers to the symbol.
    #[error("E0805 neither the guest nor its libraries have a slot for {0}: nothing of it is bound; `relink plan` lists all that is")]
    Unknown(String),
}

/// Prints to standard output; a reader who has had enough (`| head`) is no error.
fn print(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    // Whatever else is wrong with standard output, there is nobody left to be told.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

impl Failure {
    /// The exit status: 2 for what the user can cure by calling differently, 126 and 127 as shells have them for a
    /// program that can't be started, else 1.
    fn status(&self) -> u8 {
        match self {
            Self::Relink(_) | Self::Demo(_) | Self::Parity(_) => 1,
            Self::Kit(error) => error.exit_code() as u8,
            Self::Host { status, .. } => *status,
            Self::Library(_) | Self::Unknown(_) | Self::Inspect { .. } => 2,
        }
    }
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(options) => run::run(&options),
        Command::Node(options) => node::run(&options),
        Command::Inspect(options) => match inspect::run(&options) {
            Ok(true) => Ok(()),
            Ok(false) => return ExitCode::from(NO_V8),
            Err(failure) => Err(failure),
        },
        Command::Plan(options) => plan::run(&options),
        Command::Explain(options) => explain::run(&options),
        Command::Kit(command) => relink::kit::cli::run(command).map_err(Failure::from),
        Command::Demo(options) => demo::run(&options),
        Command::Parity(options) => parity::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("relink: {failure}");
            ExitCode::from(failure.status())
        }
    }
}
