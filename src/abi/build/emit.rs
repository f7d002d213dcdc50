//! The text of the tables, as Rust expressions of the types in tables.rs.

use crate::data::{Adapters, Change, Data, Holds, Line, Minor, Node, StandIn, V8};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The functions of two vtables, by slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vtables {
    /// Of `v8::Platform`.
    pub platform: Vec<String>,
    /// Of `v8::TaskRunner`.
    pub task_runner: Vec<String>,
}

/// Vtables by V8 version.
pub type Slots = BTreeMap<[u32; 4], Vtables>;

/// All tables.
pub fn tables(data: &Data, slots: &Slots, sources: &[PathBuf]) -> Result<String, String> {
    let units: Vec<_> = data.units().collect();
    let guests: BTreeSet<Minor> = data.lines.iter().map(Line::minor).collect();
    let is_host = |v8: &&V8| !guests.contains(&v8.minor) && units.iter().any(|(_, host)| *host == v8.minor);
    let lines = data.lines.iter().map(|line| {
        let v8 = data.v8(line.minor()).ok_or("a line without V8")?;
        self::line(v8, Some((line, data)), slots)
    });
    let hosts = data.v8s.iter().filter(is_host).map(|v8| self::line(v8, None, slots));
    let mut text = String::new();
    table(&mut text, "All lines, oldest first.", "LINES", "Line", lines)?;
    let what = "Lines without a guest and a bridge of their own: a neutral guest comes to them with the bridge of its line.";
    table(&mut text, what, "HOSTS", "Line", hosts)?;
    let one = |(guest, host): &(Minor, Minor)| {
        let cxx = data.v8(*host).and_then(|v8| v8.embedder.as_ref()).map_or("libstdc++", |e| &e.cxx);
        Ok(format!("Unit::of({guest:?}, {host:?}, CxxLibrary({cxx:?}))"))
    };
    table(&mut text, "All units, by guest and host.", "UNITS", "Unit", units.iter().map(one))?;
    let changes = |of: fn(&V8) -> &Vec<Change>, last: bool| {
        let of_v8 = move |v8| {
            of(v8).iter().filter(move |c: &&Change| c.until().is_some() == last).map(|c| layer(v8, c))
        };
        data.v8s.iter().flat_map(of_v8).collect::<Vec<_>>()
    };
    table(&mut text, "What V8s changed, oldest first.", "LAYERS", "Layer", changes(|v8| &v8.changes, false))?;
    let what = "What V8s changed for some guests alone; said last of what is lost.";
    table(&mut text, what, "LAYERS_OF_SOME", "Layer", changes(|v8| &v8.changes, true))?;
    table(&mut text, "What V8s before these lack.", "EARLIER", "Layer", changes(|v8| &v8.lacks, false))?;
    for (what, name, list) in [
        ("Adapters of every unit for a V8 later than the guest's.", "LATER", &data.common.later),
        (
            "Adapters of every unit, for parts that an embedder may leave out of V8.",
            "ABSENT",
            &data.common.absent,
        ),
        ("Adapters of every unit for a V8 that was compiled with libc++.", "LIBCXX", &data.common.libcxx),
    ] {
        table(&mut text, what, name, "Adapter", list.iter().flat_map(adapters).map(Ok))?;
    }
    bridged(&mut text, data, &units);
    let profile = |line: &Line| {
        let p = &line.profile;
        Ok(format!(
            "Profile {{ name: {:?}, first: {}, last: {}, evidence: {:?}, node_flags: &{:?} }}",
            p.name,
            version(&p.first)?,
            version(&p.last)?,
            p.evidence,
            p.node_flags
        ))
    };
    let what = "All profiles. Versions between two profiles are unknown, never guessed.";
    table(&mut text, what, "PROFILES", "Profile", data.lines.iter().map(profile))?;
    table(&mut text, "Lists of names, by V8.", "NEEDS", "(Minor, &str)", data.lines.iter().map(needs))?;
    let proven = data.v8s.iter().flat_map(|v8| &v8.proven).map(|p| {
        Ok(format!("Proven {{ build_id: {:?}, v8: {}, what: {:?} }}", p.build_id, version(&p.v8)?, p.what))
    });
    let what = "All of them. On each, all checks of the probe agreed with the facts of its version, and the feature script of Node was\n\
                /// complete; tests/abi_probe.rs does the first again for those that every test run has.";
    table(&mut text, what, "PROVEN", "Proven", proven)?;
    let node = |v8: &V8| {
        let node = v8.node.as_ref()?;
        Some(Ok(format!(
            "OfficialNode {{ v8: {:?}, version: {:?}, matrix: &{:?} }}",
            v8.minor, node.version, node.matrix
        )))
    };
    table(&mut text, "All of them, by V8.", "NODES", "OfficialNode", data.v8s.iter().filter_map(node))?;
    table(&mut text, "All of them, by V8.", "PINS", "Pin", data.v8s.iter().filter_map(pin).map(Ok))?;
    let freezes = data.v8s.iter().find(|v8| v8.freezes_flags).map(|v8| v8.minor);
    let _ = writeln!(text, "/// The first V8 of those known that freezes its flags.\npub(crate) static FREEZES_FLAGS: Option<Minor> = {freezes:?};");
    let headers = data.lines.iter().flat_map(|line| {
        ["task_runner.h", "platform.h", "line_hooks.h"].map(|file| {
            let name = line.name();
            Ok(format!(
                "({name:?}, {file:?}, include_str!(concat!(env!(\"OUT_DIR\"), \"/lines/{name}/{file}\")))"
            ))
        })
    });
    let what = "Headers of the bridges, made of the catalogue: line, name and text.";
    table(&mut text, what, "BRIDGE_HEADERS", "(&str, &str, &str)", headers)?;
    let features = data.v8s.iter().flat_map(|v8| {
        let number = v8.minor.0 * 100 + v8.minor.1;
        let define =
            move |(name, what)| format!("#define RELINK_{name} (RELINK_HOST >= {number})  // {what}");
        v8.features.iter().map(define).map(|text| Ok(format!("({:?}, {text:?})", v8.minor)))
    });
    let what = "What the units' sources ask for by name, with the V8 from which on it is so: lines of C++. A learned V8 is asked by its own\n\
                /// headers' number, so these are no options of the compiler.";
    table(&mut text, what, "FEATURES", "(Minor, &str)", features)?;
    let files = sources.iter().map(|path| source(data, path));
    table(
        &mut text,
        "Sources of the units, by name; besides, host_features.h.",
        "FILES",
        "(&str, &str)",
        files,
    )?;
    Ok(text)
}

