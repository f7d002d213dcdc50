//! Counts which functions of a library run in a program: each has a breakpoint (`int3`) for its first byte in a copy of the
//! file, and a tracer (`ptrace(2)`) that notes the first hit and puts the byte back.
#![allow(dead_code, reason = "each test file uses its own part of this")]

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{kill, Signal};
use nix::sys::wait::{waitpid, WaitPidFlag, WaitStatus};
use nix::unistd::Pid;
use relink::address::RunAddr;
use relink::process::{Mapping, Maps};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// `int3` (Intel SDM volume 2).
const BREAKPOINT: u8 = 0xcc;
/// A program that runs longer is killed.
const LIMIT: Duration = Duration::from_secs(90);

/// A library whose functions tell when they run first.
pub struct Watched {
    /// The file with the breakpoints.
    pub file: PathBuf,
    /// The byte that belongs at each offset in the file.
    original: BTreeMap<u64, u8>,
}

impl Watched {
    /// Writes `bytes` to `file` with a breakpoint at each of these offsets.
    pub fn write(file: &Path, mut bytes: Vec<u8>, offsets: impl Iterator<Item = u64>) -> Self {
        let original: BTreeMap<_, _> = offsets.map(|at| (at, bytes[at as usize])).collect();
        original.keys().for_each(|at| bytes[*at as usize] = BREAKPOINT);
        std::fs::write(file, bytes).expect("written");
        Self { file: file.canonicalize().expect("written"), original }
    }

    /// Runs a command to its end; when `until` is there, it is told to end (SIGTERM). Gives the offsets whose functions ran
    /// and the exit code, 128 and the signal for one that a signal ended.
    pub fn run(&self, command: &mut Command, until: &Path) -> (BTreeSet<u64>, i32) {
        let mut tracer = Tracer { watched: self, child: waiting(command), ran: BTreeSet::new(), code: None };
        let (done, ended) = channel::<()>();
        let (pid, until) = (tracer.pid(), until.to_owned());
        let watchdog = std::thread::spawn(move || end_when_there(pid, &until, &ended));
        let code = tracer.run();
        let _ = done.send(());
        watchdog.join().expect("the watchdog ends");
        (tracer.ran, code)
    }
}

/// Ends the process when the file is there, or when it takes too long, unless it has ended.
fn end_when_there(pid: Pid, file: &Path, ended: &Receiver<()>) {
    const PAUSE: Duration = Duration::from_millis(50);
    let start = Instant::now();
    while !file.exists() {
        if ended.recv_timeout(PAUSE) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        if start.elapsed() > LIMIT {
            let _ = kill(pid, Signal::SIGKILL);
            return;
        }
    }
    let _ = kill(pid, Signal::SIGTERM);
}

/// A shell that becomes the command when it reads a line, so that the tracer is there before the command is.
fn waiting(command: &mut Command) -> Child {
    let mut shell = Command::new("sh");
    // The variables are for the command: the shell must not load what is to be preloaded.
    shell.args(["-c", "read go; exec env \"$@\" < /dev/null", "sh"]);
    for (name, value) in command.get_envs() {
        let mut setting = name.to_owned();
        setting.push("=");
        setting.push(value.unwrap_or_default());
        shell.arg(setting);
    }
    shell.arg(command.get_program()).args(command.get_args());
    shell.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("sh runs")
}

struct Tracer<'w> {
    watched: &'w Watched,
    child: Child,
    ran: BTreeSet<u64>,
    code: Option<Mapping>,
}

impl Tracer<'_> {
    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    fn run(&mut self) -> i32 {
        let options = Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_EXITKILL;
        ptrace::seize(self.pid(), options).expect("a child may be traced");
        self.child.stdin.take().expect("a pipe").write_all(b"go\n").expect("the shell reads");
        loop {
            // Only what this thread started or traces: other tests have children too.
            match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)).expect("a child") {
                WaitStatus::Exited(pid, code) if pid == self.pid() => return code,
                WaitStatus::Signaled(pid, signal, _) if pid == self.pid() => return 128 + signal as i32,
                WaitStatus::Stopped(thread, Signal::SIGTRAP) if self.hit(thread) => go_on(thread, None),
                WaitStatus::Stopped(thread, signal) => go_on(thread, signal.into()),
                WaitStatus::PtraceEvent(thread, ..) => go_on(thread, None),
                _ => {}
            }
        }
    }

    /// Notes the function whose breakpoint this thread ran into, and lets it run.
    fn hit(&mut self, thread: Pid) -> bool {
        let Ok(mut registers) = ptrace::getregs(thread) else { return false };
        let at = registers.rip - 1;
        let Some(offset) = self.offset(thread, RunAddr(at)) else { return false };
        let Some(byte) = self.watched.original.get(&offset) else { return false };
        if self.ran.insert(offset) {
            let word = ptrace::read(thread, at as *mut _).expect("code");
            ptrace::write(thread, at as *mut _, (word & !0xff) | i64::from(*byte))
                .expect("a private mapping");
        }
        registers.rip = at;
        ptrace::setregs(thread, registers).is_ok()
    }
}

impl Tracer<'_> {
    /// Offset in the watched file of the code at `at`. A file stays mapped where it is, so the mapping is looked for once.
    fn offset(&mut self, thread: Pid, at: RunAddr) -> Option<u64> {
        let holds = |m: &Mapping| m.start <= at && at < m.end && m.name == self.watched.file;
        if !self.code.as_ref().is_some_and(holds) {
            let maps = Maps::parse(&std::fs::read(format!("/proc/{thread}/maps")).ok()?);
            self.code = Some(maps.at(at).filter(|m| holds(m))?.clone());
        }
        self.code.as_ref().map(|m| at.0 - m.start.0 + m.offset)
    }
}

/// A thread that is gone meanwhile is no failure.
fn go_on(thread: Pid, signal: Option<Signal>) {
    let _ = ptrace::cont(thread, signal);
}
