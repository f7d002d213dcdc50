//! The game's frames: a hook of SourceHook's after the game's own frame function, with a hook manager of ours, for on x86-64
//! Metamod makes none for its plugins.
//!
//! # Safety
//! What is hooked is told by [`Frame`]: a function of the game's without a result, with `this` and up to five `bool`s, which come
//! in registers. The hook manager is never unloaded, for this library is not.

use super::abi::{
    self, Api, Context, DelegateFunctions, Frame, Object, Pass, PassMore, Prototype, Results, SourceHook,
    Table, This,
};
use super::error::PluginError;
use relink_elf::address::RunAddr;
use relink_loader::process::Maps;
use std::cell::UnsafeCell;
use std::ffi::{c_int, CString};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicUsize, Ordering};

/// `META_RES`: nothing was done.
const IGNORED: c_int = 0;
/// Most parameters besides `this`.
const MOST: usize = 5;

static PARAMETERS: [Pass; MOST + 1] =
    [Pass::SECOND_VERSION, Pass::BOOL, Pass::BOOL, Pass::BOOL, Pass::BOOL, Pass::BOOL];
static PARAMETERS_MORE: [PassMore; MOST + 1] = [[0; 4]; MOST + 1];

const fn prototype(count: usize) -> Prototype {
    Prototype {
        count: count as c_int,
        result: Pass::NONE,
        parameters: &raw const PARAMETERS as *const Pass,
        convention: 0,
        result_more: [0; 4],
        parameters_more: &raw const PARAMETERS_MORE as *const PassMore,
    }
}

static PROTOTYPES: [Prototype; MOST + 1] =
    [prototype(0), prototype(1), prototype(2), prototype(3), prototype(4), prototype(5)];

static INDEX: AtomicUsize = AtomicUsize::new(0);
static BOOLS: AtomicUsize = AtomicUsize::new(0);
/// SourceHook's information on our manager, while it uses it.
static INFORMATION: AtomicPtr<std::ffi::c_void> = AtomicPtr::new(null_mut());
static SOURCE_HOOK: AtomicPtr<std::ffi::c_void> = AtomicPtr::new(null_mut());
/// The hook that is set, or 0.
static HOOK: AtomicI32 = AtomicI32::new(0);

static DELEGATE: Object<DelegateFunctions> = Object::new(&DELEGATE_FUNCTIONS);
static DELEGATE_FUNCTIONS: Table<DelegateFunctions> =
    Table::new(DelegateFunctions { is_equal, delete, call: on_frame });

extern "C" fn is_equal(this: This, other: This) -> bool {
    this == other
}

extern "C" fn delete(_: This) {
    // The hook is gone, by our doing or by Metamod's.
    HOOK.store(0, Ordering::Relaxed);
}

extern "C-unwind" fn on_frame(_: This, _: usize, _: usize, _: usize, _: usize, _: usize) {
    super::frame();
}

/// As in the table of a C++ object: SourceHook takes the function from there.
static HOOKED: abi::Hooked = hooked;

/// The hook manager: tells SourceHook what is hooked, and remembers its information.
unsafe extern "C" fn manager(store: bool, information: This) -> c_int {
    if store {
        INFORMATION.store(information, Ordering::Relaxed);
    }
    if !information.is_null() {
        let prototype = &PROTOTYPES[BOOLS.load(Ordering::Relaxed).min(MOST)];
        let index = INDEX.load(Ordering::Relaxed) as c_int;
        // SAFETY: the information is SourceHook's own; the rest are constants of this library.
        unsafe { abi::set_information(information, index, prototype, &HOOKED) };
    }
    0
}

