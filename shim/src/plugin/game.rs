//! What scripts can do with the game (`relink.game`, shim/js/plugin.js): frames, maps, console commands, commands for the server.
//!
//! Facts, and where they are from: alliedmodders/metamod-source, core/ISmmPlugin.h (`IMetamodListener`) and core/ISmmAPI.h; for console
//! commands alliedmodders/hl2sdk, branch cs2, public/tier1/convar.h (`ConCommandCreation_t`, `ConCommandRef`, `CCommandContext`). Where
//! something is in the game's own interfaces changes with the game, so the configuration says it. No code of theirs is used.
//!
//! # Safety
//! Metamod and the game call and are called on the game's thread alone. Names and references that they keep are never freed. The
//! configuration tells of functions that the game's interfaces have; that there is code is looked at before.

use super::abi::{has_code, method, Api, Object, Table, This};
use crate::embed::Runtime;
use serde_json::{json, Value};
use std::collections::BTreeMap;
use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Events that wait for scripts, at most; a guest that hangs does not hear of more.
const MOST_WAITING: usize = 10_000;
/// `FCVAR_GAMEDLL` and `FCVAR_RELEASE`.
const FLAGS: u64 = 1 << 2 | 1 << 19;
/// `kInvalidAccessIndex` of a `ConCommandRef`, which is in its first two bytes.
const NO_COMMAND: u64 = 0xffff;

/// A function of one of the engine's interfaces.
#[derive(Clone, Debug)]
pub struct Place {
    /// The interface's name at the engine's factory.
    pub interface: String,
    /// The function's place in its table.
    pub index: usize,
}

/// How the game's console is reached.
#[derive(Clone, Debug)]
pub struct Console {
    /// `ICvar::RegisterConCommand(const ConCommandCreation_t&, uint64)`.
    pub register: Place,
    /// Where a `CCommand` has the number of its arguments.
    pub count: usize,
    /// Where it has the pointer to them.
    pub values: usize,
}

/// What the configuration says of the game.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// `IVEngineServer2::ServerCommand(const char*)`.
    pub server_command: Option<Place>,
    /// Console commands.
    pub console: Option<Console>,
}

/// `ConCommandCreation_t`: the callback is a function with context, and nothing is completed.
#[repr(C)]
struct Creation {
    name: *const c_char,
    help: *const c_char,
    flags: u64,
    callback: unsafe extern "C" fn(*const [c_int; 2], *const u8),
    callback_kind: u64,
    completion: *const c_void,
    completion_kind: u64,
}

/// A command that the console knows, or has known; the game keeps pointers to all of it.
struct Command {
    name: CString,
    help: CString,
    /// `ConCommandRef`.
    reference: AtomicU64,
    /// Whether it is there now.
    active: bool,
}

/// What the game is, while the plugin is loaded.
#[derive(Clone)]
struct Game {
    api: Api,
    plugin: usize,
    facts: Facts,
    in_frames: bool,
}

static GAME: Mutex<Option<Game>> = Mutex::new(None);
static COMMANDS: Mutex<BTreeMap<String, &'static mut Command>> = Mutex::new(BTreeMap::new());
static EVENTS: Mutex<Vec<Value>> = Mutex::new(Vec::new());
static MAP: Mutex<Option<String>> = Mutex::new(None);
static FRAMES: AtomicU64 = AtomicU64::new(0);
static WANTS_FRAMES: AtomicBool = AtomicBool::new(false);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn happens(event: Value) {
    let mut events = lock(&EVENTS);
    if events.len() < MOST_WAITING {
        events.push(event);
    }
}

/// `IMetamodListener`.
#[repr(C)]
struct ListenerFunctions {
    of_plugins: [extern "C" fn(This, c_int); 4],
    level_init: unsafe extern "C" fn(This, *const c_char),
    level_shutdown: extern "C" fn(This),
    queries: [unsafe extern "C" fn(This, *const c_char, *mut c_int) -> *mut c_void; 5],
    vsp_listening: extern "C" fn(This, This),
    unlink: [extern "C" fn(This, c_int, This); 3],
}

static LISTENER: Object<ListenerFunctions> = Object::new(&LISTENER_FUNCTIONS);
static LISTENER_FUNCTIONS: Table<ListenerFunctions> = Table::new(ListenerFunctions {
    of_plugins: [of_a_plugin; 4],
    level_init,
    level_shutdown,
    queries: [query; 5],
    vsp_listening,
    unlink: [unlink; 3],
});

