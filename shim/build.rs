//! Compiles the C++ bridge once per line of V8, to `bridge-LINE.so` in `OUT_DIR`; `librelink.so` embeds them all.
//! Makes Rust of the C interface's header, `relink_h.rs`.
//!
//! A bridge is a shared object of its own, so that librelink.so does not depend on libstdc++ and stays inert in a
//! process without a V8. Its undefined `v8::` and `node::` symbols are bound by Relink's loader at run time.

use relink_header::{Functions, Header};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The C interface. Its functions are defined in these modules.
const INTERFACE: &str = "include/relink.h";
const DEFINED: &str = "crate::{answer::*, api::*, embed::*, relink_version}";

/// Sources in `cpp/`.
const SOURCES: [&str; 12] = [
    "about.cc",
    "adapters.cc",
    "channel.cc",
    "escape.cc",
    "flags.cc",
    "group.cc",
    "instance.cc",
    "platform.cc",
    "process.cc",
    "runtime.cc",
    "shared.cc",
    "state.cc",
];

/// The one that is compiled with exceptions, for it catches what others throw.
const WITH_EXCEPTIONS: &str = "protect.cc";

/// Files that the sources include, and the version script; besides, the headers of each line, which relink-abi's build makes.
const INCLUDED: [&str; 16] = [
    "../adapters/loan.h",
    "../adapters/slot_of.h",
    "../adapters/unit.h",
    "about.h",
    "bridge.h",
    "bridge.map",
    "channel.h",
    "hooks.h",
    "instance.h",
    "internal.h",
    "napi_abi.h",
    "node_abi.h",
    "runtime.h",
    "shared.h",
    "signal_mask.h",
    "v8_abi.h",
];

/// How the bridge is compiled: nothing exported but what `bridge.map` names, nothing unique process-wide.
const COMPILE: [&str; 11] = [
    "-std=c++17",
    "-O2",
    "-fPIC",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-fvisibility=hidden",
    "-fvisibility-inlines-hidden",
    "-fno-gnu-unique",
    "-fno-exceptions",
    "-fno-rtti",
];

/// How it is linked: lazily, for nothing of it can be bound before the loader has found host and guest.
const LINK: [&str; 6] = [
    "-shared",
    "-Wl,-soname,relink-bridge.so",
    "-Wl,-Bsymbolic",
    "-Wl,-z,lazy",
    "-Wl,--as-needed",
    "-Wl,--build-id",
];

fn main() {
    let cpp = Path::new("cpp");
    for file in SOURCES.iter().chain(&INCLUDED).chain(&[WITH_EXCEPTIONS]) {
        println!("cargo:rerun-if-changed={}", cpp.join(file).display());
    }
    println!("cargo:rerun-if-changed=build.rs");
    // Hosts that are linked with it find it by this name.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,librelink.so");
    // The host's platform, its exit() and its guest refer to it: dlclose() leaves it where it is.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    let Some(out) = std::env::var_os("OUT_DIR") else {
        fail("OUT_DIR is not set: run this through cargo");
    };
    let out = PathBuf::from(out);
    interface(&out.join("relink_h.rs"));
    let protect = out.join("protect.o");
    let mut command = compiler();
    command.args(COMPILE).args(["-fexceptions", "-c"]).arg(cpp.join(WITH_EXCEPTIONS)).arg("-o").arg(&protect);
    run(&mut command);
    // Of relink-abi's build: the folder with a folder of headers for each line, and the lines, V8=NODE.
    let [Ok(headers), Ok(lines)] = ["DEP_RELINK_ABI_LINES", "DEP_RELINK_ABI_NODES"].map(std::env::var) else {
        fail("relink-abi's build does not say where the lines' headers are: run this through cargo");
    };
    let headers = Path::new(&headers);
    println!("cargo:rerun-if-changed={}", headers.display());
    let mut all = String::from("&[\n");
    std::thread::scope(|scope| {
        for (line, node) in lines.split(' ').filter_map(|pair| pair.split_once('=')) {
            let output = out.join(format!("bridge-{line}.so"));
            let protect = &protect;
            all += &format!("    bridge!({line:?}),\n");
            scope.spawn(move || compile(cpp, &headers.join(line), line, node, protect, &output));
        }
    });
    if let Err(error) = std::fs::write(out.join("bridges.rs"), all + "]\n") {
        fail(&format!("{}: {error}", out.display()));
    }
}

/// The C interface's header as Rust.
fn interface(to: &Path) {
    println!("cargo:rerun-if-changed={INTERFACE}");
    let text = std::fs::read_to_string(INTERFACE).unwrap_or_else(|e| fail(&format!("{INTERFACE}: {e}")));
    let header = Header::parse(&text).unwrap_or_else(|e| fail(&format!("{INTERFACE}: {e}")));
    if let Err(error) = std::fs::write(to, header.rust(Functions::Defined(DEFINED))) {
        fail(&format!("{}: {error}", to.display()));
    }
}

/// Compiles and links the sources in `cpp`, and an object file, for one line, with its own headers, to the shared object `output`.
fn compile(cpp: &Path, headers: &Path, line: &str, node: &str, object: &Path, output: &Path) {
    let (major, minor) = line.split_once('.').unwrap_or((line, "0"));
    let mut command = compiler();
    command.args(COMPILE).args(LINK);
    command.arg(format!("-DRELINK_V8={major}{minor:0>2}")).arg(format!("-DRELINK_NODE={node}"));
    command.arg("-I").arg(headers);
    command.arg(format!("-Wl,--version-script={}", cpp.join("bridge.map").display()));
    command.args(SOURCES.map(|source| cpp.join(source))).arg(object);
    run(command.arg("-o").arg(output));
}

/// Runs the compiler.
fn run(command: &mut Command) {
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => {
            fail(&format!("the C++ bridge did not compile ({status}): see the compiler's messages above"))
        }
        Err(error) => {
            fail(&format!("cannot run the C++ compiler {command:?}: {error}; on Debian: apt install g++"))
        }
    }
}

/// The machine's C++ compiler, as the `cc` crate finds it ($CXX, cross prefixes).
fn compiler() -> Command {
    let mut build = cc::Build::new();
    build.cpp(true).cargo_metadata(false).no_default_flags(true);
    match build.try_get_compiler() {
        Ok(tool) => tool.to_command(),
        Err(error) => fail(&format!("no C++ compiler: {error}; on Debian: apt install g++")),
    }
}

/// Ends the build with one clear line.
fn fail(message: &str) -> ! {
    eprintln!("relink-shim: {message}");
    std::process::exit(1);
}
