//! `relink-node`: behaves as `node` does, on the V8 of another library. `relink node` becomes this program, so that
//! `process.execPath` names it and children started with it are relinked too.
//!
//! # Safety
//! `main` is called by the C run time with the vectors that it describes. Rust's own start-up code is left out: it would
//! set signal handlers and SIGPIPE, which are Node's here.
#![no_main]

mod bridge;

use std::ffi::{c_char, c_int};

/// What `env` and `timeout` exit with when they themselves fail.
const OWN_FAILURE: c_int = 125;

/// The program's entry.
///
/// # Safety
/// Called once, by the C run time.
#[no_mangle]
pub unsafe extern "C" fn main(argc: c_int, argv: *mut *mut c_char) -> c_int {
    // SAFETY: the C run time's own vector; nothing else has been started in this process.
    let ended =
        std::panic::catch_unwind(|| unsafe { relink_loader::standalone::node(argc, argv, bridge::all()) });
    match ended {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            eprintln!("relink-node: {}", error.line());
            OWN_FAILURE
        }
        Err(_) => OWN_FAILURE,
    }
}