/// Stands in the game's table in place of its frame function: the hooks before it, itself, the hooks after it.
unsafe extern "C-unwind" fn hooked(this: This, a: usize, b: usize, c: usize, d: usize, e: usize) {
    type Original = unsafe extern "C-unwind" fn(This, usize, usize, usize, usize, usize);
    // SourceHook writes to them while the hooks run.
    let cells = [const { UnsafeCell::new(IGNORED) }; 3];
    let results = cells.each_ref().map(UnsafeCell::get);
    // SAFETY: the manager is only used with a SourceHook that is there; the object begins with the pointer to its table.
    let (hook, place) = unsafe {
        let table = *this.cast::<*mut usize>();
        (SourceHook::at(SOURCE_HOOK.load(Ordering::Relaxed)), table.add(INDEX.load(Ordering::Relaxed)).cast())
    };
    let information = INFORMATION.load(Ordering::Relaxed);
    // SAFETY: this is the manager's function, called with its object.
    let (context, original) = unsafe { hook.begin(information, place, this, results) };
    let args = [a, b, c, d, e];
    // SAFETY: the cells of this call; delegates are of this prototype, for SourceHook compares them.
    let status = unsafe { run_hooks(&context, results, args) };
    if status != abi::SUPERCEDE && context.calls_original() {
        // SAFETY: the game's function, with its own arguments; registers that it does not expect are ignored by it.
        unsafe { std::mem::transmute::<This, Original>(original)(this, a, b, c, d, e) };
    }
    // SAFETY: as above.
    unsafe { run_hooks(&context, results, args) };
    hook.end(context);
}

/// Runs the hooks before, or after, the function itself; the highest result so far.
///
/// # Safety
/// `results` are cells of the call that the context is of, `args` its arguments.
unsafe fn run_hooks(context: &Context, [status, before, current]: Results, args: [usize; 5]) -> c_int {
    // SAFETY: promised by the caller.
    unsafe {
        before.write(IGNORED);
        loop {
            let delegate = context.next();
            if delegate.is_null() {
                return status.read();
            }
            current.write(IGNORED);
            abi::call_delegate(delegate, args);
            before.write(current.read());
            status.write(status.read().max(current.read()));
        }
    }
}

/// The hook, until it is removed.
#[derive(Debug)]
pub struct FrameHook(SourceHook);

impl FrameHook {
    /// Hooks `frame`, or else the frame function that is known of this engine.
    pub fn add(api: Api, plugin: c_int, frame: Option<&Frame>) -> Result<Self, PluginError> {
        let no = |why: String| PluginError::Frames(why);
        let engine = api.engine();
        let known = || Frame::of(engine).ok_or_else(|| no(format!("engine {engine} is not known")));
        let frame = frame.cloned().map_or_else(known, Ok)?;
        let hook = api.source_hook().ok_or_else(|| {
            no(format!("this Metamod offers no SourceHook of interface {}", abi::SOURCE_HOOK))
        })?;
        let name = CString::new(frame.interface.as_str()).unwrap_or_default();
        let object = api.of_the_game(&name);
        let object = object.ok_or_else(|| no(format!("the game has no interface {}", frame.interface)))?;
        check(object, &frame)?;
        INDEX.store(frame.index, Ordering::Relaxed);
        BOOLS.store(frame.bools, Ordering::Relaxed);
        SOURCE_HOOK.store(hook.address(), Ordering::Relaxed);
        // SAFETY: the object is the game's interface, and its table was looked at; manager and delegate are never unloaded.
        let number = unsafe { hook.add(plugin, object, manager, DELEGATE.pointer()) };
        if number == 0 {
            return Err(no("SourceHook refused the hook".into()));
        }
        HOOK.store(number, Ordering::Relaxed);
        Ok(Self(hook))
    }

    /// Takes it out, unless Metamod has done so.
    pub fn remove(self) {
        let number = HOOK.swap(0, Ordering::Relaxed);
        if number != 0 {
            self.0.remove(number);
        }
    }
}

/// Whether the object has code at that place of its table; what code, nobody can tell from outside.
fn check(object: This, frame: &Frame) -> Result<(), PluginError> {
    let maps = Maps::own().map_err(|e| PluginError::Frames(format!("/proc/self/maps: {e}")))?;
    let address = |at: usize| RunAddr(at as u64);
    let word = |at: usize| {
        let readable = maps.covers(address(at), address(at + size_of::<usize>()), |p| p.read);
        // SAFETY: a readable word of this process.
        readable.then(|| unsafe { (at as *const usize).read_unaligned() })
    };
    let entry = word(object as usize).and_then(|table| word(table + frame.index * size_of::<usize>()));
    if entry.is_some_and(|at| maps.covers(address(at), address(at + 1), |p| p.execute)) {
        return Ok(());
    }
    let why = format!("{} has no function at place {}", frame.interface, frame.index);
    Err(PluginError::Frames(why))
}
