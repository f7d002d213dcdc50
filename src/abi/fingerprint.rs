//! What a V8 is, read from its data symbols; no code of it runs.

use crate::claim::{claim, Claim};
use crate::names::{
    COMPRESSED_SLOTS, CXX_WITNESSES, FULL_SLOTS, GET_VERSION, MARKER, SMI_SHIFT, TAGGED_SIZE,
    VERSION_EMBEDDER, VERSION_NUMBERS,
};
use crate::version::V8Version;
use object::{elf, LittleEndian as LE, I32, U64};
use relink_elf::address::LinkAddr;
use relink_elf::{full_symbols, ElfError, FileImage, Image, SymbolTable};

/// The C++ standard library that V8's API was compiled with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
pub struct CxxLibrary(pub &'static str);

impl CxxLibrary {
    /// That of guests, and of the V8s that Node builds.
    pub const LIBSTDCXX: Self = Self("libstdc++");

    /// Whether it is LLVM's, in one of its inline namespaces.
    pub fn is_libcxx(self) -> bool {
        self.namespace().is_some()
    }

    /// libc++'s inline namespace, `_LIBCPP_ABI_NAMESPACE`: `__1`, or that of Chromium's builds.
    pub fn namespace(self) -> Option<&'static str> {
        match self.0 {
            "libc++" => Some("__1"),
            other => other.strip_prefix("libc++ (std::")?.strip_suffix(')'),
        }
    }

    /// What a unit's name has for it: nothing for the guests' own, `-libc++.Cr` for another.
    pub fn suffix(self) -> String {
        self.namespace().map(|namespace| format!("-libc++.{namespace}")).unwrap_or_default()
    }

    /// The library with this name.
    pub fn named(name: &str) -> Option<Self> {
        CXX_WITNESSES.iter().map(|(_, library)| *library).find(|library| *library == name).map(Self)
    }
}

/// What is known of a V8. `None` means unknown, never "no".
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Fingerprint {
    /// Its version.
    pub version: Option<V8Version>,
    /// The embedder's suffix to the version, such as `-node.26`.
    pub embedder: Option<String>,
    /// Size of a tagged word in bytes: 8, or 4 with pointer compression.
    pub tagged_size: Option<u32>,
    /// Bits of a small integer: 32, or 31.
    pub smi_bits: Option<u32>,
    /// The C++ library.
    pub cxx: Option<CxxLibrary>,
}

impl Fingerprint {
    /// Reads what the dynamic symbols of `image` tell.
    pub fn read(image: &Image, symbols: &SymbolTable) -> Result<Self, ElfError> {
        Self::read_with(image, &|name| Ok(symbols.lookup(name)?.map(|s| s.value)))
    }

    /// The same for a V8 that only the full symbol table of its file names, as in a program that was linked with V8 and hides it: none
    /// where that table names no V8, or is not there. `image` is that file's, or its module's in memory.
    ///
    /// # Errors
    /// The file's tables cannot be read.
    pub fn read_hidden(file: &FileImage, image: &Image) -> Result<Option<Self>, ElfError> {
        let names = [MARKER, GET_VERSION, VERSION_EMBEDDER, TAGGED_SIZE, SMI_SHIFT];
        let wanted = names.into_iter().chain(VERSION_NUMBERS).chain(FULL_SLOTS).chain(COMPRESSED_SLOTS);
        let wanted = wanted.chain(CXX_WITNESSES.iter().map(|(name, _)| *name)).collect();
        let symbols = full_symbols(file, &wanted)?;
        if claim(|name| Ok::<_, ElfError>(symbols.contains_key(name)))? != Claim::V8 {
            return Ok(None);
        }
        Self::read_with(image, &|name| Ok(symbols.get(name).map(|(at, _)| *at))).map(Some)
    }

    /// Reads what the symbols that `find` knows tell: it gives a symbol's link-time address.
    pub fn read_with(
        image: &Image,
        find: &dyn Fn(&str) -> Result<Option<LinkAddr>, ElfError>,
    ) -> Result<Self, ElfError> {
        let facts = Facts { image, find };
        let mut numbers = [0; 4];
        let mut known = true;
        for (number, name) in numbers.iter_mut().zip(VERSION_NUMBERS) {
            match facts.int(name)? {
                Some(value) => *number = value,
                None => known = false,
            }
        }
        let [major, minor, build, patch] = numbers;
        let tagged_size = facts.int(TAGGED_SIZE)?.map_or_else(|| facts.slots(), |size| Ok(Some(size)))?;
        let smi_bits = facts.int(SMI_SHIFT)?.and_then(smi_bits);
        Ok(Self {
            version: known.then_some(V8Version { major, minor, build, patch }),
            embedder: facts.string(VERSION_EMBEDDER)?,
            tagged_size,
            // Half a word has no room for more.
            smi_bits: smi_bits.or_else(|| (tagged_size == Some(4)).then_some(31)),
            cxx: facts.cxx()?,
        })
    }

