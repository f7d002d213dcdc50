//! The C++ bridge's hand-written declarations against the real headers and libraries of Node 18 and its V8.
//!
//! `shim/cpp/check/*.cc` are compiled against both views of each interface: the sets of mangled symbols that they need
//! and the numbers (sizes, enumerators, vtable slots) that they print must be equal. Needs g++ and, on the first run, the
//! Debian packages that the kit fetches.

use object::{Object, ObjectSymbol};
use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

type Outcome = Result<(), Box<dyn Error>>;

/// The real things: the only place that knows how the kit names them.
struct Real {
    /// The folder of `v8.h` and `node.h`.
    include: PathBuf,
    /// Debian's libnode.so.108.
    libnode: PathBuf,
    /// The official node 18.20.4 executable.
    node: PathBuf,
}

fn real() -> Result<Real, Box<dyn Error>> {
    let progress = relink::kit::progress::Silent;
    let libv8 = relink::kit::hosts::libv8(&progress)?;
    let node = relink::kit::hosts::official_node("18.20.4", &progress)?;
    Ok(Real { include: libv8.include, libnode: libv8.library, node })
}

/// The bridge's sources in this tree.
fn cpp() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("shim/cpp")
}

/// A private copy of the bridge's sources, to be spoilt at will.
fn copy_of_cpp() -> Result<TempDir, Box<dyn Error>> {
    let copy = TempDir::new()?;
    std::fs::create_dir(copy.path().join("check"))?;
    for folder in ["", "check"] {
        for entry in std::fs::read_dir(cpp().join(folder))? {
            let path = entry?.path();
            let name = path.file_name().ok_or("a file without a name")?;
            if path.is_file() {
                std::fs::copy(&path, copy.path().join(folder).join(name))?;
            }
        }
    }
    Ok(copy)
}

/// Which view of an interface is compiled.
#[derive(Clone, Copy)]
enum View<'a> {
    /// The bridge's own declarations.
    Ours,
    /// The real headers in this folder.
    Theirs(&'a Path),
}

fn compile(source: &Path, view: View<'_>, arguments: &[&str], output: &Path) -> Outcome {
    let mut command = Command::new("g++");
    command.args(["-std=c++17", "-O0", "-fPIC"]).args(arguments);
    if let View::Theirs(include) = view {
        // uv.h lies beside the folder of node.h.
        let beside = include.parent().ok_or("a folder above the headers")?;
        command.arg("-DRELINK_REAL").arg("-isystem").arg(include).arg("-idirafter").arg(beside);
    }
    checked(command.arg(source).arg("-o").arg(output))?;
    Ok(())
}

/// Runs a command; its messages are the error if it fails.
fn checked(command: &mut Command) -> Result<Output, Box<dyn Error>> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(output);
    }
    Err(format!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}

/// Whether a mangled name is one of V8's or Node's.
fn is_api(name: &str) -> bool {
    ["_ZN2v8", "_ZNK2v8", "_ZN4node", "_ZNK4node"].iter().any(|prefix| name.starts_with(prefix))
}

/// The symbols of V8 and Node that an object file needs.
fn needed(object: &Path) -> Result<BTreeSet<String>, Box<dyn Error>> {
    let bytes = std::fs::read(object)?;
    let file = object::File::parse(&*bytes)?;
    let undefined = file.symbols().filter(|symbol| symbol.is_undefined());
    Ok(undefined
        .filter_map(|symbol| symbol.name().ok())
        .filter(|name| is_api(name))
        .map(String::from)
        .collect())
}

/// Everything that a library or executable exports.
fn exported(library: &Path) -> Result<BTreeSet<String>, Box<dyn Error>> {
    let bytes = std::fs::read(library)?;
    let file = object::File::parse(&*bytes)?;
    let defined = file.dynamic_symbols().filter(|symbol| !symbol.is_undefined());
    Ok(defined.filter_map(|symbol| symbol.name().ok()).map(String::from).collect())
}

/// The symbols needed by one view of `check/NAME_abi_check.cc` under `cpp`.
fn symbols_of(cpp: &Path, name: &str, view: View<'_>) -> Result<BTreeSet<String>, Box<dyn Error>> {
    let folder = TempDir::new()?;
    let output = folder.path().join("view.o");
    compile(&cpp.join(format!("check/{name}_abi_check.cc")), view, &["-c"], &output)?;
    needed(&output)
}

/// The numbers that one view of `check/NAME_abi_check.cc` under `cpp` prints, a line each.
fn numbers_of(cpp: &Path, name: &str, view: View<'_>) -> Result<Vec<String>, Box<dyn Error>> {
    let folder = TempDir::new()?;
    let program = folder.path().join("view");
    compile(&cpp.join(format!("check/{name}_abi_check.cc")), view, &["-DRELINK_NUMBERS"], &program)?;
    let output = checked(&mut Command::new(&program))?;
    Ok(String::from_utf8(output.stdout)?.lines().map(String::from).collect())
}

fn assert_views_agree(name: &str, functions: usize, numbers: usize) -> Outcome {
    let real = real()?;
    let theirs = View::Theirs(&real.include);
    let symbols = symbols_of(&cpp(), name, View::Ours)?;
    assert_eq!(symbols, symbols_of(&cpp(), name, theirs)?);
    assert!(symbols.len() >= functions, "{} functions checked", symbols.len());
    let lines = numbers_of(&cpp(), name, View::Ours)?;
    assert_eq!(lines, numbers_of(&cpp(), name, theirs)?);
    assert!(lines.len() >= numbers, "{} numbers checked", lines.len());
    Ok(())
}

