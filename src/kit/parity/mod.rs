//! Parity: Node's own tests, by Node's own runner, in plain Node and relinked. The judge of everything else.
//!
//! [`run`] takes the tests from Debian's source, runs them part by part in both programs, runs what differs again, alone,
//! and compares. Results are kept in the cache under the hashes of program, parts and tests: a run that was stopped goes
//! on where it was, and plain Node's results are needed once.

mod chunk;
mod compare;
mod inside;
mod report;
mod shell;
mod source;
mod suites;
mod tap;

pub use compare::{Known, Verdict};
pub use inside::Inside;
pub use report::{Difference, Rate, Row, Summary};
pub use shell::Relinked;
pub use suites::Run;

use super::cache::Cache;
use super::error::{KitError, Result};
use super::guest::version_of;
use super::hosts;
use super::progress::Progress;
use chunk::Manner;
use compare::Pair;
use shell::Shell;
use source::Tests;
use std::collections::BTreeMap;
use std::path::PathBuf;
use suites::{Part, Suite};

/// Differences that are explained, of `relink node`.
const KNOWN: &str = include_str!("../../../fixtures/parity/known.json");
/// Those that the way in itself adds when Node is a guest inside another program.
const KNOWN_INSIDE: &str = include_str!("../../../fixtures/parity/known-inside.json");
/// Those that later V8s make, by their errors' words, their globals or what they do: tests of V8 itself.
const KNOWN_V8: &str = include_str!("../../../fixtures/parity/known-v8.json");
/// How long a test may take in a full run, in seconds (test.py's own default).
const TIMEOUT: u32 = 120;
/// How long it may take when it is run again, alone, in seconds.
const TIMEOUT_ALONE: u32 = 240;
/// How often a test that differs is run again.
const ATTEMPTS: usize = 2;

/// What is to be compared.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whose tests: the guest's line, by Node's major version.
    pub line: u32,
    /// Names of suites; none: those that are run by default.
    pub suites: Vec<String>,
    /// A single part of each suite.
    pub run: Option<Run>,
    /// Only tests with this in their names.
    pub only: Option<String>,
    /// Tests at once.
    pub jobs: usize,
    /// Which results of earlier runs are taken.
    pub kept: Kept,
    /// Plain Node; the official executable if `None`.
    pub plain: Option<PathBuf>,
    /// Relinked Node.
    pub relinked: Relinked,
    /// The command `relink`, below which each test is run.
    pub relink: PathBuf,
    /// Not `relink node` but a guest inside plain Node is compared with plain Node.
    pub inside: Option<Inside>,
}

/// Which results of earlier runs are taken; the others, of the very parts that are run, are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// All that are of the same programs.
    All,
    /// Plain Node's.
    Plain,
    /// None.
    None,
}

impl Options {
    /// The parts of a suite that are run.
    fn parts(&self, suite: &'static Suite) -> Vec<Part> {
        Part::all(suite, self.run, self.only.as_deref())
    }
}

/// Runs the suites in both programs and compares.
pub fn run(options: &Options, progress: &dyn Progress) -> Result<Summary> {
    let suites = suites::choose(&options.suites)?;
    let cache = Cache::locate()?;
    let _one_at_a_time = cache.lock("parity", progress)?;
    let tests = source::tests(&cache, options.line, progress)?;
    let node = match &options.plain {
        Some(node) => node.clone(),
        None => hosts::official_node(&version_of(options.line)?, progress)?,
    };
    let guest_in =
        |name, inside: &Inside| Shell::inside(name, &cache, &node, &options.relinked, inside, &tests);
    let plain = match options.inside.as_ref().and_then(Inside::on_base) {
        Some(inside) => guest_in("base", &inside)?,
        None => Shell::plain(&cache, &node, &tests)?,
    };
    let relinked = match &options.inside {
        Some(inside) => guest_in("inside", inside)?,
        None => Shell::relinked(&cache, &options.relinked, &tests, progress)?,
    };
    let known = match &options.inside {
        Some(_) => known_on(relinked.versions.get("v8").map_or("", String::as_str))?,
        None => known()?,
    };
    if options.kept != Kept::All {
        let parts: Vec<Part> = suites.iter().flat_map(|suite| options.parts(suite)).collect();
        chunk::forget(&relinked, parts.iter())?;
        if options.kept == Kept::None {
            chunk::forget(&plain, parts.iter())?;
        }
    }
    let (dir, jobs) = (&tests.dir, options.jobs.max(1));
    let manner = Manner { tests: dir, relink: &options.relink, jobs, timeout: TIMEOUT, resume: true };
    let mut judge = Judge {
        plain,
        relinked,
        known,
        tests: &tests,
        manner,
        resume_alone: options.kept == Kept::All,
        progress,
        summary: Summary::default(),
    };
    judge.versions();
    for suite in suites {
        judge.suite(suite, options)?;
    }
    Ok(judge.summary)
}