    /// Whether nothing in the file tells how many bits small integers have: without pointer compression, where they are 32 or 31, only
    /// data for debuggers does. The live probe sees it.
    pub fn hides_small_integers(&self) -> bool {
        self.smi_bits.is_none() && self.tagged_size == Some(8)
    }

    /// Version and suffix as V8 prints them, for messages.
    pub fn version_text(&self) -> String {
        let version = self.version.map_or_else(|| "unknown".into(), |v| v.to_string());
        format!("{version}{}", self.embedder.as_deref().unwrap_or(""))
    }
}

/// Bits of a small integer by `kSmiShiftSize` (include/v8-internal.h, `SmiTagging<4>` and `SmiTagging<8>`).
pub fn smi_bits(shift: u32) -> Option<u32> {
    match shift {
        0 => Some(31),
        31 => Some(32),
        _ => None,
    }
}

/// The non-negative `int` at `at`. A compiler puts a 0 (the minor number of V8 7.0) where a file has no bytes.
pub fn int(image: &Image, at: LinkAddr) -> Result<Option<u32>, ElfError> {
    match image.value::<I32<LE>>("a fact about V8", at) {
        Ok(value) => Ok(u32::try_from(value.get(LE)).ok()),
        Err(_) if is_zero_filled(image, at) => Ok(Some(0)),
        Err(error) => Err(error),
    }
}

/// Whether `at` lies in the part of a segment that a file has no bytes for (`p_filesz` to `p_memsz`).
fn is_zero_filled(image: &Image, at: LinkAddr) -> bool {
    image.headers().iter().filter(|h| h.p_type.get(LE) == elf::PT_LOAD).any(|h| {
        let [start, bytes, all] = [h.p_vaddr.get(LE), h.p_filesz.get(LE), h.p_memsz.get(LE)];
        (start.saturating_add(bytes)..start.saturating_add(all)).contains(&at.0)
    })
}

struct Facts<'a, 'd> {
    image: &'a Image<'d>,
    find: &'a dyn Fn(&str) -> Result<Option<LinkAddr>, ElfError>,
}

impl Facts<'_, '_> {
    /// The non-negative `int` that the symbol names.
    fn int(&self, name: &str) -> Result<Option<u32>, ElfError> {
        let Some(at) = (self.find)(name)? else { return Ok(None) };
        int(self.image, at)
    }

    /// The string that the `const char*` of this name points at. In a file the pointer is not relocated yet; then
    /// nothing is known.
    fn string(&self, name: &str) -> Result<Option<String>, ElfError> {
        const LONGEST: usize = 64;
        let Some(at) = (self.find)(name)? else { return Ok(None) };
        let pointer: &U64<LE> = self.image.value("a fact about V8", at)?;
        // A relocation's addend is elsewhere, so the word in the file may be 0.
        if pointer.get(LE) == 0 {
            return Ok(None);
        }
        let at: LinkAddr = self.image.dynamic_address(pointer.get(LE));
        let Ok(bytes) = self.image.tail("V8's version suffix", at) else { return Ok(None) };
        let text = bytes.iter().take(LONGEST).position(|b| *b == 0).map(|end| &bytes[..end]);
        Ok(text.and_then(|t| std::str::from_utf8(t).ok()).map(str::to_owned))
    }

    /// The size of a tagged word by the parameter types of V8's own functions, for a V8 without data for debuggers.
    fn slots(&self) -> Result<Option<u32>, ElfError> {
        for (names, size) in [(FULL_SLOTS, 8), (COMPRESSED_SLOTS, 4)] {
            for name in names {
                if (self.find)(name)?.is_some() {
                    return Ok(Some(size));
                }
            }
        }
        Ok(None)
    }

    fn cxx(&self) -> Result<Option<CxxLibrary>, ElfError> {
        for (name, library) in CXX_WITNESSES {
            if (self.find)(name)?.is_some() {
                return Ok(Some(CxxLibrary(library)));
            }
        }
        Ok(None)
    }
}
