//! What Relink knows of V8's binary interface: names, profiles of versions, adapters, and the gate that compares.

pub mod adapters;
pub mod catalogue;
pub mod gate;
pub mod line;
pub mod version;
