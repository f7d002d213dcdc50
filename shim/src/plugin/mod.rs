//! librelink.so as a plugin of Metamod:Source (docs/GAME-SERVERS.md): what Metamod asks for by name, and the plugin's functions.
//!
//! # Safety
//! Metamod calls each function with what its headers say (`abi.rs`), all of them on the game's thread, and its `ISmmAPI` is there as
//! long as the plugin is loaded. Nothing of ours unwinds into it.

mod abi;
mod error;
mod factories;
mod frame;
mod game;
mod helper;
mod journal;
mod khook;
mod life;
mod scripts;
mod settings;
mod source_hook;

use crate::{bridge, new_report, process};
use abi::{Api, Ask, Interface, LoaderInfo, Object, Offer, PluginFunctions, Table, Text, This, Versions};
use error::PluginError;
use frame::FrameHook;
use helper::{Helper, Shared};
use journal::Journal;
use life::Life;
use relink_abi::error::Error;
use relink_loader::pipeline;
use settings::{Run, Settings};
use std::ffi::{c_char, c_int, c_void, CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

/// The plugin while it is loaded.
struct Loaded {
    api: Api,
    shared: Arc<Shared>,
    journal: Arc<Journal>,
    helper: Helper,
    /// Hook and guest, where Node runs in the game's frames.
    frames: Option<(FrameHook, Life)>,
    paused: bool,
}

static LOADED: Mutex<Option<Loaded>> = Mutex::new(None);
/// The library's file, as Metamod names it.
static FILE: Mutex<Option<PathBuf>> = Mutex::new(None);
/// What the Metamod that asked last has said of itself.
static OFFER: Mutex<Option<Offer>> = Mutex::new(None);
/// The plugin interface that Metamod is told. One that takes none of ours is told its own, so that it asks for the reason.
static TOLD: AtomicI32 = AtomicI32::new(Interface::SourceHook.number());

static PLUGIN: Object<PluginFunctions> = Object::new(&FUNCTIONS);
static FUNCTIONS: Table<PluginFunctions> = Table::new(functions());

const fn functions() -> PluginFunctions {
    const ASK: [Ask; 4] = [query, unload, pause, unpause];
    const TEXTS: [Text; 8] = [author, name, description, url, license, version, date, log_tag];
    PluginFunctions {
        api_version,
        destructors: [destroy; 2],
        load,
        all_loaded: destroy,
        query: ASK[0],
        unload: ASK[1],
        pause: ASK[2],
        unpause: ASK[3],
        texts: TEXTS,
    }
}

macro_rules! texts {
    ($($name:ident: $text:expr;)*) => {$(
        extern "C" fn $name(_: This) -> *const c_char {
            concat!($text, "\0").as_ptr().cast()
        }
    )*};
}

texts! {
    author: "The Relink project";
    name: "Relink";
    description: "Node.js on the V8 that the game already has";
    url: env!("CARGO_PKG_REPOSITORY");
    license: env!("CARGO_PKG_LICENSE");
    version: env!("CARGO_PKG_VERSION");
    date: "unreleased";
    log_tag: "RELINK";
}

extern "C" fn api_version(_: This) -> c_int {
    TOLD.load(Ordering::Relaxed)
}

/// The object is a static of this library: there is nothing to be destroyed, nor anything to do when all plugins are loaded.
extern "C" fn destroy(_: This) {}

/// What Metamod asks for first: the plugin, which has the interface that this Metamod takes, or refuses with the reason.
///
/// # Safety
/// As Metamod calls it: both are null or what its header says.
#[no_mangle]
pub unsafe extern "C" fn CreateInterface_MMS(
    versions: *const Versions,
    info: *const LoaderInfo,
) -> *mut c_void {
    // SAFETY: promised by the caller.
    let (versions, info) = unsafe { (versions.as_ref(), info.as_ref()) };
    if let Some(info) = info.filter(|info| !info.file.is_null()) {
        // SAFETY: a NUL-terminated string.
        let file = unsafe { CStr::from_ptr(info.file) };
        *unpoisoned(&FILE) = Some(PathBuf::from(OsStr::from_bytes(file.to_bytes())));
    }
    let offer = versions.map(Offer::of);
    *unpoisoned(&OFFER) = offer;
    if let Some(offer) = offer {
        let interface = offer.interface().map_or(offer.newest, Interface::number);
        TOLD.store(interface, Ordering::Relaxed);
    }
    PLUGIN.pointer()
}

/// What a Metamod that does not know `CreateInterface_MMS` asks for: `CreateInterface("ISmmPlugin", code)`.
///
/// # Safety
/// `name` is null or a NUL-terminated string, `code` null or an `int`.
#[no_mangle]
pub unsafe extern "C" fn CreateInterface(name: *const c_char, code: *mut c_int) -> *mut c_void {
    // SAFETY: promised by the caller.
    let found = match (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }) {
        Some(name) if name == abi::PLUGIN_NAME => PLUGIN.pointer(),
        // SAFETY: promised by the caller.
        Some(_) => return unsafe { factories::ask_others(CreateInterface, name, code) },
        None => std::ptr::null_mut(),
    };
    if !code.is_null() {
        // SAFETY: promised by the caller.
        unsafe { *code = if found.is_null() { abi::FAILED } else { abi::FOUND } };
    }
    found
}

