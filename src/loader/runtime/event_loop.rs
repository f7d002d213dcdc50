//! The functions of the guest's libuv by which its loop is run step by step (`relink_bridge_loop` of shim/cpp/bridge.h).
//!
//! # Safety
//! Each is the function of that name of the guest's own libuv, with the signature that uv.h gives it.

use super::addons;
use relink_abi::error::Error;
use std::ffi::{c_int, c_void};

/// `relink_bridge_loop`.
#[repr(C)]
#[derive(Debug)]
pub struct EventLoop {
    size: u32,
    flags: u32,
    run: extern "C" fn(*mut c_void, c_int) -> c_int,
    backend_fd: extern "C" fn(*const c_void) -> c_int,
    backend_timeout: extern "C" fn(*const c_void) -> c_int,
    alive: extern "C" fn(*const c_void) -> c_int,
    now: extern "C" fn(*const c_void) -> u64,
}
const _: () = assert!(size_of::<EventLoop>() == 48);

/// Ends the threads of libuv's pool, which `uv_library_shutdown` does; it does nothing when it is called again. `false`: the guest
/// was stripped of that name, and the pool ends with libuv's finaliser only.
///
/// # Safety
/// The guest is loaded, and none of its event loops runs any more.
pub unsafe fn end_pool() -> bool {
    let found = addons::find(&["uv_library_shutdown"]).unwrap_or_default();
    let Some(shutdown) = found.first().copied().flatten() else { return false };
    // SAFETY: the address of libuv's function of that name, which takes nothing (uv.h).
    let shutdown = unsafe { std::mem::transmute::<usize, extern "C" fn()>(shutdown.0 as usize) };
    shutdown();
    true
}

impl EventLoop {
    /// Finds the functions of the guest that is loaded; a guest may export them, hide them, or have libuv as a library.
    ///
    /// # Errors
    /// The guest was stripped of their names.
    ///
    /// # Safety
    /// The guest stays loaded while they are used, and its slots are bound.
    pub unsafe fn find() -> Result<Self, Error> {
        const NAMES: [&str; 5] = ["uv_run", "uv_backend_fd", "uv_backend_timeout", "uv_loop_alive", "uv_now"];
        let found = addons::find(&NAMES)?;
        let address = |index: usize| -> Result<usize, Error> {
            let missing =
                || Error::MissingEntry { image: "the guest".into(), symbol: NAMES[index].to_owned() };
            found[index].map(|at| at.0 as usize).ok_or_else(missing)
        };
        // SAFETY: each is the address of libuv's function of that name, whose signature uv.h declares.
        Ok(unsafe {
            Self {
                size: size_of::<Self>() as u32,
                flags: 0,
                run: std::mem::transmute::<usize, extern "C" fn(*mut c_void, c_int) -> c_int>(address(0)?),
                backend_fd: std::mem::transmute::<usize, extern "C" fn(*const c_void) -> c_int>(address(1)?),
                backend_timeout: std::mem::transmute::<usize, extern "C" fn(*const c_void) -> c_int>(
                    address(2)?,
                ),
                alive: std::mem::transmute::<usize, extern "C" fn(*const c_void) -> c_int>(address(3)?),
                now: std::mem::transmute::<usize, extern "C" fn(*const c_void) -> u64>(address(4)?),
            }
        })
    }
}
