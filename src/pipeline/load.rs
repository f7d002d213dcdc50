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
use crate::report::log::{self, Level};
use crate::runtime::{addons, bridge as entered, descriptors, guards, remains};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The bridge of guests that were unloaded. The bridge itself never is: a thread of the host's may be on its way through the
/// platform hook when the guest ends. The next guest gets the same one, bound anew.
static BRIDGE: Mutex<Option<Staged>> = Mutex::new(None);

fn bridge() -> MutexGuard<'static, Option<Staged>> {
    BRIDGE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Images that are loaded, in the order in which they were given.
#[derive(Debug, Default)]
pub struct Images(Vec<(StagedImage, Staged)>);

impl Images {
    /// Loads private copies of all parts, or of none.
    pub fn load(parts: &[Part], verified: &VerifiedPlan) -> Result<Self, Error> {
        let mut images = Self::default();
        for part in parts {
            let loaded = match part.image {
                StagedImage::Bridge => bridge_for(part, verified),
                _ => load(part, verified),
            };
            match loaded {
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

    /// The image that spans this address.
    pub fn at(&self, address: RunAddr) -> Option<StagedImage> {
        self.0.iter().find(|(_, staged)| staged.span.contains(&address)).map(|(image, _)| *image)
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
        let mut writes = place(plan, &self.placement());
        // A bridge that served another guest holds what it was bound to then.
        let bridge = self.get(StagedImage::Bridge).map(|b| b.span.clone()).unwrap_or_default();
        for write in writes.iter_mut().filter(|w| bridge.contains(&w.at)) {
            write.expected = memory.read(write.at).unwrap_or(write.expected);
        }
        apply(&mut memory, &by_page(writes, page_size))
    }

    /// The images' memory.
    pub fn memory(&self) -> Result<LiveMemory, Error> {
        let proc = |source| Error::Proc { what: "/proc/self/maps", source };
        // SAFETY: the images are loaded, none of their code has run, and nobody else knows them.
        unsafe { LiveMemory::new(self.spans().collect()) }.map_err(proc)
    }

    /// Leaves them loaded for ever, but for the bridge, which the next guest gets.
    pub fn leave(self) {
        for (image, staged) in self.0 {
            if image == StagedImage::Bridge {
                *bridge() = Some(staged);
            } else {
                staged.keep();
            }
        }
    }

    /// Leaves them loaded for ever.
    pub fn keep(self) {
        self.0.into_iter().for_each(|(_, staged)| staged.keep());
    }

    fn discard(self) {
        for (image, staged) in self.0.into_iter().rev() {
            if image == StagedImage::Bridge && staged.is_initialised() {
                *bridge() = Some(staged);
            } else {
                staged.discard();
            }
        }
    }

    /// Runs destructors and finalisers, each image's before those of images that it calls, and unloads all but the bridge.
    /// `order` is that of initialisation.
    ///
    /// # Errors
    /// So many threads of the guest are still alive: everything stays loaded.
    ///
    /// # Safety
    /// The images' initialisers have run, and nothing but threads that the guest made can still be in their code.
    pub unsafe fn unload(self, order: &[StagedImage]) -> Result<(), usize> {
        /// For threads that were told to end.
        const LIMIT: Duration = Duration::from_secs(2);
        // SAFETY: promised by the caller.
        unsafe { remains::run_exit_functions() };
        let addons = addons::take();
        for addon in &addons {
            // SAFETY: promised by the caller.
            unsafe { addon.finalise() };
        }
        let finalised = order.iter().rev().filter(|image| **image != StagedImage::Bridge);
        for staged in finalised.filter_map(|image| self.get(*image)) {
            // SAFETY: promised by the caller.
            unsafe { staged.finalise() };
        }
        match remains::threads_left(LIMIT) {
            0 => {
                // SAFETY: its threads are gone, and its finalisers have run.
                let left_open = unsafe { descriptors::close_left() };
                log::tell(Level::Debug, &format!("descriptors that the guest left open: {left_open}"));
                addons.into_iter().for_each(Staged::discard);
                addons::forget();
                // First: its handlers lie in what is unloaded next.
                guards::forget_guest();
                self.discard();
                Ok(())
            }
            alive => {
                addons.into_iter().for_each(Staged::keep);
                self.keep();
                Err(alive)
            }
        }
    }
}

/// The bridge that served before, or a new one where there was none.
fn bridge_for(part: &Part, verified: &VerifiedPlan) -> Result<Staged, Error> {
    match bridge().take() {
        Some(kept) => Ok(kept),
        None if entered::is_entered() => Err(entered::taken()),
        None => load(part, verified),
    }
}

fn load(part: &Part, verified: &VerifiedPlan) -> Result<Staged, Error> {
    let source = part.source();
    let bindings = verified.plan().bindings.iter().filter(|b| b.image == part.image);
    let rewrites = bindings.map(|b| (&b.slot, b.rewrite()));
    let private = |library: &str| !is_run_time(library);
    let no_bytes = |at| Error::Stage {
        what: part.name().to_owned(),
        why: format!("its file has no bytes for link-time address {at}"),
    };
    let mut copy = plan_copy(source.file, &part.inventory, rewrites, &private).map_err(no_bytes)?;
    if let Some(table) = part.table()?.filter(|_| part.image == StagedImage::Guest) {
        copy.write(source.file, table, verified.layout()).map_err(no_bytes)?;
    }
    // SAFETY: the copy was planned for this image.
    unsafe { stage::load(source, &copy) }
}
