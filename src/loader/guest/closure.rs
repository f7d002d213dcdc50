//! The guest's private closure: the libraries that it needs besides C and C++ run-time libraries. Each is staged as the guest
//! is, in a copy that nobody else is given, so that whatever the host exports or has loaded stays the host's.

use crate::process::ld_cache;
use object::elf;
use relink_abi::claim::holds_v8;
use relink_abi::error::Error;
use relink_abi::symbol::is_run_time;
use relink_elf::arch::Arch;
use relink_elf::file::map_file;
use relink_elf::file::FileOnDisk;
use relink_elf::{Dynamic, ElfError, FileImage, SymbolTable};
use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};

/// The libraries of a closure.
#[derive(Debug, Default)]
pub struct Closure {
    /// In the order in which ld.so would look symbols up: those that the guest names, then those that these name, and so on.
    pub libraries: Vec<FileOnDisk>,
    /// Their numbers in the order in which they are initialised: dependencies first.
    pub order: Vec<usize>,
}

/// Finds the closure of the guest in this file. `folders` is where ld.so looks for libraries; what lies beside the file that
/// names it, or where its `DT_RUNPATH` says, comes first; ld.so's cache before its own folders.
pub fn find(guest: &FileOnDisk, folders: &[PathBuf]) -> Result<Closure, Error> {
    let mut search = Search { guest: &guest.path, folders, found: Vec::new(), names: Vec::new() };
    let root = Needs::read(guest, folders)?;
    let mut queue: VecDeque<(usize, String)> = root.libraries.iter().map(|n| (0, n.clone())).collect();
    let mut needs = vec![root];
    while let Some((by, name)) = queue.pop_front() {
        if is_run_time(&name) || search.names.contains(&name) {
            continue;
        }
        let needed_by = by.checked_sub(1).map_or(guest, |i| &search.found[i]).path.clone();
        // A DT_RPATH is for all that the file brings in, unless what asks has a DT_RUNPATH.
        let (own, root) = (&needs[by], &needs[0]);
        let inherited = if by != 0 && root.is_for_all && (own.is_for_all || own.paths.is_empty()) {
            &root.paths[..]
        } else {
            &[]
        };
        let paths = [&own.paths, inherited].concat();
        let (library, its_needs) = search.library(&name, &needed_by, &paths)?;
        search.names.push(name);
        search.found.push(library);
        queue.extend(its_needs.libraries.iter().map(|n| (needs.len(), n.clone())));
        needs.push(its_needs);
    }
    let order = dependencies_first(&search.names, &needs);
    let kept: Vec<usize> = (0..search.found.len()).filter(|i| !needs[i + 1].is_v8).collect();
    let renumbered = order.iter().filter_map(|i| kept.iter().position(|k| k == i)).collect();
    let libraries = search.found.into_iter().enumerate().filter(|(i, _)| kept.contains(i)).map(|(_, l)| l);
    Ok(Closure { libraries: libraries.collect(), order: renumbered })
}

/// What one file asks for.
pub struct Needs {
    /// Its `DT_NEEDED`, in order.
    pub libraries: Vec<String>,
    /// Folders of `DT_RUNPATH` or `DT_RPATH`, with ld.so's tokens expanded.
    pub paths: Vec<PathBuf>,
    /// Whether they are of a `DT_RPATH`.
    is_for_all: bool,
    /// Whether the library is a V8: the guest was linked to one as a library, and gets the host's instead.
    pub is_v8: bool,
}

impl Needs {
    fn read(file: &FileOnDisk, folders: &[PathBuf]) -> Result<Self, Error> {
        Self::parse(file, folders).map_err(|source| Error::GuestImage { path: file.path.clone(), source })
    }

    /// Reads the dynamic section of a file. `folders` is where ld.so looks for libraries.
    ///
    /// # Errors
    /// It is no ELF object of this machine's, or a malformed one.
    pub fn parse(file: &FileOnDisk, folders: &[PathBuf]) -> Result<Self, ElfError> {
        let image = FileImage::parse(&file.bytes, Arch::native())?;
        let dynamic = Dynamic::parse(&image.image)?;
        let origin = file.path.parent().unwrap_or(Path::new("/"));
        let for_itself = dynamic.value(elf::DT_RUNPATH);
        let offset = for_itself.or_else(|| dynamic.value(elf::DT_RPATH));
        let paths = offset.map(|at| dynamic.string(at)).transpose()?.unwrap_or("");
        let expand = |path: &str| ld_cache::expanded(path, origin, folders);
        Ok(Self {
            libraries: dynamic.needed()?.into_iter().map(str::to_owned).collect(),
            paths: paths.split(':').filter(|p| !p.is_empty()).flat_map(expand).collect(),
            is_for_all: for_itself.is_none(),
            is_v8: holds_v8(&SymbolTable::parse(&image.image, &dynamic)?)?,
        })
    }
}

