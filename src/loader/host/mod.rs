//! The host: which module provides V8, and what that V8 is.

pub mod component;
pub mod detect;
pub mod exports;
pub mod inspect;

pub use detect::{providers, Provider};
pub use exports::Exports;
