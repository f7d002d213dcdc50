//! Layer: the preloaded library where it has no business. Programs without a V8 behave as without it, wrappers pass it
//! on to the host behind them, and the host's children do not inherit it.

#[path = "support/files.rs"]
mod files;
#[path = "support/process.rs"]
mod process;
mod support;

use files::{bytes_of, image_of};
use nix::sys::signal::Signal;
use process::{Ended, Program, Running};
use relink::config;
use relink::elf::Dynamic;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::parts;

/// A shell script with a bit of everything that shells and their children do.
const SHELL: &str = r#"
set -u
printf '%s\n' one two three | sort -r | while read -r line; do echo "line $line"; done
cat <<END
here: $((6 * 7)) ${HOME:+home}
END
(exit 7); echo "status $?"
! true | false; echo "pipe ${PIPESTATUS[*]}"
trap 'echo trapped' USR1; kill -USR1 $$; trap - USR1
sh -c 'kill -TERM $$'; echo "signal $?"
{ sh -c 'kill -SEGV $$'; } 2>/dev/null; echo "signal $?"
sleep 30 & child=$!; sleep 0.05; kill $child; wait $child 2>/dev/null; echo "waited $?"
x=$(echo sub; echo err >&2); echo "got $x"
exec 3>&1; echo three >&3; exec 3>&-
for i in {1..40}; do /bin/true; done; time_out=$(timeout 0.1 sleep 5; echo $?); echo "timeout $time_out"
ulimit -c; ulimit -n; umask
cat /proc/self/status | grep -E '^(Threads|SigCgt|SigIgn|SigBlk|NoNewPrivs)'
yes | head -n 3; echo "pipe ${PIPESTATUS[*]}"
nosuchcommand; echo "missing $?"
read -r answer; echo "answer $answer"
exit 23
"#;

/// The program with everything set that would bring the guest in, and a script that would leave traces.
fn loaded(program: Program) -> Program {
    program.relinked_source("console.log('the guest runs'); console.error('the guest runs')")
}

/// The same environment without the library.
fn unloaded(program: Program) -> Program {
    loaded(program).env("LD_PRELOAD", "")
}

fn both(make: impl Fn() -> Program) -> (Ended, Ended) {
    (loaded(make()).run(), unloaded(make()).run())
}

fn same(what: &str, make: impl Fn() -> Program) {
    let (with, without) = both(make);
    assert_eq!(with.stdout, without.stdout, "{what}");
    assert_eq!(with.stderr, without.stderr, "{what}");
    assert_eq!(with.status, without.status, "{what}");
    assert!(with.report.is_none(), "{what}: a report was written");
}

/// A program that defines V8's marker and nothing else of V8, as programs on another engine do.
#[test]
fn a_program_that_imitates_v8_does_not_notice() {
    let folder = tempfile::tempdir().expect("a folder");
    let (source, program) = (folder.path().join("imitation.c"), folder.path().join("imitation"));
    let code = "#include <stdio.h>\nvoid *_ZN2v87Isolate10GetCurrentEv(void) { return 0; }\n\
                int main(void) { puts(\"an engine of its own\"); return 4; }\n";
    std::fs::write(&source, code).expect("written");
    let compiled = Command::new("gcc").arg("-rdynamic").arg("-o").args([&program, &source]).status();
    assert!(compiled.expect("gcc runs").success());
    same("imitation", || Program::new(&program));
    let (with, _) = both(|| Program::new(&program));
    assert_eq!((with.code(), with.stdout.as_str()), (4, "an engine of its own\n"));
    let check = Program::new(&parts().relink)
        .args(&["check", "--host"])
        .args(&[&program.display().to_string()])
        .run();
    assert_eq!(check.code(), 65, "{}", check.stdout);
    assert!(check.stderr.contains("E0201"), "{}", check.stderr);
}

