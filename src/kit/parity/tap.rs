//! What test.py writes with `-p tap`: one entry per test, with the output of those that failed (pure).

/// How one test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It failed, and this is why.
    Failed(Failure),
    /// It left itself out, with its reason.
    Skipped(String),
    /// It passed.
    Passed,
}

/// Why a test failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// `fail`, `crashed` or `flaky`, in test.py's words.
    pub severity: String,
    /// Exit status; negative: the signal's number.
    pub exit_code: i32,
    /// What it printed on standard output and standard error.
    pub output: Vec<String>,
}

impl Failure {
    /// At most `most` lines for a person: how it ended, then the output, from the line that names an error on.
    pub fn reason(&self, most: usize) -> Vec<String> {
        let telling =
            |line: &&String| line.contains("Error") || line.contains("FATAL") || line.contains("Assertion");
        let lines: Vec<&String> = self.output.iter().filter(|l| !l.trim().is_empty()).collect();
        let from = lines.iter().position(telling).unwrap_or(0);
        let ended = format!("{}, exit status {}", self.severity, self.exit_code);
        std::iter::once(ended).chain(lines[from..].iter().map(|l| (*l).clone())).take(most).collect()
    }
}

/// One test of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Suite and file without its ending: `parallel/test-assert`.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
}

/// A whole log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// How many tests were to be run.
    pub planned: usize,
    /// Those that were, in the order in which they ended.
    pub entries: Vec<Entry>,
}

impl Log {
    /// Reads a log; what it does not know it passes over.
    pub fn parse(text: &str) -> Self {
        let mut log = Self::default();
        for line in text.lines() {
            if let Some(count) = line.strip_prefix("1..") {
                log.planned = count.trim().parse().unwrap_or(0);
            } else if let Some(entry) = head(line) {
                log.entries.push(entry);
            } else if let Some(Outcome::Failed(failure)) = log.entries.last_mut().map(|e| &mut e.outcome) {
                detail(failure, line);
            }
        }
        log
    }

    /// Whether every test that was planned has ended.
    pub fn is_complete(&self) -> bool {
        self.planned > 0 && self.entries.len() == self.planned
    }
}

/// `ok 7 parallel/test-assert`, `ok 8 parallel/test-dgram # skip no IPv6`, `not ok 9 parallel/test-fs`.
pub(super) fn head(line: &str) -> Option<Entry> {
    let (passed, rest) = match line.strip_prefix("not ok ") {
        Some(rest) => (false, rest),
        None => (true, line.strip_prefix("ok ")?),
    };
    let (number, rest) = rest.split_once(' ')?;
    number.parse::<usize>().ok()?;
    let (name, remark) = rest.split_once(" # ").unwrap_or((rest, ""));
    let outcome = match (passed, remark.strip_prefix("skip ")) {
        (false, _) => Outcome::Failed(Failure::default()),
        (true, Some(why)) => Outcome::Skipped(why.into()),
        (true, None) => Outcome::Passed,
    };
    Some(Entry { name: name.into(), outcome })
}

/// A line below the head of a test that failed.
fn detail(failure: &mut Failure, line: &str) {
    if let Some(output) = line.strip_prefix("    ") {
        failure.output.push(output.into());
    } else if let Some(severity) = line.strip_prefix("  severity: ") {
        failure.severity = severity.into();
    } else if let Some(code) = line.strip_prefix("  exitcode: ") {
        failure.exit_code = code.parse().unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "TAP version 13\n1..3\nok 1 parallel/test-a\n  ---\n  duration_ms: 12.5\n  ...\n\
        ok 2 parallel/test-b # skip no IPv6 here\n  ---\n  duration_ms: 3\n  ...\n\
        not ok 3 parallel/test-c\n  ---\n  duration_ms: 7\n  severity: crashed\n  exitcode: -6\n  stack: |-\n    first\n\n\
        \x20   AssertionError: ok 1 is not 2\n    ok 9 no entry\n  ...\n";

    #[test]
    fn entries_have_their_outcomes_and_only_failures_their_output() {
        let log = Log::parse(LOG);
        let names: Vec<&str> = log.entries.iter().map(|e| e.name.as_str()).collect();
        assert_eq!(names, ["parallel/test-a", "parallel/test-b", "parallel/test-c"]);
        assert_eq!(log.entries[0].outcome, Outcome::Passed);
        assert_eq!(log.entries[1].outcome, Outcome::Skipped("no IPv6 here".into()));
        let Outcome::Failed(failure) = &log.entries[2].outcome else { panic!("{log:?}") };
        assert_eq!((failure.severity.as_str(), failure.exit_code), ("crashed", -6));
        assert_eq!(failure.output, ["first", "AssertionError: ok 1 is not 2", "ok 9 no entry"]);
    }

    #[test]
    fn the_reason_begins_where_an_error_is_named() {
        let Outcome::Failed(failure) = &Log::parse(LOG).entries[2].outcome else { panic!("failed") };
        assert_eq!(failure.reason(2), ["crashed, exit status -6", "AssertionError: ok 1 is not 2"]);
        let silent = Failure { severity: "fail".into(), exit_code: 1, output: Vec::new() };
        assert_eq!(silent.reason(5), ["fail, exit status 1"]);
    }

    #[test]
    fn a_log_that_breaks_off_is_incomplete() {
        assert!(Log::parse(LOG).is_complete());
        let (begun, _) = LOG.split_once("not ok").expect("three tests");
        assert!(!Log::parse(begun).is_complete());
        assert!(!Log::parse("").is_complete());
    }
}
