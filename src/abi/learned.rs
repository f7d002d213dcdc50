//! V8s that this program was not built with: what `relink adapter build --v8-headers` has learned of an embedder's own headers,
//! in a folder of the user's. It never takes the place of what is built in.

use crate::fingerprint::CxxLibrary;
use crate::tables::{Line, OfLearned, Unit, UNITS};
use crate::units::sources;
use crate::version::V8Version;
use relink_elf::cache;
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The folder with what was learned of V8s that are not built in; by default `catalogue` in the kit's cache folder.
pub const CATALOGUE: &str = "RELINK_CATALOGUE";

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
    /// The C++ library of the host's V8, as the fingerprint names it.
    #[serde(default = "libstdcxx")]
    pub cxx: String,
    /// What tells the sources that it was compiled from: a unit of another build of this program answers to other symbols.
    #[serde(default)]
    pub sources: String,
    /// The file name of its library.
    pub library: String,
}

/// What records without the field were made for.
fn libstdcxx() -> String {
    CxxLibrary::LIBSTDCXX.0.into()
}

/// A unit that was learned.
#[derive(Debug)]
pub struct LearnedUnit {
    /// The unit.
    pub unit: Unit,
    /// The V8 of its hosts; another one, also of the same line, is not meant.
    pub version: V8Version,
}

/// The folder that [`name_folder`] has named.
static NAMED: OnceLock<PathBuf> = OnceLock::new();

/// Names the folder for this process, whose environment may lack [`CATALOGUE`] later. The first name counts.
pub fn name_folder(folder: PathBuf) {
    NAMED.get_or_init(|| folder);
}

/// The folder. None: no cache is known.
pub fn folder() -> Option<PathBuf> {
    if let Some(named) = NAMED.get() {
        return Some(named.clone());
    }
    let named = std::env::var_os(CATALOGUE).filter(|value| !value.is_empty()).map(PathBuf::from);
    named.or_else(|| Some(cache::place()?.join("catalogue")))
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
    &all().units
}

/// Files of the folder that are not taken, each with why.
pub fn not_taken() -> &'static [String] {
    &all().not_taken
}

/// What is in the folder.
#[derive(Debug, Default)]
struct Folder {
    units: Vec<LearnedUnit>,
    not_taken: Vec<String>,
}

fn all() -> &'static Folder {
    static ALL: OnceLock<Folder> = OnceLock::new();
    ALL.get_or_init(|| folder().map(|folder| read(&folder)).unwrap_or_default())
}

/// The unit for guests of a V8 on hosts with another one.
pub fn unit_for(guest: (u32, u32), host: V8Version, cxx: CxxLibrary) -> Option<&'static Unit> {
    let of_pair = |l: &&LearnedUnit| l.unit.guest == guest && l.unit.cxx == cxx && l.version == host;
    units().iter().find(of_pair).map(|l| &l.unit)
}

/// The line of a V8 that only learned units are for.
pub fn line_of(version: V8Version) -> Option<&'static Line> {
    let unit = units().iter().map(|l| &l.unit).find(|unit| unit.host == (version.major, version.minor));
    unit.and_then(Unit::host_line)
}

/// Major and minor version of the V8 whose layers the unit for a learned one has.
pub fn layers_of(host: V8Version) -> Option<(u32, u32)> {
    units().iter().find(|l| l.version == host).map(|l| l.unit.layers)
}

fn read(folder: &Path) -> Folder {
    let mut found = Folder::default();
    for path in files(folder, "unit-").chain(files(folder, "v8_")).filter(|path| !is_ours(path)) {
        found.not_taken.push(not_ours(&path));
    }
    for (path, text) in texts(folder, "unit-") {
        match learned(folder, &text) {
            Ok(unit) => found.units.push(unit),
            Err(why) => found.not_taken.push(format!("\"{}\": {why}", path.display())),
        }
    }
    found
}

/// The JSON files whose names begin so, in order.
fn files(folder: &Path, start: &'static str) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let wanted = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.starts_with(start) && name.ends_with(".json")
    };
    let mut paths: Vec<PathBuf> = entries.filter(wanted).collect();
    paths.sort();
    paths.into_iter()
}

