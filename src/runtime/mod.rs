//! Bringing Node up inside the host and seeing it to its end.

pub mod addons;
pub mod bridge;
pub mod channel;
mod children;
mod codes;
pub mod descriptors;
pub mod event_loop;
mod family;
pub mod guards;
pub mod host_slots;
pub mod instance;
mod keeper;
pub mod lifecycle;
pub mod platform;
mod raw;
pub mod readiness;
pub mod remains;
pub mod sanitizers;
pub mod shared;
mod shell;
pub mod signals;
mod streams;
pub mod threads;
pub mod unpacked;
pub mod variables;
pub mod withheld;
pub mod writes;
