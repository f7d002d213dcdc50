//! Process layer: librelink_loader.so, loaded by a driver of ours that speaks the loader interface of MetaCall's core.

#[path = "support/c_hosts.rs"]
mod c_hosts;
mod support;

use c_hosts::{checked, root};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::parts;
use tempfile::TempDir;

/// How a driver is built.
#[derive(Clone, Copy, PartialEq)]
enum Driver {
    /// The core's names are the program's.
    Plain,
    /// As [`Self::Plain`], with a core that lacks some functions.
    Lacking,
    /// A program without a V8.
    WithoutV8,
    /// The core's names are a plugin's own.
    Private,
}

/// Compiles a C source of fixtures/metacall as strict C99.
fn object(name: &str, define: Option<&str>, folder: &Path) -> PathBuf {
    let output = folder.join(name).with_extension("o");
    let mut command = Command::new("gcc");
    command.args(["-std=c99", "-D_DEFAULT_SOURCE", "-O1", "-g", "-fPIC", "-Wall", "-Wextra", "-Werror"]);
    command.args(define).arg("-c").arg(root().join("fixtures/metacall").join(name)).arg("-o").arg(&output);
    checked(&mut command);
    output
}

/// Links object files to a program whose names others can see, or to a plugin.
fn link(objects: &[PathBuf], options: &[&str], output: &Path) {
    let mut command = Command::new("g++");
    checked(command.args(objects).args(options).args(["-rdynamic", "-pthread", "-ldl", "-o"]).arg(output));
}

/// The command that runs a driver, up to the library's name.
fn driver(kind: Driver, folder: &Path) -> Command {
    let define = match kind {
        Driver::Lacking => Some("-DLACKING"),
        Driver::WithoutV8 => Some("-DWITHOUT_V8"),
        Driver::Plain | Driver::Private => None,
    };
    let mut objects = ["driver.c", "values.c", "core.c"].map(|name| object(name, define, folder)).to_vec();
    let program = folder.join("driver");
    if kind == Driver::WithoutV8 {
        link(&objects, &[], &program);
        return Command::new(program);
    }
    let mut command = Command::new(&program);
    if kind == Driver::Private {
        let plugin = folder.join("plugin.so");
        link(&objects, &["-shared"], &plugin);
        command.arg(&plugin);
        objects = vec![object("private.c", None, folder)];
    }
    objects.push(c_hosts::object(&root().join("fixtures/hosts/v8_main.cc"), folder));
    let v8 = &parts().libv8;
    let place = v8.parent().expect("a folder").display();
    let paths = format!("-Wl,--disable-new-dtags,-rpath,{place},-rpath-link,{place}");
    link(&objects, &[&v8.display().to_string(), &paths], &program);
    command
}

/// The library under the name by which the core asks for it.
fn library(folder: &Path) -> PathBuf {
    let link = folder.join("librelink_loader.so");
    std::os::unix::fs::symlink(&parts().library, &link).expect("a link");
    link
}

/// A folder of scripts for `driver.c`.
fn scripts() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
    let common =
        "exports.greet = (who) => `hello ${who}`;\nexports.helper = () => require('packed').packed();\n";
    write("common.js", common);
    write("module.mjs", "export const twice = (x) => 2 * x;\n");
    write("changing.js", "exports.version = () => 'one';\n");
    write("alone.js", "module.exports = () => 'alone';\n");
    std::fs::create_dir(folder.path().join("packed")).expect("a folder");
    write("packed/index.js", "exports.packed = () => 'packed';\n");
    folder
}

/// Runs a driver in an environment without anything of Relink's or Node's.
fn run(command: &mut Command) -> Output {
    for name in relink::config::VARIABLES.iter().chain(&["LD_PRELOAD", "NODE_OPTIONS", "RELINK_LOADER_GUEST"])
    {
        command.env_remove(name);
    }
    checked(command)
}

fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes).lines().map(String::from).collect()
}

/// What is said of scripts that cannot be loaded.
const TOLD: [&str; 6] = [
    "relink: loader: cannot load common.js: Error: Cannot find module 'common.js'",
    "relink: loader: cannot load the package no such package: Error: Cannot find module 'no such package'",
    "relink: loader: cannot load missing.js: Error: Cannot find module 'missing.js'",
    "relink: loader: cannot load common.js, missing.js: Error: Cannot find module 'missing.js'",
    "relink: loader: cannot load the script \"wrong\" from memory: SyntaxError: Unexpected identifier",
    "relink: loader: cannot load the script \"throws\" from memory: thrown: 1",
];

#[test]
fn a_core_loads_and_calls_scripts_of_every_kind() {
    let folder = TempDir::new().expect("a folder");
    let library = library(folder.path());
    for kind in [Driver::Plain, Driver::Private] {
        let driver = driver(kind, folder.path());
        for guest in [&parts().guest, &parts().libv8] {
            let scripts = scripts();
            let mut command = Command::new(driver.get_program());
            command.args(driver.get_args()).arg(&library).arg(guest).arg(scripts.path());
            let output = run(command.current_dir(folder.path()));
            assert_eq!(lines(&output.stdout), ["all is well"], "{}", guest.display());
            assert_eq!(lines(&output.stderr), TOLD, "{}", guest.display());
        }
    }
}

#[test]
fn what_is_missing_is_named() {
    let wanted: [(Driver, &str, &str); 4] = [
        (
            Driver::Lacking,
            "/no/guest.so",
            "E0610 the process has no core for the loader interface, or one of another version: exception_stacktrace, \
             throwable_value are missing; load MetaCall's core 0.9 with its symbols visible",
        ),
        (Driver::Plain, "", "E0101 RELINK_LOADER_GUEST: no guest is named; set it, or \"guest\" in relink_loader.json, "),
        (Driver::Plain, "/no/guest.so", "E0301 guest \"/no/guest.so\": "),
        (Driver::WithoutV8, &parts().guest.display().to_string(), "E0201 no V8: none of "),
    ];
    for (kind, guest, told) in wanted {
        let folder = TempDir::new().expect("a folder");
        let library = library(folder.path());
        let output = run(driver(kind, folder.path()).arg(&library).arg(guest).arg("-"));
        assert_eq!(lines(&output.stdout), ["refused"], "{told}");
        let errors = String::from_utf8_lossy(&output.stderr);
        let found = errors.lines().any(|line| line.starts_with(&format!("relink: loader: {told}")));
        assert!(found, "{told}: {errors}");
    }
}

/// Named by the environment, or lying beside the library.
#[test]
fn a_guest_is_found_without_a_configuration() {
    let folder = TempDir::new().expect("a folder");
    let library = library(folder.path());
    let mut named = driver(Driver::Plain, folder.path());
    named.arg(&library).arg("").arg("-");
    let mut beside = Command::new(named.get_program());
    beside.args(named.get_args());
    for name in relink::config::VARIABLES {
        named.env_remove(name);
    }
    let output = checked(named.env("RELINK_LOADER_GUEST", &parts().guest));
    assert_eq!(lines(&output.stdout), ["initialised"]);
    let link = folder.path().join(parts().guest.file_name().expect("a name"));
    std::os::unix::fs::symlink(&parts().guest, link).expect("a link");
    let output = run(&mut beside);
    assert_eq!(lines(&output.stdout), ["initialised"], "{}", String::from_utf8_lossy(&output.stderr));
}
