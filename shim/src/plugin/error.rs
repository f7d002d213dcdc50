//! Why the plugin does not bring Node in.

use crate::answer::{Answer, No};
use relink_abi::error::Error;
use std::path::PathBuf;

/// One line for Metamod's `error`, the log and the console.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// The plugin has no configuration.
    #[error("E1001 no {name} beside the plugin: looked in {}; `relink plugin install` lays the folder out", looked.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(", "))]
    NoConfiguration {
        /// The file's name.
        name: &'static str,
        /// The folders.
        looked: Vec<PathBuf>,
    },
    /// The configuration cannot be used.
    #[error("E1002 \"{}\": {why}; docs/GAME-SERVERS.md lists the settings", path.display())]
    Configuration {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The configuration says so.
    #[error("E1003 switched off: \"{}\" says \"enabled\": false", path.display())]
    Disabled {
        /// The file.
        path: PathBuf,
    },
    /// This Metamod has other interfaces.
    #[error("E1004 this Metamod:Source takes plugins of interface {oldest} to {newest} (its own: {major}), and this plugin is one of interface {} for 2; take a Metamod:Source 1.11, 1.12 or 2.0 with SourceHook", super::abi::PLUGIN_API)]
    Metamod {
        /// The oldest that it takes.
        oldest: i32,
        /// The newest.
        newest: i32,
        /// `ISmmAPI`'s version.
        major: i32,
    },
    /// The game's frames cannot be had.
    #[error("E1005 no frames to run Node in: {0}; set \"frame\" for this game, or \"run\": \"thread\"")]
    Frames(String),
    /// What is asked for cannot be done now.
    #[error("E1006 {0}")]
    Not(String),
    /// The way in.
    #[error("{}", .0.line())]
    Relink(#[from] Error),
    /// The guest.
    #[error("{}", .0.why)]
    Guest(No),
}

impl PluginError {
    /// Whether Node has ended although something of it is left in the process.
    pub fn stays(&self) -> bool {
        matches!(self, Self::Guest(no) if no.answer == Answer::Stays)
    }
}

impl From<No> for PluginError {
    fn from(no: No) -> Self {
        Self::Guest(no)
    }
}
