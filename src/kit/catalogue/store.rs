//! The folder with the catalogue's files: one for each set of facts, with all header sets that were seen to have it.

use crate::error::{io, KitError, Result};
use relink_abi::catalogue::{AbiFile, Facts};
use relink_abi::compare::{changes, Change};
use relink_abi::version::V8Version;
use std::fs;
use std::path::{Path, PathBuf};

/// The catalogue's files.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    files: Vec<(PathBuf, AbiFile)>,
}

/// What became of a set of facts.
#[derive(Debug)]
pub struct Entered {
    /// The file that holds it now.
    pub file: PathBuf,
    /// Whether the file is new.
    pub new: bool,
    /// The nearest V8 known before, and how the facts differ from its.
    pub nearest: Option<(String, Vec<Change>)>,
}

impl Store {
    /// Reads the folder.
    pub fn open(dir: &Path) -> Result<Self> {
        let mut files = Vec::new();
        for entry in fs::read_dir(dir).map_err(io("read", dir))? {
            let path = entry.map_err(io("read", dir))?.path();
            if path.extension().is_some_and(|e| e == "json") {
                let text = fs::read_to_string(&path).map_err(io("read", &path))?;
                let file = serde_json::from_str(&text).map_err(|e| bad(&path, &e.to_string()))?;
                files.push((path, file));
            }
        }
        files.sort_by_key(|(_, file)| first_version(file));
        Ok(Self { dir: dir.into(), files })
    }

    /// All files.
    pub fn files(&self) -> impl Iterator<Item = &AbiFile> {
        self.files.iter().map(|(_, file)| file)
    }

    /// The file whose versions are nearest: in the same line, else the one before, else the first.
    fn nearest(&self, version: Option<V8Version>) -> Option<usize> {
        let before = self.files.iter().rposition(|(_, file)| first_version(file) <= version);
        before.or((!self.files.is_empty()).then_some(0))
    }
}

/// Enters `found`: into the file that has the same facts for the same V8 line, else into a new one.
pub fn enter(store: &mut Store, found: AbiFile) -> Result<Entered> {
    let version = first_version(&found);
    let nearest = store.nearest(version).map(|at| {
        let known = &store.files[at].1;
        (range(known), changes(&known.facts, &found.facts))
    });
    let same = store.files.iter().position(|(_, known)| is_same(known, &found));
    let (at, new) = match same {
        Some(at) => (at, false),
        None => {
            let path = store.dir.join(format!("v8_{}.json", name(&found)));
            store.files.push((path, found.clone()));
            (store.files.len() - 1, true)
        }
    };
    let (path, file) = &mut store.files[at];
    join(file, found);
    let text = serde_json::to_string_pretty(file).map_err(|e| bad(path, &e.to_string()))?;
    crate::cache::write_whole(path, &(text + "\n"))?;
    let file = path.clone();
    store.files.sort_by_key(|(_, file)| first_version(file));
    Ok(Entered { file, new, nearest })
}

/// Whether both describe one ABI of one V8 line: no fact that both know differs. What only one of them knows (an optional
/// header, a function that a later release of Node added) is no contradiction. Code is compared where the same headers were
/// compiled: what the compiler inlines depends on all of them.
fn is_same(known: &AbiFile, found: &AbiFile) -> bool {
    let line = |file: &AbiFile| first_version(file).map(|v| (v.major, v.minor, v.build));
    let felt = |a: &Facts, b: &Facts| changes(a, b).iter().any(|c| c.guest.is_some() && c.host.is_some());
    line(known) == line(found)
        && known.compiler == found.compiler
        && !felt(&known.facts, &found.facts)
        && (known.facts.parts != found.facts.parts || known.other_code(found).is_empty())
}

/// Adds what `found` knows to `file`.
fn join(file: &mut AbiFile, found: AbiFile) {
    file.sources.extend(found.sources);
    file.sources.sort_by_key(|s| (V8Version::parse(&s.v8), s.from.clone()));
    file.sources.dedup();
    file.facts.parts.extend(found.facts.parts);
    for (name, values) in found.facts.enums {
        file.facts.enums.entry(name).or_default().extend(values);
    }
    file.facts.constants.extend(found.facts.constants);
    file.facts.read.extend(found.facts.read);
    file.facts.records.extend(found.facts.records);
    file.facts.vtables.extend(found.facts.vtables);
    for (class, functions) in found.code {
        file.code.entry(class).or_insert(functions);
    }
}

fn first_version(file: &AbiFile) -> Option<V8Version> {
    file.sources.iter().filter_map(|s| V8Version::parse(&s.v8)).min()
}

/// `10.2.154.4 to 10.2.154.26`.
fn range(file: &AbiFile) -> String {
    let versions: Vec<_> = file.sources.iter().filter_map(|s| V8Version::parse(&s.v8)).collect();
    match (versions.iter().min(), versions.iter().max()) {
        (Some(first), Some(last)) if first != last => format!("{first} to {last}"),
        (Some(only), _) => only.to_string(),
        _ => "unknown".into(),
    }
}

/// A file's name never changes once it is there: the first version that was entered.
fn name(file: &AbiFile) -> String {
    first_version(file).map_or("unknown".into(), |v| v.to_string().replace('.', "_"))
}

fn bad(path: &Path, why: &str) -> KitError {
    KitError::Input { option: "the catalogue's file", path: path.into(), why: why.into() }
}
