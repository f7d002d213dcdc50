//! The house rules: how much unsafe code there is in each file, so that it does not grow unnoticed.
//!
//! `unsafe_counts.txt` beside this file says how many blocks, functions and implementations are unsafe in each. A file that has more, or
//! one that is not in it, fails the test. `RELINK_UNSAFE_COUNTS=write cargo test --test unsafe_counts` writes it anew: its change is
//! then seen in review.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const LIST: &str = "tests/unsafe_counts.txt";
/// Says that the list is to be written.
const WRITE: &str = "RELINK_UNSAFE_COUNTS";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below `folder` that are compiled into programs and libraries.
fn rust(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("entry").path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if path.is_dir() && !["target", "tests", "benches", "examples"].contains(&name) {
            rust(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

/// How often a text has `unsafe` before a block, a function, an implementation, a trait or foreign items. Comments do not count.
fn count(text: &str) -> usize {
    const WORD: &str = "unsafe";
    let in_line = |line: &str| {
        let code = line.split("//").next().unwrap_or("");
        let is_one = |at: usize| {
            let ends = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_');
            let (before, after) = (&code[..at], &code[at + WORD.len()..]);
            let follows = ["{", "fn ", "impl", "extern ", "trait "]
                .iter()
                .any(|next| after.trim_start().starts_with(next));
            ends(before.chars().next_back())
                && ends(after.chars().next())
                && (follows || after.trim().is_empty())
        };
        code.match_indices(WORD).filter(|(at, _)| is_one(*at)).count()
    };
    text.lines().map(in_line).sum()
}

fn counted() -> BTreeMap<String, usize> {
    let mut files = Vec::new();
    for folder in ["src", "shim/src"] {
        rust(&root().join(folder), &mut files);
    }
    let named = |path: PathBuf| {
        let count = count(&std::fs::read_to_string(&path).expect("UTF-8"));
        let name = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
        (count > 0).then_some((name, count))
    };
    files.into_iter().filter_map(named).collect()
}

#[test]
fn unsafe_code_does_not_grow_unnoticed() {
    let counted = counted();
    let text: String = counted.iter().map(|(file, count)| format!("{count:4} {file}\n")).collect();
    println!("{text}{:4} in all", counted.values().sum::<usize>());
    assert!(counted.len() > 20, "the files are found");
    let list = root().join(LIST);
    if std::env::var_os(WRITE).is_some_and(|how| how == "write") {
        std::fs::write(&list, &text).expect("written");
    }
    let listed = std::fs::read_to_string(&list).expect("the list");
    let listed: BTreeMap<&str, usize> = listed
        .lines()
        .filter_map(|line| line.trim().split_once(' '))
        .map(|(count, file)| (file, count.parse().expect("a number")))
        .collect();
    let more = |(file, count): (&String, &usize)| {
        let known = listed.get(file.as_str()).copied().unwrap_or(0);
        (*count > known).then(|| format!("{file} has {count}, and {LIST} says {known}"))
    };
    let more: Vec<String> = counted.iter().filter_map(more).collect();
    assert!(more.is_empty(), "more unsafe code; {WRITE}=write writes the list anew:\n{}", more.join("\n"));
}

#[test]
fn what_counts_as_unsafe() {
    assert_eq!(count("let x = unsafe { f() }; // unsafe { g() }"), 1);
    assert_eq!(count("/// unsafe {\npub unsafe fn f() { unsafe { g() } }"), 2);
    assert_eq!(count("unsafe impl Send for X {}\nlet s = \"unsafe code\";\nunsafe\n{}"), 2);
    assert_eq!(count("match (unsafe { f() }, |x| unsafe { g(x) }) {}"), 2);
}
