//! Process layer: the live probe before Node is brought in. A build that the catalogue has proven is not observed, another one
//! is, once; a V8 that is not what its version says is refused; and the host notices nothing.

#[path = "support/files.rs"]
mod files;
#[path = "support/process.rs"]
mod process;
mod support;

use files::{bytes_of, image_of};
use process::{Ended, Program};
use relink::abi::catalogue::PROVEN;
use relink::abi::probe::standing::{How, Standing};
use relink::config;
use relink::elf::build_id::build_id;
use relink::elf::{Dynamic, SymbolTable};
use relink::kit::{hosts, progress};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use support::parts;
use tempfile::TempDir;

const GUEST: &str = "console.log('the guest runs')";

fn twenty() -> PathBuf {
    hosts::official_node("20.20.2", progress::terminal().as_ref())
        .unwrap_or_else(|e| panic!("{} {e}", e.code()))
}

fn id(file: &Path) -> String {
    let bytes = bytes_of(file);
    build_id(&image_of(&bytes).image).expect("a build id")
}

/// A copy of an executable with other bytes at one place.
fn changed(program: &Path, folder: &Path, changes: &[(usize, Vec<u8>)]) -> PathBuf {
    let mut bytes = bytes_of(program);
    for (at, new) in changes {
        bytes[*at..at + new.len()].copy_from_slice(new);
    }
    let copy = folder.join("node");
    std::fs::write(&copy, bytes).expect("written");
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).expect("executable");
    copy
}

/// Node 18.20.4 as somebody else's build: the same code under another build id.
fn unproven(folder: &Path) -> PathBuf {
    let bytes = bytes_of(&parts().node);
    let id = id(&parts().node);
    let raw: Vec<u8> =
        (0..id.len()).step_by(2).map(|n| u8::from_str_radix(&id[n..n + 2], 16).expect("hex")).collect();
    let at = memchr::memmem::find(&bytes, &raw).expect("the build id");
    changed(&parts().node, folder, &[(at, raw.iter().map(|byte| !byte).collect())])
}

/// A node with this executable that ends with 5 once the guest has ended.
fn run(host: &Path, cache: &TempDir, policy: &str) -> Ended {
    let program = Program::new(host);
    let source = "const fs = require('fs'); let n = 0;\n\
                  setInterval(() => { console.log('host', ++n);\n\
                    if (fs.existsSync(`${__dirname}/report.json`)) process.exit(5); }, 20);";
    let file = program.file("host.js", source).display().to_string();
    let program = program.args(&[&file]).relinked_source(GUEST).guest_output_to_file();
    program.env("RELINK_CACHE", cache.path()).env(config::PROBE, policy).run()
}

/// Node ran, and what the probe came to.
fn standing(ended: &Ended) -> &Standing {
    assert_eq!(ended.report().error, None);
    assert_eq!(ended.outcome(), ("finished", 0));
    assert_eq!(ended.guest_output(), "the guest runs\n");
    assert_eq!((ended.code(), ended.stderr.as_str()), (5, ""));
    ended.report().probe.as_ref().expect("a probe")
}

fn cache() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn entries(cache: &TempDir) -> Vec<PathBuf> {
    let found = std::fs::read_dir(cache.path().join("probes")).into_iter().flatten();
    found.map(|entry| entry.expect("an entry").path()).collect()
}

#[test]
fn proven_builds_are_those_that_were_fetched() {
    for (file, version) in
        [(&parts().libv8, "10.2.154.26"), (&parts().node, "10.2.154.26"), (&twenty(), "11.3.244.8")]
    {
        let found =
            PROVEN.iter().find(|p| p.build_id == id(file)).unwrap_or_else(|| panic!("{}", file.display()));
        assert_eq!(found.v8.to_string(), version);
    }
}

#[test]
fn a_proven_build_is_not_observed_unless_that_is_asked_for() {
    let cache = cache();
    let ended = run(&parts().node, &cache, "auto");
    assert_eq!(standing(&ended).how, How::Proven);
    assert!(standing(&ended).why.contains("18.20.4"), "{:?}", standing(&ended));
    let ended = run(&parts().node, &cache, "never");
    assert_eq!(standing(&ended).how, How::Off);
    assert!(entries(&cache).is_empty());
    for _ in 0..2 {
        let ended = run(&parts().node, &cache, "always");
        let found = standing(&ended);
        assert_eq!((found.how, found.unknown.len()), (How::Observed, 0), "{found:?}");
        assert!(found.agree >= 55, "{found:?}");
    }
}

