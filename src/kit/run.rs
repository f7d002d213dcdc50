//! Starting programs: in a process group of their own, with output in a log file, ended when a signal ends us.

use super::error::{io, KitError, Result};
use nix::sys::signal::{killpg, SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// The variable that forbids every download. Set and neither empty nor 0: what is not in the cache is an error (E0716).
pub const OFFLINE: &str = "RELINK_OFFLINE";

/// Whether the value of [`OFFLINE`] forbids downloads.
fn forbids(value: Option<&OsStr>) -> bool {
    value.is_some_and(|v| !v.is_empty() && v != "0")
}

/// Whether downloads are forbidden.
pub fn offline() -> bool {
    forbids(std::env::var_os(OFFLINE).as_deref())
}

/// How often a running program is looked at.
const POLL: Duration = Duration::from_millis(50);

/// Holds SIGINT, SIGTERM and SIGHUP back while programs run, so that they can be ended first.
/// The mask of the thread is put back on drop. Children inherit it, so that SIGKILL may be what ends them.
pub struct Signals {
    fd: Option<SignalFd>,
    before: Option<SigSet>,
}

impl Signals {
    /// Blocks the three signals for this thread. Where that fails they keep their default action.
    pub fn hold() -> Self {
        let mut set = SigSet::empty();
        [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().for_each(|s| set.add(s));
        let before = SigSet::thread_get_mask().ok();
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).ok();
        if fd.is_some() && set.thread_block().is_err() {
            return Self { fd: None, before: None };
        }
        Self { fd, before }
    }

    /// An [`KitError::Interrupted`] if one of the signals has come since.
    pub fn check(&mut self) -> Result<()> {
        let Some(Ok(Some(info))) = self.fd.as_ref().map(SignalFd::read_signal) else { return Ok(()) };
        let number = info.ssi_signo as i32;
        let signal = Signal::try_from(number).map_or("a signal", Signal::as_str);
        Err(KitError::Interrupted { signal, number })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // Nothing can be done about a failure here: the mask stays as it is.
            let _ = before.thread_set_mask();
        }
    }
}

/// A program to run, with what is needed to report its failure.
pub struct Program {
    command: Command,
    name: String,
    log: Option<PathBuf>,
}

impl Program {
    /// Runs `name`, found on PATH or given as a path.
    pub fn new(name: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(name.as_ref());
        command.stdin(Stdio::null()).env("LC_ALL", "C").process_group(0);
        // The loader's own variables are for hosts, not for compilers.
        command.env_remove("LD_PRELOAD");
        Self { command, name: name.as_ref().to_string_lossy().into_owned(), log: None }
    }

