//! What was found: a table for people, JSON for programs.

use super::compare::{Known, Verdict};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Lines of reason that the text shows for a difference.
pub const REASON_LINES: usize = 6;

/// The counts of one suite.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its name.
    pub suite: String,
    /// Tests with a result.
    pub total: usize,
    /// Pass in both.
    pub equal: usize,
    /// Left out in both.
    pub skipped: usize,
    /// Pass only in plain Node.
    pub only_plain: usize,
    /// Pass only relinked.
    pub only_relinked: usize,
    /// Fail in both.
    pub both_fail: usize,
}

impl Row {
    /// Counts one test.
    pub fn count(&mut self, verdict: Verdict) {
        self.total += 1;
        match verdict {
            Verdict::Equal => self.equal += 1,
            Verdict::Skipped => self.skipped += 1,
            Verdict::OnlyPlain => self.only_plain += 1,
            Verdict::OnlyRelinked => self.only_relinked += 1,
            Verdict::BothFail => self.both_fail += 1,
        }
    }

    fn numbers(&self) -> [usize; 6] {
        [self.total, self.equal, self.skipped, self.only_plain, self.only_relinked, self.both_fail]
    }
}

/// One test that is not the same in both.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// Its suite.
    pub suite: String,
    /// The test, as `suite/file`.
    pub test: String,
    /// Which way.
    pub verdict: Verdict,
    /// The first lines of the reason.
    pub reason: Vec<String>,
    /// The explanation, if it is on the list.
    pub known: Option<Known>,
}

/// All that was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// `process.versions` of both programs, by the program's name.
    pub versions: BTreeMap<String, BTreeMap<String, String>>,
    /// A row per suite.
    pub rows: Vec<Row>,
    /// Tests that differ.
    pub differences: Vec<Difference>,
    /// Tests that fail in both.
    pub both_fail: Vec<String>,
    /// Tests that differed at first and not when they were run again, alone.
    pub unsteady: Vec<String>,
}

impl Summary {
    /// Tests that pass only in plain Node, for no reason that is on the list.
    pub fn unexplained(&self) -> impl Iterator<Item = &Difference> {
        self.differences.iter().filter(|d| d.verdict == Verdict::OnlyPlain && d.known.is_none())
    }

    /// The table and what is behind it.
    pub fn text(&self) -> String {
        let mut text = self.heading();
        text.push_str(&self.table());
        for (title, verdict) in [
            ("passes only in plain Node", Verdict::OnlyPlain),
            ("passes only relinked", Verdict::OnlyRelinked),
        ] {
            for difference in self.differences.iter().filter(|d| d.verdict == verdict) {
                text.push_str(&difference.text(title));
            }
        }
        for (title, tests) in
            [("fail in both", &self.both_fail), ("unsteady: equal when run again", &self.unsteady)]
        {
            if !tests.is_empty() {
                let _ = writeln!(text, "\n{title}: {}", tests.join(", "));
            }
        }
        text
    }

    fn heading(&self) -> String {
        let mut text = String::new();
        for (name, versions) in &self.versions {
            let of = |part: &str| versions.get(part).map_or("?", String::as_str);
            let _ = writeln!(text, "{name}: Node {}, V8 {}, OpenSSL {}", of("node"), of("v8"), of("openssl"));
        }
        text
    }

    fn table(&self) -> String {
        let mut text =
            line("suite", &["total", "equal", "skipped", "only plain", "only relinked", "both fail"]);
        let mut sum = [0; 6];
        for row in &self.rows {
            let numbers = row.numbers();
            sum.iter_mut().zip(numbers).for_each(|(s, n)| *s += n);
            text.push_str(&line(&row.suite, &numbers.map(|n| n.to_string())));
        }
        if self.rows.len() > 1 {
            text.push_str(&line("all", &sum.map(|n| n.to_string())));
        }
        text
    }
}

impl Difference {
    fn text(&self, title: &str) -> String {
        let mut text = format!("\n{}: {title}\n", self.test);
        if let Some(known) = &self.known {
            let _ = writeln!(text, "  known: {}", known.cause);
        }
        for reason in self.reason.iter().take(REASON_LINES) {
            let _ = writeln!(text, "  {reason}");
        }
        text
    }
}

fn line<Cell: AsRef<str>>(name: &str, cells: &[Cell]) -> String {
    let cells: String = cells.iter().map(|cell| format!(" {:>13}", cell.as_ref())).collect();
    format!("{name:<12}{cells}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(test: &str, verdict: Verdict, known: bool) -> Difference {
        let explained = Known {
            name: test.into(),
            cause: "because".into(),
            symptom: String::new(),
            workaround: String::new(),
        };
        let reason = vec!["fail, exit status 1".into(), "Error: no".into()];
        Difference {
            suite: "s".into(),
            test: test.into(),
            verdict,
            reason,
            known: known.then_some(explained),
        }
    }

    #[test]
    fn only_what_passes_in_plain_node_and_is_not_on_the_list_is_unexplained() {
        let differences = vec![
            difference("s/a", Verdict::OnlyPlain, true),
            difference("s/b", Verdict::OnlyPlain, false),
            difference("s/c", Verdict::OnlyRelinked, false),
        ];
        let summary = Summary { differences, ..Summary::default() };
        assert_eq!(summary.unexplained().map(|d| d.test.as_str()).collect::<Vec<_>>(), ["s/b"]);
        let text = summary.text();
        assert!(text.contains("s/a: passes only in plain Node\n  known: because\n"), "{text}");
        assert!(
            text.contains("s/b: passes only in plain Node\n  fail, exit status 1\n  Error: no\n"),
            "{text}"
        );
    }

    #[test]
    fn the_table_adds_up() {
        let mut rows =
            vec![Row { suite: "a".into(), ..Row::default() }, Row { suite: "b".into(), ..Row::default() }];
        for verdict in [Verdict::Equal, Verdict::Equal, Verdict::OnlyPlain, Verdict::BothFail] {
            rows.iter_mut().for_each(|row| row.count(verdict));
        }
        let table = Summary { rows, ..Summary::default() }.table();
        let last: Vec<&str> = table.lines().last().expect("a line").split_whitespace().collect();
        assert_eq!(last, ["all", "8", "4", "0", "2", "0", "2"]);
    }
}
