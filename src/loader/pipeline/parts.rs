//! The files that are to be staged, read: the guest, the libraries of its closure, the bridge. Nothing is loaded.

use crate::guest::closure::{self, Closure};
use crate::guest::stage::Source;
use crate::guest::Inventory;
use crate::host::Exports;
use crate::plan::{Member, StagedImage};
use crate::process::library_folders;
use relink_abi::catalogue;
use relink_abi::claim::{claim, Claim};
use relink_abi::error::Error;
use relink_abi::fingerprint::Fingerprint;
use relink_abi::note;
use relink_abi::note::GuestNote;
use relink_elf::address::{LinkAddr, LoadBias};
use relink_elf::arch::Arch;
use relink_elf::file::FileOnDisk;
use relink_elf::{Dynamic, ElfError, FileImage};
use std::fs::File;
use std::path::{Path, PathBuf};

/// The guest and its closure, open.
#[derive(Debug)]
pub struct Files {
    guest: FileOnDisk,
    closure: Closure,
}

impl Files {
    /// Opens the guest's file and those of its closure.
    pub fn open(guest: &Path) -> Result<Self, Error> {
        let guest = FileOnDisk::open(guest)?;
        let closure = closure::find(&guest, &library_folders())?;
        Ok(Self { guest, closure })
    }

    /// The guest and its libraries: these in the order in which ld.so would look symbols up.
    pub fn images(&self) -> Result<Vec<ImageFile<'_>>, Error> {
        let mut images = vec![ImageFile::of(StagedImage::Guest, &self.guest)?];
        for (library, number) in self.closure.libraries.iter().zip(0..) {
            images.push(ImageFile::of(StagedImage::Library(number), library)?);
        }
        Ok(images)
    }

    /// The images in the order in which they are initialised: each after those that it calls.
    pub fn initialisation_order(&self) -> Vec<StagedImage> {
        let libraries = self.closure.order.iter().map(|i| StagedImage::Library(*i as u16));
        libraries.chain([StagedImage::Guest, StagedImage::Unit, StagedImage::Bridge]).collect()
    }
}

/// The headers of one image's file.
#[derive(Debug)]
pub struct ImageFile<'d> {
    image: StagedImage,
    path: PathBuf,
    file: FileImage<'d>,
    on_disk: Option<&'d File>,
}

impl<'d> ImageFile<'d> {
    /// An image that is a file.
    pub fn of(image: StagedImage, file: &'d FileOnDisk) -> Result<Self, Error> {
        let broken = |source| Error::GuestImage { path: file.path.clone(), source };
        let parsed = FileImage::parse(&file.bytes, Arch::native()).map_err(broken)?;
        Ok(Self { image, path: file.path.clone(), file: parsed, on_disk: Some(&file.file) })
    }

    /// An image that is no file of its own; `path` names it in messages.
    pub fn in_memory(image: StagedImage, path: &Path, bytes: &'d [u8]) -> Result<Self, Error> {
        let path = path.to_owned();
        match FileImage::parse(bytes, Arch::native()) {
            Ok(file) => Ok(Self { image, path, file, on_disk: None }),
            Err(source) => Err(Error::GuestImage { path, source }),
        }
    }
}

/// One image, read.
pub struct Part<'b, 'd> {
    /// Which.
    pub image: StagedImage,
    /// Its file's path, for messages.
    pub path: &'b Path,
    /// Its slots and needs.
    pub inventory: Inventory<'d>,
    /// Its definitions, by link-time address.
    pub exports: Exports<'b, 'd>,
    file: &'b FileImage<'d>,
    on_disk: Option<&'b File>,
}

impl<'b, 'd> Part<'b, 'd> {
    /// Reads what binding needs to know of the image.
    pub fn read(from: &'b ImageFile<'d>) -> Result<Self, Error> {
        let read = || {
            let dynamic = Dynamic::parse(&from.file.image)?;
            let exports = Exports::new(&from.file.image, &dynamic, LoadBias(0))?;
            Ok((Inventory::read(&from.file)?, exports))
        };
        let (inventory, exports) =
            read().map_err(|source| Error::GuestImage { path: from.path.clone(), source })?;
        Ok(Self {
            image: from.image,
            path: &from.path,
            inventory,
            exports,
            file: &from.file,
            on_disk: from.on_disk,
        })
    }

