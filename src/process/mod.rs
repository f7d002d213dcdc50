//! Observing the running process: its mappings and its modules. Nothing here changes anything.

pub mod maps;
pub mod modules;

pub use maps::{Mapping, Maps, Protection};
pub use modules::{LiveModule, Modules};
