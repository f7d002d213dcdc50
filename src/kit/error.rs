//! What can go wrong in the build kit, with stable codes: [`codes`] has the meaning of each.

use relink_abi::codes;
use std::io;
use std::path::PathBuf;

/// Result of a step of the kit.
pub type Result<T> = std::result::Result<T, KitError>;

/// A failure of the build kit. Each message says what, where, and what would cure it.
#[derive(Debug, thiserror::Error)]
pub enum KitError {
    /// A file operation in the cache failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb phrase: "read", "create".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The cache folder cannot be used.
    #[error("cache folder: {why}; set RELINK_CACHE to an absolute path without blanks")]
    CachePlace {
        /// What is wrong.
        why: String,
    },
    /// Programs are missing.
    #[error("{} needed but not installed: {}; install with: {remedy}", if tools.len() == 1 { "a program is" } else { "programs are" }, tools.join(", "))]
    MissingTools {
        /// The programs' names.
        tools: Vec<String>,
        /// The one command that installs them.
        remedy: String,
    },
    /// A program failed.
    #[error("{program} failed ({status}): {message}")]
    Program {
        /// What was run.
        program: String,
        /// Its exit status in words.
        status: String,
        /// The last line that says something, and where the rest is.
        message: String,
    },
    /// No Debian archive is known.
    #[error("{why}; the parts come from Debian 12: add \"deb <mirror>/debian bookworm main\" to /etc/apt/sources.list, or name a Node source with --source")]
    NoDebian {
        /// What was looked for and not found.
        why: String,
    },
    /// A package cannot be had.
    #[error("package {package}: {why}; try `apt-get update` with a working mirror, then run this again")]
    Package {
        /// Its name.
        package: String,
        /// Which versions were tried and how they failed.
        why: String,
    },
    /// An npm package cannot be had.
    #[error(
        "npm package {package}: {why}; check that `npm view {package} version` works, then run this again"
    )]
    Npm {
        /// Name and version, `NAME@VERSION`.
        package: String,
        /// What went wrong.
        why: String,
    },
    /// Something given by the user is not what it should be.
    #[error("{option} {}: {why}", path.display())]
    Input {
        /// The option, or the thing's name.
        option: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What is missing in it.
        why: String,
    },
    /// A patch failed.
    #[error("patch {patch} does not apply to {}: {why}; run again with --rebuild to start from fresh sources", tree.display())]
    Patch {
        /// Its name in debian/patches/series.
        patch: String,
        /// The tree.
        tree: PathBuf,
        /// First line of patch's own complaint.
        why: String,
    },
    /// Compiling failed.
    #[error("{what} does not compile: {first_error}; full log: {}", log.display())]
    Compile {
        /// What was compiled, and against which headers.
        what: String,
        /// The compiler's first error line.
        first_error: String,
        /// The log file.
        log: PathBuf,
    },
    /// The result is not a proper guest.
    #[error("{} is no usable guest: {}; log: {}", library.display(), faults.join("; "), log.display())]
    BadGuest {
        /// The library.
        library: PathBuf,
        /// Each requirement that it misses.
        faults: Vec<String>,
        /// The build's log.
        log: PathBuf,
    },
    /// Not there yet.
    #[error("{what} is not there yet; run `{remedy}`")]
    NotBuilt {
        /// The thing.
        what: &'static str,
        /// The command that makes it.
        remedy: &'static str,
    },
    /// Stopped by SIGINT or SIGTERM.
    #[error("interrupted by {signal}; run the same command again to go on from here")]
    Interrupted {
        /// Its name.
        signal: &'static str,
        /// Its number.
        number: i32,
    },
    /// A name, headers or a machine that cannot be worked with.
    #[error("{why}")]
    Unsupported {
        /// What is not supported.
        why: String,
    },
    /// A header cannot be made neutral.
    #[error("no rule for {}{}: \"{text}\": {why}; a rule goes into src/kit/neutral, or build with --exact", path.display(), if *line == 0 { String::new() } else { format!(":{line}") })]
    NoRule {
        /// The header.
        path: PathBuf,
        /// Line number from 1; 0 if no line is to blame.
        line: usize,
        /// The text.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// A download was needed and is forbidden (E0716).
    #[error("{what} is not in the cache, and RELINK_OFFLINE forbids to fetch it; run this once without RELINK_OFFLINE, with a network")]
    Offline {
        /// What would have been fetched.
        what: String,
    },
}

impl KitError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => codes::E0701,
            Self::CachePlace { .. } => codes::E0702,
            Self::MissingTools { .. } => codes::E0703,
            Self::Program { .. } => codes::E0704,
            Self::NoDebian { .. } => codes::E0705,
            Self::Package { .. } => codes::E0706,
            Self::Npm { .. } => codes::E0707,
            Self::Input { .. } => codes::E0708,
            Self::Patch { .. } => codes::E0709,
            Self::Compile { .. } => codes::E0710,
            Self::BadGuest { .. } => codes::E0711,
            Self::NotBuilt { .. } => codes::E0712,
            Self::Interrupted { .. } => codes::E0713,
            Self::Unsupported { .. } => codes::E0714,
            Self::NoRule { .. } => codes::E0715,
            Self::Offline { .. } => codes::E0716,
        }
    }

    /// Exit status for a command that ends with this error: 3 something must be installed or is not reachable,
    /// 4 not built yet, 2 wrong input, 128 + N stopped by signal N, 1 everything else.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::MissingTools { .. }
            | Self::NoDebian { .. }
            | Self::Package { .. }
            | Self::Npm { .. }
            | Self::Offline { .. } => 3,
            Self::NotBuilt { .. } => 4,
            Self::Input { .. } | Self::CachePlace { .. } | Self::Unsupported { .. } => 2,
            Self::Interrupted { number, .. } => 128 + number,
            _ => 1,
        }
    }
}

/// Turns an I/O failure into a [`KitError::Io`] that says what was tried on which file.
pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> KitError {
    let path = path.into();
    move |source| KitError::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_thing_and_remedy() {
        let error =
            KitError::MissingTools { tools: vec!["g++".into()], remedy: "apt-get install g++".into() };
        assert_eq!(
            error.to_string(),
            "a program is needed but not installed: g++; install with: apt-get install g++"
        );
        assert_eq!((error.code(), error.exit_code()), ("E0703", 3));
        let error = KitError::Interrupted { signal: "SIGINT", number: 2 };
        assert_eq!(error.exit_code(), 130);
    }
}
