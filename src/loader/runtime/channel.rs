//! What the host and scripts of the guest say to each other (`relink_bridge_channel` of shim/cpp/bridge.h).
//!
//! # Safety
//! The bridge calls the functions below on the guest's main thread while the channel lives, with texts of the length that
//! it gives; `give` is the bridge's own function and is called once, with the pointer that came with it.

use super::threads;
use std::ffi::{c_char, c_void, CString};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;

/// The host's side. All is called on the guest's main thread.
pub trait Listener: Send + Sync {
    /// The guest can be called from now on.
    fn opened(&self);
    /// Nothing will be answered any more.
    fn closed(&self);
    /// The answer to what was sent with this number: a status of shim/include/relink.h and a JSON text.
    fn answer(&self, id: u64, status: i32, text: &str);
    /// A script calls a function of the host's: JSON text in and out, or a message.
    fn host(&self, name: &str, text: &str) -> Result<String, String>;
}

type Give = extern "C" fn(*mut c_void, i32, *const c_char, usize);

/// `relink_bridge_channel`.
#[repr(C)]
pub struct RawChannel {
    size: u32,
    flags: u32,
    bootstrap: *const c_char,
    settings: *const c_char,
    opened: extern "C" fn(*mut c_void),
    closed: extern "C" fn(*mut c_void),
    answer: extern "C" fn(*mut c_void, u64, i32, *const c_char, usize),
    host: extern "C" fn(*mut c_void, *const c_char, *const c_char, usize, Give, *mut c_void),
    context: *mut c_void,
}
const _: () = assert!(size_of::<RawChannel>() == 64);

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Channel").field("flags", &self.raw.flags).finish_non_exhaustive()
    }
}

/// A channel. Where it lives it must stay while the guest runs.
pub struct Channel {
    raw: RawChannel,
    _texts: [CString; 2],
    _listener: Box<Arc<dyn Listener>>,
}

// SAFETY: the pointers are to what the channel owns, which does not move and is shared by threads without harm.
unsafe impl Send for Channel {}
// SAFETY: as above.
unsafe impl Sync for Channel {}

impl Channel {
    /// `bootstrap` is the script that runs first, `settings` a text for it. With `stay` the guest does not end because it has
    /// nothing to do. Zero bytes end a text.
    pub fn new(listener: Arc<dyn Listener>, bootstrap: &str, settings: &str, stay: bool) -> Self {
        let text = |text: &str| CString::new(text.split('\0').next().unwrap_or_default()).unwrap_or_default();
        let texts = [text(bootstrap), text(settings)];
        let listener = Box::new(listener);
        let raw = RawChannel {
            size: size_of::<RawChannel>() as u32,
            flags: u32::from(stay),
            bootstrap: texts[0].as_ptr(),
            settings: texts[1].as_ptr(),
            opened,
            closed,
            answer,
            host,
            context: (&raw const *listener).cast_mut().cast(),
        };
        Self { raw, _texts: texts, _listener: listener }
    }

    pub(super) fn raw(&self) -> &RawChannel {
        &self.raw
    }
}

fn listener<'a>(context: *mut c_void) -> &'a dyn Listener {
    // SAFETY: the channel's listener, which lives while the guest can call.
    let listener = unsafe { &*context.cast::<Arc<dyn Listener>>() };
    &**listener
}

/// Nothing may unwind into the bridge. The panic hook has told of it.
fn quietly(work: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(work));
}

/// # Safety
/// `text` has `length` bytes.
unsafe fn text<'a>(text: *const c_char, length: usize) -> std::borrow::Cow<'a, str> {
    // SAFETY: promised by the caller.
    String::from_utf8_lossy(unsafe { std::slice::from_raw_parts(text.cast(), length) })
}

extern "C" fn opened(context: *mut c_void) {
    quietly(|| listener(context).opened());
}

extern "C" fn closed(context: *mut c_void) {
    quietly(|| listener(context).closed());
}

extern "C" fn answer(context: *mut c_void, id: u64, status: i32, at: *const c_char, length: usize) {
    // SAFETY: the bridge's text.
    quietly(|| listener(context).answer(id, status, &unsafe { text(at, length) }));
}

extern "C" fn host(
    context: *mut c_void,
    name: *const c_char,
    at: *const c_char,
    length: usize,
    give: Give,
    reply: *mut c_void,
) {
    let called = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the bridge's texts; the name ends with a NUL.
        let (name, text) = unsafe { (std::ffi::CStr::from_ptr(name).to_string_lossy(), text(at, length)) };
        threads::as_host(|| listener(context).host(&name, &text))
    }));
    let (status, said) = match called.unwrap_or_else(|_| Err("an error of Relink's own code".into())) {
        Ok(text) => (0, text),
        Err(message) => (1, message),
    };
    give(reply, status, said.as_ptr().cast(), said.len());
}
