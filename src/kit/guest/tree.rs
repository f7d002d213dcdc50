//! The tree that is built: Node's source, made ready in the work folder.

use super::pinned::Pinned;
use super::recipe::{self, Recipe};
use crate::apt::{Apt, Deb, Source};
use crate::error::{io, KitError, Result};
use crate::files;
use crate::run::Program;
use relink_elf::cache::KeyBuilder;
use std::fs;
use std::path::{Path, PathBuf};

/// Where Node's source comes from.
pub enum Origin {
    /// Debian's source package, as tarballs.
    Debian(Source),
    /// Archives and packages that a line's recipe names.
    Pinned(Box<Pinned>),
    /// A folder of the user's (`--source`) and its files.
    Folder(PathBuf, Vec<PathBuf>),
}

/// One embedded JS builtin of another project.
#[derive(serde::Deserialize)]
struct Builtin {
    package: String,
    file: String,
    to: String,
}

impl Origin {
    /// The user's folder, if it is one of Node's source.
    pub fn folder(dir: &Path) -> Result<Self> {
        let dir = dir.canonicalize().map_err(|e| bad(dir, e.to_string()))?;
        for file in ["src/node_version.h", "node.gyp", "configure.py"] {
            if !dir.join(file).is_file() {
                return Err(bad(
                    &dir,
                    format!("there is no {file} in it; name the top folder of an unpacked Node source"),
                ));
            }
        }
        // What an earlier build in that folder left is not source.
        let leave_out = ["out", ".git", "config.gypi", "icu_config.gypi", "config.mk", "config.status"];
        let files = files::list(&dir, &|path| !leave_out.iter().any(|name| path == Path::new(name)))?;
        Ok(Self::Folder(dir, files))
    }

    /// Adds what identifies the source to a cache key.
    pub fn add_to(&self, key: KeyBuilder) -> Result<KeyBuilder> {
        match self {
            Self::Debian(source) => {
                Ok(key.add("debian source", &source.version).add("files", hash_all(&source.dir)?))
            }
            // All that is pinned stands in the recipe, which the key has anyway.
            Self::Pinned(_) => Ok(key),
            Self::Folder(dir, list) => Ok(key.add("source folder", files::hash(dir, list)?)),
        }
    }

    /// Puts the source, patched and complete, into `tree`.
    pub fn unpack(&self, tree: &Path, log: &Path) -> Result<()> {
        match self {
            Self::Debian(source) => {
                unpack_tarballs(&source.dir, tree)?;
                apply_patches(tree, log)
            }
            Self::Pinned(pinned) => pinned.unpack(tree),
            Self::Folder(dir, list) => files::copy(dir, list, tree),
        }
    }
}

fn bad(dir: &Path, why: String) -> KitError {
    KitError::Input { option: "--source", path: dir.into(), why }
}

fn hash_all(dir: &Path) -> Result<String> {
    let list = files::list(dir, &|path| path.extension().is_some_and(|e| e == "xz"))?;
    files::hash(dir, &list)
}

/// NAME.orig.tar.* is the tree, NAME.orig-PART.tar.* its folder PART, NAME.debian.tar.* its folder debian.
fn unpack_tarballs(from: &Path, tree: &Path) -> Result<()> {
    let mut tarballs: Vec<(String, PathBuf)> = files::list(from, &|_| true)?
        .into_iter()
        .filter_map(|file| Some((part(file.to_str()?)?, from.join(file))))
        .collect();
    tarballs.sort();
    for (part, tarball) in tarballs {
        let to = tree.join(&part);
        fs::create_dir_all(&to).map_err(io("create", &to))?;
        let args = [
            "-xf".as_ref(),
            tarball.as_os_str(),
            "--strip-components=1".as_ref(),
            "-C".as_ref(),
            to.as_os_str(),
        ];
        Program::new("tar").args(args).output()?;
    }
    Ok(())
}

/// The folder of the tree that a tarball of a 3.0 (quilt) source package unpacks to, "" for the tree itself.
fn part(name: &str) -> Option<String> {
    let (stem, _) = name.split_once(".tar.")?;
    if name.ends_with(".asc") {
        return None;
    }
    if stem.ends_with(".orig") {
        return Some(String::new());
    }
    if stem.ends_with(".debian") {
        return Some("debian".into());
    }
    stem.rsplit_once(".orig-").map(|(_, part)| part.to_string())
}

