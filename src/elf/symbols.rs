//! The dynamic symbol table and its hash tables (gABI chapter 4 "Symbol Table", chapter 5 "Hash Table"; the GNU hash
//! table as glibc's `elf/dl-lookup.c` reads it).

use super::{Dynamic, ElfError, Image, Strings};
use crate::address::LinkAddr;
use object::elf::{self, Sym64};
use object::{LittleEndian as LE, U32};

/// One dynamic symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'d> {
    /// Its (mangled) name without a version.
    pub name: &'d str,
    /// Index in the dynamic symbol table.
    pub index: u32,
    /// `st_value`: for a definition in a loadable object, a link-time address.
    pub value: LinkAddr,
    /// Size in bytes; 0 when unknown.
    pub size: u64,
    /// `STB_*`.
    pub bind: u8,
    /// `STT_*`.
    pub kind: u8,
    /// Whether this object defines it.
    pub defined: bool,
}

/// Whether a definition is the one that is looked for.
pub type Fits<'f, 'd> = &'f mut dyn FnMut(&Symbol<'d>) -> Result<bool, ElfError>;

/// The dynamic symbols of an image.
#[derive(Clone, Copy, Debug)]
pub struct SymbolTable<'i, 'd> {
    image: &'i Image<'d>,
    strings: Strings<'d>,
    start: LinkAddr,
    gnu: Option<GnuHash<'d>>,
    sysv: Option<SysvHash<'d>>,
}

impl<'i, 'd> SymbolTable<'i, 'd> {
    /// Finds the tables through the dynamic section.
    pub fn parse(image: &'i Image<'d>, dynamic: &Dynamic<'_, 'd>) -> Result<Self, ElfError> {
        let start = dynamic
            .address(elf::DT_SYMTAB)
            .ok_or(ElfError::Missing("the dynamic symbol table (DT_SYMTAB)"))?;
        let gnu = dynamic.address(elf::DT_GNU_HASH).map(|at| GnuHash::parse(image, at)).transpose()?;
        let sysv = dynamic.address(elf::DT_HASH).map(|at| SysvHash::parse(image, at)).transpose()?;
        Ok(Self { image, strings: dynamic.strings()?, start, gnu, sysv })
    }

    /// The symbol at `index`.
    pub fn get(&self, index: u32) -> Result<Symbol<'d>, ElfError> {
        let raw = self.raw(index)?;
        Ok(Symbol {
            name: self.strings.get(u64::from(raw.st_name.get(LE)))?,
            index,
            value: LinkAddr(raw.st_value.get(LE)),
            size: raw.st_size.get(LE),
            bind: raw.st_info >> 4,
            kind: raw.st_info & 0xf,
            defined: raw.st_shndx.get(LE) != elf::SHN_UNDEF,
        })
    }

    /// Link-time address of the entry at `index`.
    pub fn entry_address(&self, index: u32) -> Option<LinkAddr> {
        self.start.offset(u64::from(index) * size_of::<Sym64<LE>>() as u64)
    }

    fn raw(&self, index: u32) -> Result<&'d Sym64<LE>, ElfError> {
        let overflow = ElfError::Malformed {
            what: "a dynamic symbol",
            address: self.start,
            why: "has too high an index",
        };
        self.image.value("a dynamic symbol", self.entry_address(index).ok_or(overflow)?)
    }

    /// The first definition of `name` in this image, whatever its version. With both hash tables the GNU one is used; an
    /// image with neither has no symbols that could be looked up.
    pub fn lookup(&self, name: &str) -> Result<Option<Symbol<'d>>, ElfError> {
        self.lookup_where(name, &mut |_| Ok(true))
    }

    /// The first definition of `name` that `fits`: one name may have several versions.
    pub fn lookup_where(&self, name: &str, fits: Fits<'_, 'd>) -> Result<Option<Symbol<'d>>, ElfError> {
        match (&self.gnu, &self.sysv) {
            (Some(gnu), _) => gnu.lookup(self, name, fits),
            (None, Some(sysv)) => sysv.lookup(self, name, fits),
            (None, None) => Ok(None),
        }
    }

    /// All definitions that the hash tables lead to, in table order.
    pub fn definitions(&self) -> Result<Vec<Symbol<'d>>, ElfError> {
        self.each_definition().collect()
    }

    /// The same, read one by one.
    pub fn each_definition(&self) -> impl Iterator<Item = Result<Symbol<'d>, ElfError>> + '_ {
        let indices = match (&self.gnu, &self.sysv) {
            (Some(gnu), _) => gnu.indices(),
            (None, Some(sysv)) => 1..sysv.chains.len() as u32,
            (None, None) => 0..0,
        };
        let all = indices.map(move |index| self.get(index));
        all.filter(|s| s.as_ref().map_or(true, |s| s.defined))
    }

    /// The symbol at `index` if it is a definition of `name` that fits.
    fn defines(&self, index: u32, name: &str, fits: Fits<'_, 'd>) -> Result<Option<Symbol<'d>>, ElfError> {
        let raw = self.raw(index)?;
        if raw.st_shndx.get(LE) == elf::SHN_UNDEF || !self.strings.is(u64::from(raw.st_name.get(LE)), name) {
            return Ok(None);
        }
        let symbol = self.get(index)?;
        Ok(fits(&symbol)?.then_some(symbol))
    }
}

