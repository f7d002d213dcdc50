//! One cell of the matrix: Node really runs in the host, or Relink really refuses.

use super::hosts::{Host, Prepared};
use crate::error::{io, Result};
use crate::progress::Progress;
use crate::run::Signals;
use relink_loader::config;
use relink_loader::report::{Report, StageTime};
use serde::{Deserialize, Serialize};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Nothing in a cell takes longer, on a busy machine either.
const LIMIT: Duration = Duration::from_secs(180);
/// How long a host may take to end once the guest has.
const LEAVE: Duration = Duration::from_secs(60);

/// Before everything else the guest's output goes to a file: the host's own is the host's.
const REDIRECT: &str = include_str!("../../../fixtures/hosts/matrix_guest.js");

/// A guest of the matrix.
#[derive(Clone, Debug)]
pub struct Guest {
    /// Its name on the command line and in the table: Node's line, `18-stock` for Debian's own libnode,
    /// `18-exact` for the one that fits its own V8 alone.
    pub name: String,
    /// The library.
    pub library: PathBuf,
    /// What plain Node of the line prints for the feature script.
    pub plain: String,
}

/// What came of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything works as in plain Node, and nothing differs between the two V8s.
    Identical,
    /// Code of ours stands between.
    Bridgeable,
    /// Refused with a code and a reason, and the host went on.
    Refused,
    /// Anything else: something did not work, or the host did not go on.
    Failed,
    /// The host could not be had.
    NotRun,
}

/// One cell.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cell {
    /// The guest's name.
    pub guest: String,
    /// The host's.
    pub host: String,
    /// What came of it.
    pub result: Outcome,
    /// The V8 that the host told.
    pub host_v8: Option<String>,
    /// Why it was refused (with the code), failed or was not run.
    pub why: Option<String>,
    /// Features of the script that worked.
    pub features: usize,
    /// Features that work in plain Node.
    pub of: usize,
    /// Node's own tests, if they were asked for.
    #[serde(default)]
    pub tests: Option<Tests>,
    /// Functions of ours in place of V8's.
    pub adapters: Vec<String>,
    /// What the guest cannot do there, by `relink check`.
    pub degraded: Vec<String>,
    /// What the verdict rests on without having been seen itself, by `relink check`.
    pub warnings: Vec<String>,
    /// What the live probe came to.
    pub probe: Option<String>,
    /// From the first look at the process until Node begins, without waiting for the host's V8; in microseconds.
    pub us: u64,
}

/// A part of Node's own tests, in plain Node and in the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tests {
    /// Tests that pass in both.
    pub equal: usize,
    /// Tests that pass in plain Node.
    pub plain: usize,
    /// Tests that pass only in plain Node because they test V8 itself.
    #[serde(default)]
    pub of_v8: usize,
    /// Tests that pass only in plain Node and are not explained in fixtures/parity.
    pub unexplained: usize,
}

/// What a cell is run with.
pub struct Means<'a> {
    /// librelink.so.
    pub library: &'a Path,
    /// The command `relink`.
    pub relink: &'a Path,
    /// The feature script.
    pub script: &'a str,
}

impl Cell {
    fn of(guest: &Guest, host: &Host) -> Self {
        Self {
            guest: guest.name.clone(),
            host: host.name.clone(),
            result: Outcome::NotRun,
            host_v8: None,
            why: None,
            features: 0,
            of: worked(&guest.plain),
            tests: None,
            adapters: Vec::new(),
            degraded: Vec::new(),
            warnings: Vec::new(),
            probe: None,
            us: 0,
        }
    }

