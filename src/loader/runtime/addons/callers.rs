//! The ways in of `dlopen` and `dlsym`: libc's functions act for whoever calls them (`RTLD_NEXT`, `DT_RUNPATH`), which they see by the
//! address that they return to. So a call that is passed on is a jump that leaves this address where it is, and a call that is
//! answered here is told of it.
//!
//! # Safety
//! The functions have the signatures of libc's. They keep the two argument registers of the psABI over a call of ours that
//! answers in its two result registers: whether the call is answered, and with what.

use std::ffi::c_void;

/// What is answered.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    /// 0: the call goes on to libc.
    is_answered: usize,
    value: *mut c_void,
}

impl Answer {
    /// The call goes on to libc, for its caller.
    pub(super) const PASSED_ON: Self = Self { is_answered: 0, value: std::ptr::null_mut() };

    /// The call returns this.
    pub(super) fn with(value: *mut c_void) -> Self {
        Self { is_answered: 1, value }
    }
}

macro_rules! entry {
    ($name:ident, $symbol:literal, $ours:path, $libc:literal) => {
        #[cfg(target_arch = "x86_64")]
        std::arch::global_asm!(
            concat!(".globl ", $symbol),
            concat!(".hidden ", $symbol),
            concat!(".type ", $symbol, ",@function"),
            concat!($symbol, ":"),
            ".cfi_startproc",
            "push rdi",
            ".cfi_adjust_cfa_offset 8",
            "push rsi",
            ".cfi_adjust_cfa_offset 8",
            "sub rsp, 8",
            ".cfi_adjust_cfa_offset 8",
            "mov rdx, [rsp + 24]",
            "call {ours}",
            "add rsp, 8",
            ".cfi_adjust_cfa_offset -8",
            "pop rsi",
            ".cfi_adjust_cfa_offset -8",
            "pop rdi",
            ".cfi_adjust_cfa_offset -8",
            "test rax, rax",
            "jz 2f",
            "mov rax, rdx",
            "ret",
            "2:",
            concat!("jmp ", $libc, "@PLT"),
            ".cfi_endproc",
            concat!(".size ", $symbol, ", . - ", $symbol),
            ours = sym $ours,
        );
        #[cfg(target_arch = "aarch64")]
        std::arch::global_asm!(
            concat!(".globl ", $symbol),
            concat!(".hidden ", $symbol),
            concat!(".type ", $symbol, ",%function"),
            concat!($symbol, ":"),
            ".cfi_startproc",
            "stp x29, x30, [sp, #-32]!",
            ".cfi_def_cfa_offset 32",
            ".cfi_offset 29, -32",
            ".cfi_offset 30, -24",
            "stp x0, x1, [sp, #16]",
            "mov x29, sp",
            "mov x2, x30",
            "bl {ours}",
            "mov x9, x0",
            "mov x10, x1",
            "ldp x0, x1, [sp, #16]",
            "ldp x29, x30, [sp], #32",
            ".cfi_restore 29",
            ".cfi_restore 30",
            ".cfi_def_cfa_offset 0",
            "cbz x9, 2f",
            "mov x0, x10",
            "ret",
            "2:",
            concat!("b ", $libc),
            ".cfi_endproc",
            concat!(".size ", $symbol, ", . - ", $symbol),
            ours = sym $ours,
        );
        extern "C" {
            #[link_name = $symbol]
            fn $name();
        }
    };
}

entry!(dlopen_entry, "relink_dlopen_entry", super::dlopen, "dlopen");
entry!(dlsym_entry, "relink_dlsym_entry", super::dlsym, "dlsym");

/// The function that takes the place of `dlopen`.
pub(super) fn dlopen() -> *const () {
    dlopen_entry as *const ()
}

/// The function that takes the place of `dlsym`.
pub(super) fn dlsym() -> *const () {
    dlsym_entry as *const ()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::{c_char, c_int, CStr};

    /// Nobody has told of a guest here, so libc answers.
    #[test]
    fn libc_answers_for_the_caller() {
        // SAFETY: the entry has the signature of dlopen.
        let open: extern "C" fn(*const c_char, c_int) -> *mut c_void =
            unsafe { std::mem::transmute(dlopen()) };
        // SAFETY: the entry has the signature of dlsym.
        let look_up: extern "C" fn(*mut c_void, *const c_char) -> *mut c_void =
            unsafe { std::mem::transmute(dlsym()) };
        let program = open(std::ptr::null(), libc::RTLD_LAZY);
        assert!(!program.is_null());
        let name: &CStr = c"getpid";
        let found = look_up(program, name.as_ptr());
        assert_eq!(found, libc::getpid as *mut c_void);
        // Behind this program, that is to say: RTLD_NEXT of another library would be something else or an error.
        assert_eq!(look_up(libc::RTLD_NEXT, name.as_ptr()), found);
        assert!(open(c"/nowhere/at/all.so".as_ptr(), libc::RTLD_NOW).is_null());
    }
}
