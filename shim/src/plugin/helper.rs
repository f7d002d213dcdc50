//! A thread beside the game's that does what may take time: waits for the host's V8, looks for changed scripts, notices a script
//! that keeps a frame for ever; and runs the guest's life where Node has a thread of its own.

use super::error::PluginError;
use super::journal::Journal;
use super::life::Life;
use super::scripts::Watch;
use super::settings::{Run, Settings};
use crate::embed::Runtime;
use crate::{bridge, new_report};
use relink_loader::pipeline;
use relink_loader::runtime::{lifecycle, sanitizers, signals, variables, writes};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What the game's thread and the helper both know.
pub struct Shared {
    /// What was asked for.
    pub settings: Settings,
    journal: Arc<Journal>,
    ready: AtomicBool,
    changed: Mutex<Option<PathBuf>>,
    watch: Option<Mutex<Watch>>,
    status: Mutex<String>,
    quit: Mutex<bool>,
    wake: Condvar,
    began: Instant,
    /// When the tick that is running began, in milliseconds since `began`, plus one; 0: none is.
    ticking: AtomicU64,
    /// When scripts are looked at next, in milliseconds since `began`.
    next: AtomicU64,
    /// The tick of which it was said that it hangs.
    said: AtomicU64,
    /// Node, while it runs.
    guest: Mutex<Option<Arc<Runtime>>>,
}

/// A tick that is watched while this lives.
pub struct Watched<'a>(&'a Shared);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.0.ticking.store(0, Ordering::Relaxed);
    }
}

impl Shared {
    /// Nothing has happened yet.
    pub fn new(settings: Settings, journal: Arc<Journal>) -> Self {
        let watch = settings.reload.map(|_| Mutex::new(Watch::new(&settings.scripts, &settings.watch)));
        writes::keep(watch.is_some());
        variables::report_modules(watch.is_some());
        Self {
            settings,
            journal,
            ready: AtomicBool::new(false),
            changed: Mutex::new(None),
            watch,
            status: Mutex::new("waiting for the V8 of the game to be initialised".into()),
            quit: Mutex::new(false),
            wake: Condvar::new(),
            began: Instant::now(),
            ticking: AtomicU64::new(0),
            next: AtomicU64::new(0),
            said: AtomicU64::new(0),
            guest: Mutex::new(None),
        }
    }

    /// Says a line.
    pub fn say(&self, line: &str) {
        self.journal.say(line);
    }

    /// What `QueryRunning` answers: "running", or why not.
    pub fn status(&self, now: &str) {
        let mut status = self.lock_status();
        if *status != now {
            now.clone_into(&mut status);
        }
    }

    fn lock_status(&self) -> MutexGuard<'_, String> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why it does not run; nothing if it does.
    pub fn why_not(&self) -> Option<String> {
        let status = self.lock_status();
        (*status != "running").then(|| status.clone())
    }

    /// Says why Node is not there.
    pub fn fail(&self, why: &str) {
        self.status(why);
        self.say(why);
    }

    /// Whether the host's V8 may be used.
    pub fn v8_is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// A file that has changed since this was asked last, for the log.
    pub fn scripts_changed(&self) -> Option<String> {
        let changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let short = changed.strip_prefix(&self.settings.scripts).unwrap_or(&changed);
        Some(short.display().to_string())
    }

