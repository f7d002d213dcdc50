//! Layer: the whole way, on both real hosts. What Node does inside, how it ends, and that the host goes on and ends as
//! it would without.

#[path = "support/process.rs"]
mod process;
mod support;

use nix::sys::signal::Signal;
use process::{Ended, Program};
use relink::config;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::parts;

/// A host must be gone this long after it decided to leave, whatever the guest does.
const LEAVING: Duration = Duration::from_secs(10);

fn feature_script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scripts/features.js")
}

/// Both hosts, which stay until the guest has ended; and the exit status that is their own then.
fn hosts() -> [(Program, i32); 2] {
    [(Program::endless_gameserver(), 143), (Program::node_until("report.json"), 5)]
}

/// That each line of the host's output is there, once and in order, and nothing else.
fn own_output_only(ended: &Ended) {
    let counted = |line: &str| -> Option<usize> {
        let number = line.strip_prefix("frame ").or_else(|| line.strip_prefix("host "))?;
        number.split(':').next()?.parse().ok()
    };
    let numbers: Vec<_> = ended.stdout.lines().filter_map(counted).collect();
    assert!(!numbers.is_empty(), "{}", ended.stdout);
    assert_eq!(numbers, (1..=numbers.len()).collect::<Vec<_>>());
    let others: Vec<_> = ended.stdout.lines().filter(|l| counted(l).is_none()).collect();
    assert!(others.iter().all(|line| line.starts_with("gameserver: ")), "{others:?}");
}

#[test]
fn every_feature_works_on_both_hosts() {
    for (host, status) in hosts() {
        let ended = host.relinked(&feature_script()).guest_output_to_file().start().end_after_guest();
        let said = ended.guest_output();
        let last = said.lines().last().unwrap_or_default();
        let total = said.lines().filter(|line| line.starts_with("ok ")).count();
        assert_eq!(last, format!("features: {total} ok, 0 failed"), "{said}\n{}", ended.stderr);
        assert!(total >= 45, "{said}");
        assert_eq!(ended.outcome(), ("finished", 0));
        assert_eq!(ended.code(), status);
        own_output_only(&ended);
    }
}

#[test]
fn a_hosts_output_and_status_are_those_without_relink() {
    let source = "const n = setInterval(() => {}, 1); setTimeout(() => clearInterval(n), 500);\n\
                  require('zlib').gzipSync(Buffer.alloc(1 << 20));";
    let counting = "let n = 0; const t = setInterval(() => { console.log('host', ++n);\n\
                    if (n === 60) { clearInterval(t); process.exitCode = 3; } }, 20);";
    let game = ["--frames", "90", "--fps", "60"];
    for make in [|g: &[&str], _: &str| Program::gameserver(g), |_: &[&str], s: &str| Program::node(s)] {
        let plain = make(&game, counting).run();
        let relinked = make(&game, counting).relinked_source(source).run();
        relinked.same_as(&plain);
        assert_eq!(relinked.stderr, plain.stderr);
        assert!(relinked.report().error.is_none(), "{:?}", relinked.report().error);
        assert!(!plain.stdout.is_empty());
    }
}

#[test]
fn a_guest_that_exits_or_signals_itself_ends_alone() {
    let endings = [
        ("process.exit(7)", "exit", 7),
        ("process.exitCode = 9", "finished", 9),
        ("setTimeout(() => process.exit(), 10); process.exitCode = 4", "exit", 4),
        ("process.kill(process.pid, 'SIGINT'); setInterval(() => {}, 1000)", "signal", 130),
        ("process.kill(process.pid, 'SIGTERM'); setInterval(() => {}, 1000)", "signal", 143),
        ("process.kill(process.pid, 'SIGKILL'); setInterval(() => {}, 1000)", "signal", 137),
        ("process.reallyExit(6)", "exit", 6),
    ];
    for (source, how, code) in endings {
        for (host, status) in hosts() {
            let ended = host.relinked_source(source).start().end_after_guest();
            assert_eq!(ended.outcome(), (how, code), "{source}");
            assert_eq!(ended.code(), status, "{source}");
            assert_eq!(ended.stderr, "", "{source}");
            own_output_only(&ended);
        }
    }
}

#[test]
fn an_error_that_nobody_handles_is_printed_as_node_prints_it() {
    let sources = [
        "throw new Error('boom')",
        "Promise.reject(new TypeError('nobody cares'))",
        "setTimeout(() => { null.x; }, 5)",
        "(async () => { await 1; throw Object.assign(new Error('with'), { code: 'E', n: 1 }); })()",
        "throw 'a string'",
        "syntax error here",
    ];
    for source in sources {
        for (host, status) in hosts() {
            let ended = host.relinked_source(source).start().end_after_guest();
            let plain = Program::new(&parts().node).args(&[&ended
                .folder
                .path()
                .join("guest.js")
                .display()
                .to_string()]);
            assert_eq!(ended.stderr, plain.run().stderr, "{source}");
            assert_eq!(ended.outcome(), ("uncaught", 1), "{source}");
            assert_eq!(ended.code(), status, "{source}");
            own_output_only(&ended);
        }
    }
}

