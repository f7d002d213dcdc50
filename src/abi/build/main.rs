//! Makes the tables of `tables.rs` from the data files (`v8`, `lines`) and the catalogue, embeds every file of `catalogue/profiles` without
//! its evidence (the code digests), and compiles the live probe's observer. So to add a V8 is to add its files.

mod bridge;
mod data;
mod emit;

use data::Data;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const FOLDER: &str = "catalogue/profiles";
/// The sources of adapter units.
const UNITS: &str = "../../shim/adapters";

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() {
    if let Err(error) = run() {
        eprintln!("relink-abi: {error}");
        std::process::exit(1);
    }
}

fn run() -> Outcome<()> {
    for watched in [FOLDER, "build", "v8", "lines", "catalogue/needs", UNITS] {
        println!("cargo:rerun-if-changed={watched}");
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: run this through cargo")?);
    observer(&out.join("observe.so"))?;
    let mut list = String::from("[\n");
    let mut slots = BTreeMap::new();
    for file in files(Path::new(FOLDER), &["json"])? {
        let in_file = |e| format!("{}: {e}", file.display());
        let json: Value =
            serde_json::from_str(&std::fs::read_to_string(&file)?).map_err(|e| in_file(e.to_string()))?;
        let embedded = embed(&file, json, &out, &mut slots).map_err(|e| in_file(e.to_string()))?;
        writeln!(list, "{embedded},")?;
    }
    list.push_str("]\n");
    std::fs::write(out.join("catalogue.rs"), list)?;
    let data = Data::read(Path::new("."))?;
    for v8 in data.without_units() {
        println!(
            "cargo:warning=v8/{}.toml: after: that V8 has no file, so there are no units for this one",
            v8.stem()
        );
    }
    let lines = out.join("lines");
    for line in &data.lines {
        let full = data.v8(line.minor()).and_then(|v8| data::full(v8.full())).unwrap_or_default();
        let Some(vtables) = slots.get(&full) else { continue };
        let folder = lines.join(line.name());
        std::fs::create_dir_all(&folder)?;
        for (name, text) in bridge::headers(&data.common, &vtables.platform, &vtables.task_runner)? {
            std::fs::write(folder.join(name), text)?;
        }
    }
    // For shim/build.rs: DEP_RELINK_ABI_LINES names the folder with the headers of each line's bridge, DEP_RELINK_ABI_NODES their Nodes.
    println!("cargo:lines={}", lines.display());
    let nodes: Vec<_> = data.lines.iter().map(|line| format!("{}={}", line.name(), line.node)).collect();
    println!("cargo:nodes={}", nodes.join(" "));
    let sources = files(Path::new(UNITS), &["cc", "h", "map"])?;
    Ok(std::fs::write(out.join("tables.rs"), emit::tables(&data, &slots, &sources)?)?)
}

/// The files of a folder with one of these endings, sorted.
fn files(folder: &Path, endings: &[&str]) -> Outcome<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.retain(|path| endings.iter().any(|ending| path.extension().is_some_and(|e| e == *ending)));
    files.sort();
    Ok(files)
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

/// Writes the shortened file to `out`, and the vtables that the bridge has to do with into `slots` for each version; gives the Rust expression for
/// its entry: first and last version, and the text.
fn embed(file: &Path, mut json: Value, out: &Path, slots: &mut emit::Slots) -> Outcome<String> {
    json.as_object_mut().ok_or("no JSON object")?.remove("code");
    let sources = json["sources"].as_array().ok_or("no sources")?;
    let mut versions = sources.iter().map(version).collect::<Outcome<Vec<_>>>()?;
    versions.sort_unstable();
    let (first, last) = (versions.first().ok_or("no sources")?, versions.last().ok_or("no sources")?);
    if first[..3] != last[..3] {
        return Err("its sources are of several V8 lines".into());
    }
    let of =
        |class: &str| serde_json::from_value(json["facts"]["vtables"][class].clone()).unwrap_or_default();
    let found = emit::Vtables { platform: of("v8::Platform"), task_runner: of("v8::TaskRunner") };
    for version in &versions {
        if *slots.entry(*version).or_insert_with(|| found.clone()) != found {
            return Err("another file has another vtable of v8::Platform for the same version".into());
        }
    }
    let name = file.file_name().ok_or("no name")?;
    std::fs::write(out.join(name), json.to_string())?;
    Ok(format!("({first:?}, {last:?}, include_str!(concat!(env!(\"OUT_DIR\"), \"/\", {name:?})))"))
}

/// The four numbers of a source's V8 version.
fn version(source: &Value) -> Outcome<[u32; 4]> {
    let text = source["v8"].as_str().ok_or("a source without version")?;
    data::full(text).ok_or_else(|| format!("not a version: {text}").into())
}
