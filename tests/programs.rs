//! Process layer: what `relink run` says of programs that Relink cannot be loaded into, and that chains of wrappers run as without Relink whatever
//! they start. Hosts with a sanitizer, and hosts whose system refuses memory files.

#[path = "support/c_hosts.rs"]
mod c_hosts;
#[path = "support/process.rs"]
mod process;
mod support;

use c_hosts::{checked, root};
use process::{Ended, Program};
use relink::kit::{extra_hosts, progress};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::parts;
use tempfile::TempDir;

const SAYS: &str = "int puts(const char *); int main(void) { puts(\"it runs\"); return 7; }\n";

struct Programs {
    folder: TempDir,
}

impl Programs {
    fn new() -> Self {
        Self { folder: TempDir::new().expect("a folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("written");
        path
    }

    fn executable(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.file(name, text);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("set");
        path
    }

    /// Compiles the program that says that it runs.
    fn compiled(&self, name: &str, options: &[&str]) -> PathBuf {
        let (source, program) = (self.file("says.c", SAYS), self.path(name));
        checked(Command::new("gcc").arg(source).args(options).arg("-o").arg(&program));
        program
    }

    fn musl(&self) -> PathBuf {
        let musl = extra_hosts::musl(progress::terminal().as_ref());
        let musl = musl.unwrap_or_else(|e| panic!("{} {e}", e.code()));
        let (source, program) = (self.file("says.c", SAYS), self.path("of-musl"));
        let mut gcc = Command::new("gcc");
        gcc.args(["-nostdlib", "-no-pie"]).args(["crt1.o", "crti.o"].map(|file| musl.libraries.join(file)));
        gcc.arg(source).arg(musl.linker.as_os_str()).arg(musl.libraries.join("crtn.o"));
        checked(gcc.arg(format!("-Wl,--dynamic-linker={}", musl.linker.display())).arg("-o").arg(&program));
        program
    }
}

/// `relink run` of this, with a guest and a script that prints.
fn run(line: &[&str]) -> Ended {
    run_with(&[], line)
}

fn run_with(options: &[&str], line: &[&str]) -> Ended {
    let program = Program::new(&parts().relink);
    let script = program.file("guest.js", "console.log('the guest runs', process.pid)");
    let [guest, script] = [&parts().guest, &script].map(|path| path.display().to_string());
    let program = program.args(&["run", "--guest", &guest, "--script", &script]).args(options);
    program.args(&["--"]).args(line).run()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn refused(program: &Path, why: &str) {
    let ended = run(&[&text(program)]);
    assert_eq!((ended.code(), ended.stdout.as_str()), (126, ""), "{}", ended.stderr);
    assert!(ended.stderr.contains("E0801") && ended.stderr.contains(why), "{}", ended.stderr);
}

/// It runs as alone behind that wrapper; `said`: a line of Relink's about it.
fn runs(line: &[&str], said: Option<&str>) {
    let ended = run(line);
    assert_eq!((ended.stdout.as_str(), ended.code()), ("it runs\n", 7), "{line:?}: {}", ended.stderr);
    match said {
        Some(said) => {
            assert!(ended.stderr.starts_with("relink: ") && ended.stderr.contains(said), "{}", ended.stderr)
        }
        None => assert_eq!(ended.stderr, "", "{line:?}"),
    }
}

#[test]
fn programs_of_another_c_library() {
    let programs = Programs::new();
    let musl = programs.musl();
    refused(&musl, "another C library");
    let path = text(&musl);
    refused(&programs.executable("script", format!("#!{path}\n")), "another C library");
    let seen = Some("another C library");
    runs(&["env", "A=b", &path], seen);
    runs(&["nice", "-n", "1", &path], seen);
    runs(&["sh", "-c", &format!("exec {path}")], seen);
    // What cannot be seen runs all the same, and nothing is said: not by musl either.
    runs(&["sh", "-c", &format!("true; {path}")], None);
    let perl = format!("import os; os.execv('{path}', ['{path}'])");
    runs(&["python3", "-c", &perl], None);
    let script = programs.executable("start.sh", format!("#!/bin/sh\n{path}\n"));
    runs(&[&text(&script)], None);
}

#[test]
fn programs_without_a_dynamic_linker_or_for_another_machine() {
    let programs = Programs::new();
    let of_glibc = programs.compiled("dynamic", &[]);
    let fixed = programs.compiled("static", &["-static"]);
    refused(&fixed, "statically linked");
    refused(&programs.compiled("static-pie", &["-static-pie"]), "statically linked");
    runs(&["env", &text(&fixed)], Some("statically linked"));
    // A static wrapper passes the variable on: with a name it may be one.
    let ended = run_with(&["--in", "other"], &[&text(&fixed)]);
    assert_eq!((ended.code(), ended.stderr.as_str()), (7, ""));
    let mut bytes = std::fs::read(&of_glibc).expect("read");
    bytes[18..20].copy_from_slice(&183u16.to_le_bytes());
    refused(&programs.executable("aarch64", &bytes), "another machine (64-bit aarch64)");
    bytes[4] = 1;
    bytes[18..20].copy_from_slice(&3u16.to_le_bytes());
    refused(&programs.executable("x86", &bytes), "another machine (32-bit x86)");
    let sanitized = "void __msan_init(void) {} int main(void) { return 7; }\n";
    let (source, program) = (programs.file("msan.c", sanitized), programs.path("msan"));
    checked(Command::new("gcc").arg("-rdynamic").arg(source).arg("-o").arg(&program));
    refused(&program, "MemorySanitizer");
    runs(&[&text(&of_glibc)], None);
}

/// As root they can be made; others find what every system has.
#[test]
fn programs_with_rights_of_their_own() {
    use nix::unistd::{chown, geteuid, Gid, Uid};
    let programs = Programs::new();
    let (program, why) = if geteuid().is_root() {
        let program = programs.compiled("with-rights", &[]);
        chown(&program, Some(Uid::from_raw(65534)), Some(Gid::from_raw(65534))).expect("given away");
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o4755)).expect("set");
        (program, "set-user-ID (of user 65534)")
    } else {
        (PathBuf::from("/usr/bin/passwd"), "set-user-ID (of user 0)")
    };
    refused(&program, why);
    if geteuid().is_root() {
        runs(&["env", &text(&program)], Some(why));
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o2755)).expect("set");
        refused(&program, "set-group-ID");
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o2745)).expect("set");
        runs(&[&text(&program)], None);
    }
    let ended = run(&["env", "-i", "/bin/echo", "it runs"]);
    assert_eq!((ended.code(), ended.stdout.as_str()), (0, "it runs\n"));
    assert!(ended.stderr.contains("LD_PRELOAD"), "{}", ended.stderr);
}

