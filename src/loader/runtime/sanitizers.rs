//! LeakSanitizer and ThreadSanitizer, in a host that was built with them. Both look at the whole process, and end it with another status
//! than its own when they find something.
//!
//! LeakSanitizer looks at the end for memory that no other memory refers to. What Node and V8 allocate is referred to from V8's heap, which it does
//! not know. ThreadSanitizer takes what threads do to each other's memory for a race unless it sees how they agree, and in Node and V8,
//! which are built without it, it does not see. So the guest's threads, and the host's own while they run code of the guest's or of Relink's, are
//! not judged. The host's own code is judged as before, also in functions that the guest calls.
//!
//! # Safety
//! The functions of the sanitizers' interfaces (sanitizer/lsan_interface.h, tsan_interface.h) take nothing and count for the calling thread
//! alone; each call of an `end` follows one of its `begin` on the same thread.

use std::cell::Cell;
use std::ffi::CStr;
use std::sync::OnceLock;

/// How a sanitizer is told to look away, and to look again.
struct Switch {
    begin: extern "C" fn(),
    end: extern "C" fn(),
}

/// The names of such functions.
const NAMES: [[&CStr; 2]; 2] =
    [[c"__lsan_disable", c"__lsan_enable"], [c"__tsan_ignore_thread_begin", c"__tsan_ignore_thread_end"]];

/// 1: what the guest allocates is judged as well, for tests of Relink's own.
const JUDGE_ALL: &CStr = c"RELINK_LEAKS";

/// Those of the process's sanitizers; none where it has none.
fn switches() -> &'static [Switch] {
    static FOUND: OnceLock<Vec<Switch>> = OnceLock::new();
    let find = |name: &CStr| -> Option<extern "C" fn()> {
        // SAFETY: a NUL-terminated name, looked for in the libraries that every one may use.
        let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
        // SAFETY: a sanitizer's function of this name takes and gives nothing.
        (!found.is_null())
            .then(|| unsafe { std::mem::transmute::<*mut libc::c_void, extern "C" fn()>(found) })
    };
    FOUND.get_or_init(|| {
        // SAFETY: a NUL-terminated name; only whether there is such a variable counts.
        if !unsafe { libc::getenv(JUDGE_ALL.as_ptr()) }.is_null() {
            return Vec::new();
        }
        let found = NAMES.iter().map(|[begin, end]| Some(Switch { begin: find(begin)?, end: find(end)? }));
        found.flatten().collect()
    })
}

/// How often a thread has made the sanitizers look away and not look again.
struct Away(Cell<usize>);

impl Drop for Away {
    /// ThreadSanitizer ends the process for a thread that it was never told to look at again.
    fn drop(&mut self) {
        while self.again() {}
    }
}

impl Away {
    fn away(&self) {
        self.0.set(self.0.get() + 1);
        switches().iter().for_each(|switch| (switch.begin)());
    }

    /// Whether they looked away.
    fn again(&self) -> bool {
        let Some(less) = self.0.get().checked_sub(1) else { return false };
        self.0.set(less);
        switches().iter().for_each(|switch| (switch.end)());
        true
    }
}

thread_local! {
    static AWAY: Away = const { Away(Cell::new(0)) };
}

/// Undoes a change when it is dropped.
struct Back(fn(&Away));

impl Drop for Back {
    fn drop(&mut self) {
        // A thread that is past its thread-local storage does nothing worth a word.
        let _ = AWAY.try_with(self.0);
    }
}

/// The calling thread is the guest's or Relink's: nothing that it does is judged from now on.
pub fn leave_thread_unjudged() {
    if !switches().is_empty() {
        let _ = AWAY.try_with(Away::away);
    }
}

/// Runs `work` of the guest's or of Relink's on a thread of the host's.
pub fn unjudged<T>(work: impl FnOnce() -> T) -> T {
    let _back = (!switches().is_empty()).then(|| {
        let _ = AWAY.try_with(Away::away);
        Back(|away| {
            away.again();
        })
    });
    work()
}

/// Runs `work` of the host's that the guest has called.
pub fn judged<T>(work: impl FnOnce() -> T) -> T {
    let looked_away = !switches().is_empty() && AWAY.try_with(Away::again).unwrap_or(false);
    let _back = looked_away.then_some(Back(Away::away));
    work()
}
