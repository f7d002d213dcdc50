//! A game server that loads plugins as Metamod:Source does (fixtures/plugin), and a folder with the plugin as it is installed.
#![allow(dead_code, reason = "the bench and the tests each use their own part of this")]

use crate::support::parts;
use serde_json::{json, Value};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{channel, Receiver};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longer than anything takes, on a machine that is busy with much else.
pub const LONG: Duration = Duration::from_secs(120);

/// A folder of a component build's libraries that is V8 in place of Debian's, with its headers in the second; compiler, options and
/// libraries for that are in the variables that fixtures/plugin/layout.sh knows.
const OTHER_V8: [&str; 2] = ["RELINK_GAME_V8", "RELINK_GAME_V8_INCLUDE"];

/// The server's folder: made anew when something of it has changed.
fn laid_out() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let [v8, include] = OTHER_V8.map(std::env::var_os);
    let v8 = v8.unwrap_or_else(|| parts().libv8.clone().into());
    let include = include.unwrap_or_else(|| parts().headers.clone().into());
    let mut key = DefaultHasher::new();
    (&v8, &include).hash(&mut key);
    let sources = std::fs::read_dir(root.join("fixtures/plugin")).expect("the sources");
    let mut sources: Vec<PathBuf> = sources.map(|entry| entry.expect("an entry").path()).collect();
    sources.push(root.join("shim/include/relink.h"));
    sources.sort();
    sources.iter().for_each(|path| std::fs::read(path).expect("readable").hash(&mut key));
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("plugin-game-{:016x}", key.finish()));
    if !output.exists() {
        // In one step, for other tests may be making it, too.
        let new = output.with_extension(std::process::id().to_string());
        let mut command = Command::new("sh");
        command
            .arg(root.join("fixtures/plugin/layout.sh"))
            .arg(&new)
            .env("V8", v8)
            .env("V8_INCLUDE", include);
        let done = command.env("RELINK_INCLUDE", root.join("shim/include")).output().expect("sh runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let moved = std::fs::rename(&new, &output);
        assert!(moved.is_ok() || output.exists(), "{moved:?}");
    }
    output
}

/// The server, and its module with V8, as fixtures/plugin/layout.sh lays them out.
pub fn server() -> &'static (PathBuf, PathBuf) {
    static SERVER: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    SERVER.get_or_init(|| {
        let bin = laid_out().join("game/bin/linuxsteamrt64");
        (bin.join("cs2"), bin.join("libv8system.so"))
    })
}

/// A server that is running.
pub struct Server {
    child: Child,
    ask: ChildStdin,
    lines: Receiver<String>,
    /// Everything but answers that it has printed.
    pub said: Vec<String>,
}

impl Server {
    /// Starts one that has no V8 yet.
    pub fn start() -> Self {
        Self::start_with(|command| command)
    }

    /// The same with something about it changed.
    pub fn start_with(change: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let mut command = Command::new(&server().0);
        Self::start_by(change(&mut command))
    }

    /// One that this command starts.
    pub fn start_by(command: &mut Command) -> Self {
        for name in relink::config::VARIABLES.iter().chain(&["LD_PRELOAD", "NODE_OPTIONS"]) {
            command.env_remove(name);
        }
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the server runs");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let (tell, lines) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Self { ask: child.stdin.take().expect("a pipe"), child, lines, said: Vec::new() }
    }

    /// One whose V8 is initialised.
    pub fn with_v8() -> Self {
        let mut server = Self::start();
        server.yes(&format!("engine {}", crate::plugins::server().1.display()));
        server.yes("v8");
        server
    }

    fn answer(&mut self, of: &str) -> Value {
        loop {
            let line =
                self.lines.recv_timeout(LONG).unwrap_or_else(|e| panic!("{of}: {e}\n{:#?}", self.said));
            if line.starts_with("{\"answer\"") {
                return serde_json::from_str(&line).expect("JSON");
            }
            self.said.push(line);
        }
    }

