//! Crates of crates.io that are fetched for what is in them besides Rust.

use super::cache::write_whole;
use super::error::{io, KitError, Result};
use super::run::Program;
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the crate `v8` in cargo's own registry.
///
/// # Errors
/// cargo cannot fetch it.
pub fn crate_v8(version: &str) -> Result<PathBuf> {
    let work = tempfile::tempdir().map_err(io("create a folder in", std::env::temp_dir()))?;
    let manifest = format!(
        "[package]\nname = \"headers\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\nv8 = \"={version}\"\n"
    );
    write_whole(&work.path().join("Cargo.toml"), &manifest)?;
    fs::create_dir(work.path().join("src")).map_err(io("create", work.path()))?;
    write_whole(&work.path().join("src/lib.rs"), "")?;
    let args = ["metadata", "--format-version", "1", "--quiet"];
    // cargo's registry is its own cache: it is asked without the network where that is forbidden.
    let what = format!("the crate v8 {version}");
    let text = match Program::fetching("cargo", &what) {
        Ok(cargo) => cargo.args(args).dir(work.path()).output()?,
        Err(forbidden) => {
            let cargo = Program::new("cargo").args(args).args(["--offline"]).dir(work.path());
            cargo.output().map_err(|_| forbidden)?
        }
    };
    let failed = |why: String| KitError::Package { package: format!("v8 {version} of crates.io"), why };
    let metadata: serde_json::Value = serde_json::from_str(&text).map_err(|e| failed(e.to_string()))?;
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    let found = packages.iter().find(|p| p["name"] == "v8").and_then(|p| p["manifest_path"].as_str());
    let found = found.ok_or_else(|| failed("cargo does not say where it is".into()))?;
    Ok(Path::new(found).parent().unwrap_or(Path::new("/")).to_owned())
}
