//! Process layer: each later line of Node, on the V8 of its own official executable: guests built without V8, and the libnodes
//! of later Debians as they are, under their own suite's libraries. The guest of Node 20 is built for every run of the tests;
//! those of 22 and 24 take minutes more each, so their tests are only run when asked for
//! (`cargo test --release --test lines -- --ignored`).

#[path = "support/process.rs"]
mod process;
mod support;

use process::{Ended, Program};
use relink::abi::catalogue::needs_of;
use relink::abi::line::{self, Line};
use relink::abi::version::V8Version;
use relink::config;
use relink::kit::cache::Cache;
use relink::kit::guest::{self, BuildOptions};
use relink::kit::suites::{self, StockNode, FORKY, TRIXIE};
use relink::kit::{hosts, progress};
use relink::stages::{Files, Part};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use support::{NEUTRAL_LESS, NEUTRAL_MORE};

/// A line's own host and guest.
struct Pair {
    line: &'static Line,
    /// What the host is started by: nothing, or an ld.so of other libraries with its options.
    by: Vec<OsString>,
    host: PathBuf,
    guest: PathBuf,
}

fn pair(node: u32) -> Pair {
    let line = line::of_node(node).expect("a line");
    let progress = progress::terminal();
    let host = hosts::official_node(hosts::version_of(line), progress.as_ref());
    let guest = guest::build(&BuildOptions::line(node), progress.as_ref());
    Pair {
        line,
        by: Vec::new(),
        host: host.unwrap_or_else(|e| panic!("{} {e}", e.code())),
        guest: guest.unwrap_or_else(|e| panic!("{} {e}", e.code())).library,
    }
}

/// The same host with a libnode that nobody rebuilt.
fn stock(node: &StockNode) -> Pair {
    let line = line::of_node(node.node).expect("a line");
    let progress = progress::terminal();
    let host = hosts::official_node(hosts::version_of(line), progress.as_ref());
    let world = suites::stock_node(node, progress.as_ref()).unwrap_or_else(|e| panic!("{} {e}", e.code()));
    println!("{}", world.packages.join(", "));
    Pair {
        line,
        by: world.command(),
        host: host.unwrap_or_else(|e| panic!("{} {e}", e.code())),
        guest: world.library,
    }
}

fn features() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scripts/features.js")
}

impl Pair {
    /// The host, without its arguments.
    fn program(&self) -> Program {
        let words: Vec<_> =
            self.by.iter().chain([self.host.as_os_str().to_owned()].iter()).cloned().collect();
        let rest: Vec<_> = words[1..].iter().map(|word| word.to_str().expect("a path in UTF-8")).collect();
        Program::new(&words[0]).args(&rest)
    }

    /// The host, which counts and exits with 5 once the guest has ended, and the guest with this script.
    fn run(&self, script: &Path) -> Ended {
        let host = self.program();
        let source = "const fs = require('fs'); let n = 0;\n\
                      setInterval(() => { console.log('host', ++n);\n\
                        if (fs.existsSync(`${__dirname}/report.json`)) process.exit(5); }, 20);";
        let file = host.file("host.js", source).display().to_string();
        let relinked = host.args(&[&file]).relinked(script).env(config::GUEST, &self.guest);
        relinked.env(config::AUDIT, "1").guest_output_to_file().start().wait()
    }

    /// That every feature works in the host, and says the same as in plain Node of that line.
    fn has_all_features(&self) -> Ended {
        let script = features().display().to_string();
        let plain = self.program().args(&[&script]).run();
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
        let audit = report.audit.as_ref().expect("an audit");
        assert_eq!(audit.wrong, [] as [&str; 0]);
        assert!(audit.right >= report.slots.values().sum::<usize>() - audit.thread_local, "{}", audit.right);
        assert_eq!(ended.code(), 5, "{}", ended.stderr);
        let own = ended.stdout.lines().enumerate().all(|(n, line)| line == format!("host {}", n + 1));
        assert!(own && !ended.stdout.is_empty(), "{}", ended.stdout);
        ended
    }

