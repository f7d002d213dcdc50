//! What the host and scripts of the guest say to each other (`relink_bridge_channel` of shim/cpp/bridge.h).
//!
//! # Safety
//! The bridge calls the functions below on the guest's main thread while the channel lives, with texts of the length that
//! it gives; `give` is the bridge's own function and is called once, with the pointer that came with it.

use super::raw::header::{relink_bridge_channel, relink_bridge_give, RELINK_CHANNEL_STAY};
use super::{host_calls, threads};
use std::ffi::{c_char, c_void, CStr, CString};
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

/// A channel, which the bridge is told of by its address: see [`super::instance::Instance::begin`].
pub struct Channel {
    raw: relink_bridge_channel,
    // What `raw` points at. Shared pointers, for their contents stay where they are and are pointed at by others, too; neither is so
    // of a box that moves.
    _texts: [Arc<CStr>; 2],
    _listener: Arc<Arc<dyn Listener>>,
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Channel").field("flags", &self.raw.flags).finish_non_exhaustive()
    }
}

// SAFETY: the pointers are to what the channel shares, which is never written and may be used by any thread.
unsafe impl Send for Channel {}
// SAFETY: as above.
unsafe impl Sync for Channel {}

impl Channel {
    /// `bootstrap` is the script that runs first, `settings` a text for it. With `stay` the guest does not end because it has
    /// nothing to do. Zero bytes end a text.
    pub fn new(listener: Arc<dyn Listener>, bootstrap: &str, settings: &str, stay: bool) -> Self {
        let text = |text: &str| -> Arc<CStr> {
            CString::new(text.split('\0').next().unwrap_or_default()).unwrap_or_default().into()
        };
        let texts = [text(bootstrap), text(settings)];
        let listener = Arc::new(listener);
        let raw = relink_bridge_channel {
            size: size_of::<relink_bridge_channel>() as u32,
            flags: if stay { RELINK_CHANNEL_STAY as u32 } else { 0 },
            bootstrap: texts[0].as_ptr(),
            settings: texts[1].as_ptr(),
            opened: Some(opened),
            closed: Some(closed),
            answer: Some(answer),
            host: Some(host),
            ctx: Arc::as_ptr(&listener).cast_mut().cast(),
        };
        Self { raw, _texts: texts, _listener: listener }
    }

    pub(super) fn raw(&self) -> &relink_bridge_channel {
        &self.raw
    }
}

/// # Safety
/// `context` is a channel's, which lives.
unsafe fn listener<'a>(context: *mut c_void) -> &'a dyn Listener {
    // SAFETY: the channel's listener, which lives as long as it does.
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

// The bridge calls these, each with the context and texts of `relink_bridge_channel`: see the file's head.

/// # Safety
/// As the header says of `opened`.
unsafe extern "C" fn opened(context: *mut c_void) {
    // SAFETY: the channel lives while the guest can call.
    quietly(|| unsafe { listener(context) }.opened());
}

/// # Safety
/// As the header says of `closed`.
unsafe extern "C" fn closed(context: *mut c_void) {
    // SAFETY: as above.
    quietly(|| unsafe { listener(context) }.closed());
}

/// # Safety
/// As the header says of `answer`.
unsafe extern "C" fn answer(context: *mut c_void, id: u64, status: i32, at: *const c_char, length: usize) {
    // SAFETY: as above, and the bridge's text.
    quietly(|| unsafe { listener(context).answer(id, status, &text(at, length)) });
}

/// # Safety
/// As the header says of `host`.
unsafe extern "C" fn host(
    context: *mut c_void,
    name: *const c_char,
    at: *const c_char,
    length: usize,
    give: relink_bridge_give,
    reply: *mut c_void,
) {
    let called = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the bridge's texts; the name ends with a NUL.
        let (name, text) = unsafe { (CStr::from_ptr(name).to_string_lossy(), text(at, length)) };
        // SAFETY: the channel lives while the guest can call.
        let call = || unsafe { listener(context) }.host(&name, &text);
        host_calls::call(threads::owner(), call)
            .unwrap_or_else(|| Err("the host calls nobody back any more".into()))
    }));
    let (status, said) = match called.unwrap_or_else(|_| Err("an error of Relink's own code".into())) {
        Ok(text) => (0, text),
        Err(message) => (1, message),
    };
    if let Some(give) = give {
        // SAFETY: the bridge's own function, called once with the pointer that came with it; the text lives for the call.
        unsafe { give(reply, status, said.as_ptr().cast(), said.len()) };
    }
}
