//! How V8 was built: each fact from symbols, from texts, from Node's embedded build configuration, or from another fact
//! that it follows from (V8's own BUILD.gn asserts those).

use super::fact::{agreed, Fact};
use super::symbols::Symbols;
use super::texts::{Texts, INTL as INTL_TEXT, WEBASSEMBLY as WEBASSEMBLY_TEXT};
use super::version::int;
use relink_abi::catalogue::*;
use relink_abi::fingerprint;
use relink_abi::version::V8Version;
use relink_elf::{Dynamic, FileImage};
use serde::Serialize;

/// What is known of V8's build configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Build {
    /// Whether a word that refers to an object is half as wide as a pointer (`V8_COMPRESS_POINTERS`).
    pub pointer_compression: Option<Fact<bool>>,
    /// Bits of a small integer.
    pub smi_bits: Option<Fact<u32>>,
    /// Whether the heap sandbox is compiled in (`V8_ENABLE_SANDBOX`).
    pub sandbox: Option<Fact<bool>>,
    /// Whether the addresses of read-only roots are constants (`V8_STATIC_ROOTS`).
    pub static_roots: Option<Fact<bool>>,
    /// Whether it is a build with V8's own checks (`DEBUG`, `VERIFY_HEAP`).
    pub checks: Option<Fact<bool>>,
    /// Whether scripts have WebAssembly.
    pub webassembly: Option<Fact<bool>>,
    /// Whether scripts have `Intl` (`V8_INTL_SUPPORT`).
    pub i18n: Option<Fact<bool>>,
    /// One library, or V8 in several.
    pub linkage: Option<Fact<Linkage>>,
}

/// How V8 is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Linkage {
    /// V8 is a set of shared libraries (`is_component_build`): this one needs `libv8_libbase`.
    Component,
    /// V8 is whole in this file.
    Monolithic,
}

/// Where the facts come from.
pub(super) struct Sources<'a, 'd> {
    pub file: &'a FileImage<'d>,
    pub symbols: &'a Symbols,
    /// Empty if the texts were not needed.
    pub texts: &'a Texts,
    pub version: Option<V8Version>,
    /// Whether the file is a Node, whose build configuration is V8's.
    pub is_node: bool,
}

impl Sources<'_, '_> {
    /// All that is known. The order matters: later facts follow from earlier ones.
    pub fn build(&self) -> Build {
        let words = self.words();
        let smi_bits = agreed([self.smi_shift(), words.as_ref().and_then(small_integers)]);
        let sandbox = agreed([self.setting("v8_enable_sandbox"), self.sandbox(words.as_ref())]);
        let static_roots = self.static_roots(words.as_ref());
        let webassembly = agreed([self.setting("v8_enable_webassembly"), self.webassembly()]);
        let i18n = agreed([self.setting("v8_enable_i18n_support"), self.i18n()]);
        let (checks, linkage) = (agreed([self.configuration(), self.debug_functions()]), self.linkage());
        Build {
            pointer_compression: words,
            smi_bits,
            sandbox,
            static_roots,
            checks,
            webassembly,
            i18n,
            linkage,
        }
    }

    /// A switch of Node's embedded config.gypi.
    fn setting(&self, key: &str) -> Option<Fact<bool>> {
        let value = self.texts.setting(key).filter(|_| self.is_node)?;
        let on = match value {
            "0" | "false" => false,
            "1" | "true" => true,
            _ => return None,
        };
        Some(Fact::new(on, format!("{key} in Node's embedded build configuration")))
    }

    fn has(&self, name: &'static str, value: bool) -> Option<Fact<bool>> {
        self.symbols.get(name).map(|_| Fact::new(value, format!("the symbol {name} is there")))
    }

    fn since(&self, major: u32, minor: u32) -> bool {
        self.version.is_some_and(|v| (v.major, v.minor) >= (major, minor))
    }

    fn before(&self, major: u32, minor: u32) -> bool {
        self.version.is_some_and(|v| (v.major, v.minor) < (major, minor))
    }

    fn value(&self, name: &str) -> Option<u32> {
        int(self.file, self.symbols.get(name)?.at)
    }

    fn words(&self) -> Option<Fact<bool>> {
        let size = match self.value(TAGGED_SIZE) {
            Some(4) => Some(true),
            Some(8) => Some(false),
            _ => None,
        };
        let slots = |names: &[&'static str], compressed| {
            self.symbols.any(names).map(|name| Fact::new(compressed, format!("the symbol {name} is there")))
        };
        agreed([
            size.map(|compressed| Fact::new(compressed, format!("the value of {TAGGED_SIZE}"))),
            self.setting("v8_enable_pointer_compression"),
            slots(&FULL_SLOTS, false),
            slots(&COMPRESSED_SLOTS, true),
            self.has(STATIC_ROOTS, true).map(|f| Fact { how: format!("{}, and needs it", f.how), ..f }),
            // Smis of 32 bits fill a word of 64.
            self.smi_shift()
                .filter(|f| f.value == 32)
                .map(|f| Fact::new(false, format!("{}: small integers of 32 bits", f.how))),
        ])
    }

