//! Layer: the whole way, in hosts that fight back: a V8 of another version, two V8s, V8 in an interpreter's module, one that
//! comes late, a malloc of the host's own. What cannot be is refused, and every host does what it does without Relink.

#[path = "support/process.rs"]
mod process;
mod support;

use process::{Ended, Program};
use relink::config;
use relink::kit::{adapter, extra_hosts, hosts, progress, KitError};
use std::path::{Path, PathBuf};
use std::process::Command;
use support::parts;

fn fetched<T>(result: Result<T, KitError>) -> T {
    result.unwrap_or_else(|e| panic!("a part that the tests need: {} {e}", e.code()))
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scripts").join(name)
}

/// With the guest that nobody rebuilt.
fn stock(program: Program) -> Program {
    program.env(config::GUEST, &parts().libv8)
}

/// The guest's features, all of them.
fn complete(ended: &Ended) {
    let said = ended.guest_output();
    assert_eq!(said.lines().last(), Some("features: 45 ok, 0 failed"), "{said}\n{}", ended.stderr);
    assert_eq!(ended.outcome(), ("finished", 0));
}

/// One line with this code and these words, and the host's output and status as without Relink.
fn refused(ended: &Ended, plain: &Ended, code: &str, says: &[&str]) {
    ended.same_as(plain);
    let ours: Vec<_> = ended.stderr.lines().collect();
    assert_eq!(ours.len(), 1, "{}", ended.stderr);
    assert!(ours[0].starts_with(&format!("relink: {code} ")), "{}", ours[0]);
    assert!(ours[0].ends_with("; the host goes on without Node"), "{}", ours[0]);
    for words in says {
        assert!(ours[0].contains(words), "\"{words}\" is not in: {}", ours[0]);
    }
    let error = ended.report().error.as_ref().expect("an error");
    assert_eq!((error.code.as_str(), ended.report().outcome.is_none()), (code, true));
}

/// Without care this pair dies inside of the guest's constructors.
#[test]
fn node_20_refuses_a_guest_of_node_18() {
    let node = fetched(hosts::official_node("20.20.2", progress::terminal().as_ref()));
    let host = || {
        let program = Program::new(&node);
        let source =
            "let n = 0; setInterval(() => { console.log('host', ++n); if (n === 28) process.exit(3); }, 25)";
        let file = program.file("host.js", source).display().to_string();
        program.args(&[&file])
    };
    let plain = host().run();
    assert_eq!((plain.code(), plain.stdout.lines().count()), (3, 28));
    let ended = stock(host().relinked_source("1")).run();
    refused(&ended, &plain, "E0401", &["10.2.154.26", "11.3.244.8"]);
}

/// Debian 12's, for which the wheel of `stpyv8` is.
const PYTHON: &str = "/usr/bin/python3.11";

/// A Python program that uses its own V8 until `end` (Python's condition), and ends with 7.
fn python(wheel: &extra_hosts::Wheel, end: &str) -> Program {
    let library = fetched(extra_hosts::wheel(wheel, progress::terminal().as_ref()));
    let folder = library.parent().expect("a folder").display().to_string();
    let program = Program::new(PYTHON);
    let source = format!(
        "import os, sys, time\nsys.path.insert(0, sys.argv[1])\nimport STPyV8\n\
         with STPyV8.JSContext() as context:\n    i = 0\n    while not ({end}):\n        \
         print(context.eval('[1, 2, 3].map(x => x * %d).join()' % i), flush=True); time.sleep(.05)\n        \
         i += 1\nsys.exit(7)\n"
    );
    let file = program.file("host.py", &source).display().to_string();
    program.args(&[&file, &folder])
}

/// Builds the adapters for a Node 18 on the V8 of a wheel.
fn adapters_of(wheel: &extra_hosts::Wheel) {
    let (major, minor) = wheel.v8;
    let unit = adapter::unit(&format!("10.2-on-{major}.{minor}")).expect("a unit");
    fetched(adapter::build(unit, progress::terminal().as_ref()));
}

#[test]
fn python_with_a_v8_of_its_own_goes_on() {
    let python = || python(&extra_hosts::STPYV8, "i == 40");
    let plain = python().run();
    assert_eq!((plain.code(), plain.stdout.lines().count()), (7, 40), "{}", plain.stderr);
    for guest in [&parts().guest, &parts().libv8] {
        let program = python().relinked_source("1").env(config::GUEST, guest);
        let ended = program.env(config::HOST, "python3.11").run();
        refused(&ended, &plain, "E0401", &["10.2.154.26", "13.1.201.22"]);
        assert!(
            ended.report().provider.as_ref().is_some_and(|p| p.contains("_STPyV8")),
            "{:?}",
            ended.report()
        );
    }
}

