//! Node's life in a game: brought in when the host's V8 is ready, its scripts loaded, ticked, brought in anew when they change.

use super::error::PluginError;
use super::game;
use super::helper::Shared;
use super::scripts::{self, Script, Watch};
use super::settings::Run;
use crate::answer::{Answer, No};
use crate::embed::{self, Runtime};
use serde_json::Value;
use std::ffi::CString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// What runs in the guest before the scripts.
const PRELUDE: &str = include_str!("../../js/plugin.js");

/// What of it is called with what has happened in the game, and before the scripts go.
const HAPPENS: &std::ffi::CStr = c"relink:plugin.happens";
const LEAVES: &str = "relink:plugin.leaves";

/// What is told when a script is loaded.
type Told = Box<dyn FnOnce(Answer, &str) + Send>;

/// Where Node is.
#[derive(Default)]
enum State {
    /// The host's V8 is not ready.
    #[default]
    Waiting,
    Running(Arc<Runtime>, Vec<Script>),
    /// It may be brought in again when a script changes.
    Ended,
    /// Something of it stays in the process, so none can come.
    Over,
}

/// The guest of the plugin. All of it on one thread: the game's, or the helper's.
pub struct Life {
    shared: Arc<Shared>,
    state: State,
}

impl Life {
    /// Nothing yet.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared, state: State::Waiting }
    }

    /// Does what is due. `budget_us`: the guest is ticked for so many microseconds; nothing: it has a thread of its own.
    pub fn step(&mut self, budget_us: Option<u64>) {
        match &self.state {
            State::Waiting if self.shared.v8_is_ready() => self.begin(),
            State::Running(guest, _) => {
                if let Some(file) = self.shared.scripts_changed() {
                    return self.renew(&file);
                }
                let guest = Arc::clone(guest);
                tell(&guest, &self.shared);
                let ended = budget_us.map_or_else(|| guest.has_ended(), |budget| self.tick(&guest, budget));
                if ended {
                    self.ended(&guest);
                }
            }
            State::Ended => {
                if let Some(file) = self.shared.scripts_changed() {
                    self.shared.say(&format!("\"{file}\" has changed: Node is started anew"));
                    self.begin();
                }
            }
            State::Waiting | State::Over => {}
        }
    }

    /// One tick. Whether Node has ended.
    fn tick(&self, guest: &Runtime, budget_us: u64) -> bool {
        let _watched = self.shared.watch_frame();
        match guest.tick(budget_us) {
            Err(no) if no.answer == Answer::Ended => true,
            Err(no) => {
                self.shared.status(&format!("not ticked: {}", no.why));
                false
            }
            Ok(()) => false,
        }
    }

    fn begin(&mut self) {
        let start = Instant::now();
        let shared = &self.shared;
        let watched = shared.settings.scripts.clone();
        self.state = match embed::create(shared.settings.wanted()) {
            Ok(guest) => {
                shared.runs(Some(&guest));
                shared.with_watch(Watch::restart);
                let found = scripts::find(&watched);
                shared.say(&format!("Node is there ({} ms)", start.elapsed().as_millis()));
                shared.status("running");
                game::offer(&guest);
                offer(&guest, shared);
                found.iter().for_each(|script| load(&guest, script, shared));
                if found.is_empty() {
                    shared.say(&format!("no scripts in \"{}\"", watched.display()));
                }
                State::Running(guest, found)
            }
            Err(no) => {
                shared.fail(&no.why);
                if no.answer == Answer::Stays {
                    State::Over
                } else {
                    State::Ended
                }
            }
        };
    }

    /// Another guest with the scripts as they are now. Nothing of the one before can be left: not a timer, not a server.
    fn renew(&mut self, file: &str) {
        self.shared.say(&format!("\"{file}\" has changed: Node is started anew"));
        match self.end() {
            Ok(()) => self.begin(),
            Err(error) => self.shared.fail(&error.to_string()),
        }
    }

    /// Node has ended by itself.
    fn ended(&mut self, guest: &Runtime) {
        let how = outcome(guest);
        self.state = State::Ended;
        let then = self.take_out(guest);
        let then =
            then.map_or_else(|error| error.to_string(), |()| "it comes back when a script changes".into());
        self.shared.fail(&format!("Node has ended ({how}); {then}"));
    }

    /// Ends Node and takes it out of the process. Scripts that export `unload()` are told before.
    pub fn end(&mut self) -> Result<(), PluginError> {
        let State::Running(guest, scripts) = std::mem::take(&mut self.state) else { return Ok(()) };
        part(&guest, LEAVES, "relink.game.onUnload()", &self.shared);
        for script in &scripts {
            part(
                &guest,
                &format!("{}.unload", script.name),
                &format!("script \"{}\", unload()", script.name),
                &self.shared,
            );
        }
        self.state = State::Ended;
        let taken = self.take_out(&guest);
        if matches!(&taken, Err(PluginError::Guest(no)) if no.answer == Answer::Timeout) {
            self.state = State::Running(guest, scripts);
        }
        taken
    }

    fn take_out(&mut self, guest: &Runtime) -> Result<(), PluginError> {
        game::forget();
        let destroyed = embed::destroy(guest, self.shared.settings.stop_ms);
        if destroyed.as_ref().map_or_else(|no| no.answer == Answer::Stays, |()| true) {
            self.shared.runs(None);
        }
        match destroyed {
            Err(no) if no.answer == Answer::Stays => {
                self.state = State::Over;
                let why = format!("{}: Node stays in the process, and none can come again", no.why);
                Err(PluginError::Guest(Answer::Stays.because(why)))
            }
            done => done.map_err(PluginError::from),
        }
    }
}