/// The game server with a sanitizer, alone and with a guest: output, status, and not a word of the sanitizer's.
fn sanitized(options: &[&str]) {
    let folder = TempDir::new().expect("a folder");
    let program = folder.path().join("gameserver");
    let v8 = parts().libv8.parent().expect("a folder").display().to_string();
    let mut compiler = Command::new("g++");
    compiler.args(["-std=c++17", "-O1", "-g", "-pthread", "-isystem"]).arg(&parts().headers).args(options);
    compiler.arg(root().join("fixtures/hosts/gameserver.cc")).arg(&parts().libv8);
    checked(compiler.arg(format!("-Wl,-rpath,{v8},-rpath-link,{v8}")).arg("-o").arg(&program));
    let frames = ["--frames", "400", "--fps", "40"];
    let alone = Program::new(&program).args(&frames).env("LD_LIBRARY_PATH", &v8).run();
    assert_eq!(alone.code(), 0, "{options:?}: {}", alone.stderr);
    let relink = Program::new(&parts().relink);
    let script = relink.file("guest.js", GUEST);
    let report = relink.file("unused", "").with_file_name("report.json");
    let [guest, script, report, program] =
        [&parts().guest, &script, &report, &program].map(|path| text(path));
    let line = ["run", "--guest", &guest, "--script", &script, "--report", &report, "--", &program];
    let with = relink.args(&line).args(&frames).env("LD_LIBRARY_PATH", &v8);
    let out = with.file("guest.out", "");
    let with = with.env("OUT", &out).run();
    assert_eq!((with.stdout.as_str(), with.stderr.as_str()), (alone.stdout.as_str(), ""), "{options:?}");
    assert_eq!(with.code(), 0, "{options:?}");
    let said = std::fs::read_to_string(with.folder.path().join("guest.out")).expect("the guest's output");
    assert_eq!(said, "worker 2, child 3, none of ours\n", "{options:?}");
}

