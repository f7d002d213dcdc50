//! Resolves each slot: finds where its address comes from.
//!
//! The rule (`policy`) says whose the symbol is. From that follows the definition:
//!
//! - V8's symbols: an adapter, if one must stand before the name or the host's V8 lacks it; else the export of the host's V8.
//! - Symbols that the image defines: its own definition.
//! - Node's symbols that the bridge asks for: the guest's definition.
//! - All others: a guard; else the first definition in the guest and its libraries. C and C++ run-time names are left to ld.so.
//!
//! An undefined weak reference is 0 (gABI chapter 4, "Symbol Table"). If nobody defines a name, there is no plan: E0402 names the
//! symbols that V8 or Node should have, E0404 the others.

use super::policy::{rule, Rule};
use super::{Binding, Plan, StagedImage, Target, Why};
use crate::guest::{Inventory, Slot};
use crate::host::exports::{Definition, Exports};
use relink_abi::adapters::{Adapter, When};
use relink_abi::error::Error;
use relink_abi::symbol::is_run_time;
use relink_abi::symbol::{owner, Owner};
use relink_elf::address::{LinkAddr, RunAddr};
use relink_elf::arch::RelocationKind;
use relink_elf::ElfError;

/// Whatever can be asked for V8's definitions.
pub trait Definitions {
    /// The definition of `name` that satisfies a reference to `version`.
    fn find(&self, name: &str, version: Option<&str>) -> Result<Option<Definition>, ElfError>;
}

impl Definitions for Exports<'_, '_> {
    fn find(&self, name: &str, version: Option<&str>) -> Result<Option<Definition>, ElfError> {
        Exports::find(self, name, version)
    }
}

/// Whatever can be asked for the definitions of an image that is staged.
pub trait StagedDefinitions {
    /// Link-time address of the definition of `name` that satisfies a reference to `version`.
    fn link(&self, name: &str, version: Option<&str>) -> Result<Option<LinkAddr>, ElfError>;
}

impl StagedDefinitions for Exports<'_, '_> {
    fn link(&self, name: &str, version: Option<&str>) -> Result<Option<LinkAddr>, ElfError> {
        Ok(self.symbol(name, version)?.map(|symbol| symbol.value))
    }
}

/// A function of Relink's that takes the place of a libc function in the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The libc name.
    pub symbol: &'static str,
    /// Run-time address of the function that takes its place.
    pub address: RunAddr,
    /// What it keeps from the host.
    pub keeps: &'static str,
}

/// One image to be staged.
#[derive(Clone, Copy)]
pub struct Member<'r, 'd> {
    /// Which.
    pub image: StagedImage,
    /// Its slots.
    pub inventory: &'r Inventory<'d>,
    /// Its definitions.
    pub definitions: &'r dyn StagedDefinitions,
}

/// What a plan is made from.
#[derive(Clone, Copy)]
pub struct Request<'r, 'd> {
    /// The guest, the libraries of its closure in the order in which ld.so would look symbols up, and the bridge; without
    /// one (planning on files alone) adapters count as present and are bound by name ([`Target::StandIn`]).
    pub members: &'r [Member<'r, 'd>],
    /// Of a guest with a V8 of its own: the V8 names by which it means the host's V8.
    pub needs: &'r dyn Fn(&str) -> bool,
    /// The host's V8.
    pub provider: &'r dyn Definitions,
    /// Its name for messages.
    pub provider_name: &'r str,
    /// The adapters to use.
    pub adapters: &'r [&'static Adapter],
    /// The guards to use.
    pub guards: &'r [Guard],
}

impl<'r, 'd> Request<'r, 'd> {
    fn member(&self, image: StagedImage) -> Option<&'r Member<'r, 'd>> {
        self.members.iter().find(|m| m.image == image)
    }
}

/// Plans every slot, or says which symbols are missing or which slot has no rule.
pub fn plan<'d>(request: &Request<'_, 'd>) -> Result<Plan<'d>, Error> {
    let mut planner = Planner { request, plan: Plan::default(), missing: Vec::new(), unresolved: Vec::new() };
    for member in request.members {
        planner.image(member)?;
    }
    planner.finish()
}

