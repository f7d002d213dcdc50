//! The audit: what every slot of the staged images really holds, once all are bound. Nothing is written.

use super::{observe, Bound};
use crate::guest::Slot;
use crate::patch::live::LiveMemory;
use crate::patch::Memory;
use crate::plan::{self, Binding, Placement, StagedImage, Target};
use crate::process::Modules;
use crate::report::Audit;
use relink_abi::error::Error;
use relink_elf::address::RunAddr;
use relink_elf::arch::RelocationKind;
use std::collections::HashSet;

impl Bound<'_, '_> {
    /// Compares the slots that the plan binds with their memory, and looks where those point that ld.so has bound.
    pub(super) fn audit(&self) -> Result<Audit, Error> {
        let (modules, _) = observe()?;
        let memory = self.images.memory()?;
        let placement = self.images.placement();
        let plan = self.verified.plan();
        let mut audit = Audit::default();
        match plan::audit(plan, &placement, &|at| memory.read(at).ok()) {
            Ok(right) => audit.right = right,
            Err(wrong) => {
                let line = |w: &plan::Misplaced| {
                    format!("{}: {} holds {:x?}, not {:#x}", w.binding, w.slot, w.found, w.expected)
                };
                audit.wrong = wrong.iter().map(line).collect();
                audit.right = plan.bindings.iter().filter(holds_address).count() - wrong.len();
            }
        }
        let bound: HashSet<_> = plan.bindings.iter().map(|b| (b.image, b.slot.at)).collect();
        for part in self.parts {
            for slot in part.inventory.slots.iter().filter(|s| !bound.contains(&(part.image, s.at))) {
                self.left(
                    part.image,
                    slot,
                    &Looked { modules: &modules, memory: &memory, placement: &placement },
                    &mut audit,
                );
            }
        }
        Ok(audit)
    }

    fn left(&self, image: StagedImage, slot: &Slot, looked: &Looked, audit: &mut Audit) {
        if slot.kind == RelocationKind::Tls {
            audit.thread_local += 1;
            return;
        }
        let at = looked.placement.run(image, slot.at);
        let target = match looked.memory.read(at) {
            Ok(0) => "null".to_owned(),
            Ok(word) => self.owner(RunAddr(word), looked.modules),
            Err(_) => "unreadable".to_owned(),
        };
        audit.left.entry(target).or_default().insert(slot.symbol.to_owned());
    }

    /// Whose an address is: a staged image's, or a module's.
    fn owner(&self, address: RunAddr, modules: &Modules) -> String {
        if let Some(image) = self.images.at(address) {
            return format!("the {image}");
        }
        modules.containing(address).map_or_else(|| "nowhere".to_owned(), |m| m.path.display().to_string())
    }
}

/// Whether the plan says what word the slot holds; thread-local variables are numbered by ld.so.
fn holds_address(binding: &&Binding) -> bool {
    !matches!(binding.target, Target::OwnTls(_))
}

/// The process as the audit sees it.
struct Looked<'a> {
    modules: &'a Modules,
    memory: &'a LiveMemory,
    placement: &'a Placement,
}
