//! Real hosts: processes with a V8 of their own, made of published parts.

use super::apt::{self, Apt, Deb};
use super::cache::{Cache, KeyBuilder};
use super::error::{io, KitError, Result};
use super::npm;
use super::progress::Progress;
use super::run::{missing, Program};
use relink_abi::kept::{host_file, triplet, LIBV8_SONAME};
use relink_abi::line::{Line, NODES};
use relink_elf::arch::Arch;
use relink_elf::{Dynamic, FileImage};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The game server's source, which is compiled with the machine's compiler.
pub(super) const GAMESERVER: &str = include_str!("../../fixtures/hosts/gameserver.cc");
/// Version of the official Node that is host and plain Node in tests and demo.
pub const NODE_VERSION: &str = "18.20.4";

/// Debian's libnode, used as a libv8 and as a stock guest, its headers, and what it needs beyond the C and C++ run time: as
/// a guest it reads some of Node's own scripts from the last three.
const LIBV8_PACKAGES: [&str; 12] = [
    "libnode108",
    "libnode-dev",
    "libuv1",
    "libc-ares2",
    "libnghttp2-14",
    "libbrotli1",
    "libssl3",
    "libicu72",
    "zlib1g",
    "node-acorn",
    "node-cjs-module-lexer",
    "node-undici",
];
/// libnode-dev's node.h includes uv.h, and that of libuv its own; not needed for V8's headers alone.
const HEADER_PACKAGES: [&str; 1] = ["libuv1-dev"];

/// A V8 as a shared library, with its headers.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LibV8 {
    /// The library.
    pub library: PathBuf,
    /// The folder with it and all it needs.
    pub lib_dir: PathBuf,
    /// The folder that holds v8.h and node.h.
    pub include: PathBuf,
}

/// The game server, compiled.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Gameserver {
    /// The executable; finds its V8 by DT_RPATH.
    pub executable: PathBuf,
    /// The V8 it is linked with.
    pub v8: LibV8,
}

/// Debian's V8 10.2 as a shared library, unpacked in the cache.
pub fn libv8(progress: &dyn Progress) -> Result<LibV8> {
    let cache = Cache::locate()?;
    let debs = fetch(&cache, progress)?;
    let key = debs.iter().fold(KeyBuilder::new(), |key, deb| key.add(&deb.package, &deb.sha256)).finish();
    let dir = cache.get_or_make("libv8", &key, progress, |work| {
        progress.step("unpacking Debian's V8");
        apt::unpack(&debs, work)?;
        check_closure(&at(work).lib_dir)
    })?;
    progress.finish();
    remember(&cache, "libv8", &dir)?;
    Ok(at(&dir))
}

/// The official Node executable of a version, from npm, unpacked in the cache. include/node lies beside bin.
pub fn official_node(version: &str, progress: &dyn Progress) -> Result<PathBuf> {
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let cache = Cache::locate()?;
    let dir = npm::package(&cache, &format!("node-linux-{machine}"), version, progress)?;
    progress.finish();
    let node = dir.join("bin/node");
    if !node.is_file() {
        return Err(KitError::Npm {
            package: format!("node-linux-{machine}@{version}"),
            why: "it has no bin/node".into(),
        });
    }
    remember(&cache, &format!("node-{version}"), &dir)?;
    Ok(node)
}

/// The version of the official Node that is the host of a line.
pub fn version_of(line: &Line) -> &'static str {
    let node = NODES.iter().find(|node| node.v8 == line.v8);
    node.map_or(NODE_VERSION, |node| node.version)
}

/// A Node that is not relinked, to compare with: the official executable. (Debian's own opens files under
/// /usr/share/nodejs, so its executable alone does not run.)
pub fn plain_node(progress: &dyn Progress) -> Result<PathBuf> {
    official_node(NODE_VERSION, progress)
}

/// The game server, compiled by the machine's g++ against Debian's V8.
pub fn gameserver(progress: &dyn Progress) -> Result<Gameserver> {
    if !missing(&["g++"]).is_empty() {
        return Err(KitError::MissingTools {
            tools: vec!["g++".into()],
            remedy: "apt-get install -y g++".into(),
        });
    }
    let cache = Cache::locate()?;
    let v8 = libv8(progress)?;
    let compiler = Program::new("g++").args(["--version"]).output()?;
    let flags = flags(&v8);
    let key =
        KeyBuilder::new().add("source", GAMESERVER).add("compiler", compiler).add("flags", flags.join("\0"));
    let dir =
        cache.get_or_make("gameserver", &key.finish(), progress, |work| compile(work, &flags, progress))?;
    progress.finish();
    remember(&cache, "gameserver", &dir)?;
    Ok(Gameserver { executable: dir.join("gameserver"), v8 })
}

/// Where a host lies that was fetched before; asks no network.
pub fn path(host: &'static str) -> Result<PathBuf> {
    let (name, inside) = match host {
        "gameserver" => ("gameserver".to_string(), "gameserver".to_string()),
        "node" => (format!("node-{NODE_VERSION}"), "bin/node".to_string()),
        _ => ("libv8".to_string(), format!("usr/lib/{}/{LIBV8_SONAME}", triplet())),
    };
    let cache = Cache::locate()?;
    let not_built = || KitError::NotBuilt { what: host, remedy: "relink host fetch" };
    let dir = fs::read_to_string(cache.root().join(host_file(&name))).map_err(|_| not_built())?;
    let file = Path::new(dir.trim()).join(inside);
    if host == "gameserver" && !source_is_current(Path::new(dir.trim())) {
        return Err(not_built());
    }
    file.is_file().then_some(file).ok_or_else(not_built)
}

