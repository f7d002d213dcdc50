//! Which modules of the process provide V8.

use super::component::{self, is_neighbour};
use crate::process::{LiveModule, Maps, Modules};
use relink_abi::catalogue::MARKER;
use relink_abi::claim::holds_v8;
use relink_abi::error::Error;
use relink_abi::fingerprint::Fingerprint;
use relink_elf::arch::Arch;
use relink_elf::file::map_file;
use relink_elf::{Dynamic, ElfError, FileImage, SymbolTable};

/// A module that provides V8, and what that V8 is.
#[derive(Clone, Debug)]
pub struct Provider {
    /// The module.
    pub module: LiveModule,
    /// Its V8.
    pub fingerprint: Fingerprint,
    /// The other modules of a component build.
    pub parts: Vec<LiveModule>,
}

/// All modules that hold V8, in ld.so's order; where none shows it, those that hide it. A module that cannot be read is no provider: the
/// vDSO, for one, is not described well enough.
pub fn providers(modules: &Modules, maps: &Maps) -> Result<Vec<Provider>, Error> {
    let found = modules.0.iter().filter(|m| has_v8(m, maps).unwrap_or(false));
    let found: Vec<_> = found.map(|m| describe(m, modules, maps)).collect::<Result<_, _>>()?;
    if !found.is_empty() {
        return Ok(found);
    }
    let hidden = |module: &LiveModule| {
        let fingerprint = hidden(module, maps)?;
        Some(Provider { module: module.clone(), fingerprint, parts: Vec::new() })
    };
    Ok(modules.0.iter().filter_map(hidden).collect())
}

/// Whether any module provides V8. For a process where Relink has no business, this is all that runs.
pub fn any(modules: &Modules, maps: &Maps) -> bool {
    any_named(modules, maps, None)
}

/// Whether a module whose path contains `wanted` provides V8.
pub fn any_named(modules: &Modules, maps: &Maps, wanted: Option<&str>) -> bool {
    let mut named = modules.0.iter().filter(|m| is_named(m, wanted));
    named.clone().any(|m| has_v8(m, maps).unwrap_or(false)) || named.any(|m| hidden(m, maps).is_some())
}

fn is_named(module: &LiveModule, wanted: Option<&str>) -> bool {
    wanted.is_none_or(|part| module.path.to_string_lossy().contains(part))
}

/// The one provider to use: the one named by `wanted` (a part of its path), or the only one.
pub fn choose(mut found: Vec<Provider>, wanted: Option<&str>, modules: usize) -> Result<Provider, Error> {
    found.retain(|p| is_named(&p.module, wanted));
    if found.len() > 1 {
        let names = found.iter().map(|p| p.module.path.display().to_string()).collect();
        return Err(Error::SeveralProviders { names });
    }
    found.pop().ok_or(Error::NoProvider { modules, marker: MARKER })
}

/// Why `chosen` is used of those that were `found`.
pub fn because(chosen: &Provider, found: &[String], wanted: Option<&str>) -> String {
    let chosen = chosen.module.path.display().to_string();
    let others: Vec<_> = found.iter().filter(|path| **path != chosen).map(String::as_str).collect();
    match wanted {
        Some(part) if others.is_empty() => {
            format!("it is the only V8 of the process, and \"{part}\" names it")
        }
        Some(part) => format!("\"{part}\" (RELINK_PROVIDER) names it; not used: {}", others.join(", ")),
        None => "it is the only V8 of the process".to_owned(),
    }
}

fn has_v8(module: &LiveModule, maps: &Maps) -> Result<bool, ElfError> {
    let image = module.image(maps);
    let dynamic = Dynamic::parse(&image)?;
    holds_v8(&SymbolTable::parse(&image, &dynamic)?)
}

/// The V8 that only the full symbol table of a module's file names.
fn hidden(module: &LiveModule, maps: &Maps) -> Option<Fingerprint> {
    /// No V8 is smaller, in bytes. The files of smaller modules are not opened.
    const SMALLEST: u64 = 8 << 20;
    let image = module.image(maps);
    let span = image.span();
    if span.end.0.saturating_sub(span.start.0) < SMALLEST {
        return None;
    }
    let bytes = map_file(&module.path).ok()?;
    Fingerprint::read_hidden(&FileImage::parse(&bytes, Arch::native()).ok()?, &image).ok()?
}

fn describe(module: &LiveModule, modules: &Modules, maps: &Maps) -> Result<Provider, Error> {
    let read = || {
        let image = module.image(maps);
        let dynamic = Dynamic::parse(&image)?;
        Fingerprint::read(&image, &SymbolTable::parse(&image, &dynamic)?)
    };
    let failed = |source| Error::ProviderImage { path: module.path.clone(), source };
    let fingerprint = read().map_err(failed)?;
    Ok(Provider { module: module.clone(), fingerprint, parts: parts(module, modules, maps) })
}

/// The other modules of a component build that are loaded.
fn parts(module: &LiveModule, modules: &Modules, maps: &Maps) -> Vec<LiveModule> {
    let needed = |module: &LiveModule| {
        let image = module.image(maps);
        let names = Dynamic::parse(&image).and_then(|dynamic| dynamic.needed()).unwrap_or_default();
        names.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let neighbours = || modules.0.iter().filter(|other| is_neighbour(&module.path, &other.path)).cloned();
    component::parts(&needed(module), neighbours, |other| &other.path, needed)
}
