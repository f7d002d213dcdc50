//! The host: which module provides V8, and what that V8 is.

pub mod build_id;
pub mod claim;
pub mod detect;
pub mod exports;
pub mod fingerprint;
pub mod inspect;

pub use detect::{providers, Provider};
pub use exports::Exports;
pub use fingerprint::{CxxLibrary, Fingerprint};
