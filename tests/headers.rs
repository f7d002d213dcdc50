//! The C++ bridges' hand-written declarations against the real headers and executables of each line of Node and its V8.
//!
//! `shim/cpp/check/*.cc` are compiled against both views of each interface: the sets of mangled symbols that they need
//! and the numbers (sizes, enumerators, vtable slots) that they print must be equal. Needs g++ and, on the first run, the
//! official Node of each line and Debian's V8, which the kit fetches.

use object::{Object, ObjectSymbol};
use relink::abi::adapters::inside_an_isolate;
use relink::abi::catalogue::{FLAG_FUNCTIONS, GET_VERSION, GROUP_FUNCTIONS};
use relink::abi::line::{self, Line, BRIDGE_HEADERS, LINES};
use relink::kit::hosts;
use relink::kit::progress::Silent;
use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use tempfile::TempDir;

type Outcome = Result<(), Box<dyn Error>>;

/// The real things of a line: the only place that knows how the kit names them.
struct Real {
    /// The folder of `v8.h` and `node.h`.
    include: PathBuf,
    /// The official node executable and, for Node 18, Debian's libnode.so.108.
    files: Vec<PathBuf>,
}

fn real(line: &Line) -> Result<Real, Box<dyn Error>> {
    let node = hosts::official_node(hosts::version_of(line), &Silent)?;
    if line.node == 18 {
        let libv8 = hosts::libv8(&Silent)?;
        return Ok(Real { include: libv8.include, files: vec![node, libv8.library] });
    }
    let folder = node.parent().and_then(Path::parent).ok_or("a node without a folder")?;
    Ok(Real { include: folder.join("include/node"), files: vec![node] })
}

/// The bridge's sources in this tree.
fn cpp() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("shim/cpp")
}

/// Writes the headers that the build makes for each line, below `lines` of a folder.
fn write_lines(folder: &Path) -> std::io::Result<()> {
    for (line, name, text) in BRIDGE_HEADERS {
        let to = folder.join("lines").join(line);
        std::fs::create_dir_all(&to)?;
        std::fs::write(to.join(name), text)?;
    }
    Ok(())
}

/// The folder with the headers of a line: in a spoilt copy its own, else as they were made.
fn headers_of(cpp: &Path, line: &Line) -> PathBuf {
    static MADE: OnceLock<TempDir> = OnceLock::new();
    let spoilt = cpp.join("lines").join(line.name);
    if spoilt.is_dir() {
        return spoilt;
    }
    let made = MADE.get_or_init(|| {
        let folder = TempDir::new().expect("a folder");
        write_lines(folder.path()).expect("written");
        folder
    });
    made.path().join("lines").join(line.name)
}

/// A private copy of the bridge's sources, to be spoilt at will, with what they share with the adapters beside it.
struct Copy(TempDir);

impl Copy {
    fn of_cpp() -> Result<Self, Box<dyn Error>> {
        let copy = Self(TempDir::new()?);
        for folder in ["adapters", "cpp", "cpp/check"] {
            let to = copy.0.path().join(folder);
            std::fs::create_dir_all(&to)?;
            for entry in std::fs::read_dir(cpp().with_file_name(folder))? {
                let path = entry?.path();
                let name = path.file_name().ok_or("a file without a name")?;
                if path.is_file() {
                    std::fs::copy(&path, to.join(name))?;
                }
            }
        }
        write_lines(&copy.cpp())?;
        Ok(copy)
    }

    /// The copy of the folder `cpp`.
    fn cpp(&self) -> PathBuf {
        self.0.path().join("cpp")
    }
}

/// Which view of an interface is compiled.
#[derive(Clone, Copy)]
enum View<'a> {
    /// The bridge's own declarations.
    Ours,
    /// The real headers in this folder.
    Theirs(&'a Path),
}

