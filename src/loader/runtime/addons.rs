//! Native add-ons: guards in the place of `dlopen`, `dlclose` and `dlerror` in the slots of the guest, of its libraries and of
//! add-ons. A library that refers to V8 or to Node is loaded as a private copy that is bound to the host's V8 and to this
//! guest ([`binding`]); every other one is ld.so's as always. What is returned is ld.so's own handle, so `dlsym` works.
//!
//! Opened twice, the same file is one image. Closed as often as opened, it is unloaded where the process is Node's own; beside
//! a host it stays until the guest is unloaded, for its destructors run then and its threads may still run, and `dlclose`
//! says that it did not close, so that Node keeps what the add-on has registered.
//!
//! # Safety
//! The guards have the signatures of the libc functions they replace and are called with arguments that libc would accept.
//! Initialisers run when every slot is bound, finalisers when Node has closed the image, as ld.so would run them.

mod binding;

pub use binding::{Known, World};

use super::withheld;
use crate::guest::stage::Staged;
use crate::plan::Guard;
use relink_abi::error::Error;
use relink_abi::symbol::{owner, Owner};
use relink_elf::address::RunAddr;
use relink_elf::file::FileOnDisk;
use std::cell::{Cell, RefCell};
use std::ffi::{c_char, c_int, c_void, CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An add-on that is loaded.
struct Entry {
    /// Device and inode of its file.
    file: (u64, u64),
    staged: Staged,
    /// How often it is open.
    opened: usize,
}

static WORLD: Mutex<Option<Arc<World>>> = Mutex::new(None);
static LOADED: Mutex<Vec<Entry>> = Mutex::new(Vec::new());
/// Held while an add-on comes or goes: who opens it meanwhile waits for its initialisers.
static CHANGING: Mutex<()> = Mutex::new(());

thread_local! {
    /// Whether this thread holds [`CHANGING`]: an initialiser may open another library.
    static CHANGES: Cell<bool> = const { Cell::new(false) };
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
        guard("dlopen", dlopen as *const ()),
        guard("dlclose", dlclose as *const ()),
        guard("dlerror", dlerror as *const ()),
    ]
}

/// Tells what add-ons are to be bound to, before the guest is entered.
pub fn know(mut world: World) {
    // For add-ons only: some ask for Node-API's functions by name.
    let keeps = "names of Node's and V8's are looked up in the guest and in the host's V8";
    let address = RunAddr(dlsym as *const () as usize as u64);
    world.guards.push(Guard { symbol: "dlsym", address, keeps });
    *lock(&WORLD) = Some(Arc::new(world));
}

/// Run-time addresses of these names as the guest's images define them, whether they export them or not.
pub fn find(names: &[&str]) -> Result<Vec<Option<RunAddr>>, Error> {
    let world = lock(&WORLD).clone();
    world.map_or_else(|| Ok(vec![None; names.len()]), |world| world.find_all(names))
}

/// All add-ons that are loaded, the last one first, to be unloaded before the guest is.
pub fn take() -> Vec<Staged> {
    lock(&LOADED).drain(..).rev().map(|entry| entry.staged).collect()
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

extern "C" fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void {
    say(None);
    if !withheld::may_load_add_ons() {
        say(Some("add-ons are not allowed in this guest".into()));
        return std::ptr::null_mut();
    }
    let world = lock(&WORLD).clone();
    if let (Some(world), false) = (world, path.is_null()) {
        // SAFETY: dlopen wants a NUL-terminated path.
        let file = Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes()));
        match catch_unwind(AssertUnwindSafe(|| open(&world, file, flags))) {
            Ok(Ok(Some(handle))) => return handle,
            Ok(Ok(None)) => {}
            Ok(Err(error)) => return failed(&error),
            Err(_) => return failed(&Error::Internal("a panic while an add-on was loaded".into())),
        }
    }
    // SAFETY: passed on as it was called.
    unsafe { libc::dlopen(path, flags) }
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

