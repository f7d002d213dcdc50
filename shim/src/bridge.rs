//! The bridges' bytes.

use relink_abi::line::Bridges;

/// Bytes aligned as the structures of an ELF file have to be.
#[repr(C, align(16))]
struct Aligned<Bytes: ?Sized>(Bytes);

macro_rules! bridge {
    ($line:literal) => {{
        static ALIGNED: &Aligned<[u8]> =
            &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/bridge-", $line, ".so")));
        ($line, &ALIGNED.0)
    }};
}

/// Relink's C++ between Node and the host's platform, compiled by build.rs: a shared object for each line of V8.
pub fn all() -> Bridges<'static> {
    static ALL: [(&str, &[u8]); 4] = [bridge!("10.2"), bridge!("11.3"), bridge!("12.4"), bridge!("13.6")];
    Bridges(&ALL)
}
