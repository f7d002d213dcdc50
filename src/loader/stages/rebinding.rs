//! Slots of the host's own that are to be bound anew while a guest lives: found in its modules, and put back afterwards.

use super::sealed::Sealed;
use crate::plan::SlotWrite;
use crate::process::{LiveModule, Maps, Modules};
use relink_elf::address::RunAddr;
use relink_elf::arch::{Arch, RelocationKind};
use relink_elf::{relocations, Dynamic, ElfError, SymbolTable};
use std::io;
use std::ops::Range;

/// Slots that were found, each with the function to be put there. The modules that they lie in are held, so that ld.so does not
/// unload them.
#[derive(Debug)]
#[must_use]
pub struct RebindableSlots {
    slots: Vec<(RunAddr, RunAddr)>,
    modules: Vec<LiveModule>,
}

impl RebindableSlots {
    /// Every slot of `modules` for one of the symbols, with the function that goes with it, but for modules that contain an address
    /// of `except`.
    pub fn find(modules: &Modules, maps: &Maps, functions: &[(&str, RunAddr)], except: &[RunAddr]) -> Self {
        let mut all = Self { slots: Vec::new(), modules: Vec::new() };
        for module in modules.0.iter().filter(|m| !except.iter().any(|address| m.contains(*address))) {
            // A module that cannot be read is not one of a host that calls V8 (the vDSO, for one).
            let found = slots_of(module, maps, functions).unwrap_or_default();
            if !found.is_empty() {
                all.modules.push(module.clone());
                all.slots.extend(found);
            }
        }
        all
    }

    /// The words that the slots lie in.
    pub fn ranges(&self) -> Vec<Range<RunAddr>> {
        self.slots.iter().map(|(slot, _)| word(*slot)).collect()
    }

    /// What is to be written, and put back. `read` gives the word that a slot holds now.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn rebind(self, read: &dyn Fn(RunAddr) -> io::Result<u64>) -> io::Result<Rebinding> {
        let write = |(slot, function): &(RunAddr, RunAddr)| {
            read(*slot).map(|expected| SlotWrite { at: *slot, expected, value: function.0 })
        };
        let writes = self.slots.iter().map(write).collect::<io::Result<_>>()?;
        Ok(Rebinding { writes, _modules: self.modules })
    }
}

/// Slots of the host's, what they held and what they are to hold.
#[derive(Debug)]
#[must_use]
pub struct Rebinding {
    writes: Vec<SlotWrite>,
    _modules: Vec<LiveModule>,
}

impl Rebinding {
    /// How many.
    pub fn count(&self) -> usize {
        self.writes.len()
    }

    /// The words that the slots lie in.
    pub fn ranges(&self) -> Vec<Range<RunAddr>> {
        self.writes.iter().map(|write| word(write.at)).collect()
    }

    /// Binds them to the functions.
    pub fn writes(&self) -> Sealed {
        Sealed::of(self.writes.clone())
    }

    /// Puts back what they held, if they still hold the functions.
    pub fn back(&self) -> Sealed {
        let back = |w: &SlotWrite| SlotWrite { at: w.at, expected: w.value, value: w.expected };
        Sealed::of(self.writes.iter().map(back).collect())
    }
}

/// The eight bytes at `at`.
fn word(at: RunAddr) -> Range<RunAddr> {
    at..RunAddr(at.0 + 8)
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
