//! Digests of the machine code of V8's inline functions, from a relocatable object.

use super::bad;
use crate::cache::hex;
use crate::Result;
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SymbolKind};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Hexadecimal digits kept of a function's name and of its code.
const DIGITS: (usize, usize) = (6, 8);

/// For each class of V8's, a digest of the code of each of its inline functions (bytes, and what they refer to by name), as
/// [`AbiFile`](relink_abi::catalogue::AbiFile) has it.
pub fn digests(path: &Path, bytes: &[u8]) -> Result<BTreeMap<String, String>> {
    let file = object::File::parse(bytes).map_err(|e| bad(path, e))?;
    let mut classes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for symbol in file.symbols().filter(|s| s.kind() == SymbolKind::Text && s.is_definition()) {
        let name = symbol.name().map_err(|e| bad(path, e))?;
        if let Some(class) = class_of(name) {
            let code = code(&file, &symbol).map_err(|e| bad(path, e))?;
            let digest = |bytes: &[u8], digits| hex(&Sha256::digest(bytes))[..digits].to_owned();
            let [name, code] = [digest(name.as_bytes(), DIGITS.0), digest(&code, DIGITS.1)];
            classes.entry(class).or_default().insert(format!("{name}:{code}"));
        }
    }
    let joined = |list: BTreeSet<String>| list.into_iter().collect::<Vec<_>>().join(" ");
    Ok(classes.into_iter().map(|(class, list)| (class, joined(list))).collect())
}

/// The scope of a mangled function of V8's; `None` for others.
fn class_of(mangled: &str) -> Option<String> {
    const OURS: [&str; 4] = ["_ZN2v8", "_ZNK2v8", "_ZN5cppgc", "_ZNK5cppgc"];
    if !OURS.iter().any(|prefix| mangled.starts_with(prefix)) {
        return None;
    }
    let text = super::types::demangled(mangled)?;
    let name = text.split('(').next()?;
    Some(name.rsplit_once("::").map_or(name, |(scope, _)| scope).to_owned())
}

/// A function's bytes, then what each relocated place in it refers to.
fn code<'d>(file: &object::File<'d>, symbol: &object::Symbol<'d, '_>) -> object::Result<Vec<u8>> {
    let Some(index) = symbol.section_index() else { return Ok(Vec::new()) };
    let section = file.section_by_index(index)?;
    let range = symbol.address()..symbol.address() + symbol.size();
    let mut code = section.data_range(range.start, symbol.size())?.unwrap_or_default().to_vec();
    for (at, relocation) in section.relocations().filter(|(at, _)| range.contains(at)) {
        let target = target(file, relocation.target(), relocation.addend())?;
        code.extend(format!("{} {:?} {target}\0", at - range.start, relocation.kind()).into_bytes());
    }
    Ok(code)
}

fn target(file: &object::File, target: RelocationTarget, addend: i64) -> object::Result<String> {
    let RelocationTarget::Symbol(index) = target else { return Ok("absolute".into()) };
    let symbol = file.symbol_by_index(index)?;
    match symbol.kind() {
        SymbolKind::Section | SymbolKind::Label => literal(file, &symbol, addend),
        _ => Ok(format!("{}{addend:+}", symbol.name()?)),
    }
}

/// A string that code refers to by its place. Where it lies differs from build to build; so does the path of a header.
fn literal(file: &object::File, symbol: &object::Symbol, addend: i64) -> object::Result<String> {
    /// A reference relative to the end of a four-byte operand.
    const OPERAND: i64 = 4;
    let Some(section) = symbol.section_index().and_then(|i| file.section_by_index(i).ok()) else {
        return Ok("literal".into());
    };
    let at = usize::try_from(symbol.address() as i64 + addend + OPERAND).unwrap_or(usize::MAX);
    let bytes = section.data()?.get(at..).unwrap_or_default();
    let text = String::from_utf8_lossy(bytes.split(|b| *b == 0).next().unwrap_or_default()).into_owned();
    let is_path = text.contains('/') || !section.name()?.contains(".str");
    Ok(if is_path { "literal".into() } else { text })
}
