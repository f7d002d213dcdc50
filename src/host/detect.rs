//! Which modules of the process provide V8.

use super::Fingerprint;
use crate::abi::catalogue::MARKER;
use crate::elf::{Dynamic, ElfError, SymbolTable};
use crate::error::Error;
use crate::process::{LiveModule, Maps, Modules};

/// A module that provides V8, and what that V8 is.
#[derive(Clone, Debug)]
pub struct Provider {
    /// The module.
    pub module: LiveModule,
    /// Its V8.
    pub fingerprint: Fingerprint,
}

/// All modules that define V8's marker symbol, in ld.so's order. A module that cannot be read is no provider: the
/// vDSO, for one, is not described well enough.
pub fn providers(modules: &Modules, maps: &Maps) -> Result<Vec<Provider>, Error> {
    let found = modules.0.iter().filter(|m| has_marker(m, maps).unwrap_or(false));
    found.map(|m| describe(m, maps)).collect()
}

/// Whether any module provides V8. For a process where Relink has no business, this is all that runs.
pub fn any(modules: &Modules, maps: &Maps) -> bool {
    modules.0.iter().any(|m| has_marker(m, maps).unwrap_or(false))
}

/// The one provider to use: the one named by `wanted` (a part of its path), or the only one.
pub fn choose(mut found: Vec<Provider>, wanted: Option<&str>, modules: usize) -> Result<Provider, Error> {
    if let Some(part) = wanted {
        found.retain(|p| p.module.path.to_string_lossy().contains(part));
    }
    if found.len() > 1 {
        let names = found.iter().map(|p| p.module.path.display().to_string()).collect();
        return Err(Error::SeveralProviders { names });
    }
    found.pop().ok_or(Error::NoProvider { modules, marker: MARKER })
}

fn has_marker(module: &LiveModule, maps: &Maps) -> Result<bool, ElfError> {
    let image = module.image(maps);
    let dynamic = Dynamic::parse(&image)?;
    Ok(SymbolTable::parse(&image, &dynamic)?.lookup(MARKER)?.is_some())
}

fn describe(module: &LiveModule, maps: &Maps) -> Result<Provider, Error> {
    let read = || {
        let image = module.image(maps);
        let dynamic = Dynamic::parse(&image)?;
        Fingerprint::read(&image, &SymbolTable::parse(&image, &dynamic)?)
    };
    let failed = |source| Error::ProviderImage { path: module.path.clone(), source };
    Ok(Provider { module: module.clone(), fingerprint: read().map_err(failed)? })
}
