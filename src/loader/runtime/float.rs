//! The floating-point environment: rounding, unmasked exceptions, denormals that are flushed to zero.
//!
//! V8 and Node compute with the default one. A host may have another: engines flush denormals, numeric programs unmask exceptions, and
//! threads inherit either. So each entry into the guest sets the default, each callback into the host sets the host's again, and
//! what the host had is put back at the end, with the exceptions that it had seen.
//!
//! # Safety
//! Instructions that read and write the registers of this environment and nothing else. Rust expects the default environment
//! (reference, inline assembly): it is the host that may have called with another, which it gets back. C's `fesetenv` would do the same, but
//! stands in libm, and librelink.so is preloaded into shells, which must not get one.

use std::cell::Cell;

thread_local! {
    /// The host's environment, while this thread has the guest's.
    static HOSTS: Cell<Option<Environment>> = const { Cell::new(None) };
}

/// Runs `work` with the default environment, in which it may change; then the host's is put back.
pub fn as_guest<T>(work: impl FnOnce() -> T) -> T {
    struct Back(bool);
    impl Drop for Back {
        fn drop(&mut self) {
            if self.0 {
                let hosts = HOSTS.try_with(Cell::take).ok().flatten();
                hosts.iter().for_each(Environment::set);
            }
        }
    }
    let _back = Back(enter());
    work()
}

/// Runs `work` of the host's with the host's environment, if it was called from [`as_guest`]. What it changes there stays the host's.
pub fn as_host<T>(work: impl FnOnce() -> T) -> T {
    struct Back(Environment);
    impl Drop for Back {
        fn drop(&mut self) {
            let _ = HOSTS.try_with(|hosts| hosts.set(Some(Environment::take())));
            self.0.set();
        }
    }
    let Some(hosts) = HOSTS.try_with(Cell::take).ok().flatten() else { return work() };
    let _back = Back(Environment::take());
    hosts.set();
    work()
}

/// From here on the thread has the default environment; what it had counts as the host's. `false`: it was entered before.
pub fn enter() -> bool {
    let entered = HOSTS.try_with(|hosts| {
        let first = hosts.get().is_none();
        if first {
            hosts.set(Some(Environment::take()));
        }
        first
    });
    if entered == Ok(true) {
        DEFAULT.set();
    }
    entered == Ok(true)
}

/// The host's environment, where the calling thread has the guest's: for a thread that is made for the guest, which would inherit that.
pub fn hosts() -> Option<Environment> {
    HOSTS.try_with(Cell::get).ok().flatten()
}

/// From here on the thread has the default environment, and this one counts as the host's; none: what the thread has inherited.
pub fn enter_from(hosts: Option<Environment>) {
    enter();
    if hosts.is_some() {
        let _ = HOSTS.try_with(|cell| cell.set(hosts));
    }
}

/// Gives a thread the default environment.
pub(super) fn set_default() {
    // Whoever reads it puts one in its place.
    let _inherited = Environment::take();
    DEFAULT.set();
}

#[cfg(target_arch = "x86_64")]
mod registers {
    use std::arch::asm;

    /// What it holds.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Environment {
        /// Control and status of SSE (Intel SDM, volume 1, 10.2.3).
        mxcsr: u32,
        x87: X87,
    }

    /// The same of x87 (8.1.5).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum X87 {
        /// All exceptions masked, no matter which were seen: nothing comes of them.
        Masked,
        /// The default, with the exceptions that were seen: bits of [`SEEN`].
        Default(u16),
        /// FNSTENV's 28 bytes.
        Whole([u32; 7]),
    }

    /// What the psABI sets for a process.
    pub const DEFAULT: Environment = Environment { mxcsr: 0x1f80, x87: X87::Masked };
    const CONTROL: u16 = 0x37f;
    /// Exceptions that x87 has seen, a fault of its stack, and that one of them is unmasked.
    const SEEN: u16 = 0xff;
    const UNMASKED: u16 = 0x80;

    fn control_and_status() -> (u16, u16) {
        let mut control = 0u16;
        let status: u16;
        // SAFETY: stores two bytes, and reads the status; neither changes anything.
        unsafe {
            asm!("fnstcw [{}]", in(reg) &raw mut control, options(nostack, preserves_flags));
            asm!("fnstsw ax", out("ax") status, options(nomem, nostack, preserves_flags));
        }
        (control, status)
    }

    /// Masks all exceptions.
    fn whole() -> [u32; 7] {
        let mut whole = [0u32; 7];
        // SAFETY: stores 28 bytes, and masks all exceptions.
        unsafe { asm!("fnstenv [{}]", in(reg) &raw mut whole, options(nostack, preserves_flags)) };
        whole
    }

    fn load(whole: &[u32; 7]) {
        // SAFETY: loads 28 bytes that FNSTENV has stored. Its stack is empty in both, as at every call (psABI, 3.2.1). What was seen and
        // masked before is not raised, for it is loaded as well.
        unsafe {
            asm!("fldenv [{}]", in(reg) whole.as_ptr(), options(readonly, nostack, preserves_flags));
        }
    }

    impl X87 {
        fn take() -> Self {
            let (control, status) = control_and_status();
            if control == CONTROL && status & UNMASKED == 0 {
                return Self::Default(status & SEEN);
            }
            Self::Whole(whole())
        }

        fn set(&self) {
            let (control, status) = control_and_status();
            let is_default = control == CONTROL && status & UNMASKED == 0;
            match self {
                Self::Masked if is_default => {}
                Self::Default(seen) if is_default && status & SEEN == *seen => {}
                Self::Whole(whole) => load(whole),
                Self::Masked | Self::Default(_) => {
                    let seen = if let Self::Default(seen) = self { *seen } else { 0 };
                    let mut changed = whole();
                    changed[0] = changed[0] & !0xffff | u32::from(CONTROL);
                    changed[1] = changed[1] & !u32::from(SEEN) | u32::from(seen);
                    load(&changed);
                }
            }
        }
    }

    impl Environment {
        /// The calling thread's. Afterwards another is to be set: reading this one may mask exceptions.
        pub fn take() -> Self {
            let mut mxcsr = 0u32;
            // SAFETY: stores four bytes.
            unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut mxcsr, options(nostack, preserves_flags)) };
            Self { mxcsr, x87: X87::take() }
        }

        /// Makes it the calling thread's.
        pub fn set(&self) {
            self.x87.set();
            let mxcsr = self.mxcsr;
            // SAFETY: loads what STMXCSR has stored, or the default: no reserved bit is set.
            unsafe {
                asm!("ldmxcsr [{}]", in(reg) &raw const mxcsr, options(readonly, nostack, preserves_flags));
            }
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod registers {
    use std::arch::asm;

    /// Control and status (Arm ARM, C5.2.8 and C5.2.10).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Environment {
        fpcr: u64,
        fpsr: u64,
    }

    /// What the psABI sets for a process.
    pub const DEFAULT: Environment = Environment { fpcr: 0, fpsr: 0 };

    impl Environment {
        /// The calling thread's.
        pub fn take() -> Self {
            let (fpcr, fpsr): (u64, u64);
            // SAFETY: reads two registers.
            unsafe {
                asm!("mrs {}, fpcr", "mrs {}, fpsr", out(reg) fpcr, out(reg) fpsr,
                    options(nomem, nostack, preserves_flags));
            }
            Self { fpcr, fpsr }
        }

        /// Makes it the calling thread's.
        pub fn set(&self) {
            // SAFETY: writes what was read from these registers, or their default.
            unsafe {
                asm!("msr fpcr, {}", "msr fpsr, {}", in(reg) self.fpcr, in(reg) self.fpsr,
                    options(nomem, nostack, preserves_flags));
            }
        }
    }
}

