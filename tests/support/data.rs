//! The data files of V8s and guest lines (src/abi/v8, src/abi/lines): what tests expect of each.
#![allow(dead_code, unused_imports, reason = "each test file uses its own part of this")]

#[path = "../../src/abi/build/data.rs"]
mod files;

pub use files::expect::{of_nodes, unseen};
pub use files::{Data, V8};

use std::path::Path;
use std::sync::OnceLock;

/// All of them.
pub fn data() -> &'static Data {
    static DATA: OnceLock<Data> = OnceLock::new();
    DATA.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/abi");
        Data::read(&folder).unwrap_or_else(|e| panic!("{e}"))
    })
}
