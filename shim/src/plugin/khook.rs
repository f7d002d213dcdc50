//! KHook, of Metamods with plugin interface 18: a hook after the game's own frame function.
//!
//! Facts, and where they are from: Kenzzer/KHook 1e200e4, include/khook.hpp (`IKHook`) and src/detour.cpp (what it calls, on which
//! thread, and what it holds meanwhile); alliedmodders/metamod-source 7e24ce9, core/metamod_khook.h (the object that each plugin
//! gets) and core/metamod_plugins.cpp (that it removes a plugin's hooks after `Unload`). No code of theirs is used.
//!
//! KHook calls a hook's functions as members of the hooked object, with the arguments of the call: in registers here. Of all hooks of
//! one function it takes the first one's to call the game's function, and to end the call.
//!
//! Three things follow for a hook that goes:
//! - Metamod takes it out, some time after `Unload`. Until then it is called, and must pass the call on.
//! - Metamod's object for the plugin is gone by then. It has nothing but functions for us that never look at it, hence they get a
//!   stand-in with the same table.
//! - The thread that takes hooks out waits for the end of a call that is under way, and whoever asks KHook for anything meanwhile waits
//!   for it. The game's thread may be in that call, so it must not ask while any plugin's hook is being taken out. What Metamod has left
//!   behind is asked for by a thread of ours. Before a hook is added, another thread asks for nothing; if it waits, so would the game.
//!
//! # Safety
//! What is hooked is told by [`Frame`]: a function of the game's without a result, with `this` and up to five `bool`s, which come
//! in registers. The functions here are never unloaded, for this library is not, and KHook's are there while it calls ours.

