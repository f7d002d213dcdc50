//! Packages of other suites of Debian, with all that they need: the stock libnodes of later Nodes, which want a newer C
//! library than this machine's. A program is run with them by the suite's own ld.so (`ld-linux-x86-64.so.2 --library-path …`).

use super::apt::{self, Deb};
use super::cache::{self, Cache, KeyBuilder};
use super::error::{io, KitError, Result};
use super::progress::Progress;
use super::run::{missing, Program};
use relink_abi::kept::triplet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// A libnode as Debian has it, with a V8 of its own.
#[derive(Clone, Copy, Debug)]
pub struct StockNode {
    /// The suite.
    pub suite: &'static str,
    /// The package, from which its file's name follows.
    package: &'static str,
    /// Node's major version.
    pub node: u32,
}

/// Node 20 with V8 11.3.
pub const TRIXIE: StockNode = StockNode { suite: "trixie", package: "libnode115", node: 20 };

/// Node 24 with V8 13.6. The suite is still being made: it may have another Node tomorrow.
pub const FORKY: StockNode = StockNode { suite: "forky", package: "libnode137", node: 24 };

/// A suite's libraries, unpacked in the cache.
#[derive(Clone, Debug)]
pub struct World {
    /// The libnode.
    pub library: PathBuf,
    /// The suite's ld.so.
    pub loader: PathBuf,
    /// The folder with the suite's libraries.
    pub libraries: PathBuf,
    /// The packages that are in it, each with its version.
    pub packages: Vec<String>,
}

impl World {
    /// What to call a program with, so that it runs with the suite's libraries: ld.so and its options.
    pub fn command(&self) -> Vec<OsString> {
        vec![self.loader.clone().into(), "--library-path".into(), self.libraries.clone().into()]
    }
}

/// The file that lists the packages.
const LIST: &str = "packages.txt";

/// The libnode and its libraries. They are fetched once: a suite that is still being made moves on.
pub fn stock_node(node: &StockNode, progress: &dyn Progress) -> Result<World> {
    let cache = Cache::locate()?;
    let key = KeyBuilder::new().add("suite", node.suite).add("package", node.package).finish();
    let dir = cache.get_or_make("suite", &key, progress, |work| fetch(&cache, node, work, progress))?;
    progress.finish();
    world(&dir, node)
}

fn world(dir: &Path, node: &StockNode) -> Result<World> {
    let libraries = dir.join("usr/lib").join(triplet());
    let loader = if cfg!(target_arch = "aarch64") { "ld-linux-aarch64.so.1" } else { "ld-linux-x86-64.so.2" };
    let list = dir.join(LIST);
    let packages = fs::read_to_string(&list).map_err(io("read", &list))?;
    let library = libraries.join(node.package.replacen("node", "node.so.", 1));
    let found = World {
        library,
        loader: libraries.join(loader),
        libraries,
        packages: packages.lines().map(str::to_owned).collect(),
    };
    let lost = [&found.library, &found.loader].into_iter().find(|file| !file.is_file()).cloned();
    match lost {
        Some(file) => Err(KitError::Package {
            package: node.package.into(),
            why: format!("{} is in none of its packages", file.display()),
        }),
        None => Ok(found),
    }
}

/// Lets apt choose and fetch the packages, as if nothing was installed yet, and unpacks them.
fn fetch(cache: &Cache, node: &StockNode, work: &Path, progress: &dyn Progress) -> Result<()> {
    if !missing(&["apt-get", "dpkg-deb"]).is_empty() {
        return Err(KitError::NoDebian { why: "this machine has no apt".into() });
    }
    let name = format!("apt-{}", node.suite);
    let _lock = cache.lock(&name, progress)?;
    let state = cache.folder(&name)?;
    let archives = work.join("archives");
    fs::create_dir_all(archives.join("partial")).map_err(io("create", &archives))?;
    private_state(&state, &one_suite(&apt::machine_sources()?, node.suite))?;
    let apt = |args: &[&str]| {
        let place = format!("Dir::Cache::archives={}", archives.display());
        let program = Program::new("apt-get").env("APT_CONFIG", state.join("apt.conf"));
        program.args(["-q", "-y", "-o", &place]).args(args).output().map_err(|e| unavailable(node, e))
    };
    progress.step(&format!("fetching {} and what it needs from Debian {}", node.package, node.suite));
    apt(&["update"])?;
    apt(&["install", "--download-only", "--no-install-recommends", node.package])?;
    let debs = fetched(&archives)?;
    apt::unpack(&debs, work)?;
    let list: String = debs.iter().map(|deb| format!("{} {}\n", deb.package, deb.version)).collect();
    cache::write_whole(&work.join(LIST), &list)?;
    cache::remove(&archives)?;
    world(work, node).map(drop)
}

