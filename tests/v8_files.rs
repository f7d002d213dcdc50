//! A V8 is one file: its data file in src/abi/v8, beside its facts in the catalogue and its layer of the adapter units. Nothing else names it,
//! and without its files the rest builds and passes.
//!
//! The removal takes minutes: `cargo test --release --test v8_files -- --ignored`; `RELINK_WITHOUT=12.9` takes another V8.

#[path = "support/data.rs"]
mod data;

use data::{data, Data, V8};
use relink::abi::line::{HOSTS, LINES};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Sources that may name a V8 that only hosts have, and why.
const MAY: [(&str, &str); 4] = [
    ("src/kit/extra_hosts.rs", "wheels with V8s that are in no Node"),
    ("src/kit/matrix/hosts.rs", "the same wheels, as hosts"),
    ("tests/other_hosts.rs", "the same wheels, as hosts"),
    ("tests/learned.rs", "a V8 that is learned is one that has no file"),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// V8s without a guest line: what is known of these is in their files alone.
fn host_only() -> Vec<&'static V8> {
    data().v8s.iter().filter(|v8| data().lines.iter().all(|line| line.minor() != v8.minor)).collect()
}

/// All sources, below the root.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<_> = ["src", "shim", "tests", "benches"].map(|folder| root().join(folder)).into();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if ["rs", "cc", "h", "py", "java", "js"]
                .iter()
                .any(|e| path.extension().is_some_and(|x| x == *e))
            {
                let name = path.strip_prefix(root()).expect("below").display().to_string();
                found.push((name, std::fs::read_to_string(&path).expect("UTF-8")));
            }
        }
    }
    found
}

/// Whether `text` has `name`, with no digit right before or behind it.
fn names(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let behind = text[at + name.len()..].chars().next();
        ![before, behind].into_iter().flatten().any(|c| c.is_ascii_digit())
    })
}

/// How code names a V8: by its numbers, by its Node, or as `RELINK_HOST` has it.
fn ways(v8: &V8) -> Vec<String> {
    let (major, minor) = v8.minor;
    let line = v8.full().rsplit_once('.').map_or("", |(line, _)| line).to_owned();
    let nodes = v8.node.iter().flat_map(|node| node.matrix.iter().chain([&node.version]));
    let nodes = nodes.map(|version| format!("\"{version}\""));
    let numbers = [
        v8.stem(),
        format!("({major}, {minor})"),
        format!("[{major}, {minor}]"),
        format!("\"{major}.{minor}\""),
        format!("on-{major}.{minor}"),
        line,
    ];
    numbers.into_iter().chain(nodes).collect()
}

/// The lines of a source that name a V8; comments may, and words for people.
fn lines_that_name<'t>(v8: &V8, text: &'t str) -> Vec<&'t str> {
    let ways = ways(v8);
    let number = (v8.minor.0 * 100 + v8.minor.1).to_string();
    let code = text.lines().map(|line| line.split("//").next().unwrap_or(""));
    let is = |line: &&str| {
        ways.iter().any(|way| names(line, way)) || line.contains("RELINK_HOST") && names(line, &number)
    };
    code.filter(is).collect()
}

#[test]
fn no_other_source_names_a_v8_that_only_hosts_have() {
    assert!(host_only().len() >= 4);
    for v8 in host_only() {
        for (name, text) in sources() {
            let own = name.starts_with("shim/adapters/since_") && names(&name, &v8.stem());
            if own || MAY.iter().any(|(may, _)| *may == name) {
                continue;
            }
            let found = lines_that_name(v8, &text);
            assert!(found.is_empty(), "{name} names V8 {}: {found:#?}", v8.stem().replace('_', "."));
        }
    }
}

#[test]
fn what_names_a_v8_is_seen() {
    let v8 = host_only().pop().expect("a V8");
    let (major, minor) = v8.minor;
    for line in [
        format!("const HOSTS: [(u32, u32); 1] = [({major}, {minor})];"),
        format!("#if RELINK_HOST >= {major}{minor:02}"),
        format!("#include \"since_{major}_{minor}.h\""),
        format!("official_node(\"{}\")", v8.node.as_ref().expect("a Node has it").version),
        format!("known_abis(\"{}\")", v8.full()),
    ] {
        assert_eq!(lines_that_name(v8, &line).len(), 1, "{line}");
    }
    let others = format!("// V8 {major}.{minor} is otherwise\nlet a = ({major}, {minor}1);\nconst WHY: &str = \"V8 {major}.{minor}: moved\";");
    assert!(lines_that_name(v8, &others).is_empty());
}

/// A guest has a unit for each later V8 of which all that changed until then is known, and the program has just these lines.
#[test]
fn lines_are_those_of_the_files() {
    let built: Vec<_> = LINES.iter().chain(&HOSTS).map(|line| line.v8).collect();
    let without: Vec<_> = data().without_units().map(|v8| v8.minor).collect();
    let guests: Vec<_> = data().lines.iter().map(|line| line.minor()).collect();
    for v8 in &data().v8s {
        let expected = guests.contains(&v8.minor) || !without.contains(&v8.minor);
        assert_eq!(built.contains(&v8.minor), expected, "{}", v8.stem());
    }
    assert_eq!(guests, LINES.iter().map(|line| line.v8).collect::<Vec<_>>());
}

