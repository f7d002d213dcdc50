//! The guest build kit: Node as a shared library without V8's implementation.
//!
//! [`build`] fetches the source, makes the tree ready, compiles it, checks the result and keeps it in the cache under a
//! key of everything it was made from. The change of Node's own build is in fixtures/guests/, embedded in this
//! program; its README.md says why each setting is needed.

mod check;
mod compile;
mod options;
mod pinned;
mod recipe;
mod tree;

pub use check::GuestFacts;

use super::apt::{self, Apt, Deb};
use super::cache::{remove, write_whole, Cache, Key};
use super::catalogue;
use super::error::{io, KitError, Result};
use super::headers::V8Headers;
use super::neutral;
use super::progress::Progress;
use super::run::{missing, Program};
use compile::Compilation;
pub use options::BuildOptions;
use pinned::Pinned;
pub(super) use recipe::SOURCE_PACKAGE;
use recipe::{Places, Recipe};
use relink_abi::catalogue::Facts;
use relink_abi::layout::Field;
use relink_abi::line::of_node;
use relink_abi::note;
use relink_abi::note::GuestNote;
use std::fs;
use std::path::{Path, PathBuf};
use tree::NodeFacts;
pub(super) use tree::Origin;

/// A finished guest.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Guest {
    /// The library. ICU lies beside it, licences in the folder `licenses`.
    pub library: PathBuf,
    /// What was counted in it.
    pub facts: GuestFacts,
    /// The log of its build.
    pub log: PathBuf,
    /// Whether it was in the cache already.
    pub cached: bool,
}

/// What a neutral guest's note tells of its headers, in the work folder.
const REWRITTEN: &str = "rewritten.json";

#[derive(serde::Serialize, serde::Deserialize)]
struct Rewritten {
    layout: Vec<Field>,
    facts: Box<Facts>,
}

/// As unpacking left it.
fn rewritten(work: &Path) -> Result<Rewritten> {
    let file = work.join(REWRITTEN);
    let text = fs::read_to_string(&file).map_err(io("read", &file))?;
    serde_json::from_str(&text).map_err(|e| io("read", &file)(e.into()))
}

/// The kind of the cache entries.
const KIND: &str = "guest";
pub use relink_abi::kept::DEFAULT_LINE;
use relink_abi::kept::{guest_file, KeptGuest};

/// Builds the guest, or takes it from the cache.
pub fn build(options: &BuildOptions, progress: &dyn Progress) -> Result<Guest> {
    require_tools()?;
    let cache = Cache::locate()?;
    let inputs = Inputs::gather(&cache, options, progress)?;
    if options.rebuild {
        cache.forget(KIND, &inputs.key, progress)?;
    }
    let cached = cache.get(KIND, &inputs.key).is_some();
    let log = cache.folder("logs")?.join(format!("guest-{}.log", &inputs.key.hex()[..20]));
    let jobs =
        options.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1);
    let build = Build { inputs: &inputs, log: &log, jobs, progress };
    let dir = cache.get_or_make(KIND, &inputs.key, progress, |work| build.run(work))?;
    progress.finish();
    let guest = Guest { facts: stored_facts(&dir)?, library: library_in(&dir)?, log, cached };
    if options.is_default() {
        remember(&cache, inputs.line, options.neutral, &guest)?;
    }
    Ok(guest)
}

/// The default guest that is in the cache, made by this program's recipe. Builds nothing and asks no network.
pub fn path() -> Option<PathBuf> {
    path_of(DEFAULT_LINE)
}

/// The command that builds a line's guest.
pub fn remedy(node: u32) -> &'static str {
    match node {
        20 => "relink guest build --line 20",
        22 => "relink guest build --line 22",
        24 => "relink guest build --line 24",
        _ => "relink guest build",
    }
}

/// The guest of a line, by Node's major version, like [`path`].
pub fn path_of(node: u32) -> Option<PathBuf> {
    remembered(node, true)
}

/// The guest of a line for exactly its V8, like [`path`].
pub fn exact_path_of(node: u32) -> Option<PathBuf> {
    remembered(node, false)
}

fn remembered(node: u32, neutral: bool) -> Option<PathBuf> {
    let line = Recipe::of(node).ok()?;
    let cache = Cache::locate().ok()?;
    let kept = KeptGuest::read(cache.root(), node, neutral)?;
    (kept.recipe == recipe_of(line, neutral)).then_some(kept.library)
}

