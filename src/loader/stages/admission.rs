//! What add-ons are admitted by. An add-on has no gate of its own: its guest's has passed for this V8, and Node itself refuses an
//! add-on that was compiled for another `NODE_MODULE_VERSION`.

use super::verified::VerifiedPlan;
use crate::plan::{plan, Request};
use relink_abi::error::Error;
use relink_abi::gate;
use std::sync::Arc;

/// The admission of a guest that is there, which its add-ons are planned with. Only a verified guest has one.
#[derive(Clone, Debug)]
pub struct Admission(pub(super) Arc<gate::Admitted>);

impl Admission {
    /// Plans what comes beside the guest. All that such a plan leads to is loaded already, or is among the members.
    ///
    /// # Errors
    /// As for [`plan`].
    pub fn plan<'d>(&self, request: &Request<'_, 'd>) -> Result<VerifiedPlan<'d>, Error> {
        Ok(VerifiedPlan::of(plan(request)?, Arc::clone(&self.0)))
    }
}
