//! Layer: the whole way, in two worlds. The scripts of `fixtures/scripts/worlds` run in the official node and, relinked,
//! inside both hosts: what they print on either stream, and how they end, is the same.

#[path = "support/process.rs"]
mod process;
mod support;

use process::{Ended, Program};
use relink::config;
use std::path::{Path, PathBuf};
use support::parts;

/// What every script gets on standard input.
const INPUT: &str = "line one\nline two\n\nlast line without an end";

/// Scripts that differ in a world, and why. They are run all the same and must differ: one that does no more comes off
/// the list.
const KNOWN: [(&str, World, &str); 2] = [
    (
        "cluster.js",
        World::GameServer,
        "its workers are made of process.execPath, which is the host and no node",
    ),
    ("fork.js", World::GameServer, "the child is made of process.execPath, which is the host and no node"),
];

/// Where a script runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum World {
    Plain,
    GameServer,
    OfficialNode,
}

/// What can be seen of a script's run.
#[derive(PartialEq, Eq, Debug)]
struct Seen {
    stdout: String,
    stderr: String,
    code: i32,
}

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scripts/worlds");
    let entries =
        std::fs::read_dir(folder).expect("the folder of scripts").map(|e| e.expect("an entry").path());
    let is_script = |p: &PathBuf| p.extension().is_some_and(|e| e == "js" || e == "mjs");
    let mut scripts: Vec<_> = entries.filter(is_script).collect();
    scripts.sort();
    scripts
}

/// A host that prints nothing: the game server's first frame, which would be the first thing it prints, never ends.
fn silent_gameserver() -> Program {
    let program = Program::gameserver(&["--frames", "1"]);
    let source =
        "function tick() { Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0); return 0; }";
    let script = program.file("silent.js", source);
    program.args(&["--script", &script.display().to_string()])
}

/// Runs the script. The guest's end is in the report; its host is killed then.
fn run(world: World, script: &Path) -> Seen {
    let host = match world {
        World::Plain => {
            let ended = Program::new(&parts().node).args(&[&script.display().to_string()]).input(INPUT).run();
            let code = ended.code();
            return seen(ended, code);
        }
        World::GameServer => silent_gameserver(),
        World::OfficialNode => Program::node("setInterval(() => {}, 100)"),
    };
    // Node tells of its own warnings in terms of the name it was started by.
    let ended = host.relinked(script).env(config::ARGS, "[]").input(INPUT).start().kill_after_guest();
    let code = ended.outcome().1;
    seen(ended, code)
}

fn seen(ended: Ended, code: i32) -> Seen {
    Seen { stdout: without_numbers(&ended.stdout), stderr: without_numbers(&ended.stderr), code }
}

/// Process numbers in Node's warnings, `(node:123)`, are those of the process.
fn without_numbers(text: &str) -> String {
    let mut parts = text.split("(node:");
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        whole.push_str("(node:");
        whole.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    whole
}

/// The places where the two differ, a few lines of each.
fn difference(plain: &Seen, other: &Seen) -> String {
    let lines = |what: &str, a: &str, b: &str| {
        let (a, b): (Vec<_>, Vec<_>) = (a.lines().collect(), b.lines().collect());
        let first = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
        let from = |l: &[&str]| {
            l[first.min(l.len())..].iter().take(4).map(|l| format!("    {l}\n")).collect::<String>()
        };
        if a == b {
            String::new()
        } else {
            format!("  {what} from line {}:\n{}   instead of\n{}", first + 1, from(&b), from(&a))
        }
    };
    let code = if plain.code == other.code {
        String::new()
    } else {
        format!("  exit code {} instead of {}\n", other.code, plain.code)
    };
    lines("stdout", &plain.stdout, &other.stdout) + &lines("stderr", &plain.stderr, &other.stderr) + &code
}

/// Runs every script in `world` and plain.
fn compare(world: World) {
    let mut wrong = String::new();
    let all = scripts();
    assert!(all.len() >= 25, "{all:?}");
    for script in &all {
        let name = script.file_name().and_then(|n| n.to_str()).expect("a name");
        let (plain, relinked) = (run(World::Plain, script), run(world, script));
        assert!(plain.stdout.len() + plain.stderr.len() > 5, "{name} prints nothing");
        match KNOWN.iter().find(|(known, in_world, _)| *known == name && *in_world == world) {
            Some((_, _, why)) if plain == relinked => {
                wrong.push_str(&format!("{name} differs no more ({why})\n"))
            }
            None if plain != relinked => {
                wrong.push_str(&format!("{name}:\n{}", difference(&plain, &relinked)))
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{world:?}:\n{wrong}");
}

#[test]
fn scripts_in_the_game_server_do_what_they_do_in_node() {
    compare(World::GameServer);
}

#[test]
fn scripts_in_the_official_node_do_what_they_do_in_node() {
    compare(World::OfficialNode);
}

#[test]
fn each_script_prints_the_same_twice() {
    for script in scripts() {
        assert_eq!(run(World::Plain, &script), run(World::Plain, &script), "{}", script.display());
    }
}
