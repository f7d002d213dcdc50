//! `relink.json`, and where everything of the plugin's lies.

use super::error::PluginError;
use super::frame::{Frame, MOST};
use super::game::{Console, Facts, Place};
use crate::embed::{self, Wanted};
use glob::Pattern;
use relink_loader::config::Config;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The configuration's name.
const FILE: &str = "relink.json";
/// How far above the library it is looked for: `addons/relink/bin/linuxsteamrt64/relink.so` has it two folders above its own.
const ABOVE: usize = 3;

/// Where Node runs.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Run {
    /// On the game's thread, within its frames.
    #[default]
    Frames,
    /// On a thread of its own.
    Thread,
}

/// The frame function of a game that is not known here.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FrameSetting {
    interface: String,
    index: usize,
    #[serde(default = "one")]
    bools: usize,
}

fn one() -> usize {
    1
}

/// A function of the engine's that the configuration tells of.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlaceSetting {
    interface: String,
    index: usize,
}

/// The console.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConsoleSetting {
    interface: String,
    register: usize,
    count: usize,
    values: usize,
}

/// What scripts can reach of a game by facts of its headers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct GameSetting {
    server_command: Option<PlaceSetting>,
    console: Option<ConsoleSetting>,
}

/// What the file says. Relative paths are looked for from its folder.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    enabled: bool,
    guest: Option<PathBuf>,
    scripts: PathBuf,
    run: Run,
    budget_us: u64,
    hang_ms: u64,
    frame: Option<FrameSetting>,
    game: GameSetting,
    reload: bool,
    reload_ms: u64,
    watch: Vec<String>,
    disallow: Vec<String>,
    node_args: Vec<String>,
    env: Option<BTreeMap<String, String>>,
    max_heap_mib: u32,
    late_v8: bool,
    wait_ms: u64,
    provider: Option<String>,
    adapters: Option<PathBuf>,
    report: Option<PathBuf>,
    log: PathBuf,
    console: bool,
    stop_ms: u32,
}

impl Default for File {
    fn default() -> Self {
        Self {
            enabled: true,
            guest: None,
            scripts: "scripts".into(),
            run: Run::Frames,
            budget_us: 1000,
            hang_ms: 10_000,
            frame: None,
            game: GameSetting::default(),
            reload: true,
            reload_ms: 1000,
            watch: Vec::new(),
            disallow: Vec::new(),
            node_args: Vec::new(),
            env: None,
            max_heap_mib: 0,
            late_v8: false,
            wait_ms: 600_000,
            provider: None,
            adapters: None,
            report: None,
            log: "relink.log".into(),
            console: true,
            stop_ms: 5000,
        }
    }
}

/// What was asked for, with whole paths.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder of the configuration.
    pub folder: PathBuf,
    /// The folder with the scripts.
    pub scripts: PathBuf,
    /// Where Node runs.
    pub run: Run,
    /// How long Node may go on in a frame, in microseconds: a little less than its budget, which entering and leaving it and the
    /// last round's rest are part of.
    pub budget_us: u64,
    /// A script that keeps a frame for longer is ended; 0: never.
    pub hang: Duration,
    /// The game's frame function, where the configuration names one.
    pub frame: Option<Frame>,
    /// What the configuration tells of the game.
    pub game: Facts,
    /// How often changes of the scripts are looked for; nothing: never.
    pub reload: Option<Duration>,
    /// Files below the scripts' folder that are looked after although they were not loaded.
    pub watch: Vec<Pattern>,
    /// Whether a V8 may come after the plugin.
    pub late_v8: bool,
    /// The log.
    pub log: PathBuf,
    /// Whether it goes to the server's console, too.
    pub console: bool,
    /// How long Node gets to end, in milliseconds.
    pub stop_ms: u32,
    config: Config,
    disallow: Vec<String>,
    env: Option<BTreeMap<String, String>>,
}

impl Settings {
    /// Looks for the configuration beside and above `library`, and reads it.
    pub fn read(library: &Path) -> Result<Self, PluginError> {
        let looked: Vec<PathBuf> = library.ancestors().skip(1).take(ABOVE).map(Path::to_path_buf).collect();
        let found = looked.iter().find(|folder| folder.join(FILE).is_file()).cloned();
        let folder = found.ok_or(PluginError::NoConfiguration { name: FILE, looked })?;
        let path = folder.join(FILE);
        let wrong = |why: String| PluginError::Configuration { path: path.clone(), why };
        let text = std::fs::read_to_string(&path).map_err(|e| wrong(e.to_string()))?;
        let file: File = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        if !file.enabled {
            return Err(PluginError::Disabled { path });
        }
        Self::of(file, folder).map_err(wrong)
    }

