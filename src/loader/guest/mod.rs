//! The guest: a shared-library Node, read from its file, then staged in the process with its constructors held back.

pub mod closure;
pub mod copy;
pub mod inventory;
pub mod stage;

pub use inventory::{Inventory, Lifecycle, Own, Slot};