/// Adds a static array.
fn table(
    text: &mut String,
    what: &str,
    name: &str,
    of: &str,
    entries: impl IntoIterator<Item = Result<String, String>>,
) -> Result<(), String> {
    let entries = entries.into_iter().collect::<Result<Vec<_>, _>>()?;
    let _ = writeln!(text, "/// {what}\npub static {name}: [{of}; {}] = [", entries.len());
    for entry in entries {
        let _ = writeln!(text, "    {entry},");
    }
    text.push_str("];\n");
    Ok(())
}

fn version(text: &str) -> Result<String, String> {
    let [a, b, c, d] = crate::data::full(text).ok_or_else(|| format!("not a version: {text}"))?;
    Ok(format!("V8Version::new({a}, {b}, {c}, {d})"))
}

fn line(v8: &V8, guest: Option<(&Line, &Data)>, slots: &Slots) -> Result<String, String> {
    let unknown = || {
        format!(
            "v8/{}.toml: node.v8, embedder.v8: no file of catalogue/profiles has V8 {} (relink catalogue generate makes one)",
            v8.stem(),
            v8.full()
        )
    };
    let full = crate::data::full(v8.full()).unwrap_or_default();
    let slots = slots.get(&full).map(|v| v.platform.len()).filter(|slots| *slots > 0).ok_or_else(unknown)?;
    let major = |node: &Node| node.version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    let node = v8.node.as_ref().map_or(Some(0), major);
    let node = node.ok_or_else(|| format!("v8/{}.toml: node.version: it is no version", v8.stem()))?;
    let list = |lists: &[&Vec<Adapters>]| {
        let all: Vec<_> = lists.iter().flat_map(|list| list.iter()).flat_map(adapters).collect();
        format!("&[{}]", all.join(", "))
    };
    let [own, shared, spared] = match guest {
        Some((line, data)) => {
            [list(&[&data.common.bridge, &line.bridge]), list(&[&line.shared]), list(&[&line.spared])]
        }
        None => ["&[]", "&[]", "&[]"].map(String::from),
    };
    Ok(format!(
        "Line {{ name: \"{}.{}\", v8: {:?}, node: {node}, platform_slots: {slots}, adapters: {own}, shared: {shared}, spared: {spared} }}",
        v8.minor.0, v8.minor.1, v8.minor
    ))
}

fn adapter(pair: &StandIn, when: &str, what: &str, lost: Option<&String>) -> String {
    let (symbol, stands_in) = pair;
    format!(
        "Adapter {{ symbol: {symbol:?}, stands_in: {stands_in:?}, when: When::{when}, reason: {what:?}, lost: {lost:?} }}"
    )
}

fn adapters(group: &Adapters) -> Vec<String> {
    let of = |pairs: &[StandIn], when: &str| -> Vec<String> {
        pairs.iter().map(|pair| adapter(pair, when, &group.what, group.lost.as_ref())).collect()
    };
    [of(&group.missing, "Missing"), of(&group.always, "Always"), of(&group.everywhere, "Everywhere")].concat()
}