/// What Metamod has said of itself: before, if it was this one, or by its functions.
///
/// # Safety
/// `api` is what Metamod gave to `Load`.
unsafe fn offer(api: This) -> Offer {
    // SAFETY: promised by the caller.
    let now = unsafe { abi::offer(api) };
    let same =
        |before: &Offer| (before.major, before.oldest, before.newest) == (now.major, now.oldest, now.newest);
    unpoisoned(&OFFER).filter(same).unwrap_or(now)
}

fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The plugin's state, unless it is in use further out on the stack of this thread.
fn loaded() -> Result<MutexGuard<'static, Option<Loaded>>, PluginError> {
    process::not_forked()?;
    match LOADED.try_lock() {
        Ok(loaded) => Ok(loaded),
        Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => Err(PluginError::Not("a script is running; try again later".into())),
    }
}

/// Answers Metamod: `true`, or the reason in `error`.
///
/// # Safety
/// `error` is null or a buffer of so many bytes.
unsafe fn answer(error: *mut c_char, size: usize, work: impl FnOnce() -> Result<(), PluginError>) -> bool {
    let internal = |_| Err(Error::Internal("a panic, told on standard error".into()).into());
    let Err(why) = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(internal) else { return true };
    if !error.is_null() && size > 0 {
        let text = why.to_string().replace('\0', " ");
        let length = text.len().min(size - 1);
        // SAFETY: the buffer has room for the text and its end.
        unsafe {
            error.cast::<u8>().copy_from_nonoverlapping(text.as_ptr(), length);
            *error.add(length) = 0;
        }
    }
    false
}

unsafe extern "C" fn load(
    _: This,
    id: c_int,
    api: This,
    error: *mut c_char,
    size: usize,
    _late: bool,
) -> bool {
    let work = || {
        if api.is_null() {
            return Err(PluginError::Not("no ISmmAPI was given".into()));
        }
        // SAFETY: Metamod's own.
        let offer = unsafe { offer(api) };
        let interface = offer.interface().ok_or(PluginError::Metamod(offer))?;
        // SAFETY: Metamod's own, of this interface.
        let api = unsafe { Api::new(api, interface) };
        let mut loaded = loaded()?;
        if loaded.is_some() {
            return Err(PluginError::Not("the plugin is loaded already".into()));
        }
        let settings = Settings::read(&own_file()?)?;
        let journal = Arc::new(Journal::begin(&settings.log, settings.console));
        let begun = begin(id, api, settings, &journal);
        match &begun {
            Ok(_) => journal.say(concat!("Relink ", env!("CARGO_PKG_VERSION"), " is loaded")),
            Err(error) => journal.say(&error.to_string()),
        }
        journal.print(api);
        *loaded = Some(begun?);
        Ok(())
    };
    // SAFETY: Metamod's buffer.
    unsafe { answer(error, size, work) }
}

/// Everything that can be said beforehand: whether the game's V8 and the guest fit, and whether there are frames. Without frames Node
/// gets a thread of its own.
fn begin(id: c_int, api: Api, mut settings: Settings, journal: &Arc<Journal>) -> Result<Loaded, PluginError> {
    match pipeline::probe(settings.config(), bridge::all(), &new_report()) {
        Err(Error::NoProvider { .. }) if settings.late_v8 => {}
        other => other?,
    }
    FRAMES_ON.store(0, Ordering::Relaxed);
    let wanted = (settings.run == Run::Frames).then(|| FrameHook::add(api, id, settings.frame.as_ref()));
    let hook = match wanted.transpose() {
        Err(why @ PluginError::Frames(_)) => {
            journal.say(&why.to_string());
            None
        }
        tried => tried?,
    };
    if hook.is_none() {
        settings.run = Run::Thread;
    }
    game::begin(api, PLUGIN.pointer(), settings.game.clone(), hook.is_some());
    let shared = Arc::new(Shared::new(settings, Arc::clone(journal)));
    let (helper, hook) = match Helper::start(&shared) {
        Ok(helper) => (helper, hook),
        Err(error) => {
            hook.into_iter().for_each(FrameHook::remove);
            game::end();
            return Err(error);
        }
    };
    let frames = hook.map(|hook| (hook, Life::new(Arc::clone(&shared))));
    Ok(Loaded { api, journal: Arc::clone(journal), shared, helper, frames, paused: false })
}

