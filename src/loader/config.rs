//! What a user asks of `librelink.so`: the `RELINK_*` variables of the environment.

use crate::log::{self, Level};
use crate::runtime::shared::SharedIsolate;
use relink_abi::error::Error;
use relink_abi::probe::standing::{Policy, Settings};
use relink_elf::cache;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// The library looked for by `LD_PRELOAD`; its own entry is taken out of that variable.
pub const LIBRARY: &str = "librelink.so";
/// The guest's file. Together with [`SCRIPT`] it makes the library act.
pub const GUEST: &str = "RELINK_GUEST";
/// The script that Node runs.
pub const SCRIPT: &str = "RELINK_SCRIPT";
/// The script's arguments: a JSON array of strings.
pub const ARGS: &str = "RELINK_ARGS";
/// Node's own options, before the script: a JSON array of strings.
pub const NODE_ARGS: &str = "RELINK_NODE_ARGS";
/// Where the report goes when the guest has ended.
pub const REPORT: &str = "RELINK_REPORT";
/// How much is told on standard error: off, error, warn, info or debug.
pub const LOG: &str = "RELINK_LOG";
/// A part of the path of the module whose V8 is to be used.
pub const PROVIDER: &str = "RELINK_PROVIDER";
/// How long to wait for the host's V8 to be initialised, in milliseconds.
pub const WAIT_MS: &str = "RELINK_WAIT_MS";
/// 1: children of the host inherit Relink as well.
pub const INHERIT: &str = "RELINK_INHERIT";

/// The file name of the one program to act in, also if it loads its V8 later, or of the script that a node runs; elsewhere nothing happens.
pub const HOST: &str = "RELINK_HOST";
/// 1: the report says what every slot of the guest holds once it is bound.
pub const AUDIT: &str = "RELINK_AUDIT";

/// The folder with adapter units, for neutral guests; by default the kit's.
pub const ADAPTERS: &str = "RELINK_ADAPTERS";

pub use relink_abi::learned::CATALOGUE;

/// When the host's V8 is observed before Node starts: always, auto or never.
pub const PROBE: &str = "RELINK_PROBE";

/// How much stack Node has, in KiB.
pub const STACK_KIB: &str = "RELINK_STACK_KIB";

/// The list of libraries that ld.so loads first.
pub const PRELOAD: &str = "LD_PRELOAD";

/// AddressSanitizer's options.
pub const ASAN_OPTIONS: &str = "ASAN_OPTIONS";

/// AddressSanitizer ends a program that another library than its own was loaded into first. It has to stand behind no library that has a
/// malloc; this one has none. Two colons, which mean one, make it known as ours.
const ANY_LINK_ORDER: &str = "::verify_asan_link_order=0";

pub use crate::runtime::variables::NODE_OPTIONS;

/// Set by Relink itself: the package runners between `relink run` and the program that Node comes into.
pub const PASSED_OVER: &str = "RELINK_PASSED_OVER";

/// All variables, so that they can be taken out of a host's environment.
pub const VARIABLES: [&str; 17] = [
    GUEST,
    SCRIPT,
    ARGS,
    NODE_ARGS,
    REPORT,
    LOG,
    PROVIDER,
    WAIT_MS,
    INHERIT,
    HOST,
    AUDIT,
    PROBE,
    ADAPTERS,
    CATALOGUE,
    STACK_KIB,
    NODE_OPTIONS,
    PASSED_OVER,
];

/// Wait this long for the host's V8 unless told otherwise.
const DEFAULT_WAIT: Duration = Duration::from_secs(60);

/// What to do in this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The guest's file.
    pub guest: PathBuf,
    /// The script; empty where a host that talks to the guest brings it in without one.
    pub script: PathBuf,
    /// The script's arguments.
    pub args: Vec<String>,
    /// Node's options.
    pub node_args: Vec<String>,
    /// The report's file.
    pub report: Option<PathBuf>,
    /// What is told on standard error.
    pub log: Level,
    /// A part of the provider's path.
    pub provider: Option<String>,
    /// How long to wait for the host's V8.
    pub wait: Duration,
    /// Whether children inherit Relink.
    pub inherit: bool,
    /// The file name of the program to act in; there V8 may come later.
    pub host: Option<String>,
    /// Whether the report says what every slot holds.
    pub audit: bool,
    /// When and how the host's V8 is observed.
    pub probe: Settings,
    /// The folder with adapter units.
    pub adapters: Option<PathBuf>,
    /// The folder with what was learned of V8s that are not built in; it is one for the whole process.
    pub catalogue: Option<PathBuf>,
    /// The host's isolate for Node to be in.
    pub shared: Option<SharedIsolate>,
    /// A limit of the JavaScript heap, in MiB; 0: V8's own.
    pub max_heap_mib: u32,
    /// A working directory of Node's own.
    pub cwd: Option<PathBuf>,
    /// The stack of Node's own thread, or what it may use of the stack of the thread that ticks it, in KiB; 0: 8 MiB, or what there is.
    pub stack_kib: u32,
}

