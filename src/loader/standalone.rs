//! A process of our own on a chosen V8: Node owns it, as in `node` itself, but V8 comes from another library.
//!
//! Here the guest is bound to the provider with no platform bridge and no guards but those for add-ons: signals, standard streams, V8's flags and
//! its start belong to Node, because nobody else is there. What is left is the binding itself, which is what Node's own
//! tests then judge.
//!
//! Which parts are used: `RELINK_V8` and `RELINK_GUEST`, else a file beside the program ([`BESIDE`]), else the kit's. The file
//! is for children: a script may start them through `process.execPath` with an environment that has none of ours.
//!
//! # Safety
//! The provider's and the guest's code runs in this process as if they had been linked together.

use crate::config;
use crate::guest::{closure, stage};
use crate::pipeline::{self, SharedReport, Wanted};
use crate::runtime::{addons, unpacked};
use crate::stages::{Inputs, Terms, Units};
use relink_abi::adapters;
use relink_abi::error::Error;
use relink_abi::kept::{self, KeptGuest, DEFAULT_LINE};
use relink_abi::line::Bridges;
use relink_elf::cache;
use std::ffi::{c_char, c_int};
use std::path::{Path, PathBuf};

/// The library whose V8 is used; by default Debian's libnode108 from the kit's cache.
pub const V8: &str = "RELINK_V8";

pub use crate::runtime::runner::BESIDE;

/// What [`BESIDE`] says.
#[derive(Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beside {
    /// The library whose V8 is used.
    pub v8: Option<PathBuf>,
    /// The guest.
    pub guest: Option<PathBuf>,
}

impl Beside {
    /// Reads the file beside the running program; without one nothing is said.
    fn read() -> Result<Self, Error> {
        let bad = |why: String| Error::Setting { name: BESIDE, why };
        let program =
            std::env::current_exe().map_err(|e| bad(format!("the program's own path is unknown: {e}")))?;
        let folder = program.parent().unwrap_or(Path::new("/"));
        let Ok(text) = std::fs::read_to_string(folder.join(BESIDE)) else { return Ok(Self::default()) };
        let said: Self =
            serde_json::from_str(&text).map_err(|e| bad(format!("in {} is wrong: {e}", folder.display())))?;
        let place = |path: Option<PathBuf>| path.map(|p| folder.join(p));
        Ok(Self { v8: place(said.v8), guest: place(said.guest) })
    }
}

/// `int node::Start(int argc, char* argv[])` (node.h): Node's whole life, from options to exit code.
const START: &str = "_ZN4node5StartEiPPc";

/// Runs Node on the provider's V8 and returns its exit code.
///
/// # Safety
/// `argv` is the vector that `main` was called with: `argc` strings in one piece of memory (libuv writes process titles
/// there), then null. Nothing else runs in this process.
pub unsafe fn node(argc: c_int, argv: *mut *mut c_char, bridges: Bridges) -> Result<c_int, Error> {
    let beside = Beside::read()?;
    let provider = chosen(V8, beside.v8, || kept::libv8(&cache::place()?))?;
    let kept_guest = || Some(KeptGuest::read(&cache::place()?, DEFAULT_LINE, true)?.library);
    let guest = chosen(config::GUEST, beside.guest, kept_guest)?;
    load_provider(&provider)?;
    let part = provider.to_string_lossy();
    let wanted = Wanted {
        guest: &guest,
        provider: Some(&part),
        terms: Terms {
            bridges: Some(bridges),
            // Node would give V8 its platform, which is of another V8.
            units: Units::None,
            adapters: adapters::for_an_owner,
            guards: [unpacked::guards(&guest), addons::guards()].concat(),
            shared: false,
        },
        probe: None,
    };
    let (inputs, report) = (Inputs::default(), SharedReport::default());
    let verified = pipeline::prepare(&inputs, &wanted, &report)?;
    let (start, _running) = pipeline::bind(verified, false, &report)?.enter(START)?;
    // SAFETY: the address is that of `node::Start`, whose slots are bound and whose image is initialised.
    let start: extern "C" fn(c_int, *mut *mut c_char) -> c_int =
        unsafe { std::mem::transmute(start.0 as usize) };
    Ok(start(argc, argv))
}

/// The file that a variable names, or else the one that lies beside the program, or else the kit's.
fn chosen(
    name: &'static str,
    beside: Option<PathBuf>,
    default: impl FnOnce() -> Option<PathBuf>,
) -> Result<PathBuf, Error> {
    let named = std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from).or(beside);
    let why = || Error::Setting {
        name,
        why: "is not set and the kit has none; run `relink host fetch` and `relink guest build`".into(),
    };
    let path = named.or_else(default).ok_or_else(why)?;
    path.canonicalize().map_err(|source| Error::GuestFile { path, source })
}

/// Loads the provider after the libraries that lie beside it, dependencies first.
fn load_provider(provider: &Path) -> Result<(), Error> {
    let folder = provider.parent().unwrap_or(Path::new("/"));
    let name = provider.file_name().unwrap_or_default().to_string_lossy();
    for library in closure::load_order(folder, &[&name], &mut closure::needed_by)? {
        // SAFETY: the provider that was asked for, and what it needs; this process is there to run them.
        unsafe { stage::load_dependency(&library) }?;
    }
    Ok(())
}
