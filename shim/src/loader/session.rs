//! One guest as the core sees it: what is called in it, what it calls, and what each side keeps of the other's.
//!
//! # Safety
//! Functions and values of the core are kept as it allows: each is copied before it is kept, and destroyed once.

use super::abi::{Core, Opaque, Settle};
use super::values::{decode, encode, failed, Owned};
use crate::answer::Answer;
use crate::embed::{self, Runtime};
use serde_json::{json, Value as Json};
use std::collections::HashMap;
use std::ffi::CString;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The script side.
const SCRIPT: &str = concat!(include_str!("../../js/load.js"), include_str!("../../js/loader.js"));
/// The name that it has in the guest; as a name of a script it can be none of the core's.
const NAME: &str = "[relink loader]";
/// The function of the host's that it calls.
const HOST: &str = "relink.loader";
/// Calls end when they end, or with Node.
const FOR_EVER: u32 = u32::MAX;
/// How long promises that somebody awaits have to settle when the core ends, and how long Node has to end then.
const LAST: Duration = Duration::from_secs(10);

/// Whom the outcome of a promise is told to.
pub struct Await {
    pub resolve: Option<Settle>,
    pub reject: Option<Settle>,
    pub context: Opaque,
}
// SAFETY: the context is never looked behind here; the core's caller expects it back on the guest's thread.
unsafe impl Send for Await {}

