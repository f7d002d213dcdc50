//! All rooms of Relink under one name, for the command, the tests and the benches.
//!
//! The order of the rooms is [`elf`], [`abi`], the loader's modules from [`process`] to [`standalone`], [`kit`]: each uses
//! those before it only. docs/ARCHITECTURE.md shows how a guest comes from the one to the other.

pub use relink_abi::{self as abi, codes, error, symbol, Error};
pub use relink_elf::{self as elf, address};
pub use relink_kit as kit;
pub use relink_loader::{
    config, guest, host, log, outcome, patch, pipeline, plan, process, report, runtime, script, stages,
    standalone,
};
