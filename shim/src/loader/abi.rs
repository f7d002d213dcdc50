//! The loader interface of MetaCall's core (0.9), as its public headers state it: what the core calls, and the functions of the
//! core that are called back. None of its code is here; the functions are looked up in the process at run time.
//!
//! | fact | header of the core, below `source/` |
//! |---|---|
//! | [`Interface`], its order | `loader/include/loader/loader_impl_interface.h`, `struct loader_impl_interface_type` |
//! | [`PATH`] | `loader/include/loader/loader_naming.h`, `loader_path`: `PATH_MAX` characters on Linux |
//! | [`Kind`] | `reflect/include/reflect/reflect_type_id.h`, `enum type_primitive_id` |
//! | [`FunctionInterface`] | `reflect/include/reflect/reflect_function.h`, `struct function_interface_type` |
//! | [`FutureInterface`] | `reflect/include/reflect/reflect_future.h`, `struct future_interface_type` |
//! | [`ASYNCHRONOUS`] | `reflect/include/reflect/reflect_async.h`, `enum async_id` |
//! | values, who owns them | `reflect/include/reflect/reflect_value_type.h`, `reflect_throwable.h`, `reflect_exception.h` |
//! | functions of the loader | `loader/include/loader/loader.h`, `loader_impl.h`; `configuration/include/configuration/configuration.h` |
//!
//! # Safety
//! Each function that is looked up is given the type that the header of its name states.

use relink_abi::error::Error;
use relink_loader::process::Modules;
use std::ffi::{c_char, c_double, c_float, c_int, c_long, c_short, c_uchar, c_void, CStr, CString};

/// `value`, `function`, `future`, `signature`, `context`, `scope`, `exception`, `throwable`, `loader_impl`, `configuration`: each
/// is a pointer that only the core looks behind.
pub type Opaque = *mut c_void;
/// `function_resolve_callback` and its three sisters: takes a value that stays the caller's, gives one that becomes it.
pub type Settle = unsafe extern "C" fn(value: Opaque, context: Opaque) -> Opaque;

/// Characters of a `loader_path`.
pub const PATH: usize = 4096;
/// Of `enum async_id`.
pub const ASYNCHRONOUS: c_int = 1;

/// `struct loader_impl_interface_type`.
#[repr(C)]
pub struct Interface {
    pub initialize: unsafe extern "C" fn(Opaque, Opaque) -> Opaque,
    pub execution_path: unsafe extern "C" fn(Opaque, *const c_char) -> c_int,
    pub load_from_file: unsafe extern "C" fn(Opaque, *const [c_char; PATH], usize, Opaque) -> Opaque,
    pub load_from_memory: unsafe extern "C" fn(Opaque, *const c_char, *const c_char, usize, Opaque) -> Opaque,
    pub load_from_package: unsafe extern "C" fn(Opaque, *const c_char, Opaque) -> Opaque,
    pub clear: unsafe extern "C" fn(Opaque, Opaque) -> c_int,
    pub discover: unsafe extern "C" fn(Opaque, Opaque, Opaque) -> c_int,
    pub destroy: unsafe extern "C" fn(Opaque) -> c_int,
}

/// `struct function_interface_type`.
#[repr(C)]
pub struct FunctionInterface {
    pub create: Option<unsafe extern "C" fn(Opaque, Opaque) -> c_int>,
    pub invoke: unsafe extern "C" fn(Opaque, Opaque, *const Opaque, usize) -> Opaque,
    pub wait: unsafe extern "C" fn(
        Opaque,
        Opaque,
        *const Opaque,
        usize,
        Option<Settle>,
        Option<Settle>,
        Opaque,
    ) -> Opaque,
    pub destroy: unsafe extern "C" fn(Opaque, Opaque),
}

