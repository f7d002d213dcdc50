//! Placing: from bindings to words at run-time addresses, once the load addresses are known. Pure.

use super::{Binding, Plan, StagedImage, Target};
use crate::address::{LoadBias, RunAddr};
use crate::patch::SlotWrite;

/// Where the images were loaded.
#[derive(Clone, Copy, Debug)]
pub struct Placement {
    /// The libnode's load bias.
    pub guest: LoadBias,
    /// The bridge's.
    pub bridge: LoadBias,
}

impl Placement {
    fn of(self, image: StagedImage) -> LoadBias {
        match image {
            StagedImage::Guest => self.guest,
            StagedImage::Bridge => self.bridge,
        }
    }

    fn write(self, binding: &Binding) -> SlotWrite {
        let address = match binding.target {
            Target::Provider(definition) => Some(definition.address),
            Target::Staged(image, at) => Some(self.of(image).run(at)),
            Target::Relink(at) => Some(at),
            Target::Null => None,
        };
        // psABI: S + A for R_X86_64_64; the addend of the other two kinds is 0. An undefined weak S is 0 (gABI).
        let value = address.unwrap_or(RunAddr(0)).0.wrapping_add_signed(binding.slot.addend);
        SlotWrite { at: self.of(binding.image).run(binding.slot.at), expected: binding.slot.initial, value }
    }
}

/// The words to be written for `plan`.
pub fn place(plan: &Plan, placement: Placement) -> Vec<SlotWrite> {
    plan.bindings.iter().map(|binding| placement.write(binding)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::LinkAddr;
    use crate::elf::arch::RelocationKind;
    use crate::guest::Slot;
    use crate::host::exports::{Definition, Visibility};
    use crate::plan::Why;

    fn binding(image: StagedImage, at: u64, addend: i64, target: Target) -> Binding<'static> {
        let slot = Slot {
            at: LinkAddr(at),
            entry: LinkAddr(0),
            kind: RelocationKind::Abs64,
            symbol: "s",
            version: None,
            addend,
            weak: false,
            own: None,
            initial: 3,
        };
        Binding { image, slot, target, why: Why::HostsV8 }
    }

    #[test]
    fn each_target_becomes_a_run_time_address() {
        let at = RunAddr(0x9000);
        let definition = Definition { address: at, is_function: true, visibility: Visibility::Dynsym };
        let plan = Plan {
            bindings: vec![
                binding(StagedImage::Guest, 0x10, 16, Target::Provider(definition)),
                binding(StagedImage::Guest, 0x18, 0, Target::Staged(StagedImage::Bridge, LinkAddr(0x40))),
                binding(StagedImage::Bridge, 0x20, 0, Target::Staged(StagedImage::Guest, LinkAddr(0x50))),
                binding(StagedImage::Bridge, 0x28, -8, Target::Relink(at)),
                binding(StagedImage::Guest, 0x30, 0, Target::Null),
            ],
            left_to_the_linker: 0,
        };
        let placement = Placement { guest: LoadBias(0x10_0000), bridge: LoadBias(0x20_0000) };
        let words: Vec<_> = place(&plan, placement).iter().map(|w| (w.at.0, w.expected, w.value)).collect();
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
    }
}
