//! The live probe: what a V8 really does, observed in a process of its own, against what a guest's inlined code believes.
//!
//! [`observe`] starts the host's file once more with `observe.cc` in it, which calls V8's out-of-line functions and writes their
//! answers and the raw memory around them down. [`judge`] then does on that memory what inlined code would do, with the numbers of
//! the guest's facts, and compares. The host itself is not touched, and wrong numbers can crash nothing.

mod judge;
mod observation;
mod run;

pub use judge::{judge, Check, Outcome};
pub use observation::Observation;
pub use run::{observe, observe_once, ProbeError};