/// The handle of an add-on; `None` for what is ld.so's to load, or to refuse.
fn open(world: &World, path: &Path, flags: c_int) -> Result<Option<*mut c_void>, Error> {
    // A bare name is looked for in ld.so's folders, where no add-ons are.
    if !path.as_os_str().as_bytes().contains(&b'/') {
        return Ok(None);
    }
    let Ok(file) = FileOnDisk::open(path) else { return Ok(None) };
    let metadata =
        file.file.metadata().map_err(|source| Error::GuestFile { path: path.to_owned(), source })?;
    let id = (metadata.dev(), metadata.ino());
    changing(|| {
        if let Some(entry) = lock(&LOADED).iter_mut().find(|entry| entry.file == id) {
            entry.opened += 1;
            return Ok(Some(entry.staged.handle()));
        }
        if flags & libc::RTLD_NOLOAD != 0 {
            return Ok(None);
        }
        let Some(staged) = world.relink(&file, flags & libc::RTLD_GLOBAL)? else { return Ok(None) };
        let (handle, initialisers) = (staged.handle(), staged.initialisers());
        lock(&LOADED).push(Entry { file: id, staged, opened: 1 });
        // SAFETY: every slot of the add-on is bound, and all that it calls is initialised.
        unsafe { initialisers.run() };
        Ok(Some(handle))
    })
}

/// Does this while no other thread loads or unloads an add-on.
fn changing<T>(work: impl FnOnce() -> T) -> T {
    if CHANGES.get() {
        return work();
    }
    /// Says that the thread is done, also when a panic passes.
    struct Done;
    impl Drop for Done {
        fn drop(&mut self) {
            CHANGES.set(false);
        }
    }
    let _held = lock(&CHANGING);
    let _done = Done;
    CHANGES.set(true);
    work()
}

extern "C" fn dlclose(handle: *mut c_void) -> c_int {
    say(None);
    let world = lock(&WORLD).clone();
    changing(|| {
        let mut loaded = lock(&LOADED);
        let Some(at) = loaded.iter().position(|entry| entry.staged.handle() == handle) else {
            drop(loaded);
            // SAFETY: passed on as it was called.
            return unsafe { libc::dlclose(handle) };
        };
        loaded[at].opened = loaded[at].opened.saturating_sub(1);
        if loaded[at].opened > 0 {
            return 0;
        }
        if world.is_none_or(|world| world.keeps_closed()) {
            say(Some("an add-on beside a host stays loaded".into()));
            return -1;
        }
        let staged = loaded.remove(at).staged;
        drop(loaded);
        // SAFETY: it is initialised and was closed as often as opened: whoever opened it says that nothing of it runs.
        unsafe { staged.finalise() };
        staged.discard();
        0
    })
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

/// For add-ons that look Node-API up by name in the program that loaded them: this guest is that program.
extern "C" fn dlsym(handle: *mut c_void, symbol: *const c_char) -> *mut c_void {
    let world = lock(&WORLD).clone();
    if let (Some(world), true) = (world, is_program(handle) && !symbol.is_null()) {
        // SAFETY: dlsym wants a NUL-terminated name.
        let name = unsafe { CStr::from_ptr(symbol) }.to_str().unwrap_or("");
        if owner(name) != Owner::Other || name.starts_with("uv_") {
            return match catch_unwind(AssertUnwindSafe(|| world.find(name))) {
                Ok(Ok(Some(at))) => at.0 as usize as *mut c_void,
                Ok(Ok(None)) => {
                    failed(&Error::MissingEntry { image: "the guest".into(), symbol: name.into() })
                }
                Ok(Err(error)) => failed(&error),
                Err(_) => failed(&Error::Internal("a panic while a name was looked up".into())),
            };
        }
    }
    // SAFETY: passed on as it was called.
    unsafe { libc::dlsym(handle, symbol) }
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
