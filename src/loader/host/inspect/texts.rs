//! Texts in read-only data: one pass over it with all patterns, for what symbols do not tell.

use aho_corasick::{AhoCorasick, MatchKind};
use object::read::elf::{FileHeader as _, SectionHeader as _};
use object::{elf, LittleEndian as LE};
use relink_elf::FileImage;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

/// What V8 prints, from src/api/api.cc of every version since 3.14.
pub const OF_V8: [&str; 3] =
    ["Cannot create a handle without a HandleScope", "v8::HandleScope::CreateHandle()", "v8::Context::New()"];

/// The name of a function of src/wasm/wasm-js.cc, which is compiled with WebAssembly only.
pub const WEBASSEMBLY: &str = "WebAssembly.instantiate()";

/// A class of V8's alone (src/objects/js-break-iterator.h), compiled with `V8_INTL_SUPPORT` only.
pub const INTL: &str = "Intl.v8BreakIterator";

const MODULE_VERSION: &str = "node_module_version";
const CONFIGURATION: &str = "default_configuration";
const OPTION: &str = "v8_enable_";
const HEADERS: &str = "-headers.tar.gz";
const OLD_NODE: [&str; 2] = ["v0.10.", "v0.12."];

const PATTERNS: [&str; 11] = [
    OF_V8[0],
    OF_V8[1],
    OF_V8[2],
    WEBASSEMBLY,
    INTL,
    MODULE_VERSION,
    CONFIGURATION,
    OPTION,
    HEADERS,
    OLD_NODE[0],
    OLD_NODE[1],
];

/// More different values than this of one thing are noise.
const MOST: usize = 8;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Texts {
    seen: BTreeSet<&'static str>,
    /// Node's build configuration (config.gypi), which is embedded as text: key to values.
    settings: BTreeMap<String, BTreeSet<String>>,
    /// Versions in the address of Node's headers.
    node: BTreeSet<String>,
}

impl Texts {
    /// Searches the read-only data of `file`.
    pub fn read(file: &FileImage) -> Self {
        let mut texts = Self::default();
        let Some(patterns) = searcher() else { return texts };
        for data in read_only(file) {
            for found in patterns.find_iter(data) {
                texts.note(PATTERNS[found.pattern().as_usize()], data, found.start());
            }
        }
        texts
    }

    fn note(&mut self, pattern: &'static str, data: &[u8], at: usize) {
        match pattern {
            MODULE_VERSION | CONFIGURATION | OPTION => {
                if let Some((key, value)) = setting(data, at) {
                    insert(self.settings.entry(key).or_default(), Some(value));
                }
            }
            HEADERS => insert(&mut self.node, version_before(data, at)),
            "v0.10." | "v0.12." => insert(&mut self.node, old_version(data, at)),
            _ => {
                // A whole string, not a mention in a longer text.
                if data.get(at + pattern.len()) == Some(&0) {
                    self.seen.insert(pattern);
                }
            }
        }
    }

    /// Whether the text was seen.
    pub fn has(&self, text: &str) -> bool {
        self.seen.contains(text)
    }

    /// V8's own texts that were seen.
    pub fn of_v8(&self) -> Vec<&'static str> {
        OF_V8.into_iter().filter(|t| self.has(t)).collect()
    }

    /// The setting of this name, if there is exactly one value for it.
    pub fn setting(&self, key: &str) -> Option<&str> {
        only(self.settings.get(key)?)
    }

    /// Node's `NODE_MODULE_VERSION` by its build configuration.
    pub fn module_version(&self) -> Option<u32> {
        self.setting(MODULE_VERSION)?.parse().ok()
    }

    /// Node's version, if exactly one was found.
    pub fn node_version(&self) -> Option<&str> {
        only(&self.node)
    }
}

/// The leftmost match of several is the kind for which the search is vectorised. Built once: it costs more than a search
/// through a small file.
fn searcher() -> Option<&'static AhoCorasick> {
    static SEARCHER: OnceLock<Option<AhoCorasick>> = OnceLock::new();
    let build = || AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(PATTERNS).ok();
    SEARCHER.get_or_init(build).as_ref()
}

fn insert(values: &mut BTreeSet<String>, value: Option<String>) {
    if values.len() < MOST {
        values.extend(value);
    }
}

fn only(values: &BTreeSet<String>) -> Option<&str> {
    values.first().filter(|_| values.len() == 1).map(String::as_str)
}

/// The key that `at` lies in and its value, in JSON or in Python's form (`'key': 1`).
fn setting(data: &[u8], at: usize) -> Option<(String, String)> {
    const LONGEST: usize = 96;
    let quote = *data.get(at.checked_sub(1)?)?;
    let text = &data[at..data.len().min(at + LONGEST)];
    let word = |text: &[u8]| text.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
    let (key, rest) = text.split_at(word(text));
    let rest = rest.strip_prefix(&[quote, b':'][..]).filter(|_| matches!(quote, b'"' | b'\''))?;
    let rest = rest.trim_ascii_start();
    let value = rest.strip_prefix(&[quote][..]).unwrap_or(rest);
    let value = &value[..word(value)];
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
    Some((text(key)?, text(value).filter(|v| !v.is_empty())?))
}

/// `18.20.4` of `…/node-v18.20.4-headers.tar.gz`, where `at` is the end of the version.
fn version_before(data: &[u8], at: usize) -> Option<String> {
    const LONGEST: usize = 48;
    let before = &data[at.saturating_sub(LONGEST)..at];
    let start = memchr::memmem::rfind(before, b"node-v")? + b"node-v".len();
    let version = std::str::from_utf8(&before[start..]).ok()?;
    let (numbers, tag) = version.split_once('-').map_or((version, ""), |(n, t)| (n, t));
    (is_three_numbers(numbers) && is_tag(tag)).then(|| version.to_owned())
}

