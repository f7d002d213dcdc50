//! Resolving each slot by its rule.

use super::policy::{rule, Rule};
use super::{Binding, Plan, StagedImage, Target, Why};
use crate::abi::adapters::{Adapter, When};
use crate::address::RunAddr;
use crate::elf::arch::RelocationKind;
use crate::elf::ElfError;
use crate::error::Error;
use crate::guest::{Inventory, Slot};
use crate::host::exports::{Definition, Exports};

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

/// What a plan is made from.
#[derive(Clone, Copy)]
pub struct Request<'r, 'd> {
    /// The libnode.
    pub guest: &'r Inventory<'d>,
    /// The bridge; without one (planning on files alone) adapters count as present.
    pub bridge: Option<&'r Inventory<'d>>,
    /// The host's V8.
    pub provider: &'r dyn Definitions,
    /// Its name for messages.
    pub provider_name: &'r str,
    /// The adapters to use.
    pub adapters: &'r [&'static Adapter],
    /// The guards to use.
    pub guards: &'r [Guard],
}

/// Plans every slot, or says which symbols are missing or which slot has no rule.
pub fn plan<'d>(request: &Request<'_, 'd>) -> Result<Plan<'d>, Error> {
    let mut planner = Planner { request, plan: Plan::default(), missing: Vec::new() };
    planner.image(StagedImage::Guest, request.guest)?;
    if let Some(bridge) = request.bridge {
        planner.image(StagedImage::Bridge, bridge)?;
    }
    planner.finish()
}

struct Planner<'r, 'q, 'd> {
    request: &'q Request<'r, 'd>,
    plan: Plan<'d>,
    missing: Vec<String>,
}

impl<'d> Planner<'_, '_, 'd> {
    fn image(&mut self, image: StagedImage, inventory: &Inventory<'d>) -> Result<(), Error> {
        for slot in &inventory.slots {
            match self.destination(image, slot)? {
                Some((target, why)) => {
                    check_kind(slot)?;
                    self.plan.bindings.push(Binding { image, slot: *slot, target, why });
                }
                None => self.plan.left_to_the_linker += 1,
            }
        }
        Ok(())
    }

    /// Where the slot goes; `None` leaves it to ld.so.
    fn destination(&mut self, image: StagedImage, slot: &Slot<'d>) -> Result<Option<(Target, Why)>, Error> {
        match rule(image, slot.symbol, slot.own.is_some()) {
            Rule::Own => Ok(None),
            Rule::RunTime => Ok(self.guard(image, slot.symbol)),
            Rule::Node => Ok(Some(self.guests_node(slot.symbol))),
            Rule::V8 => self.v8(image, slot).map(Some),
        }
    }

    fn guard(&self, image: StagedImage, symbol: &str) -> Option<(Target, Why)> {
        let guards = if image == StagedImage::Guest { self.request.guards } else { &[] };
        let guard = guards.iter().find(|g| g.symbol == symbol)?;
        Some((Target::Relink(guard.address), Why::Guarded(guard.keeps)))
    }

    fn guests_node(&mut self, symbol: &str) -> (Target, Why) {
        match self.request.guest.definitions.get(symbol) {
            Some(at) => (Target::Staged(StagedImage::Guest, *at), Why::GuestsNode),
            None => self.lacking(symbol),
        }
    }

    fn v8(&mut self, image: StagedImage, slot: &Slot<'d>) -> Result<(Target, Why), Error> {
        let unreadable = |source| Error::ProviderImage { path: self.request.provider_name.into(), source };
        let found = self.request.provider.find(slot.symbol, slot.version).map_err(unreadable)?;
        let adapter = self.request.adapters.iter().copied().find(|a| a.symbol == slot.symbol);
        let adapter = adapter.filter(|a| a.when == When::Always || found.is_none());
        // The bridge itself must reach the real function that its adapter stands before.
        if let (Some(adapter), StagedImage::Guest) = (adapter, image) {
            return Ok(self.adapted(adapter));
        }
        Ok(match found {
            Some(definition) => (Target::Provider(definition), Why::HostsV8),
            None if slot.weak => (Target::Null, Why::WeakUndefined),
            None => self.lacking(slot.symbol),
        })
    }

    fn adapted(&mut self, adapter: &'static Adapter) -> (Target, Why) {
        let Some(bridge) = self.request.bridge else { return (Target::Null, Why::Adapter(adapter)) };
        match bridge.definitions.get(adapter.stands_in) {
            Some(at) => (Target::Staged(StagedImage::Bridge, *at), Why::Adapter(adapter)),
            None => self.lacking(adapter.stands_in),
        }
    }

    /// Notes a missing symbol; the plan that then contains this target is never handed out.
    fn lacking(&mut self, symbol: &str) -> (Target, Why) {
        self.missing.push(symbol.to_owned());
        (Target::Null, Why::HostsV8)
    }

    fn finish(mut self) -> Result<Plan<'d>, Error> {
        if !self.missing.is_empty() {
            self.missing.sort_unstable();
            self.missing.dedup();
            return Err(Error::MissingSymbols {
                provider: self.request.provider_name.into(),
                names: self.missing,
            });
        }
        self.plan.bindings.sort_by_key(|b| (b.image, b.slot.at));
        Ok(self.plan)
    }
}

/// Only words that hold a plain address can be bound.
fn check_kind(slot: &Slot) -> Result<(), Error> {
    match slot.kind {
        RelocationKind::JumpSlot | RelocationKind::GlobDat | RelocationKind::Abs64 => Ok(()),
        other => Err(Error::UnsupportedSlot {
            offset: slot.at,
            symbol: slot.symbol.to_owned(),
            kind: format!("{other:?}"),
        }),
    }
}
