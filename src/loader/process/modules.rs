//! The modules that ld.so has loaded (`dl_iterate_phdr(3)`) and their memory.
//!
//! # Safety
//! Memory of loaded modules is read through slices that borrow from a [`LiveModule`]. Each holds a reference of ld.so's to
//! its module (`dlopen` with `RTLD_NOLOAD`), so a host that calls `dlclose` meanwhile does not take it away.

use crate::process::Maps;
use object::elf::{self, ProgramHeader64};
use object::{LittleEndian as LE, U32, U64};
use relink_elf::address::{LinkAddr, LoadBias, RunAddr};
use relink_elf::{Image, Segment};
use std::ffi::{c_int, c_void, CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

/// One loaded module.
#[derive(Clone, Debug)]
pub struct LiveModule {
    /// The path under which ld.so knows it; for the executable its file (see [`executable`]).
    pub path: PathBuf,
    /// Whether it is the executable.
    pub is_executable: bool,
    /// Run-time minus link-time addresses.
    pub bias: LoadBias,
    headers: Vec<ProgramHeader64<LE>>,
    hold: Arc<Hold>,
}

/// A reference of ld.so's to a module.
#[derive(Debug)]
struct Hold(*mut c_void);

// SAFETY: the handle is only a token for dlclose, which may be called from any thread.
unsafe impl Send for Hold {}
// SAFETY: as above; nothing is done with it through a shared reference.
unsafe impl Sync for Hold {}

impl Hold {
    /// Holds the module that ld.so knows by `name` ("" is the executable) and that is loaded at `bias`.
    fn new(name: &CStr, bias: LoadBias) -> Option<Self> {
        let path = if name.is_empty() { std::ptr::null() } else { name.as_ptr() };
        // SAFETY: null or NUL-terminated; RTLD_NOLOAD loads nothing and runs no code.
        let handle = unsafe { libc::dlopen(path, libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
        let held = (!handle.is_null()).then(|| Self(handle))?;
        // Between the listing and now the name may have come to mean another module.
        (crate::process::load_bias(handle) == Some(bias)).then_some(held)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // SAFETY: the handle is from dlopen and given back once.
        unsafe { libc::dlclose(self.0) };
    }
}

/// All loaded modules at one moment, in ld.so's order (the executable first).
#[derive(Clone, Debug, Default)]
pub struct Modules(pub Vec<LiveModule>);

impl Modules {
    /// The modules of this process now, held. One that goes away meanwhile is left out, and so is one that ld.so does
    /// not know by its name (the vDSO).
    pub fn observe() -> Self {
        Self(list().into_iter().filter_map(Listed::hold).collect())
    }

    /// How many modules ld.so has loaded so far: a number that changes whenever there is a new one.
    pub fn loads_so_far() -> u64 {
        let mut loads = 0u64;
        // SAFETY: `note_loads` has the type that the call wants and gets back exactly the pointer given here, which is
        // valid and not otherwise used for the duration of the call.
        unsafe { libc::dl_iterate_phdr(Some(note_loads), (&raw mut loads).cast::<c_void>()) };
        loads
    }

    /// Whether a library of this file name is loaded: ld.so takes it for every `DT_NEEDED` of that name.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|m| m.path.file_name().is_some_and(|n| n == name))
    }

    /// The module whose loaded segments contain `address`.
    pub fn containing(&self, address: RunAddr) -> Option<&LiveModule> {
        self.0.iter().find(|m| m.contains(address))
    }
}

impl LiveModule {
    /// Whether `address` lies in one of its loaded segments.
    pub fn contains(&self, address: RunAddr) -> bool {
        let at = self.bias.link(address).0;
        self.loads()
            .any(|h| (h.p_vaddr.get(LE)..h.p_vaddr.get(LE).saturating_add(h.p_memsz.get(LE))).contains(&at))
    }

    /// The run-time address of a symbol that ld.so finds in it, or in its libraries.
    pub fn symbol(&self, name: &CStr) -> Option<RunAddr> {
        // SAFETY: the handle is open as long as the module is held; the name is NUL-terminated.
        let found = unsafe { libc::dlsym(self.hold.0, name.as_ptr()) };
        (!found.is_null()).then_some(RunAddr(found as usize as u64))
    }

    /// The file name without folders, for messages.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy().into_owned()
    }

    /// The module as an image over its own memory. Segments that `maps` does not show readable throughout are left
    /// out, so that reading what the image gives cannot fault.
    pub fn image<'m>(&'m self, maps: &Maps) -> Image<'m> {
        let readable = |h: &&ProgramHeader64<LE>| {
            let start = self.bias.run(LinkAddr(h.p_vaddr.get(LE)));
            let end = RunAddr(start.0.saturating_add(h.p_memsz.get(LE)));
            start < end && maps.covers(start, end, |p| p.read)
        };
        let segments = self.loads().filter(readable).map(|h| self.segment(h)).collect();
        Image::from_segments(segments, self.headers.clone(), self.bias)
    }

    /// The bytes of one readable segment.
    fn segment(&self, header: &ProgramHeader64<LE>) -> Segment<'_> {
        let start = LinkAddr(header.p_vaddr.get(LE));
        let memory = self.bias.run(start).0 as usize as *const u8;
        // SAFETY: the caller has seen this whole range mapped and readable, and the module is held while the slice lives. Other threads may write data words meanwhile; only words that settle
        // once (the tables of ld.so, version numbers) are read through it.
        let bytes = unsafe { std::slice::from_raw_parts(memory, header.p_memsz.get(LE) as usize) };
        Segment { start, bytes }
    }

    fn loads(&self) -> impl Iterator<Item = &ProgramHeader64<LE>> {
        self.headers.iter().filter(|h| h.p_type.get(LE) == elf::PT_LOAD)
    }
}