extern "C" fn of_a_plugin(_: This, _: c_int) {}
extern "C" fn vsp_listening(_: This, _: This) {}
extern "C" fn unlink(_: This, _: c_int, _: This) {}

unsafe extern "C" fn query(_: This, _: *const c_char, code: *mut c_int) -> *mut c_void {
    if !code.is_null() {
        // SAFETY: Metamod's own.
        unsafe { *code = super::abi::FAILED };
    }
    null_mut()
}

unsafe extern "C" fn level_init(_: This, map: *const c_char) {
    // SAFETY: null or a string of the game's.
    let name = unsafe { text(map) };
    *lock(&MAP) = Some(name.clone());
    happens(json!(["map", name]));
}

extern "C" fn level_shutdown(_: This) {
    // It may be told more than once.
    if lock(&MAP).take().is_some() {
        happens(json!(["mapEnd"]));
    }
}

/// # Safety
/// `at` is null or a NUL-terminated string.
unsafe fn text(at: *const c_char) -> String {
    if at.is_null() {
        return String::new();
    }
    // SAFETY: promised by the caller.
    unsafe { CStr::from_ptr(at) }.to_string_lossy().into_owned()
}

/// A command of ours was typed, or came from a configuration or another command.
unsafe extern "C" fn on_command(context: *const [c_int; 2], command: *const u8) {
    /// `COMMAND_MAX_ARGC`.
    const MOST: usize = 64;
    let Some(console) = lock(&GAME).as_ref().and_then(|game| game.facts.console.clone()) else { return };
    // SAFETY: a `CCommandContext` and a `CCommand` of the game's, as the configuration tells of it.
    let (player, args) = unsafe {
        let count = command.add(console.count).cast::<c_int>().read_unaligned();
        let values = command.add(console.values).cast::<*const *const c_char>().read_unaligned();
        let count = usize::try_from(count).unwrap_or(0).min(MOST);
        let args: Vec<String> = (0..count).map(|n| text(*values.add(n))).collect();
        ((*context)[1], args)
    };
    if let Some((name, args)) = args.split_first() {
        happens(json!(["command", name.to_lowercase(), args, player]));
    }
}

/// The plugin is loaded: maps are heard of from now on.
pub fn begin(api: Api, plugin: This, facts: Facts, in_frames: bool) {
    lock(&EVENTS).clear();
    FRAMES.store(0, Ordering::Relaxed);
    WANTS_FRAMES.store(false, Ordering::Relaxed);
    api.add_listener(plugin, LISTENER.pointer());
    *lock(&GAME) = Some(Game { api, plugin: plugin as usize, facts, in_frames });
}

/// A frame of the game has ended.
pub fn frame() {
    let number = FRAMES.fetch_add(1, Ordering::Relaxed) + 1;
    if WANTS_FRAMES.load(Ordering::Relaxed) {
        happens(json!(["frame", number]));
    }
}

/// What has happened since this was asked last, as a function's arguments.
pub fn happened() -> Option<String> {
    let events = std::mem::take(&mut *lock(&EVENTS));
    (!events.is_empty()).then(|| json!([events]).to_string())
}

/// The scripts are gone, and so are their commands.
pub fn forget() {
    WANTS_FRAMES.store(false, Ordering::Relaxed);
    lock(&EVENTS).clear();
    let game = lock(&GAME).clone();
    if let Some(game) = game {
        let mut commands = lock(&COMMANDS);
        commands.values_mut().filter(|command| command.active).for_each(|command| game.unregister(command));
    }
}

/// The plugin goes, or was not loaded.
pub fn end() {
    forget();
    *lock(&GAME) = None;
    *lock(&MAP) = None;
}

impl Game {
    /// Code at that place of one of the engine's interfaces.
    fn function(&self, place: &Place) -> Result<This, String> {
        let Place { interface, index } = place;
        let name = CString::new(interface.as_str()).unwrap_or_default();
        let object = self.api.of_the_engine(&name).ok_or_else(|| format!("the game has no {interface}"))?;
        let none = || format!("{interface} has no function at place {index}");
        has_code(object, *index).then_some(object).ok_or_else(none)
    }