fn remember(cache: &Cache, line: &Recipe, neutral: bool, guest: &Guest) -> Result<()> {
    let default = KeptGuest {
        recipe: recipe_of(line, neutral),
        key: guest.facts.note.key.clone(),
        library: guest.library.clone(),
    };
    write_whole(&cache.root().join(guest_file(line.node, neutral)), &to_json(&default)?)
}

/// What a guest of this program is made by: one that was made by anything else is out of date.
fn recipe_of(line: &Recipe, neutral: bool) -> String {
    if neutral {
        let [rules, backports] = neutral_by(line);
        [line.fingerprint(), rules, backports].join(" ")
    } else {
        line.fingerprint()
    }
}

/// What identifies the rules and the lines of later Nodes by which a line's guest is made neutral.
fn neutral_by(line: &Recipe) -> [String; 2] {
    let v8 = of_node(line.node).map_or((0, 0), |of| of.v8);
    [neutral::fingerprint(v8), neutral::backports::fingerprint(line.node)]
}

fn to_json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string_pretty(value).map_err(|e| KitError::Unsupported { why: format!("JSON: {e}") })
}

/// Facts and library's name, written when the guest was checked.
fn stored_facts(dir: &Path) -> Result<GuestFacts> {
    let bytes = read(&library_in(dir)?)?;
    let file = dir.join("note.json");
    let text = fs::read_to_string(&file).map_err(io("read", &file))?;
    let expected: GuestNote = serde_json::from_str(&text).map_err(|e| io("read", &file)(e.into()))?;
    check::check(&bytes, &expected).map_err(|faults| bad_guest(&library_in(dir), faults, dir))
}

fn bad_guest(library: &Result<PathBuf>, faults: Vec<String>, log: &Path) -> KitError {
    let library = library.as_ref().map_or_else(|_| PathBuf::new(), Clone::clone);
    KitError::BadGuest { library, faults, log: log.into() }
}

fn library_in(dir: &Path) -> Result<PathBuf> {
    let prefix = format!("lib{}.so.", recipe::TARGET);
    let entries = fs::read_dir(dir).map_err(io("read", dir))?;
    let names = entries.flatten().filter(|e| e.file_name().to_string_lossy().starts_with(&prefix));
    let not_built = KitError::NotBuilt { what: "the guest", remedy: "relink guest build --rebuild" };
    names.map(|e| e.path()).next().ok_or(not_built)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(io("read", path))
}

fn require_tools() -> Result<()> {
    let names: Vec<&str> = recipe::TOOLS.iter().map(|(program, _)| *program).collect();
    let missing: Vec<String> = missing(&names).into_iter().map(String::from).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = recipe::TOOLS
        .iter()
        .filter(|(p, _)| missing.iter().any(|m| m == p))
        .map(|(_, package)| *package)
        .collect();
    packages.dedup();
    Err(KitError::MissingTools {
        remedy: format!("apt-get install -y {}", packages.join(" ")),
        tools: missing,
    })
}

/// Everything a guest is made from, and its key.
struct Inputs {
    line: &'static Recipe,
    origin: Origin,
    headers: Option<V8Headers>,
    headers_dir: Option<PathBuf>,
    neutral: bool,
    debs: Vec<Deb>,
    compiler: String,
    key: Key,
}

impl Inputs {
    fn gather(cache: &Cache, options: &BuildOptions, progress: &dyn Progress) -> Result<Self> {
        let line = Recipe::of(options.line.unwrap_or(DEFAULT_LINE))?;
        let headers =
            options.v8_headers.as_deref().map(|dir| V8Headers::read("--v8-headers", dir)).transpose()?;
        let folder = options.source.as_deref().map(Origin::folder).transpose()?;
        let apt = Apt::open(cache, progress)?;
        progress.step("fetching Node's source and the libraries it needs");
        let origin = folder.map_or_else(|| origin(line, cache, &apt, progress), Ok)?;
        let needs_gyp = options.source.as_deref().is_some_and(|dir| !dir.join("tools/gyp/pylib").is_dir());
        let debs = tree::packages(line, &apt, needs_gyp)?;
        let compiler = first_line("g++")?;
        let mut key = origin.add_to(line.key())?.add("compiler", &compiler).add("linker", first_line("ld")?);
        key = key.add("headers", headers.as_ref().map_or("the source's", |h| &h.sha256));
        if options.neutral {
            let [rules, backports] = neutral_by(line);
            key = key.add("neutral", rules).add("backports", backports);
        }
        for deb in &debs {
            key = key.add(&deb.package, &deb.sha256);
        }
        Ok(Self {
            line,
            origin,
            headers,
            headers_dir: options.v8_headers.clone(),
            neutral: options.neutral,
            debs,
            compiler,
            key: key.finish(),
        })
    }
}

