//! Bringing Node up inside the host and seeing it to its end.

pub mod addons;
pub mod bridge;
pub mod channel;
mod children;
mod codes;
pub mod descriptors;
pub mod event_loop;
pub mod guards;
pub mod host_slots;
pub mod instance;
pub mod keys;
pub mod lifecycle;
pub mod mappings;
pub mod platform;
pub mod protected;
mod raw;
pub mod readiness;
pub mod remains;
pub mod shared;
pub mod signals;
mod streams;
pub mod threads;
pub mod turn;
pub mod unpacked;
pub mod withheld;
