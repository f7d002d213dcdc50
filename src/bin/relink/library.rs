//! Where librelink.so and relink-node are.

use super::Failure;
use relink::config::LIBRARY;
use relink::kit::progress::Progress;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The library named by the user, or the one that was installed with this command (beside it, or in `../lib/relink`).
/// In a checkout, under cargo, it is built if need be.
pub fn find(named: Option<&Path>, progress: &dyn Progress) -> Result<PathBuf, Failure> {
    if let Some(path) = named {
        return existing(path)
            .ok_or_else(|| Failure::Library(format!("\"{}\" is not a file", path.display())));
    }
    installed(LIBRARY, progress)
}

/// The same, for a host that is to preload it: ld.so splits `LD_PRELOAD` at blanks and colons (ld.so(8)), and the host would run
/// without Node and without a word.
pub fn find_to_preload(named: Option<&Path>, progress: &dyn Progress) -> Result<PathBuf, Failure> {
    let library = find(named, progress)?;
    match library.to_str().is_some_and(|path| path.contains([' ', ':', '\t', '\n', '$'])) {
        true => Err(Failure::Library(format!(
            "\"{}\" has a blank, a colon or a dollar sign in its path, which LD_PRELOAD cannot hold; copy the library to another place and name it with --library",
            library.display()
        ))),
        false => Ok(library),
    }
}

/// The program `relink-node`, looked for like the library.
pub fn find_node(progress: &dyn Progress) -> Result<PathBuf, Failure> {
    installed("relink-node", progress)
}

fn installed(name: &str, progress: &dyn Progress) -> Result<PathBuf, Failure> {
    if let Some(checkout) = checkout() {
        build(&checkout, progress)?;
    }
    let folder = own_folder()?;
    let places = [folder.join(name), folder.join("../lib/relink").join(name)];
    places.iter().find_map(|p| existing(p)).ok_or_else(|| {
        let looked: Vec<_> = places.iter().map(|p| format!("\"{}\"", p.display())).collect();
        Failure::Library(format!(
            "no {name} in {}; build it with `cargo build --release --workspace`",
            looked.join(", ")
        ))
    })
}

fn existing(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok().filter(|p| p.is_file())
}

fn own_folder() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe()
        .map_err(|e| Failure::Library(format!("the command's own path is unknown: {e}")))?;
    Ok(own.parent().unwrap_or(Path::new(".")).to_owned())
}

/// The checkout, when this command was started by `cargo run` in it: cargo does not build the library then, because
/// the command does not depend on it.
fn checkout() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR")?);
    folder.join("shim/Cargo.toml").is_file().then_some(folder)
}

fn build(checkout: &Path, progress: &dyn Progress) -> Result<(), Failure> {
    progress.step(&format!("building {LIBRARY}"));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(checkout).args(["build", "--quiet", "-p", "relink-shim"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.stdin(Stdio::null()).output();
    progress.finish();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(Failure::Library(format!(
            "building {LIBRARY} failed ({}):\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ))),
        Err(error) => Err(Failure::Library(format!("cargo cannot be run: {error}"))),
    }
}
