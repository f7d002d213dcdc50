//! What a file or a process holds: is there a V8, how visible, and what is it? Nothing of it runs, and of a large file
//! only the pages that hold the answers are touched: hash tables first, `.symtab` and texts only where those do not tell.

mod build;
mod compiler;
mod fact;
pub mod live;
mod symbols;
mod texts;
mod version;

pub use build::{Build, Linkage};
pub use fact::Fact;
pub use symbols::{Found, Symbols};

use build::Sources;
use fact::agreed;
use relink_abi::catalogue::*;
use relink_abi::claim::{claim, Claim};
use relink_abi::fingerprint::CxxLibrary;
use relink_abi::note;
use relink_elf::arch::Arch;
use relink_elf::is_program;
use relink_elf::{Dynamic, ElfError, FileImage};
use serde::Serialize;
use std::convert::Infallible;
use texts::Texts;
use version::Version;

/// What was found. `None` means unknown, never "no".
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Whether V8 was found, and how it shows.
    pub v8: Presence,
    /// What shows it, or what speaks against it.
    pub evidence: Vec<String>,
    /// An executable or a library.
    pub kind: Kind,
    /// The machine that the file is for.
    pub machine: &'static str,
    /// V8's version, with the embedder's suffix if that is known.
    pub version: Option<Fact<String>>,
    /// How V8 was built.
    #[serde(flatten)]
    pub build: Build,
    /// The C++ library that V8 was compiled with.
    pub cxx: Option<Fact<CxxLibrary>>,
    /// The compilers that left their names in the file.
    pub compilers: Option<Fact<Vec<String>>>,
    /// The profile of V8's inlined ABI, if Relink knows it.
    pub profile: Option<&'static str>,
    /// Set if the file holds a Node.
    pub node: Option<Node>,
    /// What the note says, if this is a guest without V8.
    pub guest: Option<note::GuestNote>,
    /// Libraries that this file needs and that by their names may hold the V8 it uses.
    pub needs: Vec<String>,
}

/// How V8 shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// Its API is in the dynamic symbol table: a guest can be bound to it.
    Dynsym,
    /// Its API is only in the full symbol table: it is there, and hidden.
    Symtab,
    /// Probably there, by texts that only V8 prints; it has no symbols.
    Probable,
    /// Another engine that defines a part of V8's API.
    Imitation,
    /// Nothing of it was found.
    NotSeen,
}

impl Presence {
    /// Whether there is a V8, certainly or probably.
    pub fn is_v8(self) -> bool {
        matches!(self, Self::Dynsym | Self::Symtab | Self::Probable)
    }
}

/// What a file is to ld.so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A program.
    Executable,
    /// A shared library.
    Library,
}

/// What is known of a Node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Its version, without the `v`.
    pub version: Option<Fact<String>>,
    /// `NODE_MODULE_VERSION`.
    pub module_version: Option<Fact<u32>>,
}

/// The architecture that the ELF header names, or this machine's where Relink does not know it (the reader refuses the
/// file then).
pub fn architecture(bytes: &[u8]) -> &'static Arch {
    const E_MACHINE: usize = 18;
    let machine = bytes.get(E_MACHINE..E_MACHINE + 2).map(|b| u16::from_le_bytes([b[0], b[1]]));
    machine.and_then(Arch::of).unwrap_or_else(Arch::native)
}

/// Looks into `file`.
pub fn inspect(file: &FileImage) -> Result<Findings, ElfError> {
    let mut symbols = Symbols::dynamic(file)?;
    if !tells_enough(&symbols) {
        symbols.add_full(file);
    }
    with_symbols(file, &symbols)
}

/// Whether `.symtab` can be left alone: V8 is visible, and so is the width of its words. With pointer compression there
/// are more questions.
fn tells_enough(symbols: &Symbols) -> bool {
    let words = symbols.any(&FULL_SLOTS).or(symbols.get(TAGGED_SIZE).map(|_| TAGGED_SIZE));
    symbols.exported(MARKER) && words.is_some() && symbols.any(&COMPRESSED_SLOTS).is_none()
}

/// The same with symbols that were read before.
pub(super) fn with_symbols(file: &FileImage, symbols: &Symbols) -> Result<Findings, ElfError> {
    let is_node = symbols.get(NODE_START).is_some();
    let told_by_symbols = !is_node && symbols.get(WEBASSEMBLY).and(symbols.get(INTL)).is_some();
    let texts = if told_by_symbols { Texts::default() } else { Texts::read(file) };
    let (v8, evidence) = presence(symbols, &texts);
    let mut findings = Findings { evidence, ..nothing(file, v8) };
    findings.guest = note::find(&file.image)?.ok();
    findings.node = is_node.then(|| node(file, symbols, &texts));
    if v8.is_v8() {
        describe(&mut findings, file, symbols, &texts);
    }
    Ok(findings)
}