/// Takes down ld.so's counter, which comes with every module, and ends the iteration.
unsafe extern "C" fn note_loads(info: *mut libc::dl_phdr_info, _size: usize, sink: *mut c_void) -> c_int {
    // SAFETY: ld.so passes a valid structure; `sink` is the pointer that `loads_so_far` passed.
    unsafe { *sink.cast::<u64>() = (*info).dlpi_adds };
    1
}

/// A module as `dl_iterate_phdr` lists it.
struct Listed {
    name: CString,
    is_executable: bool,
    bias: LoadBias,
    headers: Vec<ProgramHeader64<LE>>,
    /// Where these headers are in memory.
    headers_at: RunAddr,
}

impl Listed {
    fn hold(self) -> Option<LiveModule> {
        let hold = Hold::new(&self.name, self.bias)?;
        let named = || PathBuf::from(OsStr::from_bytes(self.name.to_bytes()));
        let path = if self.is_executable { executable_with(self.headers_at) } else { named() };
        let Self { is_executable, bias, headers, .. } = self;
        Some(LiveModule { path, is_executable, bias, headers, hold: Arc::new(hold) })
    }
}

/// Takes down one module; called by `dl_iterate_phdr`.
unsafe extern "C" fn note_module(info: *mut libc::dl_phdr_info, _size: usize, sink: *mut c_void) -> c_int {
    // SAFETY: ld.so passes a valid, initialised structure for the duration of the call.
    let info = unsafe { &*info };
    // SAFETY: `sink` is the pointer that `list` passed, to a value that nothing else uses during the call.
    let listed = unsafe { &mut *sink.cast::<Vec<Listed>>() };
    // SAFETY: a non-null `dlpi_name` is a NUL-terminated string that lives as long as the module.
    let name = unsafe { info.dlpi_name.as_ref().map(|name| CStr::from_ptr(name)) }.unwrap_or(c"");
    let headers = if info.dlpi_phdr.is_null() {
        &[][..]
    } else {
        // SAFETY: `dlpi_phdr` points at `dlpi_phnum` program headers of the module.
        unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) }
    };
    let is_executable = listed.is_empty();
    let headers_at = RunAddr(info.dlpi_phdr as usize as u64);
    let headers = headers.iter().map(copy_header).collect();
    let bias = LoadBias(info.dlpi_addr);
    listed.push(Listed { name: name.to_owned(), is_executable, bias, headers, headers_at });
    0
}

/// The file of the program that this process runs: the target of `/proc/self/exe`, or, where ld.so was called as a program
/// (`ld-linux-x86-64.so.2 PROGRAM`, ld.so(8)), that of the program which ld.so was given.
pub fn executable() -> PathBuf {
    executable_with(list().first().map_or(RunAddr(0), |listed| listed.headers_at))
}

/// The same; its program headers are at `headers`.
fn executable_with(headers: RunAddr) -> PathBuf {
    let started = std::fs::read_link("/proc/self/exe").unwrap_or_else(|_| PathBuf::from("/proc/self/exe"));
    // SAFETY: getauxval reads a word of the auxiliary vector, for any tag.
    let interpreter = unsafe { libc::getauxval(libc::AT_BASE) };
    if interpreter != 0 {
        return started;
    }
    // The kernel has started ld.so itself.
    let maps = Maps::own().unwrap_or_default();
    maps.at(headers).filter(|m| m.inode != 0).map_or(started, |m| m.name.clone())
}

/// The modules now, in ld.so's order.
fn list() -> Vec<Listed> {
    let mut listed: Vec<Listed> = Vec::new();
    let sink = std::ptr::from_mut(&mut listed).cast::<c_void>();
    // SAFETY: `note_module` has the type that the call wants and gets back exactly the pointer given here, which is valid
    // and not otherwise used for the duration of the call.
    unsafe { libc::dl_iterate_phdr(Some(note_module), sink) };
    listed
}

fn copy_header(h: &libc::Elf64_Phdr) -> ProgramHeader64<LE> {
    ProgramHeader64 {
        p_type: U32::new(LE, h.p_type),
        p_flags: U32::new(LE, h.p_flags),
        p_offset: U64::new(LE, h.p_offset),
        p_vaddr: U64::new(LE, h.p_vaddr),
        p_paddr: U64::new(LE, h.p_paddr),
        p_filesz: U64::new(LE, h.p_filesz),
        p_memsz: U64::new(LE, h.p_memsz),
        p_align: U64::new(LE, h.p_align),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use relink_elf::{Dynamic, SymbolTable};

    #[test]
    fn the_c_library_is_found_and_read_from_memory() {
        let modules = Modules::observe();
        let maps = Maps::own().expect("proc is mounted");
        let getpid = RunAddr(libc::getpid as *const () as usize as u64);
        let libc_module = modules.containing(getpid).expect("getpid lies in a module");
        let image = libc_module.image(&maps);
        let dynamic = Dynamic::parse(&image).expect("dynamic section");
        assert_eq!(dynamic.soname(), Ok(Some("libc.so.6")));
        let symbols = SymbolTable::parse(&image, &dynamic).expect("symbols");
        let found = symbols.lookup("getpid").expect("readable").expect("defined");
        assert_eq!(libc_module.bias.run(found.value), getpid);
    }

    #[test]
    fn the_executable_comes_first() {
        let modules = Modules::observe();
        assert!(modules.0[0].is_executable);
        assert_eq!(modules.0.iter().filter(|m| m.is_executable).count(), 1);
        let here = RunAddr(executable as *const () as usize as u64);
        assert!(modules.0[0].contains(here));
    }
}