fn is_three_numbers(text: &str) -> bool {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    text.split('.').count() == 3 && text.split('.').all(number)
}

/// What Node's builds beside releases are called. Texts that are embedded compressed look similar.
fn is_tag(tag: &str) -> bool {
    let kinds = ["nightly", "v8-canary", "rc", "test", "pre"];
    tag.is_empty()
        || (kinds.iter().any(|k| tag.starts_with(k))
            && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b)))
}

/// `0.12.18` of a string `v0.12.18` or `node v0.10.48` at `at`: those versions do not embed the address of headers.
fn old_version(data: &[u8], at: usize) -> Option<String> {
    let before = &data[..at];
    let own = before.ends_with(b"\0") || before.ends_with(b"\0node ");
    let text = data.get(at + 1..data.len().min(at + 16))?;
    let end = memchr::memchr(0, text).filter(|_| own)?;
    let version = std::str::from_utf8(&text[..end]).ok()?;
    version.bytes().all(|b| b.is_ascii_digit() || b == b'.').then(|| version.to_owned())
}

/// The bytes that are neither code nor writable, by the section headers or, without them, by the program headers.
/// Together never more than the file: sections that overlap must not make the search endless.
pub(super) fn read_only<'d>(file: &FileImage<'d>) -> Vec<&'d [u8]> {
    let mut left = file.bytes.len();
    let all = sections(file).filter(|s| !s.is_empty()).unwrap_or_else(|| segments(file));
    let mut within = |data: &&[u8]| {
        let fits = data.len() <= left;
        left -= if fits { data.len() } else { 0 };
        fits
    };
    all.into_iter().filter(|d| within(d)).collect()
}

fn sections<'d>(file: &FileImage<'d>) -> Option<Vec<&'d [u8]>> {
    let header = elf::FileHeader64::<LE>::parse(file.bytes).ok()?;
    let table = header.sections(LE, file.bytes).ok()?;
    let is_data = |s: &elf::SectionHeader64<LE>| {
        let flags = s.sh_flags(LE);
        let not = u64::from(elf::SHF_EXECINSTR | elf::SHF_WRITE);
        s.sh_type(LE) == elf::SHT_PROGBITS && flags & not == 0 && flags & u64::from(elf::SHF_ALLOC) != 0
    };
    let unwinding = |name: &[u8]| name.starts_with(b".eh_frame") || name.starts_with(b".gcc_except");
    let wanted = table.iter().filter(|s| is_data(s) && !table.section_name(LE, s).is_ok_and(unwinding));
    Some(wanted.filter_map(|s| s.data(LE, file.bytes).ok()).collect())
}

fn segments<'d>(file: &FileImage<'d>) -> Vec<&'d [u8]> {
    let constant = file
        .image
        .headers()
        .iter()
        .filter(|h| h.p_type.get(LE) == elf::PT_LOAD && h.p_flags.get(LE) & elf::PF_W == 0);
    let bytes = constant.map(|h| {
        let (start, size) = (h.p_offset.get(LE) as usize, h.p_filesz.get(LE) as usize);
        file.bytes.get(start..start.saturating_add(size)).unwrap_or(&[])
    });
    bytes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(data: &[u8]) -> Texts {
        let mut texts = Texts::default();
        let patterns = searcher().expect("patterns");
        for m in patterns.find_iter(data) {
            texts.note(PATTERNS[m.pattern().as_usize()], data, m.start());
        }
        texts
    }

    #[test]
    fn settings_in_both_forms_and_nothing_else() {
        let text = found(
            b"{\"node_module_version\": 108,\"v8_enable_i18n_support\":1} 'default_configuration': 'Release'",
        );
        assert_eq!(text.module_version(), Some(108));
        assert_eq!(text.setting("v8_enable_i18n_support"), Some("1"));
        assert_eq!(text.setting("default_configuration"), Some("Release"));
        for other in [
            &b"node_module_version: 127"[..],
            b"\"node_module_version\":k",
            b"node_module_version",
            b"\"v8_enable_",
        ] {
            let text = found(other);
            assert_eq!((text.module_version(), text.setting("v8_enable_")), (None, None), "{other:?}");
        }
    }

    #[test]
    fn two_values_are_none() {
        assert_eq!(found(b"\"node_module_version\": 1 \"node_module_version\": 2").module_version(), None);
        assert_eq!(found(b"/node-v1.2.3-headers.tar.gz\0/node-v1.2.4-headers.tar.gz").node_version(), None);
    }

    #[test]
    fn versions_of_node() {
        assert_eq!(found(b"x/node-v18.20.4-headers.tar.gz\0").node_version(), Some("18.20.4"));
        assert_eq!(
            found(b"node-v26.0.0-nightly20260101ab-headers.tar.gz").node_version(),
            Some("26.0.0-nightly20260101ab")
        );
        assert_eq!(found(b"\0v0.12.18\0").node_version(), Some("0.12.18"));
        assert_eq!(found(b"\0node v0.10.48\0").node_version(), Some("0.10.48"));
        for other in [
            &b"-headers.tar.gz"[..],
            b"node-v<x>-headers.tar.gz",
            b"node-v23.11.1.tar.ge-v23.11.1-heade1-headers.tar.gz",
            b"since v0.12.18\0",
            b"\0v0.12.x\0",
            b"\0v0.12.1",
        ] {
            assert_eq!(found(other).node_version(), None, "{other:?}");
        }
    }

    #[test]
    fn a_mention_is_not_the_text() {
        assert!(found(b"\0v8::Context::New()\0").has(OF_V8[2]));
        assert!(!found(b"\0v8::Context::New() failed\0").has(OF_V8[2]));
    }
}