/// Applies debian/patches in the order of its series, as dpkg-source does.
fn apply_patches(tree: &Path, log: &Path) -> Result<()> {
    let series = tree.join("debian/patches/series");
    let text = fs::read_to_string(&series).map_err(io("read", &series))?;
    for patch in text.lines().map(|l| l.split('#').next().unwrap_or("").trim()).filter(|l| !l.is_empty()) {
        let file = tree.join("debian/patches").join(patch);
        let args = ["-p1".as_ref(), "-N".as_ref(), "-s".as_ref(), "-i".as_ref(), file.as_os_str()];
        match Program::new("patch").args(args).dir(tree).log(log).logged(|_| ()) {
            Err(KitError::Program { message, .. }) => {
                return Err(KitError::Patch { patch: patch.into(), tree: tree.into(), why: message })
            }
            other => other?,
        }
    }
    Ok(())
}

/// The names of the Debian packages that hold JS builtins: only Node 18 takes them from there.
pub fn builtin_packages(line: &Recipe) -> Result<Vec<String>> {
    if line.node != 18 {
        return Ok(Vec::new());
    }
    let mut names: Vec<String> = builtins()?.into_iter().map(|b| b.package).collect();
    names.dedup();
    Ok(names)
}

fn builtins() -> Result<Vec<Builtin>> {
    serde_json::from_str(recipe::BUILTINS).map_err(|e| KitError::Unsupported {
        why: format!("builtins.json of this program is malformed: {e}"),
    })
}

/// Puts the JS builtins that the source lacks where upstream has them; Node then embeds them.
pub fn add_builtins(tree: &Path, root: &Path) -> Result<()> {
    for builtin in builtins()? {
        let to = tree.join(&builtin.to);
        if to.exists() {
            continue;
        }
        let from = root.join("usr/share/nodejs").join(&builtin.file);
        let text = fs::read(&from).map_err(io("read", &from))?;
        // js2c of newer Nodes writes C++ raw strings, in which a compiler turns CR LF into LF: the length is then wrong.
        let text: Vec<u8> = text.into_iter().filter(|&byte| byte != b'\r').collect();
        let parent = to.parent().unwrap_or(tree);
        fs::create_dir_all(parent).map_err(io("create", parent))?;
        fs::write(&to, text).map_err(io("write", &to))?;
    }
    Ok(())
}

/// Puts headers and libraries of the dependencies into folders where nothing else is: an -I or -L for a whole /usr
/// would shadow the sources that Node brings itself.
pub fn add_dependencies(line: &Recipe, root: &Path, deps: &Path) -> Result<()> {
    let triplet = relink_abi::kept::triplet();
    for (folder, name) in line.headers {
        for base in ["usr/include".to_string(), format!("usr/include/{triplet}")] {
            let from = root.join(base).join(name);
            if from.is_dir() {
                files::copy(
                    &from,
                    &files::list(&from, &|_| true)?,
                    &deps.join("include").join(folder).join(name),
                )?;
            } else if from.is_file() {
                let to = deps.join("include").join(folder);
                fs::create_dir_all(&to).map_err(io("create", &to))?;
                fs::copy(&from, to.join(name)).map_err(io("copy", &from))?;
            }
        }
    }
    let lib = deps.join("lib");
    fs::create_dir_all(&lib).map_err(io("create", &lib))?;
    let from = root.join("usr/lib").join(triplet);
    for name in line.libraries {
        fs::copy(from.join(name), lib.join(name)).map_err(io("read", from.join(name)))?;
    }
    for name in ["libicui18n.so", "libicuuc.so", "libicudata.so"] {
        fs::copy(from.join(name), lib.join(name)).map_err(io("read", from.join(name)))?;
    }
    Ok(())
}

/// All Debian packages that the build takes from; GYP too where the source lacks it (Debian's newer tarballs do).
pub fn packages(line: &Recipe, apt: &Apt, needs_gyp: bool) -> Result<Vec<Deb>> {
    let builtins = builtin_packages(line)?;
    let mut names: Vec<&str> =
        line.packages.iter().copied().chain(builtins.iter().map(String::as_str)).collect();
    if needs_gyp && !names.contains(&"gyp") {
        names.push("gyp");
    }
    apt.packages(&names)
}

/// Numbers of a Node source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// `MAJOR.MINOR.PATCH`.
    pub version: String,
    /// `NODE_MODULE_VERSION`.
    pub module_version: u32,
}

