//! The data files: one for each V8 (`v8/MAJOR_MINOR.toml`), one for each guest line (`lines/NODE.toml`), and what all lines have
//! (`lines/common.toml`). build/main.rs makes tables of them, and the tests take from them what they expect. docs/ABI.md tells the fields.

#[path = "check.rs"]
mod check;
#[path = "expect.rs"]
pub mod expect;
#[path = "numbers.rs"]
mod numbers;

use expect::Expect;
pub use numbers::{full, minor, Minor};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// A function of V8 (mangled), and ours that stands in for it.
pub type StandIn = (String, String);

/// What is known of one V8.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct V8 {
    /// Major and minor version: the file's name.
    #[serde(skip)]
    pub minor: Minor,
    /// The V8 before it, whose changes it has, too. Without that V8's file there are no units for this one.
    after: Option<String>,
    /// Instead: the V8 of the guests that have a unit for this older one.
    before: Option<String>,
    /// The Node that has it.
    pub node: Option<Node>,
    /// Instead: another embedder, where no Node has it.
    pub embedder: Option<Embedder>,
    /// Where the headers come from that units are compiled against.
    pub headers: Option<Headers>,
    /// The first V8 whose flags freeze.
    #[serde(default)]
    pub freezes_flags: bool,
    /// What the units' sources ask for as `RELINK_NAME`, each with what it means: so from this V8 on.
    #[serde(default)]
    pub features: BTreeMap<String, String>,
    /// What this V8 has otherwise than the one before it.
    #[serde(default)]
    pub changes: Vec<Change>,
    /// What V8s before this one lack.
    #[serde(default)]
    pub lacks: Vec<Change>,
    /// Differences to the V8s of guests that are answered from this V8 on.
    #[serde(default)]
    pub bridged: Vec<Bridged>,
    /// Builds that the live probe has observed.
    #[serde(default)]
    pub proven: Vec<Proven>,
    /// What the tests expect to see.
    pub expect: Expect,
}

/// The official Node that has a V8.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// The version that stands for it as a host in tests, and whose headers units are compiled against.
    pub version: String,
    /// All four numbers of its V8.
    pub v8: String,
    /// Other versions that are hosts in the matrix.
    #[serde(default)]
    pub matrix: Vec<String>,
}

/// A V8 that no Node has, as an embedder of it builds it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embedder {
    /// All four numbers of the V8 that the headers are of.
    pub v8: String,
    /// The C++ library that it is compiled with, as the fingerprint names it.
    pub cxx: String,
}

/// Where headers come from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Headers {
    /// The version of the crate `v8` that has all of them, where no Node has this V8.
    #[serde(rename = "crate")]
    pub of_crate: Option<String>,
    /// SHA-256 over V8's headers in that crate, or in npm's package of the Node.
    pub sha256: String,
    /// Where the inspector's are, which npm's package lacks.
    pub inspector: Option<Inspector>,
}

/// Either of two places.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inspector {
    /// A Node source: its path in Debian's pool.
    pub pool: Option<String>,
    /// The version of the crate `v8`.
    #[serde(rename = "crate")]
    pub of_crate: Option<String>,
    /// Of the source, or of v8-inspector.h in the crate.
    pub sha256: String,
}

/// One thing that changed, and what answers to it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// What changed.
    pub what: String,
    /// The V8 of the oldest guest that it is for.
    guests_from: String,
    /// The V8 of the newest one; without it all that are older than the change.
    guests_until: Option<String>,
    /// Whether a V8 that was learned and is older than this one goes without, though its unit has these layers.
    #[serde(default)]
    pub not_before: bool,
    /// What guests cannot do from there on.
    pub lost: Option<String>,
    /// Stand-ins where the host's V8 lacks the function.
    #[serde(default)]
    pub missing: Vec<StandIn>,
    /// Stand-ins before the host's function.
    #[serde(default)]
    pub always: Vec<StandIn>,
}

impl Change {
    /// [`Change::guests_from`] as numbers.
    pub fn from(&self) -> Minor {
        minor(&self.guests_from).unwrap_or_default()
    }

    /// [`Change::guests_until`] as numbers.
    pub fn until(&self) -> Option<Minor> {
        self.guests_until.as_deref().and_then(minor)
    }
}

