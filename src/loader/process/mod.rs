//! Observing the running process: its mappings, its modules and where ld.so looks. Nothing here changes anything.

pub mod ld_cache;
pub mod maps;
pub mod modules;
pub mod room;
pub mod search;

pub use maps::{page_size, Mapping, Maps, Protection};
pub(crate) use modules::load_bias;
pub use modules::{executable, LiveModule, Modules};
pub use search::library_folders;
