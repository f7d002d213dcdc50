//! What differs between machine architectures, in one place: a new one is a file here, not a rewrite.

use crate::address::LinkAddr;

mod aarch64;
mod x86_64;

pub use aarch64::AARCH64;
pub use x86_64::X86_64;

/// What a relocation asks of the word at its offset, named by its role and not by its number in one psABI.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RelocationKind {
    /// Nothing.
    None,
    /// A procedure linkage table slot: the symbol's address, may be bound lazily.
    JumpSlot,
    /// A global offset table slot: the symbol's address.
    GlobDat,
    /// A 64-bit word in data (vtables, tables of functions): the symbol's address plus the addend.
    Abs64,
    /// The load bias plus the addend; no symbol.
    Relative,
    /// The result of calling an IFUNC resolver.
    Irelative,
    /// A copy of an object's bytes into an executable.
    Copy,
    /// One of the thread-local storage relocations.
    Tls,
    /// A number that this architecture's table does not know.
    Unknown(u32),
}

/// One machine architecture's facts.
#[derive(Debug)]
pub struct Arch {
    /// `e_machine`.
    pub machine: u16,
    /// The usual name, for messages.
    pub name: &'static str,
    /// The relocation number that means "do nothing".
    pub none: u32,
    /// The relocation number that means "load bias plus addend".
    pub relative: u32,
    classify: fn(u32) -> RelocationKind,
    returned: fn(&[u8]) -> Option<i64>,
}

impl Arch {
    /// The kind of relocation that `r_type` is.
    pub fn kind(&self, r_type: u32) -> RelocationKind {
        (self.classify)(r_type)
    }

    /// Link-time address of the variable that a function returns the word of and does nothing else: `code` is the function's, at the
    /// link-time address `at`. None: it does something else.
    pub fn returned_variable(&self, code: &[u8], at: LinkAddr) -> Option<LinkAddr> {
        (self.returned)(code).map(|distance| LinkAddr(at.0.wrapping_add_signed(distance)))
    }

    /// The facts of the architecture with this `e_machine`, if Relink knows it.
    pub fn of(machine: u16) -> Option<&'static Arch> {
        [&X86_64, &AARCH64].into_iter().find(|arch| arch.machine == machine)
    }

    /// The architecture of the running process.
    pub fn native() -> &'static Arch {
        if cfg!(target_arch = "aarch64") {
            &AARCH64
        } else {
            &X86_64
        }
    }
}

/// The usual name of any `e_machine`, for messages about files of other machines.
pub fn machine_name(machine: u16) -> String {
    use object::elf;
    match machine {
        elf::EM_386 => "i386".into(),
        elf::EM_ARM => "arm".into(),
        elf::EM_RISCV => "riscv".into(),
        elf::EM_PPC64 => "ppc64".into(),
        elf::EM_S390 => "s390".into(),
        other => Arch::of(other).map_or_else(|| format!("e_machine {other}"), |arch| arch.name.into()),
    }
}
