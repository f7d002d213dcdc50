//! Learns a V8 that this program was not built with (`relink adapter build --v8-headers DIR`): describes its headers for the
//! catalogue, and compiles an adapter unit of the layers that there are against them.

use super::adapter::{self, Compiler};
use super::cache::{write_own, Cache};
use super::catalogue::{generate, Request};
use super::error::{io, KitError, Result};
use super::headers::V8Headers;
use super::progress::Progress;
use relink_abi::adapters::{Unit, UNITS};
use relink_abi::bridged::{Rules, BRIDGED};
use relink_abi::catalogue::{known_abis, AbiFile, Facts, PROFILES};
use relink_abi::compare::{changes, Change};
use relink_abi::fingerprint::CxxLibrary;
use relink_abi::learned::{folder, Record};
use relink_abi::line::{oldest_host, LINES};
use relink_abi::version::V8Version;
use std::fs;
use std::path::{Path, PathBuf};

/// What was learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learned {
    /// The V8.
    pub v8: V8Version,
    /// The units, for the oldest guests first.
    pub units: Vec<Made>,
    /// Why other layers were not taken, and guests go without a unit.
    pub refused: Vec<String>,
}

/// A unit that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its library.
    pub library: PathBuf,
    /// The V8 of its guests.
    pub guest: (u32, u32),
    /// The V8 of the unit whose layers it has.
    pub layers: (u32, u32),
}

/// Learns the V8 of a folder of headers, as it was compiled with a C++ library.
///
/// # Errors
/// The headers are not complete, contradict what is built in (E0714), or no layers compile against them (E0710).
pub fn learn(dir: &Path, cxx: CxxLibrary, progress: &dyn Progress) -> Result<Learned> {
    let bad = |why: &str| KitError::Input { option: "--v8-headers", path: dir.into(), why: why.into() };
    let headers = V8Headers::read("--v8-headers", dir)?;
    let version = V8Version::parse(&headers.version).ok_or_else(|| bad("its version is none"))?;
    if !dir.join("v8-inspector.h").is_file() {
        return Err(bad("there is no v8-inspector.h in it: the inspector's headers belong to V8's, too"));
    }
    let found = generate(&Request { headers: dir.into(), from: Some("--v8-headers".into()) }, progress)?;
    let entered = contradiction(version, &found)?;
    let no_folder = || KitError::CachePlace { why: "no folder for what is learned is known".into() };
    let folder = folder().ok_or_else(no_folder)?;
    fs::create_dir_all(&folder).map_err(io("create", &folder))?;
    let compiler = Compiler::of(cxx, progress)?;
    let work = Work { headers: &headers, version, cxx, facts: &found.facts, folder: &folder, progress };
    let (oldest, mut refused) = work.compile(&compiler, GUEST)?;
    let mut units = vec![oldest];
    let is_later = |guest: &(u32, u32)| *guest != GUEST && *guest < (version.major, version.minor);
    for guest in LINES.iter().map(|line| line.v8).filter(is_later) {
        match work.compile(&compiler, guest) {
            Ok((unit, why)) => {
                units.push(unit);
                refused.extend(why);
            }
            Err(stop @ KitError::Interrupted { .. }) => return Err(stop),
            Err(none) => refused.push(format!("guests of V8 {}.{}: {none}", guest.0, guest.1)),
        }
    }
    if !entered {
        let name = version.to_string().replace('.', "_");
        write_own(&folder.join(format!("v8_{name}.json")), json(&found)?.as_bytes())?;
    }
    let slots = found.facts.vtables.get("v8::Platform").map_or(0, Vec::len);
    let bases = work.bases(&units);
    let records = units.iter().zip(&bases).map(|(made, base)| {
        let record = Record {
            guest: made.guest,
            v8: version.to_string(),
            layers: made.layers,
            platform_slots: u32::try_from(slots).unwrap_or(0),
            cxx: cxx.0.into(),
            sources: relink_abi::units::sources(base),
            library: made.library.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        };
        let file = folder.join(format!("unit-{}.json", name(base, version)));
        write_own(&file, json(&record)?.as_bytes())
    });
    records.collect::<Result<()>>()?;
    progress.finish();
    Ok(Learned { v8: version, units, refused })
}

/// Whether this V8 is built in; then its headers must say what is known of it.
fn contradiction(version: V8Version, found: &AbiFile) -> Result<bool> {
    let built_in: Vec<_> = known_abis(version).into_iter().filter(|abi| !abi.is_learned()).collect();
    let differs = |abi: &&relink_abi::catalogue::KnownAbi| {
        let changes = changes(abi.facts(), &found.facts);
        changes.into_iter().find(|c| c.harmless.is_none() && c.guest.is_some() && c.host.is_some())
    };
    let differences: Vec<_> = built_in.iter().copied().map(|abi| differs(&abi)).collect();
    match differences.iter().flatten().next() {
        Some(change) if differences.iter().all(Option::is_some) => Err(KitError::Unsupported {
            why: format!(
                "these headers contradict what is known of V8 {version}: {}; a V8 that was patched has to have a version of its own",
                change.text()
            ),
        }),
        _ => Ok(!built_in.is_empty()),
    }
}

fn name(unit: &Unit, version: V8Version) -> String {
    format!("{}.{}-on-{version}{}", unit.guest.0, unit.guest.1, unit.cxx.suffix())
}

/// V8 of the guests that must get a unit: Node 18's, the one of which the most V8s are known.
const GUEST: (u32, u32) = (10, 2);

