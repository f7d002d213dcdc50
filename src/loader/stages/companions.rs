//! Which of Relink's own images come with the guest: the bridge of a line, and an adapter unit where guest and host are of
//! different lines.

use super::parts::ImageFile;
use super::{Inputs, Terms};
use crate::plan::StagedImage;
use relink_abi::adapters::{for_pair, unit_for, Adapter, Unit};
use relink_abi::error::Error;
use relink_abi::fingerprint::Fingerprint;
use relink_abi::line::{of_host, Bridges, Line};
use relink_abi::note::GuestNote;
use relink_abi::units;
use relink_elf::cache;
use std::path::{Path, PathBuf};

/// What is said where adapters are missing because no cache folder is known.
const NO_CACHE: &str = "cache folder: none of RELINK_CACHE, XDG_CACHE_HOME and HOME is set; set RELINK_CACHE to an absolute path without blanks";

/// Where files of adapter units are.
#[derive(Clone, Copy, Debug)]
pub enum Units<'a> {
    /// Where the kit has built them.
    Kits,
    /// In this folder.
    In(&'a Path),
    /// They do not come into question.
    None,
}

impl Units<'_> {
    fn find(self, unit: &Unit) -> Option<PathBuf> {
        match self {
            Self::Kits => units::find(None, unit),
            Self::In(folder) => units::find(Some(folder), unit),
            Self::None => None,
        }
    }
}

/// The bridge's line, the unit, and their files, read: the unit before the bridge, which calls it.
pub struct Companions<'a> {
    bridge: Option<&'static Line>,
    unit: Option<&'static Unit>,
    pub(super) images: Vec<ImageFile<'a>>,
}

impl<'a> Companions<'a> {
    /// What a guest that the gate has admitted needs on this host.
    ///
    /// # Errors
    /// There is no bridge, or the unit is not there or cannot be read.
    pub fn of(
        note: &GuestNote,
        host: &Fingerprint,
        bridges: Bridges<'a>,
        terms: &Terms<'a>,
        inputs: &'a Inputs<'a>,
    ) -> Result<Self, Error> {
        let Some(unit) = unit_for(note, host) else {
            let line = of_host(host)?;
            return Ok(Self { bridge: Some(line), unit: None, images: vec![bridge(bridges, line)?] });
        };
        let no_cache = || {
            let unknown = matches!(terms.units, Units::Kits) && cache::place().is_none();
            unknown.then(|| NO_CACHE.to_owned())
        };
        let missing = || Error::NoUnit {
            guest: note.v8.clone(),
            host: host.version_text(),
            name: unit.name(),
            no_cache: no_cache(),
        };
        let file = inputs.file(&terms.units.find(unit).ok_or_else(missing)?)?;
        let line = unit.guest_line().ok_or_else(missing)?;
        let images = vec![ImageFile::of(StagedImage::Unit, file)?, bridge(bridges, line)?];
        Ok(Self { bridge: Some(line), unit: Some(unit), images })
    }

    /// The same for a plan that is made from files alone: without the bridge, and with the unit if it was built. `line` is the host's.
    ///
    /// # Errors
    /// The unit cannot be read.
    pub fn at_hand(
        note: &GuestNote,
        host: &Fingerprint,
        line: Option<&'static Line>,
        terms: &Terms<'a>,
        inputs: &'a Inputs<'a>,
    ) -> Result<Self, Error> {
        let Some(unit) = unit_for(note, host) else {
            return Ok(Self { bridge: line, unit: None, images: Vec::new() });
        };
        let file = terms.units.find(unit).map(|path| inputs.file(&path)).transpose()?;
        let image = file.map(|file| ImageFile::of(StagedImage::Unit, file)).transpose()?;
        Ok(Self { bridge: unit.guest_line(), unit: Some(unit), images: image.into_iter().collect() })
    }

    /// The adapters of both.
    pub fn adapters(&self, guest: &GuestNote, terms: &Terms) -> Vec<&'static Adapter> {
        for_pair(guest, self.unit, self.bridge, terms.adapters)
    }

    /// What the guest cannot do on this host, for the report.
    pub fn lost(&self) -> Vec<String> {
        self.unit.iter().flat_map(|unit| unit.lost()).map(str::to_owned).collect()
    }
}

/// The bridge of a line.
fn bridge<'a>(bridges: Bridges<'a>, line: &'static Line) -> Result<ImageFile<'a>, Error> {
    ImageFile::in_memory(StagedImage::Bridge, Path::new("the embedded bridge"), bridges.of_line(line)?)
}
