//! What Relink knows of V8's binary interface, and the gate that decides whether a guest fits a host.
//!
//! V8 promises no ABI. Its headers compile numbers into a guest: offsets, sizes, virtual slots, enumerators. [`catalogue`] has these
//! numbers for each V8. [`gate`] compares those of guest and host, and [`adapters`] says which differences our code can bridge.
//! [`probe`] observes the host's V8 itself. [`symbol`] tells whose a symbol is, and [`error`] has the errors and their codes.
//! docs/ABI.md describes all of it. Nothing here changes a process.

pub mod adapters;
pub mod bridged;
pub mod catalogue;
pub mod claim;
pub mod codes;
pub mod compare;
pub mod error;
mod facts;
pub mod fingerprint;
pub mod gate;
pub mod kept;
pub mod layout;
pub mod learned;
pub mod line;
mod names;
pub mod note;
pub mod probe;
pub mod remedy;
pub mod symbol;
mod tables;
pub mod units;
mod verdict;
pub mod version;

pub use error::Error;
