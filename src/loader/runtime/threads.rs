//! Whose a thread is: the host's or the guest's, and of which of the guest's runtimes.
//!
//! A thread that a runtime's scripts make inherits whose it may be; it is one of that runtime's alone once it has an isolate of its own,
//! as a Worker's thread has. The others (libuv's pool, the platform's) work for all runtimes, whoever had them made.

use super::{float, sanitizers, signals};
use std::cell::Cell;

thread_local! {
    static OF_THE_GUEST: Cell<bool> = const { Cell::new(false) };
    static MADE_FOR_THE_GUEST: Cell<bool> = const { Cell::new(false) };
    /// The number of the runtime whose it is; 0: none's alone.
    static OWNER: Cell<usize> = const { Cell::new(0) };
    /// The number of the runtime that made it.
    static MAKER: Cell<usize> = const { Cell::new(0) };
}

/// Whether the calling thread belongs to the guest.
pub fn is_guests() -> bool {
    OF_THE_GUEST.try_with(Cell::get).unwrap_or(false)
}

/// Whether the calling thread is none of the host's, whoever's code it runs at the moment. One that is past its thread-local
/// storage is no host's that ticks a guest.
pub fn was_made_for_the_guest() -> bool {
    MADE_FOR_THE_GUEST.try_with(Cell::get).unwrap_or(true)
}

/// The same; one that is past its thread-local storage may be anybody's.
pub(super) fn is_made_for_the_guest() -> bool {
    MADE_FOR_THE_GUEST.try_with(Cell::get).unwrap_or(false)
}

/// The runtime whose code the calling thread runs; 0: that of none, or of all.
pub fn owner() -> usize {
    OWNER.try_with(Cell::get).unwrap_or(0)
}

/// Marks the calling thread as the main thread of a runtime, for its whole life.
pub fn enter(runtime: usize) {
    enter_made_by(runtime);
    has_an_isolate();
}

/// Marks the calling thread as one that this runtime's code has made.
pub(super) fn enter_made_by(runtime: usize) {
    sanitizers::leave_thread_unjudged();
    // A thread that is past its thread-local storage runs nothing of the guest any more.
    let _ = OF_THE_GUEST.try_with(|cell| cell.set(true));
    let _ = MADE_FOR_THE_GUEST.try_with(|cell| cell.set(true));
    let _ = MAKER.try_with(|cell| cell.set(runtime));
}

/// The calling thread gets an isolate of the guest's: if it was made for the guest it is of the runtime that made it.
pub(super) fn has_an_isolate() {
    if was_made_for_the_guest() {
        let _ = OWNER.try_with(|cell| cell.set(MAKER.try_with(Cell::get).unwrap_or(0)));
    }
}

/// Runs `work` as a thread of this runtime: what V8 posts meanwhile is the guest's.
pub fn as_guest<T>(runtime: usize, work: impl FnOnce() -> T) -> T {
    if !was_made_for_the_guest() && !is_guests() {
        // What a guest that was lost here had blocked is unblocked.
        signals::believe(0);
    }
    float::as_guest(|| as_whose(true, runtime, work))
}

/// Runs `work` of the host's that the guest has called.
pub fn as_host<T>(work: impl FnOnce() -> T) -> T {
    float::as_host(|| as_whose(false, owner(), || sanitizers::judged(work)))
}

fn as_whose<T>(guests: bool, runtime: usize, work: impl FnOnce() -> T) -> T {
    struct Back(bool, usize);
    impl Drop for Back {
        fn drop(&mut self) {
            let _ = OF_THE_GUEST.try_with(|cell| cell.set(self.0));
            let _ = OWNER.try_with(|cell| cell.set(self.1));
        }
    }
    let owner = OWNER.try_with(|cell| cell.replace(runtime)).unwrap_or(0);
    let _back = Back(OF_THE_GUEST.try_with(|cell| cell.replace(guests)).unwrap_or(false), owner);
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_a_runtimes_own_when_it_has_an_isolate() {
        let told = std::thread::spawn(|| {
            enter_made_by(7);
            let before = (owner(), is_guests());
            has_an_isolate();
            (before, owner(), as_host(|| (owner(), is_guests())), as_guest(9, owner), owner())
        });
        assert_eq!(told.join().expect("joined"), ((0, true), 7, (7, false), 9, 7));
        has_an_isolate();
        assert_eq!((owner(), is_guests()), (0, false), "a thread of the host's");
        assert_eq!(as_guest(3, || (owner(), is_guests())), (3, true));
    }
}
