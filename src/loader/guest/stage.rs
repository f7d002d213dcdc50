//! Staging: a private copy of an image is loaded without ld.so binding what Relink binds, and without running any of
//! its code.
//!
//! What differs in the copy says [`super::copy`]. Everything else (relative relocations, C and C++ run-time names, TLS) is
//! ld.so's work as always. The copy lives in a sealed memory file, so nothing is left on disk and nobody else can
//! change it; code and constants, which it has unchanged, are mapped from the file itself, so that their pages are the
//! page cache's and profilers find the symbols by the file's name.
//!
//! ld.so takes a path that it knows already for the image that it loaded by it, so no two images get the same one: while one is
//! loaded its file stays open, and where that was closed behind our back (`closefrom`), its number is passed over.
//!
//! # Safety
//! `dlopen`, `dlinfo`, `mmap`, initialisers and finalisers are foreign code or change the process. Initialisers run only
//! after every slot is bound, finalisers only when nothing of the image runs any more.

use super::copy::{Copy, SharedSegment};
use super::inventory::{Inventory, Lifecycle};
use crate::process::load_bias;
use relink_abi::error::Error;
use relink_elf::address::{LinkAddr, LoadBias, RunAddr};
use relink_elf::memory_file::memory_file;
use relink_elf::FileImage;
use std::ffi::{c_int, c_void, CString};
use std::fs::File;
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// A loaded image whose initialisers have not run. Dropped, an image that was never entered is unloaded; one that was stays
/// loaded for ever.
#[derive(Debug)]
#[must_use]
pub struct Staged {
    handle: *mut c_void,
    /// Run-time minus link-time addresses.
    pub bias: LoadBias,
    /// The run-time addresses that it spans.
    pub span: std::ops::Range<RunAddr>,
    lifecycle: Lifecycle,
    initialised: AtomicBool,
    /// Keeps `/proc/PID/fd/N` valid, the name under which debuggers find the image's symbols, and from meaning another image.
    file: ManuallyDrop<File>,
}

// SAFETY: the handle is only a token for dlclose, which may be called from any thread.
unsafe impl Send for Staged {}

/// What is staged.
#[derive(Clone, Copy, Debug)]
pub struct Source<'s, 'd> {
    /// The image's file, read.
    pub file: &'s FileImage<'d>,
    /// Its initialisers and finalisers, and where its parts are.
    pub inventory: &'s Inventory<'d>,
    /// The open file, unless the image is embedded in a program.
    pub on_disk: Option<&'s File>,
    /// For messages and for `/proc/PID/maps`.
    pub name: &'s str,
}

/// Loads a private copy of the image so that its symbols serve nobody else (`RTLD_LOCAL`) and everything left to ld.so is
/// bound at once. Without an open file nothing is shared with it.
///
/// # Safety
/// `copy` was planned for this image, so that no initialisers are called and loading it runs none of its code.
pub unsafe fn load(source: Source, copy: &Copy) -> Result<Staged, Error> {
    // SAFETY: promised by the caller.
    unsafe { load_for(source, copy, libc::RTLD_LOCAL) }
}

/// The same, for nobody else (`RTLD_LOCAL`) or to serve others with its symbols (`RTLD_GLOBAL`).
///
/// # Safety
/// As for [`load`].
pub unsafe fn load_for(source: Source, copy: &Copy, whom: c_int) -> Result<Staged, Error> {
    let failed = |why: String| Error::Stage { what: source.name.to_owned(), why };
    let holes = if source.on_disk.is_some() { &copy.holes[..] } else { &[] };
    let memory = memory_file(source.file.bytes, &copy.edits, holes, source.name)
        .map_err(|e| failed(format!("memory file: {e}")))?;
    let (memory, path) =
        named(memory, std::process::id()).map_err(|e| failed(format!("memory file: {e}")))?;
    // SAFETY: the path is NUL-terminated; the image runs no code when loaded (promised by the caller).
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | whom) };
    if handle.is_null() {
        return Err(failed(dl_error()));
    }
    let bias = load_bias(handle).ok_or_else(|| failed(dl_error()))?;
    let span = source.file.image.span();
    let span = bias.run(span.start)..bias.run(span.end);
    let staged = Staged {
        handle,
        bias,
        span,
        lifecycle: source.inventory.lifecycle,
        initialised: AtomicBool::new(false),
        file: ManuallyDrop::new(memory),
    };
    if let Some(on_disk) = source.on_disk {
        // SAFETY: none of the image's code runs yet, and nobody else knows it.
        let shared = unsafe { staged.share(on_disk, &copy.shared) };
        shared.map_err(|why| failed(format!("its file cannot be mapped: {why}")))?;
    }
    Ok(staged)
}

