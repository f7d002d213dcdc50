//! Metamod:Source's plugin interface 17 and SourceHook's interface 5, as they lie in memory: C++ objects of the Itanium ABI, of
//! which only a pointer to a table of functions is known. `this` is the first argument of each.
//!
//! Facts, and where they are from: alliedmodders/metamod-source, core/ISmmPluginExt.h (`MetamodVersionInfo`,
//! `MetamodLoaderInfo`, `ISmmFailPlugin`), core/ISmmPlugin.h (`ISmmPlugin`), core/ISmmAPI.h (`ISmmAPI`),
//! core/sourcehook/sourcehook.h (`ISourceHook`, `IHookContext`, `ISHDelegate`, `IHookManagerInfo`, `ProtoInfo`, `PassInfo`);
//! alliedmodders/hl2sdk, branch cs2, public/eiface.h (`ISource2Server`) and public/appframework/IAppSystem.h. No code of theirs is
//! used. A table's first destructor slot is the complete one, the second deletes the object.
//!
//! # Safety
//! Every pointer to an object here was handed out by Metamod for the time that the plugin is loaded, and is used on the game's
//! thread alone.

use std::ffi::{c_char, c_int, c_uint, c_void, CStr};
use std::ptr::{null, null_mut};

/// `METAMOD_PLAPI_VERSION`: the plugin interface that this file describes.
pub const PLUGIN_API: c_int = 17;
/// `METAMOD_PLAPI_NAME`.
pub const PLUGIN_NAME: &CStr = c"ISmmPlugin";
/// `METAMOD_API_MAJOR`: another number means another layout of `ISmmAPI`.
pub const API_MAJOR: c_int = 2;
/// `SH_IFACE_VERSION`, `SH_IMPL_VERSION`, `SH_HOOKMAN_VERSION`.
pub const SOURCE_HOOK: c_int = 5;
const SOURCE_HOOK_IMPL: c_int = 5;
/// `SH_HOOKMAN_VERSION`.
pub const HOOK_MANAGER: c_int = 1;
/// `META_IFACE_OK` and `META_IFACE_FAILED`.
pub const FOUND: c_int = 0;
/// See [`FOUND`].
pub const FAILED: c_int = 1;

/// `MRES_SUPERCEDE`: what a hook answers so that the function itself is not called.
pub const SUPERCEDE: c_int = 3;

/// `MetamodVersionInfo`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Versions {
    /// Of `ISmmAPI`.
    pub api_major: c_int,
    /// Of `ISmmAPI`; compatible.
    pub api_minor: c_int,
    /// Of SourceHook's interface.
    pub sh_iface: c_int,
    /// Of SourceHook's implementation.
    pub sh_impl: c_int,
    /// The oldest plugin interface that this Metamod takes.
    pub pl_min: c_int,
    /// The newest.
    pub pl_max: c_int,
    /// `SOURCE_ENGINE_*`.
    pub engine: c_int,
    /// The game's folder name; from plugin interface 15 on.
    pub game_dir: *const c_char,
}

/// `MetamodLoaderInfo`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LoaderInfo {
    /// The plugin's file.
    pub file: *const c_char,
    /// Its folder.
    pub folder: *const c_char,
}

/// `CreateInterfaceFn`.
pub type Factory = unsafe extern "C" fn(*const c_char, *mut c_int) -> *mut c_void;

/// An object of a C++ class with virtual functions.
#[repr(C)]
#[derive(Debug)]
pub struct Object<Functions: 'static> {
    functions: *const Functions,
}

// SAFETY: the table is a constant of this library.
unsafe impl<Functions> Sync for Object<Functions> {}

impl<Functions> Object<Functions> {
    /// An object with these functions.
    pub const fn new(table: &'static Table<Functions>) -> Self {
        Self { functions: &raw const table.functions }
    }

    /// The address of this object.
    pub const fn pointer(&'static self) -> *mut c_void {
        std::ptr::from_ref(self).cast_mut().cast()
    }
}

/// A table of virtual functions, with what the Itanium ABI (2.5.2) has before it: the offset to the whole object, and its type,
/// which nobody asks for (no type information).
#[repr(C)]
#[derive(Debug)]
pub struct Table<Functions> {
    offset: isize,
    type_information: *const c_void,
    functions: Functions,
}

