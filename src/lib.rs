//! All crates of Relink under one name, for the command, the tests and the benches.
//!
//! The order is [`elf`], [`abi`], the loader's modules from [`process`] to [`standalone`], [`kit`]. Each uses only those before
//! it. docs/ARCHITECTURE.md shows how they bring a guest into a host.

pub use relink_abi::{self as abi, codes, error, symbol, Error};
pub use relink_elf::{self as elf, address};
pub use relink_kit as kit;
pub use relink_loader::{
    config, guest, host, log, outcome, patch, pipeline, plan, process, report, runtime, script, stages,
    standalone,
};