/// A line's own sources, fetched.
fn origin(line: &'static Recipe, cache: &Cache, apt: &Apt, progress: &dyn Progress) -> Result<Origin> {
    Ok(match Pinned::fetch(line, cache, apt, progress)? {
        Some(pinned) => Origin::Pinned(Box::new(pinned)),
        None => Origin::Debian(apt.source(recipe::SOURCE_PACKAGE, recipe::NODE_VERSION)?),
    })
}

/// The sources of a line's guest, by Node's major version, and the recipe's fingerprint, which identifies what is pinned.
pub(super) fn origin_of(
    node: u32,
    cache: &Cache,
    apt: &Apt,
    progress: &dyn Progress,
) -> Result<(Origin, String)> {
    let line = Recipe::of(node)?;
    Ok((origin(line, cache, apt, progress)?, line.fingerprint()))
}

/// The version of a line's guest, by Node's major version.
pub fn version_of(node: u32) -> Result<String> {
    let sources = Recipe::of(node)?.sources()?;
    Ok(sources.map_or_else(|| recipe::NODE_VERSION.into(), |sources| sources.node))
}

fn first_line(program: &str) -> Result<String> {
    let text = Program::new(program).args(["--version"]).output()?;
    Ok(text.lines().next().unwrap_or_default().to_string())
}

/// One run of the build in a work folder that may hold what an earlier run left.
struct Build<'a> {
    inputs: &'a Inputs,
    log: &'a Path,
    jobs: usize,
    progress: &'a dyn Progress,
}

