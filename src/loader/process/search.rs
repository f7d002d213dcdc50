//! Where ld.so looks for libraries in this process (`dlinfo(3)`, `RTLD_DI_SERINFO`): `LD_LIBRARY_PATH` or what ld.so was told
//! when it was called as a program, then its own folders.
//!
//! # Safety
//! `dlinfo` fills a structure whose size it says itself; it is read within that size, while it lives.

use std::ffi::{c_char, c_int, c_uint, c_void, CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// `Dl_serinfo` (dlfcn.h), up to its flexible array.
#[repr(C)]
struct SearchInfo {
    /// Size of the whole in bytes.
    size: usize,
    count: c_uint,
}

/// `Dl_serpath`.
#[repr(C)]
struct SearchPath {
    name: *const c_char,
    flags: c_uint,
}

const RTLD_DI_SERINFO: c_int = 4;
const RTLD_DI_SERINFOSIZE: c_int = 5;

/// The folders, in order; none if ld.so does not tell.
pub fn library_folders() -> Vec<PathBuf> {
    // SAFETY: null asks for the program itself.
    let program = unsafe { libc::dlopen(std::ptr::null(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
    if program.is_null() {
        return Vec::new();
    }
    let folders = ask(program).unwrap_or_default();
    // SAFETY: the handle is from dlopen and given back once.
    unsafe { libc::dlclose(program) };
    folders
}

fn ask(program: *mut c_void) -> Option<Vec<PathBuf>> {
    let mut need = SearchInfo { size: 0, count: 0 };
    // SAFETY: this request stores only size and count.
    let told = unsafe { libc::dlinfo(program, RTLD_DI_SERINFOSIZE, (&raw mut need).cast()) };
    if told != 0 || need.size < size_of::<SearchInfo>() {
        return None;
    }
    // Words, so that the structure and its pointers are aligned.
    let mut whole = vec![0u64; need.size.div_ceil(8)];
    // SAFETY: the memory is as large as `size` says, and aligned for pointers.
    unsafe {
        whole.as_mut_ptr().cast::<SearchInfo>().write(SearchInfo { size: need.size, count: need.count })
    };
    // SAFETY: size and count are those that ld.so gave, as the request wants.
    if unsafe { libc::dlinfo(program, RTLD_DI_SERINFO, whole.as_mut_ptr().cast()) } != 0 {
        return None;
    }
    let room = (need.size - size_of::<SearchInfo>()) / size_of::<SearchPath>();
    let count = (need.count as usize).min(room);
    // SAFETY: the array follows the head and has `count` entries within the memory.
    let first = unsafe { whole.as_ptr().cast::<u8>().add(size_of::<SearchInfo>()) }.cast::<SearchPath>();
    // SAFETY: as above; ld.so has filled them.
    let paths = unsafe { std::slice::from_raw_parts(first, count) };
    let name = |path: &SearchPath| {
        // SAFETY: each name is a NUL-terminated string inside of the same memory.
        let text = unsafe { CStr::from_ptr(path.name) };
        PathBuf::from(OsStr::from_bytes(text.to_bytes()))
    };
    Some(paths.iter().filter(|p| !p.name.is_null()).map(name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_c_library_lies_in_one_of_the_folders() {
        let folders = library_folders();
        assert!(folders.iter().any(|f| f.join("libc.so.6").is_file()), "{folders:?}");
    }
}
