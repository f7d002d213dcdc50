//! One run of Node's tools/test.py: a part of a suite in one program, or the kept result of an earlier run.

use super::shell::{quiet, Shell};
use super::suites::Part;
use super::tap::{self, Log};
use crate::cache::{remove, write_whole};
use crate::error::{io, KitError, Result};
use crate::progress::Progress;
use crate::run::Program;
use std::fs;
use std::path::{Path, PathBuf};

/// How the runner is run.
#[derive(Clone, Copy, Debug)]
pub struct Manner<'a> {
    /// The unpacked source.
    pub tests: &'a Path,
    /// The command `relink`, below which tests are run.
    pub relink: &'a Path,
    /// Tests at once.
    pub jobs: usize,
    /// How long a test may take, in seconds.
    pub timeout: u32,
    /// Whether kept results are taken.
    pub resume: bool,
}

/// No test leaves a core file.
const WRAPPER: &str = r#"ulimit -c 0; exec "$@""#;
/// test.py ends only its own child when the time is over, not that one's children, and nothing that a test leaves running.
const RUNNER: &str = include_str!("../../../fixtures/parity/runner.py");
/// What test.py prints when a filter leaves nothing.
const NOTHING: &str = "No tests to run.";

/// The results of a part in a program. `attempt` tells several runs of the same part apart.
pub fn run(
    part: &Part,
    shell: &Shell,
    attempt: usize,
    manner: Manner,
    progress: &dyn Progress,
) -> Result<Log> {
    let kept = kept(part, shell, attempt);
    if manner.resume {
        if let Some(log) = fs::read_to_string(&kept).ok().map(|text| Log::parse(&text)) {
            return Ok(log);
        }
    }
    progress.step(&format!("{part}, {}", shell.name));
    let running = kept.with_extension("part");
    let outcome = start(part, shell, manner, &running, progress);
    progress.finish();
    let text = outcome?;
    // Written in one go: a part that was interrupted leaves no result.
    write_whole(&kept, &text)?;
    remove(&running)?;
    Ok(Log::parse(&text))
}

/// Runs test.py and returns its TAP log.
fn start(part: &Part, shell: &Shell, manner: Manner, tap: &Path, progress: &dyn Progress) -> Result<String> {
    let temporary = tempfile::tempdir().map_err(io("create a folder in", std::env::temp_dir()))?;
    let said = tap.with_extension("out");
    remove(&said)?;
    let mut counter = Counter::default();
    // A signal ends the runner, the runner's end the tests, and with each test goes all that it has started.
    let program = quiet(Program::new(manner.relink)).env("LC_ALL", "C.UTF-8").dir(manner.tests).log(&said);
    let args = arguments(part, shell, manner, tap, temporary.path());
    let ended = program.args(args).logged(|text| counter.take(text, progress));
    let text = fs::read_to_string(tap).unwrap_or_default();
    let output = fs::read_to_string(&said).unwrap_or_default();
    remove(&said)?;
    match ended {
        // Its status is 1 when a test failed: the log says which.
        Ok(()) | Err(KitError::Program { .. }) if Log::parse(&text).is_complete() => Ok(text),
        Err(KitError::Program { .. }) if output.contains(NOTHING) => Ok(String::new()),
        Err(error) => Err(error),
        Ok(()) => Err(KitError::Program {
            program: "tools/test.py".into(),
            status: "success".into(),
            message: format!("the results of {part} are incomplete"),
        }),
    }
}

fn arguments(part: &Part, shell: &Shell, manner: Manner, tap: &Path, temporary: &Path) -> Vec<String> {
    let path = |p: &Path| p.to_string_lossy().into_owned();
    let fixed = ["reap", "--", "sh", "-c", WRAPPER, "relink-parity", "python3", "-c", RUNNER];
    let mut args: Vec<String> = fixed.map(String::from).into();
    args.push(path(manner.relink));
    args.extend(["-p", "tap", "--logfile"].map(String::from));
    args.extend([path(tap), "--shell".into(), path(&shell.program), "--temp-dir".into(), path(temporary)]);
    args.extend([format!("-j{}", manner.jobs), format!("--timeout={}", manner.timeout)]);
    args.extend(part.arguments());
    args
}

/// Counts the tests that have ended in output that comes in pieces.
#[derive(Default)]
struct Counter {
    rest: String,
    planned: usize,
    done: usize,
}

impl Counter {
    fn take(&mut self, text: &str, progress: &dyn Progress) {
        self.rest.push_str(text);
        while let Some(end) = self.rest.find('\n') {
            let line: String = self.rest.drain(..=end).collect();
            self.line(line.trim_end(), progress);
        }
    }

    fn line(&mut self, line: &str, progress: &dyn Progress) {
        if let Some(count) = line.strip_prefix("1..") {
            self.planned = count.parse().unwrap_or(0);
        } else if let Some(entry) = tap::head(line) {
            self.done += 1;
            progress.advance(self.done, self.planned.max(self.done), &entry.name);
        }
    }
}

/// Removes the kept results of parts in a program.
pub fn forget<'a>(shell: &Shell, mut parts: impl Iterator<Item = &'a Part>) -> Result<()> {
    parts.try_for_each(|part| remove(&kept(part, shell, 0)))
}

/// The file with the results of a part.
fn kept(part: &Part, shell: &Shell, attempt: usize) -> PathBuf {
    shell.results.join(format!("{}.{attempt}.tap", part.file()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[derive(Default)]
    struct Seen(RefCell<Vec<(usize, usize, String)>>);

    impl Progress for Seen {
        fn step(&self, _: &str) {}
        fn advance(&self, done: usize, total: usize, what: &str) {
            self.0.borrow_mut().push((done, total, what.into()));
        }
        fn note(&self, _: &str) {}
        fn finish(&self) {}
    }

    #[test]
    fn tests_are_counted_in_output_that_comes_in_pieces() {
        let seen = Seen::default();
        let mut counter = Counter::default();
        for piece in [
            "TAP version 13\n1..",
            "2\nok 1 parallel/te",
            "st-a\n  ---\n",
            "ok 2 parallel/test-b # skip for a reason\n",
        ] {
            counter.take(piece, &seen);
        }
        let expected = [(1, 2, "parallel/test-a".to_string()), (2, 2, "parallel/test-b".to_string())];
        assert_eq!(*seen.0.borrow(), expected);
    }
}
