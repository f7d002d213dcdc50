//! What becomes of the libraries that an add-on names (`DT_NEEDED`), and of those that these name.
//!
//! A Node or a V8 among them is not loaded: its constructors would run beside the host's V8, which ends the process. What
//! an add-on wants of it is the guest's. A library that refers to Node or V8 itself, or that names such a library, is
//! loaded as the add-on is: as a private copy, bound to the guest. All others are ld.so's.

use super::binding::World;
use super::loaded::Id;
use crate::guest::closure::Needs;
use crate::guest::Inventory;
use crate::process::ld_cache;
use crate::process::search;
use relink_abi::claim::holds_v8;
use relink_abi::error::Error;
use relink_abi::symbol::is_run_time;
use relink_abi::symbol::{owner, Owner};
use relink_elf::arch::Arch;
use relink_elf::file::FileOnDisk;
use relink_elf::{Dynamic, ElfError, FileImage, SymbolTable};
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What becomes of a library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// ld.so finds and loads it.
    LdSo,
    /// The guest stands for it.
    Node,
    /// It is loaded as the add-on is: its number among the parts.
    Part(usize),
}

/// One file of an add-on's.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) file: FileOnDisk,
    pub(super) id: Id,
    /// What it names, in order, and what becomes of each. Run-time libraries are not among them.
    pub(super) fates: Vec<(String, Fate)>,
    /// The folders of its `DT_RUNPATH` or `DT_RPATH`.
    pub(super) folders: Vec<PathBuf>,
}

impl Part {
    fn new(file: FileOnDisk) -> Result<(Self, Needs), Error> {
        let broken = |source| Error::AddOnImage { path: file.path.clone(), source };
        let needs = Needs::parse(&file, &search::library_folders()).map_err(broken)?;
        let id = id_of(&file)?;
        let folders = needs.paths.clone();
        Ok((Self { file, id, fates: Vec::new(), folders }, needs))
    }

    /// Its file, read.
    pub(super) fn image(&self) -> Result<FileImage<'_>, Error> {
        FileImage::parse(&self.file.bytes, Arch::native()).map_err(|source| self.broken(source))
    }

    /// Its file is not what it should be.
    pub(super) fn broken(&self, source: ElfError) -> Error {
        Error::AddOnImage { path: self.file.path.clone(), source }
    }

    /// What becomes of a library of this name; nothing if the file does not name it.
    pub(super) fn fate(&self, name: &str) -> Option<Fate> {
        self.fates.iter().find(|(other, _)| other == name).map(|(_, fate)| *fate)
    }

    /// The libraries that are ld.so's and that lie where the file's own `DT_RUNPATH` says: ld.so cannot follow an `$ORIGIN` in it
    /// from a private copy.
    pub(super) fn by_own_path(&self) -> impl Iterator<Item = PathBuf> + '_ {
        let left = self.fates.iter().filter(|(_, fate)| *fate == Fate::LdSo);
        left.filter_map(|(name, _)| self.folders.iter().map(|f| f.join(name)).find(|path| path.is_file()))
    }
}

/// Device and inode of an open file.
pub(super) fn id_of(file: &FileOnDisk) -> Result<Id, Error> {
    let failed = |source| Error::GuestFile { path: file.path.clone(), source };
    let metadata = file.file.metadata().map_err(failed)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// The file and, behind it, those of its libraries that are loaded as it is, in the order in which ld.so would look symbols up.
pub(super) fn parts(world: &World, file: FileOnDisk) -> Result<Vec<Part>, Error> {
    let mut search = Search { world, folders: search::library_folders(), known: HashMap::new() };
    let (first, needs) = Part::new(file)?;
    let mut parts = vec![first];
    let mut queue = vec![needs];
    let mut at = 0;
    while at < queue.len() {
        for name in queue[at].libraries.clone().into_iter().filter(|name| !is_run_time(name)) {
            let fate = match search.kind(&name, &queue[at].paths) {
                Kind::Other => Fate::LdSo,
                Kind::Node => Fate::Node,
                Kind::User(path) => {
                    let (part, needs) = Part::new(FileOnDisk::open(&path)?)?;
                    let number = parts.iter().position(|other| other.id == part.id);
                    Fate::Part(number.unwrap_or_else(|| {
                        parts.push(part);
                        queue.push(needs);
                        parts.len() - 1
                    }))
                }
            };
            parts[at].fates.push((name, fate));
        }
        at += 1;
    }
    Ok(parts)
}

/// The numbers of the parts, each after those that it needs; circles are cut.
pub(super) fn dependencies_first(parts: &[&Part]) -> Vec<usize> {
    fn visit(parts: &[&Part], at: usize, seen: &mut Vec<usize>, order: &mut Vec<usize>) {
        if seen.contains(&at) {
            return;
        }
        seen.push(at);
        for (_, fate) in &parts[at].fates {
            if let Fate::Part(next) = fate {
                visit(parts, *next, seen, order);
            }
        }
        order.push(at);
    }
    let (mut seen, mut order) = (Vec::new(), Vec::new());
    visit(parts, 0, &mut seen, &mut order);
    order
}

/// Whether a file that `dlopen` is asked for by this name is a Node or a V8. `paths`: folders that the caller looks in first.
pub(super) fn stands_for_node(world: &World, name: &str, paths: &[PathBuf]) -> bool {
    let mut search = Search { world, folders: search::library_folders(), known: HashMap::new() };
    matches!(search.kind(name, paths), Kind::Node)
}

/// What a library is.
#[derive(Clone, Debug)]
enum Kind {
    /// A Node, a V8 or a libuv.
    Node,
    /// It refers to one, itself or by what it names.
    User(PathBuf),
    Other,
}

struct Search<'w> {
    world: &'w World,
    /// Where ld.so looks.
    folders: Vec<PathBuf>,
    /// By path.
    known: HashMap<PathBuf, Kind>,
}

