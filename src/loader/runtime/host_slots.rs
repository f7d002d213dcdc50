//! The one thing of the host's that is bound anew while the guest lives: its slots for `v8::V8::Dispose()` and
//! `DisposePlatform()`, where V8 is
//! a library that the host calls through its PLT. Disposing V8 under a live guest would end the process; bound to the
//! bridge, the call stops the guest first and then does what it did. The slots are put back when the guest has ended.
//!
//! # Safety
//! The slots belong to modules that the host keeps loaded; each is one aligned word, written in one piece, and holds a
//! valid function before, meanwhile and after.

use crate::patch::live::LiveMemory;
use crate::patch::{apply, Memory};
use crate::process::{Maps, Modules};
use crate::stages::{RebindableSlots, Rebinding, Sealed};
use relink_abi::error::Error;
use relink_elf::address::RunAddr;
use std::ops::Range;

/// Slots of the host that were bound anew.
#[derive(Debug)]
#[must_use]
pub struct HostSlots(Rebinding);

impl HostSlots {
    /// Binds every slot of `modules` for one of the symbols to the function that goes with it, but for modules that
    /// contain an address of `except`.
    ///
    /// # Safety
    /// Each function does what its symbol does, as far as the host can tell, and stays loaded.
    pub unsafe fn bind(
        modules: &Modules,
        maps: &Maps,
        functions: &[(&str, RunAddr)],
        except: &[RunAddr],
    ) -> Result<Self, Error> {
        let slots = RebindableSlots::find(modules, maps, functions, except);
        let memory = open(slots.ranges())?;
        let unreadable = |e: std::io::Error| Error::RolledBack { at: RunAddr(0), why: e.to_string() };
        let found = slots.rebind(&|slot| memory.read(slot)).map_err(unreadable)?;
        write_all(&found, found.writes())?;
        Ok(Self(found))
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.count()
    }

    /// Puts them back, if they still hold what they were bound to.
    pub fn restore(self) -> Result<(), Error> {
        write_all(&self.0, self.0.back())
    }
}

fn write_all(slots: &Rebinding, writes: Sealed) -> Result<(), Error> {
    // What is needed to take it back is in `slots`.
    apply(&mut open(slots.ranges())?, writes).map(drop)
}

fn open(ranges: Vec<Range<RunAddr>>) -> Result<LiveMemory, Error> {
    // SAFETY: the words are slots of modules that are held; the host's threads may call through them meanwhile, which is
    // harmless for each holds a valid function at every moment. The ranges are the bare words, so only pages that hold
    // them are ever made writable.
    unsafe { LiveMemory::new(ranges) }.map_err(|source| Error::Proc { what: "/proc/self/maps", source })
}
