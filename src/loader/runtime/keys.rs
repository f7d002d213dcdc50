//! Keys of thread-specific data (`pthread_key_create(3)`) that the guest, its libraries and add-ons make. A key outlives the image that
//! has its destructor: a thread of the host's that ends later would call what is unloaded, and a process has 1024 keys.
//!
//! # Safety
//! The guards have the signatures of the functions they replace and pass the calls on. Destructors are called with what the
//! calling thread has under their keys, while the guest is loaded.

use super::{guards, remains};
use crate::plan::Guard;
use relink_elf::address::RunAddr;
use std::ffi::{c_int, c_void};
use std::sync::{Mutex, PoisonError};

type Destructor = unsafe extern "C" fn(*mut c_void);

static KEYS: Mutex<Vec<(libc::pthread_key_t, Option<Destructor>)>> = Mutex::new(Vec::new());

/// Does something with the list, and runs nothing of the guest's meanwhile.
fn with<T>(work: impl FnOnce(&mut Vec<(libc::pthread_key_t, Option<Destructor>)>) -> T) -> T {
    work(&mut KEYS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The guards, for the plan.
pub(super) fn guards() -> Vec<Guard> {
    let keeps = "keys of thread-specific data go with the guest";
    let guard =
        |symbol, function: *const ()| Guard { symbol, address: RunAddr(function as usize as u64), keeps };
    vec![
        guard("pthread_key_create", pthread_key_create as *const ()),
        guard("pthread_key_delete", pthread_key_delete as *const ()),
        // C11's, which glibc has as the same functions.
        guard("tss_create", pthread_key_create as *const ()),
        guard("tss_delete", pthread_key_delete as *const ()),
    ]
}

extern "C" fn pthread_key_create(key: *mut libc::pthread_key_t, destructor: Option<Destructor>) -> c_int {
    // SAFETY: passed on as the guest called it.
    let made = unsafe { libc::pthread_key_create(key, destructor) };
    if made == 0 && !guards::in_child() {
        // SAFETY: it was just written.
        let key = unsafe { *key };
        with(|keys| keys.push((key, destructor)));
    }
    made
}

extern "C" fn pthread_key_delete(key: libc::pthread_key_t) -> c_int {
    if !guards::in_child() {
        with(|keys| keys.retain(|(other, _)| *other != key));
    }
    // SAFETY: passed on as the guest called it.
    unsafe { libc::pthread_key_delete(key) }
}

/// Destroys what the calling thread has under the guest's keys, as its end would.
///
/// # Safety
/// The guest is loaded, and none of its code runs on this thread.
pub(super) unsafe fn destroy_own() {
    /// Destructors may leave something anew (`PTHREAD_DESTRUCTOR_ITERATIONS`).
    const ROUNDS: usize = 4;
    for _ in 0..ROUNDS {
        let mut any = false;
        for (key, destructor) in with(|keys| keys.clone()) {
            let Some(destructor) = destructor else { continue };
            // SAFETY: a key that the guest made and did not delete.
            let value = unsafe { libc::pthread_getspecific(key) };
            if value.is_null() {
                continue;
            }
            any = true;
            // SAFETY: as above.
            unsafe { libc::pthread_setspecific(key, std::ptr::null()) };
            // SAFETY: the guest's destructor for this value, and the guest is loaded (promised by the caller).
            unsafe { remains::run_here((destructor as usize, value as usize)) };
        }
        if !any {
            return;
        }
    }
}

/// The guest is gone: its keys' destructors are never called again.
pub fn delete_all() {
    for (key, _) in with(std::mem::take) {
        // SAFETY: a key that the guest made and did not delete; nothing of it runs any more.
        unsafe { libc::pthread_key_delete(key) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_keys_destructor_runs_before_the_guest_goes_and_never_after() {
        static RUNS: AtomicUsize = AtomicUsize::new(0);
        unsafe extern "C" fn count(_: *mut c_void) {
            RUNS.fetch_add(1, Ordering::SeqCst);
        }
        guards::all();
        let mut keys = [0; 2];
        for key in &mut keys {
            assert_eq!(pthread_key_create(key, Some(count)), 0);
        }
        let leaves = move |key| {
            // SAFETY: a key that was made above.
            assert_eq!(unsafe { libc::pthread_setspecific(key, (&raw const RUNS).cast()) }, 0);
        };
        assert_eq!(pthread_key_delete(keys[1]), 0);
        leaves(keys[0]);
        // SAFETY: the destructor is this test's.
        unsafe { destroy_own() };
        assert_eq!(RUNS.load(Ordering::SeqCst), 1);
        let ((go, wait), (there, ready)) = (std::sync::mpsc::channel(), std::sync::mpsc::channel());
        let host = std::thread::spawn(move || {
            leaves(keys[0]);
            there.send(()).expect("received");
            wait.recv().expect("told");
        });
        ready.recv().expect("told");
        delete_all();
        go.send(()).expect("received");
        host.join().expect("joined");
        assert_eq!(RUNS.load(Ordering::SeqCst), 1, "never after");
    }
}
