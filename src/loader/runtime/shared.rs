//! An isolate of the host's for Node to be in (`relink_bridge_shared` of shim/cpp/bridge.h).

use super::raw::header::relink_bridge_shared;
use std::ffi::{c_void, CString};

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

impl SharedIsolate {
    /// For the bridge, for ever: such a guest stays loaded.
    pub(super) fn raw(&self) -> &'static relink_bridge_shared {
        Box::leak(Box::new(relink_bridge_shared {
            size: size_of::<relink_bridge_shared>() as u32,
            flags: 0,
            isolate: self.isolate as *mut c_void,
            context: self.context as *const c_void,
            name: self.name.clone().into_raw(),
        }))
    }
}