struct Planner<'r, 'q, 'd> {
    request: &'q Request<'r, 'd>,
    plan: Plan<'d>,
    /// V8's and Node's names that nobody has.
    missing: Vec<String>,
    /// Other names that no library of the guest's has.
    unresolved: Vec<String>,
}

/// Where a slot goes; `None` leaves it to ld.so.
type Destination = Option<(Target, Why)>;

impl<'d> Planner<'_, '_, 'd> {
    fn image(&mut self, member: &Member<'_, 'd>) -> Result<(), Error> {
        for slot in &member.inventory.slots {
            match self.destination(member.image, slot)? {
                Some((target, why)) => {
                    check_kind(slot, target)?;
                    self.plan.bindings.push(Binding { image: member.image, slot: *slot, target, why });
                }
                None => self.plan.left_to_the_linker += 1,
            }
        }
        Ok(())
    }

    fn destination(&mut self, image: StagedImage, slot: &Slot<'d>) -> Result<Destination, Error> {
        match rule(image, slot, self.request.needs) {
            Rule::V8 => self.v8(image, slot).map(Some),
            Rule::Own => Ok(own(slot, Why::Own)),
            Rule::DeadV8 => Ok(own(slot, Why::DeadV8)),
            Rule::Node => self.guests_node(slot.symbol).map(Some),
            Rule::Elsewhere => match self.guard(image, slot.symbol) {
                Some(guard) => Ok(Some(guard)),
                None => self.closure(image, slot),
            },
        }
    }

    fn guard(&self, image: StagedImage, symbol: &str) -> Destination {
        let guards = if is_ours(image) { &[] } else { self.request.guards };
        let guard = guards.iter().find(|g| g.symbol == symbol)?;
        Some((Target::Relink(guard.address), Why::Guarded(guard.keeps)))
    }

    /// The guest's and its libraries' names; what is left then must be a run-time library's.
    fn closure(&mut self, image: StagedImage, slot: &Slot<'d>) -> Result<Destination, Error> {
        if slot.library.is_some_and(|library| is_run_time(library) || self.add_ons_own(image, library)) {
            return Ok(None);
        }
        for member in self.request.members.iter().filter(|m| !is_ours(m.image)) {
            let unreadable = |source| Error::GuestImage { path: member.inventory.soname.into(), source };
            if let Some(at) = member.definitions.link(slot.symbol, slot.version).map_err(unreadable)? {
                let itself = member.image == image;
                let target = if itself { Target::Own(at) } else { Target::Staged(member.image, at) };
                return Ok(Some((target, Why::Closure)));
            }
        }
        if is_add_on(image) && !means_node(slot.symbol) {
            return Ok(None);
        }
        Ok(match (slot.weak, slot.library) {
            (true, None) if is_add_on(image) => Some((Target::Null, Why::WeakUndefined)),
            (true, Some(_)) => Some((Target::Null, Why::WeakUndefined)),
            (true, None) => None,
            (false, library) => {
                let from = library.map(|l| format!(" of {l}")).unwrap_or_default();
                self.unresolved.push(format!("{}{from}", slot.symbol));
                None
            }
        })
    }

    /// Whether a library that an add-on was linked with is one of its own, hence ld.so's to find.
    fn add_ons_own(&self, image: StagedImage, library: &str) -> bool {
        let guest = self.request.member(StagedImage::Guest);
        is_add_on(image) && guest.is_none_or(|guest| guest.inventory.soname != library)
    }

    fn guests_node(&mut self, symbol: &str) -> Result<(Target, Why), Error> {
        let found = self.staged(StagedImage::Guest, symbol)?;
        Ok(found.map_or_else(|| self.lacking(symbol), |target| (target, Why::GuestsNode)))
    }

    /// A definition in an image that is staged.
    fn staged(&self, image: StagedImage, symbol: &str) -> Result<Option<Target>, Error> {
        let Some(member) = self.request.member(image) else { return Ok(None) };
        let unreadable = |source| Error::GuestImage { path: member.inventory.soname.into(), source };
        let found = member.definitions.link(symbol, None).map_err(unreadable)?;
        Ok(found.map(|at| Target::Staged(image, at)))
    }