/// A path for the file that ld.so knows no image by, and the file under a descriptor of that number, which is none of a
/// standard stream's.
fn named(mut file: File, process: u32) -> std::io::Result<(File, CString)> {
    let mut passed_over = Vec::new();
    loop {
        let path = CString::new(path_of(&file, process)?)?;
        if file.as_raw_fd() > libc::STDERR_FILENO && !is_known(&path) {
            return Ok((file, path));
        }
        let next = file.try_clone()?;
        // Open until the end, or its number would come again.
        passed_over.push(std::mem::replace(&mut file, next));
    }
}

/// `/proc/PID/fd/N`, which debuggers understand too; where `/proc` numbers processes otherwise (it is that of another PID
/// namespace), what means the same to this process alone.
fn path_of(file: &File, process: u32) -> std::io::Result<String> {
    let path = format!("/proc/{process}/fd/{}", file.as_raw_fd());
    let own = file.metadata()?;
    let leads_there = std::fs::metadata(&path).is_ok_and(|m| (m.dev(), m.ino()) == (own.dev(), own.ino()));
    Ok(if leads_there { path } else { format!("/proc/self/fd/{}", file.as_raw_fd()) })
}

/// Whether ld.so has an image by this path.
fn is_known(path: &CString) -> bool {
    // SAFETY: the path is NUL-terminated; RTLD_NOLOAD loads nothing and runs no code.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
    if handle.is_null() {
        return false;
    }
    // SAFETY: the handle is from dlopen and given back once; whoever loaded the image holds it.
    unsafe { libc::dlclose(handle) };
    true
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
    /// ld.so's handle, for `dlsym`.
    pub fn handle(&self) -> *mut c_void {
        self.handle
    }

    /// Maps segments from the file over the copy's.
    ///
    /// # Safety
    /// No code of the image runs, and the segments are those of its file.
    unsafe fn share(&self, file: &File, segments: &[SharedSegment]) -> std::io::Result<()> {
        let page = crate::process::page_size();
        for segment in segments {
            let start = self.bias.run(segment.at);
            let before = start.0 - start.page_start(page).0;
            let protection =
                if segment.execute { libc::PROT_READ | libc::PROT_EXEC } else { libc::PROT_READ };
            // SAFETY: these pages belong to the image and hold what the file has at that offset, so they are replaced by
            // their equals; nobody uses them yet.
            let mapped = unsafe {
                libc::mmap(
                    start.page_start(page).0 as usize as *mut c_void,
                    (segment.size + before) as usize,
                    protection,
                    libc::MAP_PRIVATE | libc::MAP_FIXED,
                    file.as_raw_fd(),
                    (segment.offset - before) as libc::off_t,
                )
            };
            if mapped == libc::MAP_FAILED {
                return Err(std::io::Error::last_os_error());
            }
        }
        Ok(())
    }

    /// The image's initialisers in the order that ld.so would run them: `DT_INIT`, then the array. None if they were taken
    /// before.
    pub fn initialisers(&self) -> Initialisers {
        if self.initialised.swap(true, Ordering::AcqRel) {
            return Initialisers(Vec::new());
        }
        let mut functions: Vec<RunAddr> = self.lifecycle.init.map(|f| self.bias.run(f)).into_iter().collect();
        // SAFETY: the array is the image's own.
        functions.extend(unsafe { self.functions(self.lifecycle.init_array) });
        Initialisers(functions)
    }

    /// Runs the image's initialisers. Returns how many; none if they have run already.
    ///
    /// # Safety
    /// As for [`Initialisers::run`].
    pub unsafe fn initialise(&self) -> usize {
        // SAFETY: promised by the caller.
        unsafe { self.initialisers().run() }
    }

    /// Whether the initialisers have been run.
    pub fn is_initialised(&self) -> bool {
        self.initialised.load(Ordering::Acquire)
    }

    /// Runs the image's finalisers in the order that ld.so would: the array from its end, then `DT_FINI`.
    ///
    /// # Safety
    /// The initialisers have run, and nothing of the image runs any more. To be called once.
    pub unsafe fn finalise(&self) -> usize {
        // SAFETY: the array is the image's own.
        let mut functions = unsafe { self.functions(self.lifecycle.fini_array) };
        functions.reverse();
        functions.extend(self.lifecycle.fini.map(|f| self.bias.run(f)));
        for function in &functions {
            // SAFETY: a finaliser of the image, with the signature that glibc calls it by; its slots are bound.
            let function: extern "C" fn() = unsafe { std::mem::transmute(function.0 as usize) };
            function();
        }
        functions.len()
    }

    /// The functions in an array of the image's.
    ///
    /// # Safety
    /// `array` is one of its lifecycle, whose words ld.so has relocated.
    unsafe fn functions(&self, array: Option<(LinkAddr, u64)>) -> Vec<RunAddr> {
        let Some((array, count)) = array else { return Vec::new() };
        let array = self.bias.run(array).0 as usize as *const u64;
        // SAFETY: the array lies in the image's data and has `count` words (promised by the caller; the inventory saw it
        // inside of the image).
        let words = unsafe { std::slice::from_raw_parts(array, count as usize) };
        // 0 and -1 are not functions (glibc passes such entries over too).
        words.iter().filter(|w| **w != 0 && **w != u64::MAX).map(|w| RunAddr(*w)).collect()
    }

    /// Leaves an image that was entered where it is, for ever. Its file stays open: the name by which ld.so knows the
    /// image contains the descriptor's number, which nobody else may get.
    pub fn keep(self) {
        std::mem::forget(self);
    }

    /// Unloads an image that was never entered, or that has been finalised.
    pub fn discard(self) {
        let mut image = ManuallyDrop::new(self);
        image.unload();
    }

    /// To be called once, with nothing of the image running.
    fn unload(&mut self) {
        // SAFETY: the handle is from dlopen; no code of the image runs, and its finaliser calls being blanked, none runs
        // now.
        unsafe { libc::dlclose(self.handle) };
        // SAFETY: not used again: whoever calls this has the image for the last time.
        unsafe { ManuallyDrop::drop(&mut self.file) };
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.is_initialised() {
            self.unload();
        }
    }
}

