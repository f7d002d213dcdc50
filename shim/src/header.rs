//! shim/include/relink.h in Rust: made from the header when Relink is built (src/header), under the names that it has there.
//!
//! The header is the source. A function that it declares and that is not defined here, or is with another type, does not compile; a
//! constant that nothing here knows of is a warning.

#![allow(non_camel_case_types, reason = "the names are those of the header")]

include!(concat!(env!("OUT_DIR"), "/relink_h.rs"));
