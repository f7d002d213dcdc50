//! The two programs that are compared.

use super::inside::{self, Inside};
use super::source::Tests;
use crate::cache::{hex, write_whole, Cache, Key};
use crate::error::{io, KitError, Result};
use crate::progress::Progress;
use crate::run::Program;
use relink_elf::cache::KeyBuilder;
use relink_loader::standalone::{self, Beside};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A program that behaves as `node` does, and where the results of its tests are kept.
pub struct Shell {
    /// What it is called here.
    pub name: &'static str,
    /// The program.
    pub program: PathBuf,
    /// The folder with the results; a change of the program, its parts or the tests makes another one.
    pub results: PathBuf,
    /// `process.versions`.
    pub versions: BTreeMap<String, String>,
}

/// The parts of a relinked Node.
#[derive(Clone, Debug)]
pub struct Relinked {
    /// The program `relink-node`.
    pub program: PathBuf,
    /// The library whose V8 is used.
    pub v8: PathBuf,
    /// The guest.
    pub guest: PathBuf,
}

impl Shell {
    /// A Node that is a program of its own.
    pub fn plain(cache: &Cache, program: &Path, tests: &Tests) -> Result<Self> {
        let program = absolute(program)?;
        let key = KeyBuilder::new().add("program", sha256(&program)?);
        Self::new("plain", program, cache, &with(key, tests))
    }

    /// Relinked Node, as a program `node` with its parts named beside it: tests start children with environments that
    /// have none of our variables.
    pub fn relinked(cache: &Cache, parts: &Relinked, tests: &Tests, progress: &dyn Progress) -> Result<Self> {
        let [v8, guest] = [absolute(&parts.v8)?, absolute(&parts.guest)?];
        let mut key = KeyBuilder::new().add("program", sha256(&parts.program)?);
        for part in [&v8, &guest] {
            key = key.add("path", part.to_string_lossy().as_bytes()).add("part", sha256(part)?);
        }
        let beside = Beside { v8: Some(v8), guest: Some(guest) };
        let text = serde_json::to_string(&beside)
            .map_err(|e| KitError::Unsupported { why: format!("the parts' paths are no JSON: {e}") })?;
        let dir = cache.get_or_make("shell", &key.clone().finish(), progress, |work| {
            let node = work.join("node");
            fs::copy(&parts.program, &node).map_err(io("copy", &parts.program))?;
            write_whole(&work.join(standalone::BESIDE), &text)
        })?;
        Self::new("relinked", dir.join("node"), cache, &with(key, tests))
    }

    /// The same guest as a guest of a host: scripts run on a thread of the official executable.
    pub fn inside(
        name: &'static str,
        cache: &Cache,
        plain: &Path,
        parts: &Relinked,
        inside: &Inside,
        tests: &Tests,
    ) -> Result<Self> {
        let [plain, guest] = [absolute(plain)?, absolute(&parts.guest)?];
        let host = inside.host.as_deref().map_or_else(|| Ok(plain.clone()), absolute)?;
        let [relink, library] = [absolute(&inside.relink)?, absolute(&inside.library)?];
        let is_gameserver = inside.is_gameserver;
        let inside = Inside { relink, library, host: Some(host.clone()), is_gameserver, base: None };
        let mut key = inside::key();
        for part in [&plain, &host, &guest, &inside.relink, &inside.library] {
            key = key.add("path", part.to_string_lossy().as_bytes()).add("part", sha256(part)?);
        }
        let dir = cache.folder(&format!("parity/shell-{}", &key.clone().finish().hex()[..20]))?;
        let program = inside::write(&dir, &plain, &guest, &inside)?;
        Self::new(name, program, cache, &with(key, tests))
    }

    fn new(name: &'static str, program: PathBuf, cache: &Cache, key: &Key) -> Result<Self> {
        let results = cache.folder(&format!("parity/{name}-{}", &key.hex()[..20]))?;
        let script = results.with_extension("js");
        write_whole(&script, "console.log(JSON.stringify(process.versions))")?;
        let text = quiet(Program::new(&program)).args([&script]).output()?;
        let versions = serde_json::from_str(&text).map_err(|e| KitError::Program {
            program: program.display().to_string(),
            status: "success".into(),
            message: format!("process.versions is not readable: {e}"),
        })?;
        Ok(Self { name, program, results, versions })
    }
}

/// Without the variables that would change what a Node does.
pub fn quiet(program: Program) -> Program {
    let relinks = relink_loader::config::VARIABLES.iter().copied().chain([standalone::V8]);
    relinks.chain(["NODE_OPTIONS", "NODE_PATH"]).fold(program, Program::without_env)
}

fn with(key: KeyBuilder, tests: &Tests) -> Key {
    key.add("tests", tests.key.hex()).finish()
}

fn absolute(path: &Path) -> Result<PathBuf> {
    path.canonicalize().map_err(io("find", path))
}

fn sha256(file: &Path) -> Result<String> {
    let bytes = fs::read(file).map_err(io("read", file))?;
    Ok(hex(&Sha256::digest(bytes)))
}
