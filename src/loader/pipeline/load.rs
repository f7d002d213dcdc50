//! Loading and writing: from a verified plan to images whose every slot is bound, or to nothing.
//!
//! # Safety
//! The copies are planned for the very images that are loaded, none of whose code runs before every slot is bound.

use crate::guest::copy::plan_copy;
use crate::guest::stage::{self, Staged};
use crate::log::{self, Level};
use crate::patch::live::LiveMemory;
use crate::patch::{apply, Memory, Written};
use crate::plan::{Placement, StagedImage};
use crate::process::room;
use crate::runtime::addons::Loaded;
use crate::runtime::{addons, bridge as entered, descriptors, event_loop, guards, keys, mappings, remains};
use crate::stages::{Part, VerifiedPlan};
use relink_abi::error::Error;
use relink_abi::symbol::is_run_time;
use relink_elf::address::{LoadBias, RunAddr};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The bridge of guests that were unloaded. The bridge itself never is: a thread of the host's may be on its way through the
/// platform hook when the guest ends. The next guest gets the same one, bound anew.
static BRIDGE: Mutex<Kept> = Mutex::new(Kept { build: String::new(), staged: None });

fn bridge() -> MutexGuard<'static, Kept> {
    BRIDGE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The bridge of this process.
struct Kept {
    /// Its build, also while it serves a guest.
    build: String,
    /// Itself, while it serves none.
    staged: Option<Staged>,
}

impl Kept {
    /// The bridge that served before, if it is of this build: one for another line of V8 would misread this guest. A new one
    /// where none was ever entered.
    fn serve(
        &mut self,
        build: String,
        is_entered: bool,
        load: impl FnOnce() -> Result<Staged, Error>,
    ) -> Result<Staged, Error> {
        if self.staged.is_some() && self.build != build {
            return Err(entered::taken());
        }
        match self.staged.take() {
            Some(kept) => Ok(kept),
            None if is_entered => Err(entered::taken()),
            None => {
                let staged = load()?;
                self.build = build;
                Ok(staged)
            }
        }
    }
}

/// The adapter units of this process, which stay for the same reason. The next guest from the same file gets its unit again.
static UNITS: Mutex<Vec<KeptUnit>> = Mutex::new(Vec::new());

fn units() -> MutexGuard<'static, Vec<KeptUnit>> {
    UNITS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A unit, and whom it serves.
struct KeptUnit {
    /// The builds of the unit and of its guest, which tell what slots are bound by us.
    builds: [String; 2],
    /// Where it is.
    bias: LoadBias,
    /// Itself, while it serves none.
    staged: Option<Staged>,
}

/// A unit that served such a guest before, or else a new one.
fn unit(
    units: &mut Vec<KeptUnit>,
    builds: [String; 2],
    load: impl FnOnce() -> Result<Staged, Error>,
) -> Result<Staged, Error> {
    let served = units.iter_mut().filter(|kept| kept.builds == builds).find_map(|kept| kept.staged.take());
    if let Some(kept) = served {
        return Ok(kept);
    }
    let staged = load()?;
    units.retain(|kept| kept.bias != staged.bias());
    units.push(KeptUnit { builds, bias: staged.bias(), staged: None });
    Ok(staged)
}

/// The next guest from the same file gets this unit.
fn hand_on_unit(staged: Staged) {
    match units().iter_mut().find(|kept| kept.bias == staged.bias()) {
        Some(kept) => kept.staged = Some(staged),
        None => staged.keep(),
    }
}

/// Images that are loaded, in the order in which they were given.
#[derive(Debug, Default)]
pub struct Images(Vec<(StagedImage, Staged)>);

impl Images {
    /// Loads private copies of all parts, or of none.
    ///
    /// # Errors
    /// There is no room for them and for an isolate, or ld.so refuses one.
    pub fn load(parts: &[Part], verified: &VerifiedPlan) -> Result<Self, Error> {
        room::try_it().map_err(|source| Error::NoRoom { mib: room::NEEDED.get() >> 20, source })?;
        let mut images = Self::default();
        for part in parts {
            let loaded = match part.image {
                StagedImage::Bridge => {
                    bridge().serve(part.build(), entered::is_entered(), || load(part, verified))
                }
                StagedImage::Unit => {
                    let guest = parts.iter().find(|part| part.image == StagedImage::Guest).unwrap_or(part);
                    unit(&mut units(), [part, guest].map(Part::build), || load(part, verified))
                }
                _ => load(part, verified),
            };
            match loaded {
                Ok(staged) => images.0.push((part.image, staged)),
                Err(error) => {
                    images.let_go();
                    return Err(error);
                }
            }
        }
        Ok(images)
    }

