//! The neutral guest: V8's public headers rewritten by rules, so that numbers which differ between V8s are not compiled into
//! Node but read from a layout table, which the loader fills for the host's V8.
//!
//! Node's own sources stay as they are but for a few lines of its own later ones ([`backports`]). Every constant that code in the headers reads must fall under a rule here or stand in
//! [`KEPT`] with the reason why it may be compiled in; whatever does not ends the build (E0715).

pub mod backports;
mod constants;
mod edits;
mod v13_6;

use super::cache::hex;
use super::error::{io, KitError, Result};
use super::headers::V8Headers;
use constants::{NoRule, CLASSES};
use edits::Edit;
use relink_abi::catalogue::Facts;
use relink_abi::layout::{derived, value, Field};
use relink_abi::version::V8Version;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// The symbol of the table.
pub const TABLE: &str = "relink_layout";
/// The header that declares it.
const HEADER: &str = "v8-relink-layout.h";
/// How the headers call the words of [`derived`], in its order.
const DERIVED_NAMES: [&str; 8] = [
    "kRelinkReturnValueDefaultSlot",
    "kRelinkReturnValueDefaultRoot",
    "kRelinkReturnValueIsolateSlot",
    "kRelinkCallbackTarget",
    "kRelinkPropertyInPlace",
    "kRelinkCallbackData",
    "kRelinkTracedSlot",
    "kRelinkConstructedBit",
];

/// Constants that code in the headers reads and that are compiled in all the same, by how their names begin. The gate
/// compares them between guest and host as it does for any guest.
const KEPT: [(&str, &str); 23] = [
    ("cppgc::", "objects on heaps of cppgc; up to Node 22 there are none but add-ons', for 24 edits read what differs"),
    ("v8::ReturnValue<v8::Value>::k", "what stands beside a return value: edits read the table in its place"),
    ("v8::CTypeInfo::", "passed to V8, where an adapter translates it"),
    ("v8::CpuProfilingOptions::", "a limit, passed to V8"),
    ("v8::ScriptCompiler::CompilationDetails::", "a mark within what V8 tells of a compilation"),
    ("v8::ScriptOriginOptions::", "bits of an option, passed to V8"),
    ("v8::internal::kApi", "sizes of words, compared as the build's configuration"),
    ("v8::internal::kExternalPointer", "read with the sandbox only"),
    ("v8::internal::kHeapObjectTag", "how pointers are marked, the same as long as there is V8's API"),
    ("v8::internal::ValueHelper::kEmpty", "a handle that is empty, the same but for V8s with handles that are values"),
    ("v8::internal::kNullAddress", "no address"),
    ("v8::internal::kAny", "read with the sandbox only"),
    ("v8::internal::kCppHeapPointer", "read with the sandbox only"),
    ("v8::kAnyCppHeapPointer", "read with the sandbox only"),
    ("v8::ArrayBuffer::kMaxByteLength", "a limit, asked of allocators"),
    ("v8::TypedArray::kMaxByteLength", "a limit, asked of allocators"),
    ("v8::String::", "options of functions, and what a string's memory is not known by"),
    ("v8::internal::kSmi", "bits of small integers, compared as the build's configuration"),
    ("v8::kEmbedderFieldsInWeakCallback", "length of an array in an argument"),
    ("v8::kTypeInfo", "passed to V8, where an adapter translates it"),
    ("v8::kPersistentContainerNotFound", "a mark within the headers' own containers"),
    ("v8::metrics::", "metrics are not recorded by Node"),
    ("v8::platform::tracing::", "sizes within Node's own objects"),
];

/// Constants that code in the headers reads, though never in Node: a host's V8 need not tell them.
const NEVER_READ: [(&str, &str); 5] = [
    ("v8::internal::Internals::kExternalPointerTableBasePointerOffset", "read with the sandbox only"),
    ("v8::PropertyCallbackInfo<v8::Value>::kArgsLength", "an edit has the number in its place"),
    ("v8::PropertyCallbackInfo<v8::Value>::kHolderV2Index", "Node asks for the holder by its older name"),
    ("v8::internal::Internals::kExternalPointerTableBufferOffset", "read with the sandbox only"),
    ("v8::internal::Internals::kTracedNodeClassIdOffset", "Node has no traced references with a class id"),
];

