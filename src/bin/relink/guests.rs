//! Which guest is taken when none is named: the one of the host's line.

use super::Failure;
use relink::abi::line::{self, Line};
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
    let line = host.and_then(line_of).map_or(guest::DEFAULT_LINE, |line| line.node);
    let missing = KitError::NotBuilt { what: "the guest", remedy: guest::remedy(line) };
    guest::path_of(line).ok_or(Failure::Kit(missing))
}

/// The line of the V8 in a file, if there is one that can be seen.
fn line_of(file: &Path) -> Option<&'static Line> {
    let bytes = map_file(file).ok()?;
    let file = FileImage::parse(&bytes, Arch::native()).ok()?;
    let dynamic = Dynamic::parse(&file.image).ok()?;
    let symbols = SymbolTable::parse(&file.image, &dynamic).ok()?;
    line::of_v8(Fingerprint::read(&file.image, &symbols).ok()?.version?)
}
