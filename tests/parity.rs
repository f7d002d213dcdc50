//! A fixed part of Node's own tests, relinked against plain: the same code as `relink parity`. The whole is one command,
//! see docs/TESTING.md.

mod support;

use serde_json::Value;
use std::process::Command;
use support::parts;

/// The part of the suite `parallel`: every 24th test.
const PART: &str = "1,24";
/// The part has 138 tests; a few of them leave themselves out. Fewer means that the runner did not run.
const AT_LEAST: u64 = 130;
/// Tests of the part that fail in plain Node already: network, time of day, the machine's own. More means that the
/// comparison says little.
const MOST_FAIL: u64 = 10;

#[test]
fn a_part_of_nodes_own_tests_passes_relinked() {
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
