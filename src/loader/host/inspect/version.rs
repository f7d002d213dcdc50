//! V8's version: from its variables, or from texts where it has no symbols and they leave no doubt.

use super::fact::Fact;
use super::symbols::Symbols;
use super::texts::read_only;
use memchr::memmem;
use object::elf::{self, Rela64};
use object::{LittleEndian as LE, U64};
use relink_abi::catalogue::{VERSION_EMBEDDER, VERSION_NUMBERS};
use relink_abi::fingerprint;
use relink_abi::version::V8Version;
use relink_elf::address::LinkAddr;
use relink_elf::arch::RelocationKind;
use relink_elf::{Dynamic, FileImage};
use std::collections::BTreeSet;

/// A version and the embedder's suffix, such as `-node.39`, empty if there is none or it is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The four numbers.
    pub numbers: V8Version,
    /// The suffix.
    pub embedder: String,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.numbers, self.embedder)
    }
}

/// The version by `v8::internal::Version::major_` and its like.
pub(super) fn by_symbols(file: &FileImage, symbols: &Symbols) -> Option<Fact<Version>> {
    let mut numbers = [0; 4];
    for (number, name) in numbers.iter_mut().zip(VERSION_NUMBERS) {
        *number = int(file, symbols.get(name)?.at)?;
    }
    let [major, minor, build, patch] = numbers;
    let embedder = symbols.get(VERSION_EMBEDDER).and_then(|f| string(file, f.at)).unwrap_or_default();
    let version = Version { numbers: V8Version { major, minor, build, patch }, embedder };
    Some(Fact::new(version, "the variables v8::internal::Version::major_, minor_, build_, patch_"))
}

/// The non-negative `int` at `at`.
pub(super) fn int(file: &FileImage, at: LinkAddr) -> Option<u32> {
    fingerprint::int(&file.image, at).ok().flatten()
}

/// The string that the `const char*` at `at` will point at, once the file is loaded.
fn string(file: &FileImage, at: LinkAddr) -> Option<String> {
    const LONGEST: usize = 64;
    let stored: &U64<LE> = file.image.value("a fact about V8", at).ok()?;
    let target = relative(file, at).unwrap_or(LinkAddr(stored.get(LE)));
    let bytes = file.image.tail("a text of V8's", target).ok()?;
    let end = memchr::memchr(0, &bytes[..bytes.len().min(LONGEST)])?;
    let text = std::str::from_utf8(&bytes[..end]).ok()?;
    text.bytes().all(|b| b.is_ascii_graphic()).then(|| text.to_owned())
}

/// The addend of the relative relocation at `at`, if there is one.
fn relative(file: &FileImage, at: LinkAddr) -> Option<LinkAddr> {
    let dynamic = Dynamic::parse(&file.image).ok()?;
    let size = dynamic.value(elf::DT_RELASZ)? / size_of::<Rela64<LE>>() as u64;
    let table: &[Rela64<LE>] =
        file.image.table("a relocation table", dynamic.address(elf::DT_RELA)?, size).ok()?;
    let entry = table.iter().find(|r| r.r_offset.get(LE) == at.0)?;
    let is_relative = file.arch.kind(entry.r_type(LE, false)) == RelocationKind::Relative;
    is_relative.then(|| LinkAddr(entry.r_addend.get(LE) as u64))
}

/// The version of a V8 without symbols: a text with the suffix of Node's or Deno's V8, or one that fits the version of
/// the Chromium in the same file, whose number is ten times V8's (major.minor) since Chromium 45.
pub(super) fn by_texts(file: &FileImage) -> Option<Fact<Version>> {
    let data = read_only(file);
    let suffixed: BTreeSet<String> = data.iter().flat_map(|d| suffixed(d)).collect();
    if let Some(text) = only(&suffixed) {
        return fact(
            text,
            "the only text in read-only data of the form of a V8 version with its embedder's suffix".into(),
        );
    }
    let products: BTreeSet<String> = data.iter().flat_map(|d| products(d)).collect();
    let fitting: BTreeSet<String> = products.iter().flat_map(|p| fitting(&data, p)).collect();
    let how = format!(
        "the only text in read-only data of the form of a V8 version that belongs to Chromium {}",
        products.iter().cloned().collect::<Vec<_>>().join(" or ")
    );
    fact(only(&fitting).filter(|_| suffixed.is_empty())?, how)
}