/// The units whose layers come into question: the next older V8's, which may lack something, and the next newer one's.
fn candidates(guest: (u32, u32), version: V8Version) -> Vec<&'static Unit> {
    let host = (version.major, version.minor);
    let same_side = |unit: &&Unit| unit.guest == guest && unit.host.cmp(&guest) == host.cmp(&guest);
    let older = UNITS.iter().filter(same_side).filter(|unit| unit.host <= host).max_by_key(|unit| unit.host);
    // Before the guest's own V8, the layers of a newer one say less than it lacks.
    let newer = UNITS
        .iter()
        .filter(same_side)
        .filter(|unit| guest < host && host < unit.host)
        .min_by_key(|unit| unit.host);
    older.into_iter().chain(newer).collect()
}

/// The first difference that code in these layers would have to stand between, and does not.
fn unanswered(unit: &Unit, version: V8Version, facts: &Facts) -> Option<Change> {
    let profile = PROFILES.iter().find(|p| (p.first.major, p.first.minor) == unit.guest)?;
    Rules::with_layers(BRIDGED, profile.last, version, unit.host).unanswered(facts).into_iter().next()
}

/// What units are made from.
struct Work<'a> {
    headers: &'a V8Headers,
    version: V8Version,
    cxx: CxxLibrary,
    facts: &'a Facts,
    folder: &'a Path,
    progress: &'a dyn Progress,
}

impl Work<'_> {
    /// The units that are built in and whose layers these have, for the C++ library of the host's.
    fn bases(&self, units: &[Made]) -> Vec<Unit> {
        let base = |made: &Made| {
            UNITS
                .iter()
                .find(|unit| unit.guest == made.guest && unit.host == made.layers)
                .map(|unit| unit.with_cxx(self.cxx))
        };
        units.iter().filter_map(base).collect()
    }

    /// Makes the unit for guests of a V8; and why other layers were not taken.
    fn compile(&self, compiler: &Compiler, guest: (u32, u32)) -> Result<(Made, Vec<String>)> {
        let version = self.version;
        let log = Cache::locate()?.folder("logs")?.join(format!("adapter-{version}.log"));
        let (mut refused, mut tried) = (Vec::new(), false);
        for base in candidates(guest, version) {
            let layers = format!("{}.{}", base.host.0, base.host.1);
            if let Some(change) = unanswered(base, version, self.facts) {
                refused.push(format!("the layers up to {layers} do not answer: {}", change.text()));
                continue;
            }
            tried = true;
            self.progress.step(&format!(
                "compiling adapters for guests of V8 {}.{} with the layers up to {layers} against V8 {version}'s headers",
                guest.0, guest.1
            ));
            let unit = base.with_cxx(self.cxx);
            let work = tempfile::tempdir().map_err(io("create a folder in", std::env::temp_dir()))?;
            self.headers.copy_to(&work.path().join("include"))?;
            let library = format!("relink-adapter-{}.so", name(&unit, version));
            match adapter::compile(compiler, &name(&unit, version), &unit, &library, work.path(), &log) {
                Ok(()) => {
                    let (from, to) = (work.path().join(&library), self.folder.join(&library));
                    write_own(&to, &fs::read(&from).map_err(io("read", &from))?)?;
                    return Ok((Made { library: to, guest, layers: base.host }, refused));
                }
                Err(KitError::Compile { first_error, .. }) => {
                    refused.push(format!("with the layers up to {layers}: {first_error}"));
                }
                Err(other) => return Err(other),
            }
        }
        if !refused.is_empty() && !tried {
            return Err(KitError::Unsupported {
                why: format!("there are no adapters for V8 {version}: {}", refused.join("; ")),
            });
        }
        let none =
            format!("there are no layers for a V8 of the guest's own line, or before {}", oldest_host().name);
        let first_error = if refused.is_empty() { none } else { refused.join("; ") };
        Err(KitError::Compile { what: format!("adapters for V8 {version}"), first_error, log })
    }
}

fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string_pretty(value).map_err(|e| KitError::Unsupported { why: format!("JSON: {e}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_older_layers_come_first_and_then_the_next_newer() {
        let of = |text: &str| {
            let version = V8Version::parse(text).expect("a version");
            candidates(GUEST, version).iter().map(|unit| unit.host).collect::<Vec<_>>()
        };
        let mut hosts: Vec<_> =
            UNITS.iter().filter(|unit| unit.guest == GUEST).map(|unit| unit.host).collect();
        hosts.sort_unstable();
        let newest = *hosts.last().expect("a unit");
        let between = hosts.windows(2).find(|pair| pair[1] == (13, 6)).expect("units around");
        assert_eq!(of("13.1.201.22"), between);
        assert_eq!(of("99.0.1.1"), [newest]);
        let (earlier, later): (Vec<_>, Vec<_>) = hosts.into_iter().partition(|host| *host < GUEST);
        assert_eq!(of("10.3.1.1"), later[..1]);
        assert_eq!(of(&format!("{}.{}.1.1", earlier[0].0, earlier[0].1)), earlier);
        assert!(of("10.0.139.17").is_empty());
        assert!(of("10.2.99.1").is_empty());
    }

    #[test]
    fn what_is_built_in_is_not_contradicted() {
        let version = V8Version::parse("12.4.254.21").expect("a version");
        let other = known_abis(V8Version::parse("11.3.244.8").expect("a version"))[0];
        let file = |facts: &Facts| AbiFile {
            schema: 1,
            compiler: String::new(),
            sources: Vec::new(),
            facts: facts.clone(),
            code: Default::default(),
        };
        let error = contradiction(version, &file(other.facts())).expect_err("another V8");
        assert_eq!(error.code(), "E0714");
        assert!(error.to_string().contains("12.4.254.21"), "{error}");
        assert!(contradiction(version, &file(known_abis(version)[0].facts())).expect("the same"));
        let unknown = V8Version::parse("12.4.99.1").expect("a version");
        assert!(!contradiction(unknown, &file(other.facts())).expect("nothing is known of it"));
    }
}
