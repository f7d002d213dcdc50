//! What a guest would leave behind: destructors and exit handlers that it registered, and threads that it made.
//!
//! # Safety
//! The guards have the signatures of the functions they replace and are called by the guest's code with arguments that
//! these would accept. What the guest registered is called while its images are loaded.

use super::{addons, float, guards, keys, lifecycle, protected, signals, threads};
use crate::log::{self, Level};
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A destructor or exit handler of the guest's: function and argument, as addresses.
type ExitFunction = (usize, usize);

static EXIT_FUNCTIONS: Mutex<Vec<ExitFunction>> = Mutex::new(Vec::new());

/// Keeps the registration for the day when the guest is unloaded. In the host's exit() none of these run: they would pull
/// state from under Node's threads, and the system takes back what they would.
pub(super) extern "C" fn cxa_atexit(
    function: *mut c_void,
    argument: *mut c_void,
    _dso: *mut c_void,
) -> c_int {
    let mut functions = EXIT_FUNCTIONS.lock().unwrap_or_else(PoisonError::into_inner);
    functions.push((function as usize, argument as usize));
    0
}

/// Destructors of the guest's thread-local variables. No lock is held while one runs.
struct Locals {
    /// By the number of the thread, in the order in which they were registered.
    registered: Vec<(i32, ExitFunction)>,
    /// Threads that run some of theirs.
    running: Vec<i32>,
}

static LOCALS: Mutex<Locals> = Mutex::new(Locals { registered: Vec::new(), running: Vec::new() });

fn locals() -> MutexGuard<'static, Locals> {
    LOCALS.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    /// Dropped when a thread ends.
    static OWN_LOCALS: OwnLocals = const { OwnLocals };
}

/// What [`LOCALS`] has of a thread.
struct OwnLocals;

impl Drop for OwnLocals {
    fn drop(&mut self) {
        // The first thread of a process comes here in exit(), which is before the guest is stopped.
        if lifecycle::own_thread() as u32 != std::process::id() {
            destroy_own_locals();
        }
    }
}

/// Runs the destructors of the guest's thread-local variables of the calling thread, the last one registered first. Rust's
/// find what they destroy in thread-local memory, so they have to be called on their own thread.
fn destroy_own_locals() {
    let own = lifecycle::own_thread();
    loop {
        let destructor = {
            let mut locals = locals();
            locals.running.retain(|thread| *thread != own);
            let last = locals.registered.iter().rposition(|(thread, _)| *thread == own);
            let Some(last) = last else { return };
            // Until it is seen that there is no other one, the guest is not unloaded.
            locals.running.push(own);
            locals.registered.remove(last).1
        };
        // SAFETY: the guest registered it for this thread's end, and is not unloaded while this runs.
        float::as_guest(|| unsafe { run_here(destructor) });
    }
}

/// The calling thread never goes on: nobody waits for it.
pub(super) fn abandoned_here() {
    let own = lifecycle::own_thread();
    locals().running.retain(|thread| *thread != own);
}