/// The GNU hash function (Bernstein's, as in glibc's `dl_new_hash`).
pub fn gnu_hash(name: &str) -> u32 {
    name.bytes().fold(5381u32, |hash, byte| hash.wrapping_mul(33).wrapping_add(u32::from(byte)))
}

#[derive(Clone, Copy, Debug)]
struct GnuHash<'d> {
    first: u32,
    bloom: &'d [object::U64<LE>],
    bloom_shift: u32,
    buckets: &'d [U32<LE>],
    /// From the first chain word to the end of the segment: the table does not say its own length.
    chains: &'d [U32<LE>],
}

impl<'d> GnuHash<'d> {
    fn parse(image: &Image<'d>, at: LinkAddr) -> Result<Self, ElfError> {
        const WHAT: &str = "the GNU hash table";
        let malformed = |why| ElfError::Malformed { what: WHAT, address: at, why };
        let header: &[U32<LE>] = image.table(WHAT, at, 4)?;
        let [buckets, first, words, shift] = [0, 1, 2, 3].map(|i| header[i].get(LE));
        if buckets == 0 || !words.is_power_of_two() {
            return Err(malformed("has no buckets, or a bloom filter whose size is not a power of two"));
        }
        let bloom_at = at.offset(16).ok_or(malformed("overflows"))?;
        let buckets_at = bloom_at.offset(u64::from(words) * 8).ok_or(malformed("overflows"))?;
        let chains_at = buckets_at.offset(u64::from(buckets) * 4).ok_or(malformed("overflows"))?;
        let rest = image.tail(WHAT, chains_at).unwrap_or(&[]);
        let (chains, _) =
            object::pod::slice_from_bytes(rest, rest.len() / 4).map_err(|()| malformed("is not aligned"))?;
        Ok(Self {
            first,
            bloom: image.table(WHAT, bloom_at, u64::from(words))?,
            bloom_shift: shift,
            buckets: image.table(WHAT, buckets_at, u64::from(buckets))?,
            chains,
        })
    }

