//! `librelink_loader.so`: Relink as a loader of MetaCall's core, or of another that speaks its interface.
//!
//! It is librelink.so under a second name, for a process has one Relink only: its guards, the guest that there is and the hook
//! in the host's platform are per process. The core asks a library named after a tag for `TAG_loader_impl_interface_singleton`;
//! both `relink` and `node` are answered, so the library can also stand in for a core's own `libnode_loader.so`.
//!
//! # Safety
//! The core calls each function with what its header says (abi.rs); handles and data that it brings back were made here.

mod abi;
mod functions;
mod session;
mod values;

use crate::answer::No;
use crate::embed::{self, Wanted};
use abi::{text, Core, Interface, Kind, Opaque, PATH};
use functions::told;
use relink_abi::error::Error;
use relink_loader::log::{self, Level};
use serde_json::{json, Value as Json};
use session::Session;
use std::ffi::{c_char, c_int, CStr};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::PathBuf;
use std::ptr::null_mut;
use std::sync::{Arc, OnceLock};

/// The guest for a core whose configuration names none.
const GUEST: &str = "RELINK_LOADER_GUEST";

static INTERFACE: Interface = Interface {
    initialize,
    execution_path,
    load_from_file,
    load_from_memory,
    load_from_package,
    clear,
    discover,
    destroy,
};

/// The interface, for the tag `relink`.
#[no_mangle]
pub extern "C" fn relink_loader_impl_interface_singleton() -> *const Interface {
    &INTERFACE
}

/// The interface, for the tag `node`.
#[no_mangle]
pub extern "C" fn node_loader_impl_interface_singleton() -> *const Interface {
    &INTERFACE
}

/// What is loaded, as the core keeps it: the number in loader.js.
struct Handle(u64);

/// One line on standard error.
fn tell(why: &str) {
    log::tell(Level::Error, &format!("loader: {why}"));
}

/// Nothing of ours may unwind into the core.
fn guarded<T>(otherwise: T, work: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(otherwise)
}

fn status(result: Option<()>) -> c_int {
    c_int::from(result.is_none())
}

unsafe extern "C" fn initialize(loader: Opaque, configuration: Opaque) -> Opaque {
    guarded(null_mut(), || {
        // SAFETY: the core's own.
        match unsafe { begin(loader, configuration) } {
            Ok(session) => Arc::into_raw(session).cast_mut().cast(),
            Err(no) => {
                tell(&no.why);
                null_mut()
            }
        }
    })
}

/// # Safety
/// As for [`initialize`].
unsafe fn begin(loader: Opaque, configuration: Opaque) -> Result<Arc<Session>, No> {
    let core = core()?;
    // SAFETY: promised by the caller.
    let wanted = unsafe { wanted(core, configuration) }?;
    let runtime = embed::create(wanted)?;
    let session = Session::begin(core, Arc::clone(&runtime));
    let session = session.map_err(|why| {
        // Why it did not begin is what matters.
        drop(embed::destroy(&runtime, u32::MAX));
        No::from(Error::Internal(why))
    })?;
    // SAFETY: promised by the caller.
    unsafe { (core.loader_initialization_register)(loader) };
    Ok(session)
}

/// The core, which stays the same.
fn core() -> Result<&'static Core, Error> {
    static CORE: OnceLock<Core> = OnceLock::new();
    if let Some(core) = CORE.get() {
        return Ok(core);
    }
    let found = Core::find()?;
    Ok(CORE.get_or_init(|| found))
}

/// # Safety
/// `configuration` is null or one of the core's.
unsafe fn wanted(core: &Core, configuration: Opaque) -> Result<Wanted, No> {
    // SAFETY: promised by the caller.
    let setting = |name: &CStr| unsafe { setting(core, configuration, name) };
    let named = std::env::var_os(GUEST).filter(|value| !value.is_empty()).map(PathBuf::from);
    let guest = named.or_else(|| setting(c"guest").map(PathBuf::from)).or_else(beside);
    let missing = || {
        Error::Setting {
        name: GUEST,
        why: "no guest is named; set it, or \"guest\" in relink_loader.json, to the libnode to bring in, or put one guest \
              (libnode*.so*) beside this library"
            .into(),
    }
    };
    let guest = std::path::absolute(guest.ok_or_else(missing)?);
    let guest = guest.map_err(|e| Error::Setting { name: GUEST, why: e.to_string() })?;
    let node_args = setting(c"node_args").map(|text| text.split_whitespace().map(String::from).collect());
    Wanted::staying(guest, node_args.unwrap_or_default(), setting(c"provider"))
}

/// A text of the configuration's.
///
/// # Safety
/// As for [`wanted`].
unsafe fn setting(core: &Core, configuration: Opaque, name: &CStr) -> Option<String> {
    if configuration.is_null() {
        return None;
    }
    // SAFETY: promised by the caller; what is found is a string value of the core's.
    unsafe {
        let found = (core.configuration_value_type)(configuration, name.as_ptr(), Kind::String as c_int);
        (!found.is_null()).then(|| text((core.value_to_string)(found)))
    }
}

/// The one guest in the folder of this library.
fn beside() -> Option<PathBuf> {
    let name = |path: &PathBuf| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("libnode"));
    let guest = |path: &PathBuf| {
        name(path) && path.to_string_lossy().contains(".so") && !path.ends_with("libnode_loader.so")
    };
    let found = std::fs::read_dir(own_folder()?).ok()?.flatten().map(|entry| entry.path());
    let found: Vec<PathBuf> = found.filter(guest).collect();
    let [only] = &found[..] else { return None };
    // Its libraries lie beside the file itself.
    only.canonicalize().ok()
}