#[test]
fn programs_without_a_v8_do_not_notice() {
    same("bash", || Program::new("bash").args(&["-c", SHELL]).input("forty-two\n"));
    let (with, _) = both(|| Program::new("bash").args(&["-c", SHELL]).input("forty-two\n"));
    assert_eq!(with.code(), 23, "the shell script ran to its end: {}", with.stderr);
    same("sh", || Program::new("sh").args(&["-c", "echo a; exit 3"]));
    same("ls", || Program::new("ls").args(&["-la", "/usr"]));
    same("ls of nothing", || Program::new("ls").args(&["/nowhere"]));
    same("true", || Program::new("true"));
    same("false", || Program::new("false"));
    same("cat", || Program::new("cat").input(vec![b'x'; 300_000]));
    same("timeout", || Program::new("timeout").args(&["-s", "KILL", "0.2", "sleep", "5"]));
    same("killed", || Program::new("sh").args(&["-c", "kill -KILL $$"]));
}

#[test]
fn the_environment_is_passed_on_as_it_came() {
    let (with, without) = both(|| Program::new("env"));
    let lines = |ended: &Ended| -> BTreeSet<String> {
        let folder = ended.folder.path().display().to_string();
        let own = ended.stdout.lines().filter(|l| !l.starts_with("LD_PRELOAD="));
        own.map(|l| l.replace(&folder, "FOLDER")).collect()
    };
    assert_eq!(lines(&with), lines(&without));
    assert!(with.stdout.contains(&format!("LD_PRELOAD={}\n", parts().library.display())), "{}", with.stdout);
    assert!(with.stdout.contains(config::SCRIPT));
}

/// The library's file and those that it needs.
fn own_modules() -> BTreeSet<String> {
    let bytes = bytes_of(&parts().library);
    let file = image_of(&bytes);
    let dynamic = Dynamic::parse(&file.image).expect("dynamic section");
    let needed = dynamic.needed().expect("needed").into_iter().map(str::to_owned);
    needed.chain([config::LIBRARY.to_owned()]).collect()
}

fn mapped_files(running: &Running) -> BTreeSet<PathBuf> {
    running.maps().0.into_iter().map(|m| m.name).filter(|n| n.is_absolute()).collect()
}

#[test]
fn an_idle_process_has_no_more_threads_and_only_the_library_mapped() {
    let idle = || Program::new("sleep").args(&["60"]);
    let (mut with, mut without) = (loaded(idle()).start(), unloaded(idle()).start());
    for running in [&mut with, &mut without] {
        running.wait_until("sleep", |r| {
            r.proc("stat").contains(") S ") && r.proc("cmdline").starts_with("sleep")
        });
    }
    let field =
        |r: &Running, name: &str| r.proc("status").lines().find(|l| l.starts_with(name)).map(str::to_owned);
    for name in ["Threads:", "SigBlk:", "SigIgn:", "SigCgt:", "State:"] {
        assert_eq!(field(&with, name), field(&without, name));
    }
    assert_eq!(with.proc("limits"), without.proc("limits"));
    let open = |r: &Running| std::fs::read_dir(format!("/proc/{}/fd", r.pid())).expect("fds").count();
    assert_eq!(open(&with), open(&without));
    let own = own_modules();
    let library = parts().library.canonicalize().expect("the library");
    let more: Vec<_> = mapped_files(&with).difference(&mapped_files(&without)).cloned().collect();
    assert!(more.contains(&library), "{more:?}");
    for file in more {
        let name = file.file_name().and_then(|n| n.to_str()).expect("a name").to_owned();
        assert!(own.contains(&name), "{name} is mapped because of us");
    }
    for running in [with, without] {
        running.signal(Signal::SIGKILL);
        let _ = running.wait();
    }
}

#[test]
fn a_host_with_the_library_and_no_settings_is_left_alone() {
    let source = "console.log(require('fs').readdirSync('/proc/self/task').length, process.env.RELINK_LOG)";
    let plain = Program::node(source).env(config::LOG, "debug").run();
    let with = Program::node(source).env("LD_PRELOAD", &parts().library).env(config::LOG, "debug").run();
    with.same_as(&plain);
    assert_eq!(with.stderr, "");
}