pub use registers::Environment;
use registers::DEFAULT;

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use std::arch::asm;

    /// MXCSR without what it has seen, and the control word of x87.
    fn now() -> (u32, u16) {
        let (mut mxcsr, mut control) = (0u32, 0u16);
        // SAFETY: stores four and two bytes.
        unsafe {
            asm!("stmxcsr [{}]", "fnstcw [{}]", in(reg) &raw mut mxcsr, in(reg) &raw mut control, options(nostack));
        }
        (mxcsr & !0x3f, control)
    }

    fn set((mxcsr, control): (u32, u16)) {
        // SAFETY: loads valid control words; the tests put the default back.
        unsafe {
            asm!("ldmxcsr [{}]", "fldcw [{}]", in(reg) &raw const mxcsr, in(reg) &raw const control,
                options(nostack));
        }
    }

    const PLAIN: (u32, u16) = (0x1f80, 0x37f);
    /// Denormals flushed, rounding up; x87 with short mantissas.
    const HOSTS: (u32, u16) = (0xdfc0, 0x07f);
    /// Invalid operations and divisions by zero unmasked, in both.
    const TRAPS: (u32, u16) = (0x1d00, 0x37a);

    #[test]
    fn the_guest_has_the_default_and_the_host_its_own() {
        for hosts in [HOSTS, TRAPS, PLAIN] {
            set(hosts);
            let seen = as_guest(|| {
                let guests = now();
                // What an add-on sets is the guest's until it leaves.
                set((0x9f80, 0x37f));
                let inner = as_host(|| (now(), as_guest(now), now()));
                (guests, inner, now(), as_guest(now))
            });
            let after = now();
            set(PLAIN);
            let added = (0x9f80, 0x37f);
            assert_eq!(seen, (PLAIN, (hosts, PLAIN, hosts), added, added));
            assert_eq!(after, hosts);
        }
    }

    #[test]
    fn what_the_host_changes_in_a_callback_stays() {
        as_guest(|| as_host(|| set(HOSTS)));
        let after = now();
        set(PLAIN);
        assert_eq!(after, HOSTS);
        assert_eq!(as_host(now), PLAIN, "without a guest nothing happens");
    }

    /// An exception that was masked while it was seen must not be raised by the host's next instruction.
    #[test]
    fn exceptions_that_the_guest_has_seen_are_forgotten() {
        set(TRAPS);
        as_guest(|| {
            // SAFETY: 1 / 0 by x87, which leaves its stack empty.
            unsafe { asm!("fld1", "fldz", "fdivp", "fstp st(0)", out("st(0)") _, out("st(1)") _) };
            std::hint::black_box(std::hint::black_box(0.0) / 0.0)
        });
        // SAFETY: raises what is pending.
        unsafe { asm!("fwait") };
        let after = now();
        set(PLAIN);
        assert_eq!(after, TRAPS);
    }

    #[test]
    fn a_thread_that_is_the_guests_for_life_tells_the_hosts() {
        set(HOSTS);
        // It inherits.
        let thread = std::thread::spawn(|| (enter(), enter(), now(), as_host(now), as_guest(now), now()));
        let seen = thread.join().expect("joined");
        let made = as_guest(|| {
            let hosts = hosts();
            std::thread::spawn(move || {
                enter_from(hosts);
                (now(), as_host(now), now())
            })
        });
        let made = made.join().expect("joined");
        set(PLAIN);
        assert_eq!(seen, (true, false, PLAIN, HOSTS, PLAIN, PLAIN));
        assert_eq!(made, (PLAIN, HOSTS, PLAIN));
    }
}