    /// The same with a guest that has a V8 of its own, which is left alone.
    fn stock_has_all_features(&self) {
        let ended = self.has_all_features();
        let reasons = &ended.report().reasons;
        println!("{reasons:?}");
        let [dead, hosts] =
            ["its own V8, dead", "host's V8"].map(|why| reasons.get(why).copied().unwrap_or(0));
        assert!(dead > 500 && hosts > 500, "{reasons:?}");
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
        // The guest's own V8, if it has one, is in none of ld.so's modules by that name.
        assert_eq!(ended.report().v8_modules, [host.as_str()]);
        assert_eq!(ended.report().host, host);
        assert!(!ended.report().witnesses.is_empty());
        assert!(ended.report().witnesses.iter().all(|w| w.module == host), "{:?}", ended.report().witnesses);
    }
}

/// Names of the functions and classes that Node's headers promise to add-ons and embedders: what follows `NODE_EXTERN`.
fn promised(header: &str) -> BTreeSet<String> {
    let name = |text: &str| {
        let declared = text.split(['{', ';']).next().unwrap_or_default();
        let function = declared.contains('(');
        let before = declared.split(if function { '(' } else { ':' }).next().unwrap_or_default();
        let mut words = before.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        words.rfind(|word| !word.is_empty()).map(str::to_owned)
    };
    let line = |line: &str| line.split("//").next().unwrap_or_default().to_owned() + "\n";
    let code: String = header.lines().filter(|line| !line.starts_with('#')).map(line).collect();
    code.split("NODE_EXTERN").skip(1).filter_map(name).collect()
}

impl Pair {
    /// That the guest exports what its Node's headers promise.
    fn keeps_the_promises_of_its_headers(&self) {
        let include = self.host.ancestors().nth(2).expect("a folder").join("include/node");
        let bytes = std::fs::read(&self.guest).expect("a guest");
        let file = goblin::elf::Elf::parse(&bytes).expect("goblin");
        let defined = file.dynsyms.iter().filter(|s| s.st_shndx != 0);
        let exports: Vec<_> = defined.filter_map(|s| file.dynstrtab.get_at(s.st_name)).collect();
        for header in ["node.h", "node_buffer.h"] {
            let text = std::fs::read_to_string(include.join(header)).expect("a header");
            let mut names = promised(&text);
            // Declared for Windows only, and two classes without a function that is not inline.
            const NOWHERE: [&str; 3] =
                ["WinapiErrnoException", "InitializationResult", "IsolatePlatformDelegate"];
            names.retain(|name| !NOWHERE.contains(&name.as_str()));
            if self.line.node < 24 {
                // Not in the version script of these lines yet; add-ons are bound to them by the file's .symtab.
                const LACKING: [&str; 3] = ["GetAnonymousMainPath", "GetMainContext", "SetCppgcReference"];
                names.retain(|name| !LACKING.contains(&name.as_str()));
            }
            assert!(names.len() >= 5, "{names:?}");
            let has = |name: &String| {
                exports.iter().any(|e| e == name || e.contains(&format!("{}{name}", name.len())))
            };
            let lost: Vec<_> = names.iter().filter(|name| !has(name)).collect();
            assert_eq!(lost, [] as [&String; 0], "{header} of {}", self.host.display());
        }
    }

    /// That the list of names by which a stock libnode of this line is bound is that of this guest.
    fn refers_to_what_the_list_names(&self) {
        let files = Files::open(&self.guest).expect("a guest");
        let images = files.images().expect("images");
        let parts = Part::read_all(&images).expect("readable");
        let note = parts[0].note().expect("a note");
        let needs = V8Version::parse(&note.v8).and_then(needs_of).expect("a list");
        let names: BTreeSet<_> = parts[0].inventory.needed_v8().collect();
        // What a neutral guest has inline, or asks for besides, is known.
        let more: Vec<_> = names.iter().filter(|name| !needs.contains(name)).collect();
        assert!(more.iter().all(|name| NEUTRAL_MORE.contains(name)), "{more:?}");
        let less = NEUTRAL_LESS.iter().filter(|name| needs.contains(name)).count();
        assert_eq!(names.len() - more.len() + less, needs.len());
    }

