//! Node's tests in the cache: the sources of the guest of their line. Those of Node 18 are Debian's, with its patches, and the
//! runner as upstream has it; those of later lines are upstream's as they are.

use crate::apt::{Apt, Source};
use crate::cache::{remove, write_whole, Cache, Key};
use crate::error::{io, KitError, Result};
use crate::guest::{origin_of, version_of, Origin, SOURCE_PACKAGE};
use crate::progress::Progress;
use crate::run::{missing, Program};
use relink_elf::cache::KeyBuilder;
use std::fs;
use std::path::{Path, PathBuf};

/// Files that are taken from upstream's tarball again: Debian's runner starts `./node` whatever `--shell` says, and its
/// lists leave out or excuse tests that its build machines cannot run.
const UPSTREAMS: [&str; 4] = [
    "tools/test.py",
    "test/parallel/parallel.status",
    "test/sequential/sequential.status",
    "test/common/index.js",
];
/// Large folders that no test looks into.
const LEFT_OUT: [&str; 1] = ["deps/openssl"];
/// Programs that are needed besides those of every step: the runner is a Python program.
const TOOLS: [&str; 4] = ["python3", "patch", "tar", "xz"];
/// Compiles add-ons as node-gyp would, which would need a network.
const BUILD_ADDONS: &str = include_str!("../../../fixtures/parity/build_addons.py");
/// Raised when the steps below change what comes out.
const STEPS: &str = "1";

/// The unpacked source.
pub struct Tests {
    /// Its top folder: `tools/test.py` and `test` are in it.
    pub dir: PathBuf,
    /// What it was made from.
    pub key: Key,
}

/// The tests of a line, by Node's major version, unpacked on first use.
pub fn tests(cache: &Cache, line: u32, progress: &dyn Progress) -> Result<Tests> {
    let missing: Vec<String> = missing(&TOOLS).into_iter().map(String::from).collect();
    if !missing.is_empty() {
        let remedy = format!("apt-get install -y {}", missing.join(" ").replace("xz", "xz-utils"));
        return Err(KitError::MissingTools { tools: missing, remedy });
    }
    progress.step("fetching Node's source");
    let (origin, recipe) = origin_of(line, cache, &Apt::open(cache, progress)?, progress)?;
    let key = origin.add_to(KeyBuilder::new().add("steps", STEPS))?;
    let key = if let Origin::Debian(_) = origin { key } else { key.add("recipe", recipe) }.finish();
    let log = cache.folder("logs")?.join(format!("node-tests-{}.log", version_of(line)?));
    let dir = cache.get_or_make("node-tests", &key, progress, |work| {
        progress.step("unpacking Node's tests");
        remove(work)?;
        fs::create_dir_all(work).map_err(io("create", work))?;
        origin.unpack(work, &log)?;
        if let Origin::Debian(source) = &origin {
            take_upstreams(source, work)?;
        }
        LEFT_OUT.iter().try_for_each(|folder| remove(&work.join(folder)))
    })?;
    progress.finish();
    Ok(Tests { dir, key })
}

fn take_upstreams(source: &Source, tree: &Path) -> Result<()> {
    let tarball = upstream_tarball(&source.dir)?;
    let members = UPSTREAMS.iter().map(|file| format!("*/{file}").into());
    let fixed = ["-xf", "--strip-components=1", "--wildcards", "-C"].map(std::ffi::OsString::from);
    let [extract, strip, wildcards, into] = fixed;
    let head = [extract, tarball.into(), strip, wildcards, into, tree.into()];
    Program::new("tar").args(head.into_iter().chain(members)).output().map(drop)
}

/// NAME.orig.tar.*; the parts of a source package are named NAME.orig-PART.tar.*.
fn upstream_tarball(dir: &Path) -> Result<PathBuf> {
    let names = fs::read_dir(dir).map_err(io("read", dir))?.flatten();
    let is_upstreams =
        |path: &PathBuf| path.to_string_lossy().contains(".orig.tar.") && !path.ends_with(".asc");
    let why = format!("there is no .orig.tar in {}", dir.display());
    names
        .map(|e| e.path())
        .find(is_upstreams)
        .ok_or(KitError::Package { package: SOURCE_PACKAGE.into(), why })
}

/// Compiles the add-ons of a suite against the headers that belong to an official Node executable; once.
pub fn build_addons(
    tests: &Tests,
    folder: &str,
    node: &Path,
    jobs: usize,
    progress: &dyn Progress,
) -> Result<()> {
    let include = node.ancestors().nth(2).unwrap_or(node).join("include/node");
    if !include.join("node_api.h").is_file() {
        let why = "there is no node_api.h; name an executable that has include/node beside its bin".into();
        return Err(KitError::Input { option: "--plain", path: include, why });
    }
    let key =
        KeyBuilder::new().add("script", BUILD_ADDONS).add("headers", include.to_string_lossy().as_bytes());
    let stamp = tests.dir.join("test").join(folder).join(format!(".built-{}", &key.finish().hex()[..20]));
    if stamp.exists() {
        return Ok(());
    }
    progress.step(&format!("compiling the add-ons of {folder}"));
    let script = tests.dir.join("tools/relink-build-addons.py");
    write_whole(&script, BUILD_ADDONS)?;
    let words = [script, PathBuf::from("test").join(folder), include, jobs.to_string().into()];
    Program::new("python3").args(words).dir(&tests.dir).output()?;
    progress.finish();
    write_whole(&stamp, "")
}
