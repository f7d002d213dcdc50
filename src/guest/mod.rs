//! The guest: a shared-library Node, read from its file, then staged in the process with its constructors held back.

pub mod closure;
pub mod copy;
mod file;
pub mod inventory;
pub(crate) mod memory_file;
pub mod note;
pub mod stage;

pub use file::{map_file, FileOnDisk};
pub use inventory::{Inventory, Lifecycle, Own, Slot};
pub use note::{GuestNote, SYMBOL_KEYS};