#[test]
fn another_build_is_observed_once() {
    let [cache, folder] = [(); 2].map(|()| cache());
    let host = unproven(folder.path());
    let first = run(&host, &cache, "auto");
    assert_eq!(standing(&first).how, How::Observed, "{:?}", first.report().probe);
    let second = run(&host, &cache, "auto");
    assert_eq!(standing(&second).how, How::Cached);
    assert_eq!(standing(&second).agree, standing(&first).agree);
    let [entry] = &entries(&cache)[..] else { panic!("{:?}", entries(&cache)) };
    std::fs::write(entry, "damaged").expect("written");
    assert_eq!(standing(&run(&host, &cache, "auto")).how, How::Observed, "a damaged entry is not believed");
    assert_eq!(standing(&run(&host, &cache, "auto")).how, How::Cached);
}

/// A cache that nobody can write to: everything goes on, and nothing is kept.
#[test]
fn without_a_cache_it_is_observed_each_time() {
    let [nowhere, folder] = [(); 2].map(|()| cache());
    std::fs::write(nowhere.path().join("probes"), "no folder").expect("written");
    let host = unproven(folder.path());
    for _ in 0..2 {
        assert_eq!(standing(&run(&host, &nowhere, "auto")).how, How::Observed);
    }
}

/// `Isolate::GetHeapCodeAndMetadataStatistics(HeapCodeStatistics*)`, which the host itself does not call.
const STATISTICS: &str = "_ZN2v87Isolate32GetHeapCodeAndMetadataStatisticsEPNS_18HeapCodeStatisticsE";

/// Code that writes one byte behind the 32 bytes of a `HeapCodeStatistics` and returns true, as a V8 would whose structure has a
/// field more.
const WRITES_TOO_FAR: [u8; 7] = if cfg!(target_arch = "x86_64") {
    [0xc6, 0x46, 0x28, 0x01, 0xb0, 0x01, 0xc3]
} else {
    panic!("write the code of this machine");
};

/// A patched V8 under the version of one that is known: the catalogue believes it, the probe does not.
#[test]
fn a_v8_that_is_not_what_it_says_is_refused() {
    let [cache, folder, other] = [(); 3].map(|()| cache());
    let host = unproven(folder.path());
    let bytes = bytes_of(&host);
    let file = image_of(&bytes);
    let dynamic = Dynamic::parse(&file.image).expect("dynamic");
    let symbols = SymbolTable::parse(&file.image, &dynamic).expect("symbols");
    let at = symbols.lookup(STATISTICS).expect("readable").expect("a symbol").value;
    let at = file.file_offset(at).expect("bytes in the file");
    let host = changed(&host, other.path(), &[(at, WRITES_TOO_FAR.to_vec())]);
    for policy in ["auto", "always"] {
        let ended = run(&host, &cache, policy);
        let error = ended.report().error.as_ref().expect("an error");
        assert_eq!(error.code, "E0410", "{}", error.message);
        for part in
            ["extent v8::HeapCodeStatistics: the guest's code reads 0x20, V8 says 0x30", "--v8-headers"]
        {
            assert!(error.message.contains(part), "{}", error.message);
        }
        assert_eq!(ended.report().outcome, None);
        assert_eq!(ended.code(), 5, "the host goes on: {}", ended.stderr);
        assert!(entries(&cache).is_empty(), "a refusal is not kept");
    }
    assert_eq!(standing(&run(&host, &cache, "never")).how, How::Off);
}

/// Observing starts a process, and a host that waits for any child of its own must not see it.
#[test]
fn the_observers_process_is_no_child_of_the_host() {
    let cache = cache();
    let host = Program::gameserver(&["--frames", "1000000", "--fps", "50"]).relinked_source(GUEST);
    let mut running = host.env("RELINK_CACHE", cache.path()).env(config::PROBE, "always").start();
    running.wait_for_file("report.json");
    // A child of the game server's that had ended would be a zombie now: nobody there waits for children.
    let tasks = std::fs::read_dir(format!("/proc/{}/task", running.pid())).expect("its threads");
    let names = tasks.map(|task| task.expect("a thread").file_name().to_string_lossy().into_owned());
    // A thread may end between the two looks; its children would then be another one's.
    let children: String = names
        .filter_map(|task| {
            std::fs::read_to_string(format!("/proc/{}/task/{task}/children", running.pid())).ok()
        })
        .collect();
    let ended = running.kill_after_guest();
    assert_eq!(children, "");
    assert_eq!(ended.report().probe.as_ref().map(|p| p.how), Some(How::Observed), "{:?}", ended.report());
    assert_eq!(ended.outcome(), ("finished", 0));
}
