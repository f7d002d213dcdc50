//! The stages that change the process: images are loaded, bound and entered.
//!
//! # Safety
//! Initialisers run once every slot is bound; the types let none run before.

use super::{observe, Images};
use crate::host::detect;
use crate::patch::live::LiveMemory;
use crate::patch::{Memory, Written};
use crate::plan::{Binding, StagedImage};
use crate::process::{LiveModule, Maps};
use crate::report::{Report, Witness};
use crate::runtime::addons::{Known, World};
use crate::runtime::protected;
use crate::stages::{Host, Part, Verified};
use relink_abi::catalogue::WITNESSES;
use relink_abi::error::Error;
use relink_elf::address::RunAddr;
use std::ops::{Deref, Range};

/// The fifth stage: private copies of all images are loaded. None of their code has run, and nothing is bound.
#[must_use]
pub struct Loaded<'a> {
    verified: Verified<'a>,
    images: Images,
}

/// The sixth stage: every slot is bound. None of the images' code has run.
#[must_use]
pub struct Applied<'a> {
    verified: Verified<'a>,
    pub(super) images: Images,
    written: Written,
}

/// The last stage: the images' initialisers have run.
#[must_use]
pub struct Running<'a>(Applied<'a>);

impl<'a> Verified<'a> {
    /// Loads private copies of all images, or of none.
    ///
    /// # Errors
    /// There is no room for them, or ld.so refuses one.
    pub fn load(self) -> Result<Loaded<'a>, Error> {
        let images = Images::load(self.parts(), self.plan())?;
        Ok(Loaded { verified: self, images })
    }
}

impl<'a> Loaded<'a> {
    /// Writes every slot, or unloads all images again.
    ///
    /// # Errors
    /// A slot does not hold what is expected, or cannot be written.
    pub fn apply(self) -> Result<Applied<'a>, Error> {
        let Self { verified, images } = self;
        let (images, written) = images.bind(verified.plan())?;
        Ok(Applied { verified, images, written })
    }
}

impl<'a> Applied<'a> {
    /// What was carried out.
    pub fn verified(&self) -> &Verified<'a> {
        &self.verified
    }

    /// Runs the initialisers of all images. If one does not return, the images stay loaded, and the next guest gets a bridge of its own.
    ///
    /// # Errors
    /// One did not return.
    pub fn initialise(self) -> Result<Running<'a>, Error> {
        match self.run_initialisers() {
            Ok(()) => Ok(Running(self)),
            Err(error) => {
                self.images.keep();
                Err(error)
            }
        }
    }

    fn run_initialisers(&self) -> Result<(), Error> {
        let order = self.verified.initialisation_order();
        let staged = order.iter().filter_map(|image| Some((image, self.images.get(*image)?)));
        // All are taken before the first one runs: nothing that was entered, or is called by such, is ever unloaded.
        let all: Vec<_> = staged.map(|(image, staged)| (image, staged.initialisers())).collect();
        for (image, initialisers) in &all {
            // SAFETY: every slot of every image is bound, and each image comes after those that it calls.
            let done = unsafe { protected::initialise(initialisers) };
            done.map_err(|ended| Error::Initialiser {
                image: format!("the {image}"),
                why: ended.to_string(),
            })?;
        }
        Ok(())
    }

    /// Where calls of the guest to V8 really go, read back from its slots, and which modules define V8 now.
    pub(super) fn tell(&self, report: &mut Report) -> Result<(), Error> {
        let (modules, maps) = observe()?;
        let memory = self.images.memory()?;
        let placement = self.images.placement();
        let bindings = self.verified.plan().plan().bindings.iter();
        let of_guest = bindings.filter(|b| b.image == StagedImage::Guest);
        let shown = of_guest.filter(|b| WITNESSES.contains(&b.slot.symbol));
        report.pages = self.written.pages();
        report.witnesses = shown.filter_map(|b| witness(b, placement.slot(b), &memory, &maps)).collect();
        let staged = |m: &LiveModule| self.images.spans().any(|span| m.contains(span.start));
        let found = detect::providers(&modules, &maps)?.into_iter().filter(|p| !staged(&p.module));
        report.v8_modules = found.map(|p| p.module.path.display().to_string()).collect();
        Ok(())
    }

    /// What add-ons are to be bound to.
    pub(super) fn world(&self) -> Result<World, Error> {
        let verified = &self.verified;
        let placement = self.images.placement();
        let known = |part: &Part| {
            let bias = placement.0.get(&part.image).copied()?;
            Some(Known { image: part.image, soname: part.inventory.soname.to_owned(), bias })
        };
        Ok(World {
            admission: verified.admission(),
            images: verified.parts().iter().filter_map(known).collect(),
            provider: (verified.host().name(), verified.host().bias()),
            provider_parts: verified.host().parts().iter().map(|part| part.bias).collect(),
            adapters: verified.adapters().to_vec(),
            guards: verified.guards().to_vec(),
            guest: verified.parts()[0].reopen()?,
        })
    }

    /// The run-time addresses that the images span.
    pub(super) fn spans(&self) -> impl Iterator<Item = Range<RunAddr>> + '_ {
        self.images.spans()
    }

    /// The run-time address of a function that one of the images exports.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn function(&self, image: StagedImage, symbol: &str) -> Result<RunAddr, Error> {
        let missing = || Error::MissingEntry { image: format!("the {image}"), symbol: symbol.to_owned() };
        let part = self.verified.parts().iter().find(|p| p.image == image).ok_or_else(missing)?;
        let unreadable = |source| Error::GuestImage { path: part.path.to_owned(), source };
        let found = part.exports.symbol(symbol, None).map_err(unreadable)?.ok_or_else(missing)?;
        Ok(self.images.get(image).ok_or_else(missing)?.bias().run(found.value))
    }

    /// The run-time address of the adapter unit's entrance, if there is a unit.
    pub(super) fn unit(&self) -> Result<Option<RunAddr>, Error> {
        const ENTRANCE: &str = "relink_unit_attach";
        let unit = self.images.get(StagedImage::Unit);
        unit.map(|_| self.function(StagedImage::Unit, ENTRANCE)).transpose()
    }

    /// Runs the initialisers, and gives the run-time address of one of the guest's own functions.
    ///
    /// # Errors
    /// The guest does not export it.
    pub fn enter(self, symbol: &str) -> Result<(RunAddr, Running<'a>), Error> {
        let entry = self.function(StagedImage::Guest, symbol)?;
        Ok((entry, self.initialise()?))
    }
}

impl<'a> Deref for Running<'a> {
    type Target = Applied<'a>;
    fn deref(&self) -> &Applied<'a> {
        &self.0
    }
}

impl Running<'_> {
    /// The initialisers have run, and nothing else has: the images stay, and the bridge is the next guest's.
    pub(super) fn leave(self) {
        self.0.images.leave();
    }

    /// What stays when the inputs of the stages go: the images, the order in which they were initialised, and the module that
    /// provides the host's V8, held.
    pub(super) fn into_parts(self) -> (Images, Vec<StagedImage>, LiveModule) {
        let Applied { verified, images, .. } = self.0;
        (images, verified.initialisation_order(), verified.module().clone())
    }
}

fn witness(binding: &Binding, slot: RunAddr, memory: &LiveMemory, maps: &Maps) -> Option<Witness> {
    let address = RunAddr(memory.read(slot).ok()?);
    let mapping = maps.at(address)?;
    Some(Witness {
        symbol: binding.slot.symbol.to_owned(),
        address: address.to_string(),
        module: mapping.name.display().to_string(),
        protection: mapping.protection.to_string(),
    })
}
