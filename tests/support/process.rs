//! Running a program, with Relink preloaded or without, under a time limit that kills it.
#![allow(dead_code, reason = "each test file uses its own part of this")]

use crate::support::parts;
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use relink::config;
use relink::process::Maps;
use relink::report::Report;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{channel, Receiver};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Nothing here takes longer, not even on a machine that is busy with other tests.
const LIMIT: Duration = Duration::from_secs(60);

/// A program to be run, and a folder of its own.
pub struct Program {
    command: Command,
    input: Option<Vec<u8>>,
    folder: TempDir,
}

/// A program that runs.
pub struct Running {
    child: Child,
    stdout: Receiver<Vec<u8>>,
    stderr: Receiver<Vec<u8>>,
    started: Instant,
    folder: TempDir,
}

/// A program that has ended.
pub struct Ended {
    /// All that came on standard output.
    pub stdout: String,
    /// All that came on standard error.
    pub stderr: String,
    /// Its exit status.
    pub status: ExitStatus,
    /// The report, if one was written.
    pub report: Option<Report>,
    /// How long it ran.
    pub took: Duration,
    /// Its folder, with what else it wrote.
    pub folder: TempDir,
}

impl Program {
    /// The program, in an environment without anything of Relink's or Node's. Standard input is empty.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        for name in config::VARIABLES {
            command.env_remove(name);
        }
        for name in ["RELINK_CACHE", "LD_PRELOAD", "NODE_OPTIONS", "NODE_PATH", "RUST_LOG", "RUST_BACKTRACE"]
        {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, input: None, folder: TempDir::new().expect("a temporary folder") }
    }

    /// The game server with these arguments.
    pub fn gameserver(arguments: &[&str]) -> Self {
        Self::new(&parts().gameserver).args(arguments)
    }

    /// The official node that runs this script of its own.
    pub fn node(source: &str) -> Self {
        let mut program = Self::new(&parts().node);
        let script = program.file("host.js", source);
        program.command.arg(script);
        program
    }

    /// A game server that runs until it is told to stop.
    pub fn endless_gameserver() -> Self {
        Self::gameserver(&["--fps", "50", "--frames", "1000000"])
    }

    /// An official node that prints a line every 20 ms until `file` appears in its folder, then exits with 5.
    pub fn node_until(file: &str) -> Self {
        let source = format!(
            "const fs = require('fs'); let n = 0;\n\
             setInterval(() => {{\n\
               console.log('host', ++n); if (fs.existsSync(`${{__dirname}}/{file}`)) process.exit(5); }}, 20);"
        );
        Self::node(&source)
    }

    /// Adds arguments.
    pub fn args(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Gives it these bytes on standard input, then the end of input.
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    /// Writes a file into its folder.
    pub fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    }

    /// Relink, preloaded, with the real guest running the script at this path; the report goes to its folder.
    pub fn relinked(self, script: &Path) -> Self {
        let report = self.folder.path().join("report.json");
        self.env("LD_PRELOAD", &parts().library)
            .env(config::GUEST, &parts().guest)
            .env(config::SCRIPT, script)
            .env(config::REPORT, report)
    }

    /// The game server stays after its last frame until the guest has ended and the report is there: however slow the machine.
    pub fn until_reported(self) -> Self {
        let report = self.folder.path().join("report.json");
        self.env("GAMESERVER_UNTIL", report)
    }

    /// The same with the source of the script.
    pub fn relinked_source(self, source: &str) -> Self {
        let script = self.file("guest.js", source);
        self.relinked(&script)
    }

    /// What the guest prints with `process.stdout` goes to the file `guest.out` in its folder, not into the host's
    /// output.
    pub fn guest_output_to_file(self) -> Self {
        let out = self.folder.path().join("guest.out");
        let source = format!(
            "const fs = require('fs'); const fd = fs.openSync({:?}, 'a');\n\
             process.stdout.write = (data, encoding, done) => {{\n\
               fs.writeSync(fd, data); const f = done || encoding; if (typeof f === 'function') f(); return true; }};",
            out.display().to_string()
        );
        let script = self.file("redirect.js", source);
        self.env(
            config::NODE_ARGS,
            serde_json::json!(["--require", script.display().to_string()]).to_string(),
        )
    }

    /// Starts it.
    pub fn start(mut self) -> Running {
        if self.input.is_some() {
            self.command.stdin(Stdio::piped());
        }
        let mut child = self.command.spawn().unwrap_or_else(|e| panic!("{:?}: {e}", self.command));
        if let (Some(bytes), Some(mut pipe)) = (self.input, child.stdin.take()) {
            // A program that does not read its input is no failure.
            std::thread::spawn(move || drop(pipe.write_all(&bytes)));
        }
        let stdout = collect(child.stdout.take());
        let stderr = collect(child.stderr.take());
        Running { child, stdout, stderr, started: Instant::now(), folder: self.folder }
    }

    /// Runs it to its end.
    pub fn run(self) -> Ended {
        self.start().wait()
    }
}

