//! A guest that its host talks to, from its making to its end.
//!
//! # Safety
//! Gives the calling thread file-system attributes of its own (`unshare(2)`).

use super::calls::{Calls, Done, HostFunction, Outcome};
use super::options::Wanted;
use super::watch::{Deadline, Watched};
use crate::answer::{Answer, No};
use crate::{bridge, fail, new_report, spawn};
use relink_abi::error::Error;
use relink_loader::log::{self, Level};
use relink_loader::pipeline::{self, lock, Share, SharedReport, Ticked};
use relink_loader::runtime::channel::Channel;
use relink_loader::runtime::instance::{Instance, Sent};
use relink_loader::runtime::lifecycle::Life;
use relink_loader::runtime::{guards, threads, withheld};
use std::ffi::{CStr, CString};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The script that runs first in the guest.
const BOOTSTRAP: &str = include_str!("../../js/bootstrap.js");
/// How long a thread that waits for the guest sleeps between two looks.
const PAUSE: Duration = Duration::from_millis(1);

/// Where the guest is.
enum Session {
    Thread(JoinHandle<Option<Share>>),
    Ticked(Ticked),
    Ended(Option<Share>),
}

/// One of the runtimes.
pub struct Runtime {
    /// What its handle holds.
    pub id: usize,
    /// What is on its way.
    pub calls: Arc<Calls>,
    ticked: bool,
    /// The guest's thread, as [`here`] tells it.
    thread: Arc<AtomicUsize>,
    /// How many calls of the guest are on the stack of the thread that ticks it.
    depth: AtomicUsize,
    report: SharedReport,
    life: Arc<Life>,
    /// How long its scripts may keep the host's thread.
    deadline: Option<Arc<Deadline>>,
    session: Mutex<Session>,
}

/// A number that no other living thread has; 0 is none.
fn here() -> usize {
    thread_local!(static PLACE: u8 = const { 0 });
    PLACE.try_with(|place| std::ptr::from_ref(place) as usize).unwrap_or(0)
}

fn deadline(timeout_ms: u32) -> Instant {
    Instant::now() + Duration::from_millis(u64::from(timeout_ms))
}

impl Runtime {
    /// Brings Node in.
    pub fn create(wanted: Wanted, id: usize) -> Result<Self, No> {
        guards::all();
        if wanted.ticked && threads::was_made_for_the_guest() {
            let why =
                "a thread of a runtime's own cannot tick another: create that on a thread of the host's";
            return Err(Answer::WrongThread.because(why));
        }
        let life = Life::new(withheld::bits(&wanted.disallow));
        let deadline = match wanted.script_deadline_ms {
            0 => None,
            limit => {
                let none = || Answer::Refused.because("no thread that looks after script_deadline_ms");
                Some(Deadline::new(&life, limit).ok_or_else(none)?)
            }
        };
        let created = Self::bring_in(wanted, id, life, deadline.clone());
        if created.is_err() {
            deadline.iter().for_each(Deadline::forget);
        }
        created
    }

    fn bring_in(
        wanted: Wanted,
        id: usize,
        life: Arc<Life>,
        deadline: Option<Arc<Deadline>>,
    ) -> Result<Self, No> {
        let calls = Arc::new(Calls::new(deadline.clone()));
        let report = new_report();
        let listener = Arc::clone(&calls);
        let channel = Arc::new(Channel::new(listener, BOOTSTRAP, &wanted.settings, wanted.stay));
        let thread = Arc::new(AtomicUsize::new(0));
        let ticked = wanted.ticked;
        let session = if ticked {
            thread.store(here(), Ordering::Relaxed);
            begin(&wanted, channel, &calls, &life, &report)?
        } else {
            on_own_thread(wanted, channel, &calls, &thread, &life, &report)?
        };
        let depth = AtomicUsize::new(0);
        Ok(Self { id, calls, ticked, thread, depth, report, life, deadline, session: Mutex::new(session) })
    }

    /// The bridge's part of it; an error if there is none (any more).
    fn instance(&self) -> Result<&Instance, No> {
        self.life.instance().ok_or_else(ended)
    }

