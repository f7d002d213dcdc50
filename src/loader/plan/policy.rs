//! The binding policy: which rule a slot falls under, by the owner of its symbol.

use super::StagedImage;
use crate::guest::Slot;
use relink_abi::symbol::{owner, Owner};

/// The rule for one slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// To the host's V8, or to an adapter.
    V8,
    /// To the image's own definition.
    Own,
    /// To the image's own definition: it is part of a V8 that stays dead.
    DeadV8,
    /// To the guest's definition.
    Node,
    /// To a guard of Relink's, or to a library of the guest's closure; otherwise it is a C or C++ run-time name, which is
    /// ld.so's business.
    Elsewhere,
}

/// The rule for a slot of `image`. `needs` says which of V8's names a guest that has a V8 of its own means the host's V8
/// by: those that Node's code, and not V8's, refers to.
pub fn rule(image: StagedImage, slot: &Slot, needs: &dyn Fn(&str) -> bool) -> Rule {
    let own = slot.own.is_some();
    match (owner(slot.symbol), image) {
        (Owner::V8, StagedImage::Guest) if own && !needs(slot.symbol) => Rule::DeadV8,
        (Owner::V8, _) if !own || image == StagedImage::Guest => Rule::V8,
        // A unit knows the host's V8, and the host's Node where the host is one.
        (Owner::Node, StagedImage::Unit) if !own => Rule::V8,
        _ if own => Rule::Own,
        (Owner::Node, StagedImage::Bridge) => Rule::Node,
        _ => Rule::Elsewhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::Own;
    use relink_elf::address::LinkAddr;
    use relink_elf::arch::RelocationKind;

    fn slot(symbol: &str, own: bool) -> Slot<'_> {
        Slot {
            at: LinkAddr(0),
            entry: LinkAddr(0),
            kind: RelocationKind::JumpSlot,
            symbol,
            version: None,
            library: None,
            addend: 0,
            weak: false,
            own: own.then_some(Own { value: LinkAddr(8), is_ifunc: false }),
            initial: 0,
        }
    }

    #[test]
    fn rules_by_owner() {
        use StagedImage::{Bridge, Guest, Library};
        let isolate = "_ZN2v87Isolate10GetCurrentEv";
        let heap = "_ZN2v88internal4Heap5SetUpEv";
        let stop = "_ZN4node4StopEPNS_11EnvironmentE";
        let of = |image, symbol, own| rule(image, &slot(symbol, own), &|name| name == isolate);
        assert_eq!(of(Guest, isolate, false), Rule::V8);
        assert_eq!(of(Guest, isolate, true), Rule::V8);
        assert_eq!(of(Guest, heap, true), Rule::DeadV8);
        assert_eq!(of(Guest, heap, false), Rule::V8);
        assert_eq!(of(Bridge, isolate, false), Rule::V8);
        assert_eq!(of(Bridge, isolate, true), Rule::Own);
        assert_eq!(of(Bridge, stop, false), Rule::Node);
        assert_eq!(of(StagedImage::Unit, stop, false), Rule::V8);
        assert_eq!(of(Guest, stop, true), Rule::Own);
        assert_eq!(of(Guest, "kill", false), Rule::Elsewhere);
        assert_eq!(of(Library(0), "uv_run", true), Rule::Own);
        assert_eq!(of(Library(0), "CRYPTO_free", false), Rule::Elsewhere);
    }
}