    /// Runs it.
    ///
    /// # Errors
    /// A folder of its own can't be made or read. A host that can't be had is a cell that was not run.
    pub fn run(guest: &Guest, host: &Host, means: &Means, progress: &dyn Progress) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(io("create", &std::env::temp_dir()))?;
        let mut cell = Self::of(guest, host);
        let mut prepared = match host.prepare(folder.path(), progress) {
            Ok(prepared) => prepared,
            Err(error) => {
                cell.why = Some(format!("{} {error}", error.code()));
                return Ok(cell);
            }
        };
        relink(&mut prepared, guest, means, folder.path())?;
        let status = through(&mut prepared, folder.path())?;
        let said = std::fs::read_to_string(folder.path().join("guest.out")).unwrap_or_default();
        match read(&folder.path().join("report.json")) {
            Some(report) => {
                if cell.has_ended_well(&report, status, prepared.status) {
                    cell.judge(&report, &said, guest, host.lacks());
                }
                cell.compare(&report, guest, means);
            }
            None => cell.fail(format!("no report; the host ended with {}", text(status))),
        }
        Ok(cell)
    }

    /// What `relink check` says of the two files must be what the run has shown.
    fn compare(&mut self, report: &Report, guest: &Guest, means: &Means) {
        let Some(host) = report.provider.as_deref() else { return };
        let mut command = Command::new(means.relink);
        command
            .args(["check", "--json", "--host", host, "--guest"])
            .arg(&guest.library)
            .stderr(Stdio::null());
        let said =
            command.output().ok().and_then(|output| serde_json::from_slice::<Check>(&output.stdout).ok());
        let Some(check) = said else { return self.fail("`relink check` gave no verdict".into()) };
        let shown = match self.result {
            Outcome::Identical => "identical",
            Outcome::Bridgeable => "bridgeable",
            Outcome::Refused => "refused",
            Outcome::Failed | Outcome::NotRun => return,
        };
        if check.result != shown {
            self.fail(format!("`relink check` says {}, the run shows {shown}", check.result));
        }
        (self.degraded, self.warnings) = (check.degraded, check.warnings);
    }

    fn fail(&mut self, why: String) {
        self.result = Outcome::Failed;
        self.why = Some(why);
    }

    /// Whether the host went on to its own end and Node was brought in; takes over what the report tells of it.
    fn has_ended_well(&mut self, report: &Report, status: Option<ExitStatus>, wanted: i32) -> bool {
        self.host_v8 = report.host_v8.clone();
        self.adapters = report.adapters.iter().map(|used| used.symbol.clone()).collect();
        self.probe = report.probe.as_ref().map(|probe| probe.text());
        self.us = until_node(&report.stages);
        if code(status) != Some(wanted) {
            self.fail(format!("the host ended with {} instead of {wanted}", text(status)));
        } else if let Some(error) = &report.error {
            self.why = Some(format!("{} {}", error.code, error.message));
            // Codes of the fourth hundred say that the two do not fit, but for adapters that were not built; any other is a defect here.
            let unfit = error.code.starts_with("E04") && error.code != "E0407";
            self.result = if unfit { Outcome::Refused } else { Outcome::Failed };
        } else {
            return true;
        }
        false
    }

    /// Node must say what plain Node says, but for the features that the host's V8 lacks.
    fn judge(&mut self, report: &Report, said: &str, guest: &Guest, lacks: &[&str]) {
        self.features = worked(said);
        let ended = report.outcome.as_ref().map(|outcome| (outcome.how.as_str(), outcome.exit_code));
        let missing: Vec<_> =
            features(&guest.plain).filter(|name| features(said).all(|f| f != *name)).collect();
        let explained = !missing.is_empty() && missing.iter().all(|name| lacks.contains(name));
        let as_plain = said == guest.plain && ended == Some(("finished", 0));
        // The script ends with 1 where a feature failed.
        let but_for_those = explained && ended == Some(("finished", 1));
        if !(as_plain || but_for_those) {
            return self.fail(format!("Node ended with {ended:?}; missing: {}", missing.join(", ")));
        }
        if explained {
            self.why = Some(format!("its V8 has no {}, for itself neither", missing.join(", ")));
        }
        let verdict = report.verdict.as_deref().unwrap_or_default();
        self.result = if verdict.starts_with("identical") { Outcome::Identical } else { Outcome::Bridgeable };
    }
}

