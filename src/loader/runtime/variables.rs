//! Environment variables of the guest's own: a copy of the host's, taken when the guest is brought in. Scripts write to `process.env` and
//! add-ons call setenv(3) while the host reads or changes its own; glibc has no lock that both would take, and a reader may be left with memory
//! that was freed. So the guest, its libraries and its add-ons mean this copy, whether by functions or by `environ`.
//!
//! `TZ` goes to the process as well: the time zone of V8's `Date` and `Intl` is the process's.
//!
//! # Safety
//! As for the other guards ([`super::guards`]): signatures and arguments are those of the libc functions they replace. The vector that `environ`
//! is ends with a null pointer, and its texts with a zero byte, as environ(7) has it; what this module puts into it is kept until the guest is
//! unloaded.

use super::guards::{in_child, set_errno};
use crate::plan::Guard;
use relink_elf::address::RunAddr;
use std::ffi::{c_char, c_int, CStr, CString};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

/// A vector of variables.
type Vector = *mut *mut c_char;

/// In place of the host's `NODE_OPTIONS`, for the guest: a host that is a node may have options that the guest's Node does not know.
pub const NODE_OPTIONS: &str = "RELINK_NODE_OPTIONS";

/// What `environ` is in the guest: its slots for that name lead here, and its code may put another vector in.
static ENVIRON: AtomicPtr<*mut c_char> = AtomicPtr::new(std::ptr::null_mut());

/// Held while the vector is changed, with all that was ever in it.
static KEPT: Mutex<Kept> = Mutex::new(Kept { texts: Vec::new(), vectors: Vec::new() });

struct Kept {
    texts: Vec<CString>,
    vectors: Vec<Box<[*mut c_char]>>,
}

// SAFETY: the pointers are to texts that the same structure keeps, and that nobody changes.
unsafe impl Send for Kept {}

extern "C" {
    /// The process's (environ(7)).
    static environ: Vector;
}

/// The guards, for the plan.
pub(super) fn guards() -> Vec<Guard> {
    let keeps = "the guest has environment variables of its own, which the host may change at the same time";
    let guard = |(symbol, at): (&'static str, *const ())| Guard {
        symbol,
        address: RunAddr(at as usize as u64),
        keeps,
    };
    let all = [
        ("environ", (&raw const ENVIRON).cast()),
        ("__environ", (&raw const ENVIRON).cast()),
        ("_environ", (&raw const ENVIRON).cast()),
        ("setenv", setenv as *const ()),
        ("unsetenv", unsetenv as *const ()),
        ("putenv", putenv as *const ()),
        ("clearenv", clearenv as *const ()),
    ];
    all.map(guard).into()
}

/// A guest that was bound has the copy.
static HELD: AtomicBool = AtomicBool::new(false);

/// The guest that is about to run has the copy from now on.
pub fn hold() {
    HELD.store(true, Ordering::Release);
}

/// Copies the process's variables, unless a guest has a copy already. A host that changes them on another thread meanwhile races with this, as
/// with every reader.
pub(super) fn take() {
    if HELD.load(Ordering::Acquire) {
        return;
    }
    // SAFETY: the process's own vector.
    let all = unsafe { texts(environ) };
    change(|there| {
        there.clear();
        all
    });
    let name = CString::new(NODE_OPTIONS).unwrap_or_default();
    let given = find(&name);
    if !given.is_null() {
        // SAFETY: a text of the vector's.
        let value = unsafe { CStr::from_ptr(given) }.to_string_lossy().into_owned();
        remove(&name);
        give("NODE_OPTIONS", &value);
    }
}

/// The guest is gone: the next one copies anew.
pub(super) fn forget() {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    HELD.store(false, Ordering::Release);
    ENVIRON.store(std::ptr::null_mut(), Ordering::Release);
    kept.texts.clear();
    kept.vectors.clear();
}

/// Gives the guest, which has not begun, another value of a variable than the host has; an empty one takes it out.
pub fn give(name: &str, value: &str) {
    let (Ok(own_name), Ok(text)) = (CString::new(name), CString::new(format!("{name}={value}"))) else {
        return;
    };
    remove(&own_name);
    if !value.is_empty() {
        put(text);
    }
}