    fn lookup(
        &self,
        symbols: &SymbolTable<'_, 'd>,
        name: &str,
        fits: Fits<'_, 'd>,
    ) -> Result<Option<Symbol<'d>>, ElfError> {
        let hash = gnu_hash(name);
        let word = self.bloom[(hash / 64) as usize & (self.bloom.len() - 1)].get(LE);
        let second = hash.checked_shr(self.bloom_shift).unwrap_or(0);
        if word >> (hash % 64) & word >> (second % 64) & 1 == 0 {
            return Ok(None);
        }
        for (index, chained) in self.chain(self.buckets[hash as usize % self.buckets.len()].get(LE)) {
            if chained | 1 == hash | 1 {
                if let Some(found) = symbols.defines(index, name, fits)? {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// Symbol indices and hashes of the chain that starts at `index`; the lowest bit of a hash marks the last.
    fn chain(&self, index: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        let start = index.checked_sub(self.first).filter(|_| index != 0);
        let words = start.and_then(|s| self.chains.get(s as usize..)).unwrap_or(&[]);
        let mut ended = false;
        words.iter().zip(index..=u32::MAX).map_while(move |(word, index)| {
            let hash = word.get(LE);
            let now = !ended;
            ended = hash & 1 == 1;
            now.then_some((index, hash))
        })
    }

    /// All symbol indices that the table leads to.
    fn indices(&self) -> std::ops::Range<u32> {
        let last_bucket = self.buckets.iter().map(|b| b.get(LE)).max().unwrap_or(0);
        let last = self.chain(last_bucket).last().map_or(self.first, |(index, _)| index.saturating_add(1));
        self.first..last.max(self.first)
    }
}

#[derive(Clone, Copy, Debug)]
struct SysvHash<'d> {
    buckets: &'d [U32<LE>],
    chains: &'d [U32<LE>],
}

impl<'d> SysvHash<'d> {
    fn parse(image: &Image<'d>, at: LinkAddr) -> Result<Self, ElfError> {
        const WHAT: &str = "the hash table (DT_HASH)";
        let malformed = |why| ElfError::Malformed { what: WHAT, address: at, why };
        let header: &[U32<LE>] = image.table(WHAT, at, 2)?;
        let (buckets, chains) = (u64::from(header[0].get(LE)), u64::from(header[1].get(LE)));
        if buckets == 0 {
            return Err(malformed("has no buckets"));
        }
        let buckets_at = at.offset(8).ok_or(malformed("overflows"))?;
        let chains_at = buckets_at.offset(buckets * 4).ok_or(malformed("overflows"))?;
        Ok(Self {
            buckets: image.table(WHAT, buckets_at, buckets)?,
            chains: image.table(WHAT, chains_at, chains)?,
        })
    }

    fn lookup(
        &self,
        symbols: &SymbolTable<'_, 'd>,
        name: &str,
        fits: Fits<'_, 'd>,
    ) -> Result<Option<Symbol<'d>>, ElfError> {
        let mut index = self.buckets[sysv_hash(name) as usize % self.buckets.len()].get(LE);
        // A chain visits each symbol at most once; the bound makes a looping table end.
        for _ in 0..self.chains.len() {
            if index == 0 {
                break;
            }
            if let Some(found) = symbols.defines(index, name, fits)? {
                return Ok(Some(found));
            }
            index = self.chains.get(index as usize).map_or(0, |next| next.get(LE));
        }
        Ok(None)
    }
}

/// The hash function of the gABI's figure 5-13.
fn sysv_hash(name: &str) -> u32 {
    name.bytes().fold(0u32, |hash, byte| {
        let hash = (hash << 4).wrapping_add(u32::from(byte));
        let high = hash & 0xf000_0000;
        (hash ^ (high >> 24)) & !high
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_known_names() {
        // Values of glibc's own tests: elf/tst-dl-hash (GNU) and the gABI's example names.
        assert_eq!(gnu_hash(""), 5381);
        assert_eq!(gnu_hash("printf"), 0x156b_2bb8);
        assert_eq!(gnu_hash("exit"), 0x7c96_7e3f);
        assert_eq!(sysv_hash("printf"), 0x077_905a6);
        assert_eq!(sysv_hash("exit"), 0x0006_cf04);
    }
}