    /// `what` of the configuration, which must be on the game's thread.
    fn fact<'f, T>(&self, fact: &'f Option<T>, what: &str) -> Result<&'f T, String> {
        if !self.in_frames || !super::on_the_games_thread() {
            return Err("the game's own is only there with \"run\": \"frames\"".into());
        }
        let unknown = || {
            format!(
                "relink.json tells nothing of this game's {what} (\"game\"); docs/GAME-SERVERS.md says what"
            )
        };
        fact.as_ref().ok_or_else(unknown)
    }

    fn execute(&self, command: &str) -> Result<(), String> {
        let place = self.fact(&self.facts.server_command, "server_command")?;
        let object = self.function(place)?;
        let command = CString::new(format!("{command}\n")).map_err(|_| "a command has a NUL".to_owned())?;
        type Execute = unsafe extern "C" fn(This, *const c_char);
        // SAFETY: the configuration tells of this function.
        unsafe { method::<Execute>(object, place.index)(object, command.as_ptr()) };
        Ok(())
    }

    fn register(&self, name: &str, help: &str) -> Result<(), String> {
        let console = self.fact(&self.facts.console, "console")?;
        let object = self.function(&console.register)?;
        let mut commands = lock(&COMMANDS);
        if commands.get(name).is_some_and(|command| command.active) {
            return Err(format!("a script has the command \"{name}\" already"));
        }
        let owned = |text: &str| CString::new(text).map_err(|_| "a name has a NUL".to_owned());
        let (own_name, help) = (owned(name)?, owned(help)?);
        let new = || {
            let reference = AtomicU64::new(NO_COMMAND);
            Box::leak(Box::new(Command {
                name: own_name,
                help: CString::default(),
                reference,
                active: false,
            }))
        };
        let command = commands.entry(name.to_owned()).or_insert_with(new);
        if command.help != help {
            // The game may have the one before.
            std::mem::forget(std::mem::replace(&mut command.help, help));
        }
        let creation = Creation {
            name: command.name.as_ptr(),
            help: command.help.as_ptr(),
            flags: FLAGS,
            callback: on_command,
            callback_kind: 0,
            completion: null(),
            completion_kind: 0,
        };
        type Register = unsafe extern "C" fn(This, *const Creation, u64) -> u64;
        // SAFETY: the configuration tells of this function; what the game keeps of it is never freed.
        let reference = unsafe { method::<Register>(object, console.register.index)(object, &creation, 0) };
        if reference & NO_COMMAND == NO_COMMAND {
            return Err(format!("the game refuses the command \"{name}\""));
        }
        command.reference.store(reference, Ordering::Relaxed);
        command.active = true;
        self.api.register_command(self.plugin as This, command.reference.as_ptr().cast());
        Ok(())
    }

    fn unregister(&self, command: &mut Command) {
        command.active = false;
        self.api.unregister_command(self.plugin as This, command.reference.as_ptr().cast());
    }
}

/// Runs `with` on the game and on what a script has given, and answers it.
fn asked<T: serde::de::DeserializeOwned>(
    args: &str,
    with: impl FnOnce(&Game, T) -> Result<Value, String>,
) -> Result<String, String> {
    let args: T = serde_json::from_str(args).map_err(|e| e.to_string())?;
    // The game may come back to us meanwhile.
    let game = lock(&GAME).clone().ok_or("the plugin is going")?;
    with(&game, args).map(|value| value.to_string())
}

/// What is behind `relink.game`.
pub fn offer(guest: &Runtime) {
    let register = |name: &str, function: fn(&str) -> Result<String, String>| {
        guest.register(name.into(), Some(Arc::new(function)));
    };
    register("gameState", |args| {
        asked(args, |game, []: [Value; 0]| {
            let frames = FRAMES.load(Ordering::Relaxed);
            Ok(json!({ "map": *lock(&MAP), "frames": game.in_frames, "frame": frames }))
        })
    });
    register("gameFrames", |args| {
        asked(args, |_, [wanted]: [bool; 1]| {
            WANTS_FRAMES.store(wanted, Ordering::Relaxed);
            Ok(Value::Null)
        })
    });
    register("gameExecute", |args| {
        asked(args, |game, [command]: [String; 1]| game.execute(&command).map(|()| Value::Null))
    });
    register("gameCommand", |args| {
        asked(args, |game, [name, help]: [String; 2]| game.register(&name, &help).map(|()| Value::Null))
    });
    register("gameNoCommand", |args| {
        asked(args, |game, [name]: [String; 1]| {
            let mut commands = lock(&COMMANDS);
            let command = commands.get_mut(&name).filter(|command| command.active);
            command.into_iter().for_each(|command| game.unregister(command));
            Ok(Value::Null)
        })
    });
}
