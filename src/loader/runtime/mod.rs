//! Bringing Node up inside the host and seeing it to its end.

pub mod addons;
pub mod bridge;
pub mod channel;
mod children;
mod codes;
pub mod descriptors;
pub mod event_loop;
pub mod float;
pub mod guards;
pub mod host_calls;
pub mod host_slots;
pub mod instance;
pub mod lifecycle;
pub mod platform;
mod raw;
pub mod readiness;
pub mod remains;
pub mod shared;
pub mod signals;
pub mod stacks;
mod streams;
mod terminals;
pub mod threads;
pub mod unpacked;
pub mod withheld;
