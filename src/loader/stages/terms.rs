//! What whoever binds a guest chooses: everything besides host and guest that a plan depends on.

use super::Units;
use crate::plan::Guard;
use relink_abi::adapters::Adapter;
use relink_abi::line::{Bridges, Line};

/// How a guest is to be bound.
#[derive(Clone)]
pub struct Terms<'a> {
    /// The bridges' shared objects. Without them a plan names the functions of the bridge only, and cannot be verified.
    pub bridges: Option<Bridges<'a>>,
    /// Where adapter units are.
    pub units: Units<'a>,
    /// The adapters to use for a line.
    pub adapters: fn(&'static Line) -> Vec<&'static Adapter>,
    /// The guards to use.
    pub guards: Vec<Guard>,
    /// Whether Node is to be in an isolate of the host's.
    pub shared: bool,
}
