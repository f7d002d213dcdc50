//! The live probe: what a V8 really does, observed in a process of its own, against what a guest's inlined code believes.
//!
//! [`observe`] starts the host's file once more with `observe/` in the place of its main function; it brings V8 up, calls V8's
//! out-of-line functions and writes their answers and the raw memory around them down. [`judge`] then does on that memory what
//! inlined code would do, with the numbers of the guest's facts, and compares. The host itself is not touched, and wrong numbers
//! can crash nothing. [`standing`] says when this is done before a guest is brought in, and keeps what came of it.

mod apart;
mod judge;
mod observation;
mod run;
pub mod standing;

pub use judge::{judge, Check, Outcome, SMALL_INTEGER_BITS};
pub use observation::Observation;
pub use run::{observe, ProbeError};
