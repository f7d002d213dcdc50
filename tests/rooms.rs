//! The order of the rooms: a crate uses only crates before it, a module of a crate only modules before it. So nothing is in a circle.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The crates in their order, each with its modules in theirs. The command, the tests and the benches may use all.
const ROOMS: [(&str, &[&str]); 4] = [
    (
        "elf",
        &[
            "address",
            "arch",
            "image",
            "notes",
            "dynamic",
            "versions",
            "symbols",
            "relocations",
            "sections",
            "file",
            "memory_file",
            "build_id",
            "cache",
        ],
    ),
    (
        "abi",
        &[
            "version",
            "names",
            "symbol",
            "facts",
            "claim",
            "fingerprint",
            "layout",
            "note",
            "tables",
            "units",
            "learned",
            "catalogue",
            "compare",
            "bridged",
            "verdict",
            "codes",
            "error",
            "probe",
            "line",
            "adapters",
            "remedy",
            "gate",
            "kept",
        ],
    ),
    (
        "loader",
        &[
            "log",
            "outcome",
            "process",
            "script",
            "host",
            "guest",
            "plan",
            "stages",
            "patch",
            "runtime",
            "report",
            "config",
            "pipeline",
            "standalone",
        ],
    ),
    (
        "kit",
        &[
            "error",
            "progress",
            "run",
            "cache",
            "sources",
            "debian",
            "apt",
            "files",
            "headers",
            "npm",
            "pypi",
            "crates",
            "clang",
            "hosts",
            "component",
            "component_build",
            "adapter",
            "catalogue",
            "learn",
            "neutral",
            "guest",
            "extra_hosts",
            "java",
            "reap",
            "suites",
            "corpus",
            "parity",
            "matrix",
            "cli",
        ],
    ),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below a folder, each with the module path that it has in its crate.
fn modules(folder: &Path) -> Vec<(Vec<String>, PathBuf)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            if path.is_dir() {
                // A build script's own modules are no part of the crate.
                if name != "build" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|e| e == "rs") && name != "build" && name != "lib" {
                let below = path.strip_prefix(folder).expect("below").with_extension("");
                let mut names: Vec<_> = below.iter().map(|n| n.to_string_lossy().into_owned()).collect();
                names.retain(|n| n != "mod");
                found.push((names, path));
            }
        }
    }
    found
}

/// The text without its unit tests and comments: tests may use whatever they like.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).expect("UTF-8");
    let end =
        text.find("#[cfg(test)]\nmod tests").or_else(|| text.find("#[cfg(test)]\npub(crate) mod tests"));
    let lines = text[..end.unwrap_or(text.len())].lines();
    lines.map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

fn word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("")
}

/// The first segments of all paths in `text` that begin with `crate::` or, seen from `module`, leave it by `super::`.
fn used(text: &str, module: &[String]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => {
                let group = group.split('}').next().unwrap_or("");
                found.extend(group.split(',').map(|name| word(name.trim()).to_owned()));
            }
            None => found.push(word(rest).to_owned()),
        }
    }
    for (at, _) in text.match_indices("super::") {
        let mut rest = &text[at..];
        let mut ups = 0;
        while let Some(after) = rest.strip_prefix("super::") {
            (rest, ups) = (after, ups + 1);
        }
        if !text[..at].ends_with("super::") && ups >= module.len() {
            found.push(word(rest).to_owned());
        }
    }
    found
}

#[test]
fn a_module_uses_only_modules_before_it() {
    for (room, order) in ROOMS {
        let folder = root().join("src").join(room);
        let place = |name: &str| order.iter().position(|m| *m == name);
        for (module, path) in modules(&folder) {
            let own = place(&module[0]).unwrap_or_else(|| panic!("{room} lists no module {}", module[0]));
            for name in used(&code(&path), &module) {
                if let Some(at) = place(&name) {
                    assert!(at <= own, "{}: {} comes after {} in {room}", path.display(), name, module[0]);
                }
            }
        }
    }
}

#[test]
fn a_use_against_the_order_is_seen() {
    let module = ["process".to_owned(), "maps".to_owned()];
    let seen = |text: &str| used(text, &module);
    assert_eq!(seen("use crate::plan::Plan;"), ["plan"]);
    assert_eq!(seen("use crate::{log, plan::Plan};"), ["log", "plan"]);
    assert_eq!(seen("use super::super::guest::stage;"), ["guest"]);
    assert!(seen("use super::modules::list;").is_empty());
}

#[test]
fn a_crate_uses_only_crates_before_it() {
    let names: Vec<String> = ROOMS.iter().map(|(room, _)| format!("relink-{room}")).collect();
    for (number, (room, _)) in ROOMS.iter().enumerate() {
        let tree = tree(&names[number]);
        for later in &names[number + 1..] {
            assert!(!tree.contains(&format!("{later} v")), "{room} uses {later}:\n{tree}");
        }
    }
}

#[test]
fn what_is_loaded_into_a_host_has_neither_kit_nor_command_line() {
    for package in ["relink-shim", "relink-loader"] {
        let tree = tree(package);
        assert!(tree.contains("relink-abi v"), "{tree}");
        for never in ["relink-kit", "clap", "indicatif", "gimli"] {
            assert!(!tree.contains(&format!("{never} v")), "{package} uses {never}:\n{tree}");
        }
    }
}

/// All crates that a package is linked with.
fn tree(package: &str) -> String {
    let args = ["tree", "--offline", "--edges", "normal", "--prefix", "none", "--package", package];
    let output = Command::new(env!("CARGO")).args(args).current_dir(root()).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}