/// A copy of the data files with one text in one of them replaced: what is said of it.
fn said_of(file: &str, from: &str, to: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    for part in ["v8", "lines"] {
        std::fs::create_dir(folder.path().join(part)).expect("made");
        for entry in std::fs::read_dir(root().join("src/abi").join(part)).expect("the folder") {
            let path = entry.expect("an entry").path();
            let to = folder.path().join(part).join(path.file_name().expect("a name"));
            std::fs::copy(&path, to).expect("copied");
        }
    }
    let path = folder.path().join(file);
    let text = std::fs::read_to_string(&path).expect("the file");
    assert!(text.contains(from), "{file} has no {from}");
    std::fs::write(&path, text.replacen(from, to, 1)).expect("written");
    Data::read(folder.path()).expect_err("it is spoilt")
}

#[test]
fn what_is_wrong_in_a_file_is_named_with_file_and_field() {
    let last = host_only().pop().expect("a V8");
    let file = format!("v8/{}.toml", last.stem());
    for (from, to, parts) in [
        ("after = ", "afterwards = ", ["afterwards", "unknown field"]),
        ("after = \"", "after = \"1", ["after", "no earlier V8"]),
        ("[node]\nversion", "[node]\nversions", ["versions", "unknown field"]),
        ("v8 = \"", "v8 = \"1", ["node.v8", "no version of this V8"]),
        ("sha256 = \"", "sha256 = \"0", ["headers", "64 digits"]),
        ("inspector = {", "inspector = { pool = \"a\",", ["headers.inspector", "either"]),
        ("guests_from = \"", "guests_from = \"9", ["changes.guests_from", "no guest line"]),
        ("guests = [", "guests = [17, ", ["bridged.guests", "no such guest line"]),
        ("[expect]", "[expect]\nexpected = 1", ["expected", "unknown field"]),
    ] {
        let said = said_of(&file, from, to);
        assert!(said.starts_with(&file) && parts.iter().all(|part| said.contains(part)), "{from}: {said}");
    }
    let said = said_of("lines/24.toml", "first = \"", "first = \"9");
    assert!(said.starts_with("lines/24.toml: profile.first"), "{said}");
    let said = said_of("v8/13_6.toml", "after = ", "before = \"10.2\"\nafter = ");
    assert!(said.starts_with("v8/13_6.toml: after"), "{said}");
}

/// The files of a V8: with its data file those of the catalogue and its layer.
fn files_of(v8: &V8, root: &Path) -> Vec<PathBuf> {
    let start = |folder: &str, start: String| {
        let entries =
            std::fs::read_dir(root.join(folder)).expect("a folder").map(|e| e.expect("an entry").path());
        let is =
            move |path: &PathBuf| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&start));
        entries.filter(is).collect::<Vec<_>>()
    };
    let stem = v8.stem();
    [
        start("src/abi/v8", format!("{stem}.toml")),
        start("src/abi/catalogue/profiles", format!("v8_{stem}_")),
        start("shim/adapters", format!("since_{stem}.")),
    ]
    .concat()
}

fn cargo(root: &Path, target: &Path, args: &[&str]) {
    let mut command = Command::new(env!("CARGO"));
    let output =
        command.args(args).current_dir(root).env("CARGO_TARGET_DIR", target).output().expect("cargo runs");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("cargo {}: {}", args.join(" "), output.status);
    said.lines()
        .filter(|line| line.starts_with("test result") || line.contains("v8/"))
        .for_each(|line| println!("  {line}"));
    assert!(output.status.success(), "cargo {}:\n{said}", args.join(" "));
}

/// A V8 that another one comes after is taken out of a copy of this tree, and put back: each time all of it builds, and the tests of what is
/// known of V8s pass.
#[test]
#[ignore = "builds the workspace twice: minutes; see docs/TESTING.md"]
fn a_v8_is_taken_out_and_put_back_by_its_files_alone() {
    let named = std::env::var("RELINK_WITHOUT").ok();
    let is_named = |v8: &&V8| named.as_ref().is_some_and(|name| v8.stem() == name.replace('.', "_"));
    let hosts = host_only();
    let v8 = *hosts.iter().find(|v8| is_named(v8)).unwrap_or(&hosts[hosts.len() - 2]);
    let copy = tempfile::tempdir().expect("a folder");
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    let listed = String::from_utf8(listed.expect("git").stdout).expect("UTF-8");
    for name in listed.lines().filter(|name| root().join(name).is_file()) {
        let to = copy.path().join(name);
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("made");
        std::fs::copy(root().join(name), to).expect("copied");
    }
    let target = root().join("target/without");
    let check = || {
        cargo(copy.path(), &target, &["check", "--workspace", "--all-targets"]);
        cargo(copy.path(), &target, &["test", "--package", "relink-abi", "--package", "relink-kit", "--lib"]);
        let tests =
            ["--test", "abi_verdicts", "--test", "interfaces", "--test", "v8_files", "--test", "rooms"];
        cargo(copy.path(), &target, &[&["test"][..], &tests].concat());
    };
    let files = files_of(v8, copy.path());
    assert!(files.len() >= 2, "{files:?}");
    let kept: Vec<_> = files.iter().map(|path| (path, std::fs::read(path).expect("read"))).collect();
    for path in &files {
        println!("without {}", path.strip_prefix(copy.path()).expect("below").display());
        std::fs::remove_file(path).expect("removed");
    }
    check();
    for (path, bytes) in kept {
        std::fs::write(path, bytes).expect("put back");
    }
    println!("with them again");
    check();
}
