//! The third stage: where every slot goes, for a guest that was admitted.

use super::parts::Part;
use super::verified::{Verified, VerifiedPlan};
use super::{Companions, Host, HostProcess, Observed, Terms};
use crate::host::Exports;
use crate::plan::{plan, Binding, BoundSlot, Guard, Plan, Request, StagedImage, Target};
use relink_abi::adapters::{Adapter, When};
use relink_abi::catalogue::{Needs, PLATFORM_CELL};
use relink_abi::error::Error;
use relink_abi::gate;
use relink_abi::line::Line;
use std::sync::Arc;

/// A plan, and the admission that it was made with.
pub struct Planned<'a, H> {
    pub(super) observed: Observed<'a, H>,
    pub(super) gate: Arc<gate::Admitted>,
    pub(super) line: &'static Line,
    pub(super) stock: Stock,
    pub(super) plan: Plan<'a>,
}

/// What slots are resolved with, besides the parts and the host.
pub(super) struct Stock {
    pub(super) adapters: Vec<&'static Adapter>,
    pub(super) guards: Vec<Guard>,
    needs: Needs,
    lost: Vec<String>,
}

impl Stock {
    /// Reads the companions, and looks for names that the host hides: all that is asked of it and that its dynamic symbols lack.
    pub(super) fn of<'a, H: Host<'a>>(
        observed: &mut Observed<'a, H>,
        needs: Needs,
        line: Option<&'static Line>,
        companions: Companions<'a>,
        terms: &Terms<'a>,
    ) -> Result<Self, Error> {
        let (adapters, lost) = (companions.adapters(&observed.note, terms), companions.lost());
        observed.parts.extend(Part::read_all(observed.inputs.images(companions.images))?);
        let wanted = wanted_of_host(&observed.parts, line, &adapters);
        observed
            .exports
            .complete(observed.host.path(), wanted.into_iter())
            .map_err(|source| observed.host.unreadable(source))?;
        Ok(Self { adapters, guards: terms.guards.clone(), needs, lost })
    }
}

/// The names that are asked of the host's V8: those that a slot is bound to, unless an adapter stands before them whatever the host
/// has, and those that Relink itself reads or calls.
fn wanted_of_host<'a>(
    parts: &[Part<'a, 'a>],
    line: Option<&'static Line>,
    adapters: &[&'static Adapter],
) -> Vec<&'a str> {
    let own = line.into_iter().flat_map(|line| {
        [PLATFORM_CELL, line.first_isolate()].into_iter().chain(line.internal_functions().iter().copied())
    });
    let bound = parts.iter().filter(|p| matches!(p.image, StagedImage::Guest | StagedImage::Unit));
    let bound = bound.flat_map(|p| p.inventory.needed_v8());
    let bound = bound.filter(|name| adapters.iter().all(|a| a.when == When::Missing || a.symbol != *name));
    own.chain(bound).collect()
}

/// Resolves the slots of everything that was read.
pub(super) struct Resolver<'r, 'a, H> {
    pub(super) observed: &'r Observed<'a, H>,
    pub(super) stock: &'r Stock,
}

impl<'a, H: Host<'a>> Resolver<'_, 'a, H> {
    pub(super) fn resolve(&self) -> Result<Plan<'a>, Error> {
        let members: Vec<_> = self.observed.parts.iter().map(Part::member).collect();
        plan(&Request {
            members: &members,
            needs: &|name| self.stock.needs.contains(name),
            provider: &self.observed.exports,
            provider_name: &self.observed.host.name(),
            adapters: &self.stock.adapters,
            guards: &self.stock.guards,
        })
    }
}

impl<'a, H: Host<'a>> Planned<'a, H> {
    /// The plan.
    pub fn plan(&self) -> &Plan<'a> {
        &self.plan
    }

    /// What the gate has found.
    pub fn admission(&self) -> &gate::Admitted {
        &self.gate
    }

    /// The host.
    pub fn host(&self) -> &H {
        &self.observed.host
    }

    /// Everything that was read: the guest first, then its libraries, then what comes with it.
    pub fn parts(&self) -> &[Part<'a, 'a>] {
        &self.observed.parts
    }

    /// What the host's V8 defines.
    pub fn exports(&self) -> &Exports<'a, 'a> {
        &self.observed.exports
    }

    /// What the guest cannot do on this host because of its line.
    pub fn lost(&self) -> &[String] {
        &self.stock.lost
    }

    /// Resolves all slots once more: the same plan.
    ///
    /// # Errors
    /// None, for there is a plan.
    pub fn resolve(&self) -> Result<Plan<'a>, Error> {
        Resolver { observed: &self.observed, stock: &self.stock }.resolve()
    }

    /// A binding by symbols and link-time addresses, as an audit of the bound slots tells it.
    pub fn bound(&self, binding: &Binding) -> BoundSlot {
        binding.bound(|definition| self.observed.host.place(definition))
    }
}

impl<'a> Planned<'a, HostProcess<'a>> {
    /// Lets a plan pass that can be carried out: all that it leads to is here. A plan for a file is not one.
    ///
    /// # Errors
    /// A slot leads into an image that does not come with the guest.
    pub fn verify(self) -> Result<Verified<'a>, Error> {
        let parts = &self.observed.parts;
        let is_there = |image| parts.iter().any(|part| part.image == image);
        let leads_nowhere = |b: &&Binding| match b.target {
            Target::StandIn(_) => true,
            Target::Staged(image, _) => !is_there(image),
            _ => !is_there(b.image),
        };
        if let Some(binding) = self.plan.bindings.iter().find(leads_nowhere) {
            return Err(Error::Internal(format!("a slot leads nowhere: {}", binding.explain(true))));
        }
        let Self { observed, gate, line, stock, plan } = self;
        Ok(Verified { observed, line, stock, plan: VerifiedPlan::of(plan, gate) })
    }
}
