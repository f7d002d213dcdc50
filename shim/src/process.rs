//! In which process, and at which moment of its life, the library is called.
//!
//! # Safety
//! Calls of the system without memory of ours; a thread that touches two statics, and the calling thread's own lock of ld.so, which is read
//! as what `pthread_mutex_t` is in glibc.

use relink_abi::error::Error;
use relink_elf::address::RunAddr;
use relink_loader::process::Modules;
use relink_loader::runtime::signals;
use std::ffi::{c_int, c_void};
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The process that Node was brought into; 0: none yet.
static OWNER: AtomicI32 = AtomicI32::new(0);

fn own() -> i32 {
    // SAFETY: getpid has no preconditions.
    unsafe { libc::getpid() }
}

/// An error in a child that was forked when Node was there. Takes no lock, and changes nothing: the child of a `vfork(2)` has its
/// parent's memory.
pub fn not_forked() -> Result<(), Error> {
    let (process, owner) = (own(), OWNER.load(Ordering::Relaxed));
    if owner == 0 || owner == process {
        return Ok(());
    }
    Err(Error::Forked { process, owner })
}

/// Node is about to be brought in by this library.
///
/// # Errors
/// This is a forked child of the process that it is in, or another librelink.so has brought it in.
pub fn claim() -> Result<(), Error> {
    let before = OWNER.compare_exchange(0, own(), Ordering::SeqCst, Ordering::SeqCst);
    not_forked()?;
    // After it was claimed here: of two that come at once at least one is refused.
    let claimed = other_library().map_or(Ok(()), |path| Err(Error::OtherLibrary { path }));
    if claimed.is_err() && before.is_ok() {
        OWNER.store(0, Ordering::SeqCst);
    }
    claimed
}

/// For another librelink.so of this process: whether Node was brought in by this one.
#[no_mangle]
pub extern "C" fn relink_private_in_use() -> c_int {
    c_int::from(OWNER.load(Ordering::SeqCst) == own())
}

/// Another library of Relink's that has brought Node in.
fn other_library() -> Option<std::path::PathBuf> {
    // Not the function's: a library's references to what it exports may be bound to another one's.
    let ours = RunAddr(OWNER.as_ptr() as usize as u64);
    let modules = Modules::observe();
    let in_use = modules.0.iter().find(|module| {
        let Some(found) = module.symbol(c"relink_private_in_use") else { return false };
        if module.contains(ours) || !module.contains(found) {
            return false;
        }
        // SAFETY: the function above, of a library that is held.
        let ask: extern "C" fn() -> c_int = unsafe { std::mem::transmute(found.0 as usize) };
        ask() != 0
    });
    in_use.map(|module| Path::new(&module.path).to_owned())
}

/// An error if threads cannot start or end for the calling thread, or another one for longer than `limit`, holds ld.so's lock.
pub fn outside_the_loader(limit: Duration) -> Result<(), Error> {
    if holds_the_loaders_lock() {
        return Err(Error::InLoader { who: "the calling thread" });
    }
    if others_can_load(limit) {
        return Ok(());
    }
    Err(Error::InLoader { who: "a thread that is waited for, or that takes long," })
}

/// Whether the calling thread is within dlopen() or dlclose(), where constructors and destructors are called.
///
/// ld.so's locks are recursive mutexes in a structure that it exports to the rest of glibc. Which of its words they are is not known:
/// whatever reads as one that this thread holds is one.
pub fn holds_the_loaders_lock() -> bool {
    let (start, size) = *STATE_OF_LD_SO.get_or_init(state_of_ld_so);
    let start = start as *const u32;
    const WORDS: usize = size_of::<libc::pthread_mutex_t>() / size_of::<u32>();
    // Of a locked mutex, in words: `lock`, `count`, `owner`, `nusers`, `kind` (glibc, struct_mutex.h).
    let held = |mutex: &[u32]| {
        mutex[0] != 0 && mutex[1] != 0 && mutex[2] as i32 == thread() && mutex[4] & 3 == RECURSIVE
    };
    let steps = (size / size_of::<u32>()).saturating_sub(WORDS);
    (0..steps).step_by(2).any(|at| {
        let word = |n: usize| {
            // SAFETY: within the structure, which is aligned to 8 bytes and written by threads that lock and unlock.
            unsafe { start.add(at + n).read_volatile() }
        };
        held(&std::array::from_fn::<u32, 5, _>(word))
    })
}