/// The packages that apt has left in a folder, by name. It has checked them against the archive's signed index.
fn fetched(folder: &Path) -> Result<Vec<Deb>> {
    let files = fs::read_dir(folder).map_err(io("read", folder))?.flatten().map(|entry| entry.path());
    let mut debs: Vec<Deb> = files.filter_map(|file| deb(&file)).collect();
    debs.sort_by(|a, b| a.package.cmp(&b.package));
    Ok(debs)
}

/// `NAME_VERSION_ARCHITECTURE.deb`, as apt names files.
fn deb(file: &Path) -> Option<Deb> {
    let name = file.file_name()?.to_str()?.strip_suffix(".deb")?;
    let (package, rest) = name.split_once('_')?;
    let version = rest.rsplit_once('_')?.0.replace("%3a", ":");
    Some(Deb { package: package.into(), version, file: file.into(), sha256: String::new() })
}

/// Sets up a private apt state, in which nothing is installed; whether it is new. The machine's own archive and settings are
/// used.
pub(super) fn private_state(dir: &Path, list: &str) -> Result<bool> {
    let folder = |name: &str| {
        let path = dir.join(name);
        fs::create_dir_all(&path).map_err(io("create", &path)).map(|()| path)
    };
    for name in ["state/lists/partial", "cache/archives/partial", "log"] {
        folder(name)?;
    }
    let file = dir.join("debian.sources");
    let new = fs::read_to_string(&file).ok().as_deref() != Some(list);
    cache::write_whole(&file, list)?;
    cache::write_whole(&dir.join("state/status"), "")?;
    apt::copy_settings(Path::new("/etc/apt/apt.conf.d"), &folder("conf.d")?)?;
    cache::write_whole(&dir.join("apt.conf"), &apt::settings(dir))?;
    Ok(new)
}

/// The list for bookworm turned into one for another suite, without sources and updates (pure).
fn one_suite(list: &str, suite: &str) -> String {
    let main = |stanza: &&str| !stanza.contains("security");
    let line = |line: &str| match line.split_once(':') {
        Some(("Types", _)) => "Types: deb\n".to_owned(),
        Some(("Suites", _)) => format!("Suites: {suite}\n"),
        _ => format!("{line}\n"),
    };
    let stanzas: Vec<String> =
        list.split("\n\n").filter(main).map(|s| s.lines().map(line).collect()).collect();
    stanzas.join("\n")
}

fn unavailable(node: &StockNode, error: KitError) -> KitError {
    match error {
        KitError::Program { message, .. } => {
            let why = format!("{message} (Debian {})", node.suite);
            KitError::Package { package: node.package.into(), why }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_for_a_suite_keeps_archive_and_key() {
        let list = "Types: deb deb-src\nSuites: bookworm bookworm-updates\nUris: http://m\nSigned-By: /k\n\nTypes: deb deb-src\nSuites: bookworm-security\nUris: http://s\n";
        assert_eq!(one_suite(list, "x"), "Types: deb\nSuites: x\nUris: http://m\nSigned-By: /k\n");
    }

    #[test]
    fn packages_are_known_by_their_files() {
        let deb = |name: &str| deb(Path::new(name)).map(|deb| (deb.package, deb.version));
        let found = deb("/a/zlib1g_1%3a1.3.dfsg-3_amd64.deb");
        assert_eq!(found, Some(("zlib1g".to_owned(), "1:1.3.dfsg-3".to_owned())));
        for other in ["/a/lock", "/a/partial", "/a/x.deb"] {
            assert_eq!(deb(other), None);
        }
    }

    #[test]
    fn what_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(LIST), "").unwrap();
        let error = world(dir.path(), &TRIXIE).unwrap_err();
        assert!(error.code() == "E0706" && error.to_string().contains("libnode.so.115"), "{error}");
    }
}
