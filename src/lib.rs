//! Relink runs Node.js on the V8 that a process already has.
pub mod kit;
