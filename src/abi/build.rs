//! Embeds the ABI catalogue: every file of `catalogue/profiles`, without its evidence (the code digests), so that
//! adding a V8 version is committing one file. And compiles the live probe's observer.

use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const FOLDER: &str = "catalogue/profiles";

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    println!("cargo:rerun-if-changed={FOLDER}");
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: run this through cargo")?);
    observer(&out.join("observe.so"))?;
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(FOLDER)?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|e| e == "json"));
    files.sort();
    let mut list = String::from("[\n");
    for file in &files {
        println!("cargo:rerun-if-changed={}", file.display());
        let embedded = embed(file, &out).map_err(|e| format!("{}: {e}", file.display()))?;
        writeln!(list, "{embedded},")?;
    }
    list.push_str("]\n");
    Ok(std::fs::write(out.join("catalogue.rs"), list)?)
}

/// Compiles the part of the live probe that runs beside a host's V8. It needs libc alone: a host brings its own C++ library.
fn observer(to: &Path) -> Outcome<()> {
    const SOURCE: &str = "probe/observe/observe.cc";
    println!("cargo:rerun-if-changed=probe/observe");
    let mut build = cc::Build::new();
    let compiler = build.cpp(true).cargo_metadata(false).no_default_flags(true).try_get_compiler()?;
    let flags = ["-std=c++17", "-O1", "-fPIC", "-shared", "-fno-exceptions", "-fno-rtti", "-nodefaultlibs"];
    let mut command = compiler.to_command();
    let status = command.args(flags).args(["-Wall", "-Wextra", SOURCE, "-o"]).arg(to).arg("-lc").status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{SOURCE} did not compile ({status}); on Debian: apt install g++").into())
    }
}

/// Writes the shortened file to `out`; gives the Rust expression for its entry: first and last version, and the text.
fn embed(file: &Path, out: &Path) -> Outcome<String> {
    let mut json: Value = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    json.as_object_mut().ok_or("no JSON object")?.remove("code");
    let sources = json["sources"].as_array().ok_or("no sources")?;
    let mut versions = sources.iter().map(version).collect::<Outcome<Vec<_>>>()?;
    versions.sort_unstable();
    let (first, last) = (versions.first().ok_or("no sources")?, versions.last().ok_or("no sources")?);
    if first[..3] != last[..3] {
        return Err("its sources are of several V8 lines".into());
    }
    let name = file.file_name().ok_or("no name")?;
    std::fs::write(out.join(name), json.to_string())?;
    Ok(format!("({first:?}, {last:?}, include_str!(concat!(env!(\"OUT_DIR\"), \"/\", {name:?})))"))
}

/// The four numbers of a source's V8 version.
fn version(source: &Value) -> Outcome<[u32; 4]> {
    let text = source["v8"].as_str().ok_or("a source without version")?;
    let numbers = text.split('.').map(str::parse).collect::<Result<Vec<u32>, _>>()?;
    numbers.try_into().map_err(|_| format!("not a version: {text}").into())
}
