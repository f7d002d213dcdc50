//! A value that one thread at a time may change while it runs code of the guest's or of the host's.
//!
//! A mutex does not fit: such code may never return. A thread of the guest's that calls `abort()` is parked, and one of
//! the host's leaves by a jump; neither drops a guard. So the value is taken out under a lock that is held for a moment,
//! and put back. Whoever wants it meanwhile waits, but no longer than it says. A thread that is abandoned or gone has lost
//! what it took, and nobody waits for that.

use super::lifecycle;
use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A value that threads take in turn.
#[derive(Debug)]
pub struct Turn<T: 'static> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
enum State<T> {
    Free(T),
    /// By the thread of this number.
    Taken(i32),
    Lost,
}

/// Why it cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotFree {
    /// Another thread, of this number, has had it for the whole time.
    Busy(i32),
    /// The calling thread has it already, further out on its stack.
    Here,
    /// Whoever had it never gives it back.
    Lost,
}

/// The value while the calling thread has it.
#[derive(Debug)]
pub struct Taken<T: Send + 'static> {
    turn: &'static Turn<T>,
    /// Empty only while it is dropped.
    value: Option<T>,
}

impl<T: Send + 'static> Turn<T> {
    /// A value that nobody has.
    pub const fn new(value: T) -> Self {
        Self { state: Mutex::new(State::Free(value)), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes it, and waits for it until `deadline`.
    ///
    /// # Errors
    /// It is not free by then, or never will be.
    pub fn take(&'static self, deadline: Instant) -> Result<Taken<T>, NotFree> {
        /// How often it is seen whether the thread that has it lives.
        const LOOK: Duration = Duration::from_millis(100);
        let own = lifecycle::own_thread();
        let mut state = self.state();
        loop {
            match std::mem::replace(&mut *state, State::Taken(own)) {
                State::Free(value) => {
                    drop(state);
                    holders().push((own, self));
                    return Ok(Taken { turn: self, value: Some(value) });
                }
                State::Taken(thread) => {
                    *state = State::Taken(thread);
                    if thread == own {
                        return Err(NotFree::Here);
                    }
                    if !lifecycle::is_alive(thread) {
                        *state = State::Lost;
                        continue;
                    }
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(NotFree::Busy(thread));
                    }
                    let waited = self.changed.wait_timeout(state, left.min(LOOK));
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                State::Lost => {
                    *state = State::Lost;
                    return Err(NotFree::Lost);
                }
            }
        }
    }
}

impl<T: Send + 'static> Deref for Taken<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("only a dropped one is empty")
    }
}

impl<T: Send + 'static> DerefMut for Taken<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("only a dropped one is empty")
    }
}

impl<T: Send + 'static> Drop for Taken<T> {
    fn drop(&mut self) {
        let own = lifecycle::own_thread();
        holders().retain(|(thread, turn)| *thread != own || !std::ptr::addr_eq(*turn, self.turn));
        let mut state = self.turn.state();
        // One that was lost stays so: what was seen of it is not whole.
        if let (State::Taken(_), Some(value)) = (&*state, self.value.take()) {
            *state = State::Free(value);
        }
        drop(state);
        self.turn.changed.notify_all();
    }
}

/// What can be lost, whatever its value is.
trait Lose: Sync {
    fn lose(&self);
}

impl<T: Send + 'static> Lose for Turn<T> {
    fn lose(&self) {
        *self.state() = State::Lost;
        self.changed.notify_all();
    }
}

/// Who has what.
static HOLDERS: Mutex<Vec<(i32, &'static dyn Lose)>> = Mutex::new(Vec::new());

fn holders() -> MutexGuard<'static, Vec<(i32, &'static dyn Lose)>> {
    HOLDERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The calling thread never returns to where it took something: all that it has is lost.
pub(super) fn abandoned_here() {
    let own = lifecycle::own_thread();
    let mut lost = Vec::new();
    holders().retain(|(thread, turn)| {
        let of_another = *thread != own;
        lost.extend((!of_another).then_some(*turn));
        of_another
    });
    lost.into_iter().for_each(Lose::lose);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(50)
    }

    #[test]
    fn it_goes_from_thread_to_thread() {
        static TURN: Turn<u32> = Turn::new(1);
        let (told, tell) = (mpsc::channel(), mpsc::channel());
        let mut taken = TURN.take(soon()).expect("free");
        *taken += 1;
        assert_eq!(TURN.take(soon()).map(|_| ()), Err(NotFree::Here));
        let other = std::thread::spawn(move || {
            let busy = TURN.take(soon()).map(|_| ());
            told.0.send(busy).expect("received");
            let later = TURN.take(Instant::now() + Duration::from_secs(30)).map(|value| *value);
            tell.0.send(later).expect("received");
        });
        let own = lifecycle::own_thread();
        assert_eq!(told.1.recv().expect("told"), Err(NotFree::Busy(own)), "within its own time");
        drop(taken);
        assert_eq!(tell.1.recv().expect("told"), Ok(2));
        other.join().expect("joined");
    }

    #[test]
    fn what_an_abandoned_thread_has_is_lost_and_nobody_waits() {
        static TURN: Turn<u32> = Turn::new(1);
        let parked = std::thread::spawn(|| {
            let taken = TURN.take(soon()).expect("free");
            abandoned_here();
            std::mem::forget(taken);
        });
        parked.join().expect("joined");
        let far = Instant::now() + Duration::from_secs(30);
        assert_eq!(TURN.take(far).map(|_| ()), Err(NotFree::Lost));
        assert!(Instant::now() < far);
    }

    #[test]
    fn what_a_thread_that_is_gone_has_is_lost() {
        static TURN: Turn<u32> = Turn::new(1);
        let gone = std::thread::spawn(|| std::mem::forget(TURN.take(soon()).expect("free")));
        gone.join().expect("joined");
        let far = Instant::now() + Duration::from_secs(30);
        // A joined thread may have its last step before it.
        assert_eq!(TURN.take(far).map(|_| ()), Err(NotFree::Lost));
        assert!(Instant::now() < far);
    }
}
