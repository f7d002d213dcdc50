//! The add-ons that there are and those that come: a state for each, and no lock while code of theirs runs.
//!
//! # Safety
//! Finalisers run when the caller says that nothing of the image runs any more.

use super::lock;
use crate::guest::stage::Staged;
use crate::runtime::lifecycle;
use relink_abi::error::Error;
use relink_elf::address::{LoadBias, RunAddr};
use std::ffi::{c_void, CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Device and inode of a file.
pub(super) type Id = (u64, u64);

/// What is known of an image of an add-on's: its own, or that of a library of its.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) id: Id,
    /// Its file.
    pub(super) path: PathBuf,
    /// The folders of its `DT_RUNPATH` or `DT_RPATH`.
    pub(super) folders: Vec<PathBuf>,
    /// Those of its libraries that are images like it.
    pub(super) needs: Vec<Id>,
    pub(super) staged: Staged,
}

enum State {
    /// By the thread of this number, whose code or the image's initialisers run.
    Loading(i32),
    Ready,
    /// Never to be used, for this reason.
    Broken(String),
}

struct Entry {
    id: Id,
    state: State,
    /// Nothing before it is loaded.
    image: Option<Image>,
    /// Its path, for whoever asks where an address is.
    name: CString,
    /// How often it is open, or needed by another one.
    opened: usize,
}

impl Entry {
    fn handle(&self) -> Option<*mut c_void> {
        self.image.as_ref().map(|image| image.staged.handle())
    }
}

#[derive(Default)]
struct All {
    entries: Vec<Entry>,
    /// Threads that wait for one, by number.
    waiting: Vec<(i32, Id)>,
}

static ALL: Mutex<All> = Mutex::new(All { entries: Vec::new(), waiting: Vec::new() });
static CHANGED: Condvar = Condvar::new();

/// For code of an add-on's that another thread runs: a thread that ticks a guest is the host's.
const LIMIT: Duration = Duration::from_secs(30);

/// What became of a claim.
pub(super) enum Claim {
    /// It is there, and counted as opened once more.
    There(*mut c_void, LoadBias),
    /// It is the caller's to load.
    Ours(Claimed),
    /// It is not there, and not to be loaded.
    Absent,
}

/// The right to load an image. Dropped, it is as if nobody had tried.
#[derive(Debug)]
pub(super) struct Claimed(Id);

impl Drop for Claimed {
    fn drop(&mut self) {
        lock(&ALL).entries.retain(|entry| entry.id != self.0 || entry.image.is_some());
        CHANGED.notify_all();
    }
}

impl All {
    fn at(&self, id: Id) -> Option<usize> {
        self.entries.iter().position(|entry| entry.id == id)
    }

    fn loader(&self, id: Id) -> Option<i32> {
        self.entries.iter().find(|entry| entry.id == id).and_then(|entry| match entry.state {
            State::Loading(thread) => Some(thread),
            _ => None,
        })
    }

    /// Whether the thread that loads it waits, maybe for others that wait, for the calling one.
    fn waits_for(&self, own: i32, mut id: Id) -> bool {
        for _ in 0..=self.waiting.len() {
            match self.loader(id) {
                Some(thread) if thread == own => return true,
                Some(thread) => match self.waiting.iter().find(|(waits, _)| *waits == thread) {
                    Some((_, next)) => id = *next,
                    None => return false,
                },
                None => return false,
            }
        }
        true
    }
}

/// Claims the image of this file, and waits for another thread that loads it. As ld.so does it, one that is asked for by its own
/// initialisers is there.
///
/// # Errors
/// It is broken, or another thread has not done with it in time.
pub(super) fn claim(id: Id, path: &Path, load: bool) -> Result<Claim, Error> {
    let (own, deadline) = (lifecycle::own_thread(), Instant::now() + LIMIT);
    let mut all = lock(&ALL);
    loop {
        let Some(at) = all.at(id) else {
            if !load {
                return Ok(Claim::Absent);
            }
            let name = CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
            let state = State::Loading(own);
            all.entries.push(Entry { id, state, image: None, name, opened: 1 });
            return Ok(Claim::Ours(Claimed(id)));
        };
        let circle = all.waits_for(own, id);
        let entry = &mut all.entries[at];
        match (&entry.state, &entry.image) {
            (State::Broken(why), _) => {
                return Err(Error::Initialiser { image: path.display().to_string(), why: why.clone() });
            }
            (State::Ready, Some(image)) => {
                let there = Claim::There(image.staged.handle(), image.staged.bias());
                entry.opened += 1;
                return Ok(there);
            }
            (State::Loading(_), Some(image)) if circle => {
                let there = Claim::There(image.staged.handle(), image.staged.bias());
                entry.opened += 1;
                return Ok(there);
            }
            (State::Loading(_), None) if circle => {
                let why = "it asks for itself while it is loaded".to_owned();
                return Err(Error::Stage { what: path.display().to_string(), why });
            }
            (State::Loading(thread), _) if !lifecycle::is_alive(*thread) => {
                entry.state = State::Broken("the thread that loaded it is gone".into());
                continue;
            }
            (State::Loading(thread), _) if Instant::now() >= deadline => {
                let waited_ms = LIMIT.as_millis() as u64;
                let what = "an add-on is being loaded, and its initialisers run,";
                return Err(Error::Busy { what, thread: *thread, waited_ms });
            }
            _ => {}
        }
        all = pause(all, own, id);
    }
}

