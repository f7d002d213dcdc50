//! Starts the host's file once more, with the observer in it.

use super::Observation;
use crate::abi::catalogue::Facts;
use crate::kit::cache::{write_whole, Cache, KeyBuilder};
use crate::kit::progress::Silent;
use crate::kit::KitError;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// `observe.cc`, compiled by build.rs.
const OBSERVER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/observe.so"));

/// How long a host may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Why nothing was observed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// A file of the probe's own could not be made or read.
    #[error("the probe's files: {0}")]
    Files(#[from] std::io::Error),
    /// The cache cannot be used, or a broken-off observation was not kept.
    #[error("{0}")]
    Cache(#[from] KitError),
    /// The guest's facts lack numbers that the observer needs to build objects for V8.
    #[error("the guest's facts lack {0}")]
    Facts(&'static str),
    /// The host's file did not start, did not load the observer, or ended before it was done.
    #[error("\"{}\" was started with the observer and came to nothing ({how}); it is no node and no shared library with all of V8, or its V8 is too different", host.display())]
    Ended {
        /// The file.
        host: PathBuf,
        /// How it ended.
        how: String,
    },
}

/// As [`observe`], from the cache if this file was observed before with the same numbers. (Official node executables have no
/// build id: a file is known by its place, size and time.)
///
/// # Errors
/// As [`observe`], and if the cache cannot be used.
pub fn observe_once(host: &Path, facts: &Facts) -> Result<Observation, ProbeError> {
    let cache = Cache::locate()?;
    let [slots, allocator] = numbers(facts)?.map(|(_, value)| value);
    let file = std::fs::metadata(host)?;
    let identity = format!(
        "{} {} {} {}",
        file.dev(),
        file.ino(),
        file.size(),
        file.mtime_nsec() + file.mtime() * 1_000_000_000
    );
    let key = KeyBuilder::new().add("observer", OBSERVER).add("host", identity).add("slots", slots);
    let mut failure = None;
    let made = cache.get_or_make("probe", &key.add("allocator", allocator).finish(), &Silent, |work| {
        let seen = observed(host, facts).unwrap_or_else(|error| {
            failure = Some(error);
            String::new()
        });
        let complete = Observation::parse(&seen).complete;
        let why = || KitError::Unsupported {
            why: format!("\"{}\" could not be observed to the end", host.display()),
        };
        if complete {
            write_whole(&work.join(SEEN), &seen)
        } else {
            Err(why())
        }
    });
    match (made, failure) {
        (Ok(folder), _) => Ok(Observation::parse(&std::fs::read_to_string(folder.join(SEEN))?)),
        (Err(_), Some(failure)) => Err(failure),
        (Err(error), None) => Err(error.into()),
    }
}

/// The file's name in the cache.
const SEEN: &str = "seen";

/// Observes the V8 of `host` (a node executable, or a shared library with V8 and its libplatform) in a process of its own, for
/// a guest with these facts.
///
/// # Errors
/// See [`ProbeError`]. An observation that broke off is given as far as it went: its missing parts are unknown.
pub fn observe(host: &Path, facts: &Facts) -> Result<Observation, ProbeError> {
    observed(host, facts).map(|text| Observation::parse(&text))
}

fn observed(host: &Path, facts: &Facts) -> Result<String, ProbeError> {
    let work = tempfile::tempdir()?;
    let observer = work.path().join("observe.so");
    std::fs::File::create(&observer)?.write_all(OBSERVER)?;
    let seen = work.path().join("seen");
    let mut command = if is_library(host) { beside(host, &observer)? } else { inside(host, &observer) };
    command.env("RELINK_OBSERVE", &seen).envs(numbers(facts)?);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let how = wait(command.spawn()?)?;
    let ended = |how| ProbeError::Ended { host: host.into(), how };
    let text = std::fs::read_to_string(&seen).map_err(|_| ended(how.clone()))?;
    let found = Observation::parse(&text).truth("isolate");
    found.map(|_| text).ok_or_else(|| ended(how))
}

/// A shared library has no program interpreter of its own to start with, by its name.
fn is_library(host: &Path) -> bool {
    host.file_name().is_some_and(|name| name.to_string_lossy().contains(".so"))
}

/// A node runs the observer as if it were an add-on: V8 is up, and a context is entered.
fn inside(node: &Path, observer: &Path) -> Command {
    let mut command = Command::new(node);
    command.args(["-e", "process.dlopen({ exports: {} }, process.argv[1])"]).arg(observer);
    command.env_remove("NODE_OPTIONS").env_remove("LD_PRELOAD");
    command
}

/// A library is loaded into a program that does nothing; the observer starts V8. ld.so initialises what was preloaded last
/// first.
fn beside(library: &Path, observer: &Path) -> Result<Command, std::io::Error> {
    let library = std::fs::canonicalize(library)?;
    let mut command = Command::new("/proc/self/exe");
    command.arg("--version").env("LD_PRELOAD", format!("{}:{}", observer.display(), library.display()));
    if let Some(folder) = library.parent() {
        command.env("LD_LIBRARY_PATH", folder);
    }
    Ok(command)
}

/// What the observer must know to make objects that V8 calls or reads.
fn numbers(facts: &Facts) -> Result<[(&'static str, String); 2], ProbeError> {
    let resource = facts.vtables.get("v8::String::ExternalOneByteStringResource");
    let slot = |name: &str| resource.and_then(|slots| slots.iter().position(|slot| slot.starts_with(name)));
    let (data, length) = slot("data(").zip(slot("length(")).ok_or(ProbeError::Facts("external strings"))?;
    let params = facts.records.get("v8::Isolate::CreateParams").ok_or(ProbeError::Facts("CreateParams"))?;
    let allocator =
        params.fields.iter().find_map(|f| f.strip_suffix(" array_buffer_allocator")?.split('+').next());
    let allocator = allocator.ok_or(ProbeError::Facts("CreateParams::array_buffer_allocator"))?;
    Ok([
        ("RELINK_OBSERVE_SLOTS", format!("{data},{length}")),
        ("RELINK_OBSERVE_ALLOCATOR", allocator.to_owned()),
    ])
}

/// Waits for the host, which is ended when it takes too long.
fn wait(mut host: Child) -> Result<String, std::io::Error> {
    let start = Instant::now();
    loop {
        if let Some(status) = host.try_wait()? {
            return Ok(status.to_string());
        }
        if start.elapsed() > LIMIT {
            host.kill()?;
            host.wait()?;
            return Ok(format!("ended after {} s", LIMIT.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
