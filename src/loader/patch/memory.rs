//! What a transaction needs of memory. The live process implements it, and so do memories that fail on purpose.

use crate::process::Protection;
use relink_elf::address::RunAddr;
use std::io;

/// Words and page protections.
pub trait Memory {
    /// Size of a page in bytes, a power of two.
    fn page_size(&self) -> u64;
    /// The protection of the page that `page` is the first address of.
    fn protection(&self, page: RunAddr) -> io::Result<Protection>;
    /// Gives the page another protection.
    fn protect(&mut self, page: RunAddr, protection: Protection) -> io::Result<()>;
    /// The word at `at`, which is aligned.
    fn read(&self, at: RunAddr) -> io::Result<u64>;
    /// Stores `value` at `at`, which is aligned, in one piece.
    fn write(&mut self, at: RunAddr, value: u64) -> io::Result<()>;
}
