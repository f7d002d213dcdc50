//! Two kinds of address that must never be mixed: those a file was linked at and those of the running process.
//!
//! Most shared objects are linked at 0, so that link-time addresses look like offsets and the mix-up stays hidden
//! until an executable with a fixed base (`ET_EXEC`) or a prelinked object turns up. The only way from one kind to
//! the other is a [`LoadBias`].

use std::fmt;

/// A link-time address (`p_vaddr`, `st_value`, `r_offset`: gABI chapters 4 and 5), in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LinkAddr(pub u64);

/// A run-time address: what a pointer of this process holds, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RunAddr(pub u64);

/// Run-time minus link-time address of one loaded module (`dlpi_addr` of `dl_iterate_phdr(3)`, `l_addr` of ld.so).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct LoadBias(pub u64);

impl LinkAddr {
    /// The address `bytes` further on, or `None` when that leaves the address space.
    pub fn offset(self, bytes: u64) -> Option<Self> {
        self.0.checked_add(bytes).map(Self)
    }
}

impl RunAddr {
    /// The start of the page this address lies in; `page` is the page size in bytes, a power of two.
    pub fn page_start(self, page: u64) -> Self {
        Self(self.0 & !(page - 1))
    }
}

impl LoadBias {
    /// Where the link-time address lies in the process. ld.so computes modulo 2^64, and so does this.
    pub fn run(self, address: LinkAddr) -> RunAddr {
        RunAddr(self.0.wrapping_add(address.0))
    }

    /// The link-time address of something that lies at `address` in the process.
    pub fn link(self, address: RunAddr) -> LinkAddr {
        LinkAddr(address.0.wrapping_sub(self.0))
    }
}

macro_rules! shown_in_hex {
    ($($kind:ident),*) => {$(
        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
        impl fmt::Debug for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($kind), "({:#x})"), self.0)
            }
        }
    )*};
}
shown_in_hex!(LinkAddr, RunAddr, LoadBias);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bias_goes_both_ways_and_wraps_like_the_dynamic_linker() {
        let bias = LoadBias(0x7f00_0000_0000);
        assert_eq!(bias.run(LinkAddr(0x1234)), RunAddr(0x7f00_0000_1234));
        assert_eq!(bias.link(RunAddr(0x7f00_0000_1234)), LinkAddr(0x1234));
        let below_link_base = LoadBias(0u64.wrapping_sub(0x40_0000));
        assert_eq!(below_link_base.run(LinkAddr(0x40_1000)), RunAddr(0x1000));
    }

    #[test]
    fn page_start_rounds_down() {
        assert_eq!(RunAddr(0x1fff).page_start(0x1000), RunAddr(0x1000));
        assert_eq!(RunAddr(0x2000).page_start(0x1000), RunAddr(0x2000));
    }
}
