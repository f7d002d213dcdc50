//! The guest: a shared-library Node, read from its file, then staged in the process with its constructors held back.

pub mod closure;
mod file;
pub mod inventory;
pub mod note;
pub mod stage;

pub use file::map_file;
pub use inventory::{Inventory, Lifecycle, Slot};
pub use note::GuestNote;
