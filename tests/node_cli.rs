//! `relink node` on command lines: exit status, standard output and standard error are plain node's, after masking what
//! must differ and nothing else. The lines are in fixtures/parity/command_lines.txt, the files that they use in
//! fixtures/parity/cli.

mod support;

use relink::kit::parity::{known, Known};
use relink::standalone::{Beside, BESIDE};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use support::parts;

/// `name|what bash is told`; `$node` is the program.
const LINES: &str = include_str!("../fixtures/parity/command_lines.txt");
/// A line may take this long, in seconds, on a machine that is busy.
const LIMIT: &str = "90";
/// Lines that run at the same time.
const THREADS: usize = 3;
/// How often a line that differs is run again: the machine may have been too busy for its timers.
const ATTEMPTS: usize = 3;

struct Line {
    name: &'static str,
    command: &'static str,
}

/// What a run printed and how it ended.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    status: String,
    stdout: String,
    stderr: String,
}

fn lines() -> Vec<Line> {
    let line = |text: &'static str| {
        let (name, command) = text.split_once('|').unwrap_or_else(|| panic!("no name: {text}"));
        Line { name, command }
    };
    LINES.lines().filter(|l| !l.is_empty()).map(line).collect()
}

#[test]
fn command_lines_do_what_they_do_in_plain_node() {
    let (lines, home) = (lines(), tempfile::tempdir().expect("a folder"));
    assert!(lines.len() >= 100, "the list has shrunk to {}", lines.len());
    let relinked = relinked_node(home.path());
    let known = known().expect("fixtures/parity/known.json");
    let next = AtomicUsize::new(0);
    let differ: Vec<String> = thread::scope(|scope| {
        let work = || from_list(&lines, &next, &relinked, &known);
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("joined")).collect()
    });
    assert!(differ.is_empty(), "{} of {} differ:\n{}", differ.len(), lines.len(), differ.join("\n"));
}

/// A program `node` that is relinked without any variable set.
fn relinked_node(folder: &Path) -> PathBuf {
    let beside = Beside { v8: Some(parts().libv8.clone()), guest: Some(parts().guest.clone()) };
    fs::write(folder.join(BESIDE), serde_json::to_string(&beside).expect("JSON")).expect("written");
    let node = folder.join("node");
    fs::copy(&parts().relink_node, &node).expect("copied");
    node
}

/// Takes lines from the list until it is done; the differences are returned.
fn from_list(
    lines: &[Line],
    next: &AtomicUsize,
    relinked: &Path,
    known: &BTreeMap<String, Known>,
) -> Vec<String> {
    let taken = std::iter::from_fn(|| lines.get(next.fetch_add(1, Ordering::Relaxed)));
    let unexplained = taken.filter(|line| !known.contains_key(&format!("command_lines/{}", line.name)));
    unexplained.filter_map(|line| difference(line, relinked)).collect()
}

fn difference(line: &Line, relinked: &Path) -> Option<String> {
    let mut text = None;
    for _ in 0..ATTEMPTS {
        let [plain, relinked] = [&parts().node, relinked].map(|node| run(line, node));
        if plain == relinked {
            return None;
        }
        text = Some(format!("\n{}: {}\nplain {plain:#?}\nrelinked {relinked:#?}", line.name, line.command));
    }
    text
}

/// Runs a line in a fresh folder, in an environment with nothing but what is set here.
fn run(line: &Line, node: &Path) -> Ended {
    let folder = tempfile::tempdir().expect("a folder");
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/parity/cli/.");
    let copied = Command::new("cp").arg("-r").args([&files, folder.path()]).status().expect("cp runs");
    assert!(copied.success(), "{} is not copied", files.display());
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", LIMIT, "bash", "-c", &format!("ulimit -c 0\n{}", line.command)]);
    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", folder.path())
        .env("node", node);
    let output = command.current_dir(folder.path()).stdin(Stdio::null()).output().expect("timeout runs");
    let masked = |bytes: &[u8]| mask(&String::from_utf8_lossy(bytes), node, folder.path());
    Ended {
        status: output.status.to_string(),
        stdout: masked(&output.stdout),
        stderr: masked(&output.stderr),
    }
}

/// Masks what must differ.
fn mask(text: &str, node: &Path, folder: &Path) -> String {
    // The program's own path (usage messages, process.title) and the folder of this run.
    let text =
        text.replace(&*node.to_string_lossy(), "<node>").replace(&*folder.to_string_lossy(), "<folder>");
    // The process's number in warnings.
    let text = between(&text, "(node:", ")", "<pid>", |c| c.is_ascii_digit());
    // The inspector's port and the number of its session.
    let text = between(&text, "ws://127.0.0.1:", "\n", "<port>/<session>", |c| c != ' ');
    // Lines of Node's own scripts in stack traces: the guest is Debian's Node, whose security patches move them.
    text.split('\n').map(own_position).collect::<Vec<_>>().join("\n")
}

/// `at f (node:internal/x:12:5)` without the numbers; every other line as it is.
fn own_position(line: &str) -> String {
    let Some((before, position)) = line.split_once("node:internal/") else { return line.to_owned() };
    if !before.trim_start().starts_with("at ") && !before.is_empty() {
        return line.to_owned();
    }
    let numbers = |c: char| c.is_ascii_digit() || c == ':';
    let end = if position.ends_with(')') { ")" } else { "" };
    let name = position.trim_end_matches(')').trim_end_matches(numbers);
    format!("{before}node:internal/{name}:<line>{end}")
}

/// Puts `mask` in place of what stands between `start` and the next `end`, if it is made of nothing but `kind`.
fn between(text: &str, start: &str, end: &str, mask: &str, kind: fn(char) -> bool) -> String {
    let mut pieces = text.split(start);
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (inside, rest) = piece.split_at(piece.find(end).unwrap_or(0));
        let masked = if !inside.is_empty() && inside.chars().all(kind) { mask } else { inside };
        out.push_str(&format!("{start}{masked}{rest}"));
    }
    out
}

#[test]
fn masks_take_nothing_but_what_they_name() {
    let text = "(node:12) Warning: /a/node in /tmp/x\nlistening on ws://127.0.0.1:5/ab-c\nnext (node:7) end\n\
        \x20   at f (node:internal/a/b:12:34)\n    at node:internal/c:5:6\nnode:internal/d:78\nsee node:internal/e:9\n\
        \x20   at g (/b/c.js:1:2)";
    let masked = mask(text, Path::new("/a/node"), Path::new("/tmp/x"));
    let expected = "(node:<pid>) Warning: <node> in <folder>\nlistening on ws://127.0.0.1:<port>/<session>\n\
        next (node:<pid>) end\n    at f (node:internal/a/b:<line>)\n    at node:internal/c:<line>\n\
        node:internal/d:<line>\nsee node:internal/e:9\n    at g (/b/c.js:1:2)";
    assert_eq!(masked, expected);
}

#[test]
fn names_of_lines_are_their_own() {
    let mut names: Vec<&str> = lines().iter().map(|l| l.name).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}
