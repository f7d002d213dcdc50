//! AArch64 (ELF for the Arm 64-bit Architecture, "Dynamic relocations"). Read and planned; not yet run on.

use super::{Arch, RelocationKind};
use object::elf;

/// The facts of AArch64.
pub const AARCH64: Arch = Arch {
    machine: elf::EM_AARCH64,
    name: "aarch64",
    none: elf::R_AARCH64_NONE,
    relative: elf::R_AARCH64_RELATIVE,
    classify,
    returned: |_| None, // not yet run on
};

fn classify(r_type: u32) -> RelocationKind {
    match r_type {
        elf::R_AARCH64_NONE => RelocationKind::None,
        elf::R_AARCH64_JUMP_SLOT => RelocationKind::JumpSlot,
        elf::R_AARCH64_GLOB_DAT => RelocationKind::GlobDat,
        elf::R_AARCH64_ABS64 => RelocationKind::Abs64,
        elf::R_AARCH64_RELATIVE => RelocationKind::Relative,
        elf::R_AARCH64_IRELATIVE => RelocationKind::Irelative,
        elf::R_AARCH64_COPY => RelocationKind::Copy,
        elf::R_AARCH64_TLS_DTPMOD
        | elf::R_AARCH64_TLS_DTPREL
        | elf::R_AARCH64_TLS_TPREL
        | elf::R_AARCH64_TLSDESC => RelocationKind::Tls,
        other => RelocationKind::Unknown(other),
    }
}