fn pause(mut all: MutexGuard<'static, All>, own: i32, id: Id) -> MutexGuard<'static, All> {
    /// How often it is seen whether the thread that loads it lives.
    const LOOK: Duration = Duration::from_millis(100);
    all.waiting.push((own, id));
    let mut all = CHANGED.wait_timeout(all, LOOK).unwrap_or_else(PoisonError::into_inner).0;
    all.waiting.retain(|(thread, _)| *thread != own);
    all
}

/// The image is loaded and bound; its initialisers are about to run. It comes after all that are there.
pub(super) fn loaded(claimed: Claimed, image: Image) {
    let mut all = lock(&ALL);
    let Some(at) = all.at(claimed.0) else { return };
    let mut entry = all.entries.remove(at);
    entry.image = Some(image);
    all.entries.push(entry);
    drop(all);
    drop(claimed);
}

/// Its initialisers have run, or one did not return.
pub(super) fn initialised(id: Id, ended: Result<(), String>) {
    let mut all = lock(&ALL);
    for entry in all.entries.iter_mut().filter(|entry| entry.id == id) {
        entry.state = match &ended {
            Ok(()) => State::Ready,
            Err(why) => State::Broken(why.clone()),
        };
    }
    drop(all);
    CHANGED.notify_all();
}

/// Waits for images that others have loaded, as far as they wait for nothing of the calling thread's.
pub(super) fn wait_for(ids: &[Id]) {
    let (own, deadline) = (lifecycle::own_thread(), Instant::now() + LIMIT);
    for id in ids {
        let mut all = lock(&ALL);
        while Instant::now() < deadline && all.loader(*id).is_some_and(lifecycle::is_alive) {
            if all.waits_for(own, *id) {
                break;
            }
            all = pause(all, own, *id);
        }
    }
}

/// The calling thread never goes on: what it was loading is broken.
pub(in crate::runtime) fn abandoned_here() {
    let own = lifecycle::own_thread();
    let mut all = lock(&ALL);
    for entry in &mut all.entries {
        if matches!(entry.state, State::Loading(thread) if thread == own) {
            entry.state = State::Broken("the thread that loaded it never goes on".into());
        }
    }
    all.waiting.retain(|(thread, _)| *thread != own);
    drop(all);
    CHANGED.notify_all();
}

/// How a handle was closed.
pub(super) enum Closed {
    /// It is no add-on's.
    Foreign,
    /// It is still open elsewhere, or not to be unloaded.
    Open,
    /// It was closed as often as opened, and so it stays.
    Stays,
    /// It was taken out: nothing of these runs any more, and they are to be finalised in this order.
    Gone(Vec<Staged>),
}

/// Closes a handle once.
pub(super) fn close(handle: *mut c_void, keeps: bool) -> Closed {
    let mut all = lock(&ALL);
    let Some(at) = all.entries.iter().position(|entry| entry.handle() == Some(handle)) else {
        return Closed::Foreign;
    };
    let entry = &mut all.entries[at];
    entry.opened = entry.opened.saturating_sub(1);
    if entry.opened > 0 || !matches!(entry.state, State::Ready) {
        return Closed::Open;
    }
    if keeps {
        return Closed::Stays;
    }
    let mut gone = Vec::new();
    let mut ids = vec![entry.id];
    while let Some(id) = ids.pop() {
        let Some(at) = all.at(id) else { continue };
        let entry = &mut all.entries[at];
        // The first one was counted above.
        if !gone.is_empty() {
            entry.opened = entry.opened.saturating_sub(1);
        }
        if entry.opened > 0 || !matches!(entry.state, State::Ready) {
            continue;
        }
        if let Some(image) = all.entries.remove(at).image {
            ids.extend(image.needs);
            gone.push(image.staged);
        }
    }
    Closed::Gone(gone)
}

/// An image that is to be unloaded with the guest.
#[derive(Debug)]
#[must_use]
pub struct Loaded {
    staged: Staged,
    /// Its initialisers have run to their end.
    whole: bool,
}

impl Loaded {
    /// Runs its finalisers, unless an initialiser did not return.
    ///
    /// # Safety
    /// Nothing of it runs any more. To be called once.
    pub unsafe fn finalise(&self) {
        if self.whole {
            // SAFETY: promised by the caller.
            unsafe { self.staged.finalise() };
        }
    }

    /// Unloads it.
    ///
    /// # Safety
    /// It has been finalised, nothing of it runs any more, and nobody refers to it.
    pub unsafe fn discard(self) {
        // SAFETY: promised by the caller.
        unsafe { self.staged.discard() };
    }

    /// Leaves it loaded for ever.
    pub fn keep(self) {
        self.staged.keep();
    }
}

/// All that are loaded, the last one first, to be unloaded before the guest is.
pub fn take() -> Vec<Loaded> {
    let entries = std::mem::take(&mut lock(&ALL).entries);
    let loaded = |entry: Entry| {
        let whole = matches!(entry.state, State::Ready);
        Some(Loaded { staged: entry.image?.staged, whole })
    };
    entries.into_iter().rev().filter_map(loaded).collect()
}

/// Does something with the image that spans this address, and its name; nothing where none does.
pub(super) fn at<T>(address: RunAddr, work: impl FnOnce(&Image, &CStr) -> T) -> Option<T> {
    let all = lock(&ALL);
    let spans = |entry: &&Entry| entry.image.as_ref().is_some_and(|i| i.staged.span().contains(&address));
    let entry = all.entries.iter().find(spans)?;
    Some(work(entry.image.as_ref()?, &entry.name))
}

/// The folder in which the file of this handle's image lies.
pub(super) fn folder_of(handle: *mut c_void) -> Option<PathBuf> {
    let all = lock(&ALL);
    let entry = all.entries.iter().find(|entry| entry.handle() == Some(handle))?;
    Some(entry.image.as_ref()?.path.parent()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::stage::tests::staged;

    fn image(id: Id) -> Image {
        Image { id, path: "/x.node".into(), folders: Vec::new(), needs: Vec::new(), staged: staged() }
    }

    fn ours(id: Id) -> Claimed {
        match claim(id, Path::new("/x.node"), true) {
            Ok(Claim::Ours(claimed)) => claimed,
            _ => panic!("{id:?} is somebody's"),
        }
    }

    fn is_there(id: Id) -> bool {
        matches!(claim(id, Path::new("/x.node"), false), Ok(Claim::There(..)))
    }

    fn code(id: Id) -> &'static str {
        claim(id, Path::new("/x.node"), true).map_or_else(|error| error.code(), |_| "none")
    }

    #[test]
    fn who_asks_for_one_that_comes_waits_but_not_for_one_that_is_lost() {
        const DROPPED: Id = (9, 1);
        drop(ours(DROPPED));
        drop(ours(DROPPED));
        // Its own initialisers find it there; another thread waits for them.
        const COMES: Id = (9, 2);
        loaded(ours(COMES), image(COMES));
        assert!(is_there(COMES));
        let waits = std::thread::spawn(|| is_there(COMES));
        std::thread::sleep(Duration::from_millis(20));
        assert!(!waits.is_finished());
        initialised(COMES, Ok(()));
        assert!(waits.join().expect("joined"));
        // Whoever loads it never goes on, or is gone.
        const LOST: Id = (9, 3);
        let lost = std::thread::spawn(|| {
            loaded(ours(LOST), image(LOST));
            abandoned_here();
        });
        lost.join().expect("joined");
        assert_eq!(code(LOST), "E0506");
        const GONE: Id = (9, 4);
        std::thread::spawn(|| loaded(ours(GONE), image(GONE))).join().expect("joined");
        assert_eq!(code(GONE), "E0506");
        a_circle_of_threads_waits_for_nobody();
        take().into_iter().for_each(Loaded::keep);
    }

    /// Two whose initialisers ask for each other on two threads.
    fn a_circle_of_threads_waits_for_nobody() {
        const A: Id = (8, 1);
        const B: Id = (8, 2);
        let (told, tell) = std::sync::mpsc::channel();
        loaded(ours(A), image(A));
        let other = std::thread::spawn(move || {
            loaded(ours(B), image(B));
            told.send(()).expect("received");
            let there = is_there(A);
            initialised(B, Ok(()));
            there
        });
        tell.recv().expect("told");
        let started = Instant::now();
        assert!(is_there(B));
        initialised(A, Ok(()));
        assert!(other.join().expect("joined") && started.elapsed() < LIMIT);
    }
}