impl Build<'_> {
    fn run(&self, work: &Path) -> Result<()> {
        let tree = work.join("node");
        self.progress.note(&format!("building the guest; log: {}", self.log.display()));
        self.once(work, "unpacked", || self.unpack(work, &tree))?;
        let own = work.join("deps/include/v8-inc");
        let headers = self.headers(&tree)?;
        let node = tree::node_facts(&tree)?;
        let mut note = self.note(&tree, &node, &headers);
        if self.inputs.neutral {
            let Rewritten { layout, facts } = rewritten(work)?;
            (note.layout, note.facts) = (layout, Some(facts));
        }
        let [deps, recipe] = [work.join("deps"), work.join("recipe")];
        let places = Places { work, v8_include: &own, deps: &deps, recipe: &recipe };
        let what = self.what(&node, &headers);
        let line = self.inputs.line;
        let compilation = Compilation { line, tree: &tree, places, log: self.log, jobs: self.jobs, what };
        self.once(work, "configured", || {
            self.progress.step("configuring Node");
            compilation.write_recipe(&note)?;
            compilation.configure()
        })?;
        self.progress.step("compiling Node");
        let built = compilation.make(node.module_version, self.progress)?;
        self.progress.step("checking the guest");
        self.finish(work, &built, &note)
    }

    /// Does a step unless an earlier run did it.
    fn once(&self, work: &Path, stamp: &str, step: impl FnOnce() -> Result<()>) -> Result<()> {
        let stamp = work.join(stamp);
        if !stamp.exists() {
            step()?;
            write_whole(&stamp, "")?;
        }
        Ok(())
    }

    fn unpack(&self, work: &Path, tree: &Path) -> Result<()> {
        self.progress.step("unpacking Node's source");
        let [root, deps] = [work.join("root"), work.join("deps")];
        for dir in [tree, &root, &deps] {
            remove(dir)?;
            fs::create_dir_all(dir).map_err(io("create", dir))?;
        }
        self.inputs.origin.unpack(tree, self.log)?;
        apt::unpack(&self.inputs.debs, &root)?;
        if self.inputs.line.node == 18 {
            tree::add_builtins(tree, &root)?;
        }
        tree::add_dependencies(self.inputs.line, &root, &deps)?;
        let own = deps.join("include/v8-inc");
        self.headers(tree)?.copy_to(&own)?;
        if !self.inputs.neutral {
            return Ok(());
        }
        neutral::backports::apply(tree, self.inputs.line.node)?;
        let request = catalogue::Request { headers: own.clone(), from: None };
        let facts = catalogue::generate(&request, self.progress)?.facts;
        let layout = neutral::neutralise(&own, &V8Headers::read("--v8-headers", &own)?, &facts)?;
        write_whole(&work.join(REWRITTEN), &to_json(&Rewritten { layout, facts: facts.into() })?)
    }

    /// The headers that the guest is compiled with, as they come.
    fn headers(&self, tree: &Path) -> Result<V8Headers> {
        match &self.inputs.headers {
            Some(headers) => Ok(headers.clone()),
            None => V8Headers::read("--source", &tree.join("deps/v8/include")),
        }
    }

    fn note(&self, tree: &Path, node: &NodeFacts, headers: &V8Headers) -> GuestNote {
        // Headers installed with a Node have its common.gypi beside them.
        let gypi = self.inputs.headers_dir.as_deref().unwrap_or(tree).join("common.gypi");
        GuestNote {
            schema: note::SCHEMA,
            node: node.version.clone(),
            v8: headers.version.clone(),
            v8_embedder: tree::v8_embedder(&gypi),
            module_version: node.module_version,
            headers: headers.sha256.clone(),
            compiler: self.inputs.compiler.clone(),
            cxx: "libstdc++".into(),
            pointer_compression: false,
            smi_bits: 32,
            key: self.inputs.key.hex().into(),
            layout: Vec::new(),
            spares: if self.inputs.neutral {
                neutral::backports::spares(self.inputs.line.node)
            } else {
                Vec::new()
            },
            facts: None,
        }
    }

    fn what(&self, node: &NodeFacts, headers: &V8Headers) -> String {
        let given = self.inputs.headers_dir.as_deref().map(|d| format!(" (--v8-headers {})", d.display()));
        format!(
            "Node {} against the headers of V8 {}{}",
            node.version,
            headers.version,
            given.unwrap_or_default()
        )
    }

    /// Strips and checks the library, puts everything that belongs to it at the top of the work folder and removes
    /// the rest. The stamps go first: a run that is stopped in here starts again from the tarballs.
    fn finish(&self, work: &Path, built: &Path, note: &GuestNote) -> Result<()> {
        let name = built.file_name().unwrap_or_default();
        let library = work.join(name);
        // Debugging sections of Debian's .a files go; the symbol table stays, for debuggers and perf.
        let args = ["--strip-debug".as_ref(), "-o".as_ref(), library.as_os_str(), built.as_os_str()];
        Program::new("strip").args(args).output()?;
        let facts = check::check(&read(&library)?, note)
            .map_err(|faults| bad_guest(&Ok(library), faults, self.log))?;
        add_icu(work, &facts)?;
        add_licenses(self.inputs.line, work)?;
        write_whole(&work.join("note.json"), &to_json(note)?)?;
        ["unpacked", "configured", REWRITTEN, "node", "root", "deps", "recipe"]
            .iter()
            .try_for_each(|n| remove(&work.join(n)))
    }
}

/// Copies the ICU libraries that the guest needs beside it, under their sonames.
fn add_icu(work: &Path, facts: &GuestFacts) -> Result<()> {
    let from = work.join("root/usr/lib").join(relink_abi::kept::triplet());
    for name in facts.needed.iter().filter(|n| n.starts_with("libicu")) {
        fs::copy(from.join(name), work.join(name)).map_err(io("copy", from.join(name)))?;
    }
    Ok(())
}

/// Copies the licences of everything that is linked in.
fn add_licenses(line: &Recipe, work: &Path) -> Result<()> {
    let to = work.join("licenses");
    fs::create_dir_all(&to).map_err(io("create", &to))?;
    let copy = |from: PathBuf, name: &str| fs::copy(&from, to.join(name)).map(drop).map_err(io("copy", from));
    copy(work.join("node/LICENSE"), "node.txt")?;
    let builtins = tree::builtin_packages(line)?;
    for package in line.packages.iter().copied().chain(builtins.iter().map(String::as_str)) {
        let docs = work.join("root/usr/share/doc").join(package).join("copyright");
        // Packages of one source share one copyright file by a link: the one with the text is among them.
        if docs.is_file() {
            copy(docs, &format!("{package}.txt"))?;
        }
    }
    Ok(())
}
