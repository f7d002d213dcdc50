//! The kit: builds guests and adapter units, and fetches real hosts from package registries into a cache folder.
//!
//! No host loads this crate; the loader only takes the finished files. The kit needs no root and changes nothing outside the cache
//! folder (see [`cache`]). Every download goes through [`run::Program::fetching`], which `RELINK_OFFLINE` forbids.

pub mod adapter;
pub mod apt;
pub mod cache;
pub mod catalogue;
pub mod clang;
pub mod cli;
pub mod component;
pub mod component_build;
pub mod corpus;
pub mod crates;
pub mod debian;
pub mod error;
pub mod extra_hosts;
mod files;
pub mod guest;
pub mod headers;
pub mod hosts;
pub mod java;
pub mod learn;
pub mod matrix;
pub mod neutral;
pub mod npm;
pub mod parity;
pub mod progress;
pub mod pypi;
pub mod reap;
pub mod run;
pub mod sources;
pub mod suites;

pub use error::{KitError, Result};
pub use progress::Progress;
