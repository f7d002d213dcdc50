//! Starts a process that the host does not notice: it is no child of the host's.
//!
//! # Safety
//! A process between the two, made by `clone(2)` without an exit signal, starts it and ends at once. It shares this process's
//! memory while this thread waits for it (`CLONE_VM`, `CLONE_VFORK`), runs on a stack of its own, and calls only
//! `posix_spawn`, which was made for that state. Every pointer handed over outlives it.

use nix::errno::Errno;
use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// A program to be started.
pub struct Apart<'a> {
    /// The file.
    pub program: &'a CStr,
    /// Its environment, `NAME=VALUE` each; nothing else of this process's is in it.
    pub environment: &'a [CString],
    /// Descriptors that it gets, from 3 on. The standard streams are /dev/null.
    pub descriptors: &'a [BorrowedFd<'a>],
}

/// All that the process between needs, and what it leaves.
struct Order<'a> {
    program: &'a CStr,
    arguments: [*mut c_char; 2],
    environment: Vec<*mut c_char>,
    descriptors: Vec<OwnedFd>,
    /// The result of `posix_spawn`: 0 or an error number.
    result: c_int,
}

/// Bytes of the stack of the process between.
const STACK: usize = 256 * 1024;

impl Apart<'_> {
    /// Starts it. It belongs to the system's first process from the moment it runs.
    ///
    /// # Errors
    /// The system's.
    pub fn start(&self) -> io::Result<()> {
        let strings = self.environment.iter().map(|text| text.as_ptr().cast_mut());
        let mut order = Order {
            program: self.program,
            arguments: [self.program.as_ptr().cast_mut(), std::ptr::null_mut()],
            environment: strings.chain([std::ptr::null_mut()]).collect(),
            descriptors: self.descriptors.iter().map(out_of_the_way).collect::<io::Result<_>>()?,
            result: libc::EAGAIN,
        };
        let between = clone(&mut order)?;
        wait(between)?;
        match order.result {
            0 => Ok(()),
            number => Err(io::Error::from_raw_os_error(number)),
        }
    }
}

/// A copy with a number above those that the program gets: no duplication can then close another one's source.
fn out_of_the_way(descriptor: &BorrowedFd) -> io::Result<OwnedFd> {
    const ABOVE: RawFd = 64;
    // SAFETY: the descriptor is open, and the command takes a number.
    let copy = unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_DUPFD_CLOEXEC, ABOVE) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Makes the process between; it has ended when this returns.
fn clone(order: &mut Order) -> io::Result<libc::pid_t> {
    let mut stack = vec![0_u128; STACK / size_of::<u128>()];
    let top = stack.as_mut_ptr_range().end.cast::<c_void>();
    // SAFETY: all zeroes is a valid sigset_t.
    let (mut all, mut before): (libc::sigset_t, libc::sigset_t) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    // SAFETY: the sets are valid. No signal of the process between may run a handler of the host's on that stack, so all are
    // blocked on this thread, whose mask it inherits, and let through again below.
    unsafe {
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
    }
    let argument = std::ptr::from_mut(order).cast::<c_void>();
    // SAFETY: see the head of this file; stack and order live until the call returns, by which time the process has ended.
    let pid = unsafe { libc::clone(between, top, libc::CLONE_VM | libc::CLONE_VFORK, argument) };
    let error = io::Error::last_os_error();
    // SAFETY: `before` is this thread's mask from above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
    if pid < 0 {
        return Err(error);
    }
    Ok(pid)
}

extern "C" fn between(argument: *mut c_void) -> c_int {
    // SAFETY: `clone` handed over the order, which nobody else touches meanwhile.
    let order = unsafe { &mut *argument.cast::<Order>() };
    // SAFETY: all pointers of the order are valid, its lists end with null.
    order.result = unsafe { spawn(order) };
    0
}

