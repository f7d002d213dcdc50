//! The plan: for every slot of the images to be staged, where it goes and why. Pure: the same input gives the same
//! plan on any machine.

pub mod explain;
mod place;
mod policy;
mod resolve;

pub use place::{place, Placement};
pub use policy::Rule;
pub use resolve::{plan, Definitions, Guard, Request};

use crate::abi::adapters::Adapter;
use crate::address::{LinkAddr, RunAddr};
use crate::guest::Slot;
use crate::host::exports::Definition;

/// An image that Relink stages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StagedImage {
    /// The libnode.
    Guest,
    /// Relink's own C++ between Node and the host's platform.
    Bridge,
}

/// Where a slot goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// A definition of the host's V8.
    Provider(Definition),
    /// A definition in an image that is about to be staged; its address is known once that is loaded.
    Staged(StagedImage, LinkAddr),
    /// A function of Relink itself.
    Relink(RunAddr),
    /// Nowhere: an undefined weak reference is 0 (gABI chapter 4, "Symbol Table").
    Null,
}

/// Why it goes there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// V8's names belong to the host's V8.
    HostsV8,
    /// An adapter stands in for a symbol that the host's V8 lacks, or stands before one that it has.
    Adapter(&'static Adapter),
    /// Node's names belong to the guest.
    GuestsNode,
    /// The function would act on the whole process; a guard keeps it to the guest.
    Guarded(&'static str),
    /// A weak reference without a definition.
    WeakUndefined,
}

/// One slot's destination.
#[derive(Clone, Copy, Debug)]
pub struct Binding<'d> {
    /// The image the slot lies in.
    pub image: StagedImage,
    /// The slot.
    pub slot: Slot<'d>,
    /// Where it goes.
    pub target: Target,
    /// Why.
    pub why: Why,
}

/// All bindings, and how many slots are left to ld.so because C and C++ run-time names mean what they mean to the rest
/// of the process.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Plan<'d> {
    /// The bindings in order of image and slot address.
    pub bindings: Vec<Binding<'d>>,
    /// Symbolic slots that ld.so binds.
    pub left_to_the_linker: usize,
}