fn layer(v8: &V8, change: &Change) -> Result<String, String> {
    let of = |pairs: &[StandIn], when: &str| -> Vec<String> {
        pairs.iter().map(|pair| adapter(pair, when, &change.what, None)).collect()
    };
    let all = [of(&change.missing, "Missing"), of(&change.always, "Always")].concat().join(", ");
    Ok(format!(
        "Layer {{ from: {:?}, until: {:?}, since: {:?}, not_before: {}, adapters: &[{all}], lost: {:?} }}",
        change.from(),
        change.until(),
        v8.minor,
        change.not_before,
        change.lost
    ))
}

/// One rule per fact. The first that fits and holds counts, so what V8s changed stands before what a Node does not use, longer names before
/// shorter ones, and later V8s before earlier ones.
fn bridged(text: &mut String, data: &Data, units: &[(Minor, Minor)]) {
    let mut rules: Vec<((bool, usize, Minor), String)> = Vec::new();
    let mut add = |guests: &[Minor], from: &V8, fact: &str, by: &str, lost: Option<&String>, holds: &str| {
        let hosts = units.iter().filter(|(guest, host)| {
            guests.contains(guest)
                && if from.is_before_guests() {
                    *host == from.minor
                } else {
                    *host >= from.minor && host > guest
                }
        });
        let hosts: Vec<_> = hosts.map(|(_, host)| host).collect::<BTreeSet<_>>().into_iter().collect();
        if !hosts.is_empty() {
            let rule = format!(
                "Bridged {{ guests: &{guests:?}, hosts: &{hosts:?}, fact: {fact:?}, by: {by:?}, lost: {lost:?}, holds: Holds::{holds} }}"
            );
            rules.push(((holds != "Always", fact.len(), from.minor), rule));
        }
    };
    for v8 in &data.v8s {
        for rule in &v8.bridged {
            let guests: Vec<_> =
                data.lines.iter().filter(|line| rule.guests.contains(&line.node)).map(Line::minor).collect();
            let holds = if rule.holds == Holds::Compiled { "Compiled" } else { "There" };
            for fact in &rule.facts {
                add(&guests, v8, fact, &rule.by, rule.lost.as_ref(), holds);
            }
        }
    }
    for line in &data.lines {
        let Some(v8) = data.v8(line.minor()) else { continue };
        for unused in &line.unused {
            for fact in &unused.facts {
                add(&[line.minor()], v8, fact, &unused.why, None, "Always");
            }
        }
    }
    rules.sort_by_key(|rule| std::cmp::Reverse(rule.0));
    let _ = writeln!(text, "/// All of them, for neutral guests.\npub static BRIDGED: &[Bridged] = &[");
    for (_, rule) in rules {
        let _ = writeln!(text, "    {rule},");
    }
    text.push_str("];\n");
}

fn needs(line: &Line) -> Result<String, String> {
    let (a, b) = line.minor();
    let file = format!("catalogue/needs/v8_{a}_{b}.txt");
    if !Path::new(&file).is_file() {
        return Err(format!(
            "lines/{}.toml: v8: {file} is not there (relink catalogue needs writes it)",
            line.node
        ));
    }
    Ok(format!("({:?}, include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/{file}\")))", line.minor()))
}

fn pin(v8: &V8) -> Option<String> {
    let headers = v8.headers.as_ref()?;
    let place = match (&v8.node, &headers.inspector, &headers.of_crate) {
        (Some(node), Some(inspector), _) => {
            let (kind, place) = match (&inspector.pool, &inspector.of_crate) {
                (Some(pool), _) => ("Pool", pool),
                (_, Some(version)) => ("Crate", version),
                _ => return None,
            };
            let (node, sha256) = (&node.version, &inspector.sha256);
            format!("Place::Node {{ node: {node:?}, inspector: Inspector::{kind}({place:?}, {sha256:?}) }}")
        }
        (None, _, Some(version)) => format!("Place::Crate({version:?})"),
        _ => return None,
    };
    Some(format!("Pin {{ v8: {:?}, headers: {:?}, place: {place} }}", v8.minor, headers.sha256))
}

fn source(data: &Data, path: &Path) -> Result<String, String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_prefix("since_").and_then(|rest| rest.split('.').next());
    if stem.is_some_and(|stem| data.v8s.iter().all(|v8| v8.stem() != stem)) {
        return Err(format!("shim/adapters/{name}: there is no file v8/{}.toml", stem.unwrap_or_default()));
    }
    Ok(format!(
        "({name:?}, include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/../../shim/adapters/{name}\")))"
    ))
}
