//! The guest: a shared-library Node, read from its file, then staged in the process with its constructors held back.

pub mod closure;
pub mod inventory;
pub mod note;
pub mod stage;

pub use inventory::{Inventory, Lifecycle, Slot};
pub use note::GuestNote;
