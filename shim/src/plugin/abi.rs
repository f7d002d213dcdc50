//! Metamod:Source's plugin interfaces 17 and 18, as they lie in memory: C++ objects of the Itanium ABI, of which only a pointer to a
//! table of functions is known. `this` is the first argument of each.
//!
//! Facts, and where they are from: alliedmodders/metamod-source, core/ISmmPluginExt.h (`MetamodVersionInfo`,
//! `MetamodLoaderInfo`, `ISmmFailPlugin`), core/ISmmPlugin.h (`ISmmPlugin`), core/ISmmAPI.h (`ISmmAPI`), before and after KHook
//! (2.0.0.1410 and 7e24ce9); alliedmodders/hl2sdk, branch cs2, public/eiface.h (`ISource2Server`) and
//! public/appframework/IAppSystem.h. No code of theirs is used. A table's first destructor slot is the complete one, the second
//! deletes the object.
//!
//! # Safety
//! Every pointer to an object here was handed out by Metamod for the time that the plugin is loaded, and is used on the game's
//! thread alone.

use relink_elf::address::RunAddr;
use relink_loader::process::Maps;
use std::ffi::{c_char, c_int, c_void, CStr};
use std::ptr::{null, null_mut};

/// `METAMOD_PLAPI_NAME`.
pub const PLUGIN_NAME: &CStr = c"ISmmPlugin";
/// `METAMOD_API_MAJOR`: another number means another layout of `ISmmAPI`.
pub const API_MAJOR: c_int = 2;
/// `META_IFACE_OK` and `META_IFACE_FAILED`.
pub const FOUND: c_int = 0;
/// See [`FOUND`].
pub const FAILED: c_int = 1;

/// The plugin interfaces that this file describes. Each comes with one way to hook functions, and with an `ISmmAPI` of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// 17.
    SourceHook,
    /// 18: Metamod 2.0 since September 2026.
    KHook,
}

impl Interface {
    /// `METAMOD_PLAPI_VERSION`.
    pub const fn number(self) -> c_int {
        match self {
            Self::SourceHook => 17,
            Self::KHook => 18,
        }
    }
}

/// `MetamodVersionInfo`. With SourceHook its versions (interface, implementation) stand before the plugin interfaces, without it they do
/// not. Further down are engine and game.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Versions {
    api_major: c_int,
    api_minor: c_int,
    more: [c_int; 4],
}

/// What a Metamod says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Of `ISmmAPI`.
    pub major: c_int,
    /// The oldest plugin interface that it takes.
    pub oldest: c_int,
    /// The newest.
    pub newest: c_int,
    /// How it hooks functions.
    hooks: Interface,
}

impl Offer {
    /// What this structure says.
    pub fn of(versions: &Versions) -> Self {
        /// `PLAPI_MIN_VERSION` of the first Metamod with this structure. No version of SourceHook was ever as high.
        const FIRST: c_int = 14;
        let [a, b, c, d] = versions.more;
        let (hooks, oldest, newest) =
            if a < FIRST { (Interface::SourceHook, c, d) } else { (Interface::KHook, a, b) };
        Self { major: versions.api_major, oldest, newest, hooks }
    }

    /// The plugin interface for this Metamod, if it takes one of ours.
    pub fn interface(self) -> Option<Interface> {
        let taken = (self.oldest..=self.newest).contains(&self.hooks.number());
        (taken && self.major == API_MAJOR).then_some(self.hooks)
    }
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

/// The function at a place of an object's table.
///
/// # Safety
/// `object` is a C++ object whose table has a function of type `F` there.
pub unsafe fn method<F: Copy>(object: This, index: usize) -> F {
    const { assert!(size_of::<F>() == size_of::<usize>()) };
    // SAFETY: the object begins with the pointer to its table, which is long enough (promised by the caller).
    let entry = unsafe { (*object.cast::<*const usize>()).add(index) };
    // SAFETY: a function pointer of that type and size.
    unsafe { entry.cast::<F>().read() }
}

/// Whether the object has code at that place of its table; what code, nobody can tell from outside.
pub fn has_code(object: This, place: usize) -> bool {
    let Ok(maps) = Maps::own() else { return false };
    let address = |at: usize| RunAddr(at as u64);
    let word = |at: usize| {
        let readable = maps.covers(address(at), address(at + size_of::<usize>()), |p| p.read);
        // SAFETY: a readable word of this process.
        readable.then(|| unsafe { (at as *const usize).read_unaligned() })
    };
    let entry = word(object as usize).and_then(|table| word(table + place * size_of::<usize>()));
    entry.is_some_and(|at| maps.covers(address(at), address(at + 1), |p| p.execute))
}

/// `ISmmAPI`: what Metamod offers.
#[derive(Clone, Copy, Debug)]
pub struct Api {
    object: This,
    interface: Interface,
}

// SAFETY: used on the game's thread alone, see the head of this file.
unsafe impl Send for Api {}

/// What a Metamod says that it is, by the function that is at the same place in each.
///
/// # Safety
/// `api` is what Metamod gave to `Load`.
pub unsafe fn offer(api: This) -> Offer {
    type Get = unsafe extern "C" fn(This, *mut c_int, *mut c_int, *mut c_int, *mut c_int);
    let (mut major, mut minor, mut newest, mut oldest) = (0, 0, 0, 0);
    // SAFETY: slot 10 of `ISmmAPI` is `GetApiVersions`; references are pointers.
    unsafe { method::<Get>(api, 10)(api, &mut major, &mut minor, &mut newest, &mut oldest) };
    let has_khook = newest >= Interface::KHook.number();
    let hooks = if has_khook { Interface::KHook } else { Interface::SourceHook };
    Offer { major, oldest, newest, hooks }
}

impl Api {
    /// # Safety
    /// `object` is what a Metamod with this plugin interface gave to `Load`.
    pub const unsafe fn new(object: This, interface: Interface) -> Self {
        Self { object, interface }
    }

