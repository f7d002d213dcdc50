//! Writing slots: all of them or none, each page's protection as it was before.

pub mod live;
pub mod memory;
pub mod pages;
pub mod transaction;

pub use memory::Memory;
pub use pages::{by_page, PageWrites, SlotWrite};
pub use transaction::{apply, Applied};