/// `struct future_interface_type`.
#[repr(C)]
pub struct FutureInterface {
    pub create: Option<unsafe extern "C" fn(Opaque, Opaque) -> c_int>,
    pub wait: unsafe extern "C" fn(Opaque, Opaque, Option<Settle>, Option<Settle>, Opaque) -> Opaque,
    pub destroy: unsafe extern "C" fn(Opaque, Opaque),
}

/// `enum type_primitive_id`.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bool = 0,
    Char = 1,
    Short = 2,
    Int = 3,
    Long = 4,
    Float = 5,
    Double = 6,
    String = 7,
    Buffer = 8,
    Array = 9,
    Map = 10,
    Pointer = 11,
    Future = 12,
    Function = 13,
    Null = 14,
    Class = 15,
    Object = 16,
    Exception = 17,
    Throwable = 18,
}

impl Kind {
    const ALL: [Self; 19] = [
        Self::Bool,
        Self::Char,
        Self::Short,
        Self::Int,
        Self::Long,
        Self::Float,
        Self::Double,
        Self::String,
        Self::Buffer,
        Self::Array,
        Self::Map,
        Self::Pointer,
        Self::Future,
        Self::Function,
        Self::Null,
        Self::Class,
        Self::Object,
        Self::Exception,
        Self::Throwable,
    ];

    /// The one of this number.
    pub fn of(number: c_int) -> Option<Self> {
        usize::try_from(number).ok().and_then(|n| Self::ALL.get(n).copied())
    }
}

