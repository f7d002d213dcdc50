//! `relink node`: becomes `relink-node`, which stands beside this command.

use super::{library, Failure};
use relink::kit::progress::Silent;
use relink::{config, standalone};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What the subcommand's own help says.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Options {
    /// Options of Relink's (--v8 FILE: the library whose V8 is used [env: RELINK_V8]; --guest FILE: the libnode
    /// [env: RELINK_GUEST]), then whatever `node` takes
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    args: Vec<OsString>,
}

/// Replaces this process; returns only if that fails.
pub fn run(options: &Options) -> Result<(), Failure> {
    let program = library::find_node(&Silent)?;
    let mut command = Command::new(&program);
    let mut args = options.args.as_slice();
    while let Some((variable, value, rest)) = own_option(args)? {
        command.env(variable, value);
        args = rest;
    }
    let error = command.args(args).exec();
    Err(Failure::Host { program: program.display().to_string(), why: error.to_string(), status: 126 })
}

/// The leading `--v8 FILE`, `--v8=FILE`, `--guest FILE` or `--guest=FILE`, as a variable and its value, and what follows.
/// Only leading ones are ours: behind them everything is Node's.
#[allow(clippy::type_complexity, reason = "a variable, its value and the rest, used once")]
fn own_option(args: &[OsString]) -> Result<Option<(&'static str, OsString, &[OsString])>, Failure> {
    let Some((first, rest)) = args.split_first() else { return Ok(None) };
    for (option, variable) in [("--v8", standalone::V8), ("--guest", config::GUEST)] {
        let Some(tail) = first.as_bytes().strip_prefix(option.as_bytes()) else { continue };
        if let Some(value) = tail.strip_prefix(b"=") {
            return Ok(Some((variable, OsStr::from_bytes(value).to_owned(), rest)));
        }
        if tail.is_empty() {
            let missing = || Failure::Library(format!("{option} wants a file"));
            let (value, rest) = rest.split_first().ok_or_else(missing)?;
            return Ok(Some((variable, value.clone(), rest)));
        }
    }
    Ok(None)
}