fn nothing(file: &FileImage, v8: Presence) -> Findings {
    Findings {
        v8,
        evidence: Vec::new(),
        kind: if is_program(file) { Kind::Executable } else { Kind::Library },
        machine: file.arch.name,
        version: None,
        build: Build::default(),
        cxx: None,
        compilers: None,
        profile: None,
        node: None,
        guest: None,
        needs: needs(file),
    }
}

fn presence(symbols: &Symbols, texts: &Texts) -> (Presence, Vec<String>) {
    let of_v8 = texts.of_v8();
    let quoted = || of_v8.iter().map(|t| format!("the text \"{t}\" in read-only data"));
    let Some(marker) = symbols.get(MARKER) else {
        // One text could be quoted by a program about V8.
        let probable = of_v8.len() >= 2;
        return (if probable { Presence::Probable } else { Presence::NotSeen }, quoted().collect());
    };
    let mut evidence = vec![format!("the symbol {MARKER}")];
    let claimed = claim(|name| Ok::<_, Infallible>(symbols.get(name).is_some()));
    // Texts that only V8 prints outweigh names that are hidden.
    if claimed == Ok(Claim::Imitation) && of_v8.is_empty() {
        evidence.push(format!("neither {GET_VERSION} nor {} nor any of V8's texts", VERSION_NUMBERS[0]));
        return (Presence::Imitation, evidence);
    }
    evidence.extend(quoted());
    let visible = marker.table == super::exports::Visibility::Dynsym;
    (if visible { Presence::Dynsym } else { Presence::Symtab }, evidence)
}

fn describe(findings: &mut Findings, file: &FileImage, symbols: &Symbols, texts: &Texts) {
    let version = version::by_symbols(file, symbols)
        .or_else(|| (findings.v8 == Presence::Probable).then(|| version::by_texts(file)).flatten());
    let numbers = version.as_ref().map(|v| v.value.numbers);
    let is_node = findings.node.is_some();
    findings.build = Sources { file, symbols, texts, version: numbers, is_node }.build();
    findings.profile = numbers.and_then(profile_of).map(|p| p.name);
    findings.version = version.map(|v| v.map(|v: Version| v.to_string()));
    findings.cxx = library(file, symbols);
    let compilers = compiler::compilers(file);
    findings.compilers = (!compilers.is_empty()).then(|| Fact::new(compilers, "the section .comment"));
}

fn library(file: &FileImage, symbols: &Symbols) -> Option<Fact<CxxLibrary>> {
    let fact = |library| Fact::new(library, "the names of V8's symbols, which hold the library's namespace");
    if !symbols.libraries.is_empty() || symbols.get(MARKER).is_none() {
        return symbols.library().map(fact);
    }
    let mut all = symbols.clone();
    all.add_library(file);
    all.library().map(fact)
}

fn node(file: &FileImage, symbols: &Symbols, texts: &Texts) -> Node {
    let version = texts.node_version().map(|v| Fact::new(v.to_owned(), "a text in read-only data"));
    let configured = texts
        .module_version()
        .map(|v| Fact::new(v, "node_module_version in Node's embedded build configuration"));
    Node { version, module_version: agreed([configured, by_soname(file), by_modules(file, symbols)]) }
}

/// Node's shared library is called `libnode.so.NODE_MODULE_VERSION` (configure.py, `shlib_suffix`).
fn by_soname(file: &FileImage) -> Option<Fact<u32>> {
    let soname = soname(file)?;
    let number = soname.strip_prefix("libnode.so.")?.parse().ok()?;
    Some(Fact::new(number, format!("the library's name, {soname}")))
}

fn soname<'d>(file: &FileImage<'d>) -> Option<&'d str> {
    Dynamic::parse(&file.image).ok()?.soname().ok()?
}

/// What all of Node's module structures say, if they agree.
fn by_modules(file: &FileImage, symbols: &Symbols) -> Option<Fact<u32>> {
    let says = |at: &relink_elf::address::LinkAddr| version::int(file, *at);
    let how = "Node's structures of built-in modules";
    agreed(symbols.modules.iter().map(|at| says(at).map(|v| Fact::new(v, how))))
}

/// Needed libraries with a name such as libnode.so.108 or libv8.so.
fn needs(file: &FileImage) -> Vec<String> {
    let Ok(dynamic) = Dynamic::parse(&file.image) else { return Vec::new() };
    let needed = dynamic.needed().unwrap_or_default();
    let holds = |name: &&str| name.starts_with("libnode") || name.starts_with("libv8");
    needed.into_iter().filter(holds).map(str::to_owned).collect()
}
