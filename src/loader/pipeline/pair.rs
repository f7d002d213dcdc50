//! Which of Relink's own images come with the guest: the bridge of a line, and an adapter unit where guest and host are of
//! different lines.

use super::parts::ImageFile;
use super::Ask;
use crate::plan::StagedImage;
use relink_abi::adapters::{for_pair, unit_for, Adapter, Unit};
use relink_abi::error::Error;
use relink_abi::fingerprint::Fingerprint;
use relink_abi::line::{of_host, Line};
use relink_abi::note::GuestNote;
use relink_abi::units;
use relink_elf::cache;
use relink_elf::file::FileOnDisk;
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

/// The bridge's line, and the unit with its file.
#[derive(Debug)]
pub struct Companions {
    bridge: &'static Line,
    unit: Option<(&'static Unit, FileOnDisk)>,
}

impl Companions {
    /// What a guest that the gate has admitted needs on this host.
    ///
    /// # Errors
    /// There is no bridge, or the unit is not there or cannot be read.
    pub fn of(note: &GuestNote, host: &Fingerprint, ask: &Ask) -> Result<Self, Error> {
        let Some(unit) = unit_for(note, host) else { return Ok(Self { bridge: of_host(host)?, unit: None }) };
        let no_cache = || {
            let unknown = matches!(ask.units, Units::Kits) && cache::place().is_none();
            unknown.then(|| NO_CACHE.to_owned())
        };
        let missing = || Error::NoUnit {
            guest: note.v8.clone(),
            host: host.version_text(),
            name: unit.name(),
            no_cache: no_cache(),
        };
        let file = FileOnDisk::open(&ask.units.find(unit).ok_or_else(missing)?)?;
        let bridge = unit.guest_line().ok_or_else(missing)?;
        Ok(Self { bridge, unit: Some((unit, file)) })
    }

    /// The adapters of both.
    pub fn adapters(&self, guest: &GuestNote, ask: &Ask) -> Vec<&'static Adapter> {
        for_pair(guest, self.unit.as_ref().map(|(unit, _)| *unit), Some(self.bridge), ask.adapters)
    }

    /// What the guest cannot do on this host, for the report.
    pub fn lost(&self) -> impl Iterator<Item = String> + '_ {
        self.unit.iter().flat_map(|(unit, _)| unit.lost()).map(str::to_owned)
    }

    /// Their files, read: the unit before the bridge, which calls it.
    pub fn images<'d>(&'d self, ask: &Ask<'d>) -> Result<Vec<ImageFile<'d>>, Error> {
        let mut images = Vec::new();
        if let Some((_, file)) = &self.unit {
            images.push(ImageFile::of(StagedImage::Unit, file)?);
        }
        let bytes = ask.bridges.of_line(self.bridge)?;
        images.push(ImageFile::in_memory(StagedImage::Bridge, Path::new("the embedded bridge"), bytes)?);
        Ok(images)
    }
}
