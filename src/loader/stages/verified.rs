//! The fourth stage: a plan that may be applied.

use super::parts::Part;
use super::planned::Stock;
use super::sealed::Sealed;
use super::{Admission, HostProcess, Observed};
use crate::host::Exports;
use crate::plan::{place, Guard, Placement, Plan, StagedImage};
use crate::process::LiveModule;
use relink_abi::adapters::Adapter;
use relink_abi::gate;
use relink_abi::line::Line;
use std::sync::Arc;

/// A plan with the admission that it was made with. Nothing else becomes writes to images.
#[derive(Debug)]
#[must_use]
pub struct VerifiedPlan<'d> {
    plan: Plan<'d>,
    gate: Arc<gate::Admitted>,
}

impl<'d> VerifiedPlan<'d> {
    pub(super) fn of(plan: Plan<'d>, gate: Arc<gate::Admitted>) -> Self {
        Self { plan, gate }
    }

    /// The plan.
    pub fn plan(&self) -> &Plan<'d> {
        &self.plan
    }

    /// What a neutral guest's layout table must hold; empty for any other guest.
    pub fn layout(&self) -> &[i32] {
        self.gate.layout()
    }

    /// What the gate has found.
    pub fn admission(&self) -> &gate::Admitted {
        &self.gate
    }

    /// The words that carry it out where its images are loaded.
    pub fn writes(&self, placement: &Placement) -> Sealed {
        Sealed::of(place(&self.plan, placement))
    }
}

/// A guest that may be loaded and bound in this process. Nothing of it has changed the process yet.
pub struct Verified<'a> {
    pub(super) observed: Observed<'a, HostProcess<'a>>,
    pub(super) line: &'static Line,
    pub(super) stock: Stock,
    pub(super) plan: VerifiedPlan<'a>,
}

impl<'a> Verified<'a> {
    /// The plan.
    pub fn plan(&self) -> &VerifiedPlan<'a> {
        &self.plan
    }

    /// The images that are to be staged: the guest first, then its libraries, then what comes with it.
    pub fn parts(&self) -> &[Part<'a, 'a>] {
        &self.observed.parts
    }

    /// The images in the order in which they are initialised.
    pub fn initialisation_order(&self) -> Vec<StagedImage> {
        self.observed.files.initialisation_order()
    }

    /// The module that provides the host's V8.
    pub fn module(&self) -> &LiveModule {
        self.observed.host.module()
    }

    /// The host.
    pub fn host(&self) -> &HostProcess<'a> {
        &self.observed.host
    }

    /// What the host's V8 defines.
    pub fn exports(&self) -> &Exports<'a, 'a> {
        &self.observed.exports
    }

    /// The line of the host's V8.
    pub fn line(&self) -> &'static Line {
        self.line
    }

    /// The guards that the plan uses.
    pub fn guards(&self) -> &[Guard] {
        &self.stock.guards
    }

    /// The adapters that the plan uses.
    pub fn adapters(&self) -> &[&'static Adapter] {
        &self.stock.adapters
    }

    /// What add-ons of the guest are planned with.
    pub fn admission(&self) -> Admission {
        Admission(Arc::clone(&self.plan.gate))
    }
}
