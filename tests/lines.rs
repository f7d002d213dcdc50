//! Process layer: each later line of Node, on the V8 of its own official executable. The guest of Node 20 is built for every
//! run of the tests; those of 22 and 24 take minutes more each, so their tests are only run when asked for
//! (`cargo test --release --test lines -- --ignored`).

#[path = "support/process.rs"]
mod process;
mod support;

use process::{Ended, Program};
use relink::abi::line::{self, Line};
use relink::config;
use relink::kit::guest::{self, BuildOptions};
use relink::kit::{hosts, progress};
use std::path::{Path, PathBuf};

/// A line's own host and guest.
struct Pair {
    line: &'static Line,
    host: PathBuf,
    guest: PathBuf,
}

fn pair(node: u32) -> Pair {
    let line = line::of_node(node).expect("a line");
    let progress = progress::terminal();
    let host = hosts::official_node(hosts::version_of(line), progress.as_ref());
    let options = BuildOptions { line: Some(node), ..BuildOptions::default() };
    let guest = guest::build(&options, progress.as_ref());
    Pair {
        line,
        host: host.unwrap_or_else(|e| panic!("{} {e}", e.code())),
        guest: guest.unwrap_or_else(|e| panic!("{} {e}", e.code())).library,
    }
}

fn features() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scripts/features.js")
}

impl Pair {
    /// The host, which counts and exits with 5 once the guest has ended, and the guest with this script.
    fn run(&self, script: &Path) -> Ended {
        let host = Program::new(&self.host);
        let source = "const fs = require('fs'); let n = 0;\n\
                      setInterval(() => { console.log('host', ++n);\n\
                        if (fs.existsSync(`${__dirname}/report.json`)) process.exit(5); }, 20);";
        let file = host.file("host.js", source).display().to_string();
        let relinked = host.args(&[&file]).relinked(script).env(config::GUEST, &self.guest);
        relinked.guest_output_to_file().start().wait()
    }

    /// That every feature works in the host, and says the same as in plain Node of that line.
    fn has_all_features(&self) {
        let script = features().display().to_string();
        let plain = Program::new(&self.host).args(&[&script]).run();
        assert_eq!(plain.code(), 0, "{}\n{}", plain.stdout, plain.stderr);
        let ended = self.run(&features());
        let report = ended.report();
        assert!(report.error.is_none(), "{:?}", report.error);
        assert_eq!(ended.guest_output(), plain.stdout, "{}", ended.stderr);
        assert!(
            plain.stdout.lines().filter(|line| line.starts_with("ok ")).count() >= 45,
            "{}",
            plain.stdout
        );
        assert_eq!(ended.outcome(), ("finished", 0));
        assert_eq!(ended.code(), 5, "{}", ended.stderr);
        let own = ended.stdout.lines().enumerate().all(|(n, line)| line == format!("host {}", n + 1));
        assert!(own && !ended.stdout.is_empty(), "{}", ended.stdout);
    }

    /// That the guest is the line's Node on the host's V8, and that there is no other V8.
    fn runs_on_the_hosts_v8(&self) {
        let folder = tempfile::tempdir().expect("a folder");
        let script = folder.path().join("versions.js");
        std::fs::write(&script, "console.log(process.versions.node, process.versions.v8)").expect("written");
        let ended = self.run(&script);
        let said = ended.guest_output();
        let (node, v8) = said.trim().split_once(' ').unwrap_or_default();
        assert!(node.starts_with(&format!("{}.", self.line.node)), "{said}");
        assert!(v8.starts_with(&format!("{}.", self.line.name)), "{said}");
        let host = self.host.canonicalize().expect("a host").display().to_string();
        assert_eq!(ended.report().v8_modules, [host.as_str()]);
        assert!(!ended.report().witnesses.is_empty());
        assert!(ended.report().witnesses.iter().all(|w| w.module == host), "{:?}", ended.report().witnesses);
    }
}

#[test]
fn node_20_has_all_features_in_its_host() {
    pair(20).has_all_features();
    pair(20).runs_on_the_hosts_v8();
}

/// `relink run` without a guest takes the one of the host's line.
#[test]
fn the_line_of_the_host_is_chosen() {
    let pair = pair(20);
    let folder = tempfile::tempdir().expect("a folder");
    let (script, report) = (folder.path().join("s.js"), folder.path().join("report.json"));
    std::fs::write(&script, "1").expect("written");
    let wait = format!(
        "const fs = require('fs'); const t = setInterval(() => {{ if (fs.existsSync({report:?})) clearInterval(t); }}, 10)"
    );
    let [script, report] = [script, report].map(|p| p.display().to_string());
    let host = pair.host.display().to_string();
    let args = ["run", "--script", &script, "--report", &report, "--", &host, "-e", &wait];
    let ended = Program::new(&support::parts().relink).args(&args).run();
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    let text = std::fs::read_to_string(&report).expect("a report");
    let told: relink::report::Report = serde_json::from_str(&text).expect("a report");
    assert!(told.error.is_none(), "{:?}", told.error);
    assert_eq!(Path::new(&told.guest), pair.guest);
}

/// A guest of one line on the V8 of another is refused, and the host goes on.
#[test]
fn another_line_is_refused() {
    let twenty = pair(20);
    let eighteen = support::parts();
    let mixed = Pair { line: twenty.line, host: twenty.host, guest: eighteen.guest.clone() };
    let ended = mixed.run(&features());
    let error = ended.report().error.as_ref().expect("an error");
    assert_eq!(error.code, "E0401");
    assert!(
        error.message.contains("10.2.154.26") && error.message.contains("11.3.244.8"),
        "{}",
        error.message
    );
    assert_eq!(ended.code(), 5);
}

#[test]
#[ignore = "builds the guest of Node 22: minutes; see docs/TESTING.md"]
fn node_22_has_all_features_in_its_host() {
    pair(22).has_all_features();
    pair(22).runs_on_the_hosts_v8();
}

#[test]
#[ignore = "builds the guest of Node 24: minutes; see docs/TESTING.md"]
fn node_24_has_all_features_in_its_host() {
    pair(24).has_all_features();
    pair(24).runs_on_the_hosts_v8();
}