/// Compiles a source of the bridge's folder `cpp`, or of its folder `check`, for a line.
fn compile(
    cpp: &Path,
    source: &str,
    line: &Line,
    view: View<'_>,
    arguments: &[&str],
    output: &Path,
) -> Outcome {
    let mut command = Command::new("g++");
    // V8's own headers need C++20 from 12.4 on; the bridge does not.
    let standard = if line.node >= 22 { "-std=c++20" } else { "-std=c++17" };
    command.args([standard, "-O0", "-fPIC"]).args(arguments);
    command.arg(format!("-DRELINK_V8={}", line.v8.0 * 100 + line.v8.1));
    command.arg(format!("-DRELINK_NODE={}", line.node));
    command.arg("-I").arg(headers_of(cpp, line));
    if let View::Theirs(include) = view {
        // uv.h lies beside the folder of node.h.
        let beside = include.parent().ok_or("a folder above the headers")?;
        command.arg("-DRELINK_REAL").arg("-isystem").arg(include).arg("-idirafter").arg(beside);
    }
    checked(command.arg(cpp.join(source)).arg("-o").arg(output))?;
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
    ["_ZN2v8", "_ZNK2v8", "_ZN4node", "_ZNK4node", "napi_"].iter().any(|prefix| name.starts_with(prefix))
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
fn symbols_of(
    cpp: &Path,
    name: &str,
    line: &Line,
    view: View<'_>,
) -> Result<BTreeSet<String>, Box<dyn Error>> {
    let folder = TempDir::new()?;
    let output = folder.path().join("view.o");
    compile(cpp, &format!("check/{name}_abi_check.cc"), line, view, &["-c"], &output)?;
    needed(&output)
}

/// The numbers that one view of `check/NAME_abi_check.cc` under `cpp` prints, a line each.
fn numbers_of(cpp: &Path, name: &str, line: &Line, view: View<'_>) -> Result<Vec<String>, Box<dyn Error>> {
    let folder = TempDir::new()?;
    let program = folder.path().join("view");
    compile(cpp, &format!("check/{name}_abi_check.cc"), line, view, &["-DRELINK_NUMBERS"], &program)?;
    let output = checked(&mut Command::new(&program))?;
    Ok(String::from_utf8(output.stdout)?.lines().map(String::from).collect())
}

/// That both views agree, in every line; the numbers of each.
fn assert_views_agree(name: &str, functions: usize, numbers: usize) -> Outcome {
    for line in &LINES {
        let real = real(line)?;
        let theirs = View::Theirs(&real.include);
        let symbols = symbols_of(&cpp(), name, line, View::Ours)?;
        assert_eq!(symbols, symbols_of(&cpp(), name, line, theirs)?, "V8 {}", line.name);
        assert!(symbols.len() >= functions, "{} functions checked in {}", symbols.len(), line.name);
        let lines = numbers_of(&cpp(), name, line, View::Ours)?;
        assert_eq!(lines, numbers_of(&cpp(), name, line, theirs)?, "V8 {}", line.name);
        assert!(lines.len() >= numbers, "{} numbers checked in {}", lines.len(), line.name);
    }
    Ok(())
}

#[test]
fn v8_declarations_are_those_of_v8() -> Outcome {
    assert_views_agree("v8", 22, 42)
}

#[test]
fn node_declarations_are_those_of_node() -> Outcome {
    assert_views_agree("node", 15, 27)
}

#[test]
fn node_api_declarations_are_those_of_node_api() -> Outcome {
    assert_views_agree("napi", 22, 11)
}

/// What the catalogue says of a line's platform is what its real headers say.
#[test]
fn slots_of_the_lines_are_those_of_the_real_vtables() -> Outcome {
    for line in &LINES {
        let real = real(line)?;
        let mut facts = numbers_of(&cpp(), "v8", line, View::Theirs(&real.include))?;
        facts.extend(numbers_of(&cpp(), "node", line, View::Theirs(&real.include))?);
        for fact in [
            format!("AfterPlatform::after {}", line.platform_slots),
            format!("MultiIsolatePlatform::UnregisterIsolate {}", line.unregister_isolate_slot()),
            format!("MultiIsolatePlatform::AddIsolateFinishedCallback {}", line.node_platform_slots() - 1),
        ] {
            assert!(facts.contains(&fact), "{fact} is not true of V8 {}", line.name);
        }
    }
    Ok(())
}

/// The objects of a line's bridge itself, compiled as the build script does.
fn bridge_needs(line: &Line) -> Result<BTreeSet<String>, Box<dyn Error>> {
    let folder = TempDir::new()?;
    let mut all = BTreeSet::new();
    for entry in std::fs::read_dir(cpp())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".cc") {
            let output = folder.path().join("bridge.o");
            // One of them catches what others throw.
            let exceptions = if name == "protect.cc" { "-fexceptions" } else { "-fno-exceptions" };
            let flags = ["-c", "-O2", exceptions, "-fno-rtti"];
            compile(&cpp(), &name, line, View::Ours, &flags, &output)?;
            all.extend(needed(&output)?);
        }
    }
    Ok(all)
}