/// Address and size of the structure with the locks, 0 where there is none.
static STATE_OF_LD_SO: OnceLock<(usize, usize)> = OnceLock::new();

/// The library is being loaded. What is looked up needs the lock, which this thread has now.
pub fn on_load() {
    let _looked_up = STATE_OF_LD_SO.get_or_init(state_of_ld_so);
}

fn state_of_ld_so() -> (usize, usize) {
    // SAFETY: a NUL-terminated name, and a structure of glibc's to be filled.
    unsafe {
        let start = libc::dlsym(libc::RTLD_DEFAULT, c"_rtld_global".as_ptr());
        let mut info: libc::Dl_info = std::mem::zeroed();
        let mut symbol: *const Symbol = std::ptr::null();
        let place = (&raw mut symbol).cast::<*mut c_void>();
        let found = !start.is_null() && dladdr1(start, &raw mut info, place, SYMBOL_ENTRY) != 0;
        if found && !symbol.is_null() {
            (start as usize, (*symbol).size as usize)
        } else {
            (0, 0)
        }
    }
}

const RECURSIVE: u32 = libc::PTHREAD_MUTEX_RECURSIVE as u32;
/// `RTLD_DL_SYMENT` of dlfcn.h.
const SYMBOL_ENTRY: c_int = 1;

/// `Elf64_Sym`.
#[repr(C)]
struct Symbol {
    _name_info_section: u64,
    _value: u64,
    size: u64,
}

extern "C" {
    fn dladdr1(
        address: *const c_void,
        info: *mut libc::Dl_info,
        extra: *mut *mut c_void,
        flags: c_int,
    ) -> c_int;
}

fn thread() -> i32 {
    // SAFETY: gettid has no preconditions.
    unsafe { libc::gettid() }
}

/// Whether a thread of its own gets ld.so's lock in time. One that does not waits for it, and then ends.
fn others_can_load(limit: Duration) -> bool {
    static STARTED: AtomicI32 = AtomicI32::new(0);
    static CAME_BACK: AtomicI32 = AtomicI32::new(0);
    /// No thread-local of ours or of Rust's is touched: their registration would need the lock.
    extern "C" fn load(_: *mut c_void) -> *mut c_void {
        // SAFETY: null is the program itself, which is loaded.
        unsafe {
            let program = libc::dlopen(std::ptr::null(), libc::RTLD_LAZY | libc::RTLD_NOLOAD);
            if !program.is_null() {
                libc::dlclose(program);
            }
        }
        CAME_BACK.fetch_add(1, Ordering::SeqCst);
        std::ptr::null_mut()
    }
    let mut thread = 0;
    STARTED.fetch_add(1, Ordering::SeqCst);
    let made = signals::blocked(|| {
        // SAFETY: a function of ours that takes nothing, and default attributes.
        unsafe { libc::pthread_create(&raw mut thread, std::ptr::null(), load, std::ptr::null_mut()) }
    });
    if made != 0 {
        // There is nothing to be learned from that.
        CAME_BACK.fetch_add(1, Ordering::SeqCst);
        return true;
    }
    // SAFETY: the thread was just made, and nobody joins it.
    unsafe { libc::pthread_detach(thread) };
    let deadline = Instant::now() + limit;
    // All that were started: whichever is the last, this one is among them.
    while CAME_BACK.load(Ordering::SeqCst) != STARTED.load(Ordering::SeqCst) {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_micros(50));
    }
    true
}

/// Whether this is the main thread of the process.
pub fn is_main_thread() -> bool {
    thread() == own()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn a_thread_outside_of_ld_so_holds_nothing_of_it() {
        assert!(!holds_the_loaders_lock());
        assert!(outside_the_loader(Duration::from_secs(10)).is_ok());
        static HELD: AtomicBool = AtomicBool::new(false);
        unsafe extern "C" fn look(_: *mut libc::dl_phdr_info, _: usize, _: *mut c_void) -> c_int {
            HELD.store(holds_the_loaders_lock(), Ordering::SeqCst);
            1
        }
        // SAFETY: the function has the type that the call wants.
        unsafe { libc::dl_iterate_phdr(Some(look), std::ptr::null_mut()) };
        assert!(HELD.load(Ordering::SeqCst), "one of ld.so's locks is held there");
    }
}
