//! Loading and writing: from a verified plan to images whose every slot is bound, or to nothing.
//!
//! # Safety
//! The copies are planned for the very images that are loaded, none of whose code runs before every slot is bound.

use super::parts::Part;
use crate::abi::gate::VerifiedPlan;
use crate::address::RunAddr;
use crate::error::Error;
use crate::guest::copy::plan_copy;
use crate::guest::stage::{self, Staged};
use crate::patch::live::LiveMemory;
use crate::patch::{apply, by_page, Applied, Memory};
use crate::plan::{is_run_time, place, Placement, Plan, StagedImage};
use std::ops::Range;

/// Images that are loaded, in the order in which they were given.
#[derive(Debug, Default)]
pub struct Images(Vec<(StagedImage, Staged)>);

impl Images {
    /// Loads private copies of all parts, or of none.
    pub fn load(parts: &[Part], verified: &VerifiedPlan) -> Result<Self, Error> {
        let mut images = Self::default();
        for part in parts {
            match load(part, verified.plan()) {
                Ok(staged) => images.0.push((part.image, staged)),
                Err(error) => {
                    images.discard();
                    return Err(error);
                }
            }
        }
        Ok(images)
    }

    /// Where they are.
    pub fn placement(&self) -> Placement {
        Placement(self.0.iter().map(|(image, staged)| (*image, staged.bias)).collect())
    }

    /// One of them.
    pub fn get(&self, image: StagedImage) -> Option<&Staged> {
        self.0.iter().find(|(i, _)| *i == image).map(|(_, staged)| staged)
    }

    /// The run-time addresses that they span.
    pub fn spans(&self) -> impl Iterator<Item = Range<RunAddr>> + '_ {
        self.0.iter().map(|(_, staged)| staged.span.clone())
    }

    /// Writes the slots, or unloads all images again.
    pub fn bind(self, plan: &Plan) -> Result<(Self, Applied), Error> {
        match self.write(plan) {
            Ok(applied) => Ok((self, applied)),
            Err(error) => {
                // After a failed roll-back a slot may point anywhere; but no code of the images has run, and unloading
                // them runs none either.
                self.discard();
                Err(error)
            }
        }
    }

    fn write(&self, plan: &Plan) -> Result<Applied, Error> {
        let mut memory = self.memory()?;
        let page_size = memory.page_size();
        apply(&mut memory, &by_page(place(plan, &self.placement()), page_size))
    }

    /// The images' memory.
    pub fn memory(&self) -> Result<LiveMemory, Error> {
        let proc = |source| Error::Proc { what: "/proc/self/maps", source };
        // SAFETY: the images are loaded, none of their code has run, and nobody else knows them.
        unsafe { LiveMemory::new(self.spans().collect()) }.map_err(proc)
    }

    /// Leaves them loaded for ever.
    pub fn keep(self) {
        self.0.into_iter().for_each(|(_, staged)| staged.keep());
    }

    fn discard(self) {
        self.0.into_iter().rev().for_each(|(_, staged)| staged.discard());
    }
}

fn load(part: &Part, plan: &Plan) -> Result<Staged, Error> {
    let source = part.source();
    let bindings = plan.bindings.iter().filter(|b| b.image == part.image);
    let rewrites = bindings.map(|b| (&b.slot, b.rewrite()));
    let private = |library: &str| !is_run_time(library);
    let copy = plan_copy(source.file, &part.inventory, rewrites, &private).map_err(|at| Error::Stage {
        what: part.name().to_owned(),
        why: format!("its file has no bytes for link-time address {at}"),
    })?;
    // SAFETY: the copy was planned for this image.
    unsafe { stage::load(source, &copy) }
}
