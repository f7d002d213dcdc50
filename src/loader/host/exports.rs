//! What a provider defines: its dynamic symbols, then, for names hidden from them, the `.symtab` of its file.

use object::elf;
use relink_abi::catalogue::PLATFORM_RETURNED;
use relink_elf::address::{LinkAddr, LoadBias, RunAddr};
use relink_elf::arch::Arch;
use relink_elf::file::map_file;
use relink_elf::{full_symbols, Dynamic, ElfError, FileImage, Image, Symbol, SymbolTable, Versions};
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// Where a definition was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// In the dynamic symbol table.
    Dynsym,
    /// Only in the full symbol table of the file.
    Symtab,
    /// Nowhere: the code of a function that returns it tells where it is.
    Code,
}

/// A definition that a slot can be bound to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Definition {
    /// Run-time address.
    pub address: RunAddr,
    /// Whether it is code; data and code must not be confused.
    pub is_function: bool,
    /// Where it was found.
    pub visibility: Visibility,
    /// Which of the other modules of a component build has it, in their order; none: the provider itself.
    pub part: Option<usize>,
}

/// The definitions of one loaded image.
pub struct Exports<'i, 'd> {
    image: &'i Image<'d>,
    symbols: SymbolTable<'i, 'd>,
    versions: Versions<'d>,
    bias: LoadBias,
    hidden: HashMap<String, (LinkAddr, bool)>,
    /// Variables that no table names.
    told: HashMap<&'static str, LinkAddr>,
    /// What the other modules of a component build define.
    parts: Vec<Exports<'i, 'd>>,
}

impl<'i, 'd> Exports<'i, 'd> {
    /// The dynamic symbols of `image`, loaded at `bias`.
    pub fn new(image: &'i Image<'d>, dynamic: &Dynamic<'_, 'd>, bias: LoadBias) -> Result<Self, ElfError> {
        let symbols = SymbolTable::parse(image, dynamic)?;
        let versions = Versions::parse(image, dynamic)?;
        let told = [PLATFORM_RETURNED].into_iter();
        let told = told.filter_map(|(name, by)| Some((name, returned(image, &symbols, by)?))).collect();
        Ok(Self { image, symbols, versions, bias, hidden: HashMap::new(), told, parts: Vec::new() })
    }

    /// The same, and what other modules of the same V8 define.
    #[must_use]
    pub fn with(self, parts: Vec<Self>) -> Self {
        Self { parts, ..self }
    }

    /// The definition of `name`. `version` is what the reference asks for: a definition that has another version is
    /// not it; one without a version serves every reference, as in ld.so.
    pub fn find(&self, name: &str, version: Option<&str>) -> Result<Option<Definition>, ElfError> {
        if let Some(symbol) = self.symbol(name, version)? {
            return Ok(Some(self.definition(symbol.value, symbol.kind == elf::STT_FUNC, Visibility::Dynsym)));
        }
        if let Some((value, is_function)) = self.hidden.get(name) {
            return Ok(Some(self.definition(*value, *is_function, Visibility::Symtab)));
        }
        for (number, part) in self.parts.iter().enumerate() {
            if let Some(found) = part.find(name, version)? {
                return Ok(Some(Definition { part: Some(number), ..found }));
            }
        }
        let told = self.told.get(name);
        Ok(told.map(|value| self.definition(*value, false, Visibility::Code)))
    }

    /// The dynamic symbol that a reference to `name` in this `version` means, if a slot may be bound to it. Without a
    /// version the default one is meant.
    pub fn symbol(&self, name: &str, version: Option<&str>) -> Result<Option<Symbol<'d>>, ElfError> {
        let fits = &mut |symbol: &Symbol<'d>| Ok(bindable(symbol) && self.version_fits(symbol, version)?);
        self.symbols.lookup_where(name, fits)
    }

    fn version_fits(&self, symbol: &Symbol<'d>, wanted: Option<&str>) -> Result<bool, ElfError> {
        match wanted {
            Some(wanted) => {
                let defined = self.versions.of(self.image, symbol.index)?;
                Ok(defined.is_none_or(|defined| defined.name == wanted))
            }
            None => Ok(!self.versions.is_hidden(self.image, symbol.index)?),
        }
    }

    fn definition(&self, value: LinkAddr, is_function: bool, visibility: Visibility) -> Definition {
        Definition { address: self.bias.run(value), is_function, visibility, part: None }
    }

    /// Looks for `wanted` names, those that the dynamic symbols lack, in the `.symtab` of the provider's own file.
    /// One pass over the table, however many names. A stripped file simply has none of them.
    pub fn add_hidden(&mut self, file: &FileImage, wanted: &HashSet<&str>) -> Result<usize, ElfError> {
        self.hidden.extend(full_symbols(file, wanted)?);
        Ok(self.hidden.len())
    }

    /// The same for those of `names` that are not known yet; the file at `path` is only opened if there are any. A file that
    /// cannot be read has none: what is missing then is told where it is needed.
    pub fn complete<'n>(
        &mut self,
        path: &Path,
        names: impl Iterator<Item = &'n str>,
    ) -> Result<(), ElfError> {
        let mut unknown = HashSet::new();
        for name in names {
            if self.find(name, None)?.is_none() {
                unknown.insert(name);
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        let Ok(bytes) = map_file(path) else { return Ok(()) };
        self.add_hidden(&FileImage::parse(&bytes, Arch::native())?, &unknown).map(drop)
    }
}

/// The variable that the function `by` returns.
fn returned(image: &Image, symbols: &SymbolTable, by: &str) -> Option<LinkAddr> {
    /// More than such a function has, in bytes.
    const LONGEST: u64 = 32;
    let function = symbols.lookup(by).ok()??;
    let code = image.bytes("code", function.value, function.size.min(LONGEST)).ok()?;
    Arch::native().returned_variable(code, function.value)
}

/// Whether a slot may be bound to the symbol: defined, global or weak, and neither thread-local nor an IFUNC (whose
/// value is a resolver, not the function).
fn bindable(symbol: &Symbol) -> bool {
    symbol.defined
        && symbol.bind != elf::STB_LOCAL
        && symbol.kind != elf::STT_TLS
        && symbol.kind != elf::STT_GNU_IFUNC
}