use super::abi::{method, Api, This};
use super::error::PluginError;
use super::frame::Frame;
use relink_loader::runtime::{lifecycle, signals};
use std::ffi::{c_int, c_uint, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// `MMIFACE_KHOOK`.
const NAME: &std::ffi::CStr = c"IKHook";
/// `INVALID_HOOK`.
const REFUSED: u32 = u32::MAX;
/// `KHook::Action::Ignore`.
const IGNORE: u8 = 0;

/// Stands in for Metamod's object: its table, and nothing that any of its functions for us would look at.
#[repr(C)]
struct StandIn {
    table: AtomicPtr<c_void>,
    rest: [AtomicUsize; 31],
}

static KHOOK: StandIn =
    StandIn { table: AtomicPtr::new(null_mut()), rest: [const { AtomicUsize::new(0) }; 31] };
/// The hooked object.
static OBJECT: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
/// Which hook it is that frames come by, counted from 1; 0: none is wanted.
static WANTED: AtomicUsize = AtomicUsize::new(0);
/// How many hooks there have been, and how many of them are gone.
static ADDED: AtomicUsize = AtomicUsize::new(0);
static GONE: AtomicUsize = AtomicUsize::new(0);
/// The number of the last one.
static NUMBER: AtomicU32 = AtomicU32::new(REFUSED);

fn khook() -> This {
    (&raw const KHOOK).cast_mut().cast()
}

type Function = unsafe extern "C-unwind" fn(This, usize, usize, usize, usize, usize);

/// After the game's function.
unsafe extern "C-unwind" fn after(this: This, _: usize, _: usize, _: usize, _: usize, _: usize) {
    // SAFETY: slot 3 of `IKHook`, `GetContextPtr`, within a call of a hook's function.
    let which = unsafe { method::<unsafe extern "C" fn(This) -> *mut c_void>(khook(), 3)(khook()) };
    // Objects of the same class have the same table, and a hook of an earlier load may not be gone yet.
    if which as usize == WANTED.load(Ordering::Relaxed) && this == OBJECT.load(Ordering::Relaxed) {
        super::frame();
    }
}

/// Calls the game's function.
unsafe extern "C-unwind" fn call(this: This, a: usize, b: usize, c: usize, d: usize, e: usize) {
    type Original = unsafe extern "C" fn(This) -> Option<Function>;
    type Save = unsafe extern "C" fn(This, u8, *mut c_void, usize, *mut c_void, *mut c_void, bool);
    // SAFETY: slot 4 of `IKHook`, `GetOriginalFunction`, within a call of a hook's function.
    let original = unsafe { method::<Original>(khook(), 4)(khook()) };
    if let Some(original) = original {
        // SAFETY: the game's function, with its own arguments; registers that it does not expect are ignored by it.
        unsafe { original(this, a, b, c, d, e) };
    }
    // SAFETY: slot 12 of `IKHook`, `SaveReturnValue`: the function was called, and has no result.
    unsafe {
        method::<Save>(khook(), 12)(khook(), IGNORE, null_mut(), 0, null_mut(), null_mut(), true);
    }
}

/// Ends a call.
unsafe extern "C-unwind" fn end(_: This, _: usize, _: usize, _: usize, _: usize, _: usize) {
    // SAFETY: slot 8 of `IKHook`, `DestroyReturnValue`, where KHook wants it.
    unsafe { method::<unsafe extern "C" fn(This)>(khook(), 8)(khook()) }
}

/// The hook is gone. On a thread of KHook's, with its locks held. Older ones give the context, too.
extern "C" fn gone(_: usize, _: usize) {
    GONE.fetch_add(1, Ordering::Release);
}

/// The hook, until it is removed.
#[derive(Debug)]
pub struct Hook(());

impl Hook {
    /// Hooks the frame function of this object; or why not.
    ///
    /// # Safety
    /// `frame` tells of a function that the object has.
    pub unsafe fn add(api: Api, plugin: c_int, object: This, frame: &Frame) -> Result<Self, PluginError> {
        type Add = unsafe extern "C" fn(
            This,
            This,
            c_int,
            usize,
            extern "C" fn(usize, usize),
            Option<Function>,
            Function,
            Function,
            Function,
            c_uint,
            bool,
        ) -> u32;
        let found = api.detours(plugin).or_else(|| api.of_metamod(NAME));
        let found = found.ok_or_else(|| PluginError::Frames("this Metamod offers no KHook".into()))?;
        // SAFETY: C++ objects begin with the pointer to their table.
        let [of_khook, of_the_object] = unsafe { [*found.cast::<This>(), *object.cast::<This>()] };
        KHOOK.table.store(of_khook, Ordering::Relaxed);
        if !is_free()? {
            let why = "KHook takes a hook out and waits for the end of this frame; try again later";
            return Err(PluginError::Not(why.into()));
        }
        OBJECT.store(object, Ordering::Relaxed);
        let which = ADDED.load(Ordering::Relaxed) + 1;
        // As C++ plugins tell it: `this` and the parameters, as if none came in registers.
        let stack = ((1 + frame.bools) * size_of::<usize>()).next_multiple_of(16) as c_uint;
        let index = frame.index as c_int;
        // Not before a call that is under way has ended.
        let later = true;
        // SAFETY: slot 1 of `IKHook`, `SetupVirtualHook`, of Metamod's own object; the object has the function (promised by the
        // caller), and what it gets here lives for ever.
        let number = unsafe {
            let add = method::<Add>(found, 1);
            add(found, of_the_object, index, which, gone, None, after, end, call, stack, later)
        };
        if number == REFUSED {
            return Err(PluginError::Frames("KHook refused the hook".into()));
        }
        ADDED.store(which, Ordering::Relaxed);
        NUMBER.store(number, Ordering::Relaxed);
        WANTED.store(which, Ordering::Relaxed);
        Ok(Self(()))
    }

    /// No frame comes by it from now on. Metamod takes it out, or else a thread of ours does.
    pub fn remove(self) {
        WANTED.store(0, Ordering::Relaxed);
        let (which, number) = (ADDED.load(Ordering::Relaxed), NUMBER.load(Ordering::Relaxed));
        /// KHook's thread looks every five milliseconds, and a frame that is under way has to end.
        const LONG: Duration = Duration::from_millis(500);
        let work = move || {
            if !are_gone(which, LONG) && !lifecycle::host_is_leaving() {
                ask(number);
            }
        };
        // Without a thread the hook stays if Metamod leaves it, and does nothing but pass calls on.
        drop(beside(work));
    }
}

/// Whether so many hooks are gone, or are soon.
fn are_gone(how_many: usize, soon: Duration) -> bool {
    let limit = Instant::now() + soon;
    while GONE.load(Ordering::Acquire) < how_many {
        if Instant::now() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Runs something on a thread of its own. Signals are the game's.
fn beside(work: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    let thread = std::thread::Builder::new().name("relink-khook".into());
    signals::blocked(|| thread.spawn(work))
}

/// Whether KHook answers. What was asked of it before is under way by then, and only the game's thread asks it for more.
fn is_free() -> Result<bool, PluginError> {
    /// Two looks of KHook's thread, and some more.
    const UNDER_WAY: Duration = Duration::from_millis(15);
    const LONG: Duration = Duration::from_millis(250);
    /// No hook has it before 2^32 others.
    const NONE: u32 = REFUSED - 1;
    let (tell, answered) = channel();
    let work = move || {
        std::thread::sleep(UNDER_WAY);
        ask(NONE);
        // Nobody may wait any more.
        let _ = tell.send(());
    };
    beside(work).map_err(|error| PluginError::Not(format!("no thread: {error}")))?;
    Ok(answered.recv_timeout(LONG).is_ok())
}

/// Has KHook's thread take a hook out.
fn ask(number: u32) {
    type Remove = unsafe extern "C" fn(This, u32, bool, *mut c_void, *mut c_void);
    // SAFETY: slot 2 of `IKHook`, `RemoveHook`; a number that it does not know does no harm. Older ones take no function to be told by.
    unsafe { method::<Remove>(khook(), 2)(khook(), number, true, null_mut(), null_mut()) }
}
