//! The plan: where each slot of the guest goes, and why.
//!
//! A slot is one word that a symbolic relocation fills (GOT, PLT or data). `policy` chooses the rule for a slot by the owner of its
//! symbol. [`plan()`] finds the definition that the rule asks for. The result is a [`Binding`]: slot, [`Target`], [`Why`]. After the
//! images are loaded, [`place()`] turns targets into run-time addresses.
//!
//! Everything here is pure: the same input gives the same plan on any machine. Nothing is written.

pub mod explain;
mod place;
mod policy;
mod resolve;

pub use explain::BoundSlot;
pub use place::{audit, place, Misplaced, Placement, SlotWrite};
pub use policy::Rule;
pub use resolve::{plan, Definitions, Guard, Member, Request, StagedDefinitions};

use crate::guest::copy::Rewrite;
use crate::guest::Slot;
use crate::host::exports::Definition;
use relink_abi::adapters::Adapter;
use relink_elf::address::{LinkAddr, RunAddr};
use relink_elf::arch::RelocationKind;

/// An image that Relink stages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StagedImage {
    /// The libnode.
    Guest,
    /// A library of its closure: its number in the order in which ld.so would look symbols up.
    Library(u16),
    /// Relink's own C++ between Node and the host's platform.
    Bridge,
    /// Adapters between the guest's V8 and another one of the host's.
    Unit,
    /// A native add-on of the guest's (0), or the library of this number that refers to Node as it does.
    AddOn(u16),
}

/// Where a slot goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// A definition of the host's V8.
    Provider(Definition),
    /// The image's own definition: ld.so is told so in the private copy.
    Own(LinkAddr),
    /// The image's own thread-local variable, at this offset in its thread-local segment; likewise.
    OwnTls(LinkAddr),
    /// A definition in another image that is about to be staged; its address is known once that is loaded.
    Staged(StagedImage, LinkAddr),
    /// A function of Relink itself.
    Relink(RunAddr),
    /// A function of this name in an image of Relink's own that is not at hand: in plans that are made from files alone.
    StandIn(&'static str),
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
    /// What an image defines is what it means, whatever the host exports.
    Own,
    /// V8 code that Node's own code never names: it stays inside of the guest, and dead.
    DeadV8,
    /// The guest and its libraries mean each other, whatever the host exports.
    Closure,
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

impl Binding<'_> {
    /// What becomes of the relocation in the private copy.
    pub fn rewrite(&self) -> Rewrite {
        match self.target {
            Target::Own(at) => Rewrite::Relative(LinkAddr(at.0.wrapping_add_signed(self.addend()))),
            Target::OwnTls(offset) => Rewrite::OwnTls(offset),
            _ => Rewrite::None,
        }
    }

    /// The address S of a slot that holds this word.
    pub fn without_addend(&self, word: u64) -> u64 {
        word.wrapping_add_signed(self.addend().wrapping_neg())
    }

    /// psABI: S + A for `R_*_64`; the addend of the other two kinds is of no meaning.
    fn addend(&self) -> i64 {
        if self.slot.kind == RelocationKind::Abs64 {
            self.slot.addend
        } else {
            0
        }
    }
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

impl Plan<'_> {
    /// The adapters that slots are bound to, as often as there are such slots.
    pub fn adapters(&self) -> impl Iterator<Item = &'static Adapter> + '_ {
        self.bindings.iter().filter_map(|binding| match binding.why {
            Why::Adapter(adapter) => Some(adapter),
            _ => None,
        })
    }
}
