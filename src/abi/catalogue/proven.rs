//! Builds of V8 that the live probe has observed: known by the build id, they need not be observed again.

use super::known::KnownAbi;
pub use crate::tables::{Proven, PROVEN};

/// The proven build with this id, if its V8 has the facts of `abi`.
pub fn proven(build_id: &str, abi: &KnownAbi) -> Option<&'static Proven> {
    PROVEN.iter().find(|p| p.build_id == build_id && (abi.first..=abi.last).contains(&p.v8))
}
