//! Node as a guest of the official node executable, in the shape of a program that is called as `node` is.

use crate::cache::{write_whole, Cache};
use crate::error::{io, Result};
use relink_elf::cache::KeyBuilder;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What the program does, after the lines that say where the parts are.
const PROGRAM: &str = include_str!("../../../fixtures/parity/inside/node.sh");
/// The guest's first script.
const FIRST: &str = include_str!("../../../fixtures/parity/inside/first.js");
/// The host's script.
const IDLE: &str = include_str!("../../../fixtures/parity/inside/idle.js");

/// What is needed besides the guest.
#[derive(Clone, Debug)]
pub struct Inside {
    /// The command `relink`.
    pub relink: PathBuf,
    /// librelink.so.
    pub library: PathBuf,
    /// The host, an official node executable; plain Node's if `None`.
    pub host: Option<PathBuf>,
    /// Whether the host is no node but the game server of fixtures/hosts.
    pub is_gameserver: bool,
    /// Another host, in which the same guest stands for plain Node: it is judged by itself on that host's V8.
    pub base: Option<PathBuf>,
}

impl Inside {
    /// The same in the host that is the base, if there is one.
    pub fn on_base(&self) -> Option<Self> {
        self.base.clone().map(|base| Self {
            host: Some(base),
            is_gameserver: false,
            base: None,
            ..self.clone()
        })
    }
}

/// A key with what the program is made of, besides the parts.
pub fn key() -> KeyBuilder {
    KeyBuilder::new().add("program", PROGRAM).add("first", FIRST).add("idle", IDLE)
}

/// Writes the program into a folder; returns its path.
pub fn write(dir: &Path, plain: &Path, guest: &Path, inside: &Inside) -> Result<PathBuf> {
    let cache = Cache::locate()?;
    let idle = if inside.is_gameserver { PathBuf::from("--ends-with") } else { dir.join("idle.js") };
    let places = [
        ("cache", cache.root()),
        ("idle", &idle),
        ("here", dir),
        ("node", plain),
        ("host", inside.host.as_deref().unwrap_or(plain)),
        ("relink", &inside.relink),
        ("library", &inside.library),
        ("guest", guest),
    ];
    let head: String = places.iter().map(|(name, path)| format!("{name}={}\n", quoted(path))).collect();
    write_whole(&dir.join("first.js"), FIRST)?;
    write_whole(&dir.join("idle.js"), IDLE)?;
    let node = dir.join("node");
    write_whole(&node, &format!("#!/bin/sh\n{head}{PROGRAM}"))?;
    fs::set_permissions(&node, fs::Permissions::from_mode(0o755)).map_err(io("make executable", &node))?;
    Ok(node)
}

/// A path as one word of a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_whatever_is_in_it() {
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
