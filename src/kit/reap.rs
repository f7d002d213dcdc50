//! A program with all that it starts: when it ends, or has to, nothing of it is left running.
//!
//! Tests leave processes behind: detached children, children of a test that was ended because its time was over. Whoever becomes the
//! reaper of a program's descendants (`PR_SET_CHILD_SUBREAPER`) gets each of them that loses its parent, in
//! whatever session it is, and so can end them all.

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{kill, SigSet, Signal};
use nix::sys::wait::{waitpid, WaitPidFlag, WaitStatus};
use nix::unistd::Pid;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a process may take to end after SIGKILL.
const LIMIT: Duration = Duration::from_secs(30);
/// How often the processes are looked at that have been told to end.
const POLL: Duration = Duration::from_millis(1);
/// What ends us, and with us the program.
const ENDINGS: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT];

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this status.
    Status(i32),
    /// By a signal: its own, or the one that came for us.
    Signal(Signal),
}

/// Runs a program in a process group of its own until it ends, or until one of SIGTERM, SIGINT, SIGHUP and SIGQUIT comes, or our parent
/// dies; then ends all its descendants. To be called on the only thread of a process that has no other children.
///
/// # Errors
/// The program can't be started; or descendants did not end within half a minute of a SIGKILL.
pub fn run(command: &mut Command) -> io::Result<Ended> {
    let mut awaited = SigSet::empty();
    ENDINGS.into_iter().chain([Signal::SIGCHLD]).for_each(|signal| awaited.add(signal));
    // The program starts with an empty mask: std sees to that.
    awaited.thread_block()?;
    prctl::set_child_subreaper(true)?;
    prctl::set_pdeathsig(Signal::SIGTERM)?;
    let program = Pid::from_raw(command.process_group(0).spawn()?.id().try_into().map_err(io::Error::other)?);
    let ended = until_end(program, &awaited)?;
    end_all()?;
    Ok(ended)
}

/// Waits for the program's end or for a signal that ends it.
fn until_end(program: Pid, awaited: &SigSet) -> io::Result<Ended> {
    loop {
        let signal = awaited.wait()?;
        if ENDINGS.contains(&signal) {
            return Ok(Ended::Signal(signal));
        }
        while let Some(status) = one_that_ended()? {
            match status {
                WaitStatus::Exited(pid, code) if pid == program => return Ok(Ended::Status(code)),
                WaitStatus::Signaled(pid, signal, _) if pid == program => return Ok(Ended::Signal(signal)),
                _ => {}
            }
        }
    }
}

/// One of our children that has ended; nothing if none has, or none is left.
fn one_that_ended() -> nix::Result<Option<WaitStatus>> {
    match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => Ok(None),
        status => status.map(Some),
    }
}

/// Ends all children, and the children that they leave to us by that, until there are none.
fn end_all() -> io::Result<()> {
    let start = Instant::now();
    loop {
        while one_that_ended()?.is_some() {}
        if waitpid(None, Some(WaitPidFlag::WNOHANG)) == Err(Errno::ECHILD) {
            return Ok(());
        }
        let left = children(Pid::this())?;
        if start.elapsed() > LIMIT {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("processes that do not end: {left:?}"),
            ));
        }
        for pid in left {
            // One that has just ended is no loss.
            let _ = kill(pid, Signal::SIGKILL);
        }
        std::thread::sleep(POLL);
    }
}

/// All processes with this parent.
fn children(parent: Pid) -> io::Result<Vec<Pid>> {
    let numbers =
        std::fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_child = |pid: &i32| {
        let stat = std::fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
        parent_of(&String::from_utf8_lossy(&stat)) == Some(parent.as_raw())
    };
    Ok(numbers.filter(is_child).map(Pid::from_raw).collect())
}

/// The fourth field of `/proc/PID/stat`; the second one, the program's name in brackets, may have anything in it (pure).
fn parent_of(stat: &str) -> Option<i32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_behind_any_name() {
        assert_eq!(parent_of("12 (node) S 7 12 12"), Some(7));
        assert_eq!(parent_of("12 (a) R 3 (b) S 7 12"), Some(7));
        assert_eq!(parent_of(""), None);
    }

    #[test]
    fn a_child_is_among_the_children() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_raw(child.id().try_into().unwrap());
        let found = children(Pid::this()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.contains(&pid), "{found:?} has no {pid}");
    }
}