/// What is read of what `relink check` prints.
#[derive(Deserialize)]
struct Check {
    result: String,
    degraded: Vec<String>,
    warnings: Vec<String>,
}

/// The features that worked, by what the script prints.
fn features(said: &str) -> impl Iterator<Item = &str> {
    said.lines().filter_map(|line| line.strip_prefix("ok "))
}

/// How many they are.
fn worked(said: &str) -> usize {
    features(said).count()
}

/// Microseconds of the stages that come before Node begins and that do not wait for the host.
fn until_node(stages: &[StageTime]) -> u64 {
    let before = stages.iter().take_while(|stage| !stage.stage.starts_with("node-"));
    before.filter(|stage| !stage.stage.starts_with("wait")).map(|stage| stage.us).sum()
}

fn relink(prepared: &mut Prepared, guest: &Guest, means: &Means, folder: &Path) -> Result<()> {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        crate::cache::write_whole(&path, text).map(|()| path)
    };
    let (script, first) = (write("features.js", means.script)?, write("first.js", REDIRECT)?);
    let command = &mut prepared.command;
    for name in config::VARIABLES.into_iter().chain(["NODE_OPTIONS", "NODE_PATH"]) {
        command.env_remove(name);
    }
    command
        .env("LD_PRELOAD", means.library)
        .env(config::GUEST, &guest.library)
        .env(config::SCRIPT, script)
        .env(config::NODE_ARGS, serde_json::json!(["--require", first]).to_string())
        .env(config::REPORT, folder.join("report.json"));
    if let Some(name) = prepared.late {
        command.env(config::HOST, name);
    }
    Ok(())
}

/// Runs the host until the report is there and it has ended; nothing if it had to be killed.
fn through(prepared: &mut Prepared, folder: &Path) -> Result<Option<ExitStatus>> {
    let mut child = prepared.start(folder)?;
    // Not before: the host would inherit what is held back, and one is told to end by a signal.
    let mut signals = Signals::hold();
    let report = folder.join("report.json");
    let mut until_ended = || {
        wait(&mut child, &mut signals, LIMIT, || report.exists())?;
        prepared.end(&child);
        wait(&mut child, &mut signals, LEAVE, || false)
    };
    let ended = until_ended();
    if !matches!(ended, Ok(Some(_))) {
        // Both may fail only if it has just ended.
        let _ = child.kill();
        let _ = child.wait();
    }
    ended
}

/// Waits until the host has ended, or `enough`, or the time is over.
///
/// # Errors
/// A signal tells this program to end.
fn wait(
    child: &mut Child,
    signals: &mut Signals,
    limit: Duration,
    enough: impl Fn() -> bool,
) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    while start.elapsed() < limit {
        signals.check()?;
        if let Ok(Some(status)) = child.try_wait() {
            return Ok(Some(status));
        }
        if enough() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(None)
}

fn code(status: Option<ExitStatus>) -> Option<i32> {
    status.and_then(|status| status.code().or_else(|| status.signal().map(|signal| 128 + signal)))
}

fn text(status: Option<ExitStatus>) -> String {
    code(status).map_or_else(|| "a kill, for it did not end".into(), |code| code.to_string())
}

fn read(report: &Path) -> Option<Report> {
    serde_json::from_slice(&std::fs::read(report).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_before_node_and_does_not_wait_is_counted() {
        let stage = |name: &str, us| StageTime { stage: name.into(), us };
        let stages = [
            stage("observe", 1),
            stage("wait-for-V8", 10),
            stage("wait", 100),
            stage("load", 2),
            stage("node-init", 1000),
        ];
        assert_eq!(until_node(&stages), 3);
    }

    #[test]
    fn features_are_counted_by_their_lines() {
        assert_eq!(worked("ok a\nFAIL b why\nok c\nfeatures: 2 ok, 1 failed\n"), 2);
    }
}
