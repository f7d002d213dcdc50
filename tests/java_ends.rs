//! Process layer: a JVM ends or forgets its Runtime while Node is there (fixtures/java/Ends.java).

#[path = "support/c_hosts.rs"]
mod c_hosts;
mod support;

use c_hosts::{checked, root};
use relink::kit::java;
use relink::kit::progress;
use std::process::Command;
use std::time::{Duration, Instant};
use support::parts;
use tempfile::TempDir;

/// What a way prints and ends with.
const WAYS: [(&str, &str, i32); 8] = [
    ("pending", "ENDED\n", 0),
    ("sleeping", "", 4),
    ("exits-in-a-function", "", 5),
    ("halts", "", 6),
    ("waiting", "", 0),
    ("hooks", "hook\n", 7),
    ("signal", "", 143),
    ("dropped", "7 8 7 8 true\n", 0),
];

#[test]
fn java_ends_as_without_node() {
    let folder = TempDir::new().expect("a folder");
    let java = java::java(progress::terminal().as_ref()).unwrap_or_else(|e| panic!("{} {e}", e.code()));
    let classes = folder.path().join("classes");
    let mut compiler = Command::new(&java.javac);
    compiler
        .args(["-encoding", "UTF-8", "-Xlint:all", "-Werror", "-cp"])
        .arg(&java.jna)
        .arg("-d")
        .arg(&classes);
    compiler.arg(root().join("fixtures/java/Ends.java"));
    let package = std::fs::read_dir(root().join("shim/java/relink")).expect("the package");
    checked(compiler.args(package.map(|entry| entry.expect("an entry").path())));
    for (way, said, status) in WAYS {
        let mut command = Command::new(&java.java);
        for name in relink::config::VARIABLES.iter().chain(&[
            "LD_PRELOAD",
            "NODE_OPTIONS",
            "NODE_EXTRA_CA_CERTS",
            "CLASSPATH",
            "JAVA_TOOL_OPTIONS",
        ]) {
            command.env_remove(name);
        }
        command.env("RELINK_LIBRARY", &parts().library);
        command.env("LD_LIBRARY_PATH", parts().libv8.parent().expect("a folder"));
        command.arg("-Djna.nosys=false").arg(format!("-Djava.library.path={}", java.jna_library.display()));
        command.arg("-cp").arg(format!("{}:{}", java.jna.display(), classes.display()));
        let start = Instant::now();
        let output = command.arg("Ends").arg(way).arg(&parts().guest).arg(&parts().libv8).output();
        let output = output.expect("it runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(String::from_utf8_lossy(&output.stdout), said, "{way}: {errors}");
        assert_eq!(output.status.code(), Some(status), "{way}: {errors}");
        // Start-up, what it does, and an end that waits for nothing: it was 6 s more.
        assert!(start.elapsed() < Duration::from_secs(6), "{way}: {:?}", start.elapsed());
    }
}
