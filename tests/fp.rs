//! Process layer: hosts with a floating-point environment of their own (unmasked exceptions, flushed denormals, rounding, short mantissas): Node
//! computes as with the default one on each of its threads, and the host keeps its own.
#![cfg(target_arch = "x86_64")]

#[path = "support/c_hosts.rs"]
mod c_hosts;
mod support;

use c_hosts::{checked, command, host};
use std::path::Path;
use std::process::Command;
use support::parts;
use tempfile::TempDir;

const WAYS: [&str; 6] = ["traps", "all-traps", "flushed", "upward", "to-zero", "single"];

#[test]
fn node_computes_with_the_default_and_the_host_keeps_its_own() {
    let folder = TempDir::new().expect("a folder");
    let floats = host("floats", folder.path());
    for mode in ["own", "ticked"] {
        let computed = |way: &str, late: &[&str]| {
            let output = checked(command(&floats).arg(mode).arg(&parts().guest).arg(way).args(late));
            assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{mode} {way} {late:?}");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let plain = computed("plain", &[]);
        // 0.1 + 0.2 and the least number; five ways to compute, one of them twice where the guest is ticked.
        assert!(
            plain
                .contains("NaN,Infinity,Infinity,0,true,1.1125369292536007e-308,5e-324,0.30000000000000004,"),
            "{plain}"
        );
        for way in WAYS {
            assert_eq!(computed(way, &[]), plain, "{mode} {way}");
            if mode == "ticked" && ["traps", "flushed"].contains(&way) {
                assert_eq!(computed(way, &["late"]), plain, "{way} late");
            }
        }
    }
}

/// A program whose main thread has another environment when Relink comes by `LD_PRELOAD`, and sets one on a thread that it makes later.
#[test]
fn a_preloaded_guest_computes_with_the_default() {
    let folder = TempDir::new().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    // Loaded before librelink.so's constructor runs, as -ffast-math's start-up code is.
    let early = write(
        "early.c",
        "#include <xmmintrin.h>\n__attribute__((constructor)) static void set(void) { _mm_setcsr(_mm_getcsr() | 0x8040); }\n",
    );
    let script = write(
        "script.js",
        "const { Worker, isMainThread } = require('worker_threads'); const zero = Number(process.argv.length > 9);\n\
         console.log(isMainThread, 5e-324 * (zero + 1) > 0, JSON.parse('5e-324'));\n\
         if (isMainThread) new Worker(__filename);\n",
    );
    let library = folder.path().join("libearly.so");
    checked(Command::new("gcc").args(["-shared", "-fPIC", "-O1"]).arg(&early).arg("-o").arg(&library));
    let mut run = command(Path::new(env!("CARGO_BIN_EXE_relink")));
    run.env("LD_PRELOAD", &library).args(["run", "--guest"]).arg(&parts().guest).arg("--script").arg(&script);
    run.arg("--library")
        .arg(&parts().library)
        .arg("--")
        .arg(&parts().gameserver)
        .args(["--fps", "30", "--frames", "60"]);
    let output = checked(&mut run);
    let said = String::from_utf8_lossy(&output.stdout);
    for line in ["true true 5e-324", "false true 5e-324"] {
        assert!(said.lines().any(|l| l == line), "{said}");
    }
}