#[test]
fn v8_declarations_are_those_of_v8() -> Outcome {
    assert_views_agree("v8", 20, 43)
}

#[test]
fn node_declarations_are_those_of_node() -> Outcome {
    assert_views_agree("node", 12, 27)
}

/// The slots that platform.cc writes are the ones that the real header gives these functions.
#[test]
fn hooked_slots_are_those_of_the_real_vtable() -> Outcome {
    let real = real()?;
    let source = std::fs::read_to_string(cpp().join("platform.cc"))?;
    let mut hooked = 0;
    for line in numbers_of(&cpp(), "v8", View::Theirs(&real.include))? {
        let Some((function, slot)) = line.strip_prefix("Platform::").and_then(|rest| rest.split_once(' '))
        else {
            continue;
        };
        if source.contains(&format!("  k{function} = ")) {
            assert!(source.contains(&format!("  k{function} = {slot},")), "{function} is slot {slot}");
            hooked += 1;
        }
    }
    assert_eq!(hooked, 7);
    Ok(())
}

/// The objects of the bridge itself, compiled as the build script does.
fn bridge_needs() -> Result<BTreeSet<String>, Box<dyn Error>> {
    let folder = TempDir::new()?;
    let mut all = BTreeSet::new();
    for entry in std::fs::read_dir(cpp())? {
        let source = entry?.path();
        if source.extension().is_some_and(|extension| extension == "cc") {
            let output = folder.path().join("bridge.o");
            compile(&source, View::Ours, &["-c", "-O2", "-fno-exceptions", "-fno-rtti"], &output)?;
            all.extend(needed(&output)?);
        }
    }
    Ok(all)
}

#[test]
fn bridge_uses_only_checked_functions_that_hosts_and_guests_export() -> Outcome {
    let real = real()?;
    let needs = bridge_needs()?;
    assert!(needs.len() > 25, "{needs:?}");
    let mut checked = symbols_of(&cpp(), "v8", View::Ours)?;
    checked.extend(symbols_of(&cpp(), "node", View::Ours)?);
    assert_eq!(needs.difference(&checked).collect::<Vec<_>>(), [""; 0], "not compared with the real headers");
    for library in [&real.libnode, &real.node] {
        let missing: Vec<_> = needs.difference(&exported(library)?).cloned().collect();
        assert_eq!(missing, [""; 0], "not exported by {}", library.display());
    }
    Ok(())
}

/// Every mangled name that bridge.h gives for an adapter is a function of V8's.
#[test]
fn adapted_functions_exist() -> Outcome {
    let exports = exported(&real()?.libnode)?;
    let header = std::fs::read_to_string(cpp().join("bridge.h"))?;
    let named = header.split_whitespace().filter(|word| is_api(word)).collect::<Vec<_>>();
    assert_eq!(named.len(), 14);
    for name in named {
        assert!(exports.contains(name), "{name} is not exported by Debian's libnode108");
    }
    Ok(())
}

/// Replaces `from` by `to` in a file of a spoilt copy.
fn spoil(copy: &TempDir, file: &str, from: &str, to: &str) -> Outcome {
    let path = copy.path().join(file);
    let text = std::fs::read_to_string(&path)?;
    assert!(text.contains(from), "{file} has no {from:?}");
    std::fs::write(path, text.replacen(from, to, 1))?;
    Ok(())
}

/// The comparison would notice: a virtual function moved, an enumerator changed.
#[test]
fn wrong_numbers_are_noticed() -> Outcome {
    let real = real()?;
    let copy = copy_of_cpp()?;
    spoil(&copy, "v8_abi.h", "virtual int NumberOfWorkerThreads() = 0;", "")?;
    spoil(&copy, "check/v8_abi_check.cc", "SLOT(Platform, NumberOfWorkerThreads),", "")?;
    spoil(&copy, "node_abi.h", "kNoInitializeV8 = 1 << 6", "kNoInitializeV8 = 1 << 8")?;
    for name in ["v8", "node"] {
        let ours = numbers_of(copy.path(), name, View::Ours)?;
        assert_ne!(ours, numbers_of(copy.path(), name, View::Theirs(&real.include))?, "{name}");
    }
    Ok(())
}

/// The comparison would notice: another parameter fails to compile, another name is another symbol.
#[test]
fn wrong_functions_are_noticed() -> Outcome {
    let copy = copy_of_cpp()?;
    spoil(&copy, "v8_abi.h", "void LowMemoryNotification();", "void LowMemoryNotification(int);")?;
    assert!(symbols_of(copy.path(), "v8", View::Ours).is_err());
    spoil(
        &copy,
        "node_abi.h",
        "class IsolateData;",
        "class IsolateDatum;\nusing IsolateData = IsolateDatum;",
    )?;
    let real = real()?;
    let theirs = symbols_of(copy.path(), "node", View::Theirs(&real.include))?;
    assert_ne!(symbols_of(copy.path(), "node", View::Ours)?, theirs);
    Ok(())
}
