//! `relink plugin install`: lays out what Metamod:Source loads (docs/GAME-SERVERS.md).

use super::{guests, library, print, Failure};
use clap::{Args, Subcommand};
use relink::kit::progress;
use serde_json::json;
use std::io;
use std::path::{Path, PathBuf};

/// The plugin for Metamod:Source.
#[derive(Subcommand)]
pub enum Command {
    /// Put the plugin, a guest and a configuration into a game's folder; what is yours there stays
    Install(Options),
}

/// The folder is the game's own, which has `addons` in it: `game/csgo` for Counter-Strike 2.
#[derive(Args)]
pub struct Options {
    /// The game's folder
    game: PathBuf,
    /// The libnode to take [default: the one that `relink guest build` made for the line of the V8 in --host]
    #[arg(long)]
    guest: Option<PathBuf>,
    /// The game's library with V8, so that the guest of its line is taken
    #[arg(long)]
    host: Option<PathBuf>,
    /// librelink.so [default: the one installed with this command]
    #[arg(long, env = "RELINK_LIBRARY")]
    library: Option<PathBuf>,
    /// Tell what was put where as JSON
    #[arg(long)]
    json: bool,
}

/// Where the library goes, as Metamod writes it: without its ending.
const MODULE: &str = "addons/relink/bin/linuxsteamrt64/relink";
/// What scripts find, for editors.
const TYPES: &str = include_str!("../../../shim/js/relink.d.ts");
/// What a guest of the kit's has beside it.
const NOTE: &str = "note.json";
/// The kit's own mark in its folders.
const KEY: &str = "KEY";

/// Runs the command.
pub fn run(command: &Command) -> Result<(), Failure> {
    let Command::Install(options) = command;
    let failed = |path: &Path, error: io::Error| Failure::Install(format!("\"{}\": {error}", path.display()));
    if !options.game.is_dir() {
        return Err(failed(&options.game, io::Error::from(io::ErrorKind::NotADirectory)));
    }
    let library = library::find(options.library.as_deref(), progress::terminal().as_ref())?;
    let guest = guests::for_host(options.guest.as_deref(), options.host.as_deref())?;
    let relink = options.game.join("addons/relink");
    let laid = install(&options.game, &relink, &library, &guest).map_err(|e| failed(&relink, e))?;
    print(&if options.json { format!("{laid:#}\n") } else { told(&laid) });
    Ok(())
}

fn told(laid: &serde_json::Value) -> String {
    let mut text = String::from("the plugin is laid out; scripts go to the folder below\n");
    for (what, place) in laid.as_object().into_iter().flatten() {
        text.push_str(&format!("{what:14}{}\n", place.as_str().unwrap_or("")));
    }
    text
}

fn install(game: &Path, relink: &Path, library: &Path, guest: &Path) -> io::Result<serde_json::Value> {
    let module = game.join(format!("{MODULE}.so"));
    replace(library, &module)?;
    let guest = take_guest(guest, &relink.join("guest"))?;
    let scripts = relink.join("scripts");
    std::fs::create_dir_all(&scripts)?;
    let types = relink.join("relink.d.ts");
    std::fs::write(&types, TYPES)?;
    let configuration = relink.join("relink.json");
    if !configuration.exists() {
        let settings = json!({ "guest": guest, "run": "frames", "budget_us": 1000, "disallow": [] });
        std::fs::write(&configuration, format!("{settings:#}\n"))?;
    }
    let registered = game.join("addons/metamod/relink.vdf");
    std::fs::create_dir_all(game.join("addons/metamod"))?;
    std::fs::write(
        &registered,
        format!("\"Metamod Plugin\"\n{{\n\t\"alias\"\t\"relink\"\n\t\"file\"\t\"{MODULE}\"\n}}\n"),
    )?;
    Ok(json!({
        "library": module, "guest": relink.join(guest), "configuration": configuration, "scripts": scripts,
        "types": types,
        "registered": registered,
    }))
}

/// A guest of the kit's is copied with all that lies beside it, any other one stays where it is. What the configuration calls it.
fn take_guest(guest: &Path, folder: &Path) -> io::Result<PathBuf> {
    let guest = guest.canonicalize()?;
    let (Some(from), Some(name)) = (guest.parent(), guest.file_name()) else { return Ok(guest) };
    if !from.join(NOTE).is_file() {
        return Ok(guest);
    }
    copy_all(from, folder)?;
    Ok(Path::new("guest").join(name))
}

fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let (path, name) = entry.map(|e| (e.path(), e.file_name()))?;
        if path.is_dir() {
            copy_all(&path, &to.join(name))?;
        } else if name != KEY {
            replace(&path, &to.join(name))?;
        }
    }
    Ok(())
}

/// Copies a file in one step: a server that runs keeps the one that it has.
fn replace(from: &Path, to: &Path) -> io::Result<()> {
    let folder = to.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let new = tempfile::NamedTempFile::new_in(folder)?;
    // With the permissions of the original.
    std::fs::copy(from, new.path())?;
    new.persist(to).map(drop).map_err(|e| e.error)
}