macro_rules! core {
    ($($(#[$doc:meta])* $name:ident($($type:ty),*) $(-> $result:ty)?;)*) => {
        /// Functions of the core.
        pub struct Core {
            $($(#[$doc])* pub $name: unsafe extern "C" fn($($type),*) $(-> $result)?,)*
        }

        impl Core {
            /// All functions by `look`, or the names of those that it does not find.
            fn complete(look: impl Fn(&CStr) -> Opaque) -> Result<Self, Vec<&'static str>> {
                $(let $name = look(&c_text(stringify!($name)));)*
                let all = [$((stringify!($name), $name)),*];
                let missing: Vec<_> = all.iter().filter(|(_, at)| at.is_null()).map(|(name, _)| *name).collect();
                if !missing.is_empty() {
                    return Err(missing);
                }
                Ok(Self {
                    // SAFETY: not null, and of the type that the core's header states for this name.
                    $($name: unsafe {
                        std::mem::transmute::<Opaque, unsafe extern "C" fn($($type),*) $(-> $result)?>($name)
                    },)*
                })
            }
        }
    };
}

core! {
    /// A loader that does not call it at the end of its initialisation is refused.
    loader_initialization_register(Opaque);
    /// Ends the loaders that were started on the calling thread, then forgets this one's handles and types.
    loader_unload_children(Opaque);
    /// What `initialize` gave.
    loader_impl_get(Opaque) -> Opaque;
    /// A setting of this type, or null.
    configuration_value_type(Opaque, *const c_char, c_int) -> Opaque;
    context_scope(Opaque) -> Opaque;
    /// 0: the scope owns the value now.
    scope_define(Opaque, *const c_char, Opaque) -> c_int;
    /// The name is copied; made without an owner, the first value that holds it is one.
    function_create(*const c_char, usize, Opaque, extern "C" fn() -> *const FunctionInterface) -> Opaque;
    function_async(Opaque, c_int);
    function_name(Opaque) -> *const c_char;
    function_signature(Opaque) -> Opaque;
    function_call(Opaque, *const Opaque, usize) -> Opaque;
    /// Parameter number, its name (copied), its type or null.
    signature_set(Opaque, usize, *const c_char, Opaque);
    future_create(Opaque, extern "C" fn() -> *const FutureInterface) -> Opaque;
    /// Copies its texts: message, label, code, stack.
    exception_create_const(*const c_char, *const c_char, i64, *const c_char) -> Opaque;
    exception_message(Opaque) -> *const c_char;
    exception_label(Opaque) -> *const c_char;
    exception_stacktrace(Opaque) -> *const c_char;
    /// Owns the value from then on.
    throwable_create(Opaque) -> Opaque;
    throwable_value(Opaque) -> Opaque;
    value_type_id(Opaque) -> c_int;
    /// Bytes; of a string with its zero byte.
    value_type_size(Opaque) -> usize;
    /// Elements of an array or map.
    value_type_count(Opaque) -> usize;
    value_type_copy(Opaque) -> Opaque;
    value_type_destroy(Opaque);
    value_create_bool(c_uchar) -> Opaque;
    value_create_long(c_long) -> Opaque;
    value_create_double(c_double) -> Opaque;
    /// Copies so many bytes and one more, which must be zero.
    value_create_string(*const c_char, usize) -> Opaque;
    value_create_buffer(*const c_void, usize) -> Opaque;
    /// Owns the elements from then on.
    value_create_array(*const Opaque, usize) -> Opaque;
    /// Owns the elements from then on, arrays of key and value.
    value_create_map(*const Opaque, usize) -> Opaque;
    value_create_ptr(*const c_void) -> Opaque;
    value_create_future(Opaque) -> Opaque;
    /// One more owner of the function.
    value_create_function(Opaque) -> Opaque;
    value_create_null() -> Opaque;
    /// One more owner of the exception.
    value_create_exception(Opaque) -> Opaque;
    value_create_throwable(Opaque) -> Opaque;
    value_to_bool(Opaque) -> c_uchar;
    value_to_char(Opaque) -> c_char;
    value_to_short(Opaque) -> c_short;
    value_to_int(Opaque) -> c_int;
    value_to_long(Opaque) -> c_long;
    value_to_float(Opaque) -> c_float;
    value_to_double(Opaque) -> c_double;
    value_to_string(Opaque) -> *const c_char;
    value_to_buffer(Opaque) -> *const c_void;
    value_to_array(Opaque) -> *const Opaque;
    value_to_map(Opaque) -> *const Opaque;
    value_to_ptr(Opaque) -> *const c_void;
    value_to_future(Opaque) -> Opaque;
    value_to_function(Opaque) -> Opaque;
    value_to_exception(Opaque) -> Opaque;
    value_to_throwable(Opaque) -> Opaque;
}

impl Core {
    /// The core of this process: what the dynamic linker finds first, or else the module that has it for itself.
    pub fn find() -> Result<Self, Error> {
        const MARKER: &CStr = c"loader_initialization_register";
        let everyone = |name: &CStr| symbol(libc::RTLD_DEFAULT, name);
        let private = || Modules::observe().0.into_iter().find(|module| module.symbol(MARKER).is_some());
        let found = match private().filter(|_| everyone(MARKER).is_null()) {
            // Held for ever: the core outlives its loaders.
            Some(module) => {
                let module = std::mem::ManuallyDrop::new(module);
                Self::complete(|name| {
                    module.symbol(name).map_or(std::ptr::null_mut(), |at| at.0 as usize as Opaque)
                })
            }
            None => Self::complete(everyone),
        };
        found.map_err(|names| Error::LoaderCore { names: names.into_iter().map(String::from).collect() })
    }
}

/// A function, or null.
fn symbol(handle: Opaque, name: &CStr) -> Opaque {
    // SAFETY: a handle of ld.so's and a NUL-terminated string.
    unsafe { libc::dlsym(handle, name.as_ptr()) }
}

/// A text of the core's; what is not UTF-8 in it is replaced.
///
/// # Safety
/// `at` is null or a NUL-terminated string.
pub unsafe fn text(at: *const c_char) -> String {
    if at.is_null() {
        return String::new();
    }
    // SAFETY: promised by the caller.
    unsafe { CStr::from_ptr(at) }.to_string_lossy().into_owned()
}

/// A text for the core, which ends at the first zero byte.
pub fn c_text(text: &str) -> CString {
    CString::new(text.split('\0').next().unwrap_or_default()).unwrap_or_default()
}