struct Search<'a> {
    guest: &'a Path,
    folders: &'a [PathBuf],
    found: Vec<FileOnDisk>,
    names: Vec<String>,
}

impl Search<'_> {
    /// The first file of this name that is an ELF object for this machine.
    fn library(&self, name: &str, needed_by: &Path, paths: &[PathBuf]) -> Result<(FileOnDisk, Needs), Error> {
        let beside = [self.guest.parent(), needed_by.parent()].into_iter().flatten().map(Path::to_owned);
        let (before, own) = self.folders.split_at(ld_cache::before_the_cache(self.folders));
        let in_folders = |folders: &[PathBuf]| -> Vec<PathBuf> {
            folders
                .iter()
                .flat_map(|folder| ld_cache::with_levels(folder))
                .map(|folder| folder.join(name))
                .collect()
        };
        let beside = beside.map(|folder| folder.join(name));
        let files = beside.chain(in_folders(paths)).chain(in_folders(before)).chain(ld_cache::lookup(name));
        for path in files.chain(in_folders(own)) {
            if !path.is_file() {
                continue;
            }
            let file = FileOnDisk::open(&path)?;
            match Needs::parse(&file, self.folders) {
                Ok(needs) => return Ok((file, needs)),
                // ld.so, too, passes over libraries of other machines.
                Err(ElfError::Unsuitable { .. }) => {}
                Err(source) => return Err(Error::GuestImage { path, source }),
            }
        }
        Err(Error::MissingLibrary { name: name.into(), needed_by: needed_by.display().to_string() })
    }
}

/// The numbers of the libraries, each after those that it needs; cycles are cut.
fn dependencies_first(names: &[String], needs: &[Needs]) -> Vec<usize> {
    fn visit(
        at: usize,
        names: &[String],
        needs: &[Needs],
        seen: &mut HashSet<usize>,
        order: &mut Vec<usize>,
    ) {
        let libraries = &needs[at].libraries;
        for next in libraries.iter().filter_map(|n| names.iter().position(|name| name == n)) {
            if seen.insert(next) {
                visit(next + 1, names, needs, seen, order);
                order.push(next);
            }
        }
    }
    let (mut seen, mut order) = (HashSet::new(), Vec::new());
    visit(0, names, needs, &mut seen, &mut order);
    order
}

/// The libraries beside a provider that have to be loaded before it, dependencies first. `needed_by` tells what a
/// library asks for (its `DT_NEEDED`); a library that is not beside it is ld.so's to find.
pub fn load_order<E>(
    folder: &Path,
    needed: &[&str],
    needed_by: &mut dyn FnMut(&Path) -> Result<Vec<String>, E>,
) -> Result<Vec<PathBuf>, E> {
    let mut walk = Walk { folder, needed_by, seen: HashSet::new(), order: Vec::new() };
    for name in needed {
        walk.visit(name)?;
    }
    Ok(walk.order)
}

/// What a library asks for, by its own dynamic section.
pub fn needed_by(path: &Path) -> Result<Vec<String>, Error> {
    let bytes = map_file(path)?;
    let broken = |source| Error::GuestImage { path: path.to_owned(), source };
    let file = FileImage::parse(&bytes, Arch::native()).map_err(broken)?;
    let dynamic = Dynamic::parse(&file.image).map_err(broken)?;
    Ok(dynamic.needed().map_err(broken)?.into_iter().map(str::to_owned).collect())
}

struct Walk<'a, E> {
    folder: &'a Path,
    needed_by: &'a mut dyn FnMut(&Path) -> Result<Vec<String>, E>,
    seen: HashSet<String>,
    order: Vec<PathBuf>,
}

impl<E> Walk<'_, E> {
    fn visit(&mut self, name: &str) -> Result<(), E> {
        let path = self.folder.join(name);
        if name.contains('/') || !self.seen.insert(name.to_owned()) || !path.is_file() {
            return Ok(());
        }
        for next in (self.needed_by)(&path)? {
            self.visit(&next)?;
        }
        self.order.push(path);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn dependencies_come_first_and_cycles_end() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let graph: HashMap<&str, Vec<&str>> =
            [("i18n", vec!["uc", "libc.so.6"]), ("uc", vec!["data", "i18n"]), ("data", vec![])].into();
        for name in graph.keys() {
            std::fs::write(folder.path().join(name), "").expect("written");
        }
        let mut needed_by = |path: &Path| -> Result<Vec<String>, ()> {
            let name = path.file_name().and_then(|n| n.to_str()).ok_or(())?;
            Ok(graph[name].iter().map(|n| (*n).to_owned()).collect())
        };
        let order = load_order(folder.path(), &["i18n", "uc", "libm.so.6", "../i18n"], &mut needed_by);
        let names: Vec<_> =
            order.expect("walked").iter().map(|p| p.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["data", "uc", "i18n"]);
    }
}
