//! Makes the files of the ABI catalogue from folders of V8 headers (`relink catalogue generate`, docs/ABI.md).
//!
//! The compiler is asked, nothing is parsed by guess: `fixtures/abi/probe.cc` is compiled against the headers, and constants,
//! layouts, vtables and enumerators are read from its debug information; the machine code of all inline functions
//! goes in as digests. Only which constants are *read* by inline code is found in the text of the headers.

mod code;
mod dwarf;
mod store;
mod types;
mod usage;

use super::error::{io, KitError, Result};
use super::headers::V8Headers;
use super::progress::Progress;
use super::run::{missing, Program};
use relink_abi::catalogue::{AbiFile, Source, SCHEMA};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

pub use store::{enter, Entered, Store};

/// What is compiled.
const PROBE: &str = include_str!("../../../fixtures/abi/probe.cc");

/// Emits every type and constant, and the code of every inline function.
const FLAGS: [&str; 12] = [
    "-std=c++20",
    "-w",
    "-O2",
    "-fPIC",
    "-fno-exceptions",
    "-gdwarf-5",
    "-femit-class-debug-always",
    "-fno-eliminate-unused-debug-types",
    "-fno-eliminate-unused-debug-symbols",
    "-fkeep-inline-functions",
    "-c",
    "probe.cc",
];

/// What is to be described.
#[derive(Clone, Debug)]
pub struct Request {
    /// The folder with v8.h.
    pub headers: PathBuf,
    /// Where the headers come from; by default Node's version as node_version.h beside them has it.
    pub from: Option<String>,
}

/// The facts of one set of headers.
pub fn generate(request: &Request, progress: &dyn Progress) -> Result<AbiFile> {
    if !missing(&["g++"]).is_empty() {
        return Err(KitError::MissingTools {
            tools: vec!["g++".into()],
            remedy: "apt-get install -y g++".into(),
        });
    }
    let dir = &request.headers;
    let headers = V8Headers::read("--headers", dir)?;
    let work = tempfile::tempdir().map_err(io("create a folder in", std::env::temp_dir()))?;
    progress.step(&format!("compiling V8 {}'s headers", headers.version));
    let (object, linked) = compile(dir, work.path())?;
    progress.step("reading the compiler's debug information");
    let mut types = dwarf::types(&linked, &read(&linked)?)?;
    let asked: Vec<String> = types.open_questions().into_iter().map(str::to_owned).collect();
    types.constants.extend(ask(dir, work.path(), &asked)?);
    let code = code::digests(&object, &read(&object)?)?;
    progress.finish();
    let from = request.from.clone().or_else(|| node_version(dir)).unwrap_or_else(|| "unknown".into());
    Ok(AbiFile {
        schema: SCHEMA,
        compiler: compiler()?,
        sources: vec![Source { v8: headers.version.clone(), from, headers: headers.sha256.clone() }],
        facts: types.facts(&names_read(dir, &headers)?),
        code,
    })
}

/// Compiles the probe. The linked form is only read: linking resolves the references within the debug information.
fn compile(include: &Path, work: &Path) -> Result<(PathBuf, PathBuf)> {
    let include = fs::canonicalize(include).map_err(io("read", include))?;
    let (object, linked) = (work.join("probe.o"), work.join("probe.so"));
    let source = work.join("probe.cc");
    fs::write(&source, PROBE).map_err(io("write", &source))?;
    let run = |args: Vec<std::ffi::OsString>| Program::new("g++").args(args).dir(work).output();
    let args = FLAGS.map(Into::into).into_iter();
    run(args.chain(["-I".into(), include.into(), "-o".into(), object.clone().into()]).collect())?;
    let link = ["-shared", "-Wl,--unresolved-symbols=ignore-all"].map(Into::into).into_iter();
    run(link.chain([object.clone().into(), "-o".into(), linked.clone().into()]).collect())?;
    Ok((object, linked))
}

/// Asks the compiler for the values of constants, private ones too.
fn ask(include: &Path, work: &Path, names: &[String]) -> Result<Vec<(String, i128)>> {
    let include = fs::canonicalize(include).map_err(io("read", include))?;
    let (source, object) = (work.join("ask.cc"), work.join("ask.o"));
    let lines = names.iter().enumerate().map(|(n, name)| {
        format!("extern const long long {ANSWER}{n};\nconst long long {ANSWER}{n} = static_cast<long long>({name});\n")
    });
    let text = format!("#include \"probe.cc\"\nextern \"C\" {{\n{}}}\n", lines.collect::<String>());
    fs::write(&source, text).map_err(io("write", &source))?;
    let flags = ["-std=c++20", "-w", "-fno-access-control", "-c", "ask.cc", "-o", "ask.o", "-I"];
    let args = flags.map(Into::into).into_iter().chain([include.into()]).collect::<Vec<std::ffi::OsString>>();
    Program::new("g++").args(args).dir(work).output()?;
    let bytes = read(&object)?;
    let file = object::File::parse(&*bytes).map_err(|e| bad(&object, e))?;
    let answers = names.iter().enumerate().map(|(n, name)| {
        let value = answer(&file, &format!("{ANSWER}{n}"))
            .ok_or_else(|| bad(&object, format!("no value of {name}")))?;
        Ok((name.clone(), value))
    });
    answers.collect()
}

/// How the variables of the second probe are called.
const ANSWER: &str = "relink_answer_";

/// The eight bytes of a variable, as a number.
fn answer(file: &object::File, symbol: &str) -> Option<i128> {
    use object::{Object, ObjectSection, ObjectSymbol};
    let symbol = file.symbol_by_name(symbol)?;
    let section = file.section_by_index(symbol.section_index()?).ok()?;
    // A value of zero may lie where a file has no bytes.
    let bytes = match section.data_range(symbol.address(), 8).ok()? {
        Some(bytes) => bytes.try_into().ok()?,
        None => [0; 8],
    };
    Some(i128::from(i64::from_le_bytes(bytes)))
}

fn compiler() -> Result<String> {
    let text = Program::new("g++").args(["--version"]).output()?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(io("read", path))
}

fn names_read(dir: &Path, headers: &V8Headers) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for file in headers.files() {
        names.extend(usage::names_read(&String::from_utf8_lossy(&read(&dir.join(file))?)));
    }
    Ok(names)
}

/// `Node 18.20.4`, from node_version.h beside V8's headers.
fn node_version(dir: &Path) -> Option<String> {
    let text = fs::read_to_string(dir.join("node_version.h")).ok()?;
    let number = |name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix("#define ")?.strip_prefix(name))?;
        line.trim().parse::<u32>().ok()
    };
    let [major, minor, patch] =
        ["NODE_MAJOR_VERSION", "NODE_MINOR_VERSION", "NODE_PATCH_VERSION"].map(number);
    Some(format!("Node {}.{}.{}", major?, minor?, patch?))
}

/// The compiler's output is not what it should be.
fn bad(path: &Path, why: impl std::fmt::Display) -> KitError {
    KitError::Input { option: "the compiler's output", path: path.into(), why: why.to_string() }
}
