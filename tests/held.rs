//! Process layer: nothing is held over code of the guest's, of its libraries' or of add-ons'. Constructors that do not return end
//! at most their own runtime; another one goes on, opens add-ons, comes and goes. And a create that waits for the host's V8 keeps
//! no other from its answer.

#[path = "support/c_hosts.rs"]
mod c_hosts;
mod support;

use c_hosts::{checked, command, host, object, root};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::parts;
use tempfile::TempDir;

/// Compiles fixtures/addons/constructor.cc.
fn compiled(folder: &Path, name: &str, options: &[&str]) -> PathBuf {
    let out = folder.join(name);
    let mut compiler = Command::new("g++");
    compiler.args(["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-isystem"]);
    compiler.arg(&parts().headers).args(options).arg(root().join("fixtures/addons/constructor.cc"));
    checked(compiler.arg("-o").arg(&out));
    out
}

fn addon(folder: &Path, does: &str) -> PathBuf {
    compiled(folder, &format!("{does}.node"), &[&format!("-DDOES={does}")])
}

fn is_well(output: &Output, context: &str) {
    assert_eq!(String::from_utf8_lossy(&output.stdout), "all is well\n", "{context}");
}

/// What a constructor does, and how the runtime that opened it ends; "": it goes on, and gets an error.
const CONSTRUCTORS: [(&str, &str, &str); 6] = [
    ("ABORTS", "abort", "134"),
    ("ASSERTS", "abort", "134"),
    ("EXITS", "exit", "9"),
    ("ENDS_THREAD", "exit", "0"),
    ("THROWS", "", "0"),
    ("THROWS_NUMBER", "", "0"),
];

#[test]
fn an_add_on_whose_constructor_does_not_return_keeps_no_other_runtime() {
    let folder = TempDir::new().expect("a folder");
    let held = host("held", folder.path());
    let good = addon(folder.path(), "RETURNS");
    for (does, how, code) in CONSTRUCTORS {
        let bad = addon(folder.path(), does);
        for mode in ["own", "ticked"] {
            let mut run = command(&held);
            let run = run.arg("addon").arg(mode).arg(&parts().guest).args([&bad, &good]).args([how, code]);
            is_well(&checked(run), &format!("{does} {mode}"));
        }
    }
}

#[test]
fn a_constructor_may_open_another_add_on() {
    let folder = TempDir::new().expect("a folder");
    let held = host("held", folder.path());
    let good = addon(folder.path(), "RETURNS");
    let opens = addon(folder.path(), "OPENS");
    // Another one, and itself.
    for (named, mode) in [(&good, "own"), (&good, "ticked"), (&opens, "own")] {
        let mut run = command(&held);
        let run = run.env("CONSTRUCTOR_OPENS", named).arg("meanwhile").arg(mode).arg(&parts().guest);
        is_well(&checked(run.args([&opens, &good])), mode);
    }
    let bad = addon(folder.path(), "ABORTS");
    for mode in ["own", "ticked"] {
        let mut run = command(&held);
        let run = run.env("CONSTRUCTOR_OPENS", &bad).arg("addon").arg(mode).arg(&parts().guest);
        is_well(&checked(run.args([&opens, &good]).args(["abort", "134"])), mode);
    }
}

#[test]
fn a_slow_constructor_keeps_nobody_who_opens_nothing() {
    let folder = TempDir::new().expect("a folder");
    let held = host("held", folder.path());
    let (slow, good) = (addon(folder.path(), "SLEEPS"), addon(folder.path(), "RETURNS"));
    for mode in ["own", "ticked"] {
        let mut run = command(&held);
        let run = run.env("CONSTRUCTOR_MS", "2500").arg("meanwhile").arg(mode).arg(&parts().guest);
        is_well(&checked(run.args([&slow, &good])), mode);
    }
}

