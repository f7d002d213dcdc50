//! What the data files say that the tests see of a V8. The build only checks its form.
#![allow(dead_code, reason = "for the tests")]

use super::{Data, Minor, V8};
use serde::Deserialize;
use std::collections::BTreeSet;

/// What tests expect.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Checks of the live probe that agree on this Node with the numbers of its V8, at least.
    pub agree: Option<usize>,
    /// The same with the neutral Node 18's table, as `relink check --probe` counts them.
    pub agree_by_table: Option<usize>,
    /// Checks that differ if this V8's numbers are taken for those of Node 18's.
    #[serde(default)]
    pub differ: Vec<String>,
    /// Sets of headers that the catalogue has of it, at least.
    pub header_sets: usize,
    /// The numbers that crash when they are wrong (tests/abi_verdicts.rs).
    pub numbers: Option<Vec<u64>>,
    /// The words of a layout table that are no constants (`DERIVED` in layout.rs).
    pub derived: Option<Vec<i32>>,
    /// Fields of a layout table that no check sees from this V8 on.
    #[serde(default)]
    pub unseen: Vec<Unseen>,
    /// Those that are seen again from this V8 on.
    #[serde(default)]
    pub seen_again: Vec<String>,
    /// Numbers that units read of it: wrong ones are seen.
    #[serde(default)]
    pub wrong: Vec<Wrong>,
    /// Facts among those that differ for a guest of Node 18; none: its V8 is the same to it.
    pub felt_by_18: Vec<String>,
    /// The same for Node 20.
    pub felt_by_20: Vec<String>,
}

/// A field that no check sees.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unseen {
    /// Its name.
    pub field: String,
    /// Why.
    pub why: String,
}

/// Numbers of one class.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wrong {
    /// The class.
    pub class: String,
    /// The constants' names.
    pub numbers: Vec<String>,
}

/// The V8s that a Node has, each with the version that stands for it.
pub fn of_nodes(data: &Data) -> impl Iterator<Item = (&V8, &str)> {
    data.v8s.iter().filter_map(|v8| Some((v8, v8.node.as_ref()?.version.as_str())))
}

/// Fields of a layout table that no check of the probe sees on a V8.
pub fn unseen(data: &Data, minor: Minor) -> BTreeSet<&str> {
    let mut unseen = BTreeSet::new();
    for v8 in data.v8s.iter().filter(|v8| v8.minor <= minor) {
        unseen.extend(v8.expect.unseen.iter().map(|u| u.field.as_str()));
        unseen.retain(|field| !v8.expect.seen_again.iter().any(|again| again == field));
    }
    unseen
}
