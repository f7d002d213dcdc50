//! The house rules that a machine can check.

#[path = "support/texts.rs"]
mod texts;

use std::path::PathBuf;
use std::process::Command;
use texts::{relative, root, texts as files};

/// Longest source file, in lines.
const LONGEST_FILE: usize = 500;

fn rust() -> Vec<(PathBuf, String)> {
    [files("src", &["rs"]), files("shim/src", &["rs"])].concat()
}

/// Lines with code on them, without comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().zip(1..).map(|(line, number)| (number, line.split("//").next().unwrap_or("")))
}

#[test]
fn relocation_numbers_are_only_named_where_architectures_are() {
    for (path, text) in rust() {
        if !relative(&path).starts_with("src/elf/arch/") {
            for (number, line) in code(&text) {
                let named = line.contains("R_X86_64_") || line.contains("R_AARCH64_");
                assert!(!named, "{}:{number}: {line}", relative(&path));
            }
        }
    }
}

#[test]
fn unsafe_code_only_stands_in_files_that_say_why() {
    for (path, text) in rust() {
        let head: String = text.lines().take_while(|l| l.starts_with("//!")).collect();
        let uses = code(&text)
            .find(|(_, l)| l.contains("unsafe {") || l.contains("unsafe fn") || l.contains("unsafe impl"));
        if let Some((number, line)) = uses {
            assert!(
                head.contains("# Safety"),
                "{}:{number}: no `# Safety` in the file's head: {line}",
                relative(&path)
            );
        }
    }
}

#[test]
fn no_file_is_one_that_a_newcomer_dreads() {
    let sources = [rust(), files("shim/cpp", &["cc", "h"]), files("tests", &["rs"])].concat();
    for (path, text) in sources {
        let lines = text.lines().count();
        assert!(lines <= LONGEST_FILE, "{} has {lines} lines", relative(&path));
    }
}

#[test]
fn nothing_names_a_place_of_one_machine() {
    let texts = [
        rust(),
        files("shim/cpp", &["cc", "h"]),
        files("docs", &["md"]),
        files("fixtures", &["js", "cc", "md", "sh"]),
    ];
    for (path, text) in texts.concat() {
        for place in ["/work/", "/root/", "registry.npmjs", "deb.debian.org", "pypi.org", "index.crates"] {
            assert!(!text.contains(place), "{} names {place}", relative(&path));
        }
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for (path, text) in rust() {
        let says = text.lines().next().is_some_and(|line| line.starts_with("//! ") && line.len() > 20);
        assert!(says, "{} does not begin with a sentence about itself", relative(&path));
    }
}

#[test]
fn the_code_is_formatted() {
    cargo(&["fmt", "--all", "--check"]);
}

/// The names after `--test` in one alias of `.cargo/config.toml`.
fn listed<'t>(config: &'t str, alias: &str) -> Vec<&'t str> {
    let start = config.find(&format!("\n{alias} = [")).unwrap_or_else(|| panic!("no alias {alias}"));
    let list = config[start..].split("\n]").next().expect("its end");
    let words: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
    words.windows(2).filter(|pair| pair[0] == "--test").map(|pair| pair[1]).collect()
}

#[test]
fn every_test_file_is_in_one_tier() {
    let config = std::fs::read_to_string(root().join(".cargo/config.toml")).expect("the tiers");
    let tiers = ["test-offline", "test-local", "test-rest"].map(|alias| listed(&config, alias));
    let mut listed: Vec<String> = tiers.concat().iter().map(|name| format!("{name}.rs")).collect();
    let entries = std::fs::read_dir(root().join("tests")).expect("tests");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"));
    let mut files: Vec<String> = names.filter(|name| name.ends_with(".rs")).collect();
    listed.sort();
    files.sort();
    assert_eq!(listed, files, "the lists in .cargo/config.toml (left) and the files of tests/ (right)");
    let table = std::fs::read_to_string(root().join("tests/README.md")).expect("the table");
    let missing: Vec<&String> =
        files.iter().filter(|name| !table.contains(&format!("| `{name}` |"))).collect();
    assert!(missing.is_empty(), "tests/README.md has no row for {missing:?}");
    // Real parts do not belong in a tier that has none.
    for name in &tiers[0] {
        let text = std::fs::read_to_string(root().join(format!("tests/{name}.rs"))).expect("UTF-8");
        assert!(!code(&text).any(|(_, line)| line.trim() == "mod support;"), "{name}.rs uses real parts");
    }
}

#[test]
fn every_download_can_be_forbidden() {
    let fetchers = ["\"npm\"", "\"apt-get\"", "\"cargo\"", "\"curl\"", "\"wget\"", "\"git\"", "apt-helper"];
    let mut seen = 0;
    for (path, text) in files("src/kit", &["rs"]) {
        let text = text.split("#[cfg(test)]").next().unwrap_or("");
        seen += text.matches("Program::fetching(").count();
        for (number, line) in code(text) {
            let fetches = fetchers.iter().any(|name| line.contains(&format!("Program::new({name}")));
            // cargo is asked a second time, without the network.
            let allowed = line.contains("--offline");
            assert!(
                !fetches || allowed,
                "{}:{number}: Program::fetching is for this: {line}",
                relative(&path)
            );
        }
        let pip = text.contains("\"pip\", \"download\"");
        assert!(!pip || text.contains("Program::fetching("), "{} fetches by pip", relative(&path));
    }
    assert!(seen > 5, "{seen}");
}

/// Runs cargo in a target folder of its own: the one of this test run may be locked.
fn cargo(args: &[&str]) {
    let target = root().join("target/tidy");
    let output =
        Command::new(env!("CARGO")).args(args).current_dir(root()).env("CARGO_TARGET_DIR", target).output();
    let output = output.expect("cargo runs");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "cargo {}:\n{said}", args.join(" "));
}
