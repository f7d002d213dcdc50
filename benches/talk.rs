//! Ticks and calls of the C interface in a real host (fixtures/capi/measure.c), each beside its base in the same process: a
//! tick beside an empty call, a call with JSON beside a call of a native add-on by Node-API, frames with Node beside frames
//! without. `own` is a guest on a thread of its own.
#![allow(missing_docs, reason = "criterion_group! makes a public function without documentation")]

#[path = "../tests/support/c_hosts.rs"]
mod c_hosts;
#[path = "../tests/support/mod.rs"]
mod support;

use c_hosts::{checked, host, root};
use criterion::{criterion_group, criterion_main, Criterion};
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;
use support::parts;
use tempfile::TempDir;

/// A host that measures on request.
struct Host {
    child: Child,
    ask: ChildStdin,
    told: Lines<BufReader<ChildStdout>>,
}

impl Host {
    fn start(program: &Path, mode: &str, addon: &Path) -> Self {
        let mut command = Command::new(program);
        command.arg(mode).arg(&parts().guest).arg(addon).env_remove("NODE_OPTIONS");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the host runs");
        let told = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Self { ask: child.stdin.take().expect("a pipe"), told, child }
    }

    fn measure(&mut self, what: &str, count: u64) -> Duration {
        writeln!(self.ask, "{what} {count}").expect("the host reads");
        let line = self.told.next().expect("an answer").expect("text");
        Duration::from_nanos(line.parse().expect("nanoseconds"))
    }

    fn end(mut self) {
        drop(self.ask);
        assert!(self.child.wait().expect("it ends").success());
    }
}

fn addon(folder: &Path) -> PathBuf {
    let addon = folder.join("echo.node");
    let mut command = Command::new("gcc");
    command.args(["-O2", "-shared", "-fPIC", "-isystem"]).arg(&parts().headers);
    checked(command.arg(root().join("fixtures/capi/echo_addon.c")).arg("-o").arg(&addon));
    addon
}

fn talk(criterion: &mut Criterion) {
    const FRAMES: u64 = 1280;
    let folder = TempDir::new().expect("a folder");
    let (program, addon) = (host("measure", folder.path()), addon(folder.path()));
    for (mode, all) in [
        ("ticked", &["empty", "idle", "timer", "napi", "host", "call"][..]),
        ("own", &["napi", "host", "call"]),
    ] {
        let mut host = Host::start(&program, mode, &addon);
        let mut group = criterion.benchmark_group(mode);
        for what in all {
            if *what == "timer" {
                // Each waits for 6 ms.
                group.sample_size(20).measurement_time(Duration::from_secs(4));
            }
            group.bench_function(*what, |b| b.iter_custom(|count| host.measure(what, count)));
        }
        group.finish();
        if mode == "ticked" {
            for what in ["bare", "frames", "bare", "frames"] {
                println!(
                    "{mode}/{what}: 99th percentile of {FRAMES} frames {:?}",
                    host.measure(what, FRAMES)
                );
            }
        }
        host.end();
    }
}

criterion_group!(benches, talk);
criterion_main!(benches);
