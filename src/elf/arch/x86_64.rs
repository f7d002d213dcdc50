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
    returned,
};

/// `mov rax, [rip + d]; ret`, with or without `endbr64` and a frame around: the variable's distance from the function.
fn returned(code: &[u8]) -> Option<i64> {
    const MARK: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
    const FRAME: [u8; 4] = [0x55, 0x48, 0x89, 0xe5];
    const LOAD: [u8; 3] = [0x48, 0x8b, 0x05];
    let rest = code.strip_prefix(&MARK).unwrap_or(code);
    let (rest, end): (_, &[u8]) = match rest.strip_prefix(&FRAME) {
        Some(rest) => (rest, &[0x5d, 0xc3]),
        None => (rest, &[0xc3]),
    };
    let (distance, rest) = rest.strip_prefix(&LOAD)?.split_first_chunk::<4>()?;
    let next = code.len() - rest.len();
    rest.starts_with(end)
        .then(|| i64::from(i32::from_le_bytes(*distance)).checked_add(i64::try_from(next).ok()?))?
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::LinkAddr;

    #[test]
    fn a_function_that_returns_a_variable_tells_where_it_is() {
        let of = |code: &[u8]| X86_64.returned_variable(code, LinkAddr(0x98_c320)).map(|at| at.0);
        // v8::internal::V8::GetCurrentPlatform, as clang and gcc compile it
        let framed = [0x55, 0x48, 0x89, 0xe5, 0x48, 0x8b, 0x05, 0xa5, 0x3c, 0xbc, 0x00, 0x5d, 0xc3, 0xcc];
        assert_eq!(of(&framed), Some(0x154_ffd0));
        let plain = [0xf3, 0x0f, 0x1e, 0xfa, 0x48, 0x8b, 0x05, 0xf0, 0xff, 0xff, 0xff, 0xc3];
        assert_eq!(of(&plain), Some(0x98_c320 + 11 - 16));
        // It adds to the word, loads another register, or ends in the middle.
        let mut other = framed;
        other[11] = 0x48;
        assert_eq!(of(&other), None);
        other = framed;
        other[6] = 0x0d;
        assert_eq!((of(&other), of(&framed[..9]), of(&[])), (None, None, None));
    }
}
