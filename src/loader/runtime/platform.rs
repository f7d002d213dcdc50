//! The host's platform object: where it is, and whether it is one that Relink knows more about.
//!
//! While the guest was loaded the host may have disposed its V8, or its platform without telling V8. What can be seen of that
//! is looked at here, just before the platform is hooked.
//!
//! # Safety
//! The platform object is read (its vtable pointer) after the host's V8 was seen ready, and only where the process has memory
//! that can be read.

use super::bridge::Platform;
use crate::plan::Definitions;
use crate::process::{Maps, Modules};
use relink_abi::catalogue::NODE_PLATFORM_VTABLE;
use relink_abi::line::Line;
use relink_elf::address::RunAddr;
use relink_elf::ElfError;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Words in front of a vtable's first slot (Itanium C++ ABI, section 2.5.2): offset to top and typeinfo pointer.
const PREFIX_BYTES: u64 = 16;

/// `v8::internal::ElementsAccessor::elements_accessors_` (src/objects/elements.h): set by `V8::Initialize`, and 0 again from
/// `V8::Dispose` on.
const INITIALISED: &str = "_ZN2v88internal16ElementsAccessor19elements_accessors_E";

/// Describes the platform that `cell` (`v8::internal::V8::platform_`) points at.
///
/// # Errors
/// V8 or its platform is no more, or the provider cannot be read.
///
/// # Safety
/// `cell` is the run-time address of that variable of the host's V8, which has had a platform and is of `line`.
pub unsafe fn describe(cell: RunAddr, provider: &dyn Definitions, line: &Line) -> Result<Platform, ElfError> {
    // SAFETY: found by its name, which is that of a pointer.
    let initialised = provider.find(INITIALISED, None)?.is_none_or(|d| unsafe { load(d.address) }.0 != 0);
    // SAFETY: promised by the caller.
    let vtable = vtable(unsafe { load(cell) }).filter(|_| initialised);
    let vtable =
        vtable.ok_or(ElfError::Missing("an initialised V8 (the host has disposed it, or its platform)"))?;
    let node = provider.find(NODE_PLATFORM_VTABLE, None)?;
    let is_node = node.is_some_and(|d| d.address.0.wrapping_add(PREFIX_BYTES) == vtable.0);
    Ok(if is_node {
        let unregister = line.unregister_isolate_slot();
        Platform { cell, slots: line.node_platform_slots(), unregister_isolate: Some(unregister) }
    } else {
        Platform { cell, slots: line.platform_slots, unregister_isolate: None }
    })
}

/// The vtable of an object that is alive: it lies in a loaded module. What is put in the place of a freed one does not, as a
/// rule.
fn vtable(object: RunAddr) -> Option<RunAddr> {
    let end = RunAddr(object.0.saturating_add(8));
    let readable = Maps::own().map_or(true, |maps| maps.covers(object, end, |p| p.read));
    if object.0 == 0 || object.0 % 8 != 0 || !readable {
        return None;
    }
    // SAFETY: an aligned word in readable memory. A platform object begins with its vtable pointer (Itanium C++ ABI,
    // section 2.4).
    let vtable = unsafe { load(object) };
    Modules::observe().containing(vtable).map(|_| vtable)
}

/// # Safety
/// `at` is the address of an aligned, readable word.
unsafe fn load(at: RunAddr) -> RunAddr {
    // SAFETY: promised by the caller.
    let word = unsafe { &*(at.0 as usize as *const AtomicUsize) };
    RunAddr(word.load(Ordering::Acquire) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::exports::{Definition, Visibility};
    use relink_abi::line;

    /// A V8 that was initialised or not.
    struct V8(AtomicUsize);

    impl Definitions for V8 {
        fn find(&self, name: &str, _: Option<&str>) -> Result<Option<Definition>, ElfError> {
            let found = Definition {
                address: at(&self.0),
                is_function: false,
                visibility: Visibility::Dynsym,
                part: None,
            };
            Ok((name == INITIALISED).then_some(found))
        }
    }

    fn at(word: &AtomicUsize) -> RunAddr {
        RunAddr(word.as_ptr() as usize as u64)
    }

    fn describe_one(v8: &V8, vtable: usize) -> Result<Platform, ElfError> {
        let object = Box::new([AtomicUsize::new(vtable), AtomicUsize::new(0)]);
        let cell = AtomicUsize::new(object.as_ptr() as usize);
        // SAFETY: the cell points at the object, and both live until the call has returned.
        unsafe { describe(at(&cell), v8, line::oldest()) }
    }

    #[test]
    fn a_platform_or_a_v8_that_is_no_more_is_seen() {
        static VTABLE: [usize; 4] = [1, 2, 3, 4];
        let (initialised, disposed) = (V8(AtomicUsize::new(1)), V8(AtomicUsize::new(0)));
        let vtable = VTABLE.as_ptr() as usize;
        assert!(describe_one(&initialised, vtable).is_ok_and(|p| p.unregister_isolate.is_none()));
        assert!(describe_one(&disposed, vtable).is_err());
        // What a freed object holds: nothing, a list's pointer into the heap, a mangled one.
        let heap = Box::new(0u64);
        for freed in [0, (&raw const *heap) as usize, usize::MAX / 3] {
            assert!(describe_one(&initialised, freed).is_err(), "{freed:#x}");
        }
    }

    #[test]
    fn no_platform_and_one_that_is_nowhere() {
        let v8 = V8(AtomicUsize::new(1));
        for object in [0, 8, usize::MAX - 7] {
            let cell = AtomicUsize::new(object);
            // SAFETY: the cell lives until the call has returned; it is looked at first whether the object can be read.
            assert!(unsafe { describe(at(&cell), &v8, line::oldest()) }.is_err(), "{object:#x}");
        }
    }
}
