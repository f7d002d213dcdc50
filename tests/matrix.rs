//! Process layer: `relink matrix` on a few pairs, with the guests that every test run has.

mod support;

use serde_json::Value;
use std::process::{Command, Output};
use support::parts;

fn matrix(cache: &std::path::Path, pairs: &[&str], more: &[&str]) -> Output {
    let page = cache.join("page.md");
    let mut command = Command::new(&parts().relink);
    command.arg("matrix").args(pairs).args(more).arg("--json").arg("--page").arg(page);
    command.env("RELINK_LIBRARY", &parts().library).output().expect("relink runs")
}

/// The neutral guest runs in all, the stock one on its own V8; a second time nothing is run again.
#[test]
fn pairs_run_or_are_refused_and_are_remembered() {
    let folder = tempfile::tempdir().expect("a folder");
    let pairs = ["--guest", "18", "--guest", "18-stock", "--host", "node-18.20.4", "--host", "node-20.20.2"];
    let output = matrix(folder.path(), &pairs, &["--fresh"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let cells: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {said}"));
    let text = |cell: &Value, name: &str| cell[name].as_str().unwrap_or_default().to_owned();
    let results: Vec<_> = cells.iter().map(|cell| (text(cell, "host"), text(cell, "result"))).collect();
    let expected = [
        ("node-18.20.4", "identical"),
        ("node-20.20.2", "bridgeable"),
        ("node-18.20.4", "identical"),
        ("node-20.20.2", "refused"),
    ];
    assert_eq!(results, expected.map(|(host, result)| (host.to_owned(), result.to_owned())));
    for cell in &cells[..3] {
        assert!(cell["of"].as_u64().is_some_and(|of| of >= 45), "{cell:#}");
        assert_eq!(cell["features"], cell["of"]);
        assert!(cell["us"].as_u64().is_some_and(|us| us > 0), "{cell:#}");
        assert!(text(cell, "probe").contains("proven"), "{cell:#}");
    }
    assert!(text(&cells[3], "why").starts_with("E0401 "), "{:#}", cells[3]);
    let page = std::fs::read_to_string(folder.path().join("page.md")).expect("the page");
    for part in
        ["| the official node 18.20.4 | 10.2.154.26-node.37 | identical | 45 of 45 |", "refused E0401"]
    {
        assert!(page.contains(part), "{page}");
    }
    // What was measured would differ if the pairs were run again.
    let again = matrix(folder.path(), &pairs, &[]);
    let kept: Vec<Value> = serde_json::from_slice(&again.stdout).expect("JSON");
    assert_eq!(kept, cells);
}

/// A host that does not end by itself is told to end by SIGTERM, and does.
#[test]
fn a_host_that_is_endless_is_told_to_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = matrix(folder.path(), &["--guest", "18", "--host", "gameserver"], &["--fresh"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let cells: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {said}"));
    assert_eq!((cells.len(), cells[0]["result"].as_str()), (1, Some("identical")), "{cells:#?}");
}

#[test]
fn unknown_names_are_refused_with_those_that_are_known() {
    let folder = tempfile::tempdir().expect("a folder");
    for (pairs, says) in [
        (["--guest", "18", "--host", "nowhere"], "gameserver"),
        (["--guest", "17", "--host", "r"], "18-stock"),
    ] {
        let output = matrix(folder.path(), &pairs, &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(says), "{said}");
    }
}
