//! The catalogue against tables that were measured by other means than our generator (docs/ABI.md, "How it is checked").
//!
//! `cargo test --release --test abi_tables -- --ignored` with `RELINK_ABI_TABLES` naming their folder compares everything; the
//! numbers that matter most stand in `abi_verdicts.rs`, where every run checks them.

use relink::abi::catalogue::{known, Facts, KnownAbi};
use serde_json::Value;
use std::path::PathBuf;

fn table(name: &str) -> String {
    let folder = std::env::var_os("RELINK_ABI_TABLES").expect("RELINK_ABI_TABLES names the tables' folder");
    let path = PathBuf::from(folder).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The profile made from the headers of a Node version, with the column names of the tables.
fn of_node(version: &str) -> Option<&'static KnownAbi> {
    let version = match version {
        "guest" => "18.20.4",
        "guest115" => "20.20.2",
        other => other,
    };
    let source = format!("Node {version}");
    known().iter().find(|abi| abi.sources().iter().any(|s| s.from == source))
}

/// Rows of a tab-separated table: name, then (Node version, value) for each column with a version.
fn rows(text: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut lines = text.lines().map(|l| l.split('\t').map(str::to_owned).collect::<Vec<_>>());
    let head = lines.next().expect("a head");
    let row = |cells: Vec<String>| {
        let columns = head.iter().zip(&cells).skip(1);
        let values = columns.filter(|(name, _)| of_node(name).is_some()).map(|(n, v)| (n.clone(), v.clone()));
        (cells[0].clone(), values.collect())
    };
    lines.map(row).collect()
}

/// A name without template arguments.
fn plain(name: &str) -> String {
    let mut depth = 0;
    name.chars()
        .filter(|c| {
            depth += i32::from(*c == '<');
            let keep = depth == 0;
            depth -= i32::from(*c == '>');
            keep
        })
        .collect()
}

/// What was compared, and every difference.
#[derive(Default)]
struct Tally {
    equal: usize,
    wrong: Vec<String>,
    lacking: Vec<String>,
}

impl Tally {
    fn compare(&mut self, what: String, theirs: impl ToString, ours: Option<impl ToString>) {
        let theirs = theirs.to_string();
        match ours.map(|o| o.to_string()) {
            Some(ours) if ours == theirs => self.equal += 1,
            Some(ours) => self.wrong.push(format!("{what}: {theirs} in the table, {ours} in the catalogue")),
            None => self.lacking.push(what),
        }
    }

    fn end(self, at_least: usize, lacking: usize) {
        println!("{} equal, {} lacking: {:?}", self.equal, self.lacking.len(), self.lacking);
        assert!(self.wrong.is_empty(), "{:#?}", self.wrong);
        assert!(self.equal >= at_least, "{} equal", self.equal);
        assert!(self.lacking.len() <= lacking, "{} lacking: {:#?}", self.lacking.len(), self.lacking);
    }
}

/// One number, however its sign was written.
fn bits(value: i128) -> u64 {
    value as u64
}

#[test]
#[ignore = "needs the measured tables, which are no part of the repository: see docs/ABI.md"]
fn constants_are_those_that_were_measured() {
    let mut tally = Tally::default();
    for (name, values) in rows(&table("constants.tsv")) {
        for (node, value) in values {
            let (Ok(theirs), Some(abi)) = (value.parse::<i128>(), of_node(&node)) else { continue };
            let constants = &abi.facts().constants;
            let ours = constants.iter().find(|(n, _)| plain(n) == name).map(|(_, v)| bits(*v));
            tally.compare(format!("{name} of {node}"), bits(theirs), ours);
        }
    }
    tally.end(2700, 20);
}

#[test]
#[ignore = "needs the measured tables, which are no part of the repository: see docs/ABI.md"]
fn sizes_are_those_that_were_measured() {
    let mut tally = Tally::default();
    for (name, values) in rows(&table("sizes.tsv")) {
        let wanted = format!("v8::{}", name.replace("<Value>", "<v8::Value>"));
        for (node, value) in values {
            let (Ok(theirs), Some(abi)) = (value.parse::<u64>(), of_node(&node)) else { continue };
            let ours = abi.facts().records.get(&wanted).map(|r| r.size);
            tally.compare(format!("{wanted} of {node}"), theirs, ours);
        }
    }
    tally.end(1000, 400);
}

#[test]
#[ignore = "needs the measured tables, which are no part of the repository: see docs/ABI.md"]
fn vtables_are_those_that_were_measured() {
    let json: Value = serde_json::from_str(&table("vtables.json")).expect("JSON");
    let mut tally = Tally::default();
    for (class, versions) in json.as_object().expect("an object") {
        for (node, slots) in versions.as_object().expect("an object") {
            let (Some(abi), Some(slots)) = (of_node(node), slots.as_array()) else { continue };
            let names = |list: Vec<&str>| {
                let name = |f: &str| f.split('(').next().unwrap_or(f).to_owned();
                list.into_iter().map(name).collect::<Vec<_>>().join(" ")
            };
            let theirs = names(slots.iter().filter_map(Value::as_str).collect());
            let ours = abi.facts().vtables.get(class).map(|v| names(v.iter().map(String::as_str).collect()));
            // This table counts functions that override as new ones; the vtable in a library has ten functions (96 bytes).
            if !theirs.is_empty() && class != "v8::platform::tracing::TracingController" {
                tally.compare(format!("{class} of {node}"), theirs, ours);
            }
        }
    }
    tally.end(490, 0);
}

#[test]
#[ignore = "needs the measured tables, which are no part of the repository: see docs/ABI.md"]
fn enumerators_are_those_that_were_measured() {
    let json: Value = serde_json::from_str(&table("enum_diffs.json")).expect("JSON");
    let guest = of_node("guest").expect("the guest").facts();
    let mut tally = Tally::default();
    for (name, versions) in json.as_object().expect("an object") {
        for (node, differences) in versions.as_object().expect("an object") {
            let (Some(abi), Some(values)) = (of_node(node), guest.enums.get(name)) else { continue };
            for (enumerator, value) in values {
                let theirs = match (differences, differences.get(enumerator)) {
                    (Value::String(_), _) => None,
                    (_, Some(pair)) => pair[1].as_i64().map(i128::from),
                    (_, None) => Some(*value),
                };
                let ours = value_of(abi.facts(), name, enumerator);
                let text = |v: Option<i128>| v.map_or("absent".into(), |v| bits(v).to_string());
                tally.compare(format!("{name}::{enumerator} of {node}"), text(theirs), Some(text(ours)));
            }
        }
    }
    tally.end(3000, 0);
}

fn value_of(facts: &Facts, name: &str, enumerator: &str) -> Option<i128> {
    facts.enums.get(name)?.get(enumerator).copied()
}
