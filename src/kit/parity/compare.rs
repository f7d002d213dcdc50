//! Two logs of the same tests: what is equal and what is not (pure).

use super::tap::{Entry, Failure, Log, Outcome};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How plain and relinked Node compare in one test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Both pass.
    Equal,
    /// Both leave it out.
    Skipped,
    /// Plain Node passes, or leaves out what fails relinked.
    OnlyPlain,
    /// The other way round.
    OnlyRelinked,
    /// Both fail: network, time of day, the machine.
    BothFail,
}

/// One test in both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// In plain Node.
    pub plain: Outcome,
    /// Relinked.
    pub relinked: Outcome,
}

impl Pair {
    /// How the two compare.
    pub fn verdict(&self) -> Verdict {
        let (plain, relinked) = (grade(&self.plain), grade(&self.relinked));
        match plain.cmp(&relinked) {
            std::cmp::Ordering::Greater => Verdict::OnlyPlain,
            std::cmp::Ordering::Less => Verdict::OnlyRelinked,
            std::cmp::Ordering::Equal => [Verdict::BothFail, Verdict::Skipped, Verdict::Equal][plain],
        }
    }

    /// Of two runs, the better outcome in each program: what passes alone may fail among others, in either.
    pub fn better(self, other: Self) -> Self {
        let better = |a: Outcome, b: Outcome| if grade(&b) > grade(&a) { b } else { a };
        Self { plain: better(self.plain, other.plain), relinked: better(self.relinked, other.relinked) }
    }

    /// At most `most` lines on why the worse of the two is not what the other is.
    pub fn reason(&self, most: usize) -> Vec<String> {
        let worse = if grade(&self.relinked) < grade(&self.plain) { &self.relinked } else { &self.plain };
        match worse {
            Outcome::Failed(failure) => failure.reason(most),
            Outcome::Skipped(why) => vec![format!("skipped: {why}")],
            Outcome::Passed => Vec::new(),
        }
    }
}

fn grade(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Failed(_) => 0,
        Outcome::Skipped(_) => 1,
        Outcome::Passed => 2,
    }
}

/// All tests of two logs by name. A test that only one of them has counts as failed in the other.
pub fn pairs(plain: &Log, relinked: &Log) -> BTreeMap<String, Pair> {
    let [plain, relinked] = [plain, relinked].map(by_name);
    let names = plain.keys().chain(relinked.keys());
    let of = |log: &BTreeMap<String, Outcome>, name: &String| log.get(name).cloned().unwrap_or_else(not_run);
    names.map(|n| (n.clone(), Pair { plain: of(&plain, n), relinked: of(&relinked, n) })).collect()
}

fn not_run() -> Outcome {
    Outcome::Failed(Failure { severity: "not run".into(), ..Failure::default() })
}

/// `a.js` and `a.mjs` share a name in the log; the worse outcome stands for both.
fn by_name(log: &Log) -> BTreeMap<String, Outcome> {
    let mut found: BTreeMap<String, Outcome> = BTreeMap::new();
    for Entry { name, outcome } in &log.entries {
        let at_least_as_bad = found.get(name).is_some_and(|before| grade(before) <= grade(outcome));
        if !at_least_as_bad {
            found.insert(name.clone(), outcome.clone());
        }
    }
    found
}

/// A difference that is explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// The test, as `suite/file`; `suite/*`: any of a suite that cannot be expected to be equal.
    pub name: String,
    /// Why it differs.
    pub cause: String,
    /// What is seen.
    pub symptom: String,
    /// What can be done about it.
    pub workaround: String,
    /// The first V8, as `MAJOR.MINOR`, that answers the test otherwise: it tests V8 itself, not what stands between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The first V8 that answers it as plain Node's again, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

impl Known {
    /// Whether it holds where Node runs on a V8 of this version.
    pub fn holds_on(&self, v8: &str) -> bool {
        let since = self.since.as_deref().is_none_or(|since| number(v8) >= number(since));
        since && self.until.as_deref().is_none_or(|until| number(v8) < number(until))
    }
}