    /// Where they are.
    pub fn placement(&self) -> Placement {
        Placement(self.0.iter().map(|(image, staged)| (*image, staged.bias())).collect())
    }

    /// One of them.
    pub fn get(&self, image: StagedImage) -> Option<&Staged> {
        self.0.iter().find(|(i, _)| *i == image).map(|(_, staged)| staged)
    }

    /// The image that spans this address.
    pub fn at(&self, address: RunAddr) -> Option<StagedImage> {
        self.0.iter().find(|(_, staged)| staged.span().contains(&address)).map(|(image, _)| *image)
    }

    /// The run-time addresses that they span.
    pub fn spans(&self) -> impl Iterator<Item = Range<RunAddr>> + '_ {
        self.0.iter().map(|(_, staged)| staged.span())
    }

    /// Writes the slots, or unloads all images again.
    ///
    /// # Errors
    /// They cannot all be written.
    pub fn bind(self, plan: &VerifiedPlan) -> Result<(Self, Written), Error> {
        match self.write(plan) {
            Ok(written) => Ok((self, written)),
            Err(error) => {
                // After a failed roll-back a slot may point anywhere; but no code of the images has run, and unloading
                // them runs none either.
                self.let_go();
                Err(error)
            }
        }
    }

    fn write(&self, plan: &VerifiedPlan) -> Result<Written, Error> {
        let mut memory = self.memory()?;
        // A bridge or a unit that served another guest holds what it was bound to then.
        let bridge = self.get(StagedImage::Bridge).map(|b| b.span()).unwrap_or_default();
        let unit = self.get(StagedImage::Unit).filter(|unit| unit.is_initialised());
        let unit = unit.map(|unit| unit.span()).unwrap_or_default();
        let read = |at| memory.read(at).ok();
        let writes = plan.writes(&self.placement()).as_it_is(&bridge, &read).as_it_is(&unit, &read);
        apply(&mut memory, writes)
    }

    /// The images' memory.
    pub fn memory(&self) -> Result<LiveMemory, Error> {
        let proc = |source| Error::Proc { what: "/proc/self/maps", source };
        // SAFETY: the images are loaded, none of their code has run, and nobody else knows them.
        unsafe { LiveMemory::new(self.spans().collect()) }.map_err(proc)
    }

    /// Leaves them loaded for ever, but for the bridge, which the next guest gets.
    pub fn leave(self) {
        self.end(|image, staged| if image == StagedImage::Bridge { hand_on(staged) } else { staged.keep() });
    }

    /// Leaves them loaded for ever.
    pub fn keep(self) {
        self.end(|_, staged| staged.keep());
    }

    /// Unloads what was never entered, which is all but a bridge or a unit that served before: the next guest gets that.
    fn let_go(self) {
        self.end(|image, staged| match image {
            StagedImage::Bridge if staged.is_initialised() => hand_on(staged),
            StagedImage::Unit if staged.is_initialised() => hand_on_unit(staged),
            _ => drop(staged),
        });
    }

    /// Unloads all but what threads of the host's may be in: functions of the bridge, or of the unit where there is one, stand in
    /// the slots of the host's platform. The next guest gets both.
    ///
    /// # Safety
    /// The images have been finalised, and no thread is in one of them but for the bridge and the unit.
    unsafe fn discard(self) {
        self.end(|image, staged| match image {
            StagedImage::Bridge if staged.is_initialised() => hand_on(staged),
            StagedImage::Unit if staged.is_initialised() => hand_on_unit(staged),
            // SAFETY: promised by the caller.
            _ => unsafe { staged.discard() },
        });
    }

    /// What becomes of each, the last one first.
    fn end(self, fate: fn(StagedImage, Staged)) {
        self.0.into_iter().rev().for_each(|(image, staged)| fate(image, staged));
    }

    /// Runs destructors and finalisers, each image's before those of images that it calls, and unloads all but the bridge and a unit.
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
        let pool_ended = unsafe { event_loop::end_pool() };
        // A thread that goes on must not find destroyed what it uses.
        if pool_ended {
            if let alive @ 1.. = remains::threads_left(LIMIT) {
                return Err(self.stay(addons::take(), alive));
            }
        }
        if let destroying @ 1.. = remains::threads_destroying(LIMIT) {
            return Err(self.stay(addons::take(), destroying));
        }
        // SAFETY: promised by the caller.
        unsafe { remains::run_exit_functions() };
        let addons = addons::take();
        for addon in &addons {
            // SAFETY: promised by the caller.
            unsafe { addon.finalise() };
        }
        let stays = |image: &StagedImage| matches!(image, StagedImage::Bridge | StagedImage::Unit);
        let finalised = order.iter().rev().filter(|image| !stays(image));
        for staged in finalised.filter_map(|image| self.get(*image)) {
            // SAFETY: promised by the caller.
            unsafe { staged.finalise() };
        }
        match remains::threads_left(LIMIT) {
            0 => {
                // SAFETY: its threads are gone, and its finalisers have run.
                let left_open = unsafe { descriptors::close_left() };
                log::tell(Level::Debug, &format!("descriptors that the guest left open: {left_open}"));
                keys::delete_all();
                // SAFETY: they were finalised above, and no thread of the guest's is alive.
                addons.into_iter().for_each(|addon| unsafe { addon.discard() });
                // SAFETY: no add-on is left, nor a thread of the guest's.
                let unmapped = unsafe { mappings::unmap_left() };
                log::tell(Level::Debug, &format!("bytes that add-ons left mapped: {unmapped}"));
                addons::forget();
                // First: its handlers lie in what is unloaded next.
                guards::forget_guest();
                // SAFETY: as above.
                unsafe { self.discard() };
                Ok(())
            }
            alive => Err(self.stay(addons, alive)),
        }
    }

    /// So many threads of the guest are alive, and everything stays.
    fn stay(self, addons: Vec<Loaded>, threads: usize) -> usize {
        addons.into_iter().for_each(Loaded::keep);
        self.keep();
        threads
    }
}

