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

/// How many tests that pass in one program pass in the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Rate {
    /// Pass in both.
    pub pass: usize,
    /// Pass in plain Node, or in the base.
    pub of: usize,
    /// Those of the rest that test V8 itself (fixtures/parity/known-v8.json).
    pub of_v8: usize,
}

impl Rate {
    fn text(&self) -> String {
        let percent = |of: usize| if of == 0 { 0.0 } else { 100.0 * self.pass as f64 / of as f64 };
        let (raw, adjusted) = (self.of, self.of - self.of_v8);
        let mut text = format!("pass: {} of {raw} ({:.1} %)", self.pass, percent(raw));
        if self.of_v8 > 0 {
            let _ = write!(
                text,
                "; expected by V8's version: {}; without them {} of {adjusted} ({:.1} %)",
                self.of_v8,
                self.pass,
                percent(adjusted)
            );
        }
        text + "\n"
    }
}

impl Summary {
    /// Tests that pass only in plain Node, for no reason that is on the list.
    pub fn unexplained(&self) -> impl Iterator<Item = &Difference> {
        self.differences.iter().filter(|d| d.verdict == Verdict::OnlyPlain && d.known.is_none())
    }

    /// Of the tests that pass in plain Node (or in the base), how many pass in the other; and how many of the rest test V8
    /// itself, which is another one there.
    pub fn rate(&self) -> Rate {
        let count = |of: fn(&Row) -> usize| self.rows.iter().map(of).sum::<usize>();
        let only_plain = self.differences.iter().filter(|d| d.verdict == Verdict::OnlyPlain);
        let of_v8 =
            only_plain.filter(|d| d.known.as_ref().is_some_and(|known| known.since.is_some())).count();
        Rate { pass: count(|row| row.equal), of: count(|row| row.equal + row.only_plain), of_v8 }
    }

    /// The table and what is behind it.
    pub fn text(&self) -> String {
        let mut text = self.heading();
        text.push_str(&self.table());
        text.push_str(&self.rate().text());
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
            since: None,
            until: None,
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
    fn tests_of_v8_itself_are_counted_apart_and_not_as_passed() {
        let mut of_v8 = difference("s/a", Verdict::OnlyPlain, true);
        of_v8.known = of_v8.known.map(|known| Known { since: Some("12.4".into()), ..known });
        let differences = vec![of_v8, difference("s/b", Verdict::OnlyPlain, true)];
        let rows = vec![Row { equal: 98, only_plain: 2, only_relinked: 5, ..Row::default() }];
        let rate = Summary { rows, differences, ..Summary::default() }.rate();
        assert_eq!(rate, Rate { pass: 98, of: 100, of_v8: 1 });
        let told = "pass: 98 of 100 (98.0 %); expected by V8's version: 1; without them 98 of 99 (99.0 %)\n";
        assert_eq!(rate.text(), told);
        assert_eq!(Rate { of_v8: 0, ..rate }.text(), "pass: 98 of 100 (98.0 %)\n");
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
