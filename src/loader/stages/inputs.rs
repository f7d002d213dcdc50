//! What the stages read: mapped files, held modules, and the headers that were parsed from them.

use super::parts::{Files, ImageFile};
use crate::process::{LiveModule, Maps};
use relink_abi::error::Error;
use relink_elf::file::FileOnDisk;
use relink_elf::Image;
use std::path::Path;
use typed_arena::Arena;

/// The owner of everything that the values of the stages borrow from. One for each way through; it goes when they are gone.
#[derive(Default)]
pub struct Inputs<'a> {
    guests: Arena<Files>,
    files: Arena<FileOnDisk>,
    modules: Arena<LiveModule>,
    images: Arena<ImageFile<'a>>,
    hosts: Arena<Image<'a>>,
}

impl<'a> Inputs<'a> {
    /// The guest in this file, and the libraries of its closure.
    ///
    /// # Errors
    /// One of them is not there, or is no ELF file of this machine.
    pub fn guest(&'a self, path: &Path) -> Result<&'a Files, Error> {
        Files::open(path).map(|files| &*self.guests.alloc(files))
    }

    /// A file, mapped.
    pub(super) fn file(&'a self, path: &Path) -> Result<&'a FileOnDisk, Error> {
        Ok(self.files.alloc(FileOnDisk::open(path)?))
    }

    /// Keeps parsed headers of images that are to be staged.
    pub(super) fn images(&'a self, images: Vec<ImageFile<'a>>) -> &'a [ImageFile<'a>] {
        self.images.alloc_extend(images)
    }

    /// Keeps the image of a host.
    pub(super) fn host(&'a self, image: Image<'a>) -> &'a Image<'a> {
        self.hosts.alloc(image)
    }

    /// Holds a module of this process; its memory as an image.
    pub(super) fn module(&'a self, module: LiveModule, maps: &Maps) -> (&'a LiveModule, &'a Image<'a>) {
        let module = &*self.modules.alloc(module);
        (module, self.host(module.image(maps)))
    }
}