#[test]
fn wrappers_lead_to_the_host_behind_them() {
    let wrappers: [&[&str]; 4] = [
        &["timeout", "30"],
        &["env", "A=1"],
        &["bash", "-c", "true | cat; \"$@\"; exit $?", "bash"],
        &["timeout", "30", "nice", "sh", "-c", "exec \"$@\"", "sh"],
    ];
    let own = "setTimeout(() => { console.log('host'); process.exitCode = 4; }, 1500)";
    for wrapper in wrappers {
        let program = Program::new(wrapper[0]).args(&wrapper[1..]);
        let script = program.file("host.js", own);
        let node = parts().node.display().to_string();
        let program = program.args(&[&node, &script.display().to_string()]);
        let ended = program.guest_output_to_file().relinked_source("console.log('guest', process.pid)").run();
        assert_eq!((ended.stdout.as_str(), ended.code()), ("host\n", 4), "{wrapper:?}: {}", ended.stderr);
        assert_eq!(ended.stderr, "", "{wrapper:?}");
        assert_eq!(ended.outcome(), ("finished", 0), "{wrapper:?}");
        assert_eq!(ended.guest_output(), format!("guest {}\n", ended.report().pid), "{wrapper:?}");
    }
}

/// A host that prints the environment of a child, once the guest has ended.
const ASKING: &str = "const fs = require('fs'); const t = setInterval(() => {\n\
    if (!fs.existsSync(__dirname + '/report.json')) return; clearInterval(t);\n\
    process.stdout.write(require('child_process').execFileSync('env'));\n\
    process.stdout.write(fs.readFileSync('/proc/self/environ', 'latin1').includes('RELINK_GUEST') + '\\n'); }, 20);";

/// A guest that prints the environment of its own child.
const ASKED: &str = "console.log(require('child_process').execFileSync('env', { encoding: 'latin1' }))";

fn traces(text: &str) -> Vec<&str> {
    text.lines().filter(|l| l.starts_with("LD_PRELOAD=") || l.starts_with("RELINK_")).collect()
}

#[test]
fn children_of_the_host_and_of_the_guest_do_not_inherit() {
    let ended = Program::node(ASKING).guest_output_to_file().relinked_source(ASKED).run();
    assert!(ended.stdout.contains("PATH="), "{}", ended.stdout);
    assert_eq!(traces(&ended.stdout), [] as [&str; 0]);
    assert!(ended.guest_output().contains("PATH="));
    assert_eq!(traces(&ended.guest_output()), [] as [&str; 0]);
}

#[test]
fn children_inherit_when_asked_to() {
    let program = Program::node(ASKING).guest_output_to_file().env(config::INHERIT, "1");
    let ended = program.relinked_source(ASKED).run();
    for text in [&ended.stdout, &ended.guest_output()] {
        let traces = traces(text);
        let library = format!("LD_PRELOAD={}", parts().library.display());
        assert!(traces.contains(&library.as_str()), "{traces:?}");
        for name in [config::GUEST, config::SCRIPT, config::INHERIT] {
            assert!(traces.iter().any(|t| t.starts_with(name)), "{name}: {traces:?}");
        }
    }
}

/// An empty library to be preloaded beside ours.
fn other_library(folder: &Path) -> PathBuf {
    let library = folder.join("other.so");
    let source = folder.join("other.c");
    std::fs::write(&source, "int other_library = 1;\n").expect("written");
    let status = Command::new("gcc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    assert!(status.expect("gcc runs").success());
    library
}

#[test]
fn other_preloaded_libraries_are_kept() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let other = other_library(folder.path()).display().to_string();
    let ours = parts().library.display().to_string();
    for list in [format!("{other}:{ours}"), format!("{ours}:{other}"), format!("{ours} {other}")] {
        let ended = Program::node(ASKING).relinked_source("1").env("LD_PRELOAD", &list).run();
        assert_eq!(traces(&ended.stdout), [format!("LD_PRELOAD={other}")], "{list}");
    }
}

#[test]
fn children_of_a_host_whose_settings_are_wrong_are_spared() {
    let ended = Program::node(ASKING).relinked_source("1").env(config::ARGS, "no JSON").run();
    assert!(ended.stderr.starts_with("relink: E0101 "), "{}", ended.stderr);
    assert_eq!(traces(&ended.stdout), [""; 0], "{}", ended.stdout);
}
