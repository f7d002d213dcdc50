//! Process layer: children that a guest starts. Their ends are seen in hosts that wait for any child or keep none, and what starts them without
//! Node (add-ons, libraries that add-ons were linked with) gives them the signals that they have in plain Node.

#[path = "support/c_hosts.rs"]
mod c_hosts;
mod support;

use c_hosts::{checked, command, host, root};
use std::path::{Path, PathBuf};
use std::process::Command;
use support::parts;
use tempfile::TempDir;

const MODES: [&str; 2] = ["own", "ticked"];

fn script() -> PathBuf {
    root().join("fixtures/scripts/ends_of_children.js")
}

fn said(command: &mut Command) -> serde_json::Value {
    let output = checked(command);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.contains("unknown"), "{command:?}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{command:?}: {error}; {errors}"))
}

#[test]
fn ends_are_seen_whoever_waits_for_them() {
    let source = format!("require({:?}).all().then((it) => console.log(JSON.stringify(it)))", script());
    let plain = said(command(&parts().node).arg("-e").arg(source));
    let folder = TempDir::new().expect("a folder");
    let program = host("reaps", folder.path());
    for way in ["never", "ignores", "nocldwait", "handler", "thread", "polls"] {
        for mode in MODES {
            let mut command = command(&program);
            let found = said(command.arg(mode).arg(&parts().guest).arg(way).arg(script()));
            assert_eq!(found, plain, "{way}, {mode}");
        }
    }
}

/// A library that an add-on was linked with is ld.so's, and has no guards.
const LIBRARY: &str = r#"
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
int library_fork(char *out) {
  int ends[2], status = 0; pid_t child;
  if (pipe(ends) != 0) return -1;
  child = fork();
  if (child == 0) { dup2(ends[1], 1); execl("/bin/grep", "grep", "SigBlk", "/proc/self/status", (char *)0); _exit(9); }
  close(ends[1]);
  out[read(ends[0], out, 99)] = 0;
  close(ends[0]);
  waitpid(child, &status, 0);
  return status;
}
"#;

const ADDON: &str = r#"
#include <pthread.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "addon.h"
int library_fork(char *out);
static const char *const kLine = "exec grep SigBlk /proc/self/status";
static void by_popen(char *out) {
  FILE *f = popen(kLine, "r"); int status;
  out[fread(out, 1, 99, f)] = 0;
  status = pclose(f);
  if (status != 0) sprintf(out, "status %d", status);
}
static void by_writing(char *out) {
  FILE *f = popen("read line; test \"$line\" = hello && exit 4", "w"); int status;
  fputs("hello\n", f);
  status = pclose(f);
  sprintf(out, "SigBlk:\t%016x\n", status == 4 << 8 ? 0 : 1);
}
static void by_pty(char *out) {
  int master, status; size_t length = 0; ssize_t more; pid_t child = forkpty(&master, NULL, NULL, NULL);
  if (child == 0) { execl("/bin/sh", "sh", "-c", kLine, (char *)0); _exit(9); }
  while (length < 99 && (more = read(master, out + length, 99 - length)) > 0) length += more;
  out[length] = 0;
  waitpid(child, &status, 0);
  close(master);
}
static void by_library(char *out) { if (library_fork(out) != 0) strcpy(out, "status"); }
static void *in_thread(void *out) { by_popen(out); return NULL; }
static void by_thread(char *out) { pthread_t t; pthread_create(&t, NULL, in_thread, out); pthread_join(t, NULL); }
/* What it has blocked itself is inherited, as in plain Node. */
static void with_own_mask(char *out) {
  sigset_t own, before, now;
  sigemptyset(&own); sigaddset(&own, SIGWINCH);
  pthread_sigmask(SIG_BLOCK, &own, &before);
  by_popen(out);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_sigmask(SIG_BLOCK, NULL, &now);
  if (sigismember(&now, SIGWINCH)) strcpy(out, "still blocked");
}
static napi_value go(napi_env env, napi_callback_info info) {
  static void (*const ways[])(char *) = {by_popen, by_writing, by_pty, by_library, by_thread, with_own_mask};
  static char all[1000]; napi_value result; size_t i; (void)info;
  all[0] = 0;
  for (i = 0; i < sizeof ways / sizeof *ways; i++) ways[i](all + strlen(all));
  napi_create_string_utf8(env, all, NAPI_AUTO_LENGTH, &result);
  return result;
}
ADDON("go", go)
"#;

/// Compiles the add-on and the library beside it.
fn addon(folder: &Path) -> PathBuf {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let (library, addon) = (folder.join("libforks.so"), folder.join("children.node"));
    let gcc = || {
        let mut gcc = Command::new("gcc");
        gcc.args(["-std=gnu99", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]);
        gcc
    };
    checked(gcc().arg(write("forks.c", LIBRARY)).arg("-o").arg(&library));
    let mut linked = gcc();
    linked.arg("-isystem").arg(&parts().headers).arg("-I").arg(root().join("fixtures/capi"));
    linked.arg(write("children.c", ADDON)).arg(&library).args(["-lutil", "-Wl,-rpath,$ORIGIN"]);
    checked(linked.arg("-o").arg(&addon));
    addon
}

#[test]
fn what_add_ons_start_has_the_signals_of_plain_node() {
    let folder = TempDir::new().expect("a folder");
    let addon = addon(folder.path());
    let script = folder.path().join("script.js");
    let load = format!("const m = {{ exports: {{}} }}; process.dlopen(m, {addon:?});");
    std::fs::write(&script, format!("{load} exports.all = () => m.exports.go();")).expect("written");
    let plain = said(
        command(&parts().node).arg("-e").arg(format!("{load} console.log(JSON.stringify(m.exports.go()))")),
    );
    let blocked: Vec<_> =
        plain.as_str().expect("text").split_whitespace().filter(|w| *w != "SigBlk:").collect();
    let window = format!("{:016x}", 1 << (28 - 1));
    let none = "0000000000000000";
    assert_eq!(blocked, [none, none, none, none, none, &window], "plain Node");
    let program = host("reaps", folder.path());
    for (mode, way) in [("own", "never"), ("ticked", "never"), ("own", "handler"), ("ticked", "handler")] {
        let mut command = command(&program);
        let found = said(command.arg(mode).arg(&parts().guest).arg(way).arg(&script));
        assert_eq!(found, plain, "{mode}, {way}");
    }
}