/// Differences that code of ours stands between.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bridged {
    /// What stands between.
    pub by: String,
    /// The lines of the guests, by their Node.
    pub guests: Vec<u32>,
    /// How the facts' names begin, as `relink catalogue diff` prints them.
    pub facts: Vec<String>,
    /// Which differences it holds for on a V8 that was learned: "there" (as it is here) or "compiled" (any).
    #[serde(default)]
    pub holds: Holds,
    /// What guests cannot do for it.
    pub lost: Option<String>,
}

/// For a V8 that was learned.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Holds {
    /// The difference that the layers' own V8 has.
    #[default]
    There,
    /// Any difference in the fact.
    Compiled,
}

/// A build that was observed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proven {
    /// Its build id, in hexadecimal.
    pub build_id: String,
    /// All four numbers of its V8.
    pub v8: String,
    /// What it is.
    pub what: String,
}

/// What is known of one guest line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Node's major version: the file's name.
    pub node: u32,
    /// Major and minor version of its V8.
    v8: String,
    /// The V8s that guests of the line are at home on.
    pub profile: Profile,
    /// Adapters of the bridge, besides the common ones.
    #[serde(default)]
    pub bridge: Vec<Adapters>,
    /// Those, besides, for a guest in an isolate of the host's.
    #[serde(default)]
    pub shared: Vec<Adapters>,
    /// Those for guests that can be without symbols as keys of WeakMaps.
    #[serde(default)]
    pub spared: Vec<Adapters>,
    /// Facts that this Node feels on no V8.
    #[serde(default)]
    pub unused: Vec<Unused>,
}

impl Line {
    /// The V8 as numbers.
    pub fn minor(&self) -> Minor {
        minor(&self.v8).unwrap_or_default()
    }

    /// `13.6`: its name.
    pub fn name(&self) -> &str {
        &self.v8
    }
}

/// V8s with one inlined ABI.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// A name for messages.
    pub name: String,
    /// The first version, all four numbers.
    pub first: String,
    /// The last one.
    pub last: String,
    /// How it was established.
    pub evidence: String,
    /// V8 flags that Node sets by itself and that another V8 may not know.
    pub node_flags: Vec<String>,
}

/// Adapters with one reason.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adapters {
    /// What they answer to.
    pub what: String,
    /// What the guest cannot do where one of them is used.
    pub lost: Option<String>,
    /// Used where the host's V8 lacks the function.
    #[serde(default)]
    pub missing: Vec<StandIn>,
    /// Used before the host's function.
    #[serde(default)]
    pub always: Vec<StandIn>,
    /// The same, also for the bridge: it was compiled with the guest's C++ library.
    #[serde(default)]
    pub everywhere: Vec<StandIn>,
}

/// Facts that make no difference.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unused {
    /// Why.
    pub why: String,
    /// How their names begin.
    pub facts: Vec<String>,
}

/// What all lines have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Common {
    /// Adapters of every bridge.
    pub bridge: Vec<Adapters>,
    /// Adapters of every unit for a V8 later than the guest's.
    pub later: Vec<Adapters>,
    /// Adapters of every unit, for parts that an embedder may leave out of V8.
    pub absent: Vec<Adapters>,
    /// Adapters of every unit for a V8 that was compiled with libc++.
    pub libcxx: Vec<Adapters>,
    /// Of `v8::Platform` and `v8::TaskRunner`, by name.
    pub virtual_functions: BTreeMap<String, Virtual>,
}

/// What the catalogue does not tell of a virtual function.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Virtual {
    /// What it returns, in C++.
    pub returns: String,
    /// By what a hook of it tells whether a call is the guest's; none: it is not hooked.
    pub hook: Option<Hook>,
}

/// By what a hook tells whose a call is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Hook {
    /// The isolate in the first argument.
    Isolate,
    /// The calling thread.
    Thread,
}

/// All data files.
#[derive(Debug)]
pub struct Data {
    /// By version.
    pub v8s: Vec<V8>,
    /// By version.
    pub lines: Vec<Line>,
    /// What all lines have.
    pub common: Common,
}

impl V8 {
    /// `14_1`: the name of its file, and of what changed with it.
    pub fn stem(&self) -> String {
        format!("{}_{}", self.minor.0, self.minor.1)
    }

