//! Native add-ons: guards in the place of `dlopen`, `dlclose` and `dlerror` in the slots of the guest, of its libraries and of
//! add-ons. A library that refers to V8 or to Node is loaded as a private copy that is bound to the host's V8 and to this
//! guest ([`binding`]), with those of its libraries that do so as well ([`libraries`]); every other one is ld.so's as always.
//! What is returned is ld.so's own handle, so `dlsym` works.
//!
//! Opened twice, the same file is one image. Closed as often as opened, it is unloaded where the process is Node's own; beside
//! a host it stays until the guest is unloaded, for its destructors run then and its threads may still run, and `dlclose`
//! says that it did not close, so that Node keeps what the add-on has registered.
//!
//! An add-on's code may do anything, so no lock is held while it runs ([`loaded`]), and an initialiser that does not return is
//! left: `dlopen` fails then, and what is further out on the stack goes on.
//!
//! # Safety
//! The guards have the signatures of the libc functions they replace and are called with arguments that libc would accept.
//! Initialisers run when every slot is bound, finalisers when Node has closed the image, as ld.so would run them.

mod binding;
mod callers;
mod libraries;
mod loaded;

pub use binding::{Known, World};
pub(super) use loaded::abandoned_here;
pub use loaded::{take, Loaded};

use super::{lifecycle, mappings, protected, remains, withheld};
use crate::plan::Guard;
use callers::Answer;
use relink_abi::error::Error;
use relink_abi::symbol::{owner, Owner};
use relink_elf::address::RunAddr;
use relink_elf::file::FileOnDisk;
use std::cell::RefCell;
use std::ffi::{c_char, c_int, c_void, CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

static WORLD: Mutex<Option<Arc<World>>> = Mutex::new(None);

thread_local! {
    /// The message for the next `dlerror`, and the one that the last gave out.
    static MESSAGES: RefCell<(Option<CString>, Option<CString>)> = const { RefCell::new((None, None)) };
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The guards, for the plan.
pub fn guards() -> Vec<Guard> {
    let guard = |symbol, function: *const ()| {
        let keeps = "add-ons are bound to the host's V8 and to the guest";
        Guard { symbol, address: RunAddr(function as usize as u64), keeps }
    };
    vec![
        guard("dlopen", callers::dlopen()),
        guard("dlclose", dlclose as *const ()),
        guard("dlerror", dlerror as *const ()),
    ]
}

/// Tells what add-ons are to be bound to, before the guest is entered.
pub fn know(mut world: World) {
    let of_add_ons = |symbol, function: *const (), keeps| {
        let address = RunAddr(function as usize as u64);
        Guard { symbol, address, keeps }
    };
    let own_file = "an add-on finds its own file, and not the private copy";
    let by_name = "names of Node's and V8's are looked up in the guest and in the host's V8";
    world.guards.push(of_add_ons("dlsym", callers::dlsym(), by_name));
    world.guards.push(of_add_ons("dladdr", dladdr as *const (), own_file));
    world.guards.push(of_add_ons("dlinfo", dlinfo as *const (), own_file));
    if world.keeps_closed() {
        // The C library's part of it, which Rust's own library calls.
        let keeps =
            "an add-on's thread-local variables on a thread of the host's go when the guest is unloaded";
        let function = remains::cxa_thread_atexit as *const ();
        world.guards.push(of_add_ons("__cxa_thread_atexit_impl", function, keeps));
        world.guards.extend(mappings::guards());
    }
    *lock(&WORLD) = Some(Arc::new(world));
}

/// Run-time addresses of these names as the guest's images define them, whether they export them or not.
pub fn find(names: &[&str]) -> Result<Vec<Option<RunAddr>>, Error> {
    let world = lock(&WORLD).clone();
    world.map_or_else(|| Ok(vec![None; names.len()]), |world| world.find_all(names))
}

/// The guest goes: there is nothing any more that add-ons could be bound to.
pub fn forget() {
    *lock(&WORLD) = None;
}

impl World {
    /// Whether closed add-ons stay loaded: what they registered to be run at exit is run when the guest is unloaded.
    fn keeps_closed(&self) -> bool {
        self.guards.iter().any(|guard| guard.symbol == "__cxa_atexit")
    }
}

/// `caller`: the run-time address that the call returns to.
extern "C" fn dlopen(path: *const c_char, flags: c_int, caller: usize) -> Answer {
    say(None);
    if !withheld::may_load_add_ons() {
        say(Some("add-ons are not allowed in this guest".into()));
        return Answer::with(std::ptr::null_mut());
    }
    let world = lock(&WORLD).clone();
    let (Some(world), false) = (world, path.is_null()) else { return Answer::PASSED_ON };
    // SAFETY: dlopen wants a NUL-terminated path.
    let name = unsafe { CStr::from_ptr(path) };
    match catch_unwind(AssertUnwindSafe(|| find_and_open(&world, name, flags, caller))) {
        Ok(Ok(Some(handle))) => Answer::with(handle),
        Ok(Ok(None)) => Answer::PASSED_ON,
        Ok(Err(error)) => Answer::with(failed(&error)),
        Err(_) => Answer::with(failed(&Error::Internal("a panic while an add-on was loaded".into()))),
    }
}

fn failed(error: &Error) -> *mut c_void {
    say(Some(error.line()));
    std::ptr::null_mut()
}

/// Sets the message of the next `dlerror` of this thread.
fn say(line: Option<String>) {
    let line = line.and_then(|line| CString::new(line).ok());
    // A thread that is past its thread-local storage asks for no message any more.
    let _ = MESSAGES.try_with(|messages| messages.borrow_mut().0 = line);
}

/// The handle of what an add-on, or the guest, calls by this name; `None` for what is ld.so's to load, or to refuse.
fn find_and_open(
    world: &World,
    name: &CStr,
    flags: c_int,
    caller: usize,
) -> Result<Option<*mut c_void>, Error> {
    let caller = loaded::at(RunAddr(caller as u64), |image, _| (image.path.clone(), image.folders.clone()));
    let (path, folders) = caller.unwrap_or_default();
    let (own, text) = (path.parent().unwrap_or(Path::new("")), name.to_bytes());
    let is_bare = !text.contains(&b'/');
    let meant = if is_bare {
        folders.iter().map(|folder| folder.join(OsStr::from_bytes(text))).find(|path| path.is_file())
    } else {
        from_origin(text, own)
    };
    let Some(meant) = meant else {
        // What ld.so looks for in its folders is no add-on; but it may be a Node.
        if is_bare {
            let is_node = libraries::stands_for_node(world, &name.to_string_lossy(), &folders);
            return Ok(is_node.then(program));
        }
        return open(world, Path::new(OsStr::from_bytes(text)), flags);
    };
    if is_bare {
        // SAFETY: a NUL-terminated name; RTLD_NOLOAD loads nothing.
        let there = unsafe { libc::dlopen(name.as_ptr(), flags | libc::RTLD_NOLOAD) };
        if !there.is_null() {
            return Ok(Some(there));
        }
    }
    // ld.so would look beside the private copy.
    if let Some(handle) = open(world, &meant, flags)? {
        return Ok(Some(handle));
    }
    let meant = CString::new(meant.into_os_string().into_encoded_bytes()).unwrap_or_default();
    // SAFETY: the path is NUL-terminated, and names the file that the add-on means.
    Ok(Some(unsafe { libc::dlopen(meant.as_ptr(), flags) }))
}

/// The path that begins with the folder of whoever names it, if it does.
fn from_origin(name: &[u8], own: &Path) -> Option<PathBuf> {
    let rest = [&b"$ORIGIN/"[..], b"${ORIGIN}/"].iter().find_map(|origin| name.strip_prefix(*origin))?;
    (!own.as_os_str().is_empty()).then(|| own.join(OsStr::from_bytes(rest)))
}

/// The handle of an add-on; `None` for what is ld.so's to load, or to refuse.
fn open(world: &World, path: &Path, flags: c_int) -> Result<Option<*mut c_void>, Error> {
    let Ok(file) = FileOnDisk::open(path) else { return Ok(None) };
    // The constructors of another Node beside the host's V8 would end the process.
    if libraries::is_node(&file).unwrap_or(false) {
        return Ok(Some(program()));
    }
    let load = flags & libc::RTLD_NOLOAD == 0;
    let claimed = match loaded::claim(libraries::id_of(&file)?, path, load)? {
        loaded::Claim::There(handle, _) => return Ok(Some(handle)),
        loaded::Claim::Absent => return Ok(None),
        loaded::Claim::Ours(claimed) => claimed,
    };
    let Some(relinked) = world.relink(file, flags & libc::RTLD_GLOBAL)? else { return Ok(None) };
    let (mut claimed, mut handle, mut to_run) = (Some(claimed), std::ptr::null_mut(), Vec::new());
    for (library, image) in relinked.images {
        handle = image.staged.handle();
        to_run.push((image.id, image.path.display().to_string(), image.staged.initialisers()));
        // The last one is the add-on itself.
        if let Some(claimed) = library.or_else(|| claimed.take()) {
            loaded::loaded(claimed, image);
        }
    }
    loaded::wait_for(&relinked.others);
    for (at, (id, image, initialisers)) in to_run.iter().enumerate() {
        // SAFETY: every slot of the image is bound, and all that it calls is initialised.
        let Err(ended) = (unsafe { protected::initialise(initialisers) }) else {
            loaded::initialised(*id, Ok(()));
            continue;
        };
        let why = ended.to_string();
        to_run[at..].iter().for_each(|(id, ..)| loaded::initialised(*id, Err(why.clone())));
        if let protected::Ended::Left(left) = ended {
            // In a process of Node's own this would be its end.
            lifecycle::stop_here(&left.how, left.exit_code, &left.message);
        }
        return Err(Error::Initialiser { image: image.clone(), why });
    }
    Ok(Some(handle))
}

/// ld.so's handle of the whole program, by which names of Node's and V8's are found.
fn program() -> *mut c_void {
    // SAFETY: null means the program, which is always loaded.
    unsafe { libc::dlopen(std::ptr::null(), libc::RTLD_LAZY) }
}

extern "C" fn dlclose(handle: *mut c_void) -> c_int {
    say(None);
    let world = lock(&WORLD).clone();
    match loaded::close(handle, world.is_none_or(|world| world.keeps_closed())) {
        // SAFETY: passed on as it was called.
        loaded::Closed::Foreign => unsafe { libc::dlclose(handle) },
        loaded::Closed::Open => 0,
        loaded::Closed::Stays => {
            say(Some("an add-on beside a host stays loaded".into()));
            -1
        }
        loaded::Closed::Gone(images) => {
            for image in &images {
                // SAFETY: it is initialised and was closed as often as opened: whoever opened it says that nothing of it runs.
                unsafe { image.finalise() };
            }
            // SAFETY: finalised just now, and as above.
            images.into_iter().for_each(|image| unsafe { image.discard() });
            0
        }
    }
}

/// Our own message, once, or else libc's.
extern "C" fn dlerror() -> *mut c_char {
    let ours = MESSAGES.try_with(|messages| {
        let mut messages = messages.borrow_mut();
        messages.1 = messages.0.take();
        messages.1.as_ref().map(|message| message.as_ptr().cast_mut())
    });
    // SAFETY: no preconditions.
    ours.ok().flatten().unwrap_or_else(|| unsafe { libc::dlerror() })
}

/// For add-ons that look Node-API up by name in the program that loaded them: this guest is that program. `caller` as for `dlopen`.
extern "C" fn dlsym(handle: *mut c_void, symbol: *const c_char, _caller: usize) -> Answer {
    let world = lock(&WORLD).clone();
    let is_any = handle == libc::RTLD_NEXT || is_program(handle);
    let (Some(world), true, false) = (world, is_any, symbol.is_null()) else { return Answer::PASSED_ON };
    // SAFETY: dlsym wants a NUL-terminated name.
    let name = unsafe { CStr::from_ptr(symbol) }.to_str().unwrap_or("");
    if let Some(guard) = world.guards.iter().find(|guard| guard.symbol == name) {
        return Answer::with(guard.address.0 as usize as *mut c_void);
    }
    if owner(name) == Owner::Other && !name.starts_with("uv_") {
        return Answer::PASSED_ON;
    }
    match catch_unwind(AssertUnwindSafe(|| world.find(name))) {
        Ok(Ok(Some(at))) => Answer::with(at.0 as usize as *mut c_void),
        Ok(Ok(None)) => {
            let missing = Error::MissingEntry { image: "the guest".into(), symbol: name.into() };
            Answer::with(failed(&missing))
        }
        Ok(Err(error)) => Answer::with(failed(&error)),
        Err(_) => Answer::with(failed(&Error::Internal("a panic while a name was looked up".into()))),
    }
}

extern "C" fn dladdr(address: *const c_void, info: *mut libc::Dl_info) -> c_int {
    // SAFETY: passed on as it was called.
    let found = unsafe { libc::dladdr(address, info) };
    let name = loaded::at(RunAddr(address as usize as u64), |_, name| name.as_ptr());
    if let (Some(name), true) = (name, found != 0) {
        // SAFETY: libc has filled it. The name lives as long as the add-on is loaded, like libc's own.
        unsafe { (*info).dli_fname = name };
    }
    found
}

extern "C" fn dlinfo(handle: *mut c_void, request: c_int, value: *mut c_void) -> c_int {
    /// `RTLD_DI_ORIGIN` (dlfcn.h).
    const ORIGIN: c_int = 6;
    if let Some(folder) = loaded::folder_of(handle).filter(|_| request == ORIGIN) {
        let folder = folder.as_os_str().as_bytes();
        // SAFETY: dlinfo(3) wants a buffer that any path fits into.
        unsafe {
            std::ptr::copy_nonoverlapping(folder.as_ptr(), value.cast(), folder.len());
            *value.cast::<u8>().add(folder.len()) = 0;
        }
        return 0;
    }
    // SAFETY: passed on as it was called.
    unsafe { libc::dlinfo(handle, request, value) }
}

/// Whether a handle means the whole program: `RTLD_DEFAULT`, or what `dlopen(NULL)` gives.
fn is_program(handle: *mut c_void) -> bool {
    if handle == libc::RTLD_DEFAULT {
        return true;
    }
    // SAFETY: null means the program, which is always loaded; the handle is given back at once.
    let program = unsafe { libc::dlopen(std::ptr::null(), libc::RTLD_LAZY) };
    // SAFETY: as above.
    unsafe { libc::dlclose(program) };
    handle == program
}