// SAFETY: nothing but constants.
unsafe impl<Functions> Sync for Table<Functions> {}

impl<Functions> Table<Functions> {
    /// The table of these functions.
    pub const fn new(functions: Functions) -> Self {
        Self { offset: 0, type_information: null(), functions }
    }
}

/// `this`.
pub type This = *mut c_void;
/// A function that may refuse, with a reason.
pub type Ask = unsafe extern "C" fn(This, *mut c_char, usize) -> bool;
/// One of the texts about the plugin.
pub type Text = extern "C" fn(This) -> *const c_char;

/// `ISmmPlugin`. `ISmmFailPlugin` is its beginning, up to `load`.
#[repr(C)]
#[derive(Debug)]
pub struct PluginFunctions {
    /// `GetApiVersion`.
    pub api_version: extern "C" fn(This) -> c_int,
    /// The destructors. Metamod calls none.
    pub destructors: [extern "C" fn(This); 2],
    /// `Load(id, api, error, maxlength, late)`.
    pub load: unsafe extern "C" fn(This, c_int, This, *mut c_char, usize, bool) -> bool,
    /// `AllPluginsLoaded`.
    pub all_loaded: extern "C" fn(This),
    /// `QueryRunning`.
    pub query: Ask,
    /// `Unload`.
    pub unload: Ask,
    /// `Pause`.
    pub pause: Ask,
    /// `Unpause`.
    pub unpause: Ask,
    /// Author, name, description, URL, licence, version, date, log tag.
    pub texts: [Text; 8],
}

/// `ISHDelegate` with the `Call` that SourceHook's hook managers give to theirs, for up to five arguments in registers.
#[repr(C)]
#[derive(Debug)]
pub struct DelegateFunctions {
    /// `IsEqual`.
    pub is_equal: extern "C" fn(This, This) -> bool,
    /// `DeleteThis`.
    pub delete: extern "C" fn(This),
    /// `Call`.
    pub call: extern "C-unwind" fn(This, usize, usize, usize, usize, usize),
}

/// `PassInfo`: how a value is passed.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    size: usize,
    kind: c_int,
    flags: c_uint,
}

impl Pass {
    /// Nothing: a function without a result.
    pub const NONE: Self = Self { size: 0, kind: 0, flags: 0 };
    /// The first of the parameters is none: its size is the version of the structure.
    pub const SECOND_VERSION: Self = Self { size: 1, kind: 0, flags: 0 };
    /// A `bool`: `PassType_Basic`, `PassFlag_ByVal`.
    pub const BOOL: Self = Self { size: 1, kind: 1, flags: 1 };
}

/// `PassInfo::V2Info`: constructors and the like, which numbers do not have.
pub type PassMore = [usize; 4];

/// `ProtoInfo`: a function's parameters and result.
#[repr(C)]
#[derive(Debug)]
pub struct Prototype {
    /// Without the dummy.
    pub count: c_int,
    /// Its result.
    pub result: Pass,
    /// Its parameters, after a dummy.
    pub parameters: *const Pass,
    /// Unknown.
    pub convention: c_int,
    /// More about the result.
    pub result_more: PassMore,
    /// More about the parameters, with a dummy.
    pub parameters_more: *const PassMore,
}

// SAFETY: what it points at are constants of this library.
unsafe impl Sync for Prototype {}

/// `HookManagerPubFunc(store, info)`.
pub type HookManager = unsafe extern "C" fn(bool, This) -> c_int;

/// The function at a place of an object's table.
///
/// # Safety
/// `object` is a C++ object whose table has a function of type `F` there.
unsafe fn method<F: Copy>(object: This, index: usize) -> F {
    const { assert!(size_of::<F>() == size_of::<usize>()) };
    // SAFETY: the object begins with the pointer to its table, which is long enough (promised by the caller).
    let entry = unsafe { (*object.cast::<*const usize>()).add(index) };
    // SAFETY: a function pointer of that type and size.
    unsafe { entry.cast::<F>().read() }
}

/// `ISmmAPI`: what Metamod offers.
#[derive(Clone, Copy, Debug)]
pub struct Api(This);