/// The initialisers of an image, by run-time address.
#[derive(Debug)]
pub struct Initialisers(Vec<RunAddr>);

impl Initialisers {
    /// Runs them. Returns how many.
    ///
    /// # Safety
    /// The image is loaded, every slot of it is bound, and so are those of images it calls. To be called once.
    pub unsafe fn run(&self) -> usize {
        let (argc, argv, envp) = arguments();
        for function in &self.0 {
            // SAFETY: an initialiser of the image, with the signature that glibc calls it by; its slots are bound.
            let function: extern "C" fn(c_int, *const *const i8, *const *const i8) =
                unsafe { std::mem::transmute(function.0 as usize) };
            function(argc, argv, envp);
        }
        self.0.len()
    }
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::guest::copy::plan_copy;
    use crate::process::{Maps, Modules};
    use relink_elf::arch::Arch;
    use relink_elf::file::FileOnDisk;
    use std::os::fd::FromRawFd;

    /// A private copy of a library that every program of Rust's has, with all of its bytes in memory.
    pub(crate) fn staged() -> Staged {
        let modules = Modules::observe();
        let library =
            modules.0.iter().find(|m| m.name() == "libgcc_s.so.1").expect("this program unwinds by it");
        let on_disk = FileOnDisk::open(&library.path).expect("its file");
        let file = FileImage::parse(&on_disk.bytes, Arch::native()).expect("an ELF file");
        let inventory = Inventory::read(&file).expect("its slots");
        let copy = plan_copy(&file, &inventory, std::iter::empty(), &|_| false).expect("a copy");
        let source = Source { file: &file, inventory: &inventory, on_disk: None, name: "under test" };
        // SAFETY: the copy was planned for this file.
        unsafe { load(source, &copy) }.expect("staged")
    }

