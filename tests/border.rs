//! The borders to C: what the headers say (src/header) is what compilers and the other languages' bindings say. Rust's side is made
//! from the same facts, with each size and offset asserted, when Relink is built.

#[path = "support/c_hosts.rs"]
mod c_hosts;
#[path = "support/java_machine.rs"]
mod java_machine;
mod support;

use c_hosts::{checked, root};
use object::{Object, ObjectSymbol};
use relink::kit::{java, progress};
use relink_header::{Facts, Header};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::Command;
use support::parts;
use tempfile::TempDir;

/// The C interface, and what Rust and the bridge say to each other.
const HEADERS: [&str; 2] = ["shim/include/relink.h", "shim/cpp/bridge.h"];

fn text(header: &str) -> String {
    std::fs::read_to_string(root().join(header)).expect("the header")
}

fn header(name: &str) -> Header {
    Header::parse(&text(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The facts in the lines `NAME=VALUE` that a printer wrote.
fn printed(output: &[u8]) -> Facts {
    let text = String::from_utf8_lossy(output);
    let fact = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    text.lines().map(|line| fact(line).unwrap_or_else(|| panic!("{line}"))).collect()
}

/// What one side lacks, has besides, or has otherwise.
fn differences(wanted: &Facts, found: &Facts) -> Vec<String> {
    let names: BTreeSet<&String> = wanted.keys().chain(found.keys()).collect();
    let differ = names.into_iter().filter(|name| wanted.get(*name) != found.get(*name));
    let said = |facts: &Facts, name: &str| facts.get(name).map_or("nothing".to_owned(), Clone::clone);
    differ
        .map(|name| format!("{name}: {} in the header, {} there", said(wanted, name), said(found, name)))
        .collect()
}

/// The facts as a language sees them whose numbers are all signed.
fn signed(facts: &Facts) -> Facts {
    let of = |name: &str, value: &str| match name.split(' ').next() {
        Some("function" | "callback") => value.replace('u', "i"),
        _ => value.to_owned(),
    };
    facts.iter().map(|(name, value)| (name.clone(), of(name, value))).collect()
}

/// A header with one thing more or other, as its next version may be: each must be noticed.
fn next_versions(text: &str) -> Vec<Facts> {
    let changes = [
        ("const char *provider; ", "const char *provider; const char *more; "),
        ("unsigned int wait_ms; ", "unsigned long long wait_ms; "),
        ("RELINK_INTERNAL = 11", "RELINK_INTERNAL = 11, RELINK_MORE = 12"),
        ("RELINK_SHARED = 2", "RELINK_SHARED = 3"),
        ("int relink_tick(relink_runtime *runtime, ", "int relink_tick(relink_runtime *runtime, int more, "),
        ("void relink_free(char *text);", "void relink_free(char *text); void relink_more(void);"),
        (
            "typedef void (*relink_done)(void *context, int answer, ",
            "typedef void (*relink_done)(void *context, ",
        ),
    ];
    let change = |(from, to): (&str, &str)| {
        assert!(text.contains(from), "{from}");
        Header::parse(&text.replacen(from, to, 1)).expect("readable").facts()
    };
    changes.into_iter().map(change).collect()
}

/// A program in C++ that prints the facts of a header as its compiler sees them.
fn printer(name: &str, facts: &Facts) -> String {
    const HEAD: &str = r#"
#include <cstddef>
#include <cstdio>
#include <string>
#include <type_traits>
template <class T> std::string kind() {
  if (std::is_void_v<T>) return "v";
  const char *c = std::is_pointer_v<T> ? "p" : std::is_class_v<T> || std::is_union_v<T> ? "s"
    : std::is_floating_point_v<T> ? "f" : std::is_signed_v<T> ? "i" : "u";
  if constexpr (std::is_void_v<T>) return c; else return c + std::to_string(sizeof(T));
}
template <class R, class... A> std::string signature(R (*)(A...)) {
  std::string all;
  ((all += (all.empty() ? "" : ",") + kind<A>()), ...);
  return kind<R>() + "(" + all + ")";
}
"#;
    let mut code = format!("#include \"{}\"\n{HEAD}int main() {{\n", root().join(name).display());
    for fact in facts.keys() {
        let (what, of) = fact.split_once(' ').expect("two words");
        let _ = match what {
            "size" => writeln!(code, "std::printf(\"{fact}=%zu\\n\", sizeof({of}));"),
            "member" => {
                let (owner, path) = of.split_once('.').expect("a path");
                let size = format!("sizeof((({owner} *)nullptr)->{path})");
                writeln!(code, "std::printf(\"{fact}=%zu+%zu\\n\", offsetof({owner}, {path}), {size});")
            }
            "constant" => writeln!(code, "std::printf(\"{fact}=%lld\\n\", (long long){of});"),
            "callback" => writeln!(code, "std::printf(\"{fact}=%s\\n\", signature({of}{{}}).c_str());"),
            // Only its type: there is no library to link with.
            _ => {
                writeln!(code, "std::printf(\"{fact}=%s\\n\", signature((decltype(&{of}))nullptr).c_str());")
            }
        };
    }
    code + "}\n"
}

#[test]
fn a_compiler_reads_the_headers_as_we_do() {
    let folder = TempDir::new().expect("a folder");
    for name in HEADERS {
        let facts = header(name).facts();
        let (source, program) = (folder.path().join("facts.cc"), folder.path().join("facts"));
        std::fs::write(&source, printer(name, &facts)).expect("written");
        checked(Command::new("g++").args(["-std=c++17", "-o"]).arg(&program).arg(&source));
        let found = printed(&checked(&mut Command::new(&program)).stdout);
        assert_eq!(differences(&facts, &found), Vec::<String>::new(), "{name}");
    }
}

/// By another way than the parser's: every name that the compiler sees is one of the facts.
#[test]
fn no_name_of_the_headers_is_passed_over() {
    for name in HEADERS {
        let header = header(name);
        let mut compiler = Command::new("gcc");
        let plain = checked(compiler.args(["-E", "-P", "-x", "c"]).arg(root().join(name))).stdout;
        let plain = String::from_utf8_lossy(&plain).into_owned();
        let words = plain.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let seen: BTreeSet<&str> =
            words.filter(|word| word.starts_with("relink_") || word.starts_with("RELINK_")).collect();
        let mut known: BTreeSet<&str> = header.opaque.iter().map(String::as_str).collect();
        known.extend(header.aggregates.iter().filter(|it| it.is_named).map(|it| &*it.name));
        known.extend(header.constants.iter().map(|it| &*it.name));
        known.extend(header.constants.iter().filter_map(|it| it.of.as_deref()));
        known.extend(header.callbacks.iter().chain(&header.functions).map(|it| &*it.name));
        // A macro's name is gone here.
        let missing: Vec<_> = seen.difference(&known).collect();
        assert!(missing.is_empty() && seen.len() > 40, "{name}: {missing:?}");
    }
}

#[test]
fn the_library_exports_what_the_header_declares() {
    let bytes = std::fs::read(&parts().library).expect("the library");
    let library = object::File::parse(&*bytes).expect("ELF");
    let names = library.dynamic_symbols().filter(|symbol| symbol.is_definition());
    let names = names.map(|symbol| symbol.name().expect("a name").to_owned());
    // Of the loader's interface, whose header is another's.
    const LOADERS: &str = "relink_loader_impl_interface_singleton";
    // What one librelink asks another by; no host's affair.
    const PRIVATE: &str = "relink_private_";
    let public = |name: &String| name.starts_with("relink_") && name != LOADERS && !name.starts_with(PRIVATE);
    let exported = names.filter(public);
    let exported: BTreeSet<String> = exported.collect();
    let declared: BTreeSet<String> = header(HEADERS[0]).functions.into_iter().map(|it| it.name).collect();
    assert_eq!(exported, declared);
}

#[test]
fn python_has_all_of_the_header() {
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", root().join("shim/python")).env("PYTHONDONTWRITEBYTECODE", "1");
    python.arg(root().join("fixtures/python/border.py")).arg(&parts().library);
    let found = printed(&checked(&mut python).stdout);
    assert_eq!(differences(&header(HEADERS[0]).facts(), &found), Vec::<String>::new());
    for next in next_versions(&text(HEADERS[0])) {
        assert!(!differences(&next, &found).is_empty());
    }
}

#[test]
fn java_has_all_of_the_header() {
    let folder = TempDir::new().expect("a folder");
    let java = java::java(progress::terminal().as_ref()).unwrap_or_else(|e| panic!("{} {e}", e.code()));
    let classes = java_machine::compiled(&java, folder.path(), &["fixtures/java/relink/Border.java"]);
    let found = printed(&checked(java_machine::virtual_machine(&java, &classes).arg("relink.Border")).stdout);
    assert_eq!(differences(&signed(&header(HEADERS[0]).facts()), &found), Vec::<String>::new());
    for next in next_versions(&text(HEADERS[0])) {
        assert!(!differences(&signed(&next), &found).is_empty());
    }
}
