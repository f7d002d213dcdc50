//! The one thing of the host's that is bound anew while the guest lives: its slots for `v8::V8::Dispose()` and
//! `DisposePlatform()`, where V8 is
//! a library that the host calls through its PLT. Disposing V8 under a live guest would end the process; bound to the
//! bridge, the call stops the guest first and then does what it did. The slots are put back when the guest has ended.
//!
//! # Safety
//! The slots belong to modules that the host keeps loaded; each is one aligned word, written in one piece, and holds a
//! valid function before, meanwhile and after.

use crate::patch::live::LiveMemory;
use crate::patch::{apply, by_page, Memory, SlotWrite};
use crate::process::{LiveModule, Maps, Modules};
use relink_abi::error::Error;
use relink_elf::address::RunAddr;
use relink_elf::arch::{Arch, RelocationKind};
use relink_elf::{relocations, Dynamic, ElfError, SymbolTable};

/// Slots of the host that were bound anew.
#[derive(Debug)]
#[must_use]
pub struct HostSlots {
    bound: Vec<SlotWrite>,
    /// The modules that the slots lie in: while they are held, ld.so does not unload them.
    _modules: Vec<LiveModule>,
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
        let mut slots = Vec::new();
        let mut held = Vec::new();
        for module in modules.0.iter().filter(|m| !except.iter().any(|address| m.contains(*address))) {
            // A module that cannot be read is not one of a host that calls V8 (the vDSO, for one).
            let found = slots_of(module, maps, functions).unwrap_or_default();
            if !found.is_empty() {
                held.push(module.clone());
                slots.extend(found);
            }
        }
        let memory = open(&slots)?;
        let write = |(slot, function): &(RunAddr, RunAddr)| {
            memory.read(*slot).map(|expected| SlotWrite { at: *slot, expected, value: function.0 })
        };
        let bound: Result<Vec<_>, _> = slots.iter().map(write).collect();
        let bound = bound.map_err(|e| Error::RolledBack { at: RunAddr(0), why: e.to_string() })?;
        write_all(&bound)?;
        Ok(Self { bound, _modules: held })
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.bound.len()
    }

    /// Puts them back, if they still hold what they were bound to.
    pub fn restore(self) -> Result<(), Error> {
        let back = |w: &SlotWrite| SlotWrite { at: w.at, expected: w.value, value: w.expected };
        write_all(&self.bound.iter().map(back).collect::<Vec<_>>())
    }
}

fn write_all(writes: &[SlotWrite]) -> Result<(), Error> {
    let mut memory = open(&writes.iter().map(|w| (w.at, w.at)).collect::<Vec<_>>())?;
    let pages = by_page(writes.to_vec(), memory.page_size());
    // What is needed to take it back is in `writes`.
    apply(&mut memory, &pages).map(drop)
}

fn open(slots: &[(RunAddr, RunAddr)]) -> Result<LiveMemory, Error> {
    let ranges = slots.iter().map(|(slot, _)| *slot..RunAddr(slot.0 + 8)).collect();
    // SAFETY: the words are slots of modules that are held; the host's threads may call through them meanwhile, which is
    // harmless for each holds a valid function at every moment. The ranges are the bare words, so only pages that hold
    // them are ever made writable.
    unsafe { LiveMemory::new(ranges) }.map_err(|source| Error::Proc { what: "/proc/self/maps", source })
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
