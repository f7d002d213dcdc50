//! Relink runs Node.js on the V8 that a process already has.
//!
//! A process (the *host*) contains a V8; a shared-library Node (the *guest*) is bound to it, slot by slot, and started.
//! The stages are the modules, in this order: [`process`] observes, [`host`] detects, [`guest`] reads, [`plan`] plans,
//! [`abi`] verifies, [`guest::stage`] loads, [`pipeline`] places, [`patch`] applies, [`runtime`] starts. The file
//! [`pipeline`] is the only place where they meet. docs/ARCHITECTURE.md says more.

pub mod abi;
pub mod address;
pub mod config;
pub mod elf;
pub mod error;
pub mod guest;
pub mod host;
pub mod kit;
pub mod patch;
pub mod pipeline;
pub mod plan;
pub mod process;
pub mod report;
pub mod runtime;
pub mod script;
pub mod standalone;
pub mod symbol;

pub use error::Error;
