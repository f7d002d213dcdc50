//! What is on its way between the host and scripts of the guest: calls that wait for their answer, functions of the host's.

use super::watch::Deadline;
use crate::answer::Answer;
use relink_loader::runtime::channel::Listener;
use relink_loader::runtime::threads;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A function of the host's: JSON text in and out, or a message.
pub type HostFunction = dyn Fn(&str) -> Result<String, String> + Send + Sync;
/// Whoever waits for an answer without blocking.
pub type Done = Box<dyn FnOnce(Answer, &str) + Send>;

/// Where a call is.
enum Call {
    Waiting,
    Answered(Answer, String),
    Told(Done),
}

#[derive(Default)]
struct State {
    opened: bool,
    closed: bool,
    last: u64,
    calls: HashMap<u64, Call>,
    functions: HashMap<String, Arc<HostFunction>>,
}

/// What became of a call that was waited for.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its answer and result.
    Answered(Answer, String),
    /// The guest has ended.
    Ended,
    /// Not yet.
    Late,
}

/// Calls and functions of one guest.
#[derive(Default)]
pub struct Calls {
    state: Mutex<State>,
    changed: Condvar,
    /// Of the main script, while relink_create() runs it.
    deadline: Option<Arc<Deadline>>,
}

impl Calls {
    /// Those of a new guest.
    pub fn new(deadline: Option<Arc<Deadline>>) -> Self {
        Self { deadline, ..Self::default() }
    }

    /// It has, up to its first wait.
    pub fn main_script_has_run(&self) {
        self.deadline.iter().for_each(|deadline| deadline.left());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(&self, call: Call) -> u64 {
        let mut state = self.state();
        state.last += 1;
        let id = state.last;
        state.calls.insert(id, call);
        id
    }

    /// The number of a call that will be waited for.
    pub fn waiting(&self) -> u64 {
        self.number(Call::Waiting)
    }

    /// The number of a call whose answer is told to `done`.
    pub fn told(&self, done: Done) -> u64 {
        self.number(Call::Told(done))
    }

    /// Nobody waits for it any more.
    pub fn forget(&self, id: u64) {
        self.state().calls.remove(&id);
    }

    /// Takes the answer, if it is there.
    pub fn take(&self, id: u64) -> Outcome {
        Self::take_from(&mut self.state(), id)
    }

    fn take_from(state: &mut State, id: u64) -> Outcome {
        match state.calls.get(&id) {
            Some(Call::Answered(..)) => {}
            _ if state.closed => return Outcome::Ended,
            _ => return Outcome::Late,
        }
        match state.calls.remove(&id) {
            Some(Call::Answered(answer, text)) => Outcome::Answered(answer, text),
            _ => Outcome::Late,
        }
    }

    /// Waits for the answer. A call that is late is forgotten.
    pub fn wait(&self, id: u64, deadline: Instant) -> Outcome {
        let mut state = self.state();
        loop {
            let outcome = Self::take_from(&mut state, id);
            let left = deadline.checked_duration_since(Instant::now());
            match (outcome, left) {
                (Outcome::Late, Some(left)) => {
                    state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
                }
                (outcome, _) => {
                    state.calls.remove(&id);
                    return outcome;
                }
            }
        }
    }

    /// Whether the guest was ready to be called, ever.
    pub fn opened(&self) -> bool {
        self.state().opened
    }

    /// Waits a moment for a change.
    pub fn pause(&self, until: Instant) {
        let left = until.saturating_duration_since(Instant::now());
        let state = self.state();
        if !state.opened && !state.closed {
            drop(self.changed.wait_timeout(state, left));
        }
    }

    /// Sets a function of the host's, or takes it away.
    pub fn register(&self, name: String, function: Option<Arc<HostFunction>>) {
        let mut state = self.state();
        match function {
            Some(function) => drop(state.functions.insert(name, function)),
            None => drop(state.functions.remove(&name)),
        }
    }

    /// The guest has ended: who still waits is told.
    pub fn end(&self) {
        let mut told = Vec::new();
        {
            let mut state = self.state();
            state.closed = true;
            let calls = std::mem::take(&mut state.calls);
            for (id, call) in calls {
                match call {
                    Call::Told(done) => told.push(done),
                    other => drop(state.calls.insert(id, other)),
                }
            }
        }
        self.changed.notify_all();
        for done in told {
            threads::as_host(|| done(Answer::Ended, "null"));
        }
    }
}

impl Listener for Calls {
    fn opened(&self) {
        // On a thread of the host's, which comes to the main script next.
        self.deadline.iter().for_each(|deadline| std::mem::forget(deadline.enter()));
        self.state().opened = true;
        self.changed.notify_all();
    }

    fn closed(&self) {
        self.end();
    }

    fn answer(&self, id: u64, status: i32, text: &str) {
        let answer = Answer::of(status);
        let done = {
            let mut state = self.state();
            match state.calls.remove(&id) {
                // Whoever asked has given up.
                None => return,
                Some(Call::Told(done)) => Some(done),
                Some(_) => {
                    state.calls.insert(id, Call::Answered(answer, text.to_owned()));
                    None
                }
            }
        };
        match done {
            Some(done) => threads::as_host(|| done(answer, text)),
            None => self.changed.notify_all(),
        }
    }

    fn host(&self, name: &str, text: &str) -> Result<String, String> {
        let function = self.state().functions.get(name).cloned();
        let function = function.ok_or_else(|| format!("the host has no function \"{name}\""))?;
        function(text)
    }
}
