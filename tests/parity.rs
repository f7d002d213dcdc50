//! A fixed part of Node's own tests, relinked against plain: the same code as `relink parity`. The whole is one command,
//! see docs/TESTING.md.

mod support;

use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use serde_json::Value;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use support::parts;

/// Nothing that is waited for here takes longer, on a busy machine either.
const LIMIT: Duration = Duration::from_secs(300);
/// The command lets only one run of its own at a time go on.
static ONE_RUN: Mutex<()> = Mutex::new(());

/// The part of the suite `parallel`: every 24th test.
const PART: &str = "1,24";
/// The part has 138 tests; a few of them leave themselves out. Fewer means that the runner did not run.
const AT_LEAST: u64 = 130;
/// Tests of the part that fail in plain Node already: network, time of day, the machine's own. More means that the
/// comparison says little.
const MOST_FAIL: u64 = 10;

#[test]
fn a_part_of_nodes_own_tests_passes_relinked() {
    let _alone = ONE_RUN.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().expect("a folder");
    let json = folder.path().join("parity.json");
    let p = parts();
    let mut command = Command::new(&p.relink);
    command.args(["parity", "--suite", "parallel", "--run", PART]).arg("--json").arg(&json);
    command.arg("--plain").arg(&p.node).arg("--relinked").arg(&p.relink_node);
    command.arg("--v8").arg(&p.libv8).arg("--guest").arg(&p.guest);
    let output = command.output().expect("relink runs");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{said}", output.status);
    let text = std::fs::read_to_string(&json).expect("the results");
    let found: Value = serde_json::from_str(&text).expect("JSON");
    let count = |name: &str| found["rows"][0][name].as_u64().unwrap_or_else(|| panic!("no {name}: {text}"));
    assert!(count("total") >= AT_LEAST, "{said}");
    assert!(count("both_fail") <= MOST_FAIL, "{said}");
    let kinds = ["equal", "skipped", "only_plain", "only_relinked", "both_fail"];
    assert_eq!(count("total"), kinds.map(count).iter().sum::<u64>(), "{said}");
    for program in ["plain", "relinked"] {
        assert_eq!(found["versions"][program]["node"], "18.20.4", "{said}");
    }
}

#[test]
fn what_cannot_be_run_is_refused() {
    let relink = |args: &[&str]| {
        let p = parts();
        let mut command = Command::new(&p.relink);
        command.arg("parity").args(args).arg("--relinked").arg(&p.relink_node).arg("--guest").arg(&p.guest);
        command.arg("--v8").arg(&p.libv8).output().expect("relink runs")
    };
    for (args, told) in [
        (["--suite", "paralel"], "there is no suite paralel; there are parallel, sequential"),
        (["--line", "19"], "there is no recipe for Node 19"),
        (["--run", "3,3"], "wants two numbers N,M with N less than M"),
        (["--plain", "/nowhere/node"], "/nowhere/node"),
    ] {
        let output = relink(&args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(told), "{args:?}: {said}");
    }
}

/// Waits for what must come.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The script that leaves two processes that loop, in plain Node, below `relink reap` or not.
fn leaving(pids: &Path, how: &str, below: bool) -> Command {
    let (p, script) = (parts(), "fixtures/parity/leaves.js");
    let mut command = Command::new(if below { &p.relink } else { &p.node });
    if below {
        command.args(["reap", "--"]).arg(&p.node);
    }
    command.current_dir(env!("CARGO_MANIFEST_DIR")).arg(script).arg(pids).arg(how);
    command
}

fn left(pids: &Path) -> Vec<Pid> {
    let text = until("the script's file", || std::fs::read_to_string(pids).ok());
    let pids: Vec<_> =
        text.split_whitespace().map(|pid| Pid::from_raw(pid.parse().expect("a number"))).collect();
    assert_eq!(pids.len(), 2, "{text}");
    pids
}

fn lives(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[test]
fn what_a_test_leaves_running_ends_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let alone = folder.path().join("alone");
    let status = leaving(&alone, "end", false).status().expect("node runs");
    let orphans = left(&alone);
    let (code, lived) = (status.code(), orphans.iter().all(|pid| lives(*pid)));
    for pid in &orphans {
        let _ = kill(*pid, Signal::SIGKILL);
    }
    assert_eq!((code, lived), (Some(7), true), "the script leaves nothing: this test proves nothing");
    for (how, code, signal) in [("end", Some(7), None), ("crash", None, Some(Signal::SIGSEGV as i32))] {
        let pids = folder.path().join(how);
        let status = leaving(&pids, how, true).status().expect("relink runs");
        assert_eq!((status.code(), status.signal()), (code, signal), "{how}");
        assert!(!left(&pids).into_iter().any(lives), "{how}: an orphan goes on");
    }
}

#[test]
fn a_test_whose_time_is_over_takes_all_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let pids = folder.path().join("stay");
    let mut child = leaving(&pids, "stay", true).spawn().expect("relink runs");
    let orphans = left(&pids);
    assert!(orphans.iter().all(|pid| lives(*pid)), "the script leaves nothing: this test proves nothing");
    // What tools/test.py does then.
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).expect("it is there");
    assert_eq!(child.wait().expect("it ends").signal(), Some(Signal::SIGTERM as i32));
    assert!(!orphans.into_iter().any(lives), "an orphan goes on");
}

/// What was started by a command with the variable that `mark` is the value of.
fn marked(mark: &str) -> Vec<(Pid, String)> {
    let variable = format!("RELINK_PARITY_TEST={mark}");
    let numbers = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).map(Pid::from_raw);
    let text = |pid: Pid, file: &str| {
        let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', " ")
    };
    let ours = pids.filter(|pid| text(*pid, "environ").contains(&variable) && lives(*pid));
    ours.map(|pid| (pid, text(pid, "cmdline"))).collect()
}

/// The command on all of `parallel`, which takes minutes; nobody waits for its end.
fn long_run(mark: &str) -> Child {
    let p = parts();
    let mut command = Command::new(&p.relink);
    command.args(["parity", "--suite", "parallel", "--run", "0,1", "-j2", "--plain"]).arg(&p.node);
    command.arg("--relinked").arg(&p.relink_node).arg("--v8").arg(&p.libv8).arg("--guest").arg(&p.guest);
    command.env("RELINK_PARITY_TEST", mark).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("relink runs")
}

#[test]
fn an_interrupted_or_killed_run_leaves_nothing() {
    let _alone = ONE_RUN.lock().unwrap_or_else(PoisonError::into_inner);
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let mark = format!("{}-{signal}", std::process::id());
        let mut run = long_run(&mark);
        let in_a_test = |(_, line): &(Pid, String)| line.contains("/test/parallel/test-");
        until("a test", || marked(&mark).iter().any(in_a_test).then_some(()));
        kill(Pid::from_raw(run.id() as i32), signal).expect("it is there");
        let status = run.wait().expect("it ends");
        if signal == Signal::SIGINT {
            let left = marked(&mark);
            assert!(left.is_empty() && !status.success(), "{status}, {left:?}");
        }
        // A command that was killed can't wait for what it started; the kernel tells that one.
        until("the end of all", || marked(&mark).is_empty().then_some(()));
    }
}
