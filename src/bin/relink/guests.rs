//! Which guest is taken when none is named: the one of the host's line.

use super::Failure;
use relink::abi::line;
use relink::abi::version::V8Version;
use relink::elf::{arch::Arch, Dynamic, FileImage, SymbolTable};
use relink::guest::map_file;
use relink::host::Fingerprint;
use relink::kit::{guest, KitError};
use std::path::{Path, PathBuf};

/// The guest that was asked for, or the one that the kit has built for the V8 in `host`; for a host whose V8 comes from
/// elsewhere, the kit's default.
pub fn for_host(named: Option<&Path>, host: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let v8 = host.and_then(v8_of);
    let line = v8.and_then(line::with_guest).map(|line| line.node);
    // A V8 that no guest was compiled for, but that adapters are for.
    let neutral = v8.and_then(line::of_v8).filter(|_| line.is_none());
    if let Some(neutral) = neutral.and_then(|_| guest::neutral_path_of(guest::DEFAULT_LINE)) {
        return Ok(neutral);
    }
    let line = line.unwrap_or(guest::DEFAULT_LINE);
    let missing = KitError::NotBuilt { what: "the guest", remedy: guest::remedy(line) };
    guest::path_of(line).ok_or(Failure::Kit(missing))
}

/// The version of the V8 in a file, if there is one that can be seen.
fn v8_of(file: &Path) -> Option<V8Version> {
    let bytes = map_file(file).ok()?;
    let file = FileImage::parse(&bytes, Arch::native()).ok()?;
    let dynamic = Dynamic::parse(&file.image).ok()?;
    let symbols = SymbolTable::parse(&file.image, &dynamic).ok()?;
    Fingerprint::read(&file.image, &symbols).ok()?.version
}