/// Whether a compiled game server is one of the source in this program.
pub(super) fn source_is_current(dir: &Path) -> bool {
    fs::read_to_string(dir.join("gameserver.cc")).is_ok_and(|text| text == GAMESERVER)
}

pub(super) fn remember(cache: &Cache, name: &str, dir: &Path) -> Result<()> {
    super::cache::write_whole(&cache.root().join(host_file(name)), &dir.display().to_string())
}

fn fetch(cache: &Cache, progress: &dyn Progress) -> Result<Vec<Deb>> {
    let apt = Apt::open(cache, progress)?;
    progress.step("fetching Debian's V8");
    let names: Vec<&str> = LIBV8_PACKAGES.into_iter().chain(HEADER_PACKAGES).collect();
    apt.packages(&names)
}

fn at(dir: &Path) -> LibV8 {
    let lib_dir = dir.join("usr/lib").join(triplet());
    LibV8 { library: lib_dir.join(LIBV8_SONAME), lib_dir, include: dir.join("usr/include/node") }
}

/// Fails if the library needs something that is neither in the folder nor part of the C or C++ run time.
fn check_closure(lib_dir: &Path) -> Result<()> {
    let mut seen = HashSet::new();
    let mut todo = vec![LIBV8_SONAME.to_string()];
    while let Some(name) = todo.pop() {
        let file = lib_dir.join(&name);
        if !seen.insert(name.clone()) || is_runtime(&name) {
            continue;
        }
        if !file.is_file() {
            return Err(KitError::Package {
                package: "libnode108".into(),
                why: format!("{name} is in none of its packages"),
            });
        }
        todo.extend(needed(&file)?);
    }
    Ok(())
}

fn is_runtime(name: &str) -> bool {
    let stems = [
        "libc.so",
        "libm.so",
        "libdl.so",
        "libpthread.so",
        "librt.so",
        "libstdc++.so",
        "libgcc_s.so",
        "ld-linux",
    ];
    stems.iter().any(|stem| name.starts_with(stem))
}

fn needed(file: &Path) -> Result<Vec<String>> {
    let bytes = fs::read(file).map_err(io("read", file))?;
    let bad = |e: relink_elf::ElfError| KitError::Input {
        option: "library",
        path: file.into(),
        why: e.to_string(),
    };
    let image = FileImage::parse(&bytes, Arch::native()).map_err(bad)?;
    let dynamic = Dynamic::parse(&image.image).map_err(bad)?;
    Ok(dynamic.needed().map_err(bad)?.into_iter().map(String::from).collect())
}

fn flags(v8: &LibV8) -> Vec<String> {
    let [include, lib] = [v8.include.display(), v8.lib_dir.display()];
    let uv = v8.include.parent().unwrap_or(&v8.include).display();
    vec![
        "-std=c++17".into(),
        "-O2".into(),
        "-g1".into(),
        format!("-isystem{include}"),
        format!("-isystem{uv}"),
        "-o".into(),
        "gameserver".into(),
        "gameserver.cc".into(),
        v8.library.display().to_string(),
        // DT_RPATH, not DT_RUNPATH: it also serves what libnode itself needs.
        format!("-Wl,--disable-new-dtags,-rpath,{lib},-rpath-link,{lib}"),
        "-pthread".into(),
    ]
}

fn compile(work: &Path, flags: &[String], progress: &dyn Progress) -> Result<()> {
    progress.step("compiling the game server");
    super::cache::write_whole(&work.join("gameserver.cc"), GAMESERVER)?;
    let log = work.join("log");
    match Program::new("g++").args(flags).dir(work).log(&log).logged(|_| ()) {
        Err(KitError::Program { message, .. }) => {
            let first_error = message.split("; full log: ").next().unwrap_or_default().to_string();
            Err(KitError::Compile { what: "the game server".into(), first_error, log })
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_nobody_brings_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(check_closure(dir.path()).unwrap_err().to_string().contains(LIBV8_SONAME));
        let library = dir.path().join(LIBV8_SONAME);
        let source = dir.path().join("x.c");
        fs::write(&source, "int x;").unwrap();
        let args = ["-shared", "-Wl,--no-as-needed", "-lz", "-o"];
        let run = std::process::Command::new("gcc").arg(&source).args(args).arg(&library).status().unwrap();
        assert!(run.success());
        assert!(check_closure(dir.path()).unwrap_err().to_string().contains("libz.so.1"));
        fs::rename(&library, dir.path().join("libz.so.1")).unwrap();
        let run = std::process::Command::new("gcc")
            .arg(&source)
            .args(["-shared", "-o"])
            .arg(&library)
            .status()
            .unwrap();
        assert!(run.success());
        check_closure(dir.path()).unwrap();
    }

    #[test]
    fn the_default_node_is_that_of_the_oldest_line() {
        assert_eq!(version_of(relink_abi::line::oldest()), NODE_VERSION);
    }

    #[test]
    fn an_unknown_host_is_not_built() {
        assert!(!source_is_current(Path::new("/nowhere")));
        assert_eq!(host_file("libv8"), "host-libv8.path");
    }
}
