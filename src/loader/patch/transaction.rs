//! The transaction that writes slots: all of them, or none.
//!
//! It first checks that every slot holds the expected word. Then it makes each page writable, writes its slots, reads them back and
//! restores the page's protection. If a step fails, it takes every earlier step back, last one first.

use super::memory::Memory;
use super::pages::{by_page, PageWrites};
use crate::process::Protection;
use crate::stages::Sealed;
use relink_abi::error::Error;
use relink_elf::address::RunAddr;
use std::io;

/// Slots that have been written. Keeps what is needed to take them back.
#[derive(Debug, Default)]
#[must_use]
pub struct Written {
    done: Vec<Step>,
    slots: usize,
    pages: usize,
}

/// One change, as needed to undo it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Protected { page: RunAddr, before: Protection },
    Restored { page: RunAddr, opened: Protection },
    Wrote { at: RunAddr, before: u64 },
}

impl Written {
    /// How many slots were written.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// How many pages they lie in.
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// Takes every change back, last one first. Goes on after a failure, so that as much as possible is put back, and
    /// then reports the first one.
    pub fn undo(self, memory: &mut dyn Memory) -> Result<(), (RunAddr, io::Error)> {
        let mut failed = None;
        for step in self.done.into_iter().rev() {
            let (at, result) = match step {
                Step::Protected { page, before } => (page, memory.protect(page, before)),
                Step::Restored { page, opened } => (page, memory.protect(page, opened)),
                Step::Wrote { at, before } => (at, memory.write(at, before)),
            };
            if let Err(error) = result {
                failed.get_or_insert((at, error));
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

/// Writes all words, or none. Nothing is written unless every slot holds what is expected of it.
///
/// # Errors
/// A slot does not, or memory cannot be written; then everything was taken back, or the error says that it was not.
pub fn apply(memory: &mut dyn Memory, writes: Sealed) -> Result<Written, Error> {
    let pages = by_page(writes.into_writes(), memory.page_size());
    check_before(memory, &pages)?;
    let mut applied = Written::default();
    for page in &pages {
        if let Err((at, why)) = apply_page(memory, page, &mut applied) {
            return Err(roll_back(memory, applied, at, why));
        }
    }
    Ok(applied)
}

fn check_before(memory: &dyn Memory, pages: &[PageWrites]) -> Result<(), Error> {
    for write in pages.iter().flat_map(|p| &p.writes) {
        let found =
            memory.read(write.at).map_err(|e| Error::RolledBack { at: write.at, why: e.to_string() })?;
        if found != write.expected {
            return Err(Error::UnexpectedSlot { slot: write.at, found, expected: write.expected });
        }
    }
    Ok(())
}

fn apply_page(
    memory: &mut dyn Memory,
    page: &PageWrites,
    applied: &mut Written,
) -> Result<(), (RunAddr, String)> {
    let at_page = |error: io::Error| (page.page, error.to_string());
    let before = memory.protection(page.page).map_err(at_page)?;
    let open = before.writable();
    if !before.write {
        memory.protect(page.page, open).map_err(at_page)?;
        applied.done.push(Step::Protected { page: page.page, before });
    }
    for write in &page.writes {
        let at_slot = |error: io::Error| (write.at, error.to_string());
        memory.write(write.at, write.value).map_err(at_slot)?;
        applied.done.push(Step::Wrote { at: write.at, before: write.expected });
        let found = memory.read(write.at).map_err(at_slot)?;
        if found != write.value {
            return Err((write.at, format!("wrote {:#x}, read back {found:#x}", write.value)));
        }
    }
    if !before.write {
        memory.protect(page.page, before).map_err(at_page)?;
        applied.done.push(Step::Restored { page: page.page, opened: open });
    }
    applied.slots += page.writes.len();
    applied.pages += 1;
    Ok(())
}

fn roll_back(memory: &mut dyn Memory, applied: Written, at: RunAddr, why: String) -> Error {
    match applied.undo(memory) {
        Ok(()) => Error::RolledBack { at, why },
        Err((where_, error)) => Error::RollbackFailed { at, why, rollback: format!("{where_}: {error}") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::SlotWrite;
    use std::cell::Cell;
    use std::collections::BTreeMap;

    const PAGE: u64 = 0x1000;

    /// A memory that refuses the k-th operation that changes or reads it, and remembers whether a page was ever
    /// written without permission or made writable and executable.
    #[derive(Clone)]
    struct Fake {
        words: BTreeMap<u64, u64>,
        protections: BTreeMap<u64, Protection>,
        operations: Cell<usize>,
        fail_at: usize,
        corrupt_writes: bool,
    }

    impl Fake {
        fn new() -> Self {
            let read_only = Protection { read: true, write: false, execute: false };
            let writable = Protection { write: true, ..read_only };
            Self {
                words: [0x1000, 0x1008, 0x1ff8, 0x2000, 0x3010].map(|at| (at, at + 1)).into(),
                protections: [(0x1000, read_only), (0x2000, writable), (0x3000, read_only)].into(),
                operations: Cell::new(0),
                fail_at: usize::MAX,
                corrupt_writes: false,
            }
        }

        fn state(&self) -> (BTreeMap<u64, u64>, Vec<String>) {
            (self.words.clone(), self.protections.values().map(ToString::to_string).collect())
        }

        fn count(&self) -> io::Result<()> {
            let now = self.operations.get();
            self.operations.set(now + 1);
            if now == self.fail_at {
                return Err(io::Error::other(format!("operation {now} refused")));
            }
            Ok(())
        }

        fn writes() -> Sealed {
            let write = |at: u64| SlotWrite { at: RunAddr(at), expected: at + 1, value: at * 7 };
            Sealed::for_tests([0x1000, 0x1008, 0x1ff8, 0x2000, 0x3010].map(write).to_vec())
        }
    }

    impl Memory for Fake {
        fn page_size(&self) -> u64 {
            PAGE
        }
        fn protection(&self, page: RunAddr) -> io::Result<Protection> {
            self.count()?;
            Ok(self.protections[&page.0])
        }
        fn protect(&mut self, page: RunAddr, protection: Protection) -> io::Result<()> {
            self.count()?;
            assert!(!(protection.write && protection.execute));
            self.protections.insert(page.0, protection);
            Ok(())
        }
        fn read(&self, at: RunAddr) -> io::Result<u64> {
            self.count()?;
            Ok(self.words[&at.0])
        }
        fn write(&mut self, at: RunAddr, value: u64) -> io::Result<()> {
            self.count()?;
            assert!(self.protections[&at.page_start(PAGE).0].write, "wrote to a read-only page");
            self.words.insert(at.0, if self.corrupt_writes { value ^ 1 } else { value });
            Ok(())
        }
    }

    #[test]
    fn everything_is_written_and_protections_are_put_back() {
        let mut memory = Fake::new();
        let before = memory.state();
        let applied = apply(&mut memory, Fake::writes()).expect("applied");
        assert_eq!((applied.slots(), applied.pages()), (5, 3));
        assert!(memory.words.iter().all(|(at, value)| *value == at * 7));
        assert_eq!(memory.state().1, before.1);
        applied.undo(&mut memory).expect("undone");
        assert_eq!(memory.state(), before);
    }

    #[test]
    fn a_failure_at_every_kth_operation_leaves_no_trace() {
        let mut whole = Fake::new();
        let _ = apply(&mut whole, Fake::writes()).expect("applied");
        let operations = whole.operations.get();
        assert!(operations > 20, "{operations}");
        for fail_at in 0..operations {
            let mut memory = Fake { fail_at, ..Fake::new() };
            let before = memory.state();
            let error = apply(&mut memory, Fake::writes()).expect_err("must fail");
            assert_eq!(error.code(), "E0503", "{error}");
            assert!(error.to_string().contains(&format!("operation {fail_at} refused")), "{error}");
            assert_eq!(memory.state(), before, "operation {fail_at}");
        }
    }

    #[test]
    fn an_unexpected_slot_stops_before_the_first_write() {
        let mut memory = Fake::new();
        memory.words.insert(0x3010, 99);
        let before = memory.state();
        let error = apply(&mut memory, Fake::writes()).expect_err("must fail");
        assert!(
            matches!(error, Error::UnexpectedSlot { slot: RunAddr(0x3010), found: 99, expected: 0x3011 }),
            "{error}"
        );
        assert_eq!(memory.state(), before);
    }

    #[test]
    fn a_word_that_does_not_read_back_is_noticed() {
        let mut memory = Fake { corrupt_writes: true, ..Fake::new() };
        let error = apply(&mut memory, Fake::writes()).expect_err("must fail");
        assert!(error.to_string().contains("read back"), "{error}");
    }

    #[test]
    fn a_failed_rollback_is_told_apart() {
        struct Stuck(Fake);
        impl Memory for Stuck {
            fn page_size(&self) -> u64 {
                PAGE
            }
            fn protection(&self, page: RunAddr) -> io::Result<Protection> {
                self.0.protection(page)
            }
            fn protect(&mut self, page: RunAddr, protection: Protection) -> io::Result<()> {
                if protection.write {
                    self.0.protect(page, protection)
                } else {
                    Err(io::Error::other("stuck"))
                }
            }
            fn read(&self, at: RunAddr) -> io::Result<u64> {
                self.0.read(at)
            }
            fn write(&mut self, at: RunAddr, value: u64) -> io::Result<()> {
                self.0.write(at, value)
            }
        }
        let mut memory = Stuck(Fake::new());
        let words = memory.0.words.clone();
        let error = apply(&mut memory, Fake::writes()).expect_err("must fail");
        assert_eq!(error.code(), "E0504", "{error}");
        assert_eq!(memory.0.words, words, "the words themselves are put back all the same");
    }
}
