//! Is the host's V8 initialised? Observed in its data, for calls like `V8::Initialize` need no PLT.
//!
//! # Safety
//! The cells that are read are variables of the provider's, found through its symbols; the provider stays loaded. What they point to is read
//! where it is mapped.

use crate::process::Maps;
use relink_elf::address::RunAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A variable of the host's V8 that is 0 until it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    /// A pointer, of eight bytes. All of them count: allocators without a header before each block (ThreadSanitizer's, for one) give out
    /// blocks at multiples of 4 GiB, whose lower half is 0.
    Pointer(RunAddr),
    /// A counter of four bytes.
    Counter(RunAddr),
}

/// Variables of the host's V8 that are 0 until it is ready.
#[derive(Clone, Debug)]
pub struct Cells(Vec<Variable>);

impl Cells {
    /// Watches these words.
    ///
    /// # Safety
    /// Each is an aligned, readable variable of its size, in a module that stays loaded.
    pub unsafe fn new(cells: Vec<Variable>) -> Self {
        Self(cells)
    }

    /// Whether none of them is 0.
    pub fn ready(&self) -> bool {
        self.0.iter().all(|variable| match variable {
            Variable::Pointer(at) => {
                // SAFETY: an aligned, readable word of a loaded module (promised to `new`); the host stores to it in one piece.
                let word = unsafe { &*(at.0 as usize as *const AtomicU64) };
                word.load(Ordering::Acquire) != 0
            }
            Variable::Counter(at) => {
                // SAFETY: likewise, of four bytes.
                let word = unsafe { &*(at.0 as usize as *const AtomicU32) };
                word.load(Ordering::Acquire) != 0
            }
        })
    }

    /// Waits until they are ready, at most `limit`, and only as long as `wanted` says so. Looks often at first, then every few
    /// milliseconds: a thread that sleeps costs the host nothing.
    pub fn wait(&self, limit: Duration, wanted: &dyn Fn() -> bool) -> bool {
        const LONGEST: Duration = Duration::from_millis(5);
        let start = Instant::now();
        let mut pause = Duration::from_micros(100);
        while !self.ready() {
            if start.elapsed() >= limit || !wanted() {
                return false;
            }
            sleep(pause);
            pause = (pause * 2).min(LONGEST);
        }
        true
    }
}

/// Whether the heap that V8's isolates share is in this process. V8 keeps its heaps from children (`MADV_DONTFORK`): in one that was forked
/// after V8's initialisation, all that is left of it are pointers.
///
/// # Safety
/// The cell is V8's `SoleReadOnlyHeap::shared_ro_heap_`, which was seen set: an object on the process's heap, with references to the first
/// objects of V8's.
pub unsafe fn shared_heap_is_here(cell: RunAddr, maps: &Maps) -> bool {
    /// What is looked at of the object, in bytes; it is larger.
    const LOOK: u64 = 512;
    const LOWEST: u64 = 1 << 16;
    const HIGHEST: u64 = 1 << 47;
    let readable = |at: u64, length: u64| maps.covers(RunAddr(at), RunAddr(at + length), |p| p.read);
    // SAFETY: a variable of a loaded module, of the size of a pointer (promised by the caller).
    let object = unsafe { (cell.0 as usize as *const u64).read_volatile() };
    if !readable(object, LOOK) {
        return true;
    }
    let word = |at: u64| {
        // SAFETY: readable, as was seen just now; the object lives as long as V8.
        unsafe { (at as usize as *const u64).read_volatile() }
    };
    // References to objects of a heap have these lower bits.
    let is_reference = |word: &u64| word & 3 == 1 && (LOWEST..HIGHEST).contains(word);
    let references: Vec<u64> = (0..LOOK / 8).map(|n| word(object + 8 * n)).filter(is_reference).collect();
    references.len() < 4 || references.iter().any(|word| readable(word - 1, 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heap_that_is_nowhere_is_told_from_one_that_is_here() {
        let maps = Maps::own().expect("/proc");
        let thing = Box::new(7u64);
        let here = std::ptr::from_ref(&*thing) as u64 + 1;
        for (word, is_here) in [(here, true), (0x10001, false), (0, true)] {
            let object = Box::new([word; 64]);
            let cell = Box::new(std::ptr::from_ref(&*object) as u64);
            let at = RunAddr(std::ptr::from_ref(&*cell) as u64);
            // SAFETY: the cell points to an object of that size.
            assert_eq!(unsafe { shared_heap_is_here(at, &maps) }, is_here, "{word:#x}");
        }
    }

    #[test]
    fn readiness_is_seen_when_another_thread_sets_the_last_word() {
        static WORDS: [AtomicU32; 2] = [AtomicU32::new(1), AtomicU32::new(0)];
        let at = |word: &AtomicU32| Variable::Counter(RunAddr(word.as_ptr() as usize as u64));
        // SAFETY: the words are statics of this test.
        let cells = unsafe { Cells::new(WORDS.iter().map(at).collect()) };
        assert!(!cells.wait(Duration::from_millis(3), &|| true));
        assert!(!cells.wait(Duration::from_secs(60), &|| false), "nobody wants it");
        let setter = std::thread::spawn(|| {
            sleep(Duration::from_millis(10));
            WORDS[1].store(7, Ordering::Release);
        });
        assert!(cells.wait(Duration::from_secs(10), &|| true));
        setter.join().expect("joined");
    }

    #[test]
    fn a_pointer_to_a_multiple_of_4_gib_is_one() {
        static WORD: AtomicU64 = AtomicU64::new(0x7bc0_0000_0000);
        // SAFETY: a static of this test.
        let cells = |variable| unsafe { Cells::new(vec![variable]) };
        let at = RunAddr(WORD.as_ptr() as usize as u64);
        assert!(cells(Variable::Pointer(at)).ready());
        assert!(!cells(Variable::Counter(at)).ready());
        WORD.store(0, Ordering::Release);
        assert!(!cells(Variable::Pointer(at)).ready());
    }
}
