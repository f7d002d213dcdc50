//! A Java machine with shim/java.

use crate::c_hosts::{checked, root};
use crate::support::parts;
use relink::kit::java::Java;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The package and these sources of the tree as classes in `folder`.
pub fn compiled(java: &Java, folder: &Path, with: &[&str]) -> PathBuf {
    let classes = folder.join("classes");
    let mut sources: Vec<PathBuf> = with.iter().map(|source| root().join(source)).collect();
    let package = std::fs::read_dir(root().join("shim/java/relink")).expect("the package");
    sources.extend(package.map(|entry| entry.expect("an entry").path()));
    let mut command = Command::new(&java.javac);
    command.args(["-encoding", "UTF-8", "-Xlint:all", "-Werror", "-cp"]).arg(&java.jna);
    checked(command.arg("-d").arg(&classes).args(sources));
    classes
}

/// A JVM with the library, JNA and V8's own libraries at hand, in an environment without anything of Relink's or Node's.
pub fn virtual_machine(java: &Java, classes: &Path) -> Command {
    let mut command = Command::new(&java.java);
    for name in relink::config::VARIABLES.iter().chain(&[
        "LD_PRELOAD",
        "NODE_OPTIONS",
        "CLASSPATH",
        "JAVA_TOOL_OPTIONS",
    ]) {
        command.env_remove(name);
    }
    command.env("RELINK_LIBRARY", &parts().library);
    command.env("LD_LIBRARY_PATH", parts().libv8.parent().expect("a folder"));
    command.arg("-Djna.nosys=false").arg(format!("-Djava.library.path={}", java.jna_library.display()));
    command.arg("-cp").arg(format!("{}:{}", java.jna.display(), classes.display()));
    command
}