    /// All that is tested of a guest that the kit has built.
    fn is_whole(&self) {
        self.keeps_the_promises_of_its_headers();
        self.refers_to_what_the_list_names();
        self.has_all_features();
        self.runs_on_the_hosts_v8();
    }
}

#[test]
fn promises_of_a_header_are_read() {
    let text =
        "#define NODE_EXTERN x\n// no NODE_EXTERN here\nclass NODE_EXTERN A : public B {};\nNODE_EXTERN struct s* F(int a = 1);\n\
                [[noreturn]] NODE_EXTERN void\nG(B (*h)(int));\nstruct NODE_EXTERN C {\n";
    assert_eq!(Vec::from_iter(promised(text)), ["A", "C", "F", "G"]);
}

#[test]
fn node_20_has_all_features_in_its_host() {
    pair(20).is_whole();
}

/// `relink run` without a guest takes the one of the host's line, also if the host is called by an ld.so.
#[test]
fn the_line_of_the_host_is_chosen() {
    let pair = pair(20);
    for by in [Vec::new(), stock(&TRIXIE).by] {
        let folder = tempfile::tempdir().expect("a folder");
        let (script, report) = (folder.path().join("s.js"), folder.path().join("report.json"));
        std::fs::write(&script, "1").expect("written");
        let wait = format!(
            "const fs = require('fs'); const t = setInterval(() => {{ if (fs.existsSync({report:?})) clearInterval(t); }}, 10)"
        );
        let by = by.into_iter().map(|word| word.into_string().expect("a path in UTF-8"));
        let host: Vec<String> = by.chain([pair.host.display().to_string(), "-e".into(), wait]).collect();
        let [script, report] = [script, report].map(|p| p.display().to_string());
        let args = ["run", "--script", &script, "--report", &report, "--"];
        let args: Vec<_> = args.into_iter().chain(host.iter().map(String::as_str)).collect();
        let program = Program::new(&support::parts().relink).args(&args);
        let cache = Cache::locate().expect("a cache");
        let ended = program.env("RELINK_CACHE", cache.root()).run();
        assert_eq!(ended.code(), 0, "{}", ended.stderr);
        let text = std::fs::read_to_string(&report).expect("a report");
        let told: relink::report::Report = serde_json::from_str(&text).expect("a report");
        assert!(told.error.is_none(), "{:?}", told.error);
        // An exact guest is a little faster, if one was built.
        let best = guest::exact_path_of(20).unwrap_or_else(|| pair.guest.clone());
        assert_eq!(Path::new(&told.guest), best);
        let kind = if best == pair.guest { ", neutral" } else { "" };
        let told = format!("guest: Node 20{kind}: on V8 11.3 it loses nothing");
        assert!(ended.stderr.contains(&told), "{}", ended.stderr);
    }
}

/// A guest with numbers of one V8 compiled in is refused on another, and the host goes on.
#[test]
fn another_line_is_refused() {
    let mixed = Pair { guest: support::parts().libv8.clone(), ..pair(20) };
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

/// Debian 13's libnode as it is, with Debian 13's libraries.
#[test]
fn stock_libnode115_has_all_features_in_node_20() {
    let pair = stock(&TRIXIE);
    pair.stock_has_all_features();
    pair.runs_on_the_hosts_v8();
}

#[test]
#[ignore = "builds the guest of Node 22: minutes; see docs/TESTING.md"]
fn node_22_has_all_features_in_its_host() {
    pair(22).is_whole();
}

#[test]
#[ignore = "builds the guest of Node 24: minutes; see docs/TESTING.md"]
fn node_24_has_all_features_in_its_host() {
    pair(24).is_whole();
}

/// The libnode of Debian's testing as it is.
#[test]
#[ignore = "Debian's testing moves on: it may have another Node; see docs/TESTING.md"]
fn stock_libnode137_has_all_features_in_node_24() {
    let pair = stock(&FORKY);
    pair.stock_has_all_features();
    pair.runs_on_the_hosts_v8();
}
