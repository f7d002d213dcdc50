//! Builds a V8 as Counter-Strike 2 has one (`relink host build v8-component`): the sources are in the crate `v8`, the tools Debian's.
//!
//! It is compiled in the work folder of its entry in the cache, where an interrupted build goes on: ninja knows what is done.

use super::apt::{Apt, Deb};
use super::cache::{remove, write_whole, Cache, KeyBuilder};
use super::clang::unpack;
use super::component::{NAME, SNAPSHOT};
use super::crates::{self, Crate};
use super::error::{io, KitError, Result};
use super::hosts::remember;
use super::progress::Progress;
use super::run::{missing, Program};
use std::fs;
use std::path::{Path, PathBuf};

/// The version of the crate `v8` that has the sources: V8 12.0.267.8, of which an adapter unit is known.
const CRATE: &str = "0.82.0";

/// clang and the linker that Chromium's build files ask for, their libraries, and what reads those files and runs the compilers.
const TOOLS: [&str; 14] = [
    "clang-16",
    "libclang-common-16-dev",
    "libclang-cpp16",
    "libllvm16",
    "lld-16",
    "llvm-16",
    "llvm-16-linker-tools",
    "libbsd0",
    "libedit2",
    "libffi8",
    "libxml2",
    "libz3-4",
    "generate-ninja",
    "ninja-build",
];

/// Where clang unpacks to.
const LLVM: &str = "usr/lib/llvm-16";

/// What gn is told besides where clang is. The crate's own defaults are Deno's: these put V8's back.
const ARGS: &str = "\
is_debug=false
is_component_build=true
use_custom_libcxx=true
is_clang=true
clang_version=\"16\"
clang_use_chrome_plugins=false
use_lld=true
treat_warnings_as_errors=false
symbol_level=0
line_tables_only=false
use_sysroot=false
use_glib=false
v8_enable_pointer_compression=false
v8_enable_sandbox=false
v8_use_external_startup_data=true
v8_enable_i18n_support=true
icu_use_data_file=true
v8_enable_shared_ro_heap=true
v8_enable_verify_heap=false
v8_use_zlib=false
v8_enable_snapshot_compression=false
deno_enable_extras=false
v8_enable_javascript_promise_hooks=false
v8_promise_internal_field_count=0
v8_typed_array_max_size_in_heap=64
v8_enable_maglev=false
";

/// What ninja makes.
const TARGETS: [&str; 3] = ["v8", "v8_libplatform", "v8_libbase"];

/// Builds the V8, or takes it from the cache; returns its folder.
///
/// # Errors
/// A part cannot be had, does not compile, or a signal stops it.
pub fn build(jobs: Option<usize>, progress: &dyn Progress) -> Result<PathBuf> {
    let tools = missing(&["python3", "g++"]);
    if !tools.is_empty() {
        return Err(KitError::MissingTools {
            tools: tools.into_iter().map(str::to_owned).collect(),
            remedy: "apt-get install -y python3 g++".into(),
        });
    }
    let cache = Cache::locate()?;
    let debs = fetch(&cache, progress)?;
    let key = debs.iter().fold(KeyBuilder::new(), |key, deb| key.add(&deb.package, &deb.sha256));
    let key = key.add("crate", CRATE).add("args", ARGS).add("targets", TARGETS.join(" ")).finish();
    let jobs = jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let log = cache.folder("logs")?.join(format!("{NAME}.log"));
    let dir = cache.get_or_make(NAME, &key, progress, |work| {
        progress.note(&format!("the output of the build goes to {}", log.display()));
        let build = Build { work, log: &log, jobs, progress };
        build.tools(&debs)?;
        build.source()?;
        build.compile()?;
        build.collect()
    })?;
    progress.finish();
    remember(&cache, NAME, &dir)?;
    Ok(dir)
}

fn fetch(cache: &Cache, progress: &dyn Progress) -> Result<Vec<Deb>> {
    let apt = Apt::open(cache, progress)?;
    progress.step("fetching Debian's clang, gn and ninja");
    apt.packages(&TOOLS)
}

/// A build under way.
struct Build<'a> {
    work: &'a Path,
    log: &'a Path,
    jobs: usize,
    progress: &'a dyn Progress,
}

