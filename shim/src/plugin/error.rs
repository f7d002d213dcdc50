//! Why the plugin does not bring Node in.

use super::abi::{Interface, Offer};
use crate::answer::{Answer, No};
use relink_abi::codes;
use relink_abi::error::Error;
use std::path::PathBuf;

/// One line for Metamod's `error`, the log and the console.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// The plugin has no configuration.
    #[error("{code} no {name} beside the plugin: looked in {}; `relink plugin install` lays the folder out", looked.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(", "), code = codes::E1001)]
    NoConfiguration {
        /// The file's name.
        name: &'static str,
        /// The folders.
        looked: Vec<PathBuf>,
    },
    /// The configuration cannot be used.
    #[error("{code} \"{}\": {why}; docs/GAME-SERVERS.md lists the settings", path.display(), code = codes::E1002)]
    Configuration {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The configuration says so.
    #[error("{code} switched off: \"{}\" says \"enabled\": false", path.display(), code = codes::E1003)]
    Disabled {
        /// The file.
        path: PathBuf,
    },
    /// This Metamod has other interfaces.
    #[error("{code} this Metamod:Source takes plugins of interface {} to {} (its own: {}), and this plugin is one of {} with SourceHook or {} with KHook for 2; take a Metamod:Source 2.0", .0.oldest, .0.newest, .0.major, Interface::SourceHook.number(), Interface::KHook.number(), code = codes::E1004)]
    Metamod(Offer),
    /// The game's frames cannot be had.
    #[error("{code} no frames to run Node in: {0}; Node gets a thread of its own (\"run\": \"thread\"). Set \"frame\" for a game that is not known", code = codes::E1005)]
    Frames(String),
    /// What is asked for cannot be done now.
    #[error("{code} {0}", code = codes::E1006)]
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
