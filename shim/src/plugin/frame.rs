//! The game's frames: which function of which game is one, and a hook after it, by what the game's Metamod has for that.
//!
//! # Safety
//! Hooks the function that [`Frame`] tells of, after it was seen that there is code.

use super::abi::{has_code, Api, Interface, This};
use super::error::PluginError;
use super::{khook, source_hook};
use std::ffi::{c_int, CString};

/// Most parameters besides `this`.
pub const MOST: usize = 5;

/// A function of the game that it calls once per frame, without a result and with `bool`s alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The interface's name at the game's factory.
    pub interface: String,
    /// The function's place in the interface's table.
    pub index: usize,
    /// How many `bool`s it takes.
    pub bools: usize,
}

/// The engines whose frame function is known: `SOURCE_ENGINE_*`, interface, place, parameters.
const FRAMES: [(c_int, &str, usize, usize); 1] = [
    // Counter-Strike 2: `ISource2Server::GameFrame(bool simulating, bool first, bool last)` after the eleven of `IAppSystem` and
    // eight of its own.
    (28, "Source2Server001", 19, 3),
];

impl Frame {
    /// The one of an engine.
    pub fn of(engine: c_int) -> Option<Self> {
        let known = FRAMES.iter().find(|(number, ..)| *number == engine);
        known.map(|(_, interface, index, bools)| Self {
            interface: (*interface).into(),
            index: *index,
            bools: *bools,
        })
    }
}

/// The hook, until it is removed.
#[derive(Debug)]
pub enum FrameHook {
    /// Of plugin interface 17.
    SourceHook(source_hook::Hook),
    /// Of plugin interface 18.
    KHook(khook::Hook),
}

impl FrameHook {
    /// Hooks `frame`, or else the frame function that is known of this engine.
    pub fn add(api: Api, plugin: c_int, frame: Option<&Frame>) -> Result<Self, PluginError> {
        let engine = api.engine();
        let unknown = || PluginError::Frames(format!("engine {engine} is not known"));
        let frame = frame.cloned().or_else(|| Frame::of(engine)).ok_or_else(unknown)?;
        let object = object(api, &frame).map_err(PluginError::Frames)?;
        // SAFETY: the object is the game's interface, and its table was looked at.
        unsafe {
            match api.interface() {
                Interface::SourceHook => {
                    source_hook::Hook::add(api, plugin, object, &frame).map(Self::SourceHook)
                }
                Interface::KHook => khook::Hook::add(api, plugin, object, &frame).map(Self::KHook),
            }
        }
    }

    /// Takes it out, unless Metamod has done so.
    pub fn remove(self) {
        match self {
            Self::SourceHook(hook) => hook.remove(),
            Self::KHook(hook) => hook.remove(),
        }
    }
}

/// The game's interface, whose table has code at that place.
fn object(api: Api, frame: &Frame) -> Result<This, String> {
    let name = CString::new(frame.interface.as_str()).unwrap_or_default();
    let none = || format!("the game has no interface {}", frame.interface);
    let object = api.of_the_game(&name).ok_or_else(none)?;
    let no_code = || format!("{} has no function at place {}", frame.interface, frame.index);
    has_code(object, frame.index).then_some(object).ok_or_else(no_code)
}
