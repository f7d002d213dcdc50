//! The bridge's bytes.

/// Bytes aligned as the structures of an ELF file have to be.
#[repr(C, align(16))]
struct Aligned<Bytes: ?Sized>(Bytes);

static ALIGNED: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/bridge.so")));

/// Relink's C++ between Node and the host's platform, compiled by build.rs: a shared object.
pub fn bytes() -> &'static [u8] {
    &ALIGNED.0
}
