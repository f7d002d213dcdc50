//! Layer: `relink inspect` on running processes: which V8s, how far they are, whose platform; and nothing disturbed.

#[path = "support/process.rs"]
mod process;
mod support;

use nix::sys::signal::Signal;
use process::{Program, Running};
use serde_json::Value;
use std::process::Command;
use support::parts;

/// What the command says of a process, and its exit status.
fn inspect(pid: u32) -> (Value, Option<i32>) {
    let output = Command::new(&parts().relink).args(["inspect", "--json", &pid.to_string()]).output();
    let output = output.expect("relink runs");
    let found = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    (found, output.status.code())
}

/// Looks until V8 is initialised, and says what is seen then.
fn initialised(process: &mut Running) -> Value {
    let mut last = Value::Null;
    process.wait_until("initialised", |process| {
        last = inspect(process.pid()).0;
        last["modules"][0]["state"]["value"] == "initialised"
    });
    last
}

#[test]
fn a_node_executable() {
    let mut node = Program::node_until("stop").start();
    let found = initialised(&mut node);
    let modules = found["modules"].as_array().expect("modules");
    assert_eq!(modules.len(), 1, "{found:#}");
    let module = &modules[0];
    assert_eq!(module["file"], parts().node.to_str().expect("UTF-8"));
    assert_eq!((&module["v8"], &module["kind"]), (&"dynsym".into(), &"executable".into()));
    assert_eq!(module["platform"]["value"], "node::NodePlatform");
    assert_eq!(module["node"]["module_version"]["value"], 108);
    assert!(node.proc("status").contains("TracerPid:\t0"), "it is not traced");
    std::fs::write(node.folder().join("stop"), "").expect("written");
    assert_eq!(node.wait().code(), 5, "it goes on as it would");
}

#[test]
fn a_program_with_v8_in_a_library() {
    let mut game = Program::endless_gameserver().start();
    let found = initialised(&mut game);
    let module = &found["modules"][0];
    assert_eq!((&module["v8"], &module["kind"]), (&"dynsym".into(), &"library".into()), "{found:#}");
    assert_eq!(module["platform"]["value"], "v8::platform::DefaultPlatform");
    assert_eq!(module["version"]["value"], "10.2.154.26-node.37");
    game.signal(Signal::SIGKILL);
    game.wait();
}

#[test]
fn a_host_with_a_guest_in_it() {
    let source = "require('fs').writeFileSync('up', ''); setInterval(() => {}, 1000);";
    let mut game = Program::endless_gameserver().relinked_source(source).start();
    game.wait_until("the guest", |game| {
        let found = inspect(game.pid()).0;
        let modules = found["modules"].as_array().expect("modules").clone();
        modules.iter().any(|m| m["v8"] == "dynsym")
            && modules.iter().any(|m| m["guest"]["node"] == "18.20.4" && m["v8"] == "not_seen")
    });
    game.signal(Signal::SIGKILL);
    game.wait();
}

#[test]
fn a_process_without_v8_and_one_that_is_not_there() {
    let mut sleeper = Command::new("sleep").arg("30").spawn().expect("sleep runs");
    let (found, status) = inspect(sleeper.id());
    assert_eq!((found["modules"].as_array().map(Vec::len), status), (Some(0), Some(1)), "{found:#}");
    let pid = sleeper.id();
    sleeper.kill().expect("killed");
    sleeper.wait().expect("ended");
    let output = Command::new(&parts().relink).args(["inspect", &pid.to_string()]).output().expect("runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("E0810"), "{output:?}");
}
