//! Process layer: the Java package (shim/java) on JNA, in a JVM that has no V8 and then one that was started.

#[path = "support/c_hosts.rs"]
mod c_hosts;
mod support;

use c_hosts::{checked, root};
use relink::kit::java::{self, Java};
use relink::kit::progress;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::parts;
use tempfile::TempDir;

/// The package, an example and a test as classes in `folder`.
fn compiled(java: &Java, folder: &Path) -> PathBuf {
    let classes = folder.join("classes");
    let mut sources =
        vec![root().join("shim/java/examples/Hello.java"), root().join("fixtures/java/Uses.java")];
    let package = std::fs::read_dir(root().join("shim/java/relink")).expect("the package");
    sources.extend(package.map(|entry| entry.expect("an entry").path()));
    let mut command = Command::new(&java.javac);
    command.args(["-encoding", "UTF-8", "-Xlint:all", "-Werror", "-cp"]).arg(&java.jna);
    checked(command.arg("-d").arg(&classes).args(sources));
    classes
}

/// A JVM with the library, JNA and V8's own libraries at hand, in an environment without anything of Relink's or Node's.
fn virtual_machine(java: &Java, classes: &Path) -> Command {
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

#[test]
fn java_talks_to_node() {
    let folder = TempDir::new().expect("a folder");
    let java = java::java(progress::terminal().as_ref()).unwrap_or_else(|e| panic!("{} {e}", e.code()));
    let classes = compiled(&java, folder.path());
    std::fs::write(folder.path().join("module.mjs"), "export const twice = (x) => 2 * x;\n")
        .expect("written");
    for guest in [&parts().guest, &parts().libv8] {
        let mut command = virtual_machine(&java, &classes);
        let output = checked(command.arg("Uses").arg(guest).arg(&parts().libv8).arg(folder.path()));
        assert_eq!(String::from_utf8_lossy(&output.stdout), "all is well\n", "{}", guest.display());
    }
    let mut command = virtual_machine(&java, &classes);
    let output = checked(command.arg("Hello").arg(&parts().guest).arg(&parts().libv8));
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said, "{\"from\":\"Java\",\"args\":[\"world\"],\"version\":\"v18.20.4\"}\n");
}

/// For machines without a JDK; 120 MB, once.
#[test]
#[ignore = "a download of 120 MB"]
fn an_unpacked_jdk_compiles_and_runs() {
    let folder = TempDir::new().expect("a folder");
    let progress = progress::terminal();
    let failed = |e: relink::kit::KitError| -> ! { panic!("{} {e}", e.code()) };
    let (javac, program) = java::unpacked_jdk(progress.as_ref()).unwrap_or_else(|e| failed(e));
    let mut java = java::java(progress.as_ref()).unwrap_or_else(|e| failed(e));
    (java.javac, java.java) = (javac, program);
    let classes = compiled(&java, folder.path());
    let mut command = virtual_machine(&java, &classes);
    let output = checked(command.arg("Hello").arg(&parts().guest).arg(&parts().libv8));
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"version\":\"v18.20.4\""));
}