/// Waits until no thread of the host's runs destructors of the guest's, and tells how many still do.
pub fn threads_destroying(limit: Duration) -> usize {
    let deadline = Instant::now() + limit;
    loop {
        let running = {
            let mut locals = locals();
            locals.running.retain(|thread| lifecycle::is_alive(*thread));
            locals.running.len()
        };
        if running == 0 || Instant::now() >= deadline {
            return running;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// # Safety
/// The guest registered it, and is loaded.
unsafe fn run((function, argument): ExitFunction) {
    // SAFETY: it has the signature that `__cxa_atexit` wants (Itanium C++ ABI, section 3.3.6).
    let function: extern "C" fn(*mut c_void) = unsafe { std::mem::transmute(function) };
    function(argument as *mut c_void);
}

/// The same on a thread of the host's, which goes on whatever it does.
///
/// # Safety
/// As for [`run`].
pub(super) unsafe fn run_here((function, argument): ExitFunction) {
    // SAFETY: as for `run`; one that throws is caught.
    let function: extern "C-unwind" fn(*mut c_void) = unsafe { std::mem::transmute(function) };
    // SAFETY: promised by the caller.
    if let Err(ended) = unsafe { protected::call(function, argument as *mut c_void) } {
        log::tell(
            Level::Error,
            &format!("a destructor of the guest's did not return: {ended}; the host goes on"),
        );
    }
}

extern "C" {
    /// Of the C++ library's ABI: registers a destructor for the end of the calling thread.
    #[link_name = "__cxa_thread_atexit_impl"]
    fn at_thread_exit(function: *mut c_void, argument: *mut c_void, dso: *mut c_void) -> c_int;
}

/// A thread of the host's that ticks the guest may end before that is unloaded, or after: what is thread-local there is destroyed by
/// whichever comes first. On every thread a destructor that aborts is left, for somebody waits for the thread's end.
pub(super) extern "C" fn cxa_thread_atexit(
    function: *mut c_void,
    argument: *mut c_void,
    dso: *mut c_void,
) -> c_int {
    if guards::in_child() || OWN_LOCALS.try_with(|_| ()).is_err() {
        // SAFETY: passed on as the guest called it.
        return unsafe { at_thread_exit(function, argument, dso) };
    }
    locals().registered.push((lifecycle::own_thread(), (function as usize, argument as usize)));
    0
}

/// Runs the guest's destructors and exit handlers, the last one registered first, as exit(3) does. Returns how many.
///
/// # Safety
/// The guest is loaded, its initialisers have run, and nothing of it runs any more.
pub unsafe fn run_exit_functions() -> usize {
    let mut count = 0;
    loop {
        // One may register another. What is thread-local goes first, as it does at the end of a process.
        let local = locals().registered.pop().map(|(_, local)| local);
        let next = || EXIT_FUNCTIONS.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some(function) = local.or_else(next) else { return count };
        // SAFETY: the guest registered it, and is loaded (promised by the caller).
        unsafe { run(function) };
        count += 1;
    }
}

/// Frees what the guest's OpenSSL has for the calling thread, one of the host's that ticked the guest: it would be freed at the
/// thread's end, when the guest is gone.
///
/// # Safety
/// The guest is loaded and bound, and none of its code runs on this thread.
pub unsafe fn leave_thread() {
    let found = addons::find(&["OPENSSL_thread_stop"]).unwrap_or_default();
    if let Some(address) = found.first().copied().flatten() {
        // SAFETY: the guest's function of that name (openssl/crypto.h), which takes nothing; its image is loaded (promised by the
        // caller).
        let stop: extern "C" fn() = unsafe { std::mem::transmute(address.0 as usize) };
        stop();
    }
}

/// The guest is about to be unloaded: destroys what its libraries and add-ons have for the calling thread, which goes on without them.
///
/// # Safety
/// As for [`leave_thread`].
pub unsafe fn leave_for_good() {
    destroy_own_locals();
    // SAFETY: promised by the caller.
    unsafe { keys::destroy_own() };
}

/// How many threads that the guest made are alive.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// Threads of the guest's, by number, that are counted no more but may not have taken their last step: pthread calls
/// destructors of the guest's for what they left under keys (OpenSSL's state of a thread, for one).
static ENDING: Mutex<Vec<i32>> = Mutex::new(Vec::new());

/// How many threads that the guest made are alive, once there are none or the time is over. Those that are ending are waited
/// for as well, but are not counted: a thread of the host's may have got the number of one that is long gone.
pub fn threads_left(limit: Duration) -> usize {
    const PAUSE: Duration = Duration::from_millis(1);
    let deadline = Instant::now() + limit;
    while (THREADS.load(Ordering::Acquire) > 0 || some_are_ending()) && Instant::now() < deadline {
        std::thread::sleep(PAUSE);
    }
    THREADS.load(Ordering::Acquire)
}

fn some_are_ending() -> bool {
    let mut ending = ENDING.lock().unwrap_or_else(PoisonError::into_inner);
    ending.retain(|thread| lifecycle::is_alive(*thread));
    !ending.is_empty()
}

/// A thread's start routine. It may unwind: `pthread_exit(3)` and cancellation do.
type Routine = extern "C-unwind" fn(*mut c_void) -> *mut c_void;

extern "C" {
    #[link_name = "pthread_create"]
    fn create(
        thread: *mut libc::pthread_t,
        attributes: *const libc::pthread_attr_t,
        routine: Routine,
        argument: *mut c_void,
    ) -> c_int;
}

/// A thread's start routine and its argument.
struct Start {
    routine: Routine,
    argument: *mut c_void,
    /// The runtime that makes it.
    maker: usize,
    /// Whether a thread with the guest's floating-point environment makes it, which it then inherits.
    inherits: bool,
    /// The signals that its maker believes to be blocked.
    blocked: signals::Mask,
}

pub(super) extern "C" fn pthread_create(
    thread: *mut libc::pthread_t,
    attributes: *const libc::pthread_attr_t,
    routine: Routine,
    argument: *mut c_void,
) -> c_int {
    let (maker, blocked) = (threads::owner(), signals::believed_mask());
    let start = Start { routine, argument, maker, inherits: threads::is_guests(), blocked };
    let start = Box::into_raw(Box::new(start));
    THREADS.fetch_add(1, Ordering::AcqRel);
    let result = signals::blocked(|| {
        // SAFETY: as the guest called it, but for the start routine, which takes the box over.
        unsafe { create(thread, attributes, start_of_the_guest, start.cast()) }
    });
    if result != 0 {
        THREADS.fetch_sub(1, Ordering::AcqRel);
        // SAFETY: no thread was made, so the box is still ours alone.
        drop(unsafe { Box::from_raw(start) });
    }
    result
}

extern "C-unwind" fn start_of_the_guest(start: *mut c_void) -> *mut c_void {
    COUNTED.with(|_| ());
    // SAFETY: the box that `pthread_create` gave to this thread alone.
    let start = unsafe { Box::from_raw(start.cast::<Start>()) };
    threads::enter_made_by(start.maker);
    if !start.inherits {
        float::set_default();
    }
    signals::believe(start.blocked);
    let (routine, argument) = (start.routine, start.argument);
    drop(start);
    // Nothing of this frame is left to be dropped, so pthread_exit may unwind it.
    routine(argument)
}

thread_local! {
    /// Dropped when the thread ends, by whatever way.
    static COUNTED: Counted = const { Counted };
}

/// A living thread of the guest's.
struct Counted;

impl Drop for Counted {
    fn drop(&mut self) {
        let mut ending = ENDING.lock().unwrap_or_else(PoisonError::into_inner);
        ending.retain(|thread| lifecycle::is_alive(*thread));
        ending.push(lifecycle::own_thread());
        THREADS.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::super::guards::all;
    use super::super::threads::is_guests;
    use super::*;

    #[test]
    fn a_thread_made_through_the_guard_is_the_guests() {
        all();
        extern "C-unwind" fn ask(_: *mut c_void) -> *mut c_void {
            usize::from(is_guests()) as *mut c_void
        }
        assert!(!is_guests());
        let mut thread = 0;
        assert_eq!(pthread_create(&raw mut thread, std::ptr::null(), ask, std::ptr::null_mut()), 0);
        let mut answer = std::ptr::null_mut();
        // SAFETY: the thread was just made and is joined once.
        assert_eq!(unsafe { libc::pthread_join(thread, &raw mut answer) }, 0);
        assert_eq!(answer as usize, 1);
    }

    #[test]
    fn a_thread_may_end_by_pthread_exit() {
        // SAFETY: `pthread_exit` takes one pointer and does not return; as a thread's start routine it ends it with that value.
        let exit = unsafe { std::mem::transmute::<*const (), Routine>(libc::pthread_exit as *const ()) };
        let mut thread = 0;
        assert_eq!(pthread_create(&raw mut thread, std::ptr::null(), exit, 7 as *mut c_void), 0);
        let mut answer = std::ptr::null_mut();
        // SAFETY: the thread was just made and is joined once.
        assert_eq!(unsafe { libc::pthread_join(thread, &raw mut answer) }, 0);
        assert_eq!(answer as usize, 7);
        assert_eq!(threads_left(Duration::from_secs(30)), 0);
    }

    #[test]
    fn what_a_thread_left_under_keys_is_destroyed_before_it_counts_as_gone() {
        use std::sync::atomic::AtomicBool;
        static DESTROYED: AtomicBool = AtomicBool::new(false);
        unsafe extern "C" fn destroy(_: *mut c_void) {
            std::thread::sleep(Duration::from_millis(50));
            DESTROYED.store(true, Ordering::SeqCst);
        }
        extern "C-unwind" fn leave_something(_: *mut c_void) -> *mut c_void {
            let mut key = 0;
            // SAFETY: the key is new, and its destructor a function of this test.
            assert_eq!(unsafe { libc::pthread_key_create(&raw mut key, Some(destroy)) }, 0);
            // SAFETY: as above.
            assert_eq!(unsafe { libc::pthread_setspecific(key, (&raw const DESTROYED).cast()) }, 0);
            // SAFETY: the calling thread, which nobody joins.
            assert_eq!(unsafe { libc::pthread_detach(libc::pthread_self()) }, 0);
            std::ptr::null_mut()
        }
        let mut thread = 0;
        let made = pthread_create(&raw mut thread, std::ptr::null(), leave_something, std::ptr::null_mut());
        assert_eq!(made, 0);
        assert_eq!(threads_left(Duration::from_secs(30)), 0);
        assert!(DESTROYED.load(Ordering::SeqCst));
    }

    static ORDER: Mutex<Vec<usize>> = Mutex::new(Vec::new());

    /// Of a thread of the host's that ends, and of one that goes on.
    fn thread_locals_are_destroyed_once(note: extern "C" fn(*mut c_void)) {
        let register = move |argument: usize| {
            cxa_thread_atexit(note as *mut c_void, argument as *mut c_void, std::ptr::null_mut())
        };
        let ended = std::thread::spawn(move || [register(11), register(12)]);
        assert_eq!(ended.join().expect("joined"), [0, 0]);
        assert_eq!(
            std::mem::take(&mut *ORDER.lock().expect("not poisoned")),
            [12, 11],
            "at the thread's end"
        );
        assert_eq!(register(13), 0);
        // SAFETY: what was registered is the caller's function.
        assert_eq!(unsafe { run_exit_functions() }, 1);
        assert_eq!(
            std::mem::take(&mut *ORDER.lock().expect("not poisoned")),
            [13],
            "when the guest is unloaded"
        );
    }

    #[test]
    fn exit_functions_run_from_the_last_to_the_first() {
        extern "C" fn note(argument: *mut c_void) {
            ORDER.lock().expect("not poisoned").push(argument as usize);
            if argument as usize == 2 {
                cxa_atexit(note as *mut c_void, 3 as *mut c_void, std::ptr::null_mut());
            }
        }
        thread_locals_are_destroyed_once(note);
        for argument in [1usize, 2] {
            cxa_atexit(note as *mut c_void, argument as *mut c_void, std::ptr::null_mut());
        }
        // SAFETY: what was registered is the function above.
        assert_eq!(unsafe { run_exit_functions() }, 3);
        assert_eq!(*ORDER.lock().expect("not poisoned"), [2, 3, 1]);
    }
}
