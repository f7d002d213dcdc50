//! Functions and promises of scripts as functions and futures of the core.
//!
//! # Safety
//! What the core hands to the callbacks is what its header says; their implementation pointers are boxes made here, and each
//! is freed by its `destroy`, which the core calls once.

use super::abi::{c_text, Core, FunctionInterface, FutureInterface, Opaque, Settle, ASYNCHRONOUS};
use super::session::{Await, Session};
use super::values::{failed, Owned};
use super::{guarded, tell};
use serde_json::Value as Json;
use std::ffi::c_int;
use std::sync::Arc;

/// What stands behind a function or future of the core's: its number in loader.js.
struct Lent {
    session: Arc<Session>,
    number: u64,
}

extern "C" fn function_interface() -> *const FunctionInterface {
    static INTERFACE: FunctionInterface = FunctionInterface {
        create: Some(function_created),
        invoke,
        wait: await_function,
        destroy: function_destroyed,
    };
    &INTERFACE
}

extern "C" fn future_interface() -> *const FutureInterface {
    static INTERFACE: FutureInterface =
        FutureInterface { create: Some(future_created), wait: await_future, destroy: future_destroyed };
    &INTERFACE
}

/// # Safety
/// `implementation` is a box made here that was not freed.
unsafe fn lent<'a>(implementation: Opaque) -> &'a Lent {
    // SAFETY: promised by the caller.
    unsafe { &*implementation.cast::<Lent>() }
}

/// # Safety
/// There are `count` values at `args`.
unsafe fn arguments<'a>(args: *const Opaque, count: usize) -> &'a [Opaque] {
    if args.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: promised by the caller.
    unsafe { std::slice::from_raw_parts(args, count) }
}

/// What a call gave; a failure of the call itself is a throwable too.
fn outcome(core: &Core, result: Result<Opaque, String>) -> Opaque {
    let failed = |why: String| failed(core, &why).map_or(std::ptr::null_mut(), Owned::give);
    result.unwrap_or_else(failed)
}

unsafe extern "C" fn function_created(function: Opaque, implementation: Opaque) -> c_int {
    // SAFETY: the core's callback.
    let lent = unsafe { lent(implementation) };
    lent.session.lent_function(function, lent.number);
    0
}

unsafe extern "C" fn function_destroyed(function: Opaque, implementation: Opaque) {
    // SAFETY: the core's callback, called once.
    let lent = unsafe { Box::from_raw(implementation.cast::<Lent>()) };
    guarded((), || lent.session.returned_function(function));
}

unsafe extern "C" fn future_created(future: Opaque, implementation: Opaque) -> c_int {
    // SAFETY: the core's callback.
    let lent = unsafe { lent(implementation) };
    lent.session.lent_promise(future, lent.number);
    0
}

unsafe extern "C" fn future_destroyed(future: Opaque, implementation: Opaque) {
    // SAFETY: the core's callback, called once.
    let lent = unsafe { Box::from_raw(implementation.cast::<Lent>()) };
    guarded((), || lent.session.returned_promise(future));
}

unsafe extern "C" fn invoke(_: Opaque, implementation: Opaque, args: *const Opaque, count: usize) -> Opaque {
    // SAFETY: the core's callback.
    let (lent, args) = unsafe { (lent(implementation), arguments(args, count)) };
    guarded(std::ptr::null_mut(), || {
        // SAFETY: values of the core's.
        let args = unsafe { lent.session.encoded(&[lent.number], args) };
        outcome(lent.session.core, args.and_then(|args| lent.session.value("call", &args)))
    })
}

unsafe extern "C" fn await_function(
    _: Opaque,
    implementation: Opaque,
    args: *const Opaque,
    count: usize,
    resolve: Option<Settle>,
    reject: Option<Settle>,
    context: Opaque,
) -> Opaque {
    // SAFETY: the core's callback.
    let (lent, args) = unsafe { (lent(implementation), arguments(args, count)) };
    guarded(std::ptr::null_mut(), || {
        let session = &lent.session;
        // SAFETY: values of the core's.
        let args = |token| unsafe { session.encoded(&[token, lent.number], args) };
        outcome(session.core, session.waiting("await", args, Await { resolve, reject, context }))
    })
}