impl Build<'_> {
    /// Makes a folder of the work folder unless it is there whole.
    fn once(&self, name: &str, step: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let (dir, part) = (self.work.join(name), self.work.join(format!("{name}.part")));
        if !dir.is_dir() {
            self.progress.step(step);
            remove(&part)?;
            fs::create_dir_all(&part).map_err(io("create", &part))?;
            make(&part)?;
            fs::rename(&part, &dir).map_err(io("rename", &part))?;
        }
        Ok(dir)
    }

    fn tools(&self, debs: &[Deb]) -> Result<PathBuf> {
        self.once("tools", "unpacking Debian's clang, gn and ninja", |dir| unpack(debs, dir, LLVM))
    }

    /// A copy: the build writes into its source tree, and cargo's own is not ours.
    fn source(&self) -> Result<PathBuf> {
        self.once("source", &format!("fetching the crate v8 {CRATE}"), |dir| {
            fs::create_dir_all(dir).map_err(io("create", dir))?;
            crates::unpack(&Crate::v8(CRATE)?, &[], dir)
        })
    }

    fn out(&self) -> PathBuf {
        self.work.join("source/out/component")
    }

    fn tool(&self, path: &str) -> Program {
        Program::new(self.work.join("tools").join(path)).env("PATH", "/usr/bin:/bin").log(self.log)
    }

    fn compile(&self) -> Result<()> {
        let (source, out) = (self.work.join("source"), self.out());
        let compiler = self.work.join("tools").join(LLVM);
        fs::create_dir_all(&out).map_err(io("create", &out))?;
        let args = format!("{ARGS}clang_base_path=\"{}\"\n", compiler.display());
        // ninja runs gn again where the file is newer than what gn made of it.
        let file = out.join("args.gn");
        if !fs::read_to_string(&file).is_ok_and(|text| text == args) {
            write_whole(&file, &args)?;
        }
        if !out.join("build.ninja").is_file() {
            self.progress.step("having gn write the build files of V8");
            let python = "--script-executable=/usr/bin/python3";
            let gn = self.tool("usr/bin/gn").args(["gen", "out/component", python]).dir(&source);
            self.explained(gn.logged(|_| ()))?;
        }
        self.progress.step("compiling V8 (an hour and a half on two cores)");
        let jobs = format!("-j{}", self.jobs);
        let ninja = self.tool("usr/bin/ninja").args(["-C", "out/component", &jobs]).args(TARGETS);
        let mut rest = String::new();
        let ended = ninja.dir(&source).logged(|text| {
            rest.push_str(text);
            let whole = rest.rfind('\n').map_or(0, |at| at + 1);
            let lines: String = rest.drain(..whole).collect();
            if let Some((done, total, what)) = lines.lines().filter_map(step).next_back() {
                self.progress.advance(done, total, what);
            }
        });
        self.explained(ended)
    }

    /// Puts what a program is linked with, and needs when it runs, into the folder itself; the rest goes.
    fn collect(&self) -> Result<()> {
        let (out, work) = (self.out(), self.work);
        let mut libraries: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(&out).map_err(io("read", &out))?.flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|end| end == "so") {
                libraries.push(path);
            }
        }
        let strip = self.work.join("tools").join(LLVM).join("bin/llvm-strip");
        for library in &libraries {
            let to = work.join(library.file_name().unwrap_or_default());
            // A release has the names of .dynsym alone.
            Program::new(&strip).args(["-o".as_ref(), to.as_os_str(), library.as_os_str()]).output()?;
        }
        fs::copy(out.join(SNAPSHOT), work.join(SNAPSHOT)).map_err(io("copy", out.join(SNAPSHOT)))?;
        let include = work.join("source/v8/include");
        remove(&work.join("include"))?;
        Program::new("cp").args(["-r".as_ref(), include.as_os_str(), work.as_os_str()]).output()?;
        remove(&work.join("source"))?;
        remove(&work.join("tools"))
    }

    fn explained(&self, result: Result<()>) -> Result<()> {
        result.map_err(|error| match error {
            KitError::Program { message, .. } => {
                let first_error = message.split("; full log: ").next().unwrap_or_default().to_owned();
                KitError::Compile { what: "V8".into(), first_error, log: self.log.into() }
            }
            other => other,
        })
    }
}

/// What a line of ninja's tells: `[12/2193] CXX obj/v8/x.o`.
fn step(line: &str) -> Option<(usize, usize, &str)> {
    let (count, what) = line.strip_prefix('[')?.split_once("] ")?;
    let (done, total) = count.split_once('/')?;
    Some((done.parse().ok()?, total.parse().ok()?, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_ninjas_are_told_from_others() {
        let line = "[12/2193] CXX obj/v8/v8_base/api.o";
        assert_eq!(step(line), Some((12, 2193, "CXX obj/v8/v8_base/api.o")));
        for other in ["ninja: Entering directory", "[x/1] y", "[12/2193]", "a.cc:1: error: [1/2] x"] {
            assert_eq!(step(other), None, "{other}");
        }
    }
}