    fn v8(&mut self, image: StagedImage, slot: &Slot<'d>) -> Result<(Target, Why), Error> {
        let unreadable = |source| Error::ProviderImage { path: self.request.provider_name.into(), source };
        // A version that the reference asks for is that of the guest's own V8, if it has one.
        let version = slot.version.filter(|_| slot.own.is_none());
        let found = self.request.provider.find(slot.symbol, version).map_err(unreadable)?;
        let adapter = self.request.adapters.iter().copied().find(|a| a.symbol == slot.symbol);
        let adapter = adapter.filter(|a| a.when != When::Missing || found.is_none());
        match (adapter, image) {
            (Some(adapter), StagedImage::Guest | StagedImage::AddOn(_)) => return self.adapted(adapter),
            // The bridge itself must reach the real function that its adapter stands before. Where there is none, or one with types of
            // another C++ library, it has what a unit has instead.
            (Some(adapter), StagedImage::Bridge) if found.is_none() || adapter.when == When::Everywhere => {
                if let Some(target) = self.staged(StagedImage::Unit, adapter.stands_in)? {
                    return Ok((target, Why::Adapter(adapter)));
                }
            }
            _ => {}
        }
        Ok(match found {
            Some(definition) => (Target::Provider(definition), Why::HostsV8),
            None if slot.weak && slot.own.is_none() => (Target::Null, Why::WeakUndefined),
            None => self.lacking(slot.symbol),
        })
    }

    fn adapted(&mut self, adapter: &'static Adapter) -> Result<(Target, Why), Error> {
        let found = match self.staged(StagedImage::Unit, adapter.stands_in)? {
            None if self.request.member(StagedImage::Bridge).is_none() => {
                Some(Target::StandIn(adapter.stands_in))
            }
            None => self.staged(StagedImage::Bridge, adapter.stands_in)?,
            found => found,
        };
        Ok(found.map_or_else(|| self.lacking(adapter.stands_in), |target| (target, Why::Adapter(adapter))))
    }

    /// Notes a missing symbol; the plan that then contains this target is never handed out.
    fn lacking(&mut self, symbol: &str) -> (Target, Why) {
        self.missing.push(symbol.to_owned());
        (Target::Null, Why::HostsV8)
    }

    fn finish(mut self) -> Result<Plan<'d>, Error> {
        let sorted = |mut names: Vec<String>| {
            names.sort_unstable();
            names.dedup();
            names
        };
        if !self.missing.is_empty() {
            let provider = self.request.provider_name.into();
            return Err(Error::MissingSymbols { provider, names: sorted(self.missing) });
        }
        if !self.unresolved.is_empty() {
            return Err(Error::Unresolved { names: sorted(self.unresolved) });
        }
        self.plan.bindings.sort_by_key(|b| (b.image, b.slot.at));
        Ok(self.plan)
    }
}

/// Whether an image is Relink's own: it must reach the functions that its own stand before.
fn is_ours(image: StagedImage) -> bool {
    matches!(image, StagedImage::Bridge | StagedImage::Unit)
}

fn is_add_on(image: StagedImage) -> bool {
    matches!(image, StagedImage::AddOn(_))
}

/// Whether an add-on means the guest by this name: another's definition must never do for it.
fn means_node(symbol: &str) -> bool {
    owner(symbol) != Owner::Other || symbol.starts_with("uv_")
}

/// The image's own definition. An IFUNC is ld.so's, for it calls the function that says which one is meant.
fn own(slot: &Slot, why: Why) -> Destination {
    let own = slot.own.filter(|own| !own.is_ifunc)?;
    let target = if slot.kind == RelocationKind::Tls { Target::OwnTls } else { Target::Own };
    Some((target(own.value), why))
}

/// Only words that hold a plain address can be bound; for an image's own thread-local variables ld.so does it.
fn check_kind(slot: &Slot, target: Target) -> Result<(), Error> {
    match (slot.kind, target) {
        (RelocationKind::JumpSlot | RelocationKind::GlobDat | RelocationKind::Abs64, _) => Ok(()),
        (RelocationKind::Tls, Target::OwnTls(_)) => Ok(()),
        (other, _) => Err(Error::UnsupportedSlot {
            offset: slot.at,
            symbol: slot.symbol.to_owned(),
            kind: format!("{other:?}"),
        }),
    }
}