    /// All parts.
    pub fn read_all(images: &'b [ImageFile<'d>]) -> Result<Vec<Self>, Error> {
        images.iter().map(Self::read).collect()
    }

    /// What the plan wants to know.
    pub fn member(&self) -> Member<'_, 'd> {
        Member { image: self.image, inventory: &self.inventory, definitions: &self.exports }
    }

    /// What staging wants to know.
    pub fn source(&self) -> Source<'_, 'd> {
        Source { file: self.file, inventory: &self.inventory, on_disk: self.on_disk, name: self.name() }
    }

    /// Its file once more, to be kept beyond this value.
    ///
    /// # Errors
    /// It cannot be mapped, or is none.
    pub fn reopen(&self) -> Result<FileOnDisk, Error> {
        let failed = |source| Error::GuestFile { path: self.path.to_owned(), source };
        let file = self.on_disk.ok_or_else(|| failed(std::io::Error::other("no file of its own")))?;
        Ok(FileOnDisk::of(self.path, file.try_clone().map_err(failed)?)?)
    }

    /// Its soname, or the name of its file.
    pub fn name(&self) -> &str {
        let file = || self.path.file_name().and_then(|n| n.to_str()).unwrap_or("image");
        Some(self.inventory.soname).filter(|name| !name.is_empty()).unwrap_or_else(file)
    }

    /// What the guest was compiled for: what its note says or, in a guest with a V8 of its own, what that V8 is.
    pub fn note(&self) -> Result<GuestNote, Error> {
        let broken = |source| Error::GuestImage { path: self.path.to_owned(), source };
        let why = match note::find(&self.file.image).map_err(broken)? {
            Ok(note) if self.table_fits(&note)? => return Ok(note),
            Ok(_) => "its layout table is not what its note says".into(),
            Err(why) => why,
        };
        if !self.has_v8().map_err(broken)? {
            return Err(Error::NoNote { path: self.path.to_owned(), why });
        }
        let symbol = |name: &str| Ok(self.exports.symbol(name, None)?.map(|s| s.value));
        let v8 = Fingerprint::read_with(&self.file.image, &symbol).map_err(broken)?;
        Ok(GuestNote::of_stock(self.inventory.soname, &v8))
    }

    /// What tells this build from others.
    pub fn build(&self) -> String {
        use relink_elf::build_id::build_id;
        let path = || {
            format!("{} {:?}", self.path.display(), std::fs::metadata(self.path).and_then(|m| m.modified()))
        };
        build_id(&self.file.image).unwrap_or_else(path)
    }

    /// Link-time address of a neutral guest's layout table.
    ///
    /// # Errors
    /// The file is malformed.
    pub fn table(&self) -> Result<Option<LinkAddr>, Error> {
        Ok(self.find_table()?.map(|(at, _)| at))
    }

    fn find_table(&self) -> Result<Option<(LinkAddr, usize)>, Error> {
        let broken = |source| Error::GuestImage { path: self.path.to_owned(), source };
        note::find_table(&self.file.image).map_err(broken)
    }

    fn table_fits(&self, note: &GuestNote) -> Result<bool, Error> {
        Ok(self.find_table()?.map_or(0, |(_, words)| words) == note.layout.len())
    }

    /// Whether it defines a V8.
    pub fn has_v8(&self) -> Result<bool, ElfError> {
        let found = claim(|name| Ok::<_, ElfError>(self.exports.symbol(name, None)?.is_some()))?;
        Ok(found == Claim::V8)
    }

    /// The V8 names by which a guest with a V8 of its own means the host's V8.
    ///
    /// # Errors
    /// There is such a V8, and Relink does not know the names for its version.
    pub fn needs(&self, note: &GuestNote) -> Result<catalogue::Needs, Error> {
        let broken = |source| Error::GuestImage { path: self.path.to_owned(), source };
        if !self.has_v8().map_err(broken)? {
            return Ok(catalogue::Needs::default());
        }
        let known = relink_abi::version::V8Version::parse(&note.v8).and_then(catalogue::needs_of);
        known.ok_or_else(|| Error::GuestHasV8 { path: self.path.to_owned(), v8: note.v8.clone() })
    }
}