// SAFETY: used on the game's thread alone, see the head of this file.
unsafe impl Send for Api {}

/// What Metamod says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiVersions {
    /// Of `ISmmAPI`.
    pub major: c_int,
    /// The newest plugin interface.
    pub plugin: c_int,
    /// The oldest.
    pub plugin_oldest: c_int,
}

impl Api {
    /// # Safety
    /// `api` is what Metamod gave to `Load`, or null.
    pub unsafe fn new(api: This) -> Option<Self> {
        (!api.is_null()).then_some(Self(api))
    }

    /// `ConPrint`: text for the server's console, as it is.
    pub fn print(&self, text: &CStr) {
        // SAFETY: slot 8 of `ISmmAPI`.
        let print = unsafe { method::<unsafe extern "C" fn(This, *const c_char)>(self.0, 8) };
        // SAFETY: as declared in ISmmAPI.h.
        unsafe { print(self.0, text.as_ptr()) }
    }

    /// `GetApiVersions`.
    pub fn versions(&self) -> ApiVersions {
        type Get = unsafe extern "C" fn(This, *mut c_int, *mut c_int, *mut c_int, *mut c_int);
        let (mut major, mut minor, mut plugin, mut plugin_oldest) = (0, 0, 0, 0);
        // SAFETY: slot 10 of `ISmmAPI`; references are pointers.
        unsafe {
            method::<Get>(self.0, 10)(self.0, &mut major, &mut minor, &mut plugin, &mut plugin_oldest);
        }
        ApiVersions { major, plugin, plugin_oldest }
    }

    /// `GetSourceEngineBuild`: `SOURCE_ENGINE_*`.
    pub fn engine(&self) -> c_int {
        // SAFETY: slot 26 of `ISmmAPI`.
        unsafe { method::<unsafe extern "C" fn(This) -> c_int>(self.0, 26)(self.0) }
    }

    /// `GetServerFactory(false)`, asked for an interface.
    pub fn of_the_game(&self, name: &CStr) -> Option<This> {
        // SAFETY: slot 4 of `ISmmAPI`.
        let get = unsafe { method::<unsafe extern "C" fn(This, bool) -> Option<Factory>>(self.0, 4) };
        // SAFETY: as declared in ISmmAPI.h.
        let factory = unsafe { get(self.0, false) }?;
        // SAFETY: a `CreateInterfaceFn`; its second argument may be null.
        let found = unsafe { factory(name.as_ptr(), null_mut()) };
        (!found.is_null()).then_some(found)
    }

    /// `MetaFactory("ISourceHook")`, if it is the one that is known here.
    pub fn source_hook(&self) -> Option<SourceHook> {
        type Get = unsafe extern "C" fn(This, *const c_char, *mut c_int, *mut c_int) -> This;
        // SAFETY: slot 13 of `ISmmAPI`; both results are optional.
        let found =
            unsafe { method::<Get>(self.0, 13)(self.0, c"ISourceHook".as_ptr(), null_mut(), null_mut()) };
        let hook = (!found.is_null()).then_some(SourceHook(found))?;
        (hook.versions() >= (SOURCE_HOOK, SOURCE_HOOK_IMPL) && hook.versions().0 == SOURCE_HOOK)
            .then_some(hook)
    }
}

/// `ISourceHook`.
#[derive(Clone, Copy, Debug)]
pub struct SourceHook(This);

// SAFETY: as for `Api`.
unsafe impl Send for SourceHook {}

/// What SourceHook tells of a call: status, result of the hook before, result of the current hook (`META_RES`).
pub type Results = [*mut c_int; 3];

impl SourceHook {
    /// The address of its object, to be given to [`Self::at`].
    pub fn address(self) -> This {
        self.0
    }

