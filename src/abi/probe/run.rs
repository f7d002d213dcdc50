//! Starts the host's file once more, in a process of its own, with the observer in the place of its main function.

use super::apart::Apart;
use super::Observation;
use crate::catalogue::Facts;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use object::elf;
use relink_elf::arch::Arch;
use relink_elf::file::map_file;
use relink_elf::is_program;
use relink_elf::memory_file::memory_file;
use relink_elf::{Dynamic, FileImage, Image};
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// `observe/observe.cc`, compiled by build.rs.
pub(super) const OBSERVER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/observe.so"));

/// How long a host may take. The observer ends its process a little earlier.
const LIMIT: Duration = Duration::from_secs(25);

/// Programs whose main function never runs: one of them carries a shared library.
const CARRIERS: [&str; 3] = ["/bin/true", "/usr/bin/true", "/bin/sh"];

/// The function that the observer stands before.
const START: &[u8] = b"__libc_start_main\0";

/// Why nothing was observed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The host's file can't be read, or no process can be started.
    #[error("\"{}\": {source}", host.display())]
    System {
        /// The file.
        host: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file can't be started so that nothing of its own runs.
    #[error("\"{}\" {why}, so it cannot be started without running something of its own", host.display())]
    Unsuitable {
        /// The file.
        host: PathBuf,
        /// What is in the way.
        why: &'static str,
    },
    /// The guest's facts lack numbers that the observer needs to build objects for V8.
    #[error("the guest's facts lack {0}")]
    Facts(&'static str),
    /// The host's file was started and nothing came of it.
    #[error("\"{}\" was started with the observer in place of its main function and nothing came of it: {why}", host.display())]
    Nothing {
        /// The file.
        host: PathBuf,
        /// The step at which the observer stopped, and the functions that it did not find or what ended it.
        why: String,
    },
}

/// Observes the V8 of `host` (an executable, or a shared library with V8 and its libplatform) in a process of its own, for a
/// guest with these facts. `folders` is the `LD_LIBRARY_PATH` of the process that the host runs in.
///
/// # Errors
/// See [`ProbeError`]. An observation that broke off is given as far as it went: its missing parts are unknown, and
/// [`Observation::broke_off`] says where.
pub fn observe(host: &Path, facts: &Facts, folders: Option<&OsStr>) -> Result<Observation, ProbeError> {
    let numbers = numbers(facts)?;
    let system = |source| ProbeError::System { host: host.into(), source };
    let host = std::fs::canonicalize(host).map_err(system)?;
    let plan = launch(&host, folders)?;
    let first = start(&host, &plan, &numbers);
    match (&first, plan.library.is_some().then(own_program).flatten()) {
        (Err(ProbeError::Nothing { .. }), Some(program)) => {
            start(&host, &Launch { program, ..plan }, &numbers)
        }
        _ => first,
    }
}

/// This process's program, to carry a library that needs it: an interpreter's module has functions of the interpreter's.
fn own_program() -> Option<PathBuf> {
    let path = std::fs::read_link("/proc/self/exe").ok()?;
    let bytes = map_file(&path).ok()?;
    let file = FileImage::parse(&bytes, Arch::native()).ok()?;
    startable(&path, &file.image).ok().map(|()| path)
}

fn start(host: &Path, plan: &Launch, numbers: &[(&str, String)]) -> Result<Observation, ProbeError> {
    let system = |source| ProbeError::System { host: host.into(), source };
    let environment = environment(plan, numbers).map_err(system)?;
    let program = CString::new(plan.program.as_os_str().as_bytes()).map_err(|e| system(e.into()))?;
    let observer = memory_file(OBSERVER, &[], &[], "observer").map_err(system)?;
    super::apart::try_to_run(&observer).map_err(system)?;
    let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(|e| system(e.into()))?;
    let process = Apart {
        program: &program,
        environment: &environment,
        descriptors: &[write.as_fd(), observer.as_fd()],
    };
    process.start().map_err(system)?;
    drop(write);
    let text = read_all(read).map_err(system)?;
    let seen = Observation::parse(&text);
    if seen.truth("undefined").is_some() {
        return Ok(seen);
    }
    let why = seen.broke_off().unwrap_or_else(|| "it could not run a script".to_owned());
    Err(ProbeError::Nothing { host: host.into(), why })
}

/// What is started, and with what.
struct Launch {
    program: PathBuf,
    /// `LD_PRELOAD` after the observer.
    library: Option<PathBuf>,
    folders: Option<Vec<u8>>,
}

fn launch(host: &Path, folders: Option<&OsStr>) -> Result<Launch, ProbeError> {
    let unsuitable = |why| ProbeError::Unsuitable { host: host.into(), why };
    let system = |source| ProbeError::System { host: host.into(), source };
    let bytes = map_file(host).map_err(|e| system(std::io::Error::other(e.to_string())))?;
    let file =
        FileImage::parse(&bytes, Arch::native()).map_err(|e| system(std::io::Error::other(e.to_string())))?;
    let given = folders.map(|f| f.as_bytes().to_vec()).filter(|f| !f.is_empty());
    if is_program(&file) {
        startable(host, &file.image).map_err(unsuitable)?;
        return Ok(Launch { program: host.into(), library: None, folders: given });
    }
    if host.as_os_str().as_bytes().iter().any(|byte| b": \t\n".contains(byte)) {
        return Err(unsuitable("has a blank or a colon in its path, which LD_PRELOAD cannot hold"));
    }
    let own = host.parent().map(|folder| folder.as_os_str().as_bytes().to_vec()).unwrap_or_default();
    let carrier = CARRIERS.into_iter().map(Path::new).find(|path| path.is_file());
    Ok(Launch {
        program: carrier
            .ok_or_else(|| unsuitable("is a library, and there is no program to carry it"))?
            .into(),
        library: Some(host.into()),
        folders: Some([Some(own), given].into_iter().flatten().collect::<Vec<_>>().join(&b':')),
    })
}

/// Whether ld.so would load the observer into this program and the C library call it.
fn startable(path: &Path, image: &Image) -> Result<(), &'static str> {
    if image.header(elf::PT_INTERP).is_none() {
        return Err("is statically linked");
    }
    let mode = std::fs::metadata(path).map_err(|_| "cannot be read")?.permissions().mode();
    if mode & 0o6000 != 0 || has_capabilities(path) {
        return Err("runs with more rights than its starter's");
    }
    preload_works()?;
    let dynamic = Dynamic::parse(image).map_err(|_| "has no dynamic section that can be read")?;
    let names = dynamic.address(elf::DT_STRTAB).zip(dynamic.value(elf::DT_STRSZ));
    let names =
        names.and_then(|(at, size)| image.bytes("names of symbols", at, size).ok()).unwrap_or_default();
    match memchr::memmem::find(names, START) {
        Some(_) => Ok(()),
        None => Err("does not start by way of the C library"),
    }
}

