//! The suites of Node's tests and the parts that they are run in.

use crate::error::{KitError, Result};

/// One of Node's suites.
#[derive(Debug, PartialEq, Eq)]
pub struct Suite {
    /// Its name, here and in the table.
    pub name: &'static str,
    /// Its folder below `test`.
    pub folder: &'static str,
    /// In how many parts it is run: results are kept part by part.
    pub parts: usize,
    /// Whether it is run when no suite is named.
    pub by_default: bool,
    /// What test.py is told besides.
    pub options: &'static [&'static str],
    /// Whether its tests load add-ons, which have to be compiled first.
    pub addons: bool,
}

const fn suite(name: &'static str, parts: usize) -> Suite {
    Suite { name, folder: name, parts, by_default: true, options: &[], addons: false }
}

const fn addons(name: &'static str) -> Suite {
    Suite { addons: true, ..suite(name, 1) }
}

/// All of them.
pub const SUITES: [Suite; 13] = [
    suite("parallel", 24),
    suite("sequential", 4),
    suite("es-module", 2),
    suite("async-hooks", 1),
    suite("message", 1),
    suite("pseudo-tty", 1),
    suite("wasi", 1),
    suite("report", 1),
    suite("abort", 1),
    addons("js-native-api"),
    addons("node-api"),
    addons("addons"),
    // Node's own way to run `parallel` a second time, each test in a Worker.
    Suite {
        name: "worker",
        folder: "parallel",
        parts: 24,
        by_default: false,
        options: &["--worker"],
        addons: false,
    },
];

/// The suites of these names, or those that are run by default.
pub fn choose(names: &[String]) -> Result<Vec<&'static Suite>> {
    if names.is_empty() {
        return Ok(SUITES.iter().filter(|s| s.by_default).collect());
    }
    names.iter().map(|name| find(name)).collect()
}

fn find(name: &str) -> Result<&'static Suite> {
    SUITES.iter().find(|s| s.name == name).ok_or_else(|| {
        let all: Vec<&str> = SUITES.iter().map(|s| s.name).collect();
        KitError::Unsupported { why: format!("there is no suite {name}; there are {}", all.join(", ")) }
    })
}

/// A part of a suite: every `of`-th test from the `number`-th on, counted from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The suite.
    pub suite: &'static Suite,
    /// Which part.
    pub number: usize,
    /// Of how many.
    pub of: usize,
    /// Only tests whose names match this pattern of test.py's (`*` stands for anything).
    pub only: Option<String>,
}

impl Part {
    /// The parts of a suite; `run` names a single one.
    pub fn all(suite: &'static Suite, run: Option<Run>, only: Option<&str>) -> Vec<Self> {
        let part = |number, of| Self { suite, number, of, only: only.map(pattern) };
        match (run, only) {
            (Some(run), _) => vec![part(run.number, run.of)],
            (None, Some(_)) => vec![part(0, 1)],
            (None, None) => (0..suite.parts).map(|number| part(number, suite.parts)).collect(),
        }
    }

    /// One test alone.
    pub fn alone(suite: &'static Suite, test: &str) -> Self {
        Self { suite, number: 0, of: 1, only: Some(base(test).into()) }
    }

    /// What test.py is told about what to run.
    pub fn arguments(&self) -> Vec<String> {
        let mut args: Vec<String> = self.suite.options.iter().map(ToString::to_string).collect();
        if self.of > 1 {
            args.push(format!("--run={},{}", self.number, self.of));
        }
        args.push(match &self.only {
            Some(pattern) => format!("{}/{pattern}", self.suite.folder),
            None => self.suite.folder.into(),
        });
        args
    }

    /// A file name for its results.
    pub fn file(&self) -> String {
        let only = self.only.as_ref().map(|p| format!(".{}", p.replace(['/', '*'], "_"))).unwrap_or_default();
        format!("{}{only}.{}-{}", self.suite.name, self.number, self.of)
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match (&self.only, self.of) {
            (Some(pattern), _) => write!(f, "{}/{pattern}", self.suite.name),
            (None, 1) => write!(f, "{}", self.suite.name),
            (None, of) => write!(f, "{} {}/{of}", self.suite.name, self.number),
        }
    }
}

/// A word without a `*` may stand anywhere in the name.
fn pattern(only: &str) -> String {
    if only.contains('*') {
        only.into()
    } else {
        format!("*{only}*")
    }
}

/// The name below its suite's folder.
fn base(test: &str) -> &str {
    test.split_once('/').map_or(test, |(_, base)| base)
}

/// test.py's `--run=N,M`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    number: usize,
    of: usize,
}

impl std::str::FromStr for Run {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let numbers =
            text.split_once(',').and_then(|(n, m)| Some((n.trim().parse().ok()?, m.trim().parse().ok()?)));
        match numbers {
            Some((number, of)) if number < of => Ok(Self { number, of }),
            _ => Err("wants two numbers N,M with N less than M".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_is_cut_into_its_parts() {
        let parts = Part::all(&SUITES[0], None, None);
        assert_eq!(parts.len(), 24);
        assert_eq!(parts[3].arguments(), ["--run=3,24", "parallel"]);
        assert_eq!(
            (parts[3].file().as_str(), parts[3].to_string().as_str()),
            ("parallel.3-24", "parallel 3/24")
        );
    }

    #[test]
    fn filters_and_single_tests_are_patterns_of_the_runner() {
        let [http] = &Part::all(&SUITES[0], None, Some("http"))[..] else { panic!("one part") };
        assert_eq!(http.arguments(), ["parallel/*http*"]);
        let alone = Part::alone(&SUITES[12], "parallel/test-a");
        assert_eq!(alone.arguments(), ["--worker", "parallel/test-a"]);
        assert_eq!(alone.file(), "worker.test-a.0-1");
    }

    #[test]
    fn a_run_is_two_numbers_and_the_first_is_less() {
        assert_eq!("1,24".parse(), Ok(Run { number: 1, of: 24 }));
        for bad in ["", "1", "2,2", "a,b", "-1,3"] {
            assert!(bad.parse::<Run>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_unknown_suite_is_answered_with_those_that_there_are() {
        let error = choose(&["paralel".into()]).unwrap_err().to_string();
        assert!(error.contains("paralel") && error.contains("parallel, sequential"), "{error}");
        assert!(choose(&[]).unwrap().iter().all(|s| s.name != "worker"));
    }
}
