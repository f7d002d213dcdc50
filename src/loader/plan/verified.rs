//! A plan that may be applied: one for a guest that the gate has admitted.

use super::Plan;
use relink_abi::gate::Admitted;

/// A plan for an admitted guest. Nothing else can be applied.
#[derive(Debug)]
#[must_use]
pub struct VerifiedPlan<'d> {
    plan: Plan<'d>,
    admitted: Admitted,
}

impl<'d> VerifiedPlan<'d> {
    /// The plan.
    pub fn plan(&self) -> &Plan<'d> {
        &self.plan
    }

    /// What a neutral guest's layout table must hold; empty for any other guest.
    pub fn layout(&self) -> &[i32] {
        self.admitted.layout()
    }

    /// What the gate has found.
    pub fn admitted(&self) -> &Admitted {
        &self.admitted
    }
}

/// Lets the plan of an admitted guest pass.
pub fn verify(plan: Plan<'_>, admitted: Admitted) -> VerifiedPlan<'_> {
    VerifiedPlan { plan, admitted }
}
