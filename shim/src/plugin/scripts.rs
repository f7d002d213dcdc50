//! The scripts of a folder, and whether anything that was loaded of them, or that the configuration names, has changed.

use glob::{MatchOptions, Pattern};
use relink_loader::runtime::writes::{self, Mark};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What a script's name may end with.
const ENDINGS: [&str; 3] = ["js", "mjs", "cjs"];
/// Files that are looked at for changes, at most.
const MOST: usize = 10_000;
/// How deep folders are looked into.
const DEEPEST: usize = 16;

/// A script to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The name without its ending.
    pub name: String,
    /// The file.
    pub path: PathBuf,
}

fn hidden(name: &str) -> bool {
    name.starts_with(['.', '_']) || name == "node_modules"
}

/// Names and paths in a folder, in the order of their names.
fn entries(folder: &Path) -> Vec<(String, PathBuf)> {
    let Ok(found) = std::fs::read_dir(folder) else { return Vec::new() };
    let named = found.flatten().filter_map(|e| Some((e.file_name().into_string().ok()?, e.path())));
    let mut all: Vec<_> = named.collect();
    all.sort();
    all
}

fn is_script(path: &Path) -> bool {
    path.extension().and_then(|e| e.to_str()).is_some_and(|e| ENDINGS.contains(&e)) && path.is_file()
}

/// The scripts of a folder: its files, and the `index` file of each folder in it. Names that begin with a dot or an underscore are
/// left out, and `node_modules`.
pub fn find(folder: &Path) -> Vec<Script> {
    let script = |(name, path): (String, PathBuf)| {
        if path.is_dir() {
            let indices = ENDINGS.iter().map(|ending| path.join(format!("index.{ending}")));
            let index = indices.into_iter().find(|path| is_script(path))?;
            return Some(Script { name, path: index });
        }
        let stem = path.file_stem()?.to_str()?.to_owned();
        is_script(&path).then_some(Script { name: stem, path })
    };
    entries(folder).into_iter().filter(|(name, _)| !hidden(name)).filter_map(script).collect()
}

/// The files below a folder that one of the patterns names, seen from the folder.
fn matching(folder: &Path, patterns: &[Pattern]) -> Vec<PathBuf> {
    // As shells have it: `*` stays within a folder, `**` does not.
    const HOW: MatchOptions = MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: false,
    };
    let mut found = Vec::new();
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((inside, depth)) = folders.pop().filter(|_| !patterns.is_empty()) {
        for (_, path) in entries(&inside) {
            let relative = path.strip_prefix(folder).unwrap_or(&path);
            if path.is_dir() && !path.is_symlink() && depth < DEEPEST {
                folders.push((path, depth + 1));
            } else if found.len() < MOST && patterns.iter().any(|p| p.matches_path_with(relative, HOW)) {
                found.push(path);
            }
        }
    }
    found
}

/// A file that is looked after; without a mark there is none.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// What it was when it was loaded.
    loaded: Option<Mark>,
    /// What it was at the last look.
    last: Option<Mark>,
}

fn mark(path: &Path) -> Option<Mark> {
    path.metadata().ok().filter(std::fs::Metadata::is_file).map(|about| writes::mark(&about))
}

/// Notices changes once they are over: a file that is being written is not read half. What is looked after is the scripts of the folder, what
/// Node has loaded for them from wherever it was, and what the patterns name. What the guest itself has written is no change.
#[derive(Debug)]
pub struct Watch {
    folder: PathBuf,
    patterns: Vec<Pattern>,
    files: BTreeMap<PathBuf, Seen>,
}

impl Watch {
    /// Of a folder as it is now.
    pub fn new(folder: &Path, patterns: &[Pattern]) -> Self {
        let mut made =
            Self { folder: folder.to_owned(), patterns: patterns.to_vec(), files: BTreeMap::new() };
        made.restart();
        made
    }

    /// The scripts are about to be loaded as they are now.
    pub fn restart(&mut self) {
        self.files.clear();
        self.all_that_are().into_iter().for_each(|path| self.loads(path));
    }

    /// Node is about to load this file, or has looked for it in vain.
    pub fn loads(&mut self, path: PathBuf) {
        let now = mark(&path);
        if self.files.len() < MOST {
            self.files.entry(path).or_insert(Seen { loaded: now, last: now });
        }
    }

    fn all_that_are(&self) -> BTreeSet<PathBuf> {
        let scripts = find(&self.folder).into_iter().map(|script| script.path);
        scripts.chain(matching(&self.folder, &self.patterns)).collect()
    }

    /// A file that is not what it was when it was loaded, and was the same at the last two looks. Each change is told once.
    pub fn changed(&mut self) -> Option<PathBuf> {
        for path in self.all_that_are() {
            // One that was not there.
            self.files.entry(path).or_insert(Seen { loaded: None, last: None });
        }
        let mut found = None;
        for (path, seen) in &mut self.files {
            let now = mark(path);
            let steady = now == seen.last;
            seen.last = now;
            if now == seen.loaded || !steady {
                continue;
            }
            seen.loaded = now;
            if !now.as_ref().is_some_and(writes::is_own) && found.is_none() {
                found = Some(path.clone());
            }
        }
        found
    }
}