impl Config {
    /// Reads the variables through `get`. `None`: nothing is asked of this process.
    pub fn read(get: impl Fn(&str) -> Option<OsString>) -> Option<Result<Self, Error>> {
        let get = |name| get(name).filter(|value| !value.is_empty());
        let (guest, script) = (get(GUEST), get(SCRIPT));
        if guest.is_none() && script.is_none() {
            return None;
        }
        Some(Self::assemble(guest, script, get))
    }

    fn assemble(
        guest: Option<OsString>,
        script: Option<OsString>,
        get: impl Fn(&'static str) -> Option<OsString>,
    ) -> Result<Self, Error> {
        let missing = |name, other| Error::Setting { name, why: format!("must be set when {other} is") };
        Ok(Self {
            guest: guest.ok_or_else(|| missing(GUEST, SCRIPT))?.into(),
            script: script.ok_or_else(|| missing(SCRIPT, GUEST))?.into(),
            args: list(ARGS, get(ARGS))?,
            node_args: list(NODE_ARGS, get(NODE_ARGS))?,
            report: get(REPORT).map(PathBuf::from),
            log: get(LOG).map_or(Ok(Level::Error), |v| level(&v.to_string_lossy()))?,
            provider: get(PROVIDER).map(|p| p.to_string_lossy().into_owned()),
            wait: get(WAIT_MS).map_or(Ok(DEFAULT_WAIT), |v| milliseconds(&v.to_string_lossy()))?,
            inherit: get(INHERIT).is_some_and(|v| v == "1"),
            host: get(HOST).map(|h| h.to_string_lossy().into_owned()),
            audit: get(AUDIT).is_some_and(|v| v == "1"),
            adapters: get(ADAPTERS).map(PathBuf::from),
            catalogue: get(CATALOGUE).map(PathBuf::from),
            stack_kib: get(STACK_KIB).map_or(Ok(0), |v| stack_kib(&v.to_string_lossy()))?,
            probe: probe(get)?,
            shared: None,
            max_heap_mib: 0,
            cwd: None,
        })
    }

    /// Node's command line: name, options, script, arguments.
    pub fn command_line(&self) -> Vec<String> {
        let mut line = vec!["node".to_owned()];
        line.extend(self.node_args.iter().cloned());
        if !self.script.as_os_str().is_empty() {
            line.push(self.script.to_string_lossy().into_owned());
        }
        line.extend(self.args.iter().cloned());
        line
    }
}

/// How the host's V8 is observed, by [`PROBE`] and where the cache is.
pub fn probe(get: impl Fn(&'static str) -> Option<OsString>) -> Result<Settings, Error> {
    let why = |text: &str| format!("\"{text}\" is none of always, auto, never");
    let policy = |text: OsString| {
        let text = text.to_string_lossy();
        Policy::parse(&text).ok_or_else(|| Error::Setting { name: PROBE, why: why(&text) })
    };
    Ok(Settings {
        policy: get(PROBE).map_or(Ok(Policy::default()), policy)?,
        cache: cache::place_by(&get).filter(|root| root.is_absolute()),
        folders: get("LD_LIBRARY_PATH"),
    })
}

fn list(name: &'static str, value: Option<OsString>) -> Result<Vec<String>, Error> {
    let Some(value) = value else { return Ok(Vec::new()) };
    serde_json::from_str(&value.to_string_lossy())
        .map_err(|e| Error::Setting { name, why: format!("is not a JSON array of strings ({e})") })
}

fn level(text: &str) -> Result<Level, Error> {
    let why = || format!("\"{text}\" is none of off, error, warn, info, debug");
    log::level(text).ok_or_else(|| Error::Setting { name: LOG, why: why() })
}

/// Checks how much stack Node shall have, in KiB; 0: it is not said.
pub fn stack_kib_fits(kib: u32) -> Result<u32, Error> {
    /// Less than the least is no stack that Node can run on, and more than the most is a mistake.
    const FITS: std::ops::RangeInclusive<u32> = 192..=1024 * 1024;
    if kib == 0 || FITS.contains(&kib) {
        return Ok(kib);
    }
    let why = format!("{kib} is not within {} to {} (KiB)", FITS.start(), FITS.end());
    Err(Error::Setting { name: STACK_KIB, why })
}

fn stack_kib(text: &str) -> Result<u32, Error> {
    let why = |_| Error::Setting { name: STACK_KIB, why: format!("\"{text}\" is not a whole number") };
    text.parse().map_err(why).and_then(stack_kib_fits)
}

fn milliseconds(text: &str) -> Result<Duration, Error> {
    let number = text
        .parse()
        .map_err(|_| Error::Setting { name: WAIT_MS, why: format!("\"{text}\" is not a whole number") });
    number.map(Duration::from_millis)
}

/// `LD_PRELOAD` without this library; `None` when nothing is left of it.
pub fn without_library(preload: &str) -> Option<String> {
    let is_ours = |entry: &&str| entry.rsplit('/').next() == Some(LIBRARY);
    let kept: Vec<_> = preload.split([':', ' ']).filter(|e| !e.is_empty() && !is_ours(e)).collect();
    (!kept.is_empty()).then(|| kept.join(":"))
}

/// AddressSanitizer's options with leave for a library that is preloaded.
pub fn without_link_order(options: Option<OsString>) -> OsString {
    let mut options = options.unwrap_or_default();
    options.push(ANY_LINK_ORDER);
    options
}

/// What the user had in place of what [`without_link_order`] made of it; `None` when nothing is left.
pub fn with_link_order(options: &str) -> Option<&str> {
    let own = options.strip_suffix(ANY_LINK_ORDER).unwrap_or(options);
    (!own.is_empty()).then_some(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sanitizers_options_are_the_users_again() {
        for own in [None, Some("detect_leaks=0"), Some("verify_asan_link_order=0")] {
            let changed = without_link_order(own.map(OsString::from));
            let changed = changed.to_str().expect("text");
            assert!(changed.ends_with(":verify_asan_link_order=0"), "{changed}");
            assert_eq!(with_link_order(changed), own);
        }
        assert_eq!(with_link_order("a=b"), Some("a=b"));
    }

    fn read(pairs: &[(&str, &str)]) -> Option<Result<Config, Error>> {
        Config::read(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).into()))
    }

    #[test]
    fn without_a_guest_and_a_script_nothing_is_asked() {
        assert!(read(&[]).is_none());
        assert!(read(&[(LOG, "debug"), (REPORT, "x"), (SCRIPT, "")]).is_none());
    }

    #[test]
    fn one_without_the_other_is_an_error() {
        for (set, missing) in [(GUEST, SCRIPT), (SCRIPT, GUEST)] {
            let error = read(&[(set, "x")]).expect("asked").expect_err("incomplete");
            assert_eq!(error.code(), "E0101");
            assert!(error.to_string().starts_with(missing), "{error}");
        }
    }

    #[test]
    fn a_full_configuration() {
        let config = read(&[
            (GUEST, "/g"),
            (SCRIPT, "s.js"),
            (ARGS, r#"["a","b c"]"#),
            (NODE_ARGS, r#"["--no-warnings"]"#),
            (WAIT_MS, "5"),
            (INHERIT, "1"),
        ]);
        let config = config.expect("asked").expect("valid");
        assert_eq!(config.command_line(), ["node", "--no-warnings", "s.js", "a", "b c"]);
        assert_eq!(config.wait, Duration::from_millis(5));
        assert!(config.inherit);
    }

    #[test]
    fn bad_values_name_the_variable() {
        for (name, value) in [
            (ARGS, "a b"),
            (NODE_ARGS, "{}"),
            (LOG, "loud"),
            (WAIT_MS, "-1"),
            (PROBE, "maybe"),
            (STACK_KIB, "64"),
        ] {
            let error = read(&[(GUEST, "g"), (SCRIPT, "s"), (name, value)]).expect("asked").expect_err("bad");
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }

    #[test]
    fn only_our_entry_leaves_the_preload_list() {
        assert_eq!(without_library("/a/librelink.so"), None);
        assert_eq!(without_library("librelink.so:/b/x.so"), Some("/b/x.so".into()));
        assert_eq!(without_library("/b/x.so /a/librelink.so /c/y.so"), Some("/b/x.so:/c/y.so".into()));
        assert_eq!(without_library("/b/librelink.so.1"), Some("/b/librelink.so.1".into()));
    }
}
