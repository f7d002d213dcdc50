//! Hosts written in C (fixtures/capi), linked with librelink.so and a real V8.
#![allow(dead_code, reason = "each test file uses its own part of this")]

use crate::support::parts;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// This tree.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a command that must succeed.
pub fn checked(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    output
}

/// Compiles `source` as strict C99 (or C++, by its name) to an object file.
pub fn object(source: &Path, folder: &Path) -> PathBuf {
    object_with(&[], source, folder)
}

/// The same with more options.
pub fn object_with(options: &[&str], source: &Path, folder: &Path) -> PathBuf {
    let output = folder.join(source.file_name().expect("a name")).with_extension("o");
    let is_c = source.extension().is_some_and(|e| e == "c");
    let mut command = if is_c { Command::new("gcc") } else { Command::new("g++") };
    // Debian's headers of V8 are C++17; POSIX beside C99 is for the hosts themselves.
    command.args(if is_c { ["-std=c99", "-D_DEFAULT_SOURCE"] } else { ["-std=c++17", "-D_GNU_SOURCE"] });
    // The examples are hosts of ours then.
    command.arg("-DHOST");
    command.args(["-O1", "-g", "-Wall", "-Wextra", "-Werror", "-isystem"]).arg(&parts().headers);
    command.arg("-I").arg(root().join("shim/include")).arg("-I").arg(root().join("fixtures/capi"));
    checked(command.args(options).arg("-c").arg(source).arg("-o").arg(&output));
    output
}

/// Compiles fixtures/capi/`name`.c as an add-on of an official node's, linked with librelink.so.
pub fn addon(name: &str, folder: &Path) -> PathBuf {
    let addon = folder.join(name).with_extension("node");
    let relink = parts().library.parent().expect("a folder").display();
    let source = root().join("fixtures/capi").join(name).with_extension("c");
    let mut compiler = Command::new("gcc");
    compiler.args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-isystem"]);
    compiler.arg(&parts().headers).arg("-I").arg(root().join("shim/include"));
    compiler.arg(source).arg(&parts().library);
    checked(compiler.arg(format!("-Wl,-rpath,{relink}")).arg("-o").arg(&addon));
    addon
}

/// Links object files with fixtures/hosts/v8_main.cc to the program `name`.
pub fn program(name: &str, objects: &[PathBuf], folder: &Path) -> PathBuf {
    program_with(&[], name, objects, folder)
}

/// The same with more options for compiler and linker.
pub fn program_with(options: &[&str], name: &str, objects: &[PathBuf], folder: &Path) -> PathBuf {
    let main = object_with(options, &root().join("fixtures/hosts/v8_main.cc"), folder);
    let program = folder.join(name);
    let of = |file: &Path| file.parent().expect("a folder").display().to_string();
    let (v8, relink) = (of(&parts().libv8), of(&parts().library));
    let paths =
        format!("-Wl,--disable-new-dtags,-rpath,{v8},-rpath-link,{v8},-rpath,{relink},-rpath-link,{relink}");
    let mut command = Command::new("g++");
    command.args(objects).arg(main).arg(&parts().libv8).arg(&parts().library);
    checked(command.args(options).args(["-pthread", &paths]).arg("-o").arg(&program));
    program
}

/// The host of this name in fixtures/capi.
pub fn host(name: &str, folder: &Path) -> PathBuf {
    let source = root().join("fixtures/capi").join(format!("{name}.c"));
    program(name, &[object(&source, folder)], folder)
}

/// A folder with the scripts that the hosts load.
pub fn scripts() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let write = |name, text| std::fs::write(folder.path().join(name), text).expect("written");
    write("module.mjs", "export const twice = (x) => 2 * x;\n");
    write("common.js", "module.exports = (x) => `hello ${x}`;\n");
    let takes = "module.exports = (mine) => {\n  mine.seen.push(1, 2);\n  mine.answer = mine.add(40, 2);\n  \
                 return { mine, list: [1, 2, 3] };\n};\n";
    write("takes.js", takes);
    folder
}

/// A host, in an environment without anything of Relink's or Node's.
pub fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for name in relink::config::VARIABLES.iter().chain(&["LD_PRELOAD", "NODE_OPTIONS", "NODE_EXTRA_CA_CERTS"])
    {
        command.env_remove(name);
    }
    command
}