/// Reads to the end on a thread of its own, so that no pipe fills up.
fn collect(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        let Some(mut pipe) = pipe else { return };
        while let Ok(count @ 1..) = pipe.read(&mut bytes) {
            if sender.send(bytes[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

impl Running {
    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file of `/proc/PID`.
    pub fn proc(&self, name: &str) -> String {
        let path = format!("/proc/{}/{name}", self.pid());
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Its mappings now.
    pub fn maps(&self) -> Maps {
        Maps::parse(self.proc("maps").as_bytes())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid() as i32), signal).expect("a process of ours");
    }

    /// Waits until `condition` holds.
    pub fn wait_until(&mut self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        while !condition(self) {
            let ended = self.child.try_wait().expect("waited");
            if self.started.elapsed() > LIMIT || ended.is_some() {
                let _ = self.child.kill();
                let (out, err) = (tail(&rest(&self.stdout)), tail(&rest(&self.stderr)));
                let why =
                    ended.map_or(format!("within {LIMIT:?}"), |status| format!("before the end ({status})"));
                panic!("{what} did not come {why}; stdout:\n{out}\nstderr:\n{err}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the file of this name is in its folder.
    pub fn wait_for_file(&mut self, name: &str) {
        self.wait_until(name, |running| running.folder().join(name).exists());
    }

    /// Waits for its end, within the limit.
    pub fn wait(mut self) -> Ended {
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("waited") {
                break status;
            }
            if self.started.elapsed() > LIMIT {
                let _ = self.child.kill();
                let (out, err) = (tail(&rest(&self.stdout)), tail(&rest(&self.stderr)));
                panic!("killed after {LIMIT:?}; stdout:\n{out}\nstderr:\n{err}");
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let took = self.started.elapsed();
        let report = std::fs::read(self.folder.path().join("report.json")).ok();
        let report = report.map(|text| serde_json::from_slice(&text).expect("a report"));
        Ended {
            stdout: rest(&self.stdout),
            stderr: rest(&self.stderr),
            status,
            report,
            took,
            folder: self.folder,
        }
    }

    /// Lets the guest end, then the host: a game server by SIGTERM, a [`Program::node_until`] by itself.
    pub fn end_after_guest(mut self) -> Ended {
        self.wait_for_file("report.json");
        // Where the node is already on its way out, nothing is there to be signalled, and nothing has to be.
        if self.child.try_wait().expect("waited").is_none() && self.is_gameserver() {
            self.signal(Signal::SIGTERM);
        }
        self.wait()
    }

    fn is_gameserver(&self) -> bool {
        std::fs::read_link(format!("/proc/{}/exe", self.pid())).is_ok_and(|exe| exe == parts().gameserver)
    }

    /// Kills it once its guest has ended, which the report tells.
    pub fn kill_after_guest(mut self) -> Ended {
        self.wait_for_file("report.json");
        self.signal(Signal::SIGKILL);
        self.wait()
    }
}

/// The last lines, for messages.
fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// What has come and still comes. A descendant that keeps the pipe open is not waited for.
fn rest(pipe: &Receiver<Vec<u8>>) -> String {
    const QUIET: Duration = Duration::from_secs(2);
    let mut all = Vec::new();
    while let Ok(part) = pipe.recv_timeout(QUIET) {
        all.extend(part);
    }
    String::from_utf8_lossy(&all).into_owned()
}

impl Ended {
    /// The exit code, or 128 and the signal.
    pub fn code(&self) -> i32 {
        self.status.code().or_else(|| self.status.signal().map(|s| 128 + s)).unwrap_or(-1)
    }

    /// The report; a failure shows what was printed instead.
    pub fn report(&self) -> &Report {
        self.report
            .as_ref()
            .unwrap_or_else(|| panic!("no report; stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr))
    }

    /// How the guest ended and its exit code.
    pub fn outcome(&self) -> (&str, i32) {
        let report = self.report();
        let outcome = report.outcome.as_ref().unwrap_or_else(|| panic!("no outcome: {:?}", report.error));
        (&outcome.how, outcome.exit_code)
    }

    /// What the guest printed with [`Program::guest_output_to_file`].
    pub fn guest_output(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("guest.out")).expect("the guest's output")
    }

    /// That this is what the same program does without Relink: output and exit status.
    pub fn same_as(&self, plain: &Self) {
        assert_eq!(self.stdout, plain.stdout);
        assert_eq!(self.status, plain.status, "{}", self.stderr);
    }
}