/// A variable that Node's module loaders look for, in plain Node set by `--watch`: they report what they load.
const REPORTS: &CStr = c"WATCH_REPORT_DEPENDENCIES";

/// Whether it is found. It is never listed, so that children have it not.
static REPORTED: AtomicBool = AtomicBool::new(false);

/// Has Node's module loaders report what they load.
pub fn report_modules(wanted: bool) {
    REPORTED.store(wanted, Ordering::Relaxed);
}

/// The vector, for functions that take one.
pub(super) fn pointer() -> Vector {
    let own = ENVIRON.load(Ordering::Acquire);
    if own.is_null() {
        // SAFETY: the process's own, where no guest has one.
        unsafe { environ }
    } else {
        own
    }
}

/// The texts of a vector.
///
/// # Safety
/// It is null, or one as environ(7) has it, which nobody changes meanwhile.
unsafe fn texts(vector: Vector) -> Vec<CString> {
    // SAFETY: promised by the caller.
    unsafe { pointers(vector) }
        .iter()
        // SAFETY: a NUL-terminated text.
        .map(|text| unsafe { CStr::from_ptr(*text) }.to_owned())
        .collect()
}

/// # Safety
/// As for [`texts`].
unsafe fn pointers(vector: Vector) -> Vec<*mut c_char> {
    let mut found = Vec::new();
    let mut next = vector;
    // SAFETY: null ends the vector, or is given in place of one (promised by the caller).
    while !next.is_null() && !unsafe { *next }.is_null() {
        // SAFETY: not at the end yet.
        found.push(unsafe { *next });
        // SAFETY: the vector goes on to its null.
        next = unsafe { next.add(1) };
    }
    found
}

/// Puts another vector in place: the texts that `how` says after the pointers that it leaves.
fn change(how: impl FnOnce(&mut Vec<*mut c_char>) -> Vec<CString>) {
    // A forked child has one thread, and may have been forked while another held the lock.
    let lock = (!in_child()).then(|| KEPT.lock().unwrap_or_else(PoisonError::into_inner));
    // SAFETY: null or the guest's vector, which is changed under this lock alone.
    let mut all = unsafe { pointers(ENVIRON.load(Ordering::Acquire)) };
    let more = how(&mut all);
    all.extend(more.iter().map(|text| text.as_ptr().cast_mut()));
    all.push(std::ptr::null_mut());
    let vector = all.into_boxed_slice();
    ENVIRON.store(vector.as_ptr().cast_mut(), Ordering::Release);
    match lock {
        Some(mut kept) => {
            kept.texts.extend(more);
            kept.vectors.push(vector);
        }
        None => std::mem::forget((vector, more)),
    }
}

/// The value in a text of this variable's.
///
/// # Safety
/// The text is NUL-terminated.
unsafe fn value_of(name: &CStr, text: *mut c_char) -> Option<*mut c_char> {
    // SAFETY: promised by the caller.
    let rest = unsafe { CStr::from_ptr(text) }.to_bytes().strip_prefix(name.to_bytes())?;
    // SAFETY: the name and the sign are within the text.
    rest.starts_with(b"=").then(|| unsafe { text.add(name.count_bytes() + 1) })
}

/// The value of a variable, as getenv(3) has it.
pub(super) fn find(name: &CStr) -> *mut c_char {
    if name == REPORTS && REPORTED.load(Ordering::Relaxed) {
        return c"1".as_ptr().cast_mut();
    }
    // SAFETY: the guest's vector, or the process's.
    let all = unsafe { pointers(pointer()) };
    // SAFETY: texts of the vector.
    all.into_iter().find_map(|text| unsafe { value_of(name, text) }).unwrap_or(std::ptr::null_mut())
}

fn remove(name: &CStr) {
    change(|all| {
        // SAFETY: texts of the vector.
        all.retain(|text| unsafe { value_of(name, *text) }.is_none());
        Vec::new()
    });
}

fn put(text: CString) {
    change(|_| vec![text]);
}

const TIME_ZONE: &[u8] = b"TZ";

