//! Staging: a private copy of an image is loaded without ld.so binding what Relink binds, and without running any of
//! its code.
//!
//! In the copy each relocation that the plan claims becomes "none", and the dynamic entries that make ld.so call
//! initialisers and finalisers are blanked. Everything else (relative relocations, C and C++ run-time names, TLS) is
//! ld.so's work as always. The copy lives in a sealed memory file, so nothing is left on disk and nobody else can
//! change it.
//!
//! # Safety
//! `dlopen`, `dlinfo` and the initialisers are foreign code. The initialisers run only after every slot is bound.

use super::inventory::Inventory;
use crate::address::{LinkAddr, LoadBias, RunAddr};
use crate::elf::FileImage;
use crate::error::Error;
use object::elf;
use std::ffi::{c_int, c_void, CString};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A loaded image whose initialisers have not run.
#[derive(Debug)]
#[must_use]
pub struct Staged {
    handle: *mut c_void,
    /// Run-time minus link-time addresses.
    pub bias: LoadBias,
    /// The run-time addresses that it spans.
    pub span: std::ops::Range<RunAddr>,
    /// Keeps `/proc/PID/fd/N` valid, the name under which debuggers find the image's symbols.
    _file: File,
}

// SAFETY: the handle is only a token for dlclose, which may be called from any thread.
unsafe impl Send for Staged {}

/// One word of the private copy that differs from the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Edit {
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// The word there.
    pub word: u64,
}

/// What has to be edited in a copy of `file`: the relocations at `claimed` become "none", and the calls of initialisers and
/// finalisers are taken out. Pure.
///
/// # Errors
/// The link-time address of a word for which the file has no bytes.
pub fn edits(
    file: &FileImage,
    inventory: &Inventory,
    claimed: impl Iterator<Item = LinkAddr>,
) -> Result<Vec<Edit>, LinkAddr> {
    /// Offset of `r_info` in `Elf64_Rela`, of `d_val` in `Elf64_Dyn`, in bytes.
    const VALUE: u64 = 8;
    /// A tag in the range reserved for operating systems that no ld.so knows, hence passes over.
    const IGNORED_TAG: u64 = elf::DT_LOOS as u64 + 0x52_4c4b;
    let edit = |at: LinkAddr, inside: u64, word: u64| {
        let offset = file.file_offset(at).ok_or(at)? as u64 + inside;
        if offset + 8 <= file.bytes.len() as u64 {
            Ok(Edit { offset, word })
        } else {
            Err(at)
        }
    };
    let relocations = claimed.map(|entry| edit(entry, VALUE, u64::from(file.arch.none)));
    let callers = inventory.callers.iter().map(|(at, tag)| {
        let is_size = [elf::DT_INIT_ARRAYSZ, elf::DT_FINI_ARRAYSZ].map(u64::from).contains(tag);
        if is_size {
            edit(*at, VALUE, 0)
        } else {
            edit(*at, 0, IGNORED_TAG)
        }
    });
    relocations.chain(callers).collect()
}

/// Loads a private copy of `file` with `edits` (made by [`edits`]) so that its symbols serve nobody else (`RTLD_LOCAL`) and
/// everything left to ld.so is bound at once. `name` is for messages and for `/proc/PID/maps`.
///
/// # Safety
/// With the edits the image calls no initialisers, so that loading it runs none of its code.
pub unsafe fn load(file: &FileImage, edits: &[Edit], name: &str) -> Result<Staged, Error> {
    let failed = |why: String| Error::Stage { what: name.to_owned(), why };
    let copy = memory_file(file.bytes, edits, name).map_err(|e| failed(format!("memory file: {e}")))?;
    let path = format!("/proc/{}/fd/{}", std::process::id(), copy.as_raw_fd());
    let path = CString::new(path).map_err(|e| failed(e.to_string()))?;
    // SAFETY: the path is NUL-terminated; the image runs no code when loaded (promised by the caller).
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if handle.is_null() {
        return Err(failed(dl_error()));
    }
    let bias = load_bias(handle).ok_or_else(|| failed(dl_error()))?;
    let span = file.image.span();
    Ok(Staged { handle, bias, span: bias.run(span.start)..bias.run(span.end), _file: copy })
}