    /// The one at this address.
    ///
    /// # Safety
    /// It was [`Self::address`] of one that is there still.
    pub unsafe fn at(address: This) -> Self {
        Self(address)
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
    pub unsafe fn add(&self, plugin: c_int, object: This, manager: HookManager, delegate: This) -> c_int {
        type Add = unsafe extern "C" fn(This, c_int, c_int, This, c_int, HookManager, This, bool) -> c_int;
        // SAFETY: slot 2 of `ISourceHook`.
        unsafe { method::<Add>(self.0, 2)(self.0, plugin, 0, object, 0, manager, delegate, true) }
    }

    /// `RemoveHookByID`.
    pub fn remove(&self, hook: c_int) -> bool {
        // SAFETY: slot 4 of `ISourceHook`; a number that it does not know is refused.
        unsafe { method::<unsafe extern "C" fn(This, c_int) -> bool>(self.0, 4)(self.0, hook) }
    }

    /// `SetupHookLoop` for a function without a result: the context of this call, and where the function itself is.
    ///
    /// # Safety
    /// Called by the hook manager whose information this is, for a call of its function with this object; `results` can be
    /// written until the context ends.
    pub unsafe fn begin(
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
    pub fn end(&self, context: Context) {
        // SAFETY: slot 20 of `ISourceHook`; the context is of `begin` and used up.
        unsafe { method::<unsafe extern "C" fn(This, This)>(self.0, 20)(self.0, context.0) }
    }
}

/// `IHookContext`: the hooks of one call.
#[derive(Debug)]
pub struct Context(This);

impl Context {
    /// `GetNext`: the next delegate, or null.
    pub fn next(&self) -> This {
        // SAFETY: slot 0 of `IHookContext`.
        unsafe { method::<unsafe extern "C" fn(This) -> This>(self.0, 0)(self.0) }
    }

    /// `ShouldCallOrig`.
    pub fn calls_original(&self) -> bool {
        // SAFETY: slot 3 of `IHookContext`.
        unsafe { method::<unsafe extern "C" fn(This) -> bool>(self.0, 3)(self.0) }
    }
}

/// A delegate's `Call`.
///
/// # Safety
/// `delegate` is one of a hook manager with the prototype of the arguments.
pub unsafe fn call_delegate(delegate: This, args: [usize; 5]) {
    type Call = unsafe extern "C-unwind" fn(This, usize, usize, usize, usize, usize);
    let [a, b, c, d, e] = args;
    // SAFETY: slot 2 of every delegate, see `DelegateFunctions`; more registers than parameters do no harm.
    unsafe { method::<Call>(delegate, 2)(delegate, a, b, c, d, e) }
}

/// A function that stands in for one of the game's.
pub type Hooked = unsafe extern "C-unwind" fn(This, usize, usize, usize, usize, usize);

/// `IHookManagerInfo::SetInfo`: tells SourceHook which function is hooked, by what; the latter by a pointer to the word that has its
/// address (`CHookManager::GetHookFunc`).
///
/// # Safety
/// `information` is what SourceHook gave to a hook manager; prototype and function live for ever.
pub unsafe fn set_information(
    information: This,
    index: c_int,
    prototype: &'static Prototype,
    hooked: &'static Hooked,
) {
    type Set = unsafe extern "C" fn(This, c_int, c_int, c_int, *const Prototype, *const Hooked);
    // SAFETY: slot 0 of `IHookManagerInfo`; the table is at the object's beginning (offset 0).
    unsafe { method::<Set>(information, 0)(information, HOOK_MANAGER, 0, index, prototype, hooked) }
}

/// A function of the game that it calls once per frame, without a result and with `bool`s alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The interface's name at the game's factory.
    pub interface: String,
    /// The function's place in the interface's table.
    pub index: usize,
    /// How many `bool`s it takes.
    pub bools: usize,
}

/// The engines whose frame function is known: `SOURCE_ENGINE_*`, interface, place, parameters.
const FRAMES: [(c_int, &str, usize, usize); 1] = [
    // Counter-Strike 2: `ISource2Server::GameFrame(bool simulating, bool first, bool last)` after the eleven of `IAppSystem` and
    // eight of its own.
    (28, "Source2Server001", 19, 3),
];

impl Frame {
    /// The one of an engine.
    pub fn of(engine: c_int) -> Option<Self> {
        let known = FRAMES.iter().find(|(number, ..)| *number == engine);
        known.map(|(_, interface, index, bools)| Self {
            interface: (*interface).into(),
            index: *index,
            bools: *bools,
        })
    }
}