/// The folder that this library was loaded from.
fn own_folder() -> Option<PathBuf> {
    // SAFETY: all zero is a valid value of this structure of pointers.
    let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
    let here = std::ptr::from_ref(&INTERFACE).cast();
    // SAFETY: the structure is ours; ld.so's name for this library lives as long as it.
    let path = unsafe { (libc::dladdr(here, &raw mut info) != 0).then(|| text(info.dli_fname)) }?;
    PathBuf::from(path).parent().map(PathBuf::from)
}

/// The guest of a loader.
///
/// # Safety
/// `loader` is the core's; its data is what [`initialize`] gave.
unsafe fn session(loader: Opaque) -> Option<Arc<Session>> {
    let core = core().ok()?;
    // SAFETY: promised by the caller; the count is raised for the one that is given out.
    unsafe {
        let data = (core.loader_impl_get)(loader).cast::<Session>().cast_const();
        (!data.is_null()).then(|| {
            Arc::increment_strong_count(data);
            Arc::from_raw(data)
        })
    }
}

unsafe extern "C" fn execution_path(loader: Opaque, path: *const c_char) -> c_int {
    guarded(1, || {
        // SAFETY: the core's own.
        let (session, path) = unsafe { (session(loader), text(path)) };
        let added = session.and_then(|session| told("execution path", session.call("path", &[json!(path)])));
        status(added.map(drop))
    })
}

/// Has something loaded. What the core gets is a new address for each, for it tells handles apart by that.
///
/// # Safety
/// As for [`session`].
unsafe fn load(loader: Opaque, what: &str, args: &[Json]) -> Opaque {
    // SAFETY: promised by the caller.
    let Some(session) = (unsafe { session(loader) }) else { return null_mut() };
    let loaded = told(what, session.call("load", args));
    let number = loaded.and_then(|number| number.as_u64());
    number.map_or(null_mut(), |number| Box::into_raw(Box::new(Handle(number))).cast())
}

unsafe extern "C" fn load_from_file(
    loader: Opaque,
    paths: *const [c_char; PATH],
    count: usize,
    _: Opaque,
) -> Opaque {
    guarded(null_mut(), || {
        // SAFETY: so many NUL-terminated strings, one after the other.
        let names: Vec<String> = (0..count).map(|n| unsafe { text(paths.add(n).cast()) }).collect();
        let what = format!("cannot load {}", names.join(", "));
        // SAFETY: the core's own.
        unsafe { load(loader, &what, &[json!("files"), json!(names)]) }
    })
}

unsafe extern "C" fn load_from_memory(
    loader: Opaque,
    name: *const c_char,
    source: *const c_char,
    size: usize,
    _: Opaque,
) -> Opaque {
    guarded(null_mut(), || {
        // SAFETY: so many bytes; the last of them may be the zero that ends a string.
        let bytes = unsafe { std::slice::from_raw_parts(source.cast::<u8>(), size) };
        let source = String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned();
        // SAFETY: the core's own.
        unsafe {
            let name = text(name);
            let what = format!("cannot load the script \"{name}\" from memory");
            load(loader, &what, &[json!("text"), json!(name), json!(source)])
        }
    })
}

unsafe extern "C" fn load_from_package(loader: Opaque, path: *const c_char, _: Opaque) -> Opaque {
    guarded(null_mut(), || {
        // SAFETY: the core's own.
        unsafe {
            let name = text(path);
            load(loader, &format!("cannot load the package {name}"), &[json!("package"), json!(name)])
        }
    })
}

unsafe extern "C" fn clear(loader: Opaque, handle: Opaque) -> c_int {
    guarded(1, || {
        // SAFETY: a handle that was made above and is given back once.
        let (session, handle) = unsafe { (session(loader), Box::from_raw(handle.cast::<Handle>())) };
        let Some(session) = session else { return 1 };
        status(told("cannot clear", session.call("clear", &[handle.0.into()])).map(drop))
    })
}

unsafe extern "C" fn discover(loader: Opaque, handle: Opaque, context: Opaque) -> c_int {
    guarded(1, || {
        // SAFETY: a handle that was made above.
        let (session, handle) = unsafe { (session(loader), &*handle.cast::<Handle>()) };
        status(session.and_then(|session| told("cannot discover", session.discover(handle.0, context))))
    })
}

/// The core's pointer to a loader, on its way to the guest's thread.
struct Sent(Opaque);
// SAFETY: the core says itself that its loaders end on the thread that they run scripts on.
unsafe impl Send for Sent {}

impl Sent {
    fn get(self) -> Opaque {
        self.0
    }
}

unsafe extern "C" fn destroy(loader: Opaque) -> c_int {
    guarded(1, || {
        // SAFETY: the core's own.
        let Some(session) = (unsafe { session(loader) }) else { return 1 };
        let (core, sent) = (session.core, Sent(loader));
        // SAFETY: the core's own.
        let ended = session.end(move || unsafe { (core.loader_unload_children)(sent.get()) });
        // SAFETY: what `initialize` gave is the core's no longer.
        drop(unsafe { Arc::from_raw(Arc::as_ptr(&session)) });
        status(told("cannot end", ended))
    })
}