#[test]
fn bridges_use_only_checked_functions_that_hosts_and_guests_export() -> Outcome {
    for line in &LINES {
        let real = real(line)?;
        let mut needs = bridge_needs(line)?;
        // V8's own, in no public header: called by weak references, where there are any.
        assert!(FLAG_FUNCTIONS.iter().all(|name| needs.remove(*name)), "{needs:?}");
        // Public, and of one form in all of them: the first line alone asks for it.
        assert_eq!(needs.remove(GET_VERSION), line.v8 < (11, 3), "{needs:?}");
        let group = GROUP_FUNCTIONS.iter().filter(|name| needs.remove(**name)).count();
        assert_eq!(group, GROUP_FUNCTIONS.len(), "{needs:?}");
        for library in real.files.iter().filter(|_| line.v8 >= (13, 6)) {
            assert!(GROUP_FUNCTIONS[..2]
                .iter()
                .all(|name| exported(library).is_ok_and(|names| names.contains(*name))));
        }
        assert!(needs.len() > 25, "{needs:?}");
        let mut checked = symbols_of(&cpp(), "v8", line, View::Ours)?;
        checked.extend(symbols_of(&cpp(), "node", line, View::Ours)?);
        checked.extend(symbols_of(&cpp(), "napi", line, View::Ours)?);
        let unchecked: Vec<_> = needs.difference(&checked).collect();
        assert_eq!(unchecked, [""; 0], "not compared with the real headers of {}", line.name);
        for library in &real.files {
            let missing: Vec<_> = needs.difference(&exported(library)?).cloned().collect();
            assert_eq!(missing, [""; 0], "not exported by {}", library.display());
        }
    }
    Ok(())
}

/// Every symbol that an adapter stands in for is a function of that line's V8, or one that only some builds have.
#[test]
fn adapted_functions_exist() -> Outcome {
    for line in &LINES {
        let exports = real(line)?.files.iter().map(|file| exported(file)).collect::<Result<Vec<_>, _>>()?;
        for adapter in inside_an_isolate(line) {
            let known = exports.iter().any(|names| names.contains(adapter.symbol));
            assert!(known, "no V8 {} exports {}", line.name, adapter.symbol);
        }
    }
    let header = std::fs::read_to_string(cpp().join("bridge.h"))?;
    let named: BTreeSet<_> = header.split_whitespace().collect();
    for adapter in LINES.iter().flat_map(|line| line.adapters) {
        for name in [adapter.symbol, adapter.stands_in] {
            assert!(named.contains(name), "bridge.h does not name {name}");
        }
    }
    Ok(())
}

/// Replaces `from` by `to` in a file of a spoilt copy.
fn spoil(copy: &Copy, file: &str, from: &str, to: &str) -> Outcome {
    let path = copy.cpp().join(file);
    let text = std::fs::read_to_string(&path)?;
    assert!(text.contains(from), "{file} has no {from:?}");
    std::fs::write(path, text.replacen(from, to, 1))?;
    Ok(())
}

/// The comparison would notice: a virtual function moved, an enumerator changed.
#[test]
fn wrong_numbers_are_noticed() -> Outcome {
    let line = line::oldest();
    let real = real(line)?;
    let copy = Copy::of_cpp()?;
    spoil(&copy, "lines/10.2/platform.h", "virtual int NumberOfWorkerThreads() = 0;", "")?;
    spoil(&copy, "check/v8_abi_check.cc", "SLOT(Platform, NumberOfWorkerThreads),", "")?;
    spoil(&copy, "node_abi.h", "kNoInitializeV8 = 1 << 6", "kNoInitializeV8 = 1 << 8")?;
    for name in ["v8", "node"] {
        let ours = numbers_of(&copy.cpp(), name, line, View::Ours)?;
        assert_ne!(ours, numbers_of(&copy.cpp(), name, line, View::Theirs(&real.include))?, "{name}");
    }
    Ok(())
}

/// The comparison would notice: another parameter fails to compile, another name is another symbol.
#[test]
fn wrong_functions_are_noticed() -> Outcome {
    let line = line::oldest();
    let copy = Copy::of_cpp()?;
    spoil(&copy, "v8_abi.h", "void LowMemoryNotification();", "void LowMemoryNotification(int);")?;
    assert!(symbols_of(&copy.cpp(), "v8", line, View::Ours).is_err());
    spoil(
        &copy,
        "node_abi.h",
        "class IsolateData;",
        "class IsolateDatum;\nusing IsolateData = IsolateDatum;",
    )?;
    let real = real(line)?;
    let theirs = symbols_of(&copy.cpp(), "node", line, View::Theirs(&real.include))?;
    assert_ne!(symbols_of(&copy.cpp(), "node", line, View::Ours)?, theirs);
    Ok(())
}
