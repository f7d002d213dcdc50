//! SourceHook, of Metamods with plugin interface 17: a hook after the game's own frame function, with a hook manager of ours, for on
//! x86-64 Metamod makes none for its plugins.
//!
//! Facts, and where they are from: alliedmodders/metamod-source, core/sourcehook/sourcehook.h (`ISourceHook`, `IHookContext`,
//! `ISHDelegate`, `IHookManagerInfo`, `ProtoInfo`, `PassInfo`), interface 5. No code of theirs is used.
//!
//! # Safety
//! What is hooked is told by [`Frame`]: a function of the game's without a result, with `this` and up to five `bool`s, which come
//! in registers. The hook manager is never unloaded, for this library is not. SourceHook is used on the game's thread alone.

use super::abi::{method, Api, Object, Table, This};
use super::error::PluginError;
use super::frame::{Frame, MOST};
use std::cell::UnsafeCell;
use std::ffi::{c_int, c_uint, c_void};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicUsize, Ordering};

/// `SH_IFACE_VERSION`.
pub const INTERFACE: c_int = 5;
/// `SH_IMPL_VERSION`, or later.
const IMPLEMENTATION: c_int = 5;
/// `SH_HOOKMAN_VERSION`.
const HOOK_MANAGER: c_int = 1;
/// `MRES_SUPERCEDE`: what a hook answers so that the function itself is not called.
const SUPERCEDE: c_int = 3;

/// `ISHDelegate` with the `Call` that SourceHook's hook managers give to theirs, for up to five arguments in registers.
#[repr(C)]
#[derive(Debug)]
struct DelegateFunctions {
    /// `IsEqual`.
    is_equal: extern "C" fn(This, This) -> bool,
    /// `DeleteThis`.
    delete: extern "C" fn(This),
    /// `Call`.
    call: extern "C-unwind" fn(This, usize, usize, usize, usize, usize),
}

/// `PassInfo`: how a value is passed.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Pass {
    size: usize,
    kind: c_int,
    flags: c_uint,
}

impl Pass {
    /// Nothing: a function without a result.
    const NONE: Self = Self { size: 0, kind: 0, flags: 0 };
    /// The first of the parameters is none: its size is the version of the structure.
    const SECOND_VERSION: Self = Self { size: 1, kind: 0, flags: 0 };
    /// A `bool`: `PassType_Basic`, `PassFlag_ByVal`.
    const BOOL: Self = Self { size: 1, kind: 1, flags: 1 };
}

/// `PassInfo::V2Info`: constructors and the like, which numbers do not have.
type PassMore = [usize; 4];

/// `ProtoInfo`: a function's parameters and result.
#[repr(C)]
#[derive(Debug)]
struct Prototype {
    /// Without the dummy.
    count: c_int,
    /// Its result.
    result: Pass,
    /// Its parameters, after a dummy.
    parameters: *const Pass,
    /// Unknown.
    convention: c_int,
    /// More about the result.
    result_more: PassMore,
    /// More about the parameters, with a dummy.
    parameters_more: *const PassMore,
}

// SAFETY: what it points at are constants of this library.
unsafe impl Sync for Prototype {}

/// `HookManagerPubFunc(store, info)`.
type HookManager = unsafe extern "C" fn(bool, This) -> c_int;

/// `ISourceHook`.
#[derive(Clone, Copy, Debug)]
struct SourceHook(This);

// SAFETY: as for `Api`.
unsafe impl Send for SourceHook {}

/// What SourceHook tells of a call: status, result of the hook before, result of the current hook (`META_RES`).
type Results = [*mut c_int; 3];

impl SourceHook {
    /// The address of its object, to be given to [`Self::at`].
    fn address(self) -> This {
        self.0
    }

    /// The one at this address.
    ///
    /// # Safety
    /// It was [`Self::address`] of one that is there still.
    unsafe fn at(address: This) -> Self {
        Self(address)
    }

    /// `MetaFactory("ISourceHook")`, if it is the one that is known here.
    fn of(api: Api) -> Option<Self> {
        let hook = Self(api.of_metamod(c"ISourceHook")?);
        let (interface, implementation) = hook.versions();
        (interface == INTERFACE && implementation >= IMPLEMENTATION).then_some(hook)
    }

    /// `GetIfaceVersion`, `GetImplVersion`.
    fn versions(&self) -> (c_int, c_int) {
        type Get = unsafe extern "C" fn(This) -> c_int;
        // SAFETY: slots 0 and 1 of `ISourceHook`.
        unsafe { (method::<Get>(self.0, 0)(self.0), method::<Get>(self.0, 1)(self.0)) }
    }

    /// `AddHook` of a plugin for one object, after the function itself (`Hook_Normal`, post). The number of the hook, or 0.
    ///
    /// # Safety
    /// `object` has the function that the manager tells of, and the manager and the delegate live for ever.
    unsafe fn add(&self, plugin: c_int, object: This, manager: HookManager, delegate: This) -> c_int {
        type Add = unsafe extern "C" fn(This, c_int, c_int, This, c_int, HookManager, This, bool) -> c_int;
        // SAFETY: slot 2 of `ISourceHook`.
        unsafe { method::<Add>(self.0, 2)(self.0, plugin, 0, object, 0, manager, delegate, true) }
    }

    /// `RemoveHookByID`.
    fn remove(&self, hook: c_int) -> bool {
        // SAFETY: slot 4 of `ISourceHook`; a number that it does not know is refused.
        unsafe { method::<unsafe extern "C" fn(This, c_int) -> bool>(self.0, 4)(self.0, hook) }
    }

