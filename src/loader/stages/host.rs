//! The host: where V8 is. A process and a file are asked the same questions.

use super::Inputs;
use crate::host::component::{self, is_neighbour};
use crate::host::exports::Definition;
use crate::host::Provider;
use crate::plan::BoundSlot;
use crate::process::{LiveModule, Maps};
use relink_abi::catalogue::MARKER;
use relink_abi::claim::holds_v8;
use relink_abi::error::Error;
use relink_abi::fingerprint::Fingerprint;
use relink_elf::address::LoadBias;
use relink_elf::arch::Arch;
use relink_elf::{Dynamic, ElfError, FileImage, Image, SymbolTable};
use std::fs;
use std::path::{Path, PathBuf};

/// Another module of a component build.
#[derive(Clone, Debug)]
pub struct HostPart<'a> {
    /// Its file name without folders.
    pub name: String,
    /// Its bytes by link-time address.
    pub image: &'a Image<'a>,
    /// Run-time minus link-time addresses; 0 in a file.
    pub bias: LoadBias,
}

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
    /// The other modules of a component build.
    fn parts(&self) -> &[HostPart<'a>];

    /// The file name without folders, for messages.
    fn name(&self) -> String {
        file_name(self.path())
    }

    /// Where a definition is, by its module and link-time address: as an audit of the bound slots tells it.
    fn place(&self, definition: &Definition) -> String {
        match definition.part.and_then(|number| self.parts().get(number)) {
            Some(part) => BoundSlot::in_part(&part.name, part.bias.link(definition.address)),
            None => BoundSlot::in_host(self.bias().link(definition.address)),
        }
    }

    /// The error that says that its image cannot be read.
    fn unreadable(&self, source: ElfError) -> Error {
        Error::ProviderImage { path: self.path().to_owned(), source }
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// A module of this process.
#[derive(Debug)]
pub struct HostProcess<'a> {
    provider: Provider,
    image: &'a Image<'a>,
    parts: Vec<HostPart<'a>>,
}

impl<'a> HostProcess<'a> {
    /// The provider that was detected. It is held as long as `inputs` or this value is there.
    pub fn of(inputs: &'a Inputs<'a>, provider: Provider, maps: &Maps) -> Self {
        let (_, image) = inputs.module(provider.module.clone(), maps);
        let part = |module: &LiveModule| HostPart {
            name: file_name(&module.path),
            image: inputs.module(module.clone(), maps).1,
            bias: module.bias,
        };
        let parts = provider.parts.iter().map(part).collect();
        Self { provider, image, parts }
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
    fn parts(&self) -> &[HostPart<'a>] {
        &self.parts
    }
}

/// A file: nothing of it runs.
#[derive(Debug)]
pub struct HostFile<'a> {
    path: &'a Path,
    image: &'a Image<'a>,
    fingerprint: Fingerprint,
    parts: Vec<HostPart<'a>>,
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
                false => Fingerprint::read_hidden(&FileImage::parse(&file.bytes, Arch::native())?, image)?,
            };
            Ok((image, fingerprint))
        };
        let (image, fingerprint) =
            read().map_err(|source| Error::ProviderImage { path: path.to_owned(), source })?;
        let fingerprint = fingerprint.ok_or(Error::NoProvider { modules: 1, marker: MARKER })?;
        let parts = files_of_parts(inputs, &file.path, image);
        Ok(Self { path: &file.path, image, fingerprint, parts })
    }
}

/// The other files of a component build. One that cannot be read is none.
fn files_of_parts<'a>(inputs: &'a Inputs<'a>, path: &Path, image: &Image) -> Vec<HostPart<'a>> {
    let needed = |image: &Image| {
        let names = Dynamic::parse(image).and_then(|dynamic| dynamic.needed()).unwrap_or_default();
        names.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let open = |path: PathBuf| {
        let file = inputs.file(&path).ok()?;
        let image = inputs.host(FileImage::parse(&file.bytes, Arch::native()).ok()?.image);
        Some((path, image))
    };
    let is_library =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().contains(".so"));
    let own = needed(image);
    let folder = path.parent().unwrap_or(Path::new("/"));
    if !own.iter().any(|name| folder.join(name).is_file()) {
        return Vec::new();
    }
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<_> =
        entries.filter(|other| is_neighbour(path, other) && is_library(other)).filter_map(open).collect();
    files.sort_by(|a, b| a.0.cmp(&b.0));
    let parts = component::parts(&own, || files.iter(), |file| &file.0, |file| needed(file.1));
    let part = |(path, image): &(PathBuf, &'a Image<'a>)| HostPart {
        name: file_name(path),
        image,
        bias: LoadBias(0),
    };
    parts.into_iter().map(part).collect()
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
    fn parts(&self) -> &[HostPart<'a>] {
        &self.parts
    }
}