/// # Safety
/// The order's lists end with null.
unsafe fn spawn(order: &Order) -> c_int {
    const NULL: &CStr = c"/dev/null";
    // SAFETY: both are filled in by their initialisers before anything else sees them, and taken down after use; the attributes
    // say that no signal is blocked or ignored in the program.
    unsafe {
        let mut actions: libc::posix_spawn_file_actions_t = std::mem::zeroed();
        let mut attributes: libc::posix_spawnattr_t = std::mem::zeroed();
        let mut signals: libc::sigset_t = std::mem::zeroed();
        libc::posix_spawn_file_actions_init(&raw mut actions);
        libc::posix_spawnattr_init(&raw mut attributes);
        for stream in 0..3 {
            libc::posix_spawn_file_actions_addopen(&raw mut actions, stream, NULL.as_ptr(), libc::O_RDWR, 0);
        }
        for (descriptor, number) in order.descriptors.iter().zip(3..) {
            libc::posix_spawn_file_actions_adddup2(&raw mut actions, descriptor.as_raw_fd(), number);
        }
        libc::sigemptyset(&raw mut signals);
        libc::posix_spawnattr_setsigmask(&raw mut attributes, &raw const signals);
        libc::sigfillset(&raw mut signals);
        libc::posix_spawnattr_setsigdefault(&raw mut attributes, &raw const signals);
        let flags = libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF;
        libc::posix_spawnattr_setflags(&raw mut attributes, flags as libc::c_short);
        let mut pid = 0;
        let result = libc::posix_spawn(
            &raw mut pid,
            order.program.as_ptr(),
            &raw const actions,
            &raw const attributes,
            order.arguments.as_ptr(),
            order.environment.as_ptr(),
        );
        libc::posix_spawn_file_actions_destroy(&raw mut actions);
        libc::posix_spawnattr_destroy(&raw mut attributes);
        result
    }
}

/// Takes the ended process between out of the system's table. Only a wait that asks for such processes sees it.
fn wait(pid: libc::pid_t) -> io::Result<()> {
    loop {
        // SAFETY: no status is asked for.
        match unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WCLONE) } {
            -1 if Errno::last() == Errno::EINTR => {}
            -1 => return Err(io::Error::last_os_error()),
            _ => return Ok(()),
        }
    }
}

/// Whether this process was started with more rights than its starter's (`AT_SECURE`).
pub(super) fn with_more_rights() -> bool {
    // SAFETY: getauxval only looks into what the kernel gave the process.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Fails where the system does not let code of a memory file run.
pub(super) fn try_to_run(file: &std::fs::File) -> io::Result<()> {
    const PAGE: usize = 4096;
    // SAFETY: a new mapping anywhere, which nobody uses and which is taken away again.
    unsafe {
        let flags = libc::PROT_READ | libc::PROT_EXEC;
        let at = libc::mmap(std::ptr::null_mut(), PAGE, flags, libc::MAP_PRIVATE, file.as_raw_fd(), 0);
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        libc::munmap(at, PAGE);
    }
    Ok(())
}

/// Whether a file has this extended attribute.
pub(super) fn has_attribute(path: &CStr, name: &CStr) -> bool {
    // SAFETY: both are strings that end with NUL; no value is asked for, only its size.
    unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), std::ptr::null_mut(), 0) >= 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsFd;

    /// What `env` prints with exactly this environment, on descriptor 3.
    #[test]
    fn it_has_what_it_was_given_and_is_no_child() {
        let (read, write) = nix::unistd::pipe().expect("a pipe");
        let mut read = std::fs::File::from(read);
        let environment = [c"A=b".to_owned()];
        let program = c"/usr/bin/env";
        Apart { program, environment: &environment, descriptors: &[write.as_fd()] }.start().expect("started");
        drop(write);
        let mut said = String::new();
        // env prints to standard output, which is /dev/null; the pipe tells its end.
        read.read_to_string(&mut said).expect("read");
        assert_eq!(said, "");
        let nothing = Apart { program: c"/nowhere/at/all", environment: &environment, descriptors: &[] };
        assert_eq!(nothing.start().expect_err("no such file").kind(), io::ErrorKind::NotFound);
    }
}
