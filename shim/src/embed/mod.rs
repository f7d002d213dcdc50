//! The part of shim/include/relink.h by which a host talks to its guest.
//!
//! # Safety
//! Every function takes what the header says; handles are compared and never dereferenced.

mod calls;
mod options;
mod runtime;
mod watch;

pub use calls::HostFunction;
pub use options::{known, settings, Wanted};
pub use runtime::{load_request, Runtime};

use crate::answer::{answer, hand_out, Answer, No};
use crate::{bridge, new_report};
use options::{text, Options};
use relink_loader::pipeline::{self, lock};
use relink_loader::report::Failure;
use runtime::{c_text, runtimes};
use std::ffi::{c_char, c_int, c_uint, c_ulonglong, c_void, CStr, CString};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

/// `relink_runtime *`: the guest's number.
type Handle = *const c_void;

/// The caller's pointer, to be given back to it.
#[derive(Clone, Copy)]
struct Context(*mut c_void);
// SAFETY: never dereferenced here; the host says on which thread it gets it back.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    fn get(self) -> *mut c_void {
        self.0
    }
}

/// What a function of the host's gives back.
pub struct Reply(String);

type HostsFunction = extern "C" fn(*mut c_void, *const c_char, *mut Reply) -> c_int;
type Callback = extern "C" fn(*mut c_void, c_int);
type DoneCallback = extern "C" fn(*mut c_void, c_int, *const c_char);

fn find(handle: Handle) -> Result<Arc<Runtime>, No> {
    let found = runtimes().iter().find(|runtime| runtime.id == handle as usize).cloned();
    found.ok_or_else(|| Answer::Nothing.because("there is no guest of this handle"))
}

/// A string that is needed.
///
/// # Safety
/// As for [`text`].
unsafe fn needed(what: &str, at: *const c_char) -> Result<String, No> {
    // SAFETY: promised by the caller.
    unsafe { text(at) }?.ok_or_else(|| Answer::Argument.because(format!("{what} is a null pointer")))
}

/// # Safety
/// `args` is null or a NUL-terminated string.
unsafe fn arguments(args: *const c_char) -> Result<CString, No> {
    // SAFETY: promised by the caller.
    c_text(unsafe { text(args) }?.unwrap_or_else(|| "[]".into()))
}

/// Says whether Node could be brought in.
///
/// # Safety
/// As the header says.
#[no_mangle]
pub unsafe extern "C" fn relink_probe(options: *const Options, result: *mut *mut c_char) -> c_int {
    answer(|| {
        // SAFETY: promised by the caller.
        let wanted = unsafe { Wanted::read(options) }?;
        let report = new_report();
        lock(&report).guest = wanted.config.guest.display().to_string();
        let probed = pipeline::probe(&wanted.config, bridge::all(), &report);
        if let Err(error) = &probed {
            lock(&report).error = Some(Failure { code: error.code().into(), message: error.to_string() });
        }
        // SAFETY: promised by the caller.
        unsafe { hand_out(result, &serde_json::to_string(&*lock(&report)).unwrap_or_default()) };
        probed.map_err(No::from)
    })
}

/// Brings Node in.
///
/// # Safety
/// As the header says.
#[no_mangle]
pub unsafe extern "C" fn relink_create(options: *const Options, runtime: *mut Handle) -> c_int {
    answer(|| {
        if runtime.is_null() {
            return Err(Answer::Argument.because("there is no place for the handle"));
        }
        // SAFETY: promised by the caller.
        let created = create(unsafe { Wanted::read(options) }?)?;
        // SAFETY: not null, and the caller's to be written.
        unsafe { *runtime = created.id as Handle };
        Ok(())
    })
}

/// The runtime that is wanted, from now on one of those that there are.
pub fn create(wanted: Wanted) -> Result<Arc<Runtime>, No> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    // Never a null pointer, nor one that was used before.
    let id = (NUMBER.fetch_add(1, Ordering::Relaxed) + 1) * 16;
    let created = Arc::new(Runtime::create(wanted, id)?);
    runtimes().push(Arc::clone(&created));
    Ok(created)
}

/// Loads a script.
///
/// # Safety
/// As the header says.
#[no_mangle]
pub unsafe extern "C" fn relink_run(
    runtime: Handle,
    kind: c_int,
    what: *const c_char,
    name: *const c_char,
    timeout_ms: c_uint,
    result: *mut *mut c_char,
) -> c_int {
    const KINDS: [&str; 3] = ["file", "string", "package"];
    answer(|| {
        let unknown = || Answer::Argument.because(format!("{kind} is no enum relink_kind"));
        let kind = usize::try_from(kind).ok().and_then(|kind| KINDS.get(kind)).ok_or_else(unknown)?;
        // SAFETY: promised by the caller.
        let (what, name) = unsafe { (needed("what", what)?, needed("name", name)?) };
        let done = find(runtime)?.run(kind, &what, &name, timeout_ms)?;
        // SAFETY: promised by the caller.
        unsafe { told(done, result) }
    })
}

/// Calls a function.
///
/// # Safety
/// As the header says.
#[no_mangle]
pub unsafe extern "C" fn relink_call(
    runtime: Handle,
    function: *const c_char,
    args: *const c_char,
    timeout_ms: c_uint,
    result: *mut *mut c_char,
) -> c_int {
    answer(|| {
        // SAFETY: promised by the caller.
        let (function, args) = unsafe { (function_name(function)?, arguments(args)?) };
        let done = find(runtime)?.call(&function, &args, timeout_ms)?;
        // SAFETY: promised by the caller.
        unsafe { told(done, result) }
    })
}