    fn smi_shift(&self) -> Option<Fact<u32>> {
        let bits = self.value(SMI_SHIFT).and_then(fingerprint::smi_bits)?;
        Some(Fact::new(bits, format!("the value of {SMI_SHIFT}")))
    }

    /// From 11.0 on the sandbox's API and class are there with it only.
    fn sandbox(&self, compression: Option<&Fact<bool>>) -> Option<Fact<bool>> {
        if let Some(fact) = self.has(SANDBOX_SIZE, true) {
            return Some(fact);
        }
        let needs = || Fact::new(false, "it needs pointer compression, and there is none");
        let full = self.symbols.full && self.symbols.get(INTERNALS).is_some();
        match compression {
            Some(Fact { value: false, .. }) => Some(needs()),
            _ if !self.since(11, 0) => None,
            _ if full && self.symbols.sandbox_class => {
                Some(Fact::new(true, "functions of v8::internal::Sandbox are in .symtab"))
            }
            _ if full => Some(Fact::new(false, "no function of v8::internal::Sandbox is in .symtab")),
            _ if self.symbols.exported(GET_VERSION) => {
                Some(Fact::new(false, format!("V8's API is exported, and {SANDBOX_SIZE} is not there")))
            }
            _ => None,
        }
    }

    fn static_roots(&self, compression: Option<&Fact<bool>>) -> Option<Fact<bool>> {
        let found = self.has(STATIC_ROOTS, true);
        let compressed = compression.map(|f| f.value);
        let without = (compressed == Some(false))
            .then(|| Fact::new(false, "they need pointer compression, and there is none"));
        let old = self.before(11, 0).then(|| Fact::new(false, "V8 has had them since 11.0"));
        found.or(without).or(old)
    }

    /// Node's configuration: `Release` or `Debug`.
    fn configuration(&self) -> Option<Fact<bool>> {
        let value = self.texts.setting("default_configuration").filter(|_| self.is_node)?;
        let debug = match value {
            "Release" => false,
            "Debug" => true,
            _ => return None,
        };
        Some(Fact::new(
            debug,
            format!("default_configuration is {value} in Node's embedded build configuration"),
        ))
    }

    fn debug_functions(&self) -> Option<Fact<bool>> {
        self.symbols.get(INTERNALS)?;
        Some(match self.symbols.any(&DEBUG_ONLY) {
            Some(name) => Fact::new(true, format!("the symbol {name} is there")),
            None => Fact::new(
                false,
                "V8's internal functions are seen, and JSObject::JSObjectVerify is not there",
            ),
        })
    }

    fn webassembly(&self) -> Option<Fact<bool>> {
        if self.before(5, 7) {
            return Some(Fact::new(false, "V8 has it on since 5.7"));
        }
        // The functions came before they were on; the text did not.
        let symbol = self.has(WEBASSEMBLY, true).filter(|_| self.since(5, 7));
        symbol.or_else(|| self.text(WEBASSEMBLY_TEXT)).or_else(|| self.absent(WEBASSEMBLY, (5, 7)))
    }

    fn i18n(&self) -> Option<Fact<bool>> {
        // Before 7.8 neither symbol nor text is there in every build with Intl.
        self.has(INTL, true).or_else(|| self.text(INTL_TEXT)).or_else(|| self.absent(INTL, (7, 8)))
    }

    fn text(&self, text: &'static str) -> Option<Fact<bool>> {
        self.texts.has(text).then(|| Fact::new(true, format!("the text \"{text}\" is there")))
    }

    /// That something is not there can be known where V8's internal functions are seen. The caller has looked for the
    /// text as well.
    fn absent(&self, name: &'static str, since: (u32, u32)) -> Option<Fact<bool>> {
        let seen = self.symbols.get(INTERNALS).is_some() && self.since(since.0, since.1);
        seen.then(|| {
            Fact::new(
                false,
                format!("V8's internal functions are seen, and {name} and its text are not there"),
            )
        })
    }

    fn linkage(&self) -> Option<Fact<Linkage>> {
        const BASE: &str = "v8_libbase";
        let needed = match Dynamic::parse(&self.file.image) {
            Ok(dynamic) => dynamic.needed().ok()?,
            Err(_) => Vec::new(),
        };
        Some(match needed.iter().find(|n| n.contains(BASE)) {
            Some(name) => Fact::new(Linkage::Component, format!("it needs {name}")),
            None => Fact::new(Linkage::Monolithic, format!("no {BASE} is among the libraries it needs")),
        })
    }
}

/// With pointer compression small integers have 31 bits; without, either is possible.
fn small_integers(compression: &Fact<bool>) -> Option<Fact<u32>> {
    compression.value.then(|| Fact::new(31, "follows from pointer compression"))
}