unsafe extern "C" fn await_future(
    _: Opaque,
    implementation: Opaque,
    resolve: Option<Settle>,
    reject: Option<Settle>,
    context: Opaque,
) -> Opaque {
    // SAFETY: the core's callback.
    let lent = unsafe { lent(implementation) };
    guarded(std::ptr::null_mut(), || {
        let session = &lent.session;
        let args = |token: u64| Ok(vec![token.into(), lent.number.into()]);
        outcome(session.core, session.waiting("awaitPromise", args, Await { resolve, reject, context }))
    })
}

/// A function as loader.js describes it.
pub struct Described<'a> {
    number: u64,
    name: &'a str,
    parameters: Vec<&'a str>,
    is_async: bool,
}

impl<'a> Described<'a> {
    /// Reads `[number, name, parameters, async]`.
    fn read(parts: &'a [Json]) -> Option<Self> {
        let [Json::Number(number), Json::String(name), Json::Array(parameters), Json::Bool(is_async)] = parts
        else {
            return None;
        };
        let parameters = parameters.iter().map(|it| it.as_str().unwrap_or_default()).collect();
        Some(Self { number: number.as_u64()?, name, parameters, is_async: *is_async })
    }
}

impl Session {
    /// A function of a script as a value of the core's, under the name that the script gives it.
    pub fn make_function(self: &Arc<Self>, parts: &[Json]) -> Result<Owned<'_>, String> {
        let described =
            Described::read(parts).ok_or_else(|| format!("loader.js described a function as {parts:?}"))?;
        self.make_named(described.name, &described)
    }

    fn make_named(self: &Arc<Self>, name: &str, described: &Described) -> Result<Owned<'_>, String> {
        let core = self.core;
        let lent = Box::into_raw(Box::new(Lent { session: Arc::clone(self), number: described.number }));
        // SAFETY: the name is copied; the box is the function's, whose interface is the one above.
        let function = unsafe {
            let count = described.parameters.len();
            (core.function_create)(c_text(name).as_ptr(), count, lent.cast(), function_interface)
        };
        if function.is_null() {
            // SAFETY: nobody has it.
            drop(unsafe { Box::from_raw(lent) });
            return Err(format!("the core could not make the function \"{name}\""));
        }
        // SAFETY: a function that was just made, with so many parameters; their names are copied.
        unsafe {
            if described.is_async {
                (core.function_async)(function, ASYNCHRONOUS);
            }
            let signature = (core.function_signature)(function);
            for (n, parameter) in described.parameters.iter().enumerate() {
                (core.signature_set)(signature, n, c_text(parameter).as_ptr(), std::ptr::null_mut());
            }
            Owned::new(core, (core.value_create_function)(function))
        }
    }

    /// A promise of a script as a value of the core's.
    pub fn make_future(self: &Arc<Self>, number: u64) -> Result<Owned<'_>, String> {
        let core = self.core;
        let lent = Box::into_raw(Box::new(Lent { session: Arc::clone(self), number }));
        // SAFETY: the box is the future's, whose interface is the one above.
        let future = unsafe { (core.future_create)(lent.cast(), future_interface) };
        if future.is_null() {
            // SAFETY: nobody has it.
            drop(unsafe { Box::from_raw(lent) });
            return Err("the core could not make a future".into());
        }
        // SAFETY: the value owns the future.
        Owned::new(core, unsafe { (core.value_create_future)(future) })
    }

    /// Defines what a module offers in a context of the core's.
    pub fn discover(self: &Arc<Self>, handle: u64, context: Opaque) -> Result<(), String> {
        let found = self.call("discover", &[handle.into()])?;
        let core = self.core;
        // SAFETY: the context is the core's.
        let scope = unsafe { (core.context_scope)(context) };
        for entry in found.as_array().into_iter().flatten() {
            let Some((key, described)) = entry.as_array().and_then(|entry| entry.split_first()) else {
                continue;
            };
            let (Some(key), Some(Json::Array(described))) = (key.as_str(), described.first()) else {
                continue;
            };
            let Some(described) = described.get(1..).and_then(Described::read) else { continue };
            let function = self.make_named(key, &described)?.give();
            // SAFETY: the scope owns the function if it takes it; its name is the key, which the scope does not copy.
            unsafe {
                let name = (core.function_name)((core.value_to_function)(function));
                if (core.scope_define)(scope, name, function) != 0 {
                    (core.value_type_destroy)(function);
                    return Err(format!("\"{key}\" is defined already"));
                }
            }
        }
        Ok(())
    }
}

/// A failure that nobody can be given.
pub fn told<T>(what: &str, result: Result<T, String>) -> Option<T> {
    result.map_err(|why| tell(&format!("{what}: {why}"))).ok()
}