/// Loads a library of the guest's closure, to be found again by its soname.
///
/// # Safety
/// The library's initialisers run; it must be one that the guest was linked with.
pub unsafe fn load_dependency(path: &Path) -> Result<(), Error> {
    let failed = |why: String| Error::Stage { what: path.display().to_string(), why };
    // SAFETY: promised by the caller.
    let library =
        unsafe { libloading::os::unix::Library::open(Some(path), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    // Stays loaded: the guest needs it as long as it lives, and the guest is not unloaded either.
    library.map(std::mem::forget).map_err(|e| failed(e.to_string()))
}

impl Staged {
    /// Runs the image's initialisers in the order that ld.so would: `DT_INIT`, then the array.
    ///
    /// # Safety
    /// Every slot of the image is bound, and so are those of images it calls. To be called once.
    pub unsafe fn initialise(&self, inventory: &Inventory) -> usize {
        let mut functions: Vec<RunAddr> =
            inventory.lifecycle.init.map(|f| self.bias.run(f)).into_iter().collect();
        if let Some((array, count)) = inventory.lifecycle.init_array {
            let array = self.bias.run(array).0 as usize as *const u64;
            // SAFETY: the array lies in the image's data, relocated by ld.so, and has `count` words (from DT_INIT_ARRAYSZ).
            let words = unsafe { std::slice::from_raw_parts(array, count as usize) };
            // 0 and -1 are not functions (glibc passes such entries over too).
            functions.extend(words.iter().filter(|w| **w != 0 && **w != u64::MAX).map(|w| RunAddr(*w)));
        }
        let (argc, argv, envp) = arguments();
        for function in &functions {
            // SAFETY: an initialiser of the image, with the signature that glibc calls it by; its slots are bound.
            let function: extern "C" fn(c_int, *const *const i8, *const *const i8) =
                unsafe { std::mem::transmute(function.0 as usize) };
            function(argc, argv, envp);
        }
        functions.len()
    }

    /// Leaves an image that was entered where it is, for ever. Its file stays open: the name by which ld.so knows the
    /// image contains the descriptor's number, which nobody else may get.
    pub fn keep(self) {
        std::mem::forget(self);
    }

    /// Unloads an image that was never entered.
    pub fn discard(self) {
        // SAFETY: the handle is from dlopen; no code of the image has run and, its finaliser calls being blanked,
        // none runs now.
        unsafe { libc::dlclose(self.handle) };
    }
}

/// A sealed, anonymous file with these contents, edited.
fn memory_file(bytes: &[u8], edits: &[Edit], name: &str) -> std::io::Result<File> {
    let c_name = CString::new(format!("relink:{name}"))?;
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // Kernels that forbid executable memory files by default want MFD_EXEC; those before 6.3 do not know it.
    let fd = [flags | libc::MFD_EXEC, flags]
        .into_iter()
        // SAFETY: the name is NUL-terminated.
        .map(|flags| unsafe { libc::memfd_create(c_name.as_ptr(), flags) })
        .find(|fd| *fd >= 0)
        .ok_or_else(std::io::Error::last_os_error)?;
    // SAFETY: the descriptor is new and belongs to nobody else.
    let mut file = unsafe { File::from_raw_fd(fd) };
    file.write_all(bytes)?;
    for edit in edits {
        file.write_all_at(&edit.word.to_le_bytes(), edit.offset)?;
    }
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE | libc::F_SEAL_SEAL;
    // SAFETY: F_ADD_SEALS takes an int; the descriptor is open.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(file)
}

/// The head of ld.so's `struct link_map` (link.h).
#[repr(C)]
struct LinkMap {
    l_addr: u64,
}

/// Where the object of this handle is loaded.
pub(crate) fn load_bias(handle: *mut c_void) -> Option<LoadBias> {
    let mut map: *const LinkMap = std::ptr::null();
    // SAFETY: RTLD_DI_LINKMAP stores one pointer to a link map, which lives as long as the image.
    let result = unsafe { libc::dlinfo(handle, libc::RTLD_DI_LINKMAP, (&raw mut map).cast()) };
    // SAFETY: as above; checked for null first.
    (result == 0 && !map.is_null()).then(|| LoadBias(unsafe { (*map).l_addr }))
}

fn dl_error() -> String {
    // SAFETY: dlerror returns null or a NUL-terminated string that is valid until the next dl call of this thread.
    let message = unsafe { libc::dlerror() };
    if message.is_null() {
        return "unknown error of the dynamic linker".into();
    }
    // SAFETY: not null; see above.
    unsafe { std::ffi::CStr::from_ptr(message) }.to_string_lossy().into_owned()
}

/// What glibc passes to initialisers besides the environment; no initialiser of ours or Node's looks at argv.
fn arguments() -> (c_int, *const *const i8, *const *const i8) {
    extern "C" {
        static environ: *const *const i8;
    }
    /// An empty argument vector.
    struct Empty([*const i8; 1]);
    // SAFETY: it is never written.
    unsafe impl Sync for Empty {}
    static EMPTY: Empty = Empty([std::ptr::null()]);
    // SAFETY: libc's `environ`, read once; only its pointer is passed on.
    (0, EMPTY.0.as_ptr(), unsafe { environ })
}
