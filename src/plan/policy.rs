//! The binding policy: which rule a slot falls under, by the owner of its symbol.

use super::StagedImage;
use crate::symbol::{owner, Owner};

/// The rule for one slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// To the host's V8, or to an adapter.
    V8,
    /// To the guest's own definition.
    Node,
    /// To a guard of Relink's, if there is one for the name; otherwise ld.so's business.
    RunTime,
    /// To the image's own definition: ld.so does that by itself in an image linked with `-Bsymbolic`.
    Own,
}

/// The rule for a symbol that a slot of `image` refers to; `own` says that the image defines it.
pub fn rule(image: StagedImage, symbol: &str, own: bool) -> Rule {
    match (owner(symbol), image) {
        _ if own => Rule::Own,
        (Owner::V8, _) => Rule::V8,
        (Owner::Node, StagedImage::Bridge) => Rule::Node,
        (Owner::Node | Owner::Other, _) => Rule::RunTime,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_by_owner() {
        let isolate = "_ZN2v87Isolate10GetCurrentEv";
        let stop = "_ZN4node4StopEPNS_11EnvironmentE";
        assert_eq!(rule(StagedImage::Guest, isolate, false), Rule::V8);
        assert_eq!(rule(StagedImage::Bridge, isolate, false), Rule::V8);
        assert_eq!(rule(StagedImage::Guest, isolate, true), Rule::Own);
        assert_eq!(rule(StagedImage::Bridge, stop, false), Rule::Node);
        assert_eq!(rule(StagedImage::Guest, stop, true), Rule::Own);
        assert_eq!(rule(StagedImage::Guest, "kill", false), Rule::RunTime);
    }
}
