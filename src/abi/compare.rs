//! How the facts of two V8s differ, and which of the differences a guest would feel.

use super::catalogue::{Facts, Record};
use serde::Serialize;
use std::collections::BTreeMap;

/// One fact that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The fact: its kind and C++ name.
    pub fact: String,
    /// What the first side (the guest's headers) has; nothing if it does not know the fact.
    pub guest: Option<String>,
    /// What the second side (the host's headers) has.
    pub host: Option<String>,
    /// Why a guest does not feel it; nothing if it does.
    pub harmless: Option<&'static str>,
}

impl Change {
    /// One line: the fact with both values.
    pub fn text(&self) -> String {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "absent".into());
        format!("{}: {} -> {}", self.fact, value(&self.guest), value(&self.host))
    }
}

/// Facts that no guest feels, by how their names begin, with the reason.
const HARMLESS: [(&str, &str); 4] = [
    (
        "enum v8::internal::ExternalPointerTag",
        "read with the sandbox only, and the sandbox is compared by itself",
    ),
    ("enum v8::V8::BuildConfigurationFeatures", "only passed to V8::Initialize, which a guest never reaches"),
    (
        "enum v8::Isolate::UseCounterFeature::kUseCounterFeatureCount",
        "the number of the others, which V8 alone counts",
    ),
    ("enum v8::EmbedderHeapTracer", "removed from V8 with its class, which Node does not use"),
];

/// The part that npm's packages lack.
const INSPECTOR: &str = "inspector";

const UNREAD: &str = "no code in the guest's headers reads it";
const NEW: &str = "the guest's headers do not know it";
const GONE: &str = "the host does not know it: a guest that uses it lacks a symbol";

/// Facts that later headers name otherwise: each is the value of the first constant there is.
const DERIVED: [(&str, [&str; 2]); 1] = [(
    "offset of internal fields",
    [
        "v8::internal::Internals::kJSAPIObjectWithEmbedderSlotsHeaderSize",
        "v8::internal::Internals::kJSObjectHeaderSize",
    ],
)];

/// All differences between the facts of `guest` and `host`.
pub fn changes(guest: &Facts, host: &Facts) -> Vec<Change> {
    let mut found = Vec::new();
    constants(guest, host, &mut found);
    derived(guest, host, &mut found);
    each(&guest.records, &host.records, |name, g, h| {
        record(name, g, h, &mut found);
    });
    each(&guest.vtables, &host.vtables, |name, g, h| {
        let (in_guest, in_host) = vtables(g, h);
        push(&mut found, format!("vtable {name}"), in_guest, in_host);
    });
    each(&guest.enums, &host.enums, |name, g, h| {
        let empty = BTreeMap::new();
        each(g.unwrap_or(&empty), h.unwrap_or(&empty), |enumerator, g, h| {
            push(&mut found, format!("enum {name}::{enumerator}"), g.map(text), h.map(text));
        });
    });
    found
}

/// The differences that a guest feels.
pub fn breaking(guest: &Facts, host: &Facts) -> Vec<Change> {
    changes(guest, host).into_iter().filter(|change| change.harmless.is_none()).collect()
}

/// Interfaces whose header not every package has, as far as they are not described on both sides. Between two different V8s
/// such an interface is unknown, not equal.
pub fn unknown_parts(guest: &Facts, host: &Facts) -> Vec<Change> {
    let told = |facts: &Facts| if facts.parts.contains(INSPECTOR) { "known" } else { "unknown" };
    if guest.parts.contains(INSPECTOR) && host.parts.contains(INSPECTOR) {
        return Vec::new();
    }
    vec![Change {
        fact: format!("interfaces of v8-{INSPECTOR}.h"),
        guest: Some(told(guest).into()),
        host: Some(told(host).into()),
        harmless: None,
    }]
}

fn constants(guest: &Facts, host: &Facts, found: &mut Vec<Change>) {
    each(&guest.constants, &host.constants, |name, g, h| {
        if g == h {
            return;
        }
        let plain = name.rsplit("::").next().unwrap_or(name);
        let harmless = match g {
            None => Some(NEW),
            Some(_) if !guest.read.contains(plain) => Some(UNREAD),
            Some(_) if h.is_none() && !knows_scope(host, name) => Some(GONE),
            Some(_) => harmless_name(name),
        };
        found.push(Change {
            fact: format!("constant {name}"),
            guest: g.map(text),
            host: h.map(text),
            harmless,
        });
    });
}

/// Whether the class or inner namespace of a constant is known: without it (an optional header was not there, a class was
/// removed) nothing can be said of its constants.
fn knows_scope(facts: &Facts, name: &str) -> bool {
    let Some((scope, _)) = name.rsplit_once("::").filter(|(scope, _)| *scope != "v8") else { return false };
    let inside = |other: &String| other.strip_prefix(scope).is_some_and(|rest| rest.starts_with("::"));
    facts.records.contains_key(scope) || facts.constants.keys().any(inside)
}

fn derived(guest: &Facts, host: &Facts, found: &mut Vec<Change>) {
    for (fact, names) in DERIVED {
        let value = |facts: &Facts| names.iter().find_map(|name| facts.constants.get(*name)).map(text);
        push(found, fact.to_owned(), value(guest), value(host));
    }
}

fn record(name: &str, guest: Option<&Record>, host: Option<&Record>, found: &mut Vec<Change>) {
    if let (Some(g), Some(h)) = (guest, host) {
        if g.size == h.size && g.places().eq(h.places()) {
            return;
        }
    }
    let (in_guest, in_host) = match (guest, host) {
        (Some(g), Some(h)) if g.size == h.size => (Some(g.fields.join(", ")), Some(h.fields.join(", "))),
        _ => (guest.map(size), host.map(size)),
    };
    push(found, format!("layout {name}"), in_guest, in_host);
}

fn size(record: &Record) -> String {
    format!("{} bytes", record.size)
}

/// The first slot that differs, on both sides.
fn vtables(guest: Option<&Vec<String>>, host: Option<&Vec<String>>) -> (Option<String>, Option<String>) {
    let slots = |list: &[String]| format!("{} slots", list.len());
    let (Some(g), Some(h)) = (guest, host) else {
        return (guest.map(|g| slots(g)), host.map(|h| slots(h)));
    };
    let at = (0..g.len().max(h.len())).find(|at| g.get(*at) != h.get(*at));
    let told = |list: &[String]| match at.map(|at| (at, list.get(at))) {
        Some((at, Some(function))) => format!("{}, slot {at} is {function}", slots(list)),
        _ => slots(list),
    };
    (Some(told(g)), Some(told(h)))
}

fn push(found: &mut Vec<Change>, fact: String, guest: Option<String>, host: Option<String>) {
    if guest == host {
        return;
    }
    let harmless = match (&guest, &host) {
        (None, _) => Some(NEW),
        (_, None) => Some(GONE),
        _ => harmless_name(&fact),
    };
    found.push(Change { fact, guest, host, harmless });
}

fn harmless_name(fact: &str) -> Option<&'static str> {
    HARMLESS.iter().find(|(start, _)| fact.starts_with(start)).map(|(_, reason)| *reason)
}

fn text(value: &i128) -> String {
    value.to_string()
}

/// Calls `with` for every name on either side.
fn each<'a, T>(
    a: &'a BTreeMap<String, T>,
    b: &'a BTreeMap<String, T>,
    mut with: impl FnMut(&str, Option<&'a T>, Option<&'a T>),
) {
    let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    for name in names {
        with(name, a.get(name), b.get(name));
    }
}