/// A V8 that its module names in `.symtab` only, as every unstripped program with the crate `v8` has it: it is found, and refused by what it
/// is.
#[test]
fn a_v8_that_is_hidden_is_refused_by_what_it_is() {
    let folder = fetched(extra_hosts::wheel_modules(&extra_hosts::V8_PYTHON, progress::terminal().as_ref()));
    let python = || {
        let program = Program::new(PYTHON);
        let source = "import sys, time\nsys.path.insert(0, sys.argv[1])\nimport v8\n\
                      for i in range(20):\n    print(i, flush=True); time.sleep(.05)\nsys.exit(7)\n";
        let file = program.file("host.py", source).display().to_string();
        program.args(&[&file, &folder.display().to_string()])
    };
    let plain = python().run();
    assert_eq!((plain.code(), plain.stdout.lines().count()), (7, 20), "{}", plain.stderr);
    let program = python().relinked_source("1").env(config::GUEST, &parts().guest);
    let ended = program.env(config::HOST, "python3.11").run();
    refused(&ended, &plain, "E0401", &["14.7.173.20", "libc++ (std::__Cr)", "--v8-headers DIR --host FILE"]);
    assert!(
        ended.report().provider.as_ref().is_some_and(|p| p.contains("v8.cpython")),
        "{:?}",
        ended.report()
    );
}

/// A V8 that is in no Node: without inspector, hooks and fields of promises, its flags frozen, its ICU without data, no heap of C++ objects
/// set up, and no data for debuggers, so that only the live probe tells how many bits small integers have.
#[test]
fn python_with_a_v8_that_lacks_parts_gets_node_and_goes_on() {
    adapters_of(&extra_hosts::STPYV8_12_9);
    let until_reported = "os.path.exists(os.path.join(os.path.dirname(sys.argv[0]), 'report.json'))";
    let program = python(&extra_hosts::STPYV8_12_9, until_reported).relinked(&script("features.js"));
    let program = program.env(config::GUEST, &parts().guest).env(config::HOST, "python3.11");
    let ended = program.guest_output_to_file().run();
    assert!(ended.report().error.is_none(), "{:?}", ended.report().error);
    let said = ended.guest_output();
    let failed: Vec<_> = said.lines().filter_map(|l| l.strip_prefix("FAIL ")?.split(' ').next()).collect();
    assert_eq!(failed, ["intl", "inspector", "cpu-profile"], "{said}\n{}", ended.stderr);
    assert_eq!(said.lines().last(), Some("features: 42 ok, 3 failed"));
    assert_eq!((ended.outcome(), ended.code()), (("finished", 1), 7), "{}", ended.stderr);
    let expected = (0..).map(|n| format!("{n},{},{}", n * 2, n * 3));
    assert!(ended.stdout.lines().zip(expected).all(|(line, wanted)| line == wanted), "{}", ended.stdout);
    assert!(ended.report().degraded.iter().any(|lost| lost.contains("inspector")), "{:?}", ended.report());
    assert!(!ended.report().flags_dropped.is_empty(), "{:?}", ended.report());
}

