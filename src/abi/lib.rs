//! What Relink knows of V8's binary interface: names, profiles of versions, adapters, and the gate that compares.

pub mod adapters;
pub mod bridged;
pub mod catalogue;
pub mod claim;
pub mod compare;
pub mod error;
pub mod fingerprint;
pub mod gate;
pub mod kept;
pub mod layout;
pub mod learned;
pub mod line;
pub mod note;
pub mod probe;
pub mod remedy;
pub mod symbol;
pub mod units;
mod verdict;
pub mod version;

pub use error::Error;
