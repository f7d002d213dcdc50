//! Placing: from bindings to words at run-time addresses, once the load addresses are known. Pure.

use super::{Binding, Plan, StagedImage, Target};
use relink_elf::address::{LinkAddr, LoadBias, RunAddr};
use std::collections::BTreeMap;

/// One word to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotWrite {
    /// Where.
    pub at: RunAddr,
    /// What must be there before.
    pub expected: u64,
    /// What shall be there after.
    pub value: u64,
}

/// Where the images were loaded.
#[derive(Clone, Debug, Default)]
pub struct Placement(pub BTreeMap<StagedImage, LoadBias>);

impl Placement {
    /// The load bias of an image; every image of a plan has one.
    fn of(&self, image: StagedImage) -> LoadBias {
        self.0.get(&image).copied().unwrap_or_default()
    }

    /// The word that the slot shall hold; nothing for a thread-local variable, which ld.so numbers.
    fn word(&self, binding: &Binding) -> Option<u64> {
        let address = match binding.target {
            Target::Provider(definition) => definition.address,
            Target::Own(at) => self.of(binding.image).run(at),
            Target::Staged(image, at) => self.of(image).run(at),
            Target::Relink(at) => at,
            // An undefined weak S is 0 (gABI).
            Target::Null => RunAddr(0),
            // The second is the name of a function that is not at hand: its plan is not placed.
            Target::OwnTls(_) | Target::StandIn(_) => return None,
        };
        Some(address.0.wrapping_add_signed(binding.addend()))
    }

    /// Run-time address of a binding's slot.
    pub fn slot(&self, binding: &Binding) -> RunAddr {
        self.run(binding.image, binding.slot.at)
    }

    /// Run-time address of a link-time address of an image.
    pub fn run(&self, image: StagedImage, at: LinkAddr) -> RunAddr {
        self.of(image).run(at)
    }
}

/// The words to be written for `plan`: those that ld.so does not write by itself.
pub fn place(plan: &Plan, placement: &Placement) -> Vec<SlotWrite> {
    let written = plan.bindings.iter().filter(|b| !matches!(b.target, Target::Own(_) | Target::OwnTls(_)));
    let write = |binding: &Binding| {
        let value = placement.word(binding)?;
        Some(SlotWrite { at: placement.slot(binding), expected: binding.slot.initial, value })
    };
    written.filter_map(write).collect()
}

/// A slot that does not hold what the plan says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Misplaced {
    /// Which: the plan's line about it.
    pub binding: String,
    /// Run-time address of the slot.
    pub slot: RunAddr,
    /// What it must hold.
    pub expected: u64,
    /// What it holds, if it can be read.
    pub found: Option<u64>,
}

/// Compares every slot of the plan, those that ld.so wrote too, with what `read` finds at its run-time address.
pub fn audit(
    plan: &Plan,
    placement: &Placement,
    read: &dyn Fn(RunAddr) -> Option<u64>,
) -> Result<usize, Vec<Misplaced>> {
    let mut wrong = Vec::new();
    let mut right = 0;
    for binding in &plan.bindings {
        let Some(expected) = placement.word(binding) else { continue };
        let slot = placement.slot(binding);
        let found = read(slot);
        if found == Some(expected) {
            right += 1;
        } else {
            wrong.push(Misplaced { binding: binding.explain(true), slot, expected, found });
        }
    }
    if wrong.is_empty() {
        Ok(right)
    } else {
        Err(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::Slot;
    use crate::host::exports::{Definition, Visibility};
    use crate::plan::Why;
    use relink_elf::arch::RelocationKind;

    fn binding(image: StagedImage, at: u64, addend: i64, target: Target) -> Binding<'static> {
        let slot = Slot {
            at: LinkAddr(at),
            entry: LinkAddr(0),
            kind: RelocationKind::Abs64,
            symbol: "s",
            version: None,
            addend,
            library: None,
            weak: false,
            own: None,
            initial: 3,
        };
        Binding { image, slot, target, why: Why::HostsV8 }
    }

    #[test]
    fn each_target_becomes_a_run_time_address() {
        let at = RunAddr(0x9000);
        let definition =
            Definition { address: at, is_function: true, visibility: Visibility::Dynsym, part: None };
        let plan = Plan {
            bindings: vec![
                binding(StagedImage::Guest, 0x10, 16, Target::Provider(definition)),
                binding(StagedImage::Guest, 0x18, 0, Target::Staged(StagedImage::Bridge, LinkAddr(0x40))),
                binding(StagedImage::Bridge, 0x20, 0, Target::Staged(StagedImage::Guest, LinkAddr(0x50))),
                binding(StagedImage::Bridge, 0x28, -8, Target::Relink(at)),
                binding(StagedImage::Guest, 0x30, 0, Target::Null),
                binding(StagedImage::Guest, 0x38, 4, Target::Own(LinkAddr(0x60))),
            ],
            left_to_the_linker: 0,
        };
        let placement = Placement(
            [(StagedImage::Guest, LoadBias(0x10_0000)), (StagedImage::Bridge, LoadBias(0x20_0000))].into(),
        );
        let words: Vec<_> = place(&plan, &placement).iter().map(|w| (w.at.0, w.expected, w.value)).collect();
        assert_eq!(
            words,
            [
                (0x10_0010, 3, 0x9010),
                (0x10_0018, 3, 0x20_0040),
                (0x20_0020, 3, 0x10_0050),
                (0x20_0028, 3, 0x8ff8),
                (0x10_0030, 3, 0),
            ]
        );
        let memory: BTreeMap<u64, u64> = place(&plan, &placement)
            .iter()
            .map(|w| (w.at.0, w.value))
            .chain([(0x10_0038, 0x10_0064)])
            .collect();
        let read = |at: RunAddr| memory.get(&at.0).copied();
        assert_eq!(audit(&plan, &placement, &read), Ok(6));
        let wrong = audit(&plan, &placement, &|at| read(at).filter(|_| at.0 != 0x10_0010)).unwrap_err();
        assert_eq!((wrong.len(), wrong[0].slot, wrong[0].expected), (1, RunAddr(0x10_0010), 0x9010));
    }
}