/// The next guest gets this bridge.
fn hand_on(staged: Staged) {
    bridge().staged = Some(staged);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::stage::tests::staged;

    fn nothing_is_loaded() -> Result<Staged, Error> {
        Err(Error::Internal("loaded".into()))
    }

    #[test]
    fn a_bridge_serves_again_but_no_guest_of_another_line() {
        let mut kept = Kept { build: String::new(), staged: None };
        let loaded = |answer| matches!(answer, Err(Error::Internal(_)));
        let taken = |answer: &Result<Staged, Error>| answer.as_ref().is_err_and(|e| e.code() == "E0601");
        assert!(loaded(kept.serve("10.2".into(), false, nothing_is_loaded)), "a first one is loaded");
        assert!(
            taken(&kept.serve("10.2".into(), true, nothing_is_loaded)),
            "one serves, or stays with a guest"
        );
        let first = kept.serve("10.2".into(), false, || Ok(staged())).expect("loaded");
        let bias = first.bias();
        kept.staged = Some(first);
        assert!(taken(&kept.serve("11.3".into(), true, nothing_is_loaded)), "of another line");
        let again = kept.serve("10.2".into(), true, nothing_is_loaded).expect("the same");
        assert_eq!(again.bias(), bias);
        drop(again);
    }

    #[test]
    fn a_unit_serves_the_same_guest_again() {
        let mut all = Vec::new();
        let builds = |guest: &str| ["unit".to_owned(), guest.to_owned()];
        let first = unit(&mut all, builds("a"), || Ok(staged())).expect("loaded");
        let bias = first.bias();
        assert!(unit(&mut all, builds("a"), nothing_is_loaded).is_err(), "it serves");
        all[0].staged = Some(first);
        assert!(unit(&mut all, builds("b"), nothing_is_loaded).is_err(), "of another guest");
        let again = unit(&mut all, builds("a"), nothing_is_loaded).expect("the same");
        assert_eq!((again.bias(), all.len()), (bias, 1));
    }
}
