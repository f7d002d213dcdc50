//! An isolate of the host's for Node to be in (`relink_bridge_shared` of shim/cpp/bridge.h).

use std::ffi::{c_char, c_void, CString};

/// What the host gives. Both addresses are run-time addresses of the host's own objects, and are only passed on to V8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedIsolate {
    /// Address of the `v8::Isolate`, which the calling thread has entered.
    pub isolate: usize,
    /// Address of a `v8::Local<v8::Context>`, valid while Node is being brought up.
    pub context: usize,
    /// The property of that context's global object under which its scripts find Node.
    pub name: CString,
}

/// `relink_bridge_shared`.
#[repr(C)]
#[derive(Debug)]
pub struct RawShared {
    size: u32,
    flags: u32,
    isolate: *mut c_void,
    context: *const c_void,
    name: *const c_char,
}
const _: () = assert!(size_of::<RawShared>() == 32);

impl SharedIsolate {
    /// For the bridge, for ever: such a guest stays loaded.
    pub(super) fn raw(&self) -> &'static RawShared {
        Box::leak(Box::new(RawShared {
            size: size_of::<RawShared>() as u32,
            flags: 0,
            isolate: self.isolate as *mut c_void,
            context: self.context as *const c_void,
            name: self.name.clone().into_raw(),
        }))
    }
}