    /// `SetupHookLoop` for a function without a result: the context of this call, and where the function itself is.
    ///
    /// # Safety
    /// Called by the hook manager whose information this is, for a call of its function with this object; `results` can be
    /// written until the context ends.
    unsafe fn begin(
        &self,
        information: This,
        place: This,
        object: This,
        results: Results,
    ) -> (Context, This) {
        type Begin = unsafe extern "C" fn(
            This,
            This,
            This,
            This,
            *mut This,
            *mut c_int,
            *mut c_int,
            *mut c_int,
            *const c_void,
            *mut c_void,
        ) -> This;
        let mut original = null_mut();
        let [status, before, current] = results;
        // SAFETY: slot 19 of `ISourceHook`; there is no result, hence two null pointers.
        let context = unsafe {
            let begin = method::<Begin>(self.0, 19);
            begin(
                self.0,
                information,
                place,
                object,
                &mut original,
                status,
                before,
                current,
                null(),
                null_mut(),
            )
        };
        (Context(context), original)
    }

    /// `EndContext`.
    fn end(&self, context: Context) {
        // SAFETY: slot 20 of `ISourceHook`; the context is of `begin` and used up.
        unsafe { method::<unsafe extern "C" fn(This, This)>(self.0, 20)(self.0, context.0) }
    }
}

/// `IHookContext`: the hooks of one call.
#[derive(Debug)]
struct Context(This);

impl Context {
    /// `GetNext`: the next delegate, or null.
    fn next(&self) -> This {
        // SAFETY: slot 0 of `IHookContext`.
        unsafe { method::<unsafe extern "C" fn(This) -> This>(self.0, 0)(self.0) }
    }

    /// `ShouldCallOrig`.
    fn calls_original(&self) -> bool {
        // SAFETY: slot 3 of `IHookContext`.
        unsafe { method::<unsafe extern "C" fn(This) -> bool>(self.0, 3)(self.0) }
    }
}

/// A delegate's `Call`.
///
/// # Safety
/// `delegate` is one of a hook manager with the prototype of the arguments.
unsafe fn call_delegate(delegate: This, args: [usize; 5]) {
    type Call = unsafe extern "C-unwind" fn(This, usize, usize, usize, usize, usize);
    let [a, b, c, d, e] = args;
    // SAFETY: slot 2 of every delegate, see `DelegateFunctions`; more registers than parameters do no harm.
    unsafe { method::<Call>(delegate, 2)(delegate, a, b, c, d, e) }
}

/// A function that stands in for one of the game's.
type Hooked = unsafe extern "C-unwind" fn(This, usize, usize, usize, usize, usize);

/// `IHookManagerInfo::SetInfo`: tells SourceHook which function is hooked, by what; the latter by a pointer to the word that has its
/// address (`CHookManager::GetHookFunc`).
///
/// # Safety
/// `information` is what SourceHook gave to a hook manager; prototype and function live for ever.
unsafe fn set_information(
    information: This,
    index: c_int,
    prototype: &'static Prototype,
    hooked: &'static Hooked,
) {
    type Set = unsafe extern "C" fn(This, c_int, c_int, c_int, *const Prototype, *const Hooked);
    // SAFETY: slot 0 of `IHookManagerInfo`; the table is at the object's beginning (offset 0).
    unsafe { method::<Set>(information, 0)(information, HOOK_MANAGER, 0, index, prototype, hooked) }
}

/// `META_RES`: nothing was done.
const IGNORED: c_int = 0;
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
static INFORMATION: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
static IN_USE: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
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
static HOOKED: Hooked = hooked;

/// The hook manager: tells SourceHook what is hooked, and remembers its information.
unsafe extern "C" fn manager(store: bool, information: This) -> c_int {
    if store {
        INFORMATION.store(information, Ordering::Relaxed);
    }
    if !information.is_null() {
        let prototype = &PROTOTYPES[BOOLS.load(Ordering::Relaxed).min(MOST)];
        let index = INDEX.load(Ordering::Relaxed) as c_int;
        // SAFETY: the information is SourceHook's own; the rest are constants of this library.
        unsafe { set_information(information, index, prototype, &HOOKED) };
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
        (SourceHook::at(IN_USE.load(Ordering::Relaxed)), table.add(INDEX.load(Ordering::Relaxed)).cast())
    };
    let information = INFORMATION.load(Ordering::Relaxed);
    // SAFETY: this is the manager's function, called with its object.
    let (context, original) = unsafe { hook.begin(information, place, this, results) };
    let args = [a, b, c, d, e];
    // SAFETY: the cells of this call; delegates are of this prototype, for SourceHook compares them.
    let status = unsafe { run_hooks(&context, results, args) };
    if status != SUPERCEDE && context.calls_original() {
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
            call_delegate(delegate, args);
            before.write(current.read());
            status.write(status.read().max(current.read()));
        }
    }
}

/// The hook, until it is removed.
#[derive(Debug)]
pub struct Hook(SourceHook);

impl Hook {
    /// Hooks the frame function of this object; or why not.
    ///
    /// # Safety
    /// `frame` tells of a function that the object has.
    pub unsafe fn add(api: Api, plugin: c_int, object: This, frame: &Frame) -> Result<Self, PluginError> {
        let none =
            || PluginError::Frames(format!("this Metamod offers no SourceHook of interface {INTERFACE}"));
        let hook = SourceHook::of(api).ok_or_else(none)?;
        INDEX.store(frame.index, Ordering::Relaxed);
        BOOLS.store(frame.bools, Ordering::Relaxed);
        IN_USE.store(hook.address(), Ordering::Relaxed);
        // SAFETY: the object has the function (promised by the caller); manager and delegate are never unloaded.
        let number = unsafe { hook.add(plugin, object, manager, DELEGATE.pointer()) };
        if number == 0 {
            return Err(PluginError::Frames("SourceHook refused the hook".into()));
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
