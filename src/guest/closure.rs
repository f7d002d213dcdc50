//! The guest's private closure: libraries that lie beside it, for machines that do not have them installed.

use super::map_file;
use crate::elf::arch::Arch;
use crate::elf::{Dynamic, FileImage};
use crate::error::Error;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// The libraries beside the guest that have to be loaded before it, dependencies first. `needed_by` tells what a
/// library asks for (its `DT_NEEDED`); a library that is not beside the guest is ld.so's to find.
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
