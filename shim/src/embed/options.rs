//! `relink_options` of shim/include/relink.h, read.
//!
//! # Safety
//! The structure and what it points at are the caller's, who promises that they are what the header says.

use crate::answer::{Answer, No};
use crate::header::{
    RELINK_OK, RELINK_OWN_THREAD, RELINK_SHARED, RELINK_STAY, RELINK_THREW, RELINK_TICKED, RELINK_UNKNOWN,
};
use relink_loader::config::{self, Config};
use relink_loader::log::Level;
use relink_loader::runtime::shared::SharedIsolate;
use relink_loader::runtime::withheld;
use serde_json::{json, Map, Value};
use std::ffi::{c_char, c_uint, CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use crate::header::relink_options as Options;

/// The structure's first version, without what comes from `isolate` on. It is what hosts were compiled with.
const FIRST_SIZE: usize = std::mem::offset_of!(Options, isolate);
const _: () = assert!(FIRST_SIZE == 96);

/// The second, without what comes from `script_deadline_ms` on.
const SECOND_SIZE: usize = std::mem::offset_of!(Options, script_deadline_ms);
const _: () = assert!(SECOND_SIZE == 120);

const OWN_THREAD: c_uint = RELINK_OWN_THREAD as c_uint;
const TICKED: c_uint = RELINK_TICKED as c_uint;
const SHARED: c_uint = RELINK_SHARED as c_uint;
const STAY: c_uint = RELINK_STAY as c_uint;

/// What a host asks for.
#[derive(Debug)]
pub struct Wanted {
    /// Guest, script and arguments.
    pub config: Config,
    /// Whether the guest is ticked.
    pub ticked: bool,
    /// Whether it stays when it has nothing to do.
    pub stay: bool,
    /// How long scripts may keep the host's thread, in milliseconds; 0: for ever.
    pub script_deadline_ms: u32,
    /// What scripts may not do.
    pub disallow: Vec<String>,
    /// For the bootstrap script.
    pub settings: String,
}

impl Wanted {
    /// A guest on a thread of its own, without a script, that stays until it is taken out.
    pub fn staying(guest: PathBuf, node_args: Vec<String>, provider: Option<String>) -> Result<Self, No> {
        Ok(Self {
            config: Config { node_args, provider, ..Self::config(guest)? },
            ticked: false,
            stay: true,
            script_deadline_ms: 0,
            disallow: Vec::new(),
            settings: settings(None, None, Value::Null, &[], false),
        })
    }

    /// What is not asked for.
    ///
    /// # Errors
    /// `RELINK_PROBE` has a value that it cannot have.
    pub fn config(guest: PathBuf) -> Result<Config, No> {
        let get = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Ok(Config {
            guest,
            script: PathBuf::new(),
            args: Vec::new(),
            node_args: Vec::new(),
            report: None,
            log: Level::Error,
            provider: None,
            wait: Duration::ZERO,
            inherit: false,
            host: None,
            audit: false,
            catalogue: None,
            adapters: get(config::ADAPTERS).map(PathBuf::from),
            probe: config::probe(get)?,
            shared: None,
            max_heap_mib: 0,
            cwd: None,
            stack_kib: 0,
        })
    }

    /// Reads and checks the options.
    ///
    /// # Safety
    /// `options` is null or what the header says.
    pub unsafe fn read(options: *const Options) -> Result<Self, No> {
        if options.is_null() {
            return Err(Answer::Argument.because("the options are a null pointer"));
        }
        // SAFETY: the size comes first in every version of the structure.
        let size = unsafe { options.cast::<c_uint>().read() };
        let size = size as usize;
        if ![FIRST_SIZE, SECOND_SIZE, size_of::<Options>()].contains(&size) {
            let why = format!("relink_options.size is {size}, this library's is {}", size_of::<Options>());
            return Err(Answer::Argument.because(why));
        }
        // SAFETY: integers and pointers may all be zero, which is what is not asked for.
        let mut whole: Options = unsafe { std::mem::zeroed() };
        // SAFETY: the caller's structure has this size (promised), and ours no less.
        unsafe { options.cast::<u8>().copy_to_nonoverlapping((&raw mut whole).cast(), size) };
        // SAFETY: promised by the caller.
        unsafe { whole.wanted() }
    }

    /// # Safety
    /// As for [`Wanted::read`].
    unsafe fn of(options: &Options) -> Result<Self, No> {
        let path = |at| -> Result<Option<PathBuf>, No> {
            // SAFETY: a string or null, promised by the caller.
            let Some(path) = (unsafe { text(at) })? else { return Ok(None) };
            let absolute = std::path::absolute(&path);
            absolute.map(Some).map_err(|e| Answer::Argument.because(format!("\"{path}\": {e}")))
        };
        let guest = path(options.guest)?;
        let guest = guest.ok_or_else(|| Answer::Argument.because("relink_options.guest is needed"))?;
        let script = path(options.script)?;
        let cwd = path(options.cwd)?;
        // SAFETY: lists, promised by the caller.
        let (args, node_args, env, disallow) = unsafe {
            (list(options.args)?, list(options.node_args)?, list(options.env)?, list(options.disallow)?)
        };
        // SAFETY: as above.
        let provider = unsafe { text(options.provider) }?;
        let env = if options.env.is_null() { Value::Null } else { variables(&env).into() };
        let settings = settings(script.as_deref(), cwd.as_deref(), env, &disallow, options.mode == SHARED);
        Ok(Self {
            stay: script.is_none() || options.flags & STAY != 0,
            config: Config {
                script: script.unwrap_or_default(),
                args,
                node_args,
                report: path(options.report)?,
                provider,
                wait: Duration::from_millis(u64::from(options.wait_ms)),
                // SAFETY: as above.
                shared: unsafe { options.shared() }?,
                max_heap_mib: options.max_heap_mib,
                cwd,
                stack_kib: config::stack_kib_fits(options.stack_kib)
                    .map_err(|e| Answer::Argument.because(e.to_string()))?,
                ..Self::config(guest)?
            },
            ticked: matches!(options.mode, TICKED | SHARED),
            script_deadline_ms: options.script_deadline_ms,
            disallow,
            settings,
        })
    }
}

impl Options {
    /// The host's isolate, in shared mode.
    ///
    /// # Safety
    /// As for [`Wanted::read`].
    unsafe fn shared(&self) -> Result<Option<SharedIsolate>, No> {
        let given = [self.isolate.is_null(), self.context.is_null(), self.expose.is_null()].map(|null| !null);
        if self.mode != SHARED {
            let why = "isolate, context and expose are for the mode RELINK_SHARED";
            return if given.contains(&true) { Err(Answer::Argument.because(why)) } else { Ok(None) };
        }
        // SAFETY: promised by the caller.
        let Some(name) = unsafe { text(self.expose) }?.filter(|_| !given.contains(&false)) else {
            return Err(Answer::Argument.because("the mode RELINK_SHARED needs isolate, context and expose"));
        };
        if self.max_heap_mib != 0 {
            return Err(Answer::Argument.because("max_heap_mib: in shared mode the heap is the host's"));
        }
        let name = CString::new(name).map_err(|_| Answer::Argument.because("expose has a zero byte"))?;
        Ok(Some(SharedIsolate { isolate: self.isolate as usize, context: self.context as usize, name }))
    }

    /// # Safety
    /// As for [`Wanted::read`].
    unsafe fn wanted(&self) -> Result<Wanted, No> {
        let is_known = matches!(self.mode, OWN_THREAD | TICKED | SHARED);
        if !is_known || self.flags & !STAY != 0 || self.reserved != 0 {
            return Err(Answer::Argument.because("relink_options has a mode or flag that is unknown here"));
        }
        // SAFETY: promised by the caller.
        let wanted = unsafe { Wanted::of(self) }?;
        known(&wanted.disallow, &wanted.config.node_args).map_err(|why| Answer::Argument.because(why))?;
        if !wanted.ticked && wanted.script_deadline_ms != 0 {
            let why = "script_deadline_ms: a guest on a thread of its own keeps none of the host's";
            return Err(Answer::Argument.because(why));
        }
        if wanted.ticked && wanted.config.cwd.is_some() {
            let why = "cwd: the thread that ticks the guest is the host's, and so is its working directory";
            return Err(Answer::Argument.because(why));
        }
        Ok(wanted)
    }
}

/// What the bootstrap script is told (shim/js/bootstrap.js).
pub fn settings(
    script: Option<&Path>,
    cwd: Option<&Path>,
    env: Value,
    disallow: &[String],
    exposes: bool,
) -> String {
    let text = |path: Option<&Path>| path.map(|p| p.to_string_lossy().into_owned());
    let version = env!("CARGO_PKG_VERSION");
    json!({
        "version": version, "script": text(script), "cwd": text(cwd), "env": env, "disallow": disallow,
        "exposes": exposes, "answers": { "OK": RELINK_OK, "THREW": RELINK_THREW, "UNKNOWN": RELINK_UNKNOWN },
    })
    .to_string()
}

/// Whether all of these can be withheld from a guest with such options; the error says what cannot.
pub fn known(disallow: &[String], node_args: &[String]) -> Result<(), String> {
    if let Some(name) = disallow.iter().find(|name| !withheld::NAMES.contains(&name.as_str())) {
        return Err(format!("disallow: \"{name}\" is none of {}", withheld::NAMES.join(", ")));
    }
    let own = std::env::var(config::NODE_OPTIONS);
    let of_the_process = own.or_else(|_| std::env::var("NODE_OPTIONS")).unwrap_or_default();
    let mut options = node_args.iter().map(String::as_str).chain(of_the_process.split_whitespace());
    let opened = options.find(|option| option.trim_matches('"').starts_with("--inspect"));
    match opened.filter(|_| disallow.iter().any(|name| name == "inspector")) {
        Some(option) => Err(format!("disallow: the inspector is withheld, but {option} asks for it")),
        None => Ok(()),
    }
}

fn variables(pairs: &[String]) -> Map<String, Value> {
    pairs.iter().filter_map(|p| p.split_once('=')).map(|(n, v)| (n.to_owned(), v.into())).collect()
}

/// A string, or nothing.
///
/// # Safety
/// `at` is null or a NUL-terminated string.
pub unsafe fn text(at: *const c_char) -> Result<Option<String>, No> {
    if at.is_null() {
        return Ok(None);
    }
    // SAFETY: promised by the caller.
    let bytes = unsafe { CStr::from_ptr(at) }.to_bytes();
    let wrong = |_| Answer::Argument.because(format!("{:?} is not UTF-8", OsStr::from_bytes(bytes)));
    std::str::from_utf8(bytes).map(|text| Some(text.to_owned())).map_err(wrong)
}

/// # Safety
/// `at` is null or a vector of strings that ends with a null pointer.
unsafe fn list(at: *const *const c_char) -> Result<Vec<String>, No> {
    let mut found = Vec::new();
    let mut next = at;
    // SAFETY: null ends the vector, or is given in place of one.
    while !next.is_null() && !unsafe { *next }.is_null() {
        // SAFETY: a string of the vector.
        found.extend(unsafe { text(*next) }?);
        // SAFETY: the vector goes on to its null.
        next = unsafe { next.add(1) };
    }
    Ok(found)
}
