//! The memory of this process.
//!
//! # Safety
//! A [`LiveMemory`] is confined to address ranges given by whoever makes it, who promises that they stay mapped and
//! that nobody else writes there meanwhile. Every access is checked against them and against alignment first.

use super::memory::Memory;
use crate::process::{page_size, Maps, Protection};
use relink_elf::address::RunAddr;
use std::ffi::c_void;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// The parts of this process's memory that may be written.
#[derive(Debug)]
pub struct LiveMemory {
    ranges: Vec<Range<RunAddr>>,
    maps: Maps,
    page_size: u64,
}

impl LiveMemory {
    /// Memory confined to `ranges`; protections are those that the process has now.
    ///
    /// # Safety
    /// The ranges belong to images that are loaded and stay loaded while this value lives, and of which no code runs
    /// yet, so that nobody else reads or writes their slots.
    pub unsafe fn new(ranges: Vec<Range<RunAddr>>) -> io::Result<Self> {
        Ok(Self { ranges, maps: Maps::own()?, page_size: page_size() })
    }

    /// The word at `at` as an atomic, if it is aligned, inside the ranges and mapped readable.
    fn word(&self, at: RunAddr) -> io::Result<&AtomicU64> {
        let end = RunAddr(at.0.saturating_add(8));
        let inside = self.ranges.iter().any(|r| r.start <= at && end <= r.end);
        if at.0 % 8 != 0 || !inside || !self.maps.covers(at, end, |p| p.read) {
            return Err(io::Error::other("not an aligned, readable word of a staged image"));
        }
        // SAFETY: the word is aligned, mapped readable (just checked), and in a range that the maker of this value
        // promised to stay mapped and ours; an atomic has the layout of its integer.
        Ok(unsafe { &*(at.0 as usize as *const AtomicU64) })
    }
}

impl Memory for LiveMemory {
    fn page_size(&self) -> u64 {
        self.page_size
    }

    fn protection(&self, page: RunAddr) -> io::Result<Protection> {
        let mapping = self.maps.at(page).ok_or_else(|| io::Error::other("not mapped"))?;
        Ok(mapping.protection)
    }

    fn protect(&mut self, page: RunAddr, protection: Protection) -> io::Result<()> {
        let end = RunAddr(page.0.saturating_add(self.page_size));
        if !self.ranges.iter().any(|r| r.start < end && page < r.end) {
            return Err(io::Error::other("not a page of a staged image"));
        }
        // SAFETY: the page belongs to a staged image (just checked) whose code does not run yet, so that no access
        // of anybody's can start to fault.
        let result = unsafe {
            libc::mprotect(page.0 as usize as *mut c_void, self.page_size as usize, protection.bits())
        };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    fn read(&self, at: RunAddr) -> io::Result<u64> {
        self.word(at).map(|word| word.load(Ordering::Acquire))
    }

    fn write(&mut self, at: RunAddr, value: u64) -> io::Result<()> {
        self.word(at).map(|word| word.store(value, Ordering::Release))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patch::{apply, by_page, SlotWrite};

    /// A page-aligned, read-only piece of memory like a RELRO page.
    fn relro_page() -> region::Allocation {
        let mut page = region::alloc(page_size() as usize, region::Protection::READ_WRITE).expect("page");
        let first = page.as_mut_ptr::<u64>();
        // SAFETY: the allocation is one writable page, larger than the two words written.
        unsafe { first.write(5) };
        // SAFETY: as above.
        unsafe { region::protect(page.as_ptr::<u8>(), page.len(), region::Protection::READ) }
            .expect("read-only");
        page
    }

    #[test]
    fn a_read_only_page_is_written_and_is_read_only_again() {
        let page = relro_page();
        let start = RunAddr(page.as_ptr::<u8>() as usize as u64);
        let range = start..RunAddr(start.0 + page_size());
        // SAFETY: the page is this test's own and lives to its end.
        let mut memory = unsafe { LiveMemory::new(vec![range]) }.expect("maps");
        let writes = vec![SlotWrite { at: start, expected: 5, value: 7 }];
        let applied = apply(&mut memory, &by_page(writes, page_size())).expect("applied");
        assert_eq!(memory.read(start).expect("readable"), 7);
        let protection = |at| Maps::own().expect("maps").at(at).expect("mapped").protection.to_string();
        assert_eq!(protection(start), "r--");
        applied.undo(&mut memory).expect("undone");
        assert_eq!(memory.read(start).expect("readable"), 5);
        assert_eq!(protection(start), "r--");
    }

    #[test]
    fn nothing_outside_of_the_ranges_is_touched() {
        let word = AtomicU64::new(1);
        let at = RunAddr(word.as_ptr() as usize as u64);
        // SAFETY: no range is given, so nothing can be accessed.
        let mut memory = unsafe { LiveMemory::new(Vec::new()) }.expect("maps");
        assert!(memory.read(at).is_err());
        assert!(memory.write(at, 2).is_err());
        assert!(memory
            .protect(at.page_start(page_size()), Protection { read: true, write: true, execute: false })
            .is_err());
        assert_eq!(word.into_inner(), 1);
    }
}
