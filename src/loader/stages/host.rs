//! The host: where V8 is. A process and a file are asked the same questions.

use super::Inputs;
use crate::host::Provider;
use crate::process::{LiveModule, Maps};
use relink_abi::catalogue::MARKER;
use relink_abi::claim::holds_v8;
use relink_abi::error::Error;
use relink_abi::fingerprint::Fingerprint;
use relink_elf::address::LoadBias;
use relink_elf::arch::Arch;
use relink_elf::{Dynamic, ElfError, FileImage, Image, SymbolTable};
use std::path::Path;

/// The module that provides V8.
pub trait Host<'a> {
    /// Its file.
    fn path(&self) -> &Path;
    /// What its V8 is.
    fn fingerprint(&self) -> &Fingerprint;
    /// Its bytes by link-time address.
    fn image(&self) -> &'a Image<'a>;
    /// Run-time minus link-time addresses; 0 in a file.
    fn bias(&self) -> LoadBias;

    /// The file name without folders, for messages.
    fn name(&self) -> String {
        self.path().file_name().unwrap_or(self.path().as_os_str()).to_string_lossy().into_owned()
    }

    /// The error that says that its image cannot be read.
    fn unreadable(&self, source: ElfError) -> Error {
        Error::ProviderImage { path: self.path().to_owned(), source }
    }
}

/// A module of this process.
#[derive(Debug)]
pub struct HostProcess<'a> {
    provider: Provider,
    image: &'a Image<'a>,
}

impl<'a> HostProcess<'a> {
    /// The provider that was detected. It is held as long as `inputs` or this value is there.
    pub fn of(inputs: &'a Inputs<'a>, provider: Provider, maps: &Maps) -> Self {
        let (_, image) = inputs.module(provider.module.clone(), maps);
        Self { provider, image }
    }

    /// The module.
    pub fn module(&self) -> &LiveModule {
        &self.provider.module
    }

    /// The module and what its V8 is.
    pub fn provider(&self) -> &Provider {
        &self.provider
    }
}

impl<'a> Host<'a> for HostProcess<'a> {
    fn path(&self) -> &Path {
        &self.provider.module.path
    }
    fn fingerprint(&self) -> &Fingerprint {
        &self.provider.fingerprint
    }
    fn image(&self) -> &'a Image<'a> {
        self.image
    }
    fn bias(&self) -> LoadBias {
        self.provider.module.bias
    }
}

/// A file: nothing of it runs.
#[derive(Debug)]
pub struct HostFile<'a> {
    path: &'a Path,
    image: &'a Image<'a>,
    fingerprint: Fingerprint,
}

impl<'a> HostFile<'a> {
    /// Reads the V8 in this file.
    ///
    /// # Errors
    /// It cannot be read, is no ELF file of this machine, or has no V8 that can be seen.
    pub fn open(inputs: &'a Inputs<'a>, path: &Path) -> Result<Self, Error> {
        let file = inputs.file(path)?;
        let read = || {
            let image = inputs.host(FileImage::parse(&file.bytes, Arch::native())?.image);
            let symbols = SymbolTable::parse(image, &Dynamic::parse(image)?)?;
            let fingerprint = match holds_v8(&symbols)? {
                true => Some(Fingerprint::read(image, &symbols)?),
                false => None,
            };
            Ok((image, fingerprint))
        };
        let (image, fingerprint) =
            read().map_err(|source| Error::ProviderImage { path: path.to_owned(), source })?;
        let fingerprint = fingerprint.ok_or(Error::NoProvider { modules: 1, marker: MARKER })?;
        Ok(Self { path: &file.path, image, fingerprint })
    }
}

impl<'a> Host<'a> for HostFile<'a> {
    fn path(&self) -> &Path {
        self.path
    }
    fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }
    fn image(&self) -> &'a Image<'a> {
        self.image
    }
    fn bias(&self) -> LoadBias {
        LoadBias(0)
    }
}