/// The list of explained differences (fixtures/parity/known.json), by name.
pub fn known() -> Result<BTreeMap<String, Known>> {
    list("known.json", KNOWN)
}

/// The same with those of a guest inside another program (fixtures/parity/known-inside.json).
pub fn known_inside() -> Result<BTreeMap<String, Known>> {
    let mut all = known()?;
    all.extend(list("known-inside.json", KNOWN_INSIDE)?);
    Ok(all)
}

/// The same with those of the V8 that the guest runs on (fixtures/parity/known-v8.json).
fn known_on(v8: &str) -> Result<BTreeMap<String, Known>> {
    let mut all = known_inside()?;
    all.extend(known_v8()?.into_iter().filter(|(_, known)| known.holds_on(v8)));
    Ok(all)
}

/// What tests V8 itself, from the V8 on that each entry names.
fn known_v8() -> Result<BTreeMap<String, Known>> {
    list("known-v8.json", KNOWN_V8)
}

fn list(file: &str, text: &str) -> Result<BTreeMap<String, Known>> {
    let list: Vec<Known> = serde_json::from_str(text)
        .map_err(|e| KitError::Unsupported { why: format!("fixtures/parity/{file}: {e}") })?;
    Ok(list.into_iter().map(|known| (known.name.clone(), known)).collect())
}

/// Runs, compares and keeps count.
struct Judge<'a> {
    plain: Shell,
    relinked: Shell,
    known: BTreeMap<String, Known>,
    tests: &'a Tests,
    manner: Manner<'a>,
    /// Whether kept results of tests that were run again, alone, are taken.
    resume_alone: bool,
    progress: &'a dyn Progress,
    summary: Summary,
}

impl Judge<'_> {
    fn versions(&mut self) {
        for shell in [&self.plain, &self.relinked] {
            self.summary.versions.insert(shell.name.into(), shell.versions.clone());
        }
    }

    fn suite(&mut self, suite: &'static Suite, options: &Options) -> Result<()> {
        if suite.addons {
            source::build_addons(
                self.tests,
                suite.folder,
                &self.plain.program,
                self.manner.jobs,
                self.progress,
            )?;
        }
        let mut row = Row { suite: suite.name.into(), ..Row::default() };
        for part in options.parts(suite) {
            for (test, pair) in self.pairs(&part, 0, self.manner)? {
                let pair = self.again(suite, &test, pair)?;
                row.count(pair.verdict());
                self.note(suite, test, &pair);
            }
        }
        self.summary.rows.push(row);
        Ok(())
    }

    /// A part of a suite in both programs.
    fn pairs(&self, part: &Part, attempt: usize, manner: Manner) -> Result<BTreeMap<String, Pair>> {
        let plain = chunk::run(part, &self.plain, attempt, manner, self.progress)?;
        let relinked = chunk::run(part, &self.relinked, attempt, manner, self.progress)?;
        Ok(compare::pairs(&plain, &relinked))
    }

    /// A test that passes only in plain Node for no known reason gets another chance, and one more: it may need more
    /// time than a busy machine has, or fail now and then in either.
    fn again(&mut self, suite: &'static Suite, test: &str, first: Pair) -> Result<Pair> {
        if compare::explanation(&self.known, suite.name, test).is_some() {
            return Ok(first);
        }
        let mut pair = first;
        for attempt in 1..=ATTEMPTS {
            if pair.verdict() != Verdict::OnlyPlain {
                break;
            }
            let manner = Manner { jobs: 1, timeout: TIMEOUT_ALONE, resume: self.resume_alone, ..self.manner };
            let Some(next) = self.pairs(&Part::alone(suite, test), attempt, manner)?.remove(test) else {
                break;
            };
            // A machine that is too busy even for plain Node says nothing of the other.
            pair = pair.better(next);
            if pair.verdict() != Verdict::OnlyPlain {
                self.summary.unsteady.push(test.into());
            }
        }
        Ok(pair)
    }

    fn note(&mut self, suite: &Suite, test: String, pair: &Pair) {
        match pair.verdict() {
            Verdict::Equal | Verdict::Skipped => {}
            Verdict::BothFail => self.summary.both_fail.push(test),
            verdict => {
                let known = compare::explanation(&self.known, suite.name, &test).cloned();
                let reason = pair.reason(report::REASON_LINES);
                self.summary.differences.push(Difference {
                    suite: suite.name.into(),
                    test,
                    verdict,
                    reason,
                    known,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_known_differences_says_everything_of_each() {
        let of_v8 = known_v8().unwrap();
        assert!(of_v8.values().all(|known| known.since.is_some()), "an entry without its V8");
        for (name, known) in known_inside().unwrap().into_iter().chain(of_v8) {
            assert!(name.contains('/'), "{name} is not suite/file");
            for text in [&known.cause, &known.symptom, &known.workaround] {
                assert!(!text.trim().is_empty(), "{name} leaves something unsaid");
            }
        }
    }
}
