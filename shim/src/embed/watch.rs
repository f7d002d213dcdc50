//! A bound on how long scripts may keep a thread of the host's: another thread looks, and ends the runtime that goes beyond it.
//!
//! Entering and leaving costs two words: the thread that looks is woken only if it has nothing to look at. It lives as long as there
//! is a runtime with a bound.

use relink_loader::runtime::lifecycle::Life;
use relink_loader::runtime::signals;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// The bound of one runtime.
pub struct Deadline {
    life: Arc<Life>,
    limit_us: u64,
    /// When the host's thread entered it, as [`now_us`] tells; 0: it has not.
    entered: AtomicU64,
}

/// While one lives, the host's thread is in the runtime.
pub struct Watched<'d>(Option<&'d Deadline>);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        if let Some(deadline) = self.0 {
            deadline.left();
        }
    }
}

#[derive(Default)]
struct Watch {
    all: Vec<Arc<Deadline>>,
    /// There is a thread that looks.
    looks: bool,
}

static WATCH: Mutex<Watch> = Mutex::new(Watch { all: Vec::new(), looks: false });
static CHANGED: Condvar = Condvar::new();
/// The thread waits for somebody to be entered.
static ASLEEP: AtomicBool = AtomicBool::new(false);

fn watch() -> MutexGuard<'static, Watch> {
    WATCH.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Microseconds since the first call, never 0.
fn now_us() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_micros() as u64 + 1
}

impl Deadline {
    /// Has it looked after. `None`: there is no thread for that.
    pub fn new(life: &Arc<Life>, limit_ms: u32) -> Option<Arc<Self>> {
        let limit_us = u64::from(limit_ms) * 1000;
        let made = Arc::new(Self { life: Arc::clone(life), limit_us, entered: AtomicU64::new(0) });
        let mut watch = watch();
        if !watch.looks {
            let thread = std::thread::Builder::new().name("relink-watch".into());
            signals::blocked(|| thread.spawn(look)).ok()?;
            watch.looks = true;
        }
        watch.all.push(Arc::clone(&made));
        Some(made)
    }

    /// The calling thread enters the runtime. Further in, what was begun further out counts.
    pub fn enter(&self) -> Watched<'_> {
        if self.entered.compare_exchange(0, now_us(), Ordering::SeqCst, Ordering::Relaxed).is_err() {
            return Watched(None);
        }
        if ASLEEP.load(Ordering::SeqCst) {
            drop(watch());
            CHANGED.notify_all();
        }
        Watched(Some(self))
    }

    /// The calling thread has left it.
    pub fn left(&self) {
        self.entered.store(0, Ordering::SeqCst);
    }

    /// The runtime is gone.
    pub fn forget(self: &Arc<Self>) {
        watch().all.retain(|other| !Arc::ptr_eq(other, self));
        CHANGED.notify_all();
    }

    /// When its time is over; nothing if it is not entered.
    fn over_at(&self) -> Option<u64> {
        let entered = self.entered.load(Ordering::SeqCst);
        (entered != 0).then(|| entered + self.limit_us)
    }

    fn end(&self) {
        let why = format!("a script kept the host's thread for more than {} ms", self.limit_us / 1000);
        self.life.stop("deadline", 1, &why);
    }
}

/// The thread.
fn look() {
    /// A runtime that was told to end and has not yet is told again.
    const AGAIN: Duration = Duration::from_millis(20);
    let mut all = watch();
    while !all.all.is_empty() {
        let now = now_us();
        let late: Vec<_> =
            all.all.iter().filter(|d| d.over_at().is_some_and(|at| at <= now)).cloned().collect();
        if !late.is_empty() {
            drop(all);
            late.iter().for_each(|deadline| deadline.end());
            std::thread::sleep(AGAIN);
            all = watch();
            continue;
        }
        ASLEEP.store(true, Ordering::SeqCst);
        let wait = match all.all.iter().filter_map(|d| d.over_at()).min() {
            // Whoever enters from now on has at least the least of all limits.
            Some(first) => {
                ASLEEP.store(false, Ordering::SeqCst);
                let least = all.all.iter().map(|d| d.limit_us).min().unwrap_or_default();
                Duration::from_micros((first - now).min(least).max(1))
            }
            None => Duration::MAX,
        };
        all = CHANGED.wait_timeout(all, wait).unwrap_or_else(PoisonError::into_inner).0;
        ASLEEP.store(false, Ordering::SeqCst);
    }
    all.looks = false;
}
