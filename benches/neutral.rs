//! What it costs that a neutral guest reads V8's numbers from a table: Node's bindings in the neutral Node 18 and in the ordinary one,
//! on the same V8 10.2 in one process. Two guests cannot be there at once, so they take turns: the one is brought in, measured and
//! taken out, then the other, again and again. The ordinary guest measured against itself shows what the machine does.
//!
//! The condition, looked at in the time of the thread alone: the geometric mean over the bindings is at most 1.02.

#[path = "../tests/support/c_hosts.rs"]
mod c_hosts;
#[path = "../tests/support/mod.rs"]
mod support;

use relink::kit::guest::{self, BuildOptions};
use relink::kit::progress;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, ExitCode, Stdio};
use support::parts;

/// How often each guest has its turn; an even number, so that each is as often the first of two as the other.
const TURNS: usize = 24;
/// The most that the geometric mean may be.
const MOST: f64 = 1.02;
/// Fewer bindings would say little.
const LEAST_BINDINGS: usize = 15;

/// Nanoseconds of a call, by binding.
#[derive(Clone, Copy, serde::Deserialize)]
struct Spent {
    /// Of the thread's own.
    own: f64,
    /// By the clock.
    wall: f64,
}

type Turn = BTreeMap<String, Spent>;

struct Host {
    child: Child,
    ask: ChildStdin,
    told: Lines<BufReader<ChildStdout>>,
}

impl Host {
    fn start(program: &Path) -> Self {
        let mut command = c_hosts::command(program);
        command.arg(c_hosts::root().join("fixtures/scripts/bindings.js"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the host runs");
        let told = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Self { ask: child.stdin.take().expect("a pipe"), told, child }
    }

    fn turn(&mut self, guest: &Path) -> Turn {
        writeln!(self.ask, "{}", guest.display()).expect("the host reads");
        let line = self.told.next().expect("an answer").expect("text");
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"))
    }

    fn end(mut self) {
        drop(self.ask);
        assert!(self.child.wait().expect("it ends").success());
    }
}

fn exact() -> PathBuf {
    let built = guest::build(&BuildOptions::default().exact(), progress::terminal().as_ref());
    built.unwrap_or_else(|e| panic!("{} {e}", e.code())).library
}

/// The values of a binding in all turns, sorted.
fn values(turns: &[Turn], binding: &str, of: fn(&Spent) -> f64) -> Vec<f64> {
    let mut values: Vec<f64> = turns.iter().map(|turn| of(&turn[binding])).collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The value below which this part of a sorted list lies.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * part).round() as usize]
}

fn median(turns: &[Turn], binding: &str, of: fn(&Spent) -> f64) -> f64 {
    quantile(&values(turns, binding, of), 0.5)
}

/// The geometric mean of the ratios of medians, over all bindings.
fn mean(upper: &[Turn], lower: &[Turn], of: fn(&Spent) -> f64) -> f64 {
    let logs: Vec<f64> =
        upper[0].keys().map(|name| (median(upper, name, of) / median(lower, name, of)).ln()).collect();
    (logs.iter().sum::<f64>() / logs.len() as f64).exp()
}

fn own(spent: &Spent) -> f64 {
    spent.own
}

fn wall(spent: &Spent) -> f64 {
    spent.wall
}

/// One line for each binding: medians, their ratio, and the quartiles of the ratios of turns that came one after the other.
fn table(ordinary: &[Turn], neutral: &[Turn]) {
    println!(
        "{:24} {:>12} {:>12} {:>7} {:>15} {:>9}",
        "ns a call", "ordinary", "neutral", "ratio", "quartiles", "by clock"
    );
    for name in ordinary[0].keys() {
        let [before, after] = [ordinary, neutral].map(|turns| median(turns, name, own));
        let by_clock = median(neutral, name, wall) / median(ordinary, name, wall);
        let mut pairs: Vec<f64> =
            ordinary.iter().zip(neutral).map(|(a, b)| b[name].own / a[name].own).collect();
        pairs.sort_by(f64::total_cmp);
        let quartiles = format!("{:.3} to {:.3}", quantile(&pairs, 0.25), quantile(&pairs, 0.75));
        println!(
            "{name:24} {before:12.1} {after:12.1} {:7.3} {quartiles:>15} {by_clock:9.3}",
            after / before
        );
    }
}

/// Every second turn, from the first or the second on.
fn half(turns: &[Turn], from: usize) -> Vec<Turn> {
    turns.iter().skip(from).step_by(2).cloned().collect()
}

fn main() -> ExitCode {
    let folder = tempfile::tempdir().expect("a folder");
    let mut host = Host::start(&c_hosts::host("versus", folder.path()));
    let (ordinary_guest, neutral_guest) = (&exact(), &parts().guest);
    let (mut ordinary, mut neutral) = (Vec::new(), Vec::new());
    // What comes first into a process is not measured.
    host.turn(ordinary_guest);
    for turn in 0..TURNS {
        if turn % 2 == 0 {
            ordinary.push(host.turn(ordinary_guest));
            neutral.push(host.turn(neutral_guest));
        } else {
            neutral.push(host.turn(neutral_guest));
            ordinary.push(host.turn(ordinary_guest));
        }
        eprint!("\rturn {} of {TURNS}", turn + 1);
    }
    eprintln!();
    host.end();
    table(&ordinary, &neutral);
    let bindings = ordinary[0].len();
    let result = mean(&neutral, &ordinary, own);
    println!("\ngeometric mean over {bindings} bindings, {TURNS} turns each: {result:.4} of the thread's own time, {:.4} by the clock", mean(&neutral, &ordinary, wall));
    let noise = [own, wall].map(|of| mean(&half(&ordinary, 1), &half(&ordinary, 0), of));
    println!(
        "the ordinary guest's every second turn against the others: {:.4}, {:.4} by the clock",
        noise[0], noise[1]
    );
    assert!(bindings >= LEAST_BINDINGS, "{bindings} bindings");
    if result <= MOST {
        ExitCode::SUCCESS
    } else {
        println!("more than {MOST}");
        ExitCode::FAILURE
    }
}
