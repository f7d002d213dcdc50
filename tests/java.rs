//! Process layer: the Java package (shim/java) on JNA, in a JVM that has no V8 and then one that was started.

#[path = "support/c_hosts.rs"]
mod c_hosts;
#[path = "support/java_machine.rs"]
mod java_machine;
mod support;

use c_hosts::checked;
use java_machine::{compiled, virtual_machine};
use relink::kit::{java, progress};
use support::parts;
use tempfile::TempDir;

/// An example and a test.
const SOURCES: [&str; 2] = ["shim/java/examples/Hello.java", "fixtures/java/Uses.java"];

#[test]
fn java_talks_to_node() {
    let folder = TempDir::new().expect("a folder");
    let java = java::java(progress::terminal().as_ref()).unwrap_or_else(|e| panic!("{} {e}", e.code()));
    let classes = compiled(&java, folder.path(), &SOURCES);
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
    let classes = compiled(&java, folder.path(), &SOURCES);
    let mut command = virtual_machine(&java, &classes);
    let output = checked(command.arg("Hello").arg(&parts().guest).arg(&parts().libv8));
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"version\":\"v18.20.4\""));
}
