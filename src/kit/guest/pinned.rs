//! The sources of the later lines: archives and packages, each pinned by version and checksum, put together to the tree
//! that upstream's release is.
//!
//! Debian's tarballs of Node 20 and later lack the dependencies that Debian packages by themselves. These are taken from
//! their own releases and put where upstream has them, each with a GYP file of ours (fixtures/guests/deps).

use super::recipe::Recipe;
use crate::apt::Apt;
use crate::cache::{self, Cache};
use crate::error::{io, KitError, Result};
use crate::progress::Progress;
use crate::run::Program;
use crate::{npm, pypi};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};

/// The bundler of upstream's own scripts for deps/undici and deps/minimatch.
const ESBUILD: &str = "0.25.5";

/// What a line's `sources.json` says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sources {
    /// Node's version, to be checked against the source.
    pub node: String,
    archives: Vec<Archive>,
    /// Folders of deps for which a GYP file of ours is used.
    pub dependencies: Vec<String>,
    #[serde(default)]
    edits: Vec<Edit>,
    scripts: Vec<Script>,
    bundles: Vec<Bundle>,
}

/// A tarball, and the folder of the tree to which its top folder goes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Archive {
    /// Its path in the pool of Debian's archive.
    pool: Option<String>,
    /// Or `NAME==VERSION` of a package of the Python index, whose file this is.
    pypi: Option<String>,
    sha256: String,
    to: String,
    /// Only this folder of it.
    #[serde(default)]
    inside: String,
}

/// A text of Node's own that is replaced. Must be found: a source that differs is not the one the edit was made for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    file: String,
    from: String,
    to: String,
}

/// A file of an npm package, and its place in the tree.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    package: String,
    version: String,
    file: String,
    to: String,
}

/// A file of an npm package that is bundled with what it requires.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bundle {
    package: String,
    version: String,
    file: String,
    to: String,
    needs: Vec<(String, String)>,
    options: Vec<String>,
}

/// Everything of a line, fetched.
pub struct Pinned {
    sources: Sources,
    archives: Vec<PathBuf>,
    /// One folder for each script, then one for each bundle and its needs.
    packages: Vec<PathBuf>,
    esbuild: PathBuf,
    recipe: &'static Recipe,
}

impl Pinned {
    /// Fetches what the recipe's sources name.
    pub fn fetch(
        recipe: &'static Recipe,
        cache: &Cache,
        apt: &Apt,
        progress: &dyn Progress,
    ) -> Result<Option<Self>> {
        let Some(sources) = recipe.sources()? else { return Ok(None) };
        let mut archives = Vec::new();
        for (n, archive) in sources.archives.iter().enumerate() {
            progress.advance(n, sources.archives.len(), &archive.to);
            archives.push(archive.fetch(cache, apt)?);
        }
        let wanted = sources.packages();
        let fetch = |(name, version): &(&str, &str)| npm::package(cache, name, version, progress);
        let packages = wanted.iter().map(fetch).collect::<Result<_>>()?;
        let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
        let esbuild = npm::package(cache, &format!("@esbuild/linux-{machine}"), ESBUILD, progress)?;
        Ok(Some(Self { sources, archives, packages, esbuild: esbuild.join("bin/esbuild"), recipe }))
    }

    /// Puts the source, complete, into `tree`.
    pub fn unpack(&self, tree: &Path) -> Result<()> {
        for (archive, file) in self.sources.archives.iter().zip(&self.archives) {
            archive.unpack(file, tree)?;
        }
        let found = super::tree::node_facts(tree)?.version;
        if found != self.sources.node {
            let why = format!("it is Node {found}, not {}", self.sources.node);
            return Err(KitError::Package { package: "nodejs".into(), why });
        }
        for (path, text) in self.recipe.dependency_files(&self.sources.dependencies) {
            write(&tree.join(path), text.as_bytes())?;
        }
        self.sources.edits.iter().try_for_each(|edit| edit.apply(tree))?;
        self.add_scripts(tree)
    }

    fn add_scripts(&self, tree: &Path) -> Result<()> {
        let folders: Vec<(&str, &Path)> = self
            .sources
            .packages()
            .iter()
            .map(|(name, _)| *name)
            .zip(self.packages.iter().map(PathBuf::as_path))
            .collect();
        let (scripts, mut rest) = folders.split_at(self.sources.scripts.len());
        for (script, (_, folder)) in self.sources.scripts.iter().zip(scripts) {
            let from = folder.join(&script.file);
            write_script(&tree.join(&script.to), &fs::read(&from).map_err(io("read", &from))?)?;
        }
        for bundle in &self.sources.bundles {
            let (own, others) = rest.split_at(1 + bundle.needs.len());
            self.bundle(bundle, own, tree)?;
            rest = others;
        }
        Ok(())
    }

