//! x86-64 (System V psABI for AMD64, table 4.9 "Relocation Types").

use super::{Arch, RelocationKind};
use object::elf;

/// The facts of x86-64.
pub const X86_64: Arch = Arch {
    machine: elf::EM_X86_64,
    name: "x86-64",
    none: elf::R_X86_64_NONE,
    relative: elf::R_X86_64_RELATIVE,
    classify,
};

fn classify(r_type: u32) -> RelocationKind {
    match r_type {
        elf::R_X86_64_NONE => RelocationKind::None,
        elf::R_X86_64_JUMP_SLOT => RelocationKind::JumpSlot,
        elf::R_X86_64_GLOB_DAT => RelocationKind::GlobDat,
        elf::R_X86_64_64 => RelocationKind::Abs64,
        elf::R_X86_64_RELATIVE | elf::R_X86_64_RELATIVE64 => RelocationKind::Relative,
        elf::R_X86_64_IRELATIVE => RelocationKind::Irelative,
        elf::R_X86_64_COPY => RelocationKind::Copy,
        elf::R_X86_64_DTPMOD64 | elf::R_X86_64_DTPOFF64 | elf::R_X86_64_TPOFF64 | elf::R_X86_64_TLSDESC => {
            RelocationKind::Tls
        }
        other => RelocationKind::Unknown(other),
    }
}
