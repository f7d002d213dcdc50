//! Facts about V8 as data: the only place that names V8's own symbols and versions. Another runtime would be another
//! set of such facts.

mod known;
mod needs;
mod profiles;
mod proven;

pub use crate::facts::{AbiFile, Facts, Record, Source, SCHEMA};
pub use crate::names::*;
pub use known::{known, known_abis, KnownAbi};
pub use needs::{list_text, needs_of, Needs};
pub use profiles::{profile_of, Profile, PROFILES};
pub use proven::{proven, Proven, PROVEN};
