//! The real parts that tests run on. A missing part is a failure, never a skip.
#![allow(dead_code, reason = "each test file uses its own part of this")]

use relink::kit::guest::{self, BuildOptions};
use relink::kit::{hosts, progress, KitError};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// Where everything is.
pub struct Parts {
    /// The V8-less guest.
    pub guest: PathBuf,
    /// Debian's libnode.so.108, used as libv8.
    pub libv8: PathBuf,
    /// The folder with V8's and Node's real headers.
    pub headers: PathBuf,
    /// The host that embeds `libv8`.
    pub gameserver: PathBuf,
    /// The official node 18.20.4 executable.
    pub node: PathBuf,
    /// librelink.so of the same profile as this test.
    pub library: PathBuf,
    /// `relink-node`, likewise.
    pub relink_node: PathBuf,
    /// The command.
    pub relink: PathBuf,
}

/// The parts, fetched and built on first use.
pub fn parts() -> &'static Parts {
    static PARTS: OnceLock<Parts> = OnceLock::new();
    PARTS.get_or_init(find)
}

fn find() -> Parts {
    let progress = progress::terminal();
    let failed = |e: KitError| -> PathBuf { panic!("a part that the tests need: {} {e}", e.code()) };
    let game = hosts::gameserver(progress.as_ref()).unwrap_or_else(|e| panic!("{} {e}", e.code()));
    let node = hosts::plain_node(progress.as_ref()).unwrap_or_else(failed);
    let guest = guest::build(&BuildOptions::default(), progress.as_ref()).map_or_else(failed, |g| g.library);
    build_library();
    let relink = PathBuf::from(env!("CARGO_BIN_EXE_relink"));
    Parts {
        guest,
        libv8: game.v8.library,
        headers: game.v8.include,
        gameserver: game.executable,
        node,
        library: relink.with_file_name("librelink.so"),
        relink_node: relink.with_file_name("relink-node"),
        relink,
    }
}

/// Names of V8's functions that a neutral guest asks for and an exact one does not, weakly: V8 13.6 has it.
pub const NEUTRAL_MORE: [&str; 1] =
    ["_ZN2v812api_internal23GetFunctionTemplateDataEPNS_7IsolateENS_5LocalINS_4DataEEE"];
/// And what a neutral guest has inline.
pub const NEUTRAL_LESS: [&str; 1] = ["_ZN2v88internal20CanHaveInternalFieldEi"];

/// Makes the note of a neutral guest that of an exact one: without a layout table, and without its headers' facts.
pub fn make_exact(bytes: &mut [u8]) {
    for name in [r#""layout":"#, r#""facts":"#] {
        let at = bytes.windows(name.len()).position(|w| w == name.as_bytes()).expect("the note");
        bytes[at + 1] = b'_';
    }
    // The note of type 2, which says where the table is, gets another owner.
    let table = b"\x02\0\0\0Relink\0";
    let at = bytes.windows(table.len()).position(|w| w == table).expect("the table's note");
    bytes[at + 4] = b'_';
}

/// librelink.so and relink-node are of another package than these tests, so cargo does not build them for us.
fn build_library() {
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--quiet", "-p", "relink-shim"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let status = command.status().expect("cargo runs");
    assert!(status.success(), "building librelink.so: {status}");
}
