//! Process layer: hosts in a terminal of their own, which scripts set: it is as before when the guest has ended, in whatever way.

#[path = "support/c_hosts.rs"]
mod c_hosts;
mod support;

use c_hosts::{command, host};
use nix::pty::openpty;
use nix::sys::termios::{tcgetattr, Termios};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use support::parts;
use tempfile::TempDir;

/// A terminal: who types at it has the first.
struct Terminal {
    _keyboard: OwnedFd,
    program: OwnedFd,
    before: Termios,
}

impl Terminal {
    fn new() -> Self {
        let both = openpty(None, None).expect("a terminal");
        let before = tcgetattr(&both.slave).expect("its settings");
        Self { _keyboard: both.master, program: both.slave, before }
    }

    /// Runs a program whose controlling terminal and standard input it is.
    fn run(&self, command: &mut Command) -> Output {
        command.stdin(Stdio::from(self.program.try_clone().expect("a descriptor")));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        // SAFETY: setsid and one ioctl, both async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                Ok(())
            });
        }
        command.output().expect("it runs")
    }

    fn is_as_before(&self) -> bool {
        let now = tcgetattr(self.program.as_fd()).expect("its settings");
        now == self.before
    }
}

#[test]
fn a_terminal_is_as_before_when_the_guest_has_ended() {
    let folder = TempDir::new().expect("a folder");
    let terminal = host("terminal", folder.path());
    let ways =
        ["cooked", "exit", "stop", "destroy", "abort", "leaves", "worker", "dev-tty", "two", "hosts", "pty"];
    for mode in ["own", "ticked"] {
        for way in ways {
            let place = Terminal::new();
            let output = place.run(command(&terminal).arg(&parts().guest).arg(mode).arg(way));
            let errors = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{mode} {way}: {errors}");
            assert!(place.is_as_before(), "{mode} {way}");
        }
    }
}

/// The host ends by a signal that it handles, by itself, or goes on after its guest: in `relink run`.
#[test]
fn a_terminal_is_as_before_after_relink_run() {
    let folder = TempDir::new().expect("a folder");
    let script = folder.path().join("raw.js");
    let text = "process.stdin.setRawMode(true); process.stdin.on('data', () => {});\n\
        setTimeout(() => { if (process.argv[2] === 'throws') throw new Error('boom');\n\
          if (process.argv[2] === 'term') require('child_process').execSync(`kill -TERM ${process.pid}`);\n\
          if (process.argv[2] === 'int') require('child_process').execSync(`kill -INT ${process.pid}`); }, 200);\n";
    std::fs::write(&script, text).expect("written");
    for (way, status) in [("throws", 0), ("stays", 0), ("term", 143), ("int", 130)] {
        let place = Terminal::new();
        let mut run = command(Path::new(env!("CARGO_BIN_EXE_relink")));
        run.args(["run", "--library"]).arg(&parts().library).arg("--guest").arg(&parts().guest);
        run.arg("--script").arg(&script).args(["--arg", way, "--"]).arg(&parts().gameserver);
        let output = place.run(run.args(["--fps", "30", "--frames", "60"]));
        assert_eq!(output.status.code(), Some(status), "{way}: {output:?}");
        assert!(place.is_as_before(), "{way}");
    }
}