/// Raised when the rules that are written in Rust change what comes out.
const RULES: &str = "2";

/// What identifies the rules for headers of a V8 (major and minor version): part of the key of what is built by them.
pub fn fingerprint(v8: (u32, u32)) -> String {
    let edits = edits::of_v8(v8).unwrap_or_default();
    let edits = edits.iter().flat_map(|edit| [edit.file, edit.find, edit.replace]);
    let texts: Vec<&str> =
        [RULES].into_iter().chain(edits).chain(derived(v8).map(|(name, _)| name)).collect();
    hex(&Sha256::digest(texts.join("\0") + &declaration(derived(v8).count(), v8)))
}

/// Rewrites the headers in `dir`, a copy, which `facts` describe. Returns the table's fields with the values that the headers
/// had.
///
/// # Errors
/// A header has something for which there is no rule (E0715), or cannot be read or written.
pub fn neutralise(dir: &Path, headers: &V8Headers, facts: &Facts) -> Result<Vec<Field>> {
    let (v8, edits) = edits_for(dir, headers)?;
    let fields = fields(facts, v8);
    let numbers: BTreeMap<String, usize> =
        fields.iter().enumerate().map(|(number, field)| (field.name.clone(), number)).collect();
    let (mut rewritten, mut texts) = (BTreeSet::new(), Vec::new());
    for file in headers.files() {
        let path = dir.join(file);
        let text = fs::read_to_string(&path).map_err(io("read", &path))?;
        let edited =
            edits::apply(edits, &file.to_string_lossy(), &text).map_err(|edit| missing_text(&path, edit))?;
        let done = constants::rewrite(&edited, &numbers).map_err(|rule| no_rule(&path, rule))?;
        rewritten.extend(done.names);
        if done.text != text {
            texts.push((path, done.text));
        }
    }
    let there = |edit: &&Edit| headers.files().iter().any(|file| file == Path::new(edit.file));
    if let Some(gone) = edits.iter().find(|edit| !there(edit)).map(|edit| edit.file) {
        let why = "there is no such header, though there is a rule for it";
        return Err(no_rule(&dir.join(gone), NoRule { line: 0, text: String::new(), why }));
    }
    uncovered(facts, &rewritten).map_or(Ok(()), |name| Err(unruled(dir, headers, &name)))?;
    texts.push((dir.join(HEADER), declaration(fields.len(), v8)));
    for (path, text) in texts {
        fs::write(&path, text).map_err(io("write", &path))?;
    }
    Ok(fields)
}

/// The major and minor version of these headers, and the edits for them.
fn edits_for(dir: &Path, headers: &V8Headers) -> Result<((u32, u32), &'static [Edit])> {
    let minor = V8Version::parse(&headers.version).map(|v8| (v8.major, v8.minor));
    minor.and_then(|v8| Some((v8, edits::of_v8(v8)?))).ok_or_else(|| {
        let text = format!("V8 {}", headers.version);
        let why = "there are no edits for headers of this V8".into();
        KitError::NoRule { path: dir.join("v8-version.h"), line: 0, text, why }
    })
}

/// The table: all constants of the layout classes, then what is derived.
fn fields(facts: &Facts, v8: (u32, u32)) -> Vec<Field> {
    let of_class = |name: &str| {
        CLASSES.iter().any(|(_, class)| name.strip_prefix(class).is_some_and(|rest| rest.starts_with("::k")))
    };
    let field = |name: &str, read: bool| Some(Field { name: name.into(), value: value(name, facts)?, read });
    let constants = facts.constants.keys().filter(|name| of_class(name));
    let constants = constants.filter_map(|name| {
        let plain = name.rsplit("::").next().unwrap_or(name);
        // The replacement of an exported function reads these.
        let by_edit = ["kJSObjectType", "kJSSpecialApiObjectType", "kLastJSApiObjectType"].contains(&plain);
        let never = NEVER_READ.iter().any(|(other, _)| other == name);
        field(name, by_edit || (facts.read.contains(plain) && !never))
    });
    constants.chain(derived(v8).filter_map(|(name, _)| field(name, true))).collect()
}