    /// Bundles in a folder of its own, in which esbuild finds the needs as npm would have laid them out.
    fn bundle(&self, bundle: &Bundle, packages: &[(&str, &Path)], tree: &Path) -> Result<()> {
        let folder = tree.join("relink-bundle");
        let modules = folder.join("node_modules");
        fs::create_dir_all(&modules).map_err(io("create", &modules))?;
        for (name, from) in packages {
            let to = modules.join(name);
            Program::new("cp").args(["-rL".as_ref(), from.as_os_str(), to.as_os_str()]).output()?;
        }
        let entry = format!("node_modules/{}/{}", bundle.package, bundle.file);
        let program =
            Program::new(&self.esbuild).args([&*entry, "--bundle", "--platform=node", "--outfile=out.js"]);
        program.args(&bundle.options).dir(&folder).output()?;
        let out = folder.join("out.js");
        write_script(&tree.join(&bundle.to), &fs::read(&out).map_err(io("read", &out))?)?;
        cache::remove(&folder)
    }
}

impl Sources {
    /// Reads a line's `sources.json`.
    pub fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|e| KitError::Unsupported {
            why: format!("sources.json of this program is malformed: {e}"),
        })
    }

    /// The npm packages in the order of scripts and bundles, each bundle followed by its needs.
    fn packages(&self) -> Vec<(&str, &str)> {
        let scripts = self.scripts.iter().map(|s| (&*s.package, &*s.version));
        let bundles = self.bundles.iter().flat_map(|bundle| {
            let needs = bundle.needs.iter().map(|(name, version)| (&**name, &**version));
            std::iter::once((&*bundle.package, &*bundle.version)).chain(needs)
        });
        scripts.chain(bundles).collect()
    }
}

impl Archive {
    fn fetch(&self, cache: &Cache, apt: &Apt) -> Result<PathBuf> {
        match (&self.pool, &self.pypi) {
            (Some(path), None) => apt.pool_file(path, &self.sha256),
            (None, Some(package)) => pypi::file(cache, package, &self.sha256),
            _ => Err(KitError::Unsupported { why: "an archive has neither or both of pool and pypi".into() }),
        }
    }

    fn unpack(&self, file: &Path, tree: &Path) -> Result<()> {
        let to = tree.join(&self.to);
        fs::create_dir_all(&to).map_err(io("create", &to))?;
        if file.extension().is_some_and(|e| e == "whl") {
            let args = ["-m".as_ref(), "zipfile".as_ref(), "-e".as_ref(), file.as_os_str(), to.as_os_str()];
            return Program::new("python3").args(args).output().map(drop);
        }
        let depth = 1 + self.inside.split('/').filter(|part| !part.is_empty()).count();
        let mut program = Program::new("tar")
            .args(["-xf".as_ref(), file.as_os_str(), "-C".as_ref(), to.as_os_str()])
            .args([format!("--strip-components={depth}")]);
        if !self.inside.is_empty() {
            program = program.args(["--wildcards".to_owned(), format!("*/{}/*", self.inside)]);
        }
        program.output().map(drop)
    }
}

impl Edit {
    fn apply(&self, tree: &Path) -> Result<()> {
        let file = tree.join(&self.file);
        let text = fs::read_to_string(&file).map_err(io("read", &file))?;
        if !text.contains(&self.from) {
            let why = format!("it has no text {:?}", self.from);
            return Err(KitError::Patch { patch: self.file.clone(), tree: tree.into(), why });
        }
        write(&file, text.replace(&self.from, &self.to).as_bytes())
    }
}

fn write(to: &Path, bytes: &[u8]) -> Result<()> {
    let parent = to.parent().unwrap_or(to);
    fs::create_dir_all(parent).map_err(io("create", parent))?;
    fs::write(to, bytes).map_err(io("write", to))
}

/// js2c writes C++ raw strings, in which a compiler turns CR LF into LF: the length would be wrong.
fn write_script(to: &Path, text: &[u8]) -> Result<()> {
    let text: Vec<u8> = text.iter().copied().filter(|&byte| byte != b'\r').collect();
    write(to, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_must_find_its_text() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("f"), "a b a").unwrap();
        let edit = |from: &str| Edit { file: "f".into(), from: from.into(), to: "c".into() };
        edit("a").apply(dir.path()).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("f")).unwrap(), "c b c");
        let error = edit("a").apply(dir.path()).unwrap_err();
        assert_eq!(error.code(), "E0709");
    }

    #[test]
    fn of_an_archive_only_the_folder_asked_for_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["top/in/side/f", "top/g"] {
            write(&path(name), b"x").unwrap();
        }
        let tar = Program::new("tar").args(["-cf", "a.tar", "top"]).dir(dir.path()).output();
        tar.unwrap();
        let archive = |inside: &str, to: &str| Archive {
            pool: None,
            pypi: None,
            sha256: String::new(),
            to: to.into(),
            inside: inside.into(),
        };
        archive("in/side", "part").unpack(&path("a.tar"), dir.path()).unwrap();
        archive("", "whole").unpack(&path("a.tar"), dir.path()).unwrap();
        assert!(path("part/f").is_file() && !path("part/g").exists());
        assert!(path("whole/in/side/f").is_file() && path("whole/g").is_file());
    }
}