    /// In shared mode the host has to have entered its isolate.
    fn entered(&self) -> Result<(), No> {
        if !self.is_here() || self.life.instance().is_none_or(Instance::is_entered_here) {
            return Ok(());
        }
        Err(Answer::WrongThread.because("this thread has not entered the isolate that the guest is in"))
    }

    /// Whether the calling thread is the guest's.
    pub fn is_here(&self) -> bool {
        self.thread.load(Ordering::Relaxed) == here()
    }

    /// For what must not be done from within a script of the guest.
    fn outside(&self) -> Result<MutexGuard<'_, Session>, No> {
        let inside = || Answer::Busy.because("a script of this guest is running further out on the stack");
        let free = !self.is_here() || (self.ticked && self.depth.load(Ordering::Relaxed) == 0);
        self.session().filter(|_| free).ok_or_else(inside)
    }

    /// Runs scripts on this thread.
    fn inside<T>(&self, work: impl FnOnce() -> T) -> T {
        let _watched: Option<Watched> = self.deadline.as_ref().map(|deadline| deadline.enter());
        self.depth.fetch_add(1, Ordering::Relaxed);
        let done = work();
        self.depth.fetch_sub(1, Ordering::Relaxed);
        done
    }

    /// `None`: another thread looks at it, or the guest is being ticked.
    fn session(&self) -> Option<MutexGuard<'_, Session>> {
        match self.session.try_lock() {
            Ok(session) => Some(session),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Whether nothing can be called any more.
    pub fn has_ended(&self) -> bool {
        self.session().is_some_and(|session| match &*session {
            Session::Thread(thread) => thread.is_finished(),
            Session::Ticked(_) => false,
            Session::Ended(_) => true,
        })
    }

    /// Does what is due.
    pub fn tick(&self, budget_us: u64) -> Result<(), No> {
        if !self.ticked || !self.is_here() {
            return Err(Answer::WrongThread.because("a guest is ticked by the thread that created it so"));
        }
        self.entered()?;
        let mut session = self.outside()?;
        let Session::Ticked(ticked) = &*session else { return Err(ended()) };
        if self.inside(|| ticked.tick(budget_us))? {
            return Ok(());
        }
        self.end(&mut session)?;
        Err(ended())
    }

    /// Ends what this thread ticks.
    fn end(&self, session: &mut Session) -> Result<(), No> {
        if let Session::Ticked(_) = session {
            let Session::Ticked(ticked) = std::mem::replace(session, Session::Ended(None)) else {
                return Ok(());
            };
            let share = ticked.end();
            self.calls.end();
            *session = Session::Ended(Some(share?));
        }
        Ok(())
    }

    /// Loads a script and waits until it has run. `kind` is `file`, `string` or `package`.
    pub fn run(&self, kind: &str, what: &str, name: &str, timeout_ms: u32) -> Result<(Answer, String), No> {
        self.call(c"", &load_request(kind, what, name)?, timeout_ms)
    }

    /// Calls a function, or with an empty name has a script loaded, and waits for the answer.
    pub fn call(&self, function: &CStr, text: &CStr, timeout_ms: u32) -> Result<(Answer, String), No> {
        self.entered()?;
        let id = self.calls.waiting();
        let until = deadline(timeout_ms);
        let at_once = self.is_here();
        let instance = self.instance()?;
        let sent = if at_once {
            self.inside(|| instance.call(id, function, text))
        } else {
            instance.send(id, function, text)
        };
        let outcome = match sent {
            Sent::Taken if at_once => self.wait_here(id, until)?,
            Sent::Taken => self.calls.wait(id, until),
            Sent::NobodyListens | Sent::OtherThread => Outcome::Ended,
        };
        self.calls.forget(id);
        match outcome {
            Outcome::Answered(answer, text) => Ok((answer, text)),
            Outcome::Ended => Err(ended()),
            Outcome::Late => Err(Answer::Timeout.because(format!("no answer within {timeout_ms} ms"))),
        }
    }

    /// On the guest's own thread the answer is there, or comes while that is ticked.
    fn wait_here(&self, id: u64, until: Instant) -> Result<Outcome, No> {
        const BUDGET_US: u64 = 1000;
        const PAUSE: Duration = Duration::from_micros(50);
        loop {
            let outcome = self.calls.take(id);
            if outcome != Outcome::Late || (self.ticked && Instant::now() >= until) {
                return Ok(outcome);
            }
            match self.tick(BUDGET_US) {
                Ok(()) => std::thread::sleep(PAUSE),
                Err(no) if no.answer == Answer::Ended => return Ok(self.calls.take(id)),
                Err(_) => {
                    self.calls.forget(id);
                    let why = "the answer is a promise, and the thread that would settle it is this one";
                    return Err(Answer::WrongThread.because(why));
                }
            }
        }
    }

    /// Calls a function without waiting.
    pub fn call_async(&self, function: &CStr, text: &CStr, done: Done) -> Result<(), No> {
        let id = self.calls.told(done);
        if self.instance()?.send(id, function, text) == Sent::Taken {
            return Ok(());
        }
        self.calls.forget(id);
        Err(ended())
    }

    /// Has a callback called on the guest's loop.
    pub fn post(&self, work: Box<dyn FnOnce(bool) + Send>) -> Result<(), No> {
        if self.instance()?.post(work) == Sent::Taken {
            Ok(())
        } else {
            Err(ended())
        }
    }

    /// Sets a function of the host's.
    pub fn register(&self, name: String, function: Option<Arc<HostFunction>>) {
        self.calls.register(name, function);
    }

    /// The report as JSON.
    pub fn report(&self) -> String {
        serde_json::to_string(&*lock(&self.report)).unwrap_or_default()
    }

    /// Waits until Node has ended by itself.
    pub fn join(&self, timeout_ms: u32) -> Result<(), No> {
        if self.is_here() && !self.has_ended() {
            return Err(Answer::WrongThread.because("this is the guest's own thread"));
        }
        self.await_end(timeout_ms, || ())
    }

    /// Ends Node.
    pub fn stop(&self, timeout_ms: u32) -> Result<(), No> {
        self.entered()?;
        let ask = || self.interrupt("the host asked for it");
        if !self.is_here() || self.has_ended() {
            // Again and again: a guest that has not begun yet does not hear the first time.
            return self.await_end(timeout_ms, ask);
        }
        let mut session = self.outside()?;
        ask();
        self.end(&mut session)
    }

    /// Asks Node to end, for this reason. Returns at once.
    pub fn interrupt(&self, why: &str) {
        self.life.stop("stopped", 1, why);
    }

    fn await_end(&self, timeout_ms: u32, meanwhile: impl Fn()) -> Result<(), No> {
        let until = deadline(timeout_ms);
        while !self.has_ended() {
            meanwhile();
            if Instant::now() >= until {
                return Err(Answer::Timeout.because(format!("Node still runs after {timeout_ms} ms")));
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Ends Node and takes the guest out of the process. After OK and STAYS nothing is left to be asked for.
    pub fn destroy(&self, timeout_ms: u32) -> Result<(), No> {
        if self.ticked && !self.is_here() {
            return Err(
                Answer::WrongThread.because("a ticked guest is destroyed by the thread that ticks it")
            );
        }
        self.entered()?;
        self.stop(timeout_ms)?;
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let share = match std::mem::replace(&mut *session, Session::Ended(None)) {
            Session::Ended(share) => share,
            Session::Thread(thread) => join(thread, &self.life),
            Session::Ticked(_) => None,
        };
        self.deadline.iter().for_each(Deadline::forget);
        take_out(share)
    }
}

fn ended() -> No {
    Answer::Ended.because("Node has ended")
}

/// What the guest's thread gives back, which has ended or is about to.
fn join(thread: JoinHandle<Option<Share>>, life: &Life) -> Option<Share> {
    let share = thread.join().unwrap_or(None);
    life.thread_is_gone();
    share
}

/// Takes what Node left out of the process.
fn take_out(share: Option<Share>) -> Result<(), No> {
    share.map_or(Ok(()), Share::give_back).map_err(|error| {
        // Of this one the host knows.
        let level = if matches!(error, Error::StaysShared) { Level::Info } else { Level::Error };
        log::tell(level, &error.line());
        Answer::Stays.because(error.line())
    })
}

/// Why Node is not there although nothing refused it.
fn why_ended(report: &SharedReport) -> No {
    let report = lock(report);
    let failed = report.error.as_ref().map(|e| format!("{} {}", e.code, e.message));
    let ended = report.outcome.as_ref().map(|o| format!("Node ended at once ({}) {}", o.how, o.message));
    Answer::Refused.because(failed.or(ended).unwrap_or_else(|| "Node did not start".into()))
}

fn on_own_thread(
    wanted: Wanted,
    channel: Arc<Channel>,
    calls: &Arc<Calls>,
    place: &Arc<AtomicUsize>,
    life: &Arc<Life>,
    report: &SharedReport,
) -> Result<Session, No> {
    let (place, at_the_end) = (Arc::clone(place), Arc::clone(calls));
    let cwd = wanted.config.cwd.clone();
    let prepare = move || {
        place.store(here(), Ordering::Relaxed);
        cwd.as_deref().map_or(Ok(()), own_working_directory)
    };
    let end = move |entered| {
        at_the_end.end();
        entered
    };
    let thread = spawn(wanted.config, Some(channel), life, Arc::clone(report), prepare, end);
    let thread = thread.ok_or_else(|| why_ended(report))?;
    while !calls.opened() {
        if thread.is_finished() && !calls.opened() {
            let no = take_out(join(thread, life)).err();
            return Err(no.unwrap_or_else(|| why_ended(report)));
        }
        calls.pause(Instant::now() + PAUSE);
    }
    Ok(Session::Thread(thread))
}

fn begin(
    wanted: &Wanted,
    channel: Arc<Channel>,
    calls: &Calls,
    life: &Arc<Life>,
    report: &SharedReport,
) -> Result<Session, No> {
    let config = &wanted.config;
    lock(report).guest = config.guest.display().to_string();
    let ticked = pipeline::begin(config, bridge::all(), channel, life, report);
    calls.main_script_has_run();
    let ticked = ticked.map_err(|error| {
        fail(&error, report, config.report.as_deref());
        No::from(error)
    })?;
    if calls.opened() {
        return Ok(Session::Ticked(ticked));
    }
    let left = take_out(Some(ticked.end()?)).err();
    Err(left.unwrap_or_else(|| why_ended(report)))
}

/// The guest's thread, and those that it makes, get a working directory of their own.
fn own_working_directory(folder: &Path) -> Result<(), Error> {
    let failed = |e: std::io::Error| Error::Setting {
        name: "cwd",
        why: format!("\"{}\": {e}; name a folder that can be entered", folder.display()),
    };
    // SAFETY: this thread alone stops sharing its file-system attributes.
    if unsafe { libc::unshare(libc::CLONE_FS) } != 0 {
        return Err(failed(std::io::Error::last_os_error()));
    }
    std::env::set_current_dir(folder).map_err(failed)
}

/// What has the bootstrap load a script, as the text of a call without a name.
pub fn load_request(kind: &str, what: &str, name: &str) -> Result<CString, No> {
    c_text(serde_json::json!({ "kind": kind, "what": what, "as": name }).to_string())
}

/// A text for the bootstrap.
pub fn c_text(text: String) -> Result<CString, No> {
    CString::new(text).map_err(|_| Answer::Argument.because("a text with a zero byte"))
}

/// Those that were created and not destroyed.
static RUNTIMES: Mutex<Vec<Arc<Runtime>>> = Mutex::new(Vec::new());

/// All of them. Held only for a moment.
pub fn runtimes() -> MutexGuard<'static, Vec<Arc<Runtime>>> {
    RUNTIMES.lock().unwrap_or_else(PoisonError::into_inner)
}