    /// Which one it is.
    pub const fn interface(&self) -> Interface {
        self.interface
    }

    /// The place of a function that is at `place` with SourceHook. Slot 11, `GetShVersions`, is gone with it.
    const fn place(&self, place: usize) -> usize {
        match self.interface {
            Interface::SourceHook => place,
            Interface::KHook => place - 1,
        }
    }

    /// `ConPrint`: text for the server's console, as it is.
    pub fn print(&self, text: &CStr) {
        // SAFETY: slot 8 of `ISmmAPI`.
        let print = unsafe { method::<unsafe extern "C" fn(This, *const c_char)>(self.object, 8) };
        // SAFETY: as declared in ISmmAPI.h.
        unsafe { print(self.object, text.as_ptr()) }
    }

    /// `GetSourceEngineBuild`: `SOURCE_ENGINE_*`.
    pub fn engine(&self) -> c_int {
        // SAFETY: slot 26 of `ISmmAPI` with SourceHook.
        unsafe { method::<unsafe extern "C" fn(This) -> c_int>(self.object, self.place(26))(self.object) }
    }

    /// `GetServerFactory(false)`, asked for an interface.
    pub fn of_the_game(&self, name: &CStr) -> Option<This> {
        self.by_factory(4, name)
    }

    /// `GetEngineFactory(false)`, asked for an interface.
    pub fn of_the_engine(&self, name: &CStr) -> Option<This> {
        self.by_factory(1, name)
    }

    fn by_factory(&self, place: usize, name: &CStr) -> Option<This> {
        // SAFETY: slots 1 and 4 of `ISmmAPI`.
        let get =
            unsafe { method::<unsafe extern "C" fn(This, bool) -> Option<Factory>>(self.object, place) };
        // SAFETY: as declared in ISmmAPI.h.
        let factory = unsafe { get(self.object, false) }?;
        // SAFETY: a `CreateInterfaceFn`; its second argument may be null.
        let found = unsafe { factory(name.as_ptr(), null_mut()) };
        (!found.is_null()).then_some(found)
    }

    /// `MetaFactory(name)`.
    pub fn of_metamod(&self, name: &CStr) -> Option<This> {
        type Get = unsafe extern "C" fn(This, *const c_char, *mut c_int, *mut c_int) -> This;
        // SAFETY: slot 13 of `ISmmAPI` with SourceHook; both results are optional.
        let found = unsafe {
            method::<Get>(self.object, self.place(13))(self.object, name.as_ptr(), null_mut(), null_mut())
        };
        (!found.is_null()).then_some(found)
    }

    /// `AddListener`: an `IMetamodListener` of a plugin, until that goes.
    pub fn add_listener(&self, plugin: This, listener: This) {
        // SAFETY: slot 12 of `ISmmAPI` with SourceHook.
        unsafe {
            method::<unsafe extern "C" fn(This, This, This)>(self.object, self.place(12))(
                self.object,
                plugin,
                listener,
            )
        }
    }

    /// `RegisterConCommand`: a command that the game knows is a plugin's.
    pub fn register_command(&self, plugin: This, command: This) -> bool {
        // SAFETY: slot 30 of `ISmmAPI` with SourceHook.
        unsafe {
            method::<unsafe extern "C" fn(This, This, This) -> bool>(self.object, self.place(30))(
                self.object,
                plugin,
                command,
            )
        }
    }

    /// `UnregisterConCommand`: the game calls it no longer.
    pub fn unregister_command(&self, plugin: This, command: This) {
        // SAFETY: slot 32 of `ISmmAPI` with SourceHook.
        unsafe {
            method::<unsafe extern "C" fn(This, This, This)>(self.object, self.place(32))(
                self.object,
                plugin,
                command,
            )
        }
    }

    /// `GetDetourInterface(plugin)`: KHook, as Metamod gives it to one plugin. It was added as the last function of `ISmmAPI` in the
    /// course of interface 18, hence it is only called if there is code.
    pub fn detours(&self, plugin: c_int) -> Option<This> {
        const PLACE: usize = 33;
        if self.interface != Interface::KHook || !has_code(self.object, PLACE) {
            return None;
        }
        // SAFETY: slot 33 of `ISmmAPI`, which was looked at.
        let get = unsafe { method::<unsafe extern "C" fn(This, c_int) -> This>(self.object, PLACE) };
        // SAFETY: as declared in ISmmAPI.h.
        let found = unsafe { get(self.object, plugin) };
        (!found.is_null()).then_some(found)
    }
}