/// This V8 has frozen its flags, and the limit of a heap is one: the guest's isolate gets it in another way.
#[test]
fn a_heap_that_is_full_stops_the_guest_where_flags_are_frozen() {
    adapters_of(&extra_hosts::STPYV8_12_9);
    let until_reported = "os.path.exists(os.path.join(os.path.dirname(sys.argv[0]), 'report.json'))";
    let leak = "const kept = []; setInterval(() => { for (let i = 0; i < 2000; i++) kept.push({ i, b: [i, i] }); }, 1);";
    let program = python(&extra_hosts::STPYV8_12_9, until_reported).relinked_source(leak);
    let program = program.env(config::GUEST, &parts().guest).env(config::HOST, "python3.11");
    let ended = program.env(config::NODE_ARGS, r#"["--max-old-space-size=30"]"#).run();
    assert_eq!((ended.outcome(), ended.code()), (("heap-limit", 134), 7), "{}", ended.stderr);
    assert!(ended.stderr.contains("limit of 30 MiB"), "{}", ended.stderr);
}

/// What only the live probe tells is asked for though the probe is switched off.
#[test]
fn what_nothing_tells_of_a_host_has_to_be_seen() {
    let python = || python(&extra_hosts::STPYV8_12_9, "i == 20");
    let plain = python().run();
    assert_eq!(plain.code(), 7, "{}", plain.stderr);
    let program = python().relinked_source("1").env(config::GUEST, &parts().guest);
    let ended = program.env(config::HOST, "python3.11").env(config::PROBE, "never").run();
    refused(&ended, &plain, "E0413", &["bits of a small integer", "RELINK_PROBE"]);
}

/// A game server that is linked with another V8 besides, which it does not use.
fn two_v8s(folder: &Path) -> PathBuf {
    let second = fetched(extra_hosts::wheel(&extra_hosts::MINI_RACER, progress::terminal().as_ref()));
    let host = folder.join("two");
    let folder_of = |library: &Path| library.parent().expect("a folder").display().to_string();
    let [first_lib, second_lib] = [folder_of(&parts().libv8), folder_of(&second)];
    let output = Command::new("g++")
        .args(["-std=c++17", "-O2", "-pthread", "-isystem"])
        .arg(&parts().headers)
        .arg("-o")
        .arg(&host)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hosts/gameserver.cc"))
        .args([&parts().libv8, Path::new("-Wl,--no-as-needed"), &second])
        .arg(format!("-Wl,--disable-new-dtags,-rpath,{first_lib}:{second_lib},-rpath-link,{first_lib}"))
        .output()
        .expect("g++ runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    host
}

#[test]
fn of_two_v8s_the_one_that_is_named_is_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let two = two_v8s(folder.path());
    let host = || stock(Program::new(&two).args(&["--frames", "60"]).relinked(&script("features.js")));
    let plain = Program::new(&two).args(&["--frames", "60"]).run();
    assert_eq!(plain.code(), 0, "{}", plain.stderr);
    refused(&host().run(), &plain, "E0202", &["libnode.so.108", "libmini_racer.so", "RELINK_PROVIDER"]);
    let other = host().env(config::PROVIDER, "mini_racer").run();
    refused(&other, &plain, "E0401", &["10.2.154.26", "14.4.258.23", "libc++", "8 bytes -> 4 bytes"]);

    let long = Program::new(&two).args(&["--frames", "1000000", "--fps", "50"]);
    let named = stock(long.relinked(&script("features.js"))).guest_output_to_file();
    let mut running = named.env(config::PROVIDER, "libnode").start();
    running.wait_for_file("report.json");
    running.signal(nix::sys::signal::Signal::SIGTERM);
    let ended = running.wait();
    complete(&ended);
    assert_eq!((ended.code(), ended.stderr.as_str()), (143, ""));
    let report = ended.report();
    assert!(
        report.provider.as_ref().is_some_and(|p| p.ends_with("/libnode.so.108")),
        "{:?}",
        report.provider
    );
    let because = report.provider_because.as_deref().expect("a reason");
    assert!(because.contains("RELINK_PROVIDER") && because.contains("libmini_racer.so"), "{because}");
    assert_eq!(report.v8_modules.len(), 2, "{:?}", report.v8_modules);
}

/// The V8 that is named comes after another one: a Python with `stpyv8` that then loads the game server as a library.
#[test]
fn a_v8_that_is_named_is_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = folder.path().join("libengine.so");
    let libraries = parts().libv8.parent().expect("a folder").display().to_string();
    let output = Command::new("g++")
        .args(["-std=c++17", "-O2", "-shared", "-fPIC", "-isystem"])
        .arg(&parts().headers)
        .arg("-o")
        .arg(&engine)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hosts/gameserver.cc"))
        .arg(&parts().libv8)
        .arg(format!("-Wl,--disable-new-dtags,-rpath,{libraries},-rpath-link,{libraries}"))
        .output()
        .expect("g++ runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let stpyv8 = fetched(extra_hosts::wheel(&extra_hosts::STPYV8, progress::terminal().as_ref()));
    let host = || {
        let program = Program::new(PYTHON);
        let source = "import sys, ctypes\nsys.path.insert(0, sys.argv[1])\nimport STPyV8\n\
                      context = STPyV8.JSContext()\ncontext.enter()\n\
                      print('python:', context.eval('[1, 2].map(x => x * 3).join()'), flush=True)\n\
                      engine = ctypes.CDLL(sys.argv[2])\n\
                      arguments = [b'engine', b'--frames', b'60', b'--fps', b'50']\n\
                      code = engine.main(len(arguments), (ctypes.c_char_p * 6)(*arguments, None))\n\
                      print('python:', context.eval('[3, 4].map(x => x * 3).join()'), code, flush=True)\n\
                      context.leave()\nsys.exit(7)\n";
        let file = program.file("host.py", source).display().to_string();
        let folder = stpyv8.parent().expect("a folder").display().to_string();
        program.args(&[&file, &folder, &engine.display().to_string()])
    };
    let plain = host().run();
    assert_eq!(plain.code(), 7, "{}", plain.stderr);
    let program = stock(host().relinked(&script("demo.js"))).guest_output_to_file().until_reported();
    let ended = program.env(config::HOST, "python3.11").env(config::PROVIDER, "libnode").run();
    ended.same_as(&plain);
    assert!(ended.guest_output().contains("six of six"), "{}\n{}", ended.guest_output(), ended.stderr);
    let because = ended.report().provider_because.as_deref().expect("a reason");
    assert!(because.contains("_STPyV8"), "{because}");
}

/// R with its V8 package, evaluating JavaScript until `end` (R's condition) or 400 times; it ends with 6.
fn r(end: &str) -> Program {
    let r = fetched(extra_hosts::r(progress::terminal().as_ref()));
    let libnode = parts().libv8.parent().expect("a folder").to_owned();
    let libraries = r.libraries.iter().chain([&libnode]);
    let libraries: Vec<_> = libraries.map(|folder| folder.display().to_string()).collect();
    let program = Program::new(&r.executable);
    let source = format!(
        ".libPaths(file.path(R.home(), 'site-library'))\nlibrary(V8)\nengine <- V8::v8()\n\
         for (i in 1:400) {{\n  cat('host', i, engine$eval(sprintf('[1, 2].map(x => x * %d).join()', i)), '\\n')\n  \
         flush(stdout())\n  Sys.sleep(0.05)\n  if ({end}) break\n}}\nquit(status = 6)\n"
    );
    let file = program.file("host.R", source).display().to_string();
    let folder = Path::new(&file).parent().expect("a folder").display().to_string();
    let program = program.args(&["--vanilla", "--no-echo", "-f", &file, "--args", &folder]);
    let program = program.env("R_HOME", &r.home).env("R_SHARE_DIR", &r.share);
    program.env("LD_LIBRARY_PATH", libraries.join(":")).env("R_DEFAULT_PACKAGES", "utils")
}

#[test]
fn r_with_its_v8_package_gets_node_and_goes_on() {
    let plain = r("i == 60").run();
    assert_eq!((plain.code(), plain.stdout.lines().count()), (6, 60), "{}", plain.stderr);
    for guest in [&parts().guest, &parts().libv8] {
        let program = r("i == 60").relinked_source("console.log('the guest runs')").guest_output_to_file();
        let ended = program.env(config::GUEST, guest).env(config::HOST, "R").run();
        ended.same_as(&plain);
        assert_eq!(ended.stderr, plain.stderr);
        assert_eq!((ended.outcome(), ended.guest_output().as_str()), (("finished", 0), "the guest runs\n"));
    }
    let program = r("file.exists(file.path(commandArgs(TRUE)[1], 'report.json'))");
    let ended =
        stock(program.relinked(&script("features.js"))).guest_output_to_file().env(config::HOST, "R").run();
    complete(&ended);
    assert_eq!(ended.code(), 6, "{}", ended.stderr);
    let because = ended.report().provider_because.as_deref();
    assert_eq!(because, Some("it is the only V8 of the process"));
}

#[test]
fn a_preloaded_jemalloc_serves_host_and_guest() {
    let jemalloc = fetched(extra_hosts::jemalloc(progress::terminal().as_ref()));
    let preload = format!("{}:{}", jemalloc.display(), parts().library.display());
    let game = ["--frames", "60"];
    let plain = Program::gameserver(&game).env("LD_PRELOAD", &jemalloc).run();
    let quick = stock(Program::gameserver(&game).relinked_source("1")).env("LD_PRELOAD", &preload).run();
    quick.same_as(&plain);
    for guest in [&parts().guest, &parts().libv8] {
        let program = Program::endless_gameserver().relinked(&script("features.js")).guest_output_to_file();
        let program = program.env("LD_PRELOAD", &preload).env(config::GUEST, guest).env(config::AUDIT, "1");
        let ended = program.start().end_after_guest();
        complete(&ended);
        assert_eq!((ended.code(), ended.stderr.as_str()), (143, ""));
        let audit = ended.report().audit.as_ref().expect("an audit");
        assert_eq!(audit.wrong, [] as [&str; 0]);
        let by = |name: &str| -> Vec<_> {
            audit.left.iter().filter(|(_, n)| n.contains(name)).map(|(m, _)| m).collect()
        };
        for name in ["malloc", "calloc", "realloc", "free", "_Znwm", "_ZdlPv"] {
            let by = by(name);
            assert_eq!(by.len(), 1, "{name} of {by:?}");
            assert!(by[0].ends_with("/libjemalloc.so.2"), "{name} of {by:?}");
        }
        // What ld.so binds for the guest is what it binds for everybody: no library of C's or C++'s was loaded again.
        let run_time = audit.left.keys().filter(|m| m.contains("/libc.so")).count();
        assert_eq!(run_time, 1, "{:?}", audit.left.keys());
    }
}

#[test]
fn a_library_with_a_v8_and_no_node_is_no_guest() {
    let library = fetched(extra_hosts::wheel(&extra_hosts::STPYV8, progress::terminal().as_ref()));
    let game = ["--frames", "30"];
    let plain = Program::gameserver(&game).run();
    let ended = Program::gameserver(&game).relinked_source("1").env(config::GUEST, &library).run();
    refused(&ended, &plain, "E0401", &["13.1.201.22"]);
}
