//! V8s that this program was not built with: what `relink adapter build --v8-headers` has learned of an embedder's own headers,
//! in a folder of the user's. It never takes the place of what is built in.

use super::adapters::{Unit, UNITS};
use super::line::Line;
use super::version::V8Version;
use crate::config::CATALOGUE;
use crate::kit::cache::Cache;
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// What is written of a unit; its library and, for a V8 that is not built in, its file of the catalogue lie beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Major and minor version of the V8 that its guests were compiled for.
    pub guest: (u32, u32),
    /// The host's V8, all four numbers.
    pub v8: String,
    /// Major and minor version of the unit that is built in and whose layers it has.
    pub layers: (u32, u32),
    /// Slots of `v8::Platform`'s vtable.
    pub platform_slots: u32,
    /// The file name of its library.
    pub library: String,
}

/// A unit that was learned.
#[derive(Debug)]
pub struct LearnedUnit {
    /// The unit.
    pub unit: Unit,
    /// The line of its hosts.
    pub line: Line,
    /// The V8 of its hosts; another one, also of the same line, is not meant.
    pub version: V8Version,
    /// The V8 whose rules say what it bridges.
    pub rules: V8Version,
    /// Its library.
    pub library: PathBuf,
}

/// The folder. None: no cache is known.
pub fn folder() -> Option<PathBuf> {
    let named = std::env::var_os(CATALOGUE).filter(|value| !value.is_empty()).map(PathBuf::from);
    named.or_else(|| Some(Cache::locate().ok()?.root().join("catalogue")))
}

/// The files of the catalogue in it.
pub fn catalogue() -> Vec<String> {
    folder()
        .map(|folder| texts(&folder, "v8_"))
        .unwrap_or_default()
        .into_iter()
        .map(|(_, text)| text)
        .collect()
}

/// All units that were learned.
pub fn units() -> &'static [LearnedUnit] {
    static ALL: OnceLock<Vec<LearnedUnit>> = OnceLock::new();
    ALL.get_or_init(|| folder().map(|folder| units_in(&folder)).unwrap_or_default())
}

/// The unit for guests of a V8 on hosts with another one.
pub fn unit_for(guest: (u32, u32), host: V8Version) -> Option<&'static Unit> {
    units().iter().find(|l| l.unit.guest == guest && l.version == host).map(|l| &l.unit)
}

/// The library of a unit, if it was learned.
pub fn library_of(unit: &Unit) -> Option<&'static Path> {
    units().iter().find(|l| std::ptr::eq(&l.unit, unit)).map(|l| l.library.as_path())
}

/// The line of a V8 that only learned units are for.
pub fn line_of(version: V8Version) -> Option<&'static Line> {
    units().iter().find(|l| l.unit.host == (version.major, version.minor)).map(|l| &l.line)
}

/// The V8 whose rules hold for `host`: its own, or that of the layers that a learned unit for it was made of.
pub fn rules_of(host: V8Version) -> V8Version {
    units().iter().find(|l| l.version == host).map_or(host, |l| l.rules)
}

fn units_in(folder: &Path) -> Vec<LearnedUnit> {
    let records = texts(folder, "unit-").into_iter().filter_map(|(_, text)| serde_json::from_str(&text).ok());
    records.filter_map(|record: Record| learned(folder, &record)).collect()
}

/// The JSON files whose names begin so, in order. One that another user could have written is not believed.
fn texts(folder: &Path, start: &str) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let wanted = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.starts_with(start) && name.ends_with(".json") && is_ours(path)
    };
    let mut paths: Vec<PathBuf> = entries.filter(wanted).collect();
    paths.sort();
    paths.into_iter().filter_map(|path| fs::read_to_string(&path).ok().map(|text| (path, text))).collect()
}

/// Whether nobody but this user can have written the file.
fn is_ours(file: &Path) -> bool {
    fs::symlink_metadata(file).is_ok_and(|about| {
        about.is_file() && about.uid() == nix::unistd::geteuid().as_raw() && about.mode() & 0o022 == 0
    })
}

fn learned(folder: &Path, record: &Record) -> Option<LearnedUnit> {
    let version = V8Version::parse(&record.v8)?;
    UNITS.iter().find(|unit| unit.guest == record.guest && unit.host == record.layers)?;
    let library = folder.join(Path::new(&record.library).file_name()?);
    is_ours(&library).then_some(())?;
    let host = (version.major, version.minor);
    Some(LearnedUnit {
        unit: Unit { guest: record.guest, host, layers: record.layers },
        // Read once per process, and lives as long.
        line: Line {
            name: Box::leak(format!("{}.{}", host.0, host.1).into_boxed_str()),
            v8: host,
            node: 0,
            platform_slots: record.platform_slots,
            adapters: &[],
            shared: &[],
        },
        version,
        rules: V8Version::new(record.layers.0, record.layers.1, version.build, version.patch),
        library,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn folder_with(layers: (u32, u32)) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let record = Record {
            guest: (10, 2),
            v8: "10.8.168.21".into(),
            layers,
            platform_slots: 20,
            library: "unit.so".into(),
        };
        let text = serde_json::to_string(&record).expect("JSON");
        fs::write(folder.path().join("unit-a.json"), text).expect("written");
        fs::write(folder.path().join("unit.so"), "").expect("written");
        folder
    }

    #[test]
    fn a_unit_has_the_layers_and_losses_of_the_one_it_was_made_like() {
        let found = units_in(folder_with((11, 3)).path());
        assert_eq!(found.len(), 1);
        let base = UNITS.iter().find(|unit| unit.host == (11, 3)).expect("a unit");
        assert_eq!((found[0].unit.adapters(), found[0].unit.lost()), (base.adapters(), base.lost()));
        assert_eq!((found[0].unit.host, found[0].line.platform_slots), ((10, 8), 20));
        assert_eq!(found[0].rules.to_string(), "11.3.168.21");
    }

    #[test]
    fn what_another_user_could_have_written_or_nobody_knows_is_not_believed() {
        assert!(units_in(folder_with((9, 9)).path()).is_empty());
        for file in ["unit-a.json", "unit.so"] {
            let folder = folder_with((10, 8));
            let path = folder.path().join(file);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("set");
            assert!(units_in(folder.path()).is_empty(), "{file}");
            fs::remove_file(&path).expect("removed");
            assert!(units_in(folder.path()).is_empty(), "{file}");
        }
    }
}