/// How it ended, in the report's words.
fn outcome(guest: &Runtime) -> String {
    let report: Value = serde_json::from_str(&guest.report()).unwrap_or_default();
    let part = |name: &str| report["outcome"][name].as_str().unwrap_or("unknown").to_owned();
    let (how, message) = (part("how"), part("message"));
    let code = &report["outcome"]["exit_code"];
    if message.is_empty() {
        format!("{how}, {code}")
    } else {
        format!("{how}, {code}: {message}")
    }
}

/// `relink.host.print(...)` in scripts.
fn offer(guest: &Runtime, shared: &Arc<Shared>) {
    let told = Arc::clone(shared);
    let print = move |args: &str| -> Result<String, String> {
        let args: Vec<Value> = serde_json::from_str(args).map_err(|e| e.to_string())?;
        let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
        let line: Vec<String> = args.iter().map(text).collect();
        told.say(&line.join(" "));
        Ok("null".into())
    };
    guest.register("print".into(), Some(Arc::new(print)));
    let told = Arc::clone(shared);
    let loads = move |args: &str| -> Result<String, String> {
        let [path]: [PathBuf; 1] = serde_json::from_str(args).map_err(|e| e.to_string())?;
        told.with_watch(|watch| watch.loads(path));
        Ok("null".into())
    };
    guest.register("loads".into(), Some(Arc::new(loads)));
    let prelude = embed::load_request("string", PRELUDE, "relink:plugin");
    run(guest, prelude, "what comes before the scripts", shared, |_| ());
}

/// Has a script loaded; says what became of it.
fn load(guest: &Runtime, script: &Script, shared: &Arc<Shared>) {
    let request = embed::load_request("file", &script.path.to_string_lossy(), &script.name);
    let what = format!("script \"{}\"", script.name);
    let loaded = what.clone();
    run(guest, request, &what, shared, move |shared| shared.say(&format!("{loaded} is loaded")));
}

/// What relink_run() does, without waiting; errors are said.
fn run(
    guest: &Runtime,
    request: Result<CString, No>,
    what: &str,
    shared: &Arc<Shared>,
    done: impl FnOnce(&Shared) + Send + 'static,
) {
    let (name, told) = (what.to_owned(), Arc::clone(shared));
    let tell: Told = Box::new(move |answer, text| match answer {
        Answer::Ok => done(&told),
        Answer::Ended => {}
        _ => told.say(&format!("{name}: {}", thrown(text))),
    });
    if let Err(no) = request.and_then(|text| guest.call_async(c"", &text, tell)) {
        shared.say(&format!("{what}: {}", no.why));
    }
}

/// Tells the scripts what has happened in the game.
fn tell(guest: &Runtime, shared: &Arc<Shared>) {
    let Some(events) = game::happened().and_then(|text| CString::new(text).ok()) else { return };
    let told = Arc::clone(shared);
    let done: Told = Box::new(move |answer, text| {
        if answer == Answer::Threw {
            told.say(&format!("relink.game: {}", thrown(text)));
        }
    });
    // A guest that has ended is noticed elsewhere.
    let _ = guest.call_async(HAPPENS, &events, done);
}

/// Calls a function for the end of the scripts, if there is one.
fn part(guest: &Runtime, function: &str, what: &str, shared: &Shared) {
    /// For what a script still has to put away while the game's frame waits.
    const IN_A_FRAME: u32 = 500;
    let time = if shared.settings.run == Run::Frames { IN_A_FRAME } else { shared.settings.stop_ms };
    let Ok(function) = CString::new(function) else { return };
    let _watched = shared.watch_frame();
    let why = match guest.call(&function, c"[]", time) {
        Ok((Answer::Threw, text)) => thrown(&text),
        Ok(_) | Err(No { answer: Answer::Ended, .. }) => return,
        Err(no) => no.why,
    };
    shared.say(&format!("{what}: {why}"));
}

/// An error's stack, or else its message, in one line.
fn thrown(text: &str) -> String {
    let error: Value = serde_json::from_str(text).unwrap_or_default();
    let told = error["stack"].as_str().or(error["message"].as_str());
    told.map_or_else(|| text.to_owned(), |told| told.split('\n').map(str::trim).collect::<Vec<_>>().join(" "))
}