/// A name that a variable may have.
///
/// # Safety
/// Null or a NUL-terminated text, which lives as long as the result.
unsafe fn checked<'a>(name: *const c_char) -> Option<&'a CStr> {
    if name.is_null() {
        return None;
    }
    // SAFETY: promised by the caller.
    let name = unsafe { CStr::from_ptr(name) };
    (!name.is_empty() && !name.to_bytes().contains(&b'=')).then_some(name)
}

fn invalid() -> c_int {
    set_errno(libc::EINVAL);
    -1
}

extern "C" fn setenv(name: *const c_char, value: *const c_char, overwrite: c_int) -> c_int {
    // SAFETY: as setenv(3) wants it.
    let Some(known) = (unsafe { checked(name) }) else { return invalid() };
    if overwrite == 0 && !find(known).is_null() {
        return 0;
    }
    // SAFETY: as above.
    let value_text = unsafe { CStr::from_ptr(value) };
    let whole = [known.to_bytes(), b"=", value_text.to_bytes()].concat();
    let Ok(text) = CString::new(whole) else { return invalid() };
    remove(known);
    put(text);
    if known.to_bytes() == TIME_ZONE && !in_child() {
        // SAFETY: passed on as the guest called it.
        unsafe { libc::setenv(name, value, 1) };
    }
    0
}

extern "C" fn unsetenv(name: *const c_char) -> c_int {
    // SAFETY: as unsetenv(3) wants it.
    let Some(known) = (unsafe { checked(name) }) else { return invalid() };
    remove(known);
    if known.to_bytes() == TIME_ZONE && !in_child() {
        // SAFETY: passed on as the guest called it.
        unsafe { libc::unsetenv(name) };
    }
    0
}

/// libc's would keep the caller's text itself, which an add-on may free. A text without a sign takes the variable out.
extern "C" fn putenv(text: *mut c_char) -> c_int {
    // SAFETY: a NUL-terminated text, as putenv(3) wants it.
    let text = unsafe { CStr::from_ptr(text) };
    let name = text.to_bytes().split(|b| *b == b'=').next().unwrap_or_default();
    let Ok(name) = CString::new(name) else { return invalid() };
    if name.is_empty() {
        return invalid();
    }
    remove(&name);
    if text.to_bytes().contains(&b'=') {
        put(text.to_owned());
    }
    0
}

extern "C" fn clearenv() -> c_int {
    change(|all| {
        all.clear();
        Vec::new()
    });
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &CStr) -> Option<String> {
        let found = find(name);
        // SAFETY: a text of the vector's, if there is one.
        (!found.is_null()).then(|| unsafe { CStr::from_ptr(found) }.to_string_lossy().into_owned())
    }

    #[test]
    fn the_guests_variables_are_its_own() {
        super::super::guards::all();
        let name = c"RELINK_TEST_OF_VARIABLES";
        assert_eq!(value(c"PATH"), std::env::var("PATH").ok(), "a copy");
        assert_eq!(setenv(name.as_ptr(), c"one".as_ptr(), 1), 0);
        assert_eq!(setenv(name.as_ptr(), c"two".as_ptr(), 0), 0);
        assert_eq!(value(name).as_deref(), Some("one"));
        assert!(std::env::var_os("RELINK_TEST_OF_VARIABLES").is_none(), "the process has it not");
        assert_eq!(putenv(c"RELINK_TEST_OF_VARIABLES=three".as_ptr().cast_mut()), 0);
        assert_eq!(value(name).as_deref(), Some("three"));
        assert_eq!(unsetenv(name.as_ptr()), 0);
        assert_eq!(value(name), None);
        give("RELINK_TEST_OF_VARIABLES", "four");
        assert_eq!(value(name).as_deref(), Some("four"));
        give("RELINK_TEST_OF_VARIABLES", "");
        assert_eq!(value(name), None);
        for bad in [c"", c"a=b"] {
            assert_eq!(setenv(bad.as_ptr(), c"x".as_ptr(), 1), -1);
        }
        // As libuv does in a child, for what it starts there.
        let own = ENVIRON.load(Ordering::Acquire);
        let mut other = [c"A=1".as_ptr().cast_mut(), std::ptr::null_mut()];
        ENVIRON.store(other.as_mut_ptr(), Ordering::Release);
        assert_eq!((value(c"A").as_deref(), value(c"PATH")), (Some("1"), None));
        ENVIRON.store(own, Ordering::Release);
    }
}