    /// All four numbers of the V8 that stands for it.
    pub fn full(&self) -> &str {
        match (&self.node, &self.embedder) {
            (Some(node), _) => &node.v8,
            (None, Some(embedder)) => &embedder.v8,
            (None, None) => "",
        }
    }

    /// Whether units for it are for guests of a later V8.
    pub fn is_before_guests(&self) -> bool {
        self.before.is_some()
    }
}

impl Data {
    /// Reads and checks all files below a folder.
    ///
    /// # Errors
    /// A file with what is wrong in it, by field.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let mut v8s = Vec::new();
        for (name, text) in texts(&folder.join("v8"))? {
            let mut v8: V8 = parse("v8", &name, &text)?;
            v8.minor = minor(&name.replace('_', "."))
                .ok_or(format!("v8/{name}.toml: the name is not MAJOR_MINOR"))?;
            v8s.push(v8);
        }
        v8s.sort_by_key(|v8| v8.minor);
        let (mut lines, mut common) = (Vec::new(), None);
        for (name, text) in texts(&folder.join("lines"))? {
            if name == "common" {
                common = Some(parse("lines", &name, &text)?);
                continue;
            }
            let line: Line = parse("lines", &name, &text)?;
            let at = |field: &str, why: &str| Err(format!("lines/{name}.toml: {field}: {why}"));
            if line.node.to_string() != name {
                return at("node", "it is not the file's name");
            }
            if minor(&line.v8).is_none() {
                return at("v8", "it is not MAJOR.MINOR");
            }
            for (field, text) in
                [("profile.first", &line.profile.first), ("profile.last", &line.profile.last)]
            {
                if full(text).is_none_or(|v8| (v8[0], v8[1]) != line.minor()) {
                    return at(field, "it is no version of that V8, MAJOR.MINOR.BUILD.PATCH");
                }
            }
            lines.push(line);
        }
        lines.sort_by_key(Line::minor);
        let data = Self { v8s, lines, common: common.ok_or("lines/common.toml is not there")? };
        data.v8s.iter().try_for_each(|v8| data.check(v8))?;
        for line in &data.lines {
            if data.v8(line.minor()).is_none() {
                return Err(format!("lines/{}.toml: v8: there is no file for V8 {}", line.node, line.v8));
            }
        }
        Ok(data)
    }

    /// The file of a V8.
    pub fn v8(&self, minor: Minor) -> Option<&V8> {
        self.v8s.iter().find(|v8| v8.minor == minor)
    }

    /// The V8 of each pair of a guest and a host that has a unit: the guest's and the host's.
    pub fn units(&self) -> impl Iterator<Item = (Minor, Minor)> + '_ {
        let pair = |line: &Line, v8: &V8| {
            let guest = line.minor();
            let is =
                if v8.minor < guest { v8.before.as_ref() == Some(&line.v8) } else { self.reaches(v8, guest) };
            is.then_some((guest, v8.minor))
        };
        self.lines.iter().flat_map(move |line| self.v8s.iter().filter_map(move |v8| pair(line, v8)))
    }

    /// Whether every V8 from an earlier one, without it, up to this one has a file: whether all that changed is known.
    fn reaches(&self, v8: &V8, earlier: Minor) -> bool {
        let Some(after) = v8.after.as_deref().and_then(minor) else { return false };
        after == earlier || after > earlier && self.v8(after).is_some_and(|v8| self.reaches(v8, earlier))
    }

    /// V8s that come after one that has no file: what changed with that one is unknown, so there are no units for them.
    pub fn without_units(&self) -> impl Iterator<Item = &V8> {
        let broken = |v8: &&V8| v8.after.is_some() && !self.units().any(|(_, host)| host == v8.minor);
        self.v8s.iter().filter(broken)
    }
}

fn parse<T: for<'d> Deserialize<'d>>(folder: &str, name: &str, text: &str) -> Result<T, String> {
    // The error has the line, and the field's name.
    toml::from_str(text).map_err(|e| format!("{folder}/{name}.toml: {e}"))
}

/// The TOML files of a folder: names without ending, and texts.
fn texts(folder: &Path) -> Result<Vec<(String, String)>, String> {
    let failed = |e: std::io::Error| format!("{}: {e}", folder.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|e| e == "toml") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            found.push((name, std::fs::read_to_string(&path).map_err(failed)?));
        }
    }
    found.sort();
    Ok(found)
}
