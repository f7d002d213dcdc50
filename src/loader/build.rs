//! Makes Rust of the bridge's header, for `runtime::raw`.

use relink_header::{Functions, Header};
use std::path::PathBuf;

/// What the bridge and Rust say to each other.
const BRIDGE: &str = "../../shim/cpp/bridge.h";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed={BRIDGE}");
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: run this through cargo")?);
    let header = Header::parse(&std::fs::read_to_string(BRIDGE)?).map_err(|e| format!("{BRIDGE}: {e}"))?;
    Ok(std::fs::write(out.join("bridge.rs"), header.rust(Functions::LookedUp("relink_bridge_")))?)
}
