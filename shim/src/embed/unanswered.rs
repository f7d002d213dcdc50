//! The call that a thread was answered TIMEOUT for: it may be waited for again, by whoever asks for its number before the thread calls
//! something else.

use super::runtime::runtimes;
use std::cell::Cell;

thread_local! {
    /// The handle's number and the call's; 0: none.
    static LAST: Cell<(usize, u64)> = const { Cell::new((0, 0)) };
}

/// This one was.
pub fn leave(runtime: usize, call: u64) {
    let _ = LAST.try_with(|last| last.set((runtime, call)));
}

/// Its number, once; 0: there is none.
pub fn take_last() -> u64 {
    LAST.try_with(|last| last.replace((0, 0)).1).unwrap_or(0)
}

/// Nobody has asked for it: its answer is not kept.
pub fn drop_last() {
    let (runtime, call) = LAST.try_with(|last| last.replace((0, 0))).unwrap_or((0, 0));
    if call == 0 {
        return;
    }
    let found = runtimes().iter().find(|it| it.id == runtime).cloned();
    if let Some(runtime) = found {
        runtime.calls.forget(call);
    }
}
