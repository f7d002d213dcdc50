//! `RELINK_OFFLINE`: the kit fetches nothing, and says which part is missing. The cache is an empty folder here.

use std::path::Path;
use std::process::{Command, Output};

/// Runs the command with an empty cache and downloads forbidden.
fn offline(cache: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relink"));
    command.args(args).env("RELINK_CACHE", cache).env("RELINK_OFFLINE", "1");
    command.output().expect("relink runs")
}

#[test]
fn a_missing_part_is_named_and_not_fetched() {
    let cache = tempfile::TempDir::new().expect("a folder");
    // Each step first asks a registry of its own: Debian's archive and npm's.
    for (args, part) in [
        (["host", "fetch"].as_slice(), "Debian's package lists"),
        (&["adapter", "build", "10.2-on-11.3"], "npm"),
    ] {
        let output = offline(cache.path(), args);
        let text = String::from_utf8_lossy(&output.stderr);
        let last = text.lines().last().unwrap_or("");
        assert!(last.contains("E0716") && last.contains(part), "relink {}: {text}", args.join(" "));
        assert!(last.contains("run this once without RELINK_OFFLINE"), "{last}");
        assert_eq!(output.status.code(), Some(3), "{text}");
    }
    let left = cache.path().join("apt/state/lists");
    let lists = std::fs::read_dir(left).expect("apt's folder").flatten();
    assert!(lists.into_iter().all(|entry| entry.path().is_dir()), "package lists were fetched");
}
