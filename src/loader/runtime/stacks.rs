//! How far the stack reaches on which the host has entered the guest.
//!
//! V8 has one limit for an isolate, below which scripts must not go. A host that ticks the guest may stand on its thread's own stack or on
//! one that it has made (ucontext, boost.context, coroutines), and change between them. So each entry asks anew: a thread's own stack is asked
//! for once; any other one is the mapping that the stack pointer is in, which the kernel is asked for each time, for what was there may
//! have been unmapped meanwhile.
//!
//! # Safety
//! Asks pthread for the calling thread's own attributes, and the kernel for one mapping, by structures that live for the call.

use crate::process::Maps;
use relink_elf::address::RunAddr;
use std::cell::Cell;
use std::fs::File;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::AsRawFd;

/// Less than this below the stack pointer is refused, in bytes: what V8's checks do not see, and some calls of scripts.
const LEAST: usize = 176 * 1024;

/// A mapping larger than this is no stack, but a heap that a stack may have been allocated in, in bytes.
const LARGEST: usize = 16 * 1024 * 1024;
/// What is used of a stack in such a mapping, in bytes: its end cannot be seen.
const IN_A_HEAP: usize = 224 * 1024;

thread_local! {
    /// The calling thread's own stack.
    static OWN: Cell<Option<(usize, usize)>> = const { Cell::new(None) };
}

/// Whether there is as much stack here as the guest needs at least; else why not, with what cures it. `given_kib`: what the host says
/// that there is, in KiB; 0: nothing.
///
/// # Errors
/// What is missing, as a sentence.
pub fn suffices(given_kib: u32) -> Result<(), String> {
    let here = stack_pointer();
    let (left, how) = match given_kib {
        0 => (here.saturating_sub(at(here).0), "are left"),
        given => (given as usize * 1024, "may be used (stack_kib)"),
    };
    if left >= LEAST {
        return Ok(());
    }
    Err(format!(
        "the stack is too small: {} KiB {how} below the caller, and Node needs {}; call from a larger stack (256 KiB and more), or give \
         Node a thread of its own",
        left / 1024,
        LEAST / 1024
    ))
}

/// The lowest address that may be used of the stack that `here` lies in, 0 if nothing is known of it; and whether it is the calling
/// thread's own.
pub(super) fn at(here: usize) -> (usize, bool) {
    match own().filter(|own| own.contains(&here)) {
        Some(own) => (own.start, true),
        None => (lowest_of_other(here), false),
    }
}

fn lowest_of_other(here: usize) -> usize {
    let Some(mapping) = mapping(here) else { return 0 };
    if mapping.len() > LARGEST {
        return mapping.start.max(here.saturating_sub(IN_A_HEAP));
    }
    mapping.start
}

/// About where the caller's frame is.
#[inline(never)]
fn stack_pointer() -> usize {
    let here = 0u8;
    std::hint::black_box(&raw const here) as usize
}

/// The stack that the calling thread was started with.
fn own() -> Option<Range<usize>> {
    let known = OWN.try_with(Cell::get).ok().flatten();
    let (start, end) = known.or_else(|| {
        let found = ask_pthread()?;
        // A thread that is past its thread-local storage asks again.
        let _ = OWN.try_with(|own| own.set(Some(found)));
        Some(found)
    })?;
    Some(start..end)
}

fn ask_pthread() -> Option<(usize, usize)> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: the calling thread; the attributes are initialised where the answer is 0.
    if unsafe { libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) } != 0 {
        return None;
    }
    let (mut start, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: initialised just now, and destroyed once.
    let found = unsafe {
        let found = libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut start, &raw mut size);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        found
    };
    (found == 0).then(|| (start as usize, start as usize + size))
}

/// `struct procmap_query` of `linux/fs.h`.
#[repr(C)]
#[derive(Default)]
struct Query {
    size: u64,
    flags: u64,
    address: u64,
    start: u64,
    end: u64,
    vma_flags: u64,
    page_size: u64,
    offset: u64,
    inode: u64,
    device: [u32; 2],
    name_size: u32,
    build_id_size: u32,
    name: u64,
    build_id: u64,
}

/// `PROCMAP_QUERY`: `_IOWR('f', 17, struct procmap_query)`.
const PROCMAP_QUERY: libc::c_ulong = 0xc068_6611;
const _: () = assert!(size_of::<Query>() == 0x68);

/// The mapping that an address lies in. Since Linux 6.11 the kernel tells it alone, in a few microseconds; before, all of them are read.
fn mapping(address: usize) -> Option<Range<usize>> {
    let mut query = Query { size: size_of::<Query>() as u64, address: address as u64, ..Query::default() };
    let maps = File::open("/proc/self/maps").ok()?;
    // SAFETY: the structure that this request reads and writes.
    if unsafe { libc::ioctl(maps.as_raw_fd(), PROCMAP_QUERY, &raw mut query) } == 0 {
        return Some(query.start as usize..query.end as usize);
    }
    mapping_in(&Maps::own().ok()?, address)
}

fn mapping_in(maps: &Maps, address: usize) -> Option<Range<usize>> {
    let found = maps.at(RunAddr(address as u64))?;
    Some(found.start.0 as usize..found.end.0 as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_and_the_list_of_mappings_agree() {
        let heap = vec![0u8; 100_000];
        for address in [stack_pointer(), heap.as_ptr() as usize, mapping as fn(usize) -> _ as usize] {
            let found = mapping(address).expect("mapped");
            assert!(found.contains(&address));
            let listed = mapping_in(&Maps::own().expect("mounted"), address).expect("listed");
            assert!(listed.contains(&address) && listed.start == found.start, "{listed:x?} {found:x?}");
        }
        assert_eq!(mapping(16), None);
    }

    #[test]
    fn a_threads_own_stack_ends_where_pthread_says() {
        let thread = std::thread::Builder::new().stack_size(300 * 1024);
        let left = thread.spawn(|| (stack_pointer() - at(stack_pointer()).0, suffices(0)));
        let (left, suffices) = left.expect("started").join().expect("joined");
        assert!((200 * 1024..400 * 1024).contains(&left), "{left}");
        assert_eq!(suffices, Ok(()));
    }

    #[test]
    fn a_small_stack_is_refused() {
        let thread = std::thread::Builder::new().stack_size(64 * 1024);
        let told = thread.spawn(|| suffices(0)).expect("started").join().expect("joined");
        assert!(told.expect_err("too small").starts_with("the stack is too small: "));
        assert!(suffices(100).is_err() && suffices(200).is_ok(), "what the host says counts");
    }

    #[test]
    fn a_heap_is_no_stack() {
        let heap = memmap2::MmapMut::map_anon(LARGEST * 2).expect("memory");
        let here = heap.as_ptr() as usize + LARGEST;
        assert_eq!(at(here), (here - IN_A_HEAP, false));
        let small = memmap2::MmapMut::map_anon(LARGEST / 2).expect("memory");
        let here = small.as_ptr() as usize + LARGEST / 4;
        let lowest = at(here).0;
        assert!(lowest <= small.as_ptr() as usize || lowest == here - IN_A_HEAP, "it may have been merged");
    }
}
