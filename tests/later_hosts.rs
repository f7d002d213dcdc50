//! Official nodes with V8 13.6 and later ones as hosts, and what differs there besides the features: groups of isolates, and builds of one
//! version that differ.

#[path = "support/process.rs"]
mod process;
mod support;

use process::{Ended, Program};
use relink::abi::adapters::UNITS;
use relink::abi::catalogue::{known, known_abis, KnownAbi};
use relink::config;
use relink::kit::guest::{self, BuildOptions};
use relink::kit::{adapter, hosts, progress};

/// A neutral guest in an official node, by an adapter unit. The host starts a Worker of its own once the guest's report is there, and
/// ends as nodes end that have nothing left to do: it disposes of V8.
fn in_node(guest: u32, unit: &str, version: &str, source: &str) -> Ended {
    let found = |e: relink::kit::KitError| -> ! { panic!("{} {e}", e.code()) };
    let progress = progress::terminal();
    let unit = adapter::unit(unit).expect("a unit");
    adapter::build(unit, progress.as_ref()).unwrap_or_else(|e| found(e));
    let guest = guest::build(&BuildOptions::line(guest), progress.as_ref()).unwrap_or_else(|e| found(e));
    let host = Program::new(hosts::official_node(version, progress.as_ref()).unwrap_or_else(|e| found(e)));
    let waits = "const fs = require('fs'), { Worker } = require('worker_threads');\n\
                 const turn = setInterval(() => {\n\
                   if (!fs.existsSync(`${__dirname}/report.json`)) return;\n\
                   clearInterval(turn);\n\
                   new Worker('0', { eval: true }).on('exit', (code) => { console.log('Worker', code); process.exitCode = 5; });\n\
                 }, 20);";
    let file = host.file("host.js", waits).display().to_string();
    let host = host.args(&[&file]).relinked_source(source).env(config::GUEST, guest.library);
    host.guest_output_to_file().start().wait()
}

/// The isolates that an abandoned guest leaves are in the group of the host's.
#[test]
fn an_abandoned_guest_does_not_keep_its_host_from_disposing_of_v8() {
    // The second one gets less heap than it starts from: V8 asks who handles that before Node has said so for this isolate.
    let no_heap = "new (require('worker_threads').Worker)('0', { eval: true, resourceLimits: \
                   { maxYoungGenerationSizeMb: 0, maxOldGenerationSizeMb: 0 } });";
    for source in ["process.abort()", no_heap] {
        let ended = in_node(18, "10.2-on-13.6", "24.21.0", source);
        assert_eq!(ended.outcome(), ("abort", 134), "{source}: {}", ended.stderr);
        assert_eq!((ended.code(), ended.stdout.as_str()), (5, "Worker 0\n"), "{source}: {}", ended.stderr);
    }
}

/// Builds of one version may have layouts that differ: Node 26.5's V8 has one field more there than 26.10's, in front of those that Node 20 sets.
#[test]
fn options_of_heap_snapshots_reach_every_build_of_a_v8() {
    let source = "const { join } = require('path'), fs = require('fs');\n\
                  const file = join(__dirname, 'a.heapsnapshot');\n\
                  require('v8').writeHeapSnapshot(file, { exposeInternals: true, exposeNumericValues: true });\n\
                  const { nodes } = JSON.parse(fs.readFileSync(file));\n\
                  fs.rmSync(file);\n\
                  if (nodes.length < 10000) throw new Error(`${nodes.length}`);";
    let of_20 = |abi: &&KnownAbi| {
        let v8 = (abi.last.major, abi.last.minor);
        UNITS
            .iter()
            .find(|unit| (unit.guest, unit.host) == ((11, 3), v8))
            .filter(|_| known_abis(abi.last).len() > 1)
    };
    for (abi, unit) in known().iter().filter_map(|abi| Some((abi, of_20(&abi)?))) {
        let build =
            abi.sources().last().and_then(|source| source.from.strip_prefix("Node ")).expect("a Node");
        let ended = in_node(20, &unit.name(), build, source);
        assert_eq!(ended.outcome(), ("finished", 0), "{build}: {}", ended.stderr);
        assert_eq!((ended.code(), ended.stdout.as_str()), (5, "Worker 0\n"), "{build}: {}", ended.stderr);
    }
}
