//! `relink reap`: the harness runs each test below it, so that nothing of a test is left running.

use super::Failure;
use nix::sys::signal::{raise, SigSet};
use relink::kit::reap::{self, Ended};
use std::ffi::OsString;
use std::io::ErrorKind;
use std::process::{Command, ExitCode};

/// Runs a program and ends as it did, after all that it has left running was ended.
#[derive(clap::Args)]
pub struct Options {
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Its exit status is the program's; it ends by the signal that ended the program.
pub fn run(options: &Options) -> Result<ExitCode, Failure> {
    let Some((program, args)) = options.command.split_first() else { return Ok(ExitCode::FAILURE) };
    let failed = |error: std::io::Error| Failure::Host {
        program: program.to_string_lossy().into_owned(),
        why: error.to_string(),
        status: if error.kind() == ErrorKind::NotFound { 127 } else { 126 },
    };
    match reap::run(Command::new(program).args(args)).map_err(failed)? {
        Ended::Status(code) => Ok(ExitCode::from(code as u8)),
        Ended::Signal(signal) => {
            // Twice: the first SIGSEGV or SIGBUS only takes Rust's own handler away.
            for _ in 0..2 {
                let _ = SigSet::all().thread_unblock().and_then(|()| raise(signal));
            }
            // What is left is ignored here, as SIGPIPE is.
            Ok(ExitCode::from(128 + signal as u8))
        }
    }
}
