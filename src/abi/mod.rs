//! What Relink knows of V8's binary interface: names, profiles of versions, adapters, and the gate that compares.

pub mod adapters;
pub mod bridged;
pub mod catalogue;
pub mod compare;
pub mod gate;
pub mod layout;
pub mod learned;
pub mod line;
pub mod probe;
pub mod remedy;
mod verdict;
pub mod version;
