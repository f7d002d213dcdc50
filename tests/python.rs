//! Process layer: the Python package (shim/python), installed by pip without a network, in processes of several kinds.

#[path = "support/c_hosts.rs"]
mod c_hosts;
mod support;

use c_hosts::{checked, root};
use relink::kit::cache::Cache;
use relink::kit::pypi;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use support::parts;
use tempfile::TempDir;

/// The distribution's Python; others may be without pip or shared libraries.
const PYTHON: &str = "/usr/bin/python3.11";
/// What pip builds the package with: `NAME==VERSION`, and its wheel's SHA-256.
const BUILD: (&str, &str) =
    ("flit_core==3.9.0", "7aada352fb0c7f5538c4fafeddf314d3a6a92ee8e2b1de70482329e42de70301");

/// A Python with the package installed, and the folder that it goes with.
struct Installed {
    _folder: TempDir,
    python: PathBuf,
    host: PathBuf,
    scripts: PathBuf,
}

fn installed() -> &'static Installed {
    static INSTALLED: OnceLock<Installed> = OnceLock::new();
    INSTALLED.get_or_init(install)
}

/// A Python's command in an environment without anything of Relink's, Node's or the user's Python.
fn command(python: &Path) -> Command {
    let mut command = Command::new(python);
    for name in
        relink::config::VARIABLES.iter().chain(&["LD_PRELOAD", "NODE_OPTIONS", "PYTHONPATH", "PYTHONHOME"])
    {
        command.env_remove(name);
    }
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn install() -> Installed {
    let folder = TempDir::new().expect("a folder");
    let cache = Cache::locate().unwrap_or_else(|e| panic!("{} {e}", e.code()));
    let build = pypi::file(&cache, BUILD.0, BUILD.1).unwrap_or_else(|e| panic!("{} {e}", e.code()));
    let environment = folder.path().join("venv");
    checked(command(Path::new(PYTHON)).args(["-m", "venv"]).arg(&environment));
    let python = environment.join("bin/python");
    let mut pip = command(&python);
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-cache-dir",
        "--disable-pip-version-check",
    ]);
    pip.arg("--find-links").arg(build.parent().expect("a folder"));
    checked(pip.arg(root().join("shim/python")));
    let scripts = folder.path().join("scripts");
    std::fs::create_dir(&scripts).expect("a folder");
    std::fs::write(scripts.join("module.mjs"), "export const twice = (x) => 2 * x;\n").expect("written");
    std::fs::write(scripts.join("alone.js"), "module.exports = () => 'alone';\n").expect("written");
    let host = host(folder.path());
    Installed { _folder: folder, python, host, scripts }
}

/// A library with a V8 that is entered.
fn host(folder: &Path) -> PathBuf {
    let output = folder.join("libhost.so");
    let place = parts().libv8.parent().expect("a folder").display();
    let mut command = Command::new("g++");
    let c = folder.join("host.o");
    checked(
        Command::new("gcc")
            .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-Wno-main", "-fPIC", "-c"])
            .arg(root().join("fixtures/python/host.c"))
            .arg("-o")
            .arg(&c),
    );
    command.args([
        "-std=c++17",
        "-D_GNU_SOURCE",
        "-O1",
        "-g",
        "-fPIC",
        "-shared",
        "-Wl,-Bsymbolic",
        "-isystem",
    ]);
    command.arg(&parts().headers).arg(root().join("fixtures/hosts/v8_main.cc")).arg(c).arg(&parts().libv8);
    command.arg(format!("-Wl,--disable-new-dtags,-rpath,{place},-rpath-link,{place}"));
    checked(command.arg("-pthread").arg("-o").arg(&output));
    output
}

/// Runs a program of Python's with the library and V8's own libraries at hand.
fn run(script: &Path, args: &[&Path]) -> Output {
    let mut command = command(&installed().python);
    command.env("RELINK_LIBRARY", &parts().library);
    command.env("LD_LIBRARY_PATH", parts().libv8.parent().expect("a folder"));
    command.arg(script).args(args);
    checked(&mut command)
}

/// The tests of a class in uses.py; all must have run.
fn uses(class: &str, count: usize) {
    for guest in [&parts().guest, &parts().libv8] {
        let it = installed();
        let args: [&Path; 5] = [Path::new(class), guest, &parts().libv8, &it.host, &it.scripts];
        let output = run(&root().join("fixtures/python/uses.py"), &args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains(&format!("\nRan {count} tests in ")) && said.trim_end().ends_with("\nOK"),
            "{class}: {said}"
        );
    }
}

#[test]
fn python_without_a_v8_is_refused() {
    uses("Without", 2);
}

#[test]
fn python_starts_a_v8_and_talks_to_node() {
    uses("OwnThread", 10);
}

#[test]
fn python_ticks_node() {
    uses("Ticked", 8);
}

#[test]
fn python_in_a_process_whose_v8_is_entered() {
    uses("InAHost", 7);
}

#[test]
fn the_example_works() {
    let folder = TempDir::new().expect("a folder");
    let source = folder.path().join("run.py");
    let example = root().join("shim/python/examples/hello.py");
    let start = "import runpy, sys, relink\nrelink.v8.start(sys.argv[2])\nrunpy.run_path(sys.argv[3], run_name='__main__')\n";
    std::fs::write(&source, start).expect("written");
    let output = run(&source, &[&parts().guest, &parts().libv8, &example]);
    let said = String::from_utf8_lossy(&output.stdout);
    let wanted = "Hello from Python, world and from Node v18.20.4\n['after 20 ms', 'after 10 ms']\n";
    assert_eq!(said, wanted, "{}", String::from_utf8_lossy(&output.stderr));
}

/// The one number of V8's that the package knows, as the compiler sees it in the real headers.
#[test]
fn the_allocator_is_where_the_package_says() {
    let folder = TempDir::new().expect("a folder");
    let source = folder.path().join("offset.cc");
    let code = "#include <v8.h>\n#include <cstddef>\n#include <cstdio>\n\
                int main() { std::printf(\"%zu\", offsetof(v8::Isolate::CreateParams, array_buffer_allocator)); }\n";
    std::fs::write(&source, code).expect("written");
    let program = folder.path().join("offset");
    let mut compiler = Command::new("g++");
    compiler.args(["-std=c++17", "-Wno-invalid-offsetof", "-isystem"]).arg(&parts().headers);
    checked(
        compiler
            .arg(&source)
            .arg(&parts().libv8)
            .arg("-Wl,--unresolved-symbols=ignore-all")
            .arg("-o")
            .arg(&program),
    );
    let mut run = Command::new(&program);
    let printed = checked(run.env("LD_LIBRARY_PATH", parts().libv8.parent().expect("a folder"))).stdout;
    let package = std::fs::read_to_string(root().join("shim/python/relink/v8.py")).expect("the package");
    let wanted = format!("(10, 2): {},", String::from_utf8_lossy(&printed));
    assert!(package.contains(&wanted), "{wanted}");
}
