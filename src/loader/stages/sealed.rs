//! Writes that may be applied.

use crate::plan::SlotWrite;
use relink_elf::address::RunAddr;
use std::ops::Range;

/// Words to be written that come from a verified plan, or from the host's own slots that are bound anew while a guest lives. Only
/// the stages make them, and `patch::apply` takes nothing else.
#[derive(Debug)]
#[must_use]
pub struct Sealed(Vec<SlotWrite>);

impl Sealed {
    pub(super) fn of(writes: Vec<SlotWrite>) -> Self {
        Self(writes)
    }

    /// The same, but slots in this range are expected to hold what they hold now: a bridge that served another guest holds what
    /// it was bound to then. What `read` cannot read is expected to hold what the file has.
    pub fn as_it_is(mut self, within: &Range<RunAddr>, read: &dyn Fn(RunAddr) -> Option<u64>) -> Self {
        for write in self.0.iter_mut().filter(|write| within.contains(&write.at)) {
            write.expected = read(write.at).unwrap_or(write.expected);
        }
        self
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The writes.
    pub fn into_writes(self) -> Vec<SlotWrite> {
        self.0
    }

    /// For the tests of what applies them.
    #[cfg(test)]
    pub(crate) fn for_tests(writes: Vec<SlotWrite>) -> Self {
        Self(writes)
    }
}