    fn inode(staged: &Staged) -> u64 {
        staged.file.metadata().expect("open").ino()
    }

    /// Whether a file of ours with this inode is mapped.
    fn is_mapped(inode: u64) -> bool {
        let maps = Maps::own().expect("proc is mounted");
        maps.0.iter().any(|m| m.inode == inode && m.name.to_string_lossy().contains("relink:"))
    }

    #[test]
    fn an_image_that_was_never_entered_goes_when_it_is_dropped() {
        let image = staged();
        let inode = inode(&image);
        assert!(is_mapped(inode));
        drop(image);
        // Another test that observes the process's modules holds each of them meanwhile.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while is_mapped(inode) {
            assert!(std::time::Instant::now() < deadline, "still mapped");
            std::thread::yield_now();
        }
    }

    #[test]
    fn an_image_that_was_entered_stays_under_its_name_when_it_is_dropped() {
        let image = staged();
        let (inode, number, handle) = (inode(&image), image.file.as_raw_fd(), image.handle);
        // SAFETY: ld.so has bound all of the copy, which calls nothing but libc.
        unsafe { image.initialise() };
        drop(image);
        let name = format!("/proc/self/fd/{number}");
        assert_eq!(std::fs::metadata(name).expect("still open").ino(), inode);
        assert!(is_mapped(inode));
        // SAFETY: nobody uses the image any more, and its finalisers are blanked.
        unsafe { libc::dlclose(handle) };
    }

    /// A host that closes all descriptors (`closefrom`) makes numbers free by which ld.so knows images.
    #[test]
    fn the_name_of_a_loaded_image_is_passed_over() {
        let image = staged();
        let number = image.file.as_raw_fd();
        let other = memory_file(b"other", &[], &[], "other").expect("a memory file");
        let inode = other.metadata().expect("open").ino();
        // SAFETY: the number is that of an open file of this test; it comes to mean the other one.
        assert_eq!(unsafe { libc::dup2(other.as_raw_fd(), number) }, number);
        // SAFETY: the number is open, and the image's own value is not used again, see below.
        let taken = unsafe { File::from_raw_fd(number) };
        let (file, path) = named(taken, std::process::id()).expect("another name");
        assert_ne!(file.as_raw_fd(), number);
        assert_eq!(path.to_str(), Ok(&*format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())));
        assert_eq!(file.metadata().expect("open").ino(), inode);
        // SAFETY: none of its code ran; the number of its file is no longer its own.
        unsafe { libc::dlclose(image.handle) };
        image.keep();
    }

    #[test]
    fn a_proc_that_numbers_processes_otherwise_is_seen() {
        let file = File::open("/proc/self/maps").expect("proc is mounted");
        let own = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        assert_eq!(path_of(&file, std::process::id()).expect("open"), own);
        let number = file.as_raw_fd();
        assert_eq!(path_of(&file, u32::MAX).expect("open"), format!("/proc/self/fd/{number}"));
    }

    #[test]
    fn what_is_held_stays_when_its_owner_lets_go() {
        use std::time::{Duration, Instant};
        let image = staged();
        let at = image.span.start;
        let held = Modules::observe().containing(at).expect("the image").clone();
        image.discard();
        assert!(
            Modules::observe().containing(at).is_some_and(|m| m.path == held.path),
            "let go of, and held"
        );
        let path = held.path.clone();
        drop(held);
        // An observer in another thread may hold it for a moment.
        let deadline = Instant::now() + Duration::from_secs(30);
        while Modules::observe().containing(at).is_some_and(|m| m.path == path) {
            assert!(Instant::now() < deadline, "nobody holds it");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