    fn of(file: File, folder: PathBuf) -> Result<Self, String> {
        embed::known(&file.disallow, &file.node_args)?;
        Ok(Self {
            scripts: folder.join(&file.scripts),
            run: file.run,
            budget_us: file.budget_us - file.budget_us / 8,
            hang: Duration::from_millis(file.hang_ms),
            frame: file.frame.as_ref().map(frame).transpose()?,
            game: game(&file.game)?,
            reload: file.reload.then(|| Duration::from_millis(file.reload_ms.max(50))),
            watch: patterns(&file.watch)?,
            late_v8: file.late_v8,
            log: folder.join(&file.log),
            console: file.console,
            stop_ms: file.stop_ms,
            config: configuration(&file, &folder)?,
            disallow: file.disallow,
            env: file.env,
            folder,
        })
    }

    /// Guest and options.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// A guest as it is asked for.
    pub fn wanted(&self) -> Wanted {
        let env = serde_json::json!(self.env);
        Wanted {
            config: Config {
                wait: Duration::ZERO,
                // The game's thread has the game's.
                cwd: (self.run == Run::Thread).then(|| self.folder.clone()),
                ..self.config.clone()
            },
            ticked: self.run == Run::Frames,
            stay: true,
            script_deadline_ms: 0,
            disallow: self.disallow.clone(),
            settings: with_game(&embed::settings(None, Some(&self.folder), env, &self.disallow, false)),
        }
    }
}

fn patterns(texts: &[String]) -> Result<Vec<Pattern>, String> {
    let pattern = |text: &String| Pattern::new(text).map_err(|e| format!("watch: \"{text}\": {e}"));
    texts.iter().map(pattern).collect()
}

fn frame(setting: &FrameSetting) -> Result<Frame, String> {
    const FARTHEST: usize = 500;
    if setting.bools > MOST || setting.index > FARTHEST || setting.interface.contains('\0') {
        return Err(format!("frame: at most {MOST} bools, and an index of at most {FARTHEST}"));
    }
    Ok(Frame { interface: setting.interface.clone(), index: setting.index, bools: setting.bools })
}

fn game(setting: &GameSetting) -> Result<Facts, String> {
    const FARTHEST: usize = 500;
    /// More than any `CCommand` has.
    const LONGEST: usize = 4096;
    let place = |interface: &str, index: usize| {
        let fits = index <= FARTHEST && !interface.contains('\0');
        let place = Place { interface: interface.to_owned(), index };
        fits.then_some(place).ok_or_else(|| format!("game: an index of at most {FARTHEST}"))
    };
    let console = |c: &ConsoleSetting| {
        if c.count.max(c.values) > LONGEST {
            return Err(format!("game: count and values of at most {LONGEST}"));
        }
        Ok(Console { register: place(&c.interface, c.register)?, count: c.count, values: c.values })
    };
    Ok(Facts {
        server_command: setting.server_command.as_ref().map(|p| place(&p.interface, p.index)).transpose()?,
        console: setting.console.as_ref().map(console).transpose()?,
    })
}

/// The bootstrap's settings, for a guest with `relink.game`.
fn with_game(settings: &str) -> String {
    let mut all: serde_json::Value = serde_json::from_str(settings).unwrap_or_default();
    all["game"] = true.into();
    all.to_string()
}

fn configuration(file: &File, folder: &Path) -> Result<Config, String> {
    let others = Wanted::config(guest(file, folder)?).map_err(|no| no.why)?;
    Ok(Config {
        node_args: file.node_args.clone(),
        max_heap_mib: file.max_heap_mib,
        report: file.report.as_ref().map(|path| folder.join(path)),
        provider: file.provider.clone(),
        wait: Duration::from_millis(file.wait_ms),
        adapters: file.adapters.as_ref().map(|path| folder.join(path)).or(others.adapters),
        ..others
    })
}

/// The libnode that is named, or else the only one in the folder `guest`.
fn guest(file: &File, folder: &Path) -> Result<PathBuf, String> {
    if let Some(named) = &file.guest {
        return Ok(folder.join(named));
    }
    let place = folder.join("guest");
    let wrong = |why: &str| format!("guest: {why} in \"{}\"; name one", place.display());
    let entries = std::fs::read_dir(&place).map_err(|e| wrong(&format!("no libnode ({e})")))?;
    let is_node = |path: &PathBuf| {
        path.file_name()
            .and_then(|n| n.to_str())
            .is_some_and(|n| n.starts_with("libnode") && n.contains(".so"))
    };
    let mut found: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(is_node).collect();
    match (found.pop(), found.len()) {
        (Some(only), 0) => Ok(only),
        (None, _) => Err(wrong("no libnode")),
        (Some(_), _) => Err(wrong("several libnodes")),
    }
}