/// `MAJOR.MINOR`, and what may follow.
fn number(v8: &str) -> (u32, u32) {
    let mut parts = v8.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// Why a test differs in a suite, if it is on the list or the whole suite is. A suite that runs the tests of another
/// (`worker` those of `parallel`) has what is known of them there, and entries of its own.
pub fn explanation<'a>(known: &'a BTreeMap<String, Known>, suite: &str, test: &str) -> Option<&'a Known> {
    let file = test.split_once('/').map_or(test, |(_, file)| file);
    let names = [format!("{suite}/{file}"), test.to_owned(), format!("{suite}/*")];
    names.iter().find_map(|name| known.get(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_explained_by_its_name_or_by_its_suites() {
        let entry = |name: &str| Known {
            name: name.into(),
            cause: name.into(),
            symptom: String::new(),
            workaround: String::new(),
            since: None,
            until: None,
        };
        let known = ["a/x", "b/*", "of-a/z"].map(|n| (n.to_owned(), entry(n))).into();
        let cause = |suite, test| explanation(&known, suite, test).map(|k| k.cause.as_str());
        assert_eq!(
            [cause("a", "a/x"), cause("a", "a/y"), cause("b", "b/y/z")],
            [Some("a/x"), None, Some("b/*")]
        );
        assert_eq!(
            [cause("of-a", "a/z"), cause("of-a", "a/x"), cause("a", "a/z")],
            [Some("of-a/z"), Some("a/x"), None]
        );
    }

    #[test]
    fn what_tests_v8_itself_is_known_from_the_v8_on_that_has_changed() {
        let known = |since: Option<&str>| Known {
            name: String::new(),
            cause: String::new(),
            symptom: String::new(),
            workaround: String::new(),
            since: since.map(Into::into),
            until: None,
        };
        assert!(known(None).holds_on("10.2.154.26-node.37"));
        let since = known(Some("11.3"));
        let holds = ["10.2.154.26-node.37", "11.3.244.8-node.38", "11.10.1.1", "13.6.233.17-node.53"];
        assert_eq!(holds.map(|v8| since.holds_on(v8)), [false, true, true, true]);
        let until = Known { until: Some("11.4".into()), ..since };
        assert!(until.holds_on("11.3.244.8") && !until.holds_on("11.4.1.1"));
    }

    fn log(entries: &[(&str, Outcome)]) -> Log {
        let entries = entries.iter().map(|(n, o)| Entry { name: (*n).into(), outcome: o.clone() });
        Log { planned: 0, entries: entries.collect() }
    }

    fn skipped() -> Outcome {
        Outcome::Skipped("here".into())
    }

    #[test]
    fn every_pair_of_outcomes_has_its_verdict() {
        use Outcome::Passed;
        let verdict = |plain: &Outcome, relinked: &Outcome| {
            Pair { plain: plain.clone(), relinked: relinked.clone() }.verdict()
        };
        assert_eq!(verdict(&Passed, &Passed), Verdict::Equal);
        assert_eq!(verdict(&skipped(), &skipped()), Verdict::Skipped);
        assert_eq!(verdict(&not_run(), &not_run()), Verdict::BothFail);
        assert_eq!(verdict(&Passed, &not_run()), Verdict::OnlyPlain);
        assert_eq!(
            verdict(&Passed, &skipped()),
            Verdict::OnlyPlain,
            "a test that is left out proves nothing"
        );
        assert_eq!(verdict(&skipped(), &not_run()), Verdict::OnlyPlain);
        assert_eq!(verdict(&not_run(), &Passed), Verdict::OnlyRelinked);
        assert_eq!(verdict(&skipped(), &Passed), Verdict::OnlyRelinked);
    }

    #[test]
    fn a_run_that_fails_in_both_takes_nothing_back() {
        let pair = |plain: Outcome, relinked: Outcome| Pair { plain, relinked };
        let first = pair(Outcome::Passed, not_run());
        let both_fail = pair(not_run(), not_run());
        assert_eq!(first.clone().better(both_fail).verdict(), Verdict::OnlyPlain);
        assert_eq!(first.better(pair(not_run(), Outcome::Passed)).verdict(), Verdict::Equal);
    }

    #[test]
    fn a_test_that_was_not_run_counts_as_failed() {
        let pairs =
            pairs(&log(&[("a", Outcome::Passed), ("b", Outcome::Passed)]), &log(&[("b", Outcome::Passed)]));
        assert_eq!(pairs["a"].verdict(), Verdict::OnlyPlain);
        assert_eq!(pairs["a"].reason(9), ["not run, exit status 0"]);
        assert_eq!(pairs["b"].verdict(), Verdict::Equal);
    }

    #[test]
    fn of_two_files_with_one_name_the_worse_counts() {
        let twice = log(&[("a", Outcome::Passed), ("a", not_run()), ("a", skipped())]);
        assert_eq!(by_name(&twice)["a"], not_run());
    }
}