#[test]
fn abort_ends_the_guest_and_the_host_goes_on() {
    for (host, status) in hosts() {
        let mut running = host.relinked_source("process.abort()").start();
        running.wait_for_file("report.json");
        let ended = running.end_after_guest();
        assert_eq!(ended.outcome(), ("abort", 134));
        assert_eq!(ended.code(), status);
        let told: Vec<_> = ended.stderr.lines().filter(|l| l.starts_with("relink: ")).collect();
        assert_eq!(told, ["relink: the guest is abandoned: Node aborted; the host goes on"]);
        own_output_only(&ended);
    }
}

/// A tenth of a second of it.
const WORK: &str = "for (const end = Date.now() + 100; Date.now() < end;) JSON.parse('{}');";

/// What a guest may be at when its host leaves; each tells with a file that it has begun.
const BUSY: [(&str, &str); 6] = [
    ("a JavaScript loop", "ready(); for (;;);"),
    ("the event loop", "require('http').createServer((_, r) => r.end()).listen(0, ready);"),
    (
        "a Worker that waits",
        "new (require('worker_threads').Worker)('Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)', \
         { eval: true }).on('online', ready);",
    ),
    (
        "Workers that loop",
        "for (let i = 0; i < 3; i++) \
         new (require('worker_threads').Worker)('for (;;);', { eval: true }).on('online', ready);",
    ),
    ("a wait of the main thread", "ready(); Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);"),
    ("the thread pool", "for (let i = 0; i < 9; i++) require('crypto').pbkdf2('a', 'b', 5e4, 64, 'sha512', ready);"),
];

const READY: &str = "const ready = () => require('fs').writeFileSync(__dirname + '/ready', '');";

/// Hosts that leave once the guest has begun: how they are told to, and their exit status.
fn leaving_hosts() -> [(Program, Option<Signal>, i32); 3] {
    let disposing = Program::endless_gameserver().args(&["--dispose"]);
    [
        (Program::endless_gameserver(), Some(Signal::SIGTERM), 143),
        (disposing, Some(Signal::SIGINT), 130),
        (Program::node_until("ready"), None, 5),
    ]
}

/// Runs a host that leaves while the guest is at `source`; the time from the guest's word to the host's end.
fn leave(host: Program, signal: Option<Signal>, source: &str) -> (Ended, Duration) {
    let mut running = host.relinked_source(&format!("{READY}\n{source}")).start();
    running.wait_for_file("ready");
    let since = Instant::now();
    if let Some(signal) = signal {
        running.signal(signal);
    }
    let ended = running.wait();
    (ended, since.elapsed())
}

#[test]
fn a_host_leaves_while_its_guest_is_busy() {
    for (what, source) in BUSY {
        for (host, signal, status) in leaving_hosts() {
            let (ended, took) = leave(host, signal, source);
            assert_eq!(ended.code(), status, "{what}: {}", ended.stderr);
            assert_eq!(ended.stderr, "", "{what}");
            assert!(took < LEAVING, "{what}: {took:?}");
            assert_eq!(ended.outcome().0, "stopped", "{what}");
            own_output_only(&ended);
        }
    }
}

#[test]
fn a_host_leaves_although_its_guest_cannot_be_stopped() {
    // One native call of minutes; no JavaScript in between in which V8 could end it.
    let source = "ready(); require('crypto').scryptSync('a', 'b', 64, { N: 1 << 14, r: 8, p: 8000, maxmem: 1 << 30 });";
    for (host, signal, status) in leaving_hosts() {
        let (ended, took) = leave(host, signal, source);
        assert_eq!(ended.code(), status, "{}", ended.stderr);
        assert!(took < Duration::from_secs(30), "{took:?}");
        own_output_only(&ended);
    }
}

#[test]
fn a_host_may_dispose_its_v8_once_the_guest_has_ended() {
    let ended =
        Program::endless_gameserver().args(&["--dispose"]).relinked_source("1").start().end_after_guest();
    assert_eq!((ended.code(), ended.outcome()), (143, ("finished", 0)), "{}", ended.stderr);
    own_output_only(&ended);
}

#[test]
fn signals_for_the_host_reach_the_hosts_own_handlers() {
    let serving = String::from(
        "require('http').createServer(() => {}).listen(0, ready);\n\
                           process.on('SIGINT', () => console.error('the guest saw it'));",
    );
    for (signal, status) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let (ended, _) = leave(Program::endless_gameserver(), Some(signal), &serving);
        assert_eq!(ended.code(), status);
        assert!(
            ended.stdout.contains(&format!("gameserver: signal {}, leaving", signal as i32)),
            "{}",
            ended.stdout
        );
        assert_eq!(ended.stderr, "");
    }
    let own = "process.on('SIGINT', () => { console.log('own handler'); process.exit(6); }); setInterval(() => {}, 50);";
    let (ended, _) = leave(Program::node(own), Some(Signal::SIGINT), &serving);
    assert_eq!((ended.code(), ended.stdout.as_str(), ended.stderr.as_str()), (6, "own handler\n", ""));
    let (ended, _) = leave(Program::node("setInterval(() => {}, 50)"), Some(Signal::SIGTERM), &serving);
    assert_eq!(ended.status.signal(), Some(Signal::SIGTERM as i32));
}