const GUEST: &str = "
const fs = require('fs'), { Worker } = require('worker_threads'), { spawn } = require('child_process');
const kept = Array.from({ length: 100 }, (_, n) => Buffer.alloc(100000, n));
const left = ['LD_PRELOAD', 'ASAN_OPTIONS'].filter((name) => name in process.env);
new Worker('require(\"worker_threads\").parentPort.postMessage(1 + 1)', { eval: true }).on('message', (m) => {
  spawn('sh', ['-c', 'exit 3']).on('exit', (code) =>
    fs.writeFileSync(process.env.OUT, `worker ${m}, child ${code}, ${left.length ? left : 'none'} of ours\\n`));
});
globalThis.kept = kept;
";

#[test]
fn a_host_with_address_sanitizer() {
    sanitized(&["-fsanitize=address"]);
}

#[test]
fn a_host_with_thread_sanitizer() {
    sanitized(&["-fsanitize=thread"]);
}

#[test]
fn a_host_with_leak_and_undefined_behaviour_sanitizers() {
    sanitized(&["-fsanitize=leak"]);
    sanitized(&["-fsanitize=undefined", "-fno-sanitize=vptr"]);
}

/// A seccomp filter answers memfd_create with this error; then the program.
const DENY: &str = r#"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv) {
  struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_create, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)atoi(argv[1])),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
  if (argc < 3 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return 99;
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) return 98;
  execvp(argv[2], argv + 2);
  return 97;
}
"#;

#[test]
fn a_system_that_refuses_memory_files() {
    let programs = Programs::new();
    let deny = programs.path("deny");
    checked(Command::new("gcc").arg(programs.file("deny.c", DENY)).arg("-o").arg(&deny));
    let private = programs.path("private");
    std::fs::create_dir(&private).expect("made");
    for error in [libc_error("ENOSYS"), libc_error("EPERM")] {
        let relink = Program::new(&deny).env("TMPDIR", &private);
        let script = relink.file("guest.js", "console.log('the guest runs')");
        let (guest, script) = (text(&parts().guest), text(&script));
        let game = text(&parts().gameserver);
        let line = [
            &error,
            &text(&parts().relink),
            "run",
            "--guest",
            &guest,
            "--script",
            &script,
            "--",
            &game,
            "--frames",
            "100",
        ];
        let ended = relink.args(&line).run();
        assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""), "{error}");
        assert!(ended.stdout.contains("the guest runs"), "{error}: {}", ended.stdout);
        assert_eq!(std::fs::read_dir(&private).expect("a folder").count(), 0, "nothing is left");
        let node = Program::new(&deny).args(&[&error, &text(&parts().relink), "node", "-p", "6 * 7"]).run();
        assert_eq!((node.stdout.as_str(), node.code()), ("42\n", 0), "{}", node.stderr);
    }
}

fn libc_error(name: &str) -> String {
    let number = if name == "ENOSYS" { nix::libc::ENOSYS } else { nix::libc::EPERM };
    number.to_string()
}

