//! What the kit keeps in the cache folder for those that come without the kit: which guest and which V8 are the default.

use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// The line of Node whose guest is taken if none is named: its major version.
pub const DEFAULT_LINE: u32 = 18;

/// The file name of the V8 that is taken if none is named: Debian's `libnode108`.
pub const LIBV8_SONAME: &str = "libnode.so.108";

/// A guest that was built: the content of [`guest_file`].
#[derive(Serialize, Deserialize)]
pub struct KeptGuest {
    /// What it was built by.
    pub recipe: String,
    /// The key of its entry in the cache.
    pub key: String,
    /// Its library.
    pub library: PathBuf,
}

impl KeptGuest {
    /// The guest of a line in the cache folder, if its entry is there and is the one that was meant.
    pub fn read(cache: &Path, node: u32, neutral: bool) -> Option<Self> {
        let kept: Self =
            serde_json::from_str(&fs::read_to_string(cache.join(guest_file(node, neutral))).ok()?).ok()?;
        let key = fs::read_to_string(kept.library.parent()?.join("KEY")).ok()?;
        (key == kept.key && kept.library.is_file()).then_some(kept)
    }
}

/// The file in the cache folder that names the guest of a line.
pub fn guest_file(node: u32, neutral: bool) -> String {
    if neutral {
        format!("default-neutral-guest-{node}.json")
    } else if node == DEFAULT_LINE {
        "default-guest.json".into()
    } else {
        format!("default-guest-{node}.json")
    }
}

/// The file in the cache folder that names the folder of a host.
pub fn host_file(name: &str) -> String {
    format!("host-{name}.path")
}

/// Debian's multiarch folder for this machine.
pub fn triplet() -> &'static str {
    if cfg!(target_arch = "aarch64") {
        "aarch64-linux-gnu"
    } else {
        "x86_64-linux-gnu"
    }
}

/// The default V8 in the cache folder, if it was fetched.
pub fn libv8(cache: &Path) -> Option<PathBuf> {
    let folder = fs::read_to_string(cache.join(host_file("libv8"))).ok()?;
    let file = Path::new(folder.trim()).join("usr/lib").join(triplet()).join(LIBV8_SONAME);
    file.is_file().then_some(file)
}
