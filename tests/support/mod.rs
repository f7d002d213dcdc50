//! The real parts that tests run on. A missing part is a failure, never a skip.
#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::path::PathBuf;
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
    /// The command.
    pub relink: PathBuf,
}

/// The parts, fetched and built on first use.
pub fn parts() -> &'static Parts {
    static PARTS: OnceLock<Parts> = OnceLock::new();
    PARTS.get_or_init(find)
}

fn find() -> Parts {
    let root = PathBuf::from("/tmp/kit/root/usr");
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    Parts {
        guest: "/tmp/relink-guest/libnode-relink.so.108".into(),
        libv8: root.join("lib/x86_64-linux-gnu/libnode.so.108"),
        headers: root.join("include/node"),
        gameserver: "/tmp/gameserver".into(),
        node: "/tmp/kit/nodepkg/package/bin/node".into(),
        library: here.join("target/release/librelink.so"),
        relink: env!("CARGO_BIN_EXE_relink").into(),
    }
}
