//! The stages that change nothing: from a host and a guest's file to a plan that may be applied.
//!
//! ```text
//! Observed -> Admitted -> Planned -> Verified        (here; Loaded -> Applied -> Running follow in `pipeline`)
//! ```
//! Each value is made only from the one before it, by its method, and takes it over: so a plan has its own admission with it, and
//! nothing but a verified plan becomes [`Sealed`] writes, which is all that `patch::apply` takes. What the values borrow from lies in
//! [`Inputs`]. The host is a process or a file behind one trait, [`Host`]: `relink plan`, `explain` and `check` take the same steps
//! on files as `relink run` takes in a process. Native add-ons are planned with the [`Admission`] of their guest.

mod admission;
mod admitted;
mod companions;
mod host;
mod inputs;
mod observed;
mod parts;
mod planned;
mod rebinding;
mod sealed;
mod terms;
mod verified;

pub use admission::Admission;
pub use admitted::Admitted;
pub use companions::{Companions, Units};
pub use host::{Host, HostFile, HostProcess};
pub use inputs::Inputs;
pub use observed::Observed;
pub use parts::{Files, ImageFile, Part};
pub use planned::Planned;
pub use rebinding::{RebindableSlots, Rebinding};
pub use sealed::Sealed;
pub use terms::Terms;
pub use verified::{Verified, VerifiedPlan};