/// Whether ld.so in a program that is started now would find the observer and not leave it out: where it did, the program's own
/// main function would run.
fn preload_works() -> Result<(), &'static str> {
    if !Path::new("/proc/self/fd").is_dir() {
        return Err("would not find the observer without /proc");
    }
    if super::apart::with_more_rights() {
        return Err("is in a process with more rights than its starter's");
    }
    // Security modules can make a program's start one in which ld.so leaves LD_PRELOAD out.
    let label = std::fs::read("/proc/self/attr/current").unwrap_or_default();
    let label = String::from_utf8_lossy(&label);
    let label = label.trim_matches(|c: char| c == '\0' || c.is_whitespace());
    if !(label.is_empty() || label == "unconfined" || label.contains(":unconfined_t:")) {
        return Err("is confined by a security module");
    }
    Ok(())
}

/// File capabilities make ld.so ignore `LD_PRELOAD`, as set-user-ID does.
fn has_capabilities(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return true };
    super::apart::has_attribute(&path, c"security.capability")
}

fn environment(launch: &Launch, numbers: &[(&str, String)]) -> std::io::Result<Vec<CString>> {
    // Descriptor 3 is what the observer writes to, 4 is the observer.
    let mut preload = b"LD_PRELOAD=/proc/self/fd/4".to_vec();
    if let Some(library) = &launch.library {
        preload.push(b':');
        preload.extend(library.as_os_str().as_bytes());
    }
    let folders = launch.folders.iter().map(|folders| [b"LD_LIBRARY_PATH=", folders.as_slice()].concat());
    let numbers = numbers.iter().map(|(name, value)| format!("{name}={value}").into_bytes());
    let all = std::iter::once(preload).chain(folders).chain(numbers);
    all.map(|text| Ok(CString::new(text)?)).collect()
}

/// Everything up to the end of all writers, or of the time.
fn read_all(from: OwnedFd) -> std::io::Result<String> {
    let start = Instant::now();
    let mut file = File::from(from);
    let (mut all, mut part) = (Vec::new(), [0; 65536]);
    while let Some(left) = LIMIT.checked_sub(start.elapsed()) {
        let wait = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLIN)], wait) {
            Ok(0) => break,
            Ok(_) => match file.read(&mut part)? {
                0 => break,
                count => all.extend_from_slice(&part[..count]),
            },
            Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(String::from_utf8_lossy(&all).into_owned())
}

/// What the observer must know to make objects that V8 calls or reads.
fn numbers(facts: &Facts) -> Result<[(&'static str, String); 3], ProbeError> {
    let slots = |resource: &str| {
        let list = facts.vtables.get(resource)?;
        let slot = |name: &str| list.iter().position(|slot| slot.starts_with(name));
        Some(format!("{},{}", slot("data(")?, slot("length(")?))
    };
    let strings = |kind: &str| slots(kind).ok_or(ProbeError::Facts("external strings"));
    let params = facts.records.get("v8::Isolate::CreateParams").ok_or(ProbeError::Facts("CreateParams"))?;
    let allocator =
        params.fields.iter().find_map(|f| f.strip_suffix(" array_buffer_allocator")?.split('+').next());
    let allocator = allocator.ok_or(ProbeError::Facts("CreateParams::array_buffer_allocator"))?;
    Ok([
        ("RELINK_OBSERVE_SLOTS", strings("v8::String::ExternalOneByteStringResource")?),
        ("RELINK_OBSERVE_WIDE_SLOTS", strings("v8::String::ExternalStringResource")?),
        ("RELINK_OBSERVE_ALLOCATOR", allocator.to_owned()),
    ])
}
