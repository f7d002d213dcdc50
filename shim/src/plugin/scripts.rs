//! The scripts of a folder, and whether anything of it has changed.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
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

/// What tells a file from the one that it was: device, inode, size, time of the last change in seconds and nanoseconds.
type Mark = (u64, u64, u64, i64, i64);
/// The state of a folder.
pub type Marks = BTreeMap<PathBuf, Mark>;

fn hidden(name: &str) -> bool {
    name.starts_with(['.', '_']) || name == "node_modules"
}

/// Names and paths in a folder, in the order of their names.
fn entries(folder: &Path) -> Vec<(String, PathBuf)> {
    let Ok(found) = std::fs::read_dir(folder) else { return Vec::new() };
    let named = found.flatten().filter_map(|e| Some((e.file_name().into_string().ok()?, e.path())));
    let mut all: Vec<_> = named.filter(|(name, _)| !hidden(name)).collect();
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
    entries(folder).into_iter().filter_map(script).collect()
}

/// The state of all files below a folder, but for those that [`find`] leaves out.
pub fn marks(folder: &Path) -> Marks {
    let mut found = Marks::new();
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for (_, path) in entries(&folder) {
            let Ok(about) = path.metadata() else { continue };
            if about.is_dir() && depth < DEEPEST {
                folders.push((path, depth + 1));
            } else if about.is_file() && found.len() < MOST {
                found.insert(path, mark(&about));
            }
        }
    }
    found
}

fn mark(about: &Metadata) -> Mark {
    (about.dev(), about.ino(), about.size(), about.mtime(), about.mtime_nsec())
}

/// Notices changes once they are over: a file that is being written is not read half.
#[derive(Debug)]
pub struct Watch {
    folder: PathBuf,
    loaded: Marks,
    seen: Marks,
}

impl Watch {
    /// Of a folder as it is now.
    pub fn new(folder: &Path) -> Self {
        let now = marks(folder);
        Self { folder: folder.to_owned(), loaded: now.clone(), seen: now }
    }

    /// Whether it is not what it was when this last answered `true`, and was the same at the last two looks.
    pub fn changed(&mut self) -> bool {
        let now = marks(&self.folder);
        let steady = now == self.seen;
        self.seen = now;
        if steady && self.seen != self.loaded {
            self.loaded.clone_from(&self.seen);
            return true;
        }
        false
    }
}