/// Rust's, C++'s and C's thread-local variables of an add-on, on threads that go on after the guest.
#[test]
fn what_an_add_on_leaves_in_a_thread_goes_with_the_guest() {
    let folder = TempDir::new().expect("a folder");
    let held = host("held", folder.path());
    let addon = folder.path().join("thread_locals.node");
    let mut compiler = Command::new("g++");
    compiler.args(["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-isystem"]);
    compiler.arg(&parts().headers).arg(root().join("fixtures/addons/thread_locals.cc"));
    checked(compiler.arg("-o").arg(&addon));
    for mode in ["own", "ticked"] {
        for aborts in [false, true] {
            let mut run = command(&held);
            run.env("THREAD_LOCALS", folder.path().join("destroyed"));
            if aborts {
                run.env("THREAD_LOCALS_ABORT", "1");
            }
            is_well(&checked(run.arg("locals").arg(mode).args([&parts().guest, &addon])), mode);
        }
    }
}

/// A guest beside whose libraries there is one more, with such a constructor. The guest names it in place of one of its own, which
/// that one names.
fn guest_with_constructor(folder: &Path) -> PathBuf {
    const OWN: &str = "libicui18n.so";
    const OURS: &str = "libbadi18n.so";
    let guest = &parts().guest;
    let mut bytes = std::fs::read(guest).expect("the guest");
    let at = bytes.windows(OWN.len()).position(|window| window == OWN.as_bytes()).expect("its DT_NEEDED");
    let name: Vec<u8> = bytes[at..].iter().copied().take_while(|byte| *byte != 0).collect();
    bytes[at..at + OWN.len()].copy_from_slice(OURS.as_bytes());
    let whole = String::from_utf8(name).expect("a name");
    let out = folder.join(guest.file_name().expect("a name"));
    std::fs::write(&out, bytes).expect("written");
    for entry in std::fs::read_dir(guest.parent().expect("a folder")).expect("readable") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name");
        if !folder.join(name).exists() {
            std::os::unix::fs::symlink(&path, folder.join(name)).expect("linked");
        }
    }
    let needs = format!("-l:{whole}");
    let from = format!("-L{}", guest.parent().expect("a folder").display());
    let ours = whole.replace(OWN, OURS);
    compiled(
        folder,
        &ours,
        &["-DLIBRARY", "-Wl,--no-as-needed", &from, &needs, "-Wl,--allow-shlib-undefined"],
    );
    out
}

#[test]
fn a_guest_whose_constructor_does_not_return_is_refused() {
    let (programs, folder) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let held = host("held", programs.path());
    let bad = guest_with_constructor(folder.path());
    for mode in ["own", "ticked"] {
        for does in ["aborts", "exits", "throws", "ends-thread"] {
            let mut run = command(&held);
            let run = run.env("CONSTRUCTOR_DOES", does).arg("guest").arg(mode);
            is_well(&checked(run.args([&bad, &parts().guest]).arg("E0506")), &format!("{does} {mode}"));
        }
    }
    let mut run = command(&held);
    run.env("CONSTRUCTOR_DOES", "sleeps").env("CONSTRUCTOR_MS", "100000");
    is_well(&checked(run.arg("hangs").arg(&bad)), "hangs");
}

#[test]
fn creates_that_wait_for_v8_keep_no_other_from_its_answer() {
    let folder = TempDir::new().expect("a folder");
    let source = root().join("fixtures/capi/waits.cc");
    let object = object(&source, folder.path());
    let of = |file: &Path| file.parent().expect("a folder").display().to_string();
    let (v8, relink) = (of(&parts().libv8), of(&parts().library));
    let paths =
        format!("-Wl,--disable-new-dtags,-rpath,{v8},-rpath-link,{v8},-rpath,{relink},-rpath-link,{relink}");
    let waits = folder.path().join("waits");
    let mut linker = Command::new("g++");
    linker.arg(object).arg(&parts().libv8).arg(&parts().library).args(["-pthread", &paths]);
    checked(linker.arg("-o").arg(&waits));
    let output = checked(command(&waits).args([&parts().guest, &parts().libv8]));
    is_well(&output, "waits");
}