    /// Sends a command; its answer.
    pub fn ask(&mut self, command: &str) -> Value {
        writeln!(self.ask, "{command}").expect("the server reads");
        self.answer(command)
    }

    /// A command that must be done.
    pub fn yes(&mut self, command: &str) -> Value {
        let answer = self.ask(command);
        assert_eq!(answer["answer"], json!(true), "{command}: {answer}\n{:#?}", self.said);
        answer
    }

    /// A command that must be refused; the reason.
    pub fn no(&mut self, command: &str) -> String {
        let answer = self.ask(command);
        assert_eq!(answer["answer"], json!(false), "{command}: {answer}\n{:#?}", self.said);
        answer["error"].as_str().expect("a text").to_owned()
    }

    /// A command that several answers come to, each `true` or not.
    pub fn answers(&mut self, command: &str, expected: &[bool]) -> Vec<Value> {
        writeln!(self.ask, "{command}").expect("the server reads");
        let answers: Vec<Value> = expected.iter().map(|_| self.answer(command)).collect();
        let told: Vec<bool> = answers.iter().map(|answer| answer["answer"] == json!(true)).collect();
        assert_eq!(told, expected, "{command}: {answers:?}\n{:#?}", self.said);
        answers
    }

    /// Runs frames until a line that contains `text` was printed; that line.
    pub fn until(&mut self, text: &str) -> String {
        self.until_seen(text, |server| drop(server.yes("frames 4 128")))
    }

    /// The same by other means than frames.
    pub fn until_seen(&mut self, text: &str, mut again: impl FnMut(&mut Self)) -> String {
        let limit = Instant::now() + LONG;
        loop {
            if let Some(line) = self.said.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            assert!(Instant::now() < limit, "{text} never came: {:#?}", self.said);
            again(self);
        }
    }

    /// The process's number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets it leave; frames and checksum at its end.
    pub fn quit(mut self) -> (u64, u64) {
        let last = self.ask("quit");
        let status = self.child.wait().expect("it ends");
        assert_eq!(status.code(), Some(0), "{status}: {:#?}", self.said);
        (last["frames"].as_u64().expect("frames"), last["checksum"].as_u64().expect("a checksum"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Where a test fails, it must not stay. It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A game's folder with the plugin in it.
pub struct Game {
    folder: TempDir,
}

impl Game {
    /// With these settings besides the guest.
    pub fn new(settings: &Value) -> Self {
        let game = Self { folder: TempDir::new().expect("a folder") };
        std::fs::create_dir_all(game.library().parent().expect("a folder")).expect("made");
        std::fs::create_dir(game.relink().join("scripts")).expect("made");
        std::fs::copy(&parts().library, game.library()).expect("copied");
        game.configure(settings);
        game
    }

    /// Its folder: `game/csgo` of a server that was laid out.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("game/csgo")
    }

    /// The plugin's folder.
    pub fn relink(&self) -> PathBuf {
        self.path().join("addons/relink")
    }

    /// The plugin's library.
    pub fn library(&self) -> PathBuf {
        self.relink().join("bin/linuxsteamrt64/relink.so")
    }

    /// `load` for a server.
    pub fn load(&self) -> String {
        format!("load {}", self.library().display())
    }

    /// Writes the settings.
    pub fn configure(&self, settings: &Value) {
        let mut whole = json!({ "guest": parts().guest, "reload_ms": 100 });
        let all = whole.as_object_mut().expect("an object");
        all.extend(settings.as_object().expect("an object").clone());
        self.configure_text(&whole.to_string());
    }

    /// Writes the configuration as it is.
    pub fn configure_text(&self, text: &str) {
        std::fs::write(self.relink().join("relink.json"), text).expect("written");
    }

    /// Writes a script.
    pub fn script(&self, name: &str, text: &str) {
        std::fs::write(self.relink().join("scripts").join(name), text).expect("written");
    }

    /// The log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.relink().join("relink.log")).unwrap_or_default()
    }
}