/// A package of its own that starts the server, and one that starts another thing before.
#[test]
fn runners_are_passed_over() {
    let programs = Programs::new();
    let folder = programs.path("app");
    std::fs::create_dir_all(folder.join("node_modules/nodemon/bin")).expect("made");
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("written");
    write(
        "package.json",
        r#"{ "name": "app", "scripts": { "prestart": "node before.js", "start": "node ./server.js" } }"#,
    );
    write("before.js", "console.log('before')");
    write("server.js", "console.log('server', process.pid); setTimeout(() => {}, 3000)");
    write("node_modules/nodemon/package.json", r#"{ "name": "nodemon" }"#);
    let runner =
        "require('child_process').spawnSync(process.execPath, process.argv.slice(2), { stdio: 'inherit' })";
    write("node_modules/nodemon/bin/nodemon.js", runner);
    let node = text(&parts().node);
    let bin = parts().node.parent().expect("a folder").display().to_string();
    let path = format!("{bin}:{}", std::env::var("PATH").expect("a path"));
    let says = format!("{}/node_modules/nodemon/bin/nodemon.js", folder.display());
    let server = format!("{}/server.js", folder.display());
    let npm = ["npm", "--prefix", &text(&folder), "start"].map(str::to_owned);
    for (line, options, passed) in [
        (vec![node.clone(), says, server.clone()], vec![], "nodemon was passed over"),
        (vec![node.clone(), "--watch".into(), server.clone()], vec![], "node --watch was passed over"),
        (npm.to_vec(), vec!["--in", "server.js"], "chosen by its script"),
    ] {
        let relink = Program::new(&parts().relink).env("PATH", &path);
        let script = relink.file("guest.js", "console.log('guest', process.pid)");
        let (guest, script) = (text(&parts().guest), text(&script));
        let mut all = vec!["run", "--guest", &guest, "--script", &script];
        all.extend(options);
        all.push("--");
        all.extend(line.iter().map(String::as_str));
        // `node --watch` goes on for ever.
        let relink = if passed.contains("--watch") {
            all.splice(0..0, ["8", parts().relink.to_str().expect("a path")]);
            let mut bounded = Program::new("timeout").env("PATH", &path);
            bounded = bounded.args(&all);
            bounded
        } else {
            relink.args(&all)
        };
        let ended = relink.run();
        let number = |what: &str| {
            let of = |line: &&str| line.strip_prefix(what).map(str::to_owned);
            ended.stdout.lines().filter_map(|line| of(&line)).collect::<Vec<_>>()
        };
        assert_eq!(
            number("server ").len(),
            1,
            "{line:?}: {}: {}\n{}",
            ended.status,
            ended.stdout,
            ended.stderr
        );
        assert_eq!(number("guest "), number("server "), "{line:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(passed), "{line:?}: {}", ended.stderr);
    }
}

#[test]
fn options_of_the_hosts_node_are_not_the_guests() {
    let host = "setTimeout(() => console.log('host', process.execArgv.length), 3000)";
    let node = text(&parts().node);
    let line = [node.as_str(), "-e", host];
    let with = |options: &[&str]| {
        let relink = Program::new(&parts().relink).env("NODE_OPTIONS", "--no-warnings --trace-uncaught");
        let script = relink.file(
            "guest.js",
            "console.log('guest', process.env.NODE_OPTIONS ?? 'none', process.env.RELINK_NODE_OPTIONS)",
        );
        let (guest, script) = (text(&parts().guest), text(&script));
        relink
            .args(&["run", "--guest", &guest, "--script", &script])
            .args(options)
            .args(&["--"])
            .args(&line)
            .run()
    };
    assert!(with(&[]).stdout.contains("guest --no-warnings --trace-uncaught undefined"));
    assert!(with(&["--node-options", "--no-deprecation"])
        .stdout
        .contains("guest --no-deprecation undefined"));
    assert!(with(&["--node-options="]).stdout.contains("guest none undefined"));
    let refused = with(&["--node-options", "--of-another-line"]);
    assert!(
        refused.stderr.contains("--of-another-line") && refused.stderr.contains("RELINK_NODE_OPTIONS"),
        "{}",
        refused.stderr
    );
    assert!(refused.stdout.contains("host 2"), "{}", refused.stdout);
}
