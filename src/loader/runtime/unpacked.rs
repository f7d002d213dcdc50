//! Files of a distribution's libnode that lie unpacked elsewhere.
//!
//! Debian's libnode reads some of Node's own scripts from absolute paths under `/usr/share/nodejs`. Where the package was
//! unpacked into a folder instead of being installed, they lie in that folder.
//!
//! # Safety
//! The guard has the signature of open(2) with its mode as a fixed third argument, which the psABIs of x86-64 and AArch64
//! Linux pass in the same register, and passes the call on.

use super::descriptors::opened;
use crate::plan::Guard;
use relink_elf::address::RunAddr;
use std::ffi::{c_char, c_int, c_uint, CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Where the scripts are looked for by absolute paths.
const SCRIPTS: &str = "/usr/share/nodejs";

/// The folder that the guest's package was unpacked into.
static ROOT: OnceLock<PathBuf> = OnceLock::new();

/// Guards for a guest that lies in an unpacked package; none for others.
pub fn guards(guest: &Path) -> Vec<Guard> {
    let Some(root) = unpacked_into(guest) else { return Vec::new() };
    if *ROOT.get_or_init(|| root.clone()) != root {
        return Vec::new();
    }
    let keeps = "scripts of a libnode that is unpacked in a folder are found in that folder";
    let address = RunAddr(open as *const () as usize as u64);
    ["open", "open64"].map(|symbol| Guard { symbol, address, keeps }).into()
}

/// The folder R if the guest is R/usr/lib/…/libnode.so and R has the scripts, but the machine has none.
fn unpacked_into(guest: &Path) -> Option<PathBuf> {
    let guest = guest.canonicalize().ok()?;
    let root = guest.ancestors().find(|folder| folder.ends_with("usr/lib"))?.parent()?.parent()?;
    let inside = root.join(SCRIPTS.trim_start_matches('/'));
    (!Path::new(SCRIPTS).exists() && inside.is_dir()).then(|| root.to_owned())
}

extern "C" fn open(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    if !path.is_null() {
        // SAFETY: open(2) wants a NUL-terminated path.
        let text = unsafe { CStr::from_ptr(path) };
        if let Some(moved) = moved(text) {
            // SAFETY: a NUL-terminated path that lives for the call.
            return opened(unsafe { libc::open(moved.as_ptr(), flags, mode) });
        }
    }
    // SAFETY: passed on as the guest called it.
    opened(unsafe { libc::open(path, flags, mode) })
}

fn moved(path: &CStr) -> Option<CString> {
    let rest = path.to_bytes().strip_prefix(SCRIPTS.as_bytes()).filter(|rest| rest.first() == Some(&b'/'))?;
    let mut whole = ROOT.get()?.as_os_str().as_bytes().to_vec();
    whole.extend(SCRIPTS.as_bytes());
    whole.extend(rest);
    CString::new(whole).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scripts_are_moved() {
        let _ = ROOT.set("/unpacked".into());
        assert_eq!(
            moved(c"/usr/share/nodejs/acorn/x.js"),
            Some(c"/unpacked/usr/share/nodejs/acorn/x.js".into())
        );
        for other in [c"/usr/share/nodejs", c"/usr/share/nodejsx/y", c"/etc/passwd", c""] {
            assert_eq!(moved(other), None);
        }
    }
}