/// # Safety
/// As for [`text`].
unsafe fn function_name(at: *const c_char) -> Result<CString, No> {
    // SAFETY: promised by the caller.
    let name = unsafe { needed("function", at) }?;
    if name.is_empty() {
        return Err(Answer::Argument.because("the function has no name"));
    }
    c_text(name)
}

/// Hands out what a script answered.
///
/// # Safety
/// `place` is null or can be written.
unsafe fn told((answer, text): (Answer, String), place: *mut *mut c_char) -> Result<(), No> {
    // SAFETY: promised by the caller.
    unsafe { hand_out(place, &text) };
    match answer {
        Answer::Ok => Ok(()),
        other => Err(other.because(text)),
    }
}

/// Calls a function without waiting.
///
/// # Safety
/// As the header says.
#[no_mangle]
pub unsafe extern "C" fn relink_call_async(
    runtime: Handle,
    function: *const c_char,
    args: *const c_char,
    done: Option<DoneCallback>,
    context: *mut c_void,
) -> c_int {
    answer(|| {
        // SAFETY: promised by the caller.
        let (function, args) = unsafe { (function_name(function)?, arguments(args)?) };
        let done = done.ok_or_else(|| Answer::Argument.because("done is a null pointer"))?;
        let context = Context(context);
        let tell = move |answer: Answer, text: &str| {
            let text = CString::new(text.replace('\0', " ")).unwrap_or_default();
            done(context.get(), answer as c_int, text.as_ptr());
        };
        find(runtime)?.call_async(&function, &args, Box::new(tell))
    })
}

/// Lets scripts call a function of the host's.
///
/// # Safety
/// As the header says.
#[no_mangle]
pub unsafe extern "C" fn relink_register(
    runtime: Handle,
    name: *const c_char,
    function: Option<HostsFunction>,
    context: *mut c_void,
) -> c_int {
    answer(|| {
        // SAFETY: promised by the caller.
        let name = unsafe { needed("name", name) }?;
        let context = Context(context);
        let call = |function: HostsFunction| -> Arc<HostFunction> {
            Arc::new(move |args: &str| {
                let args = CString::new(args).map_err(|_| "a zero byte in the arguments".to_owned())?;
                let mut reply = Reply("null".into());
                match function(context.get(), args.as_ptr(), &raw mut reply) {
                    0 => Ok(reply.0),
                    _ => Err(reply.0),
                }
            })
        };
        find(runtime)?.register(name, function.map(call));
        Ok(())
    })
}

/// Sets what a function of the host's gives back.
///
/// # Safety
/// `reply` is the function's own, `text` null or a NUL-terminated string.
#[no_mangle]
pub unsafe extern "C" fn relink_reply_set(reply: *mut Reply, text: *const c_char) {
    if !reply.is_null() && !text.is_null() {
        // SAFETY: promised by the caller.
        unsafe { (*reply).0 = CStr::from_ptr(text).to_string_lossy().into_owned() };
    }
}

/// Has a callback called on the guest's thread.
#[no_mangle]
pub extern "C" fn relink_post(runtime: Handle, callback: Option<Callback>, context: *mut c_void) -> c_int {
    answer(|| {
        let callback = callback.ok_or_else(|| Answer::Argument.because("the callback is a null pointer"))?;
        let context = Context(context);
        find(runtime)?.post(Box::new(move |run| callback(context.get(), c_int::from(run))))
    })
}

/// Does what is due in the guest.
#[no_mangle]
pub extern "C" fn relink_tick(runtime: Handle, budget_us: c_ulonglong) -> c_int {
    answer(|| find(runtime)?.tick(budget_us))
}

/// Waits until Node has ended by itself.
#[no_mangle]
pub extern "C" fn relink_join(runtime: Handle, timeout_ms: c_uint) -> c_int {
    answer(|| find(runtime)?.join(timeout_ms))
}

/// Ends Node.
#[no_mangle]
pub extern "C" fn relink_stop(runtime: Handle, timeout_ms: c_uint) -> c_int {
    answer(|| find(runtime)?.stop(timeout_ms))
}

/// The report so far.
///
/// # Safety
/// As the header says.
#[no_mangle]
pub unsafe extern "C" fn relink_report(runtime: Handle, result: *mut *mut c_char) -> c_int {
    answer(|| {
        if result.is_null() {
            return Err(Answer::Argument.because("there is no place for the report"));
        }
        let report = find(runtime)?.report();
        // SAFETY: promised by the caller.
        unsafe { hand_out(result, &report) };
        Ok(())
    })
}

/// Ends Node and takes the guest out of the process.
#[no_mangle]
pub extern "C" fn relink_destroy(runtime: Handle, timeout_ms: c_uint) -> c_int {
    answer(|| destroy(&*find(runtime)?, timeout_ms))
}

/// Takes a runtime out, after which its handle is none.
pub fn destroy(guest: &Runtime, timeout_ms: u32) -> Result<(), No> {
    let done = guest.destroy(timeout_ms);
    if done.as_ref().map_or_else(|no| no.answer == Answer::Stays, |()| true) {
        runtimes().retain(|other| other.id != guest.id);
    }
    done
}
