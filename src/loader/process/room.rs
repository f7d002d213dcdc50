//! Whether this process may still reserve the addresses that a guest takes. Where it may not (`RLIMIT_AS`, setrlimit(2)), V8
//! would end the process: it treats an isolate without its ranges as a fatal error.
//!
//! # Safety
//! A mapping of our own is made without any access and taken away again.

use nix::sys::mman::{mmap_anonymous, munmap, MapFlags, ProtFlags};
use std::num::NonZeroUsize;

/// What a guest takes, in bytes: its images and threads, and V8's ranges for one isolate. 600 MiB were seen to be too little and
/// 900 to be enough.
pub const NEEDED: NonZeroUsize = NonZeroUsize::new(1 << 30).unwrap();

/// Reserves as much and lets go of it.
///
/// # Errors
/// The system's reason.
pub fn try_it() -> std::io::Result<()> {
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
    // SAFETY: a new mapping at an address that the system chooses; nothing reads or writes it.
    let reserved = unsafe { mmap_anonymous(None, NEEDED, ProtFlags::PROT_NONE, flags) }?;
    // SAFETY: the mapping of this moment, known to nobody else.
    unsafe { munmap(reserved, NEEDED.get()) }?;
    Ok(())
}
