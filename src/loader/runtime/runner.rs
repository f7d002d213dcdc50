//! What `process.execPath` names in a guest. In plain Node it is node itself, which `fork()`, cluster, `--test` and `--watch` start anew. In a
//! host it is the host. So where a relink-node with parts of its own lies beside this library, it is that.
//!
//! # Safety
//! As for the other guards ([`super::guards`]): signatures and arguments are those of the libc functions they replace.

use super::guards::in_child;
use crate::plan::Guard;
use relink_elf::address::RunAddr;
use std::ffi::{c_char, c_void, CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A file beside the program that names its parts: `{"v8": FILE, "guest": FILE}`, both optional, relative ones seen from the file's folder.
pub const BESIDE: &str = "relink-node.json";

/// The program.
const RUNNER: &str = "relink-node";
/// By which libuv asks for the program of the process.
const OWN_PROGRAM: &CStr = c"/proc/self/exe";

/// The guards, for the plan.
pub(super) fn guards() -> Vec<Guard> {
    let address = RunAddr(readlink as *const () as usize as u64);
    let keeps = "process.execPath names relink-node where it lies beside the library, and not the host";
    vec![Guard { symbol: "readlink", address, keeps }]
}

/// relink-node beside the library, if the file that names its parts lies there as well: without one it would have those of the kit's, whatever
/// this guest is.
fn runner() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOUND.get_or_init(|| beside(&own_file()?.canonicalize().ok()?)).as_deref()
}

fn beside(library: &Path) -> Option<PathBuf> {
    let program = library.with_file_name(RUNNER);
    (program.is_file() && library.with_file_name(BESIDE).is_file()).then_some(program)
}

/// The file that this code is in.
fn own_file() -> Option<PathBuf> {
    // SAFETY: all zeroes is a valid Dl_info, filled by the call.
    let mut about: libc::Dl_info = unsafe { std::mem::zeroed() };
    // SAFETY: an address of this library's.
    if unsafe { libc::dladdr(own_file as *const () as *const c_void, &raw mut about) } == 0
        || about.dli_fname.is_null()
    {
        return None;
    }
    // SAFETY: a NUL-terminated text that lives as long as the library.
    Some(OsStr::from_bytes(unsafe { CStr::from_ptr(about.dli_fname) }.to_bytes()).into())
}

extern "C" fn readlink(path: *const c_char, buffer: *mut c_char, size: usize) -> isize {
    // SAFETY: null or a NUL-terminated text, as readlink(2) wants it.
    let is_own = !path.is_null() && unsafe { CStr::from_ptr(path) } == OWN_PROGRAM;
    match runner().filter(|_| is_own && !in_child() && !buffer.is_null()) {
        Some(runner) => {
            let bytes = runner.as_os_str().as_bytes();
            let length = bytes.len().min(size);
            // SAFETY: the caller's buffer has room for so many bytes.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), buffer.cast(), length) };
            length as isize
        }
        // SAFETY: passed on as the guest called it.
        None => unsafe { libc::readlink(path, buffer, size) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runner_counts_with_the_file_of_its_parts() {
        let folder = tempfile::tempdir().expect("a folder");
        let library = folder.path().join("librelink.so");
        let write = |name: &str| std::fs::write(folder.path().join(name), "").expect("written");
        assert_eq!(beside(&library), None);
        write(RUNNER);
        assert_eq!(beside(&library), None);
        write(BESIDE);
        assert_eq!(beside(&library), Some(folder.path().join(RUNNER)));
    }

    #[test]
    fn other_links_are_what_they_are() {
        super::super::guards::all();
        let mut buffer = [0u8; 4096];
        let length = readlink(OWN_PROGRAM.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len());
        let found =
            Path::new(OsStr::from_bytes(&buffer[..usize::try_from(length).expect("a link")])).to_owned();
        assert_eq!(found, std::fs::read_link("/proc/self/exe").expect("a link"));
    }
}
