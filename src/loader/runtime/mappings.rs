//! Memory that add-ons map (`mmap(2)`) and that nobody would unmap: an allocator that is linked into an add-on keeps its arenas for the
//! next allocation, which never comes once the add-on is unloaded.
//!
//! # Safety
//! The guards have the signatures of the functions they replace and pass the calls on. `mremap`'s fifth argument is passed in the
//! same register by the psABIs of x86-64 and AArch64 Linux whether it is variadic or not. What is unmapped at the end was mapped by code
//! that is gone.

use super::guards;
use crate::plan::Guard;
use relink_elf::address::RunAddr;
use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::sync::{Mutex, PoisonError};

/// Ranges of run-time addresses, by their start; none touches another's inside.
#[derive(Debug, Default)]
struct Ranges(BTreeMap<usize, usize>);

impl Ranges {
    const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// This range is not one of them any more.
    fn remove(&mut self, start: usize, end: usize) {
        let touched: Vec<_> =
            self.0.range(..end).filter(|(_, e)| **e > start).map(|(s, e)| (*s, *e)).collect();
        for (from, to) in touched {
            self.0.remove(&from);
            if from < start {
                self.0.insert(from, start);
            }
            if to > end {
                self.0.insert(end, to);
            }
        }
    }

    fn add(&mut self, start: usize, end: usize) {
        self.remove(start, end);
        self.0.insert(start, end);
    }
}

static MAPPED: Mutex<Ranges> = Mutex::new(Ranges::new());

fn with<T>(work: impl FnOnce(&mut Ranges) -> T) -> T {
    work(&mut MAPPED.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The guards, for the plan.
pub(super) fn guards() -> Vec<Guard> {
    let keeps = "memory that an add-on has mapped goes with it";
    let guard =
        |symbol, function: *const ()| Guard { symbol, address: RunAddr(function as usize as u64), keeps };
    vec![
        guard("mmap", mmap as *const ()),
        guard("mmap64", mmap as *const ()),
        guard("munmap", munmap as *const ()),
        guard("mremap", mremap as *const ()),
    ]
}

/// In whole pages, as the kernel maps.
fn end_of(start: usize, length: usize) -> usize {
    let page = crate::process::page_size() as usize;
    start.saturating_add(length).saturating_add(page - 1) / page * page
}

extern "C" fn mmap(
    address: *mut c_void,
    length: usize,
    protection: c_int,
    flags: c_int,
    file: c_int,
    offset: libc::off64_t,
) -> *mut c_void {
    // SAFETY: passed on as the add-on called it.
    let mapped = unsafe { libc::mmap64(address, length, protection, flags, file, offset) };
    if mapped != libc::MAP_FAILED && !guards::in_child() {
        with(|ranges| ranges.add(mapped as usize, end_of(mapped as usize, length)));
    }
    mapped
}

extern "C" fn munmap(address: *mut c_void, length: usize) -> c_int {
    // First, for another thread may be given these addresses at once.
    let start = address as usize;
    if !guards::in_child() {
        with(|ranges| ranges.remove(start, end_of(start, length)));
    }
    // SAFETY: passed on as the add-on called it.
    unsafe { libc::munmap(address, length) }
}

extern "C" fn mremap(
    address: *mut c_void,
    length: usize,
    new_length: usize,
    flags: c_int,
    new_address: *mut c_void,
) -> *mut c_void {
    // SAFETY: passed on as the add-on called it.
    let moved = unsafe { libc::mremap(address, length, new_length, flags, new_address) };
    if moved != libc::MAP_FAILED && !guards::in_child() {
        with(|ranges| {
            ranges.remove(address as usize, end_of(address as usize, length));
            ranges.add(moved as usize, end_of(moved as usize, new_length));
        });
    }
    moved
}

/// Unmaps what add-ons have left. Returns how many bytes.
///
/// # Safety
/// The add-ons have been finalised, and no thread is in their code, nor comes to it.
pub unsafe fn unmap_left() -> usize {
    let left = with(std::mem::take);
    for (start, end) in &left.0 {
        // SAFETY: mapped by an add-on, which is gone (promised by the caller).
        unsafe { libc::munmap(*start as *mut c_void, end - start) };
    }
    left.0.iter().map(|(start, end)| end - start).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_where_something_is_taken_out() {
        let mut ranges = Ranges::default();
        ranges.add(0x1000, 0x9000);
        ranges.remove(0x3000, 0x4000);
        ranges.add(0x8000, 0xa000);
        ranges.remove(0x0, 0x2000);
        assert_eq!(
            ranges.0.into_iter().collect::<Vec<_>>(),
            [(0x2000, 0x3000), (0x4000, 0x8000), (0x8000, 0xa000)]
        );
    }

    #[test]
    fn what_is_left_is_unmapped_and_nothing_else() {
        guards::all();
        let (page, flags) = (crate::process::page_size() as usize, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let map = |pages| mmap(std::ptr::null_mut(), pages * page, libc::PROT_READ, flags, -1, 0);
        let is_mapped = |at: *mut c_void| {
            let mut here = 0u8;
            // SAFETY: asks for one byte about one page, which need not be mapped.
            unsafe { libc::mincore(at, page, &raw mut here) == 0 }
        };
        let (left, gone) = (map(4), map(1));
        // Its second page stays no add-on's.
        let second = (left as usize + page) as *mut c_void;
        with(|ranges| ranges.remove(second as usize, second as usize + page));
        assert_eq!(munmap(gone, page), 0);
        // SAFETY: nobody uses what was mapped here.
        assert_eq!(unsafe { unmap_left() }, 3 * page);
        assert!(!is_mapped(left) && is_mapped(second));
        assert_eq!(munmap(second, page), 0);
    }
}