    /// Runs `with` on what is looked after, if anything is.
    pub fn with_watch(&self, with: impl FnOnce(&mut Watch)) {
        if let Some(watch) = &self.watch {
            with(&mut watch.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// The game's thread is about to run scripts.
    pub fn watch_frame(&self) -> Watched<'_> {
        self.ticking.store(self.now() + 1, Ordering::Relaxed);
        Watched(self)
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn lock_quit(&self) -> MutexGuard<'_, bool> {
        self.quit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn quits(&self) -> bool {
        *self.lock_quit()
    }

    fn pause(&self, time: Duration) {
        drop(self.wake.wait_timeout_while(self.lock_quit(), time, |quit| !*quit));
    }

    /// Whether it is time for what is done so often.
    fn due(&self, every: Duration) -> bool {
        let now = self.now();
        let due = now >= self.next.load(Ordering::Relaxed);
        if due {
            self.next.store(now + every.as_millis() as u64, Ordering::Relaxed);
        }
        due
    }

    /// A tick that lasts too long is interrupted, again and again until it hears.
    fn interrupt_hung(&self) {
        let since = self.ticking.load(Ordering::Relaxed);
        let lasted = (self.now() + 1).saturating_sub(since);
        let limit = self.settings.hang.as_millis() as u64;
        if since == 0 || limit == 0 || lasted <= limit {
            return;
        }
        if self.said.swap(since, Ordering::Relaxed) != since {
            self.say(&format!("a script has kept a frame for {lasted} ms (\"hang_ms\"): Node is ended"));
        }
        let guest = self.lock_guest().clone();
        if let Some(guest) = guest {
            guest.interrupt("a script kept a frame of the game for too long");
        }
    }

    fn lock_guest(&self) -> MutexGuard<'_, Option<Arc<Runtime>>> {
        self.guest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Node runs from now on, or no longer.
    pub fn runs(&self, guest: Option<&Arc<Runtime>>) {
        *self.lock_guest() = guest.map(Arc::clone);
    }
}

/// The thread, and what it ends with.
pub struct Helper {
    shared: Arc<Shared>,
    ended: Receiver<Result<(), PluginError>>,
    thread: Option<JoinHandle<()>>,
}

impl Helper {
    /// Starts it.
    pub fn start(shared: &Arc<Shared>) -> Result<Self, PluginError> {
        let (tell, ended) = channel();
        let of_the_thread = Arc::clone(shared);
        let thread = std::thread::Builder::new().name("relink-plugin".into());
        // Signals are the game's.
        let spawned = signals::blocked(|| thread.spawn(move || run(&of_the_thread, &tell)));
        let thread = spawned.map_err(|error| PluginError::Not(format!("no thread: {error}")))?;
        Ok(Self { shared: Arc::clone(shared), ended, thread: Some(thread) })
    }

    /// Ends it, and in thread mode Node, which takes a bounded time.
    pub fn end(&mut self) -> Result<(), PluginError> {
        /// For what is not Node's own time to end.
        const MORE: Duration = Duration::from_secs(5);
        *self.shared.lock_quit() = true;
        self.shared.wake.notify_all();
        let limit = Duration::from_millis(u64::from(self.shared.settings.stop_ms)) + MORE;
        match self.ended.recv_timeout(limit) {
            Ok(Err(error)) if !error.stays() => Err(error),
            Ok(done) => {
                // It has said all; a panic's message went to standard error.
                self.thread.take().into_iter().for_each(|thread| drop(thread.join()));
                done
            }
            Err(RecvTimeoutError::Disconnected) => Ok(()),
            Err(RecvTimeoutError::Timeout) => Err(PluginError::Not(format!(
                "the plugin's thread still runs after {} ms",
                limit.as_millis()
            ))),
        }
    }
}

fn run(shared: &Arc<Shared>, tell: &Sender<Result<(), PluginError>>) {
    sanitizers::leave_thread_unjudged();
    wait_for_v8(shared);
    let mut life = (shared.settings.run == Run::Thread).then(|| Life::new(Arc::clone(shared)));
    loop {
        while !shared.quits() && !lifecycle::host_is_leaving() {
            look(shared);
            shared.interrupt_hung();
            life.iter_mut().for_each(|life| life.step(None));
            shared.pause(Duration::from_millis(50));
        }
        // A game that leaves has the guest ended elsewhere, in its own time.
        let life = life.as_mut().filter(|_| !lifecycle::host_is_leaving());
        let ended = life.map_or(Ok(()), Life::end);
        let again = matches!(&ended, Err(error) if !error.stays());
        *shared.lock_quit() &= !again;
        // Whoever asked may have gone on.
        let _ = tell.send(ended);
        if !again {
            return;
        }
    }
}

/// Looks for changes, now and then.
fn look(shared: &Shared) {
    if shared.settings.reload.is_some_and(|every| shared.due(every)) {
        shared.with_watch(|watch| {
            if let Some(file) = watch.changed() {
                *shared.changed.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
            }
        });
    }
}

fn wait_for_v8(shared: &Shared) {
    let config = shared.settings.config();
    let wanted = || !shared.quits();
    match pipeline::await_v8(config, bridge::all(), &new_report(), &wanted) {
        Ok(ready) => shared.ready.store(ready, Ordering::Release),
        Err(error) => shared.fail(&error.line()),
    }
}
