//! `CreateInterface` is a name that every module of a Source game defines. Where this library is preloaded, ld.so may bind a module's
//! reference to its own function to ours; then the modules are asked as if they had called their own.
//!
//! # Safety
//! Calls functions of that name in modules of the process, as the game's own modules do; each stays loaded meanwhile.

use super::abi::{Factory, FAILED};
use relink_loader::process::Modules;
use std::ffi::{c_char, c_int, c_void, CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr::null_mut;

/// Asks the other modules' `CreateInterface` for what `name` is.
///
/// # Safety
/// `name` is a NUL-terminated string, `code` null or an `int`.
pub unsafe fn ask_others(own: Factory, name: *const c_char, code: *mut c_int) -> *mut c_void {
    for module in Modules::observe().0 {
        let found = module.symbol(c"CreateInterface").map(|at| at.0 as usize);
        let Some(found) = found.filter(|at| *at != own as usize) else { continue };
        // SAFETY: modules of such games define that name as a `CreateInterfaceFn`; the module is held.
        let factory = unsafe { std::mem::transmute::<usize, Factory>(found) };
        // SAFETY: a `CreateInterfaceFn`, with what the caller gave.
        let found = unsafe { factory(name, code) };
        if !found.is_null() {
            return found;
        }
    }
    if !code.is_null() {
        // SAFETY: promised by the caller.
        unsafe { *code = FAILED };
    }
    null_mut()
}

/// This library's file, as ld.so knows it.
pub fn own_file() -> Option<PathBuf> {
    // SAFETY: plain data, filled by dladdr.
    let mut about: libc::Dl_info = unsafe { std::mem::zeroed() };
    // SAFETY: an address of this library.
    let found = unsafe { libc::dladdr(own_file as *const c_void, &mut about) };
    if found == 0 || about.dli_fname.is_null() {
        return None;
    }
    // SAFETY: ld.so's own string.
    let path = unsafe { CStr::from_ptr(about.dli_fname) };
    Some(PathBuf::from(OsStr::from_bytes(path.to_bytes())))
}