impl Search<'_> {
    fn kind(&mut self, name: &str, paths: &[PathBuf]) -> Kind {
        if self.world.is_guest(name) {
            return Kind::Node;
        }
        let found = self.file(name, paths);
        // Where ld.so finds it all the same, it must not: what it is called is all that is known of it.
        found.map_or_else(
            || if is_called_node(name) { Kind::Node } else { Kind::Other },
            |file| self.kind_of(file),
        )
    }

    fn kind_of(&mut self, file: FileOnDisk) -> Kind {
        let path = file.path.clone();
        if let Some(known) = self.known.get(&path) {
            return known.clone();
        }
        // For circles.
        self.known.insert(path.clone(), Kind::Other);
        // What cannot be read is ld.so's to refuse.
        let kind = match (is_node(&file), refers_to_node(&file), Needs::parse(&file, &self.folders)) {
            (Ok(true), ..) => Kind::Node,
            (Ok(false), Ok(true), Ok(_)) => Kind::User(path.clone()),
            (Ok(false), Ok(false), Ok(needs)) => {
                let mut libraries = needs.libraries.iter().filter(|library| !is_run_time(library));
                let reaches = libraries.any(|l| !matches!(self.kind(l, &needs.paths), Kind::Other));
                if reaches {
                    Kind::User(path.clone())
                } else {
                    Kind::Other
                }
            }
            _ => Kind::Other,
        };
        self.known.insert(path, kind.clone());
        kind
    }

    /// The first file of this name that is an ELF object for this machine.
    fn file(&self, name: &str, paths: &[PathBuf]) -> Option<FileOnDisk> {
        let open = |path: &Path| {
            FileOnDisk::open(path).ok().filter(|file| Needs::parse(file, &self.folders).is_ok())
        };
        if name.contains('/') {
            return open(Path::new(name));
        }
        let (before, own) = self.folders.split_at(ld_cache::before_the_cache(&self.folders));
        let in_folders = |folders: &[PathBuf]| -> Vec<PathBuf> {
            folders
                .iter()
                .flat_map(|folder| ld_cache::with_levels(folder))
                .map(|folder| folder.join(name))
                .collect()
        };
        let files = [in_folders(paths), in_folders(before), ld_cache::lookup(name), in_folders(own)].concat();
        files.iter().find_map(|path| open(path))
    }
}

/// Whether the file holds a V8 or a Node, or is libuv: libraries that a Node is, or that it is made of where a distribution cuts it up.
pub(super) fn is_node(file: &FileOnDisk) -> Result<bool, ElfError> {
    /// One function of each part of Node's interface for add-ons.
    const NODES: [&str; 3] = ["napi_create_function", "napi_module_register", "node_module_register"];
    let image = FileImage::parse(&file.bytes, Arch::native())?;
    let dynamic = Dynamic::parse(&image.image)?;
    let symbols = SymbolTable::parse(&image.image, &dynamic)?;
    let defines = |name: &&str| symbols.lookup(name).is_ok_and(|found| found.is_some());
    let soname = dynamic.soname()?.unwrap_or("");
    let is_libuv = stem(soname) == "libuv" && defines(&"uv_run");
    // Its platform and its base library are V8's as well.
    let is_part = stem(soname).starts_with("libv8")
        && dynamic.needed()?.iter().all(|n| is_run_time(n) || n.starts_with("libv8"));
    Ok(holds_v8(&symbols)? || NODES.iter().any(defines) || is_libuv || is_part)
}

fn refers_to_node(file: &FileOnDisk) -> Result<bool, ElfError> {
    let image = FileImage::parse(&file.bytes, Arch::native())?;
    let inventory = Inventory::read(&image)?;
    let of_others = inventory.slots.iter().filter(|slot| slot.own.is_none());
    Ok(of_others.map(|slot| slot.symbol).any(|name| owner(name) != Owner::Other || name.starts_with("uv_")))
}

/// Whether a library that nobody finds is one of Node's by its name: `libnode.so.115`, `libnode-custom.so`, `libv8_libbase.so`, `libuv.so.1`.
fn is_called_node(name: &str) -> bool {
    let stem = stem(name.rsplit('/').next().unwrap_or(name));
    let rest = stem.strip_prefix("libnode").map(|rest| rest.chars().next());
    matches!(rest, Some(None | Some('-' | '_' | '.' | '0'..='9')))
        || stem.starts_with("libv8")
        || stem == "libuv"
}

/// The name of a library up to ".so".
fn stem(name: &str) -> &str {
    name.split_once(".so").map_or("", |(stem, _)| stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_known_by_their_names_where_nothing_else_tells() {
        for name in [
            "libnode.so",
            "libnode.so.115",
            "libnode-relink.so.108",
            "libnode22.so",
            "/x/libv8_libbase.so",
            "libuv.so.1",
        ] {
            assert!(is_called_node(name), "{name}");
        }
        for name in ["libnodelet.so", "libnode", "libuvc.so.0", "libvips.so.42", "node.node", "libnodeapi.so"]
        {
            assert!(!is_called_node(name), "{name}");
        }
    }
}