/// The first constant that code reads and that neither is a word of the table nor may be compiled in.
fn uncovered(facts: &Facts, rewritten: &BTreeSet<String>) -> Option<String> {
    let read = |name: &&String| facts.read.contains(name.rsplit("::").next().unwrap_or(name));
    let kept = |name: &str| KEPT.iter().any(|(start, _)| name.starts_with(start));
    let mut names = facts.constants.keys().filter(read);
    names.find(|name| !kept(name) && !rewritten.contains(&name.replace("<void>", "<v8::Value>"))).cloned()
}

/// The header that declares the table and what reads a word of it. The table is constant for the compiler, too: it is filled
/// before any code runs.
fn declaration(words: usize, v8: (u32, u32)) -> String {
    let mut text = format!(
        "// Written by `relink guest build --neutral`: the layout table.\n\
         #ifndef INCLUDE_V8_RELINK_LAYOUT_H_\n#define INCLUDE_V8_RELINK_LAYOUT_H_\n\n\
         extern \"C\" __attribute__((visibility(\"hidden\"))) const int {TABLE}[{words}];\n\n\
         namespace v8 {{\nnamespace internal {{\n\
         template <unsigned kWord>\nstruct RelinkWord {{\n\
         \x20 __attribute__((always_inline)) operator int() const {{ return {TABLE}[kWord]; }}\n}};\n"
    );
    let first = words - derived(v8).count();
    for (name, word) in DERIVED_NAMES.iter().zip(first..words) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "inline constexpr RelinkWord<{word}> {name}{{}};");
    }
    text + "}  // namespace internal\n}  // namespace v8\n\n#endif  // INCLUDE_V8_RELINK_LAYOUT_H_\n"
}

fn no_rule(path: &Path, rule: NoRule) -> KitError {
    KitError::NoRule { path: path.into(), line: rule.line, text: rule.text, why: rule.why.into() }
}

fn missing_text(path: &Path, edit: &Edit) -> KitError {
    let text = edit.find.trim().lines().next().unwrap_or_default().into();
    let why = format!("this text is expected {} time(s): {}", edit.times, edit.why);
    KitError::NoRule { path: path.into(), line: 0, text, why }
}

/// Names the line where the headers mention the constant first.
fn unruled(dir: &Path, headers: &V8Headers, name: &str) -> KitError {
    let plain = name.rsplit("::").next().unwrap_or(name);
    for file in headers.files() {
        let path = dir.join(file);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let found = text.lines().enumerate().find(|(_, line)| line.contains(plain));
        if let Some((number, line)) = found {
            let why = format!(
                "code reads {name}, which is neither a word of the layout table nor known to be harmless"
            );
            return KitError::NoRule { path, line: number + 1, text: line.trim().into(), why };
        }
    }
    KitError::NoRule { path: dir.into(), line: 0, text: plain.into(), why: format!("code reads {name}") }
}

/// Assembly text of the table with the values that were compiled for, and of the note that says where it is: a note of
/// type [`relink_abi::note::TABLE_TYPE`] whose descriptor is the distance from itself to the table, and its words' number.
pub fn table_assembly(fields: &[Field]) -> String {
    let words: Vec<String> = fields.iter().map(|field| field.value.to_string()).collect();
    let owner: Vec<String> = relink_abi::note::OWNER.iter().map(u8::to_string).collect();
    format!(
        ".globl {TABLE}\n.hidden {TABLE}\n.type {TABLE},@object\n.size {TABLE},{}\n\
         .section .data.rel.ro.{TABLE},\"aw\",@progbits\n.balign 16\n{TABLE}:\n.4byte {}\n\
         .section .note.relink,\"a\",%note\n.balign 4\n.4byte {}\n.4byte 8\n.4byte {}\n.byte {}\n.balign 4\n\
         1:\n.4byte {TABLE}-1b\n.4byte {}\n.balign 4\n",
        4 * fields.len(),
        words.join(","),
        owner.len(),
        relink_abi::note::TABLE_TYPE,
        owner.join(","),
        fields.len(),
    )
}
