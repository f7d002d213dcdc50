//! The one thing of the host's that is bound anew while the guest lives: its slots for `v8::V8::Dispose()` and
//! `DisposePlatform()`, where V8 is
//! a library that the host calls through its PLT. Disposing V8 under a live guest would end the process; bound to the
//! bridge, the call stops the guest first and then does what it did. The slots are put back when the guest has ended.
//!
//! # Safety
//! The slots belong to modules that the host keeps loaded; each is one aligned word, written in one piece, and holds a
//! valid function before, meanwhile and after.

use crate::address::RunAddr;
use crate::elf::arch::{Arch, RelocationKind};
use crate::elf::{relocations, Dynamic, ElfError, SymbolTable};
use crate::error::Error;
use crate::patch::live::LiveMemory;
use crate::patch::{apply, by_page, Applied, Memory, SlotWrite};
use crate::process::{LiveModule, Maps, Modules};
use std::ops::Range;

/// Slots of the host that were bound anew.
#[derive(Debug)]
#[must_use]
pub struct HostSlots {
    applied: Applied,
    ranges: Vec<Range<RunAddr>>,
}

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
        let others = modules.0.iter().filter(|m| !except.iter().any(|address| m.contains(*address)));
        // A module that cannot be read is not one of a host that calls V8 (the vDSO, for one).
        let slots: Vec<_> = others.flat_map(|m| slots_of(m, maps, functions).unwrap_or_default()).collect();
        let ranges: Vec<_> = slots.iter().map(|(slot, _)| *slot..RunAddr(slot.0 + 8)).collect();
        let mut memory = open(&ranges)?;
        let write = |(slot, function): &(RunAddr, RunAddr)| {
            memory.read(*slot).map(|expected| SlotWrite { at: *slot, expected, value: function.0 })
        };
        let writes: Result<Vec<_>, _> = slots.iter().map(write).collect();
        let writes = writes.map_err(|e| Error::RolledBack { at: RunAddr(0), why: e.to_string() })?;
        let pages = by_page(writes, memory.page_size());
        Ok(Self { applied: apply(&mut memory, &pages)?, ranges })
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.applied.slots()
    }

    /// Puts them back.
    pub fn restore(self) -> Result<(), Error> {
        let mut memory = open(&self.ranges)?;
        self.applied.undo(&mut memory).map_err(|(at, error)| Error::RolledBack { at, why: error.to_string() })
    }
}

fn open(ranges: &[Range<RunAddr>]) -> Result<LiveMemory, Error> {
    // SAFETY: the words are slots of loaded modules; the host's threads may call through them meanwhile, which is
    // harmless for each holds a valid function at every moment. The ranges are the bare words, so only pages that
    // hold them are ever made writable.
    unsafe { LiveMemory::new(ranges.to_vec()) }
        .map_err(|source| Error::Proc { what: "/proc/self/maps", source })
}

/// Slots of the module for one of the symbols, each with the function to be put there.
fn slots_of(
    module: &LiveModule,
    maps: &Maps,
    functions: &[(&str, RunAddr)],
) -> Result<Vec<(RunAddr, RunAddr)>, ElfError> {
    let image = module.image(maps);
    let dynamic = Dynamic::parse(&image)?;
    let symbols = SymbolTable::parse(&image, &dynamic)?;
    let mut slots = Vec::new();
    for relocation in relocations(&image, &dynamic, Arch::native())? {
        if matches!(relocation.kind, RelocationKind::JumpSlot | RelocationKind::GlobDat)
            && relocation.symbol != 0
        {
            let name = symbols.get(relocation.symbol)?.name;
            let wanted = functions.iter().find(|(symbol, _)| *symbol == name);
            slots.extend(wanted.map(|(_, function)| (module.bias.run(relocation.offset), *function)));
        }
    }
    Ok(slots)
}