#[test]
fn a_guest_may_have_v8_write_a_profile() {
    // --prof needs --log, which V8 adds when it is initialised; the host's was before the guest asked for it.
    for (host, status) in hosts() {
        let log = host.file("v8.log", "");
        let options = format!(r#"["--prof", "--no-logfile-per-isolate", "--logfile={}"]"#, log.display());
        let ended = host.env(config::NODE_ARGS, options).relinked_source(WORK).start().end_after_guest();
        assert_eq!((ended.code(), ended.outcome()), (status, ("finished", 0)), "{}", ended.stderr);
        let written = std::fs::read_to_string(&log).expect("the log");
        assert!(written.contains("code-creation,"), "{written:.200}");
    }
}

#[test]
fn input_that_fills_the_guests_buffer_does_not_stop_its_loop() {
    // Standard input stays blocking, as it is the host's, and libuv reads once more when its buffer of 64 KiB was
    // filled; with a pipe that is empty then, and still open, that read must not wait.
    let guest = "process.stdin.on('data', () => {}); const since = Date.now();\n\
                 setTimeout(() => process.exit(Date.now() - since < 4000 ? 0 : 9), 300);";
    let feed = "(head -c 65536 /dev/zero; sleep 6) | \"$@\"";
    let program = Program::new("sh").args(&["-c", feed, "sh", &parts().node.display().to_string()]);
    let own = "setInterval(() => { if (require('fs').existsSync(__dirname + '/report.json')) process.exit(0); }, 20)";
    let script = program.file("host.js", own).display().to_string();
    let ended = program.args(&[&script]).relinked_source(guest).run();
    assert_eq!(ended.outcome(), ("exit", 0));
}

#[test]
fn the_official_node_does_its_own_work_under_the_guests_load() {
    let own = "const { Worker } = require('worker_threads'), http = require('http');\n\
        let ticks = 0; const ticker = setInterval(() => ticks++, 5);\n\
        const work = () => new Promise((done, fail) => new Worker(\n\
          'let n = 0; for (let i = 0; i < 3e6; i++) n += i; require(\"worker_threads\").parentPort.postMessage(n)',\n\
          { eval: true }).on('message', done).on('error', fail));\n\
        const server = http.createServer((q, r) => r.end(q.url)).listen(0, '127.0.0.1', async () => {\n\
          for (let i = 0; i < 20; i++) {\n\
            const url = await new Promise((done, fail) => http.get({ port: server.address().port, host: '127.0.0.1',\n\
              path: `/${i}` }, (r) => r.setEncoding('utf8').on('data', done)).on('error', fail));\n\
            console.log(url, await work());\n\
          }\n\
          const wasm = await WebAssembly.compile(Buffer.from('0061736d01000000', 'hex'));\n\
          console.log(wasm instanceof WebAssembly.Module, ticks > 3);\n\
          process.exit(5);\n\
        });";
    let load = "for (let i = 0; i < 2; i++) new (require('worker_threads').Worker)('for (let a = [];;) a = [a, 1, {}].slice(1)', { eval: true });\n\
        (function spin() { JSON.parse(JSON.stringify(Array(5000).fill({ a: 'b' }))); setImmediate(spin); })();";
    let plain = Program::node(own).run();
    assert!(plain.stdout.ends_with("true true\n"), "{}", plain.stdout);
    assert_eq!(plain.code(), 5);
    let relinked = Program::node(own).relinked_source(load).run();
    relinked.same_as(&plain);
    assert_eq!(relinked.stderr, "");
}

/// What the host has switched off in its V8 is off for Node, too, which is told, and all else works.
#[test]
fn a_host_that_restricts_its_v8_has_node_within_that() {
    const WASM: &str = "WebAssembly: the host's V8 has it switched off";
    let source = "let code = typeof WebAssembly === 'object' ? 7 : 8;\n\
                  try { new Function(''); } catch { code = 9; }\n\
                  setTimeout(() => process.exit(code), 50);";
    let host = "const fs = require('fs');\n\
                setInterval(() => { if (fs.existsSync(`${__dirname}/report.json`)) process.exit(5); }, 20);";
    // As in plain node with the same flag.
    let flags = [
        ("--jitless", 8),
        ("--disallow-code-generation-from-strings", 9),
        ("--single-threaded", 7),
        ("--max-heap-size=300", 7),
    ];
    for (flag, code) in flags {
        let program = Program::new(&parts().node);
        let script = program.file("host.js", host).display().to_string();
        let ended = program.args(&[flag, &script]).relinked_source(source).start().wait();
        let without = flag == "--jitless";
        assert_eq!((ended.outcome(), ended.code()), (("exit", code), 5), "{flag}");
        let degraded = &ended.report().degraded;
        assert_eq!(degraded.iter().any(|lost| lost.starts_with(WASM)), without, "{flag}: {degraded:?}");
    }
}