/// Reads src/node_version.h.
pub fn node_facts(tree: &Path) -> Result<NodeFacts> {
    let file = tree.join("src/node_version.h");
    let text = fs::read_to_string(&file).map_err(io("read", &file))?;
    parse_node_version(&text)
        .ok_or_else(|| bad(tree, "src/node_version.h does not define NODE_MAJOR_VERSION and so on".into()))
}

fn parse_node_version(text: &str) -> Option<NodeFacts> {
    let number = |name: &str| -> Option<u32> {
        text.lines().find_map(|l| l.strip_prefix("#define ")?.strip_prefix(name)?.trim().parse().ok())
    };
    let [major, minor, patch] =
        ["NODE_MAJOR_VERSION", "NODE_MINOR_VERSION", "NODE_PATCH_VERSION"].map(number);
    let version = format!("{}.{}.{}", major?, minor?, patch?);
    Some(NodeFacts { version, module_version: number("NODE_MODULE_VERSION")? })
}

/// The embedder's suffix of V8's version, from a common.gypi; "" where there is none.
pub fn v8_embedder(common_gypi: &Path) -> String {
    let text = fs::read_to_string(common_gypi).unwrap_or_default();
    let line = text.lines().find_map(|l| l.trim().strip_prefix("'v8_embedder_string':")).unwrap_or("");
    line.trim().trim_end_matches(',').trim_matches('\'').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tarballs_of_a_source_package_have_their_places() {
        let place = |name: &str| part(name);
        assert_eq!(place("nodejs_18.20.4+dfsg.orig.tar.xz").as_deref(), Some(""));
        assert_eq!(place("nodejs_18.20.4+dfsg.orig-types-node.tar.xz").as_deref(), Some("types-node"));
        assert_eq!(place("nodejs_18.20.4+dfsg-1~deb12u2.debian.tar.xz").as_deref(), Some("debian"));
        assert_eq!(place("nodejs_18.20.4.dsc"), None);
        assert_eq!(place("x.orig.tar.xz.asc"), None);
    }

    #[test]
    fn patches_are_applied_in_order_and_a_bad_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let patches = dir.path().join("debian/patches");
        fs::create_dir_all(&patches).unwrap();
        fs::write(dir.path().join("f"), "a\n").unwrap();
        fs::write(patches.join("1"), "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n").unwrap();
        fs::write(patches.join("2"), "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-b\n+c\n").unwrap();
        fs::write(patches.join("series"), "1\n# remark\n2 # more\n\n").unwrap();
        let log = dir.path().join("log");
        apply_patches(dir.path(), &log).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("f")).unwrap(), "c\n");
        let error = apply_patches(dir.path(), &log).unwrap_err();
        assert!(matches!(&error, KitError::Patch { patch, .. } if patch == "1"), "{error}");
    }

    #[test]
    fn builtins_lose_their_carriage_returns_and_never_replace() {
        let [tree, root] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        for builtin in builtins().unwrap() {
            let file = root.path().join("usr/share/nodejs").join(&builtin.file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "one\r\ntwo\n").unwrap();
        }
        fs::create_dir_all(tree.path().join("deps/undici")).unwrap();
        fs::write(tree.path().join("deps/undici/undici.js"), "own").unwrap();
        add_builtins(tree.path(), root.path()).unwrap();
        let read = |name: &str| fs::read_to_string(tree.path().join(name)).unwrap();
        assert_eq!(read("deps/undici/undici.js"), "own");
        assert_eq!(read("deps/acorn/acorn/dist/acorn.js"), "one\ntwo\n");
    }

    #[test]
    fn numbers_are_read_from_the_headers() {
        let text = "#define NODE_MAJOR_VERSION 18\n#define NODE_MINOR_VERSION 20\n#define NODE_PATCH_VERSION 4\n#define NODE_MODULE_VERSION 108\n";
        let facts = NodeFacts { version: "18.20.4".into(), module_version: 108 };
        assert_eq!(parse_node_version(text), Some(facts));
        assert_eq!(parse_node_version("#define NODE_MAJOR_VERSION x"), None);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("common.gypi");
        fs::write(&file, "{\n    'v8_embedder_string': '-node.37',\n}").unwrap();
        assert_eq!(
            (v8_embedder(&file).as_str(), v8_embedder(Path::new("/nowhere")).as_str()),
            ("-node.37", "")
        );
    }

    #[test]
    fn a_folder_that_is_no_node_source_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let error = Origin::folder(dir.path()).err().unwrap();
        assert!(error.to_string().contains("no src/node_version.h"), "{error}");
    }
}