fn fact(text: &str, how: String) -> Option<Fact<Version>> {
    let numbers = V8Version::parse(text)?;
    let embedder = text.find('-').map_or("", |at| &text[at..]).to_owned();
    Some(Fact::new(Version { numbers, embedder }, how))
}

fn only(texts: &BTreeSet<String>) -> Option<&str> {
    texts.first().filter(|_| texts.len() == 1).map(String::as_str)
}

/// No version is longer, in bytes.
const LONGEST: usize = 32;

/// More finds than this are noise.
const MOST: usize = 64;

/// Whole strings such as `15.0.245.2-rusty` and `10.2.154.26-node.39`.
fn suffixed(data: &[u8]) -> Vec<String> {
    let ends =
        ["-rusty\0", "-node."].into_iter().flat_map(|s| memmem::find_iter(data, s.as_bytes()).take(MOST));
    let texts = ends.filter_map(|at| whole_string(data, at));
    texts.filter(|t| V8Version::parse(t).is_some()).collect()
}

/// Versions of Chromium, such as `150.0.7871.100`.
fn products(data: &[u8]) -> Vec<String> {
    let digits = |bytes: &[u8]| bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    let product = |at: usize| {
        let before = data[at.saturating_sub(4)..at].iter().rev().take_while(|b| b.is_ascii_digit()).count();
        let build = digits(&data[at + 3..data.len().min(at + 9)]);
        let patch_at = at + 3 + build + 1;
        let patch = digits(data.get(patch_at..data.len().min(patch_at + 4))?);
        let fits = (2..=3).contains(&before) && build == 4 && data[patch_at - 1] == b'.' && patch > 0;
        let text = std::str::from_utf8(&data[at - before..patch_at + patch]).ok()?;
        fits.then(|| text.to_owned())
    };
    memmem::find_iter(data, b".0.").filter_map(product).take(MOST).collect()
}

/// Whole strings that are versions of the V8 of Chromium `product`.
fn fitting(data: &[&[u8]], product: &str) -> Vec<String> {
    let Some(number) = product.split('.').next().and_then(|n| n.parse::<u32>().ok()) else {
        return Vec::new();
    };
    let beginning = format!("\0{}.{}.", number / 10, number % 10);
    let at = |d: &&[u8]| -> Vec<String> {
        let found = memmem::find_iter(d, beginning.as_bytes()).take(MOST);
        found.filter_map(|at| whole_string(d, at + 1)).filter(|t| is_plain_version(t)).collect()
    };
    if number < 45 {
        Vec::new()
    } else {
        data.iter().flat_map(at).collect()
    }
}

/// Four numbers and nothing else, the third one of those that V8's branches have.
fn is_plain_version(text: &str) -> bool {
    const FIRST_BRANCH: u32 = 10;
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    plain && V8Version::parse(text).is_some_and(|v| v.build >= FIRST_BRANCH)
}

/// The NUL-terminated string that `at` lies in, if it begins after a NUL and is short.
fn whole_string(data: &[u8], at: usize) -> Option<String> {
    let before = &data[at.saturating_sub(LONGEST)..at];
    let start = at - before.len() + memchr::memrchr(0, before)? + 1;
    let rest = &data[start..data.len().min(start + LONGEST)];
    std::str::from_utf8(&rest[..memchr::memchr(0, rest)?]).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_with_a_suffix() {
        assert_eq!(suffixed(b"\0x\x0015.0.245.2-rusty\0y"), ["15.0.245.2-rusty"]);
        assert_eq!(suffixed(b"\0a 10.2.154.26-node.3\0"), Vec::<String>::new(), "inside a text");
        assert_eq!(suffixed(b"-rusty\0"), Vec::<String>::new());
    }

    #[test]
    fn versions_that_fit_chromium() {
        assert_eq!(products(b"Chrome/87.0.4280.144 x 1.0.1 8.0.12345.1"), ["87.0.4280.144"]);
        let data: [&[u8]; 1] = [b"\x008.7.220.38\x008.7.220.38 x\x0027.20.1002.34\x008.7.1.1\0"];
        assert_eq!(fitting(&data, "87.0.4280.144"), ["8.7.220.38"]);
        assert_eq!(fitting(&data, "44.0.2403.1"), Vec::<String>::new());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(data in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
            suffixed(&data);
            products(&data);
        }
        #[test]
        fn any_numbers_are_survived(text in "[0-9.\\-rustynode\0]{0,60}") {
            suffixed(text.as_bytes());
            products(text.as_bytes());
        }
    }
}
