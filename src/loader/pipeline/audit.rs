//! The audit: what every slot of the staged images really holds, once all are bound. Nothing is written.

use super::{observe, Applied};
use crate::guest::Slot;
use crate::patch::live::LiveMemory;
use crate::patch::Memory;
use crate::plan::{self, Binding, BoundSlot, Placement, StagedImage, Target};
use crate::process::Modules;
use crate::report::Audit;
use crate::stages::Host;
use relink_abi::error::Error;
use relink_elf::address::{LinkAddr, RunAddr};
use relink_elf::arch::RelocationKind;
use std::collections::{HashMap, HashSet};

impl Applied<'_> {
    /// Compares the slots that the plan binds with their memory, and looks where all of them point.
    pub(super) fn audit(&self) -> Result<Audit, Error> {
        let (modules, _) = observe()?;
        let memory = self.images.memory()?;
        let placement = self.images.placement();
        let plan = self.verified().plan().plan();
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
        let names = self.stand_ins()?;
        let looked = Looked { modules: &modules, memory: &memory, placement: &placement, names: &names };
        audit.slots = plan.bindings.iter().map(|binding| self.held(binding, &looked)).collect();
        let bound: HashSet<_> = plan.bindings.iter().map(|b| (b.image, b.slot.at)).collect();
        for part in self.verified().parts() {
            for slot in part.inventory.slots.iter().filter(|s| !bound.contains(&(part.image, s.at))) {
                self.left(part.image, slot, &looked, &mut audit);
            }
        }
        Ok(audit)
    }

    /// What a slot that was bound holds, found by its word alone.
    fn held(&self, binding: &Binding, looked: &Looked) -> BoundSlot {
        if !holds_address(&binding) {
            return binding.bound(|definition| self.verified().host().place(definition));
        }
        let word = looked.memory.read(looked.placement.slot(binding));
        binding.bound_to(match word.map(|word| RunAddr(binding.without_addend(word))) {
            Ok(RunAddr(0)) => "0".to_owned(),
            Ok(address) => self.place(binding, address, looked),
            Err(_) => "unreadable".to_owned(),
        })
    }

    fn place(&self, binding: &Binding, address: RunAddr, looked: &Looked) -> String {
        if let Some(image) = self.images.at(address) {
            let at = self.images.get(image).map_or(LinkAddr(0), |staged| staged.bias().link(address));
            return match looked.names.get(&(image, at)).filter(|_| image != binding.image) {
                Some(name) => (*name).to_owned(),
                None => BoundSlot::in_image(image, at),
            };
        }
        let guard = self
            .verified()
            .guards()
            .iter()
            .find(|guard| guard.address == address && guard.symbol == binding.slot.symbol);
        if let Some(guard) = guard {
            return BoundSlot::guard(guard.symbol);
        }
        let host = self.verified().module();
        match looked.modules.containing(address) {
            Some(module) if module.bias == host.bias => BoundSlot::in_host(module.bias.link(address)),
            Some(module) => {
                let at = module.bias.link(address);
                match self.verified().host().parts().iter().find(|part| part.bias == module.bias) {
                    Some(part) => BoundSlot::in_part(&part.name, at),
                    None => format!("{}+{at}", module.path.display()),
                }
            }
            None => "nowhere".to_owned(),
        }
    }

    /// Where the functions of the bridge and of the unit are that stand in for V8's.
    fn stand_ins(&self) -> Result<HashMap<(StagedImage, LinkAddr), &'static str>, Error> {
        let mut names = HashMap::new();
        let ours = |image| matches!(image, StagedImage::Bridge | StagedImage::Unit);
        for part in self.verified().parts().iter().filter(|part| ours(part.image)) {
            for adapter in self.verified().adapters() {
                let unreadable = |source| Error::GuestImage { path: part.path.to_owned(), source };
                let found = part.exports.symbol(adapter.stands_in, None).map_err(unreadable)?;
                names.extend(found.map(|symbol| ((part.image, symbol.value), adapter.stands_in)));
            }
        }
        Ok(names)
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
    names: &'a HashMap<(StagedImage, LinkAddr), &'static str>,
}
