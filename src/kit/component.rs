//! A host whose V8 was made as Counter-Strike 2's: Chromium's tools, clang with libc++, several libraries (a component build).
//!
//! The V8 is a folder with `libv8.so`, the libraries that it needs, and its headers in `include`: the one that [`COMPONENT`] names,
//! or else the one that `relink host build v8-component` left in the cache.

use super::cache::{write_whole, Cache, KeyBuilder};
use super::clang::{clang, cxx_of, libcxx};
use super::error::{KitError, Result};
use super::hosts::{remember, source_is_current, GAMESERVER};
use super::progress::{Progress, Silent};
use super::run::Program;
use relink_abi::kept::host_file;
use std::fs;
use std::path::{Path, PathBuf};

/// The variable that names a folder with such a V8.
pub const COMPONENT: &str = "RELINK_V8_COMPONENT";

/// Its name in the cache and in messages.
pub const NAME: &str = "v8-component";

/// The host's name in the cache and in the matrix.
pub const HOST: &str = "component-gameserver";

/// The file that has V8's first snapshot, where it is not in the library.
pub(super) const SNAPSHOT: &str = "snapshot_blob.bin";

/// The file beside the compiled host that names the V8 it is linked with.
const LINKED_WITH: &str = "v8.path";

/// Where the V8 is.
///
/// # Errors
/// There is none, or the folder that the variable names is no such V8.
pub fn v8() -> Result<PathBuf> {
    let complete = |dir: &Path| dir.join("libv8.so").is_file() && dir.join("include/v8.h").is_file();
    if let Some(named) = std::env::var_os(COMPONENT).filter(|value| !value.is_empty()) {
        let bad = |why: String| KitError::Input { option: COMPONENT, path: (&named).into(), why };
        let dir = fs::canonicalize(&named).map_err(|e| bad(e.to_string()))?;
        return match complete(&dir) {
            true => Ok(dir),
            false => Err(bad("it has no libv8.so with its headers in include".into())),
        };
    }
    let remembered = Cache::locate()?.root().join(host_file(NAME));
    let dir = fs::read_to_string(remembered).map(|text| PathBuf::from(text.trim())).ok();
    dir.filter(|dir| complete(dir)).ok_or(KitError::NotBuilt {
        what: "a V8 of Chromium's component build",
        remedy: "relink host build v8-component` (an hour and a half on two cores), or name a folder that has one: `RELINK_V8_COMPONENT=DIR",
    })
}

/// Whether there is one.
pub fn is_there() -> bool {
    v8().is_ok()
}

/// Major and minor version of a V8, by its headers.
pub fn version(v8: &Path) -> Option<(u32, u32)> {
    let text = fs::read_to_string(v8.join("include/v8-version.h")).ok()?;
    let number = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix("#define ")?.strip_prefix(name))?;
        line.trim().parse().ok()
    };
    Some((number("V8_MAJOR_VERSION")?, number("V8_MINOR_VERSION")?))
}

/// What compiles programs for such a V8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// clang++.
    pub compiler: PathBuf,
    /// What it is told to compile with the V8's headers and C++ library.
    pub compile: Vec<String>,
    /// What it is told to link.
    pub link: Vec<String>,
}

/// What compiles programs for the V8 in this folder.
///
/// # Errors
/// The compiler or the C++ library cannot be had; the V8 does not tell its C++ library.
pub fn toolchain(v8: &Path, progress: &dyn Progress) -> Result<Toolchain> {
    let library = v8.join("libv8.so");
    let cxx = cxx_of(COMPONENT, &library)?;
    let compiler = clang(progress)?;
    let dir = v8.display();
    let mut compile: Vec<String> = vec!["-std=c++20".into(), "-pthread".into()];
    let mut link: Vec<String> = Vec::new();
    if let Some(namespace) = cxx.namespace() {
        let libcxx = libcxx(namespace, progress)?;
        let part = |name: &str| format!("-isystem{}", libcxx.join(name).display());
        compile.extend(["-nostdinc++".into(), part("site"), part("include")]);
        link.push("-nostdlib++".into());
    }
    compile.extend(["-DUSING_V8_SHARED".into(), "-DUSING_V8_PLATFORM_SHARED".into()]);
    compile.push(format!("-isystem{dir}/include"));
    if v8.join(SNAPSHOT).is_file() {
        compile.push(format!("-DV8_SNAPSHOT=\"{dir}/{SNAPSHOT}\""));
    }
    // The C++ library has a file of its own in builds for tests, and is in libv8_libcpp.so in games.
    let names = ["libv8.so", "libv8_libplatform.so", "libv8_libbase.so", "libv8_libcpp.so", "libc++.so"];
    let there = names.iter().map(|name| v8.join(name)).filter(|file| file.is_file());
    link.extend(there.map(|file| file.display().to_string()));
    link.push(format!("-Wl,--disable-new-dtags,-rpath,{dir},-rpath-link,{dir}"));
    Ok(Toolchain { compiler, compile, link })
}

/// The game server, compiled for the V8 that there is ([`v8`]).
///
/// # Errors
/// There is none, or what compiles for it cannot be had.
pub fn gameserver(progress: &dyn Progress) -> Result<PathBuf> {
    let cache = Cache::locate()?;
    let v8 = v8()?;
    let tools = toolchain(&v8, progress)?;
    let version = Program::new(&tools.compiler).args(["--version"]).output()?;
    let key = KeyBuilder::new().add("source", GAMESERVER).add("compiler", version);
    let key = key.add("compile", tools.compile.join("\0")).add("link", tools.link.join("\0")).finish();
    let dir = cache.get_or_make(HOST, &key, progress, |work| {
        progress.step("compiling the game server for a V8 of Chromium's component build");
        write_whole(&work.join("gameserver.cc"), GAMESERVER)?;
        write_whole(&work.join(LINKED_WITH), &v8.display().to_string())?;
        let args = ["-O2", "-g1", "gameserver.cc", "-o", HOST];
        let log = work.join("log");
        let run = Program::new(&tools.compiler).args(&tools.compile).args(args).args(&tools.link);
        run.dir(work).log(&log).logged(|_| ()).map_err(|error| match error {
            KitError::Program { message, .. } => {
                let first_error = message.split("; full log: ").next().unwrap_or_default().to_owned();
                KitError::Compile { what: HOST.into(), first_error, log }
            }
            other => other,
        })
    })?;
    progress.finish();
    remember(&cache, HOST, &dir)?;
    Ok(dir.join(HOST))
}

/// Where the compiled game server lies. It is compiled where it was not yet, or with another V8.
///
/// # Errors
/// As [`gameserver`].
pub fn path() -> Result<PathBuf> {
    let v8 = v8()?;
    let remembered = fs::read_to_string(Cache::locate()?.root().join(host_file(HOST)));
    let dir = remembered.map(|text| PathBuf::from(text.trim())).unwrap_or_default();
    let is_for_it = fs::read_to_string(dir.join(LINKED_WITH)).is_ok_and(|text| Path::new(&text) == v8);
    match is_for_it && source_is_current(&dir) && dir.join(HOST).is_file() {
        true => Ok(dir.join(HOST)),
        false => gameserver(&Silent),
    }
}