/// What is in them. One that another user could have written is not believed.
fn texts(folder: &Path, start: &'static str) -> Vec<(PathBuf, String)> {
    let text = |path: PathBuf| fs::read_to_string(&path).ok().map(|text| (path, text));
    files(folder, start).filter(|path| is_ours(path)).filter_map(text).collect()
}

/// Whether nobody but this user can have written the file.
fn is_ours(file: &Path) -> bool {
    fs::symlink_metadata(file).is_ok_and(|about| {
        about.is_file() && about.uid() == nix::unistd::geteuid().as_raw() && about.mode() & 0o022 == 0
    })
}

fn not_ours(file: &Path) -> String {
    format!(
        "\"{}\" is not there, is not this user's, or others may write it (chmod go-w takes that from them)",
        file.display()
    )
}

fn learned(folder: &Path, text: &str) -> Result<LearnedUnit, String> {
    let record: Record = serde_json::from_str(text).map_err(|e| format!("it is not understood: {e}"))?;
    let version = V8Version::parse(&record.v8).ok_or_else(|| format!("{:?} is no version", record.v8))?;
    let layers = UNITS.iter().find(|unit| unit.guest == record.guest && unit.host == record.layers);
    let cxx = CxxLibrary::named(&record.cxx).ok_or_else(|| format!("{:?} is no C++ library", record.cxx))?;
    if layers.is_none_or(|unit| record.sources != sources(&unit.with_cxx(cxx))) {
        return Err(
            "another build of Relink made it: make it again, relink adapter build --v8-headers DIR".into()
        );
    }
    let library = folder.join(Path::new(&record.library).file_name().unwrap_or_default());
    if !is_ours(&library) {
        return Err(not_ours(&library));
    }
    let host = (version.major, version.minor);
    let line = Line::learned(host, record.platform_slots);
    let learned = Some(OfLearned { line, library });
    Ok(LearnedUnit { unit: Unit { guest: record.guest, host, layers: record.layers, cxx, learned }, version })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn folder_with(layers: (u32, u32)) -> tempfile::TempDir {
        let base = UNITS.iter().find(|unit| unit.guest == (10, 2) && unit.host == layers);
        folder_from(layers, base.map(sources).unwrap_or_default())
    }

    fn folder_from(layers: (u32, u32), sources: String) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let record = Record {
            guest: (10, 2),
            v8: "11.4.1.1".into(),
            layers,
            platform_slots: 20,
            cxx: libstdcxx(),
            sources,
            library: "unit.so".into(),
        };
        let text = serde_json::to_string(&record).expect("JSON");
        fs::write(folder.path().join("unit-a.json"), text).expect("written");
        fs::write(folder.path().join("unit.so"), "").expect("written");
        folder
    }

    #[test]
    fn a_unit_has_the_layers_and_losses_of_the_one_it_was_made_like() {
        let folder = folder_with((11, 3));
        let Folder { units: found, not_taken } = read(folder.path());
        assert_eq!((found.len(), not_taken), (1, Vec::new()));
        let base = UNITS.iter().find(|unit| unit.host == (11, 3)).expect("a unit");
        assert_eq!((found[0].unit.adapters(), found[0].unit.lost()), (base.adapters(), base.lost()));
        let line = found[0].unit.learned.as_ref().expect("it was learned").line;
        assert_eq!((line.v8, line.platform_slots), ((11, 4), 20));
        assert_eq!(found[0].unit.layers, (11, 3));
    }

    #[test]
    fn what_another_user_could_have_written_or_another_build_made_is_not_taken() {
        let not_taken = |folder: &tempfile::TempDir| {
            let found = read(folder.path());
            assert!(found.units.is_empty(), "{:?}", found.units);
            found.not_taken.join("; ")
        };
        assert!(not_taken(&folder_with((9, 9))).contains("another build"));
        assert!(not_taken(&folder_from((11, 3), "of old".into())).contains("make it again"));
        for file in ["unit-a.json", "unit.so"] {
            let folder = folder_with((11, 3));
            let path = folder.path().join(file);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).expect("set");
            let said = not_taken(&folder);
            assert!(said.contains(file) && said.contains("chmod go-w"), "{said}");
            fs::remove_file(&path).expect("removed");
            not_taken(&folder);
        }
    }
}
