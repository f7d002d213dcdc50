//! The host's platform object: where it is, and whether it is one that Relink knows more about.
//!
//! # Safety
//! The platform object is read (its vtable pointer) after the host's V8 was seen ready; hosts keep their platform until
//! they leave.

use super::bridge::Platform;
use crate::abi::catalogue::NODE_PLATFORM_VTABLE;
use crate::abi::line::Line;
use crate::address::RunAddr;
use crate::elf::ElfError;
use crate::plan::Definitions;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Words in front of a vtable's first slot (Itanium C++ ABI, section 2.5.2): offset to top and typeinfo pointer.
const PREFIX_BYTES: u64 = 16;

/// Describes the platform that `cell` (`v8::internal::V8::platform_`) points at.
///
/// # Safety
/// `cell` is the run-time address of that variable of the host's V8, which has a platform now and is of `line`.
pub unsafe fn describe(cell: RunAddr, provider: &dyn Definitions, line: &Line) -> Result<Platform, ElfError> {
    // SAFETY: promised by the caller.
    let object = unsafe { load(cell) };
    // SAFETY: a platform object begins with its vtable pointer (Itanium C++ ABI, section 2.4).
    let vtable = if object.0 == 0 { object } else { unsafe { load(object) } };
    let node = provider.find(NODE_PLATFORM_VTABLE, None)?;
    let is_node = node.is_some_and(|d| d.address.0.wrapping_add(PREFIX_BYTES) == vtable.0);
    Ok(if is_node {
        let unregister = line.unregister_isolate_slot;
        Platform { cell, slots: line.node_platform_slots, unregister_isolate: Some(unregister) }
    } else {
        Platform { cell, slots: line.platform_slots, unregister_isolate: None }
    })
}

/// # Safety
/// `at` is the address of an aligned, readable word.
unsafe fn load(at: RunAddr) -> RunAddr {
    // SAFETY: promised by the caller.
    let word = unsafe { &*(at.0 as usize as *const AtomicUsize) };
    RunAddr(word.load(Ordering::Acquire) as u64)
}