/// Where this library lies: as Metamod said, or else as ld.so knows it.
fn own_file() -> Result<PathBuf, PluginError> {
    let told = unpoisoned(&FILE).clone();
    let path = told.or_else(factories::own_file).unwrap_or_default();
    let unknown = |e: std::io::Error| PluginError::Not(format!("the library's own folder is unknown: {e}"));
    std::path::absolute(Path::new(&path)).map_err(unknown)
}

/// The thread that frames come on, by the address of something of its own; 0: none has come.
static FRAMES_ON: AtomicUsize = AtomicUsize::new(0);
thread_local! {
    static OWN: u8 = const { 0 };
}

/// Whether this is the thread of the first frame: the game's.
fn on_the_games_thread() -> bool {
    let here = OWN.with(|own| std::ptr::from_ref(own) as usize);
    let first = FRAMES_ON.compare_exchange(0, here, Ordering::Relaxed, Ordering::Relaxed);
    first.map_or_else(|before| before == here, |_| true)
}

/// Called by the hook after each frame of the game.
fn frame() {
    let work = || {
        if !on_the_games_thread() {
            return;
        }
        let Ok(mut loaded) = loaded() else { return };
        let Some(Loaded { api, shared, journal, frames: Some((_, life)), paused: false, .. }) = &mut *loaded
        else {
            return;
        };
        game::frame();
        life.step(Some(shared.settings.budget_us));
        journal.print(*api);
    };
    // The panic's message went to standard error; the game goes on.
    let _ = catch_unwind(AssertUnwindSafe(work));
}

/// Does something with the plugin that is loaded.
///
/// # Safety
/// As for [`answer`].
unsafe fn with(
    error: *mut c_char,
    size: usize,
    work: impl FnOnce(&mut Loaded) -> Result<(), PluginError>,
) -> bool {
    let work = || {
        let mut loaded = loaded()?;
        let loaded = loaded.as_mut().ok_or_else(|| PluginError::Not("the plugin is not loaded".into()))?;
        let done = work(loaded);
        loaded.journal.print(loaded.api);
        done
    };
    // SAFETY: promised by the caller.
    unsafe { answer(error, size, work) }
}

unsafe extern "C" fn query(_: This, error: *mut c_char, size: usize) -> bool {
    let work = |loaded: &mut Loaded| {
        let paused = loaded.paused.then(|| "paused".to_owned());
        paused.or_else(|| loaded.shared.why_not()).map_or(Ok(()), |why| Err(PluginError::Not(why)))
    };
    // SAFETY: Metamod's buffer.
    unsafe { with(error, size, work) }
}

unsafe extern "C" fn pause(_: This, error: *mut c_char, size: usize) -> bool {
    let work = |loaded: &mut Loaded| {
        if loaded.frames.is_none() {
            let why =
                "Node has a thread of its own (\"run\": \"thread\") and cannot be paused; unload the plugin";
            return Err(PluginError::Not(why.into()));
        }
        loaded.paused = true;
        loaded.journal.say("paused: Node is not ticked");
        Ok(())
    };
    // SAFETY: Metamod's buffer.
    unsafe { with(error, size, work) }
}

unsafe extern "C" fn unpause(_: This, error: *mut c_char, size: usize) -> bool {
    let work = |loaded: &mut Loaded| {
        loaded.paused = false;
        loaded.journal.say("goes on");
        Ok(())
    };
    // SAFETY: Metamod's buffer.
    unsafe { with(error, size, work) }
}

unsafe extern "C" fn unload(_: This, error: *mut c_char, size: usize) -> bool {
    let work = || {
        let mut place = loaded()?;
        let Some(loaded) = &mut *place else { return Ok(()) };
        let done = end(loaded);
        match &done {
            Ok(()) => loaded.journal.say("unloaded"),
            Err(error) => loaded.journal.say(&format!("not unloaded: {error}")),
        }
        loaded.journal.print(loaded.api);
        if done.is_ok() {
            *place = None;
        }
        done
    };
    // SAFETY: Metamod's buffer.
    unsafe { answer(error, size, work) }
}

/// Ends Node, then hook and helper. A guest of which something stays in the process has ended, too.
fn end(loaded: &mut Loaded) -> Result<(), PluginError> {
    let stays = |error: PluginError| {
        let told = error.stays().then(|| loaded.journal.say(&error.to_string()));
        told.ok_or(error)
    };
    if let Some((_, life)) = &mut loaded.frames {
        life.end().or_else(stays)?;
    }
    loaded.helper.end().or_else(stays)?;
    loaded.frames.take().into_iter().for_each(|(hook, _)| hook.remove());
    game::end();
    Ok(())
}