/// A value of the core's that is kept.
struct Kept(&'static Core, Opaque);
// SAFETY: the core's values are not bound to a thread.
unsafe impl Send for Kept {}
// SAFETY: as above.
unsafe impl Sync for Kept {}

impl Drop for Kept {
    fn drop(&mut self) {
        // SAFETY: kept once, and no longer.
        unsafe { (self.0.value_type_destroy)(self.1) };
    }
}

#[derive(Default)]
struct State {
    last: u64,
    /// Functions of the core's that scripts hold.
    functions: HashMap<u64, Arc<Kept>>,
    /// Functions of scripts that the core holds: the core's address, and the number in loader.js.
    ours: HashMap<usize, u64>,
    /// Promises that the core holds, likewise.
    promises: HashMap<usize, u64>,
    awaits: HashMap<u64, Await>,
}

/// One guest.
pub struct Session {
    pub core: &'static Core,
    runtime: Arc<Runtime>,
    state: Mutex<State>,
    changed: Condvar,
}

impl Session {
    /// Loads the script side into a guest.
    pub fn begin(core: &'static Core, runtime: Arc<Runtime>) -> Result<Arc<Self>, String> {
        let session = Arc::new(Self { core, runtime, state: Mutex::default(), changed: Condvar::new() });
        let weak = Arc::downgrade(&session);
        let serve = move |request: &str| {
            let session = weak.upgrade().ok_or("the loader has ended")?;
            session.serve(request)
        };
        session.runtime.register(HOST.into(), Some(Arc::new(serve)));
        let run = session.runtime.run("string", SCRIPT, NAME, FOR_EVER).map_err(|no| no.why)?;
        match run {
            (Answer::Ok, _) => Ok(session),
            (_, error) => Err(format!("loader.js: {error}")),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(state: &mut State) -> u64 {
        state.last += 1;
        state.last
    }

    /// Calls a function of loader.js; the error is what it threw, as one line.
    pub fn call(&self, function: &str, args: &[Json]) -> Result<Json, String> {
        let (function, args) = request(function, args)?;
        match self.runtime.call(&function, &args, FOR_EVER).map_err(|no| no.why)? {
            (Answer::Ok, text) => serde_json::from_str(&text).map_err(|e| format!("{e}: {text}")),
            (_, text) => Err(message(&text)),
        }
    }

    /// Calls one that nobody waits for. Without a guest there is nothing to be released in it.
    fn tell(&self, function: &str, number: u64) {
        if let Ok((function, args)) = request(function, &[json!(number)]) {
            drop(self.runtime.call_async(&function, &args, Box::new(|_, _| ())));
        }
    }

    /// Calls a function that gives an encoded value.
    pub fn value(self: &Arc<Self>, function: &str, args: &[Json]) -> Result<Opaque, String> {
        Ok(decode(self, &self.call(function, args)?)?.give())
    }

    /// As JSON, arguments of the core's.
    ///
    /// # Safety
    /// `values` are values of the core's.
    pub unsafe fn encoded(&self, first: &[u64], values: &[Opaque]) -> Result<Vec<Json>, String> {
        let mut made: Vec<Json> = first.iter().map(|number| json!(number)).collect();
        for (n, value) in values.iter().enumerate() {
            // SAFETY: promised by the caller.
            made.push(
                unsafe { encode(self, *value, 0) }.map_err(|why| format!("argument {}: {why}", n + 1))?,
            );
        }
        Ok(made)
    }

    /// Calls a function that gives a promise, whose outcome is told to `wait`.
    pub fn waiting(
        self: &Arc<Self>,
        function: &str,
        args: impl FnOnce(u64) -> Result<Vec<Json>, String>,
        wait: Await,
    ) -> Result<Opaque, String> {
        let token = {
            let mut state = self.state();
            let token = Self::number(&mut state);
            state.awaits.insert(token, wait);
            token
        };
        let called = args(token).and_then(|args| self.value(function, &args));
        if called.is_err() {
            self.state().awaits.remove(&token);
        }
        called
    }

    // --- what the core holds of the guest's -----------------------------------------------------------------------------

    /// A function of a script is one of the core's now.
    pub fn lent_function(&self, function: Opaque, number: u64) {
        self.state().ours.insert(function as usize, number);
    }

    /// The core has destroyed it.
    pub fn returned_function(&self, function: Opaque) {
        if let Some(number) = self.state().ours.remove(&(function as usize)) {
            self.tell("releaseFunction", number);
        }
    }

    /// A promise of a script is a future of the core's now.
    pub fn lent_promise(&self, future: Opaque, number: u64) {
        self.state().promises.insert(future as usize, number);
    }

    /// The core has destroyed it.
    pub fn returned_promise(&self, future: Opaque) {
        if let Some(number) = self.state().promises.remove(&(future as usize)) {
            self.tell("releasePromise", number);
        }
    }

    /// A future as JSON: one that came from a script.
    pub fn future(&self, future: Opaque) -> Result<Json, String> {
        let number = self.state().promises.get(&(future as usize)).copied();
        number
            .map(|number| json!(["p", number]))
            .ok_or_else(|| "a future of another language cannot be given to Node".into())
    }

    // --- what scripts hold of the core's --------------------------------------------------------------------------------

    /// A function as JSON: the script's own, or one of the core's that is kept until no script has it any more.
    ///
    /// # Safety
    /// `value` is a function value of the core's.
    pub unsafe fn function(&self, value: Opaque) -> Json {
        // SAFETY: promised by the caller; the copy is one more owner.
        let (function, copy) =
            unsafe { ((self.core.value_to_function)(value), (self.core.value_type_copy)(value)) };
        let mut state = self.state();
        if let Some(number) = state.ours.get(&(function as usize)).copied() {
            drop(state);
            // SAFETY: just made.
            unsafe { (self.core.value_type_destroy)(copy) };
            return json!(["f", number]);
        }
        let number = Self::number(&mut state);
        state.functions.insert(number, Arc::new(Kept(self.core, copy)));
        drop(state);
        // SAFETY: the function lives, and so does its name.
        let name = unsafe { super::abi::text((self.core.function_name)(function)) };
        json!(["h", number, name])
    }

    /// A function of the core's that a script gives back.
    pub fn host_function(&self, number: u64) -> Result<Owned<'_>, String> {
        let kept = self.state().functions.get(&number).map(Arc::clone);
        let kept = kept.ok_or("a function that no script holds any more")?;
        // SAFETY: kept, and so alive.
        let copy = unsafe { (self.core.value_type_copy)(kept.1) };
        Owned::new(self.core, copy)
    }

    /// What loader.js asks of the host, on the guest's thread.
    fn serve(self: &Arc<Self>, request: &str) -> Result<String, String> {
        let request: Vec<Json> = serde_json::from_str(request).map_err(|e| e.to_string())?;
        let number = |it: &Json| it.as_u64().ok_or("not a number".to_owned());
        let reply = match &request[..] {
            [Json::String(what), it, args @ ..] if what == "call" => self.call_host(number(it)?, args)?,
            [Json::String(what), it, Json::Bool(resolved), value] if what == "settle" => {
                self.settle(number(it)?, *resolved, value)?
            }
            [Json::String(what), it] if what == "drop" => {
                let kept = self.state().functions.remove(&number(it)?);
                drop(kept);
                Json::Null
            }
            _ => return Err("this is not for scripts to call".into()),
        };
        Ok(reply.to_string())
    }

    fn call_host(self: &Arc<Self>, number: u64, args: &[Json]) -> Result<Json, String> {
        let function = self.host_function(number)?;
        let args: Vec<Owned> = args.iter().map(|it| decode(self, it)).collect::<Result<_, _>>()?;
        let given: Vec<Opaque> = args.iter().map(Owned::get).collect();
        // SAFETY: a function that its value keeps alive, and so many values; the result is ours.
        unsafe {
            let callee = (self.core.value_to_function)(function.get());
            self.taken((self.core.function_call)(callee, given.as_ptr(), given.len()))
        }
    }

    /// A value as JSON, which is destroyed.
    ///
    /// # Safety
    /// `value` is null or a value of the core's that is ours to destroy.
    unsafe fn taken(&self, value: Opaque) -> Result<Json, String> {
        // SAFETY: promised by the caller.
        unsafe {
            let encoded = encode(self, value, 0);
            (self.core.value_type_destroy)(value);
            encoded
        }
    }

    /// Tells somebody what became of a promise; what that gives back is what the next promise becomes.
    fn settle(self: &Arc<Self>, token: u64, resolved: bool, value: &Json) -> Result<Json, String> {
        let wait = self.state().awaits.remove(&token).ok_or("nobody awaits this")?;
        self.changed.notify_all();
        let Some(callback) = (if resolved { wait.resolve } else { wait.reject }) else {
            return Ok(if resolved { value.clone() } else { json!(["t", value]) });
        };
        let value = decode(self, value)?;
        // SAFETY: the callback and its context are the caller's, who expects them here; the value stays ours.
        unsafe { self.taken(callback(value.get(), wait.context)) }
    }

    // --- the end --------------------------------------------------------------------------------------------------------

    /// Waits for promises that somebody awaits, has `unload` called on the guest's thread, and takes the guest out.
    pub fn end(self: &Arc<Self>, unload: impl FnOnce() + Send + 'static) -> Result<(), String> {
        let here = self.runtime.is_here();
        if !here {
            self.await_promises();
        }
        self.on_its_thread(here, unload);
        if here {
            return Err("the guest cannot be taken out by one of its own scripts; it stays".into());
        }
        let ended = embed::destroy(&self.runtime, LAST.as_millis() as u32).map_err(|no| no.why);
        self.give_up();
        ended
    }

    fn await_promises(&self) {
        let until = Instant::now() + LAST;
        let mut state = self.state();
        while !state.awaits.is_empty() && !self.runtime.has_ended() && Instant::now() < until {
            let look = Duration::from_millis(10);
            state = self.changed.wait_timeout(state, look).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The core ends the loaders that were started on the guest's thread from there.
    fn on_its_thread(&self, here: bool, unload: impl FnOnce() + Send + 'static) {
        if here {
            return unload();
        }
        let work = Arc::new(Mutex::new(Some(unload)));
        let (done, told) = mpsc::channel();
        let there = Arc::clone(&work);
        // Without a loop the sender is dropped, and the wait is over.
        drop(self.runtime.post(Box::new(move |_| {
            take(&there).into_iter().for_each(|unload| unload());
            let _ = done.send(());
        })));
        if told.recv_timeout(LAST) == Err(RecvTimeoutError::Timeout) {
            // A script that never ends: calls would wait for it.
            drop(self.runtime.stop(LAST.as_millis() as u32));
        }
        take(&work).into_iter().for_each(|unload| unload());
    }

    /// Node has ended: who still waits is told, and what scripts held is let go.
    fn give_up(self: &Arc<Self>) {
        let (awaits, functions) = {
            let mut state = self.state();
            (std::mem::take(&mut state.awaits), std::mem::take(&mut state.functions))
        };
        for (_, wait) in awaits {
            let (Some(reject), Ok(error)) = (wait.reject, failed(self.core, "Node has ended")) else {
                continue;
            };
            // SAFETY: as in `settle`.
            unsafe { (self.core.value_type_destroy)(reject(error.get(), wait.context)) };
        }
        drop(functions);
    }
}

fn take<T>(place: &Mutex<Option<T>>) -> Option<T> {
    place.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn request(function: &str, args: &[Json]) -> Result<(CString, CString), String> {
    let text = |text: String| CString::new(text).map_err(|e| e.to_string());
    let args = serde_json::to_string(args).map_err(|e| e.to_string())?;
    Ok((text(format!("{NAME}.{function}"))?, text(args)?))
}

/// `NAME: MESSAGE` of what a script threw, one line.
fn message(thrown: &str) -> String {
    let parsed: Json = serde_json::from_str(thrown).unwrap_or_default();
    let part = |name: &str| parsed.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
    let (name, message) = (part("name"), part("message"));
    match message.lines().next() {
        Some(line) => format!("{name}: {line}"),
        None => thrown.to_owned(),
    }
}
