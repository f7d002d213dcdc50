//! Lines on standard error, written to the raw descriptor in one piece: no buffer of the host's stdio is involved, so
//! nothing of the host's output is reordered or lost.

use std::fmt::Write as _;
use std::sync::Once;

/// How much is told: nothing (off), why Node was not brought in (error), what may surprise (warn), the stages (info), everything
/// (debug). Each level includes those before it.
pub use ::log::LevelFilter as Level;

/// The level of this name.
pub fn level(name: &str) -> Option<Level> {
    let named = [Level::Off, Level::Error, Level::Warn, Level::Info, Level::Debug];
    named
        .into_iter()
        .find(|level| level.as_str().eq_ignore_ascii_case(name) && name.chars().all(char::is_lowercase))
}

/// The sink of all records, of this library's and of its dependencies'.
struct StandardError;

impl ::log::Log for StandardError {
    fn enabled(&self, about: &::log::Metadata) -> bool {
        about.level() <= ::log::max_level()
    }

    fn log(&self, record: &::log::Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut line = String::with_capacity(128);
        // Writing to a String cannot fail.
        let _ = writeln!(line, "relink: {}", record.args());
        // Where nobody reads the host's standard error any more, a host that does not write must not learn of it.
        without_sigpipe(|| write_all(line.as_bytes()));
    }

    fn flush(&self) {}
}

/// Makes standard error the sink; until [`set_level`] is called only errors are told.
fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if ::log::set_logger(&StandardError).is_ok() {
            ::log::set_max_level(Level::Error);
        }
    });
}

/// Sets what is told from now on in this process.
pub fn set_level(level: Level) {
    install();
    ::log::set_max_level(level);
}

/// Tells `message` if the level includes it.
pub fn tell(level: Level, message: &str) {
    install();
    if let Some(level) = level.to_level() {
        ::log::log!(target: "relink", level, "{message}");
    }
}

/// Writes to standard error; a failure has nobody to be told to.
fn write_all(mut bytes: &[u8]) {
    use std::os::fd::BorrowedFd;
    // Standard error is wherever the host has it now; if it was closed, the write fails and that is all.
    let stderr = std::io::stderr();
    let fd: BorrowedFd<'_> = std::os::fd::AsFd::as_fd(&stderr);
    while !bytes.is_empty() {
        match nix::unistd::write(fd, bytes) {
            Ok(0) | Err(nix::errno::Errno::EAGAIN) => return,
            Ok(written) => bytes = &bytes[written..],
            Err(nix::errno::Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}

/// Does `work` so that a pipe without a reader costs the calling thread no more than an error: the SIGPIPE that a write
/// sends to its own thread is dropped.
pub fn without_sigpipe<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: all zeroes is a valid sigset_t.
    let (mut pipe, mut before): (libc::sigset_t, libc::sigset_t) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    // SAFETY: the sets are valid, the signal number too, and only this thread's mask is changed.
    let was_open = unsafe {
        libc::sigemptyset(&raw mut pipe);
        libc::sigaddset(&raw mut pipe, libc::SIGPIPE);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const pipe, &raw mut before);
        libc::sigismember(&raw const before, libc::SIGPIPE) == 0
    };
    let result = work();
    if was_open {
        let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: valid arguments; with no time to wait it takes a signal that is pending and blocked, or none.
        while unsafe { libc::sigtimedwait(&raw const pipe, std::ptr::null_mut(), &raw const now) }
            == libc::SIGPIPE
        {}
        // SAFETY: `before` is this thread's mask from above.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
    }
    result
}
