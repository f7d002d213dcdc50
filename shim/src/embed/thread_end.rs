//! The end of a thread of the host's that ticks runtimes: they end with it, for no other thread can tick them.
//!
//! At `exit()` the main thread's are left to the handler that ends all runtimes.

use super::runtime::runtimes;
use crate::process;
use std::cell::RefCell;

thread_local! {
    /// Handles' numbers. Registered after what Node has registered for this thread's end, so dropped before.
    static TICKED: Ticked = const { Ticked(RefCell::new(Vec::new())) };
}

struct Ticked(RefCell<Vec<usize>>);

/// The calling thread ticks this one.
pub fn notice(runtime: usize) {
    // A thread that is past its thread-local storage is about to end: then nothing tells its end.
    let _ = TICKED.try_with(|ticked| ticked.0.borrow_mut().push(runtime));
}

impl Drop for Ticked {
    fn drop(&mut self) {
        if process::is_main_thread() || process::not_forked().is_err() {
            return;
        }
        for id in self.0.take() {
            let found = runtimes().iter().find(|it| it.id == id).cloned();
            if let Some(runtime) = found {
                runtime.thread_ends();
            }
        }
    }
}