    /// Runs `name` to fetch `what` from a package registry. Every download of the kit goes through here.
    ///
    /// # Errors
    /// [`KitError::Offline`] where downloads are forbidden. `what` is then named as the missing part.
    pub fn fetching(name: impl AsRef<OsStr>, what: &str) -> Result<Self> {
        if offline() {
            return Err(KitError::Offline { what: what.into() });
        }
        Ok(Self::new(name))
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets the folder to run in.
    pub fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Sets a variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Removes a variable.
    pub fn without_env(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Sends the output to the end of a log file.
    pub fn log(mut self, log: &Path) -> Self {
        self.log = Some(log.to_path_buf());
        self
    }

    /// Runs to the end and returns stdout. A status other than 0 is an error that quotes the last line of output.
    pub fn output(mut self) -> Result<String> {
        let (status, out, err) = self.capture()?;
        if status.success() {
            return Ok(out);
        }
        Err(failure(&self.name, status, telling_line(&format!("{out}\n{err}")), None))
    }

    /// Runs to the end with stdout and stderr in temporary files: no pipe can fill up.
    fn capture(&mut self) -> Result<(ExitStatus, String, String)> {
        let mut files = [temporary()?, temporary()?];
        let [out, err] = [copy_of(&files[0])?, copy_of(&files[1])?];
        self.command.stdout(out).stderr(err);
        let status = self.wait_with(|_| Ok(()))?;
        Ok((status, read_whole(&mut files[0])?, read_whole(&mut files[1])?))
    }

    /// Runs to the end with the output in the log; `seen` gets each piece of new output as it appears.
    pub fn logged(mut self, mut seen: impl FnMut(&str)) -> Result<()> {
        let path = self.log.clone().unwrap_or_else(|| "/dev/null".into());
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(io("open", &path))?;
        let mut tail = File::open(&path).map_err(io("read", &path))?;
        let start = tail.seek(SeekFrom::End(0)).map_err(io("read", &path))?;
        self.command.stdout(copy_of(&file)?).stderr(file);
        let status = self.wait_with(|_| {
            seen(&read_on(&mut tail)?);
            Ok(())
        })?;
        seen(&read_on(&mut tail)?);
        if status.success() {
            return Ok(());
        }
        tail.seek(SeekFrom::Start(start)).map_err(io("read", &path))?;
        Err(failure(&self.name, status, telling_line(&read_on(&mut tail)?), Some(&path)))
    }

    /// Starts the program, looks at it until it has ended, and ends its whole group when a signal comes.
    fn wait_with(&mut self, mut look: impl FnMut(&mut Child) -> Result<()>) -> Result<ExitStatus> {
        let mut signals = Signals::hold();
        let mut child = self.command.spawn().map_err(|e| KitError::Program {
            program: self.name.clone(),
            status: "not started".into(),
            message: e.to_string(),
        })?;
        loop {
            let ended = child.try_wait().map_err(io("wait for", &self.name))?;
            if let Some(status) = ended {
                return Ok(status);
            }
            if let Err(stop) = signals.check().and_then(|()| look(&mut child)) {
                end_group(&mut child);
                return Err(stop);
            }
            sleep(POLL);
        }
    }
}

/// Asks the child's group to end, and insists after two seconds.
fn end_group(child: &mut Child) {
    let group = Pid::from_raw(child.id() as i32);
    // Errors mean that the group is already gone.
    let _ = killpg(group, Signal::SIGTERM);
    for _ in 0..40 {
        if matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
            break;
        }
        sleep(POLL);
    }
    let _ = killpg(group, Signal::SIGKILL);
    let _ = child.wait();
}

fn base_name(name: &str) -> String {
    Path::new(name).file_name().map_or_else(|| name.into(), |n| n.to_string_lossy().into_owned())
}

fn failure(name: &str, status: ExitStatus, line: String, log: Option<&Path>) -> KitError {
    let message = match log {
        Some(log) => format!("{line}; full log: {}", log.display()),
        None => line,
    };
    KitError::Program { program: base_name(name), status: status.to_string(), message }
}

/// The first line that looks like an error, else the last that is not blank.
pub(crate) fn telling_line(text: &str) -> String {
    let lines = || text.lines().map(str::trim).filter(|l| !l.is_empty());
    let error = |l: &&str| {
        l.starts_with("E: ") || l.contains("error:") || l.contains("ERROR") || l.contains("npm error")
    };
    lines().find(error).or_else(|| lines().next_back()).unwrap_or("no output").to_string()
}

fn temporary() -> Result<File> {
    tempfile::tempfile().map_err(io("create a temporary file in", std::env::temp_dir()))
}

fn copy_of(file: &File) -> Result<File> {
    file.try_clone().map_err(io("open", "a program's output"))
}

/// Everything from the file's position on. Output that is not UTF-8 is kept readable.
fn read_on(file: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(io("read", "a program's output"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The whole file. A file shared with a child shares its position too, hence the way back to the start.
fn read_whole(file: &mut File) -> Result<String> {
    file.seek(SeekFrom::Start(0)).map_err(io("read", "a program's output"))?;
    read_on(file)
}

/// The programs among `names` that are not on PATH.
pub fn missing<'a>(names: &[&'a str]) -> Vec<&'a str> {
    names.iter().copied().filter(|name| find(name).is_none()).collect()
}

/// Where a program lies on PATH. Debian's own folders are looked at first, so that version managers' shims
/// (which depend on the folder one is in) do not decide.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/bin", "/bin", "/usr/local/bin"].into_iter().map(PathBuf::from);
    system.chain(std::env::split_paths(&path)).map(|dir| dir.join(name)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_stdout_and_a_failure_quotes_the_reason() {
        assert_eq!(Program::new("sh").args(["-c", "echo out; echo err >&2"]).output().unwrap(), "out\n");
        let error = Program::new("sh").args(["-c", "echo E: no such thing >&2; echo more; exit 3"]).output();
        let text = error.unwrap_err().to_string();
        assert_eq!(text, "sh failed (exit status: 3): E: no such thing");
    }

    #[test]
    fn the_log_is_seen_as_it_grows() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        std::fs::write(&log, "before\n").unwrap();
        let mut seen = String::new();
        Program::new("sh")
            .args(["-c", "echo one; echo two >&2"])
            .log(&log)
            .logged(|t| seen.push_str(t))
            .unwrap();
        assert_eq!(seen, "one\ntwo\n");
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "before\none\ntwo\n");
    }

    #[test]
    fn the_variable_forbids_downloads_unless_it_is_empty_or_0() {
        for (value, forbidden) in [(None, false), (Some(""), false), (Some("0"), false), (Some("1"), true)] {
            assert_eq!(forbids(value.map(OsStr::new)), forbidden, "{value:?}");
        }
    }

    #[test]
    fn a_missing_program_is_found_missing() {
        assert_eq!(missing(&["sh", "no-such-program-of-ours"]), ["no-such-program-of-ours"]);
        assert!(find("sh").unwrap().is_absolute());
    }

    #[test]
    fn the_telling_line_is_the_error_if_there_is_one() {
        assert_eq!(telling_line("a\nx.cc:1: error: bad\nmake: *** [x] Error 1\n"), "x.cc:1: error: bad");
        assert_eq!(telling_line("a\nb\n\n"), "b");
    }

    #[test]
    fn a_signal_ends_the_whole_group() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("late");
        let script = format!("(sleep 3; touch {}) & wait", mark.display());
        // Only this thread gets the signal, and it holds it back: the other tests' threads go on.
        let _held = Signals::hold();
        nix::sys::signal::raise(Signal::SIGTERM).unwrap();
        let error = Program::new("sh").args(["-c", &script]).output();
        assert!(matches!(error, Err(KitError::Interrupted { signal: "SIGTERM", number: 15 })), "{error:?}");
        sleep(Duration::from_millis(3500));
        assert!(!mark.exists(), "a grandchild went on");
    }
}
