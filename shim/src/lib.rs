//! `librelink.so`: Relink as a library that is preloaded (`LD_PRELOAD`), linked, or loaded as a plugin.
//!
//! The constructor does nothing unless `RELINK_*` variables ask for it and the process has a V8. Then it starts one thread, and
//! everything else happens there: [`relink_loader::pipeline`] brings the guest in. Whatever fails there, the host goes on.
//!
//! # Safety
//! The constructor runs in ld.so before `main`, on the only thread; the thread that it starts never unwinds into
//! foreign code.

mod answer;
mod api;
mod bridge;
mod embed;
mod header;
mod loader;
mod plugin;
mod process;

use relink_abi::error::Error;
use relink_abi::learned;
use relink_loader::config::{self, Config};
use relink_loader::host::detect;
use relink_loader::log::{self, Level};
use relink_loader::pipeline::{self, Share, SharedReport};
use relink_loader::process::{executable, Maps, Modules};
use relink_loader::report::{Failure, Report};
use relink_loader::runtime::channel::Channel;
use relink_loader::runtime::lifecycle::Life;
use relink_loader::runtime::{float, guards, lifecycle, sanitizers, signals, variables};
use relink_loader::script::{self, Work};
use std::ffi::{c_char, OsStr, OsString};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;

/// Node's main thread needs as much as a process's main thread usually has, in bytes.
const STACK: usize = 8 * 1024 * 1024;

/// The guest that the environment asked for is there, for ever.
static ARMED: AtomicBool = AtomicBool::new(false);

/// The version of this library, a NUL-terminated string that lives for ever.
#[no_mangle]
pub extern "C" fn relink_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// ld.so calls what stands in this section when it has loaded the library (gABI chapter 5).
#[used]
#[link_section = ".init_array"]
static CONSTRUCTOR: extern "C" fn() = on_load;

extern "C" fn on_load() {
    // A panic must not reach ld.so. There is nobody to be told but standard error, and the panic hook did that.
    let _ = catch_unwind(process::on_load);
    let _ = catch_unwind(|| sanitizers::unjudged(arm));
}

/// Starts the thread, if that is asked for and this process is one with a V8.
fn arm() {
    let Some(config) = Config::read(|name| std::env::var_os(name)) else { return };
    let (here, why) = match which_process() {
        Which::Another => return,
        Which::Runner(name) => return pass_over(&name, &config),
        Which::Named(here) => (here, Some("chosen by its script".to_owned())),
        Which::Host(here) => {
            let passed = std::env::var(config::PASSED_OVER).ok();
            (here, passed.map(|passed| format!("{passed} was passed over")))
        }
    };
    let options = std::env::var(config::NODE_OPTIONS).ok();
    let file = std::env::var_os(config::REPORT).map(PathBuf::from);
    if std::env::var_os(config::INHERIT).is_none_or(|v| v != "1") {
        leave_environment();
    }
    let report = new_report();
    match config.and_then(settle) {
        // Nobody will ask for the guest to be taken out.
        Ok(config) => {
            if let Err(error) = process::claim() {
                return fail(&error, &report, file.as_deref());
            }
            ARMED.store(true, Ordering::Relaxed);
            tell_where(&here, why.as_deref());
            guards::all();
            options.iter().for_each(|options| variables::give("NODE_OPTIONS", options));
            variables::hold();
            let keep = |share: Option<Share>| share.into_iter().for_each(Share::keep);
            drop(spawn(config, None, &Life::new(0), report, || Ok(()), keep));
        }
        Err(error) => fail(&error, &report, file.as_deref()),
    }
}

/// Whether to act in this process.
enum Which {
    /// It is the host, which is called this.
    Host(String),
    /// It is the host because of its script.
    Named(String),
    /// It has a V8, and only starts others; its name.
    Runner(String),
    /// It is none of these.
    Another,
}

/// The host is the program or the script with the name that was given, or else the one that has a V8, unless that is a package runner.
fn which_process() -> Which {
    let program = executable();
    let name = std::env::var(config::HOST).ok().filter(|name| !name.is_empty());
    let named = name.as_ref().map(|name| program.file_name() == Some(OsStr::new(name)));
    let is_node = program.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"node"));
    let work = if is_node { node_work(&program) } else { Work::Other };
    match (named, work, name) {
        (None, ..) if !has_v8() => Which::Another,
        (_, Work::Script(script), Some(name)) if script::is_meant(&name, &script) => {
            Which::Named(format!("{} {}", program.display(), script.display()))
        }
        (Some(false), ..) => Which::Another,
        (_, Work::Runner(runner), _) => Which::Runner(runner),
        (_, Work::Script(script), _) => Which::Host(format!("{} {}", program.display(), script.display())),
        (_, Work::Other, _) => Which::Host(program.display().to_string()),
    }
}

/// What a node was started for.
fn node_work(program: &Path) -> Work {
    let line = std::fs::read("/proc/self/cmdline").unwrap_or_default();
    let words = script::words(&line);
    // Where ld.so was called as a program, node's own words come later.
    let own = words.iter().position(|word| Path::new(word).file_name() == program.file_name()).unwrap_or(0);
    let folder = std::env::current_dir().unwrap_or_default();
    script::work(words.get(own + 1..).unwrap_or_default(), &|name| std::env::var_os(name), &folder)
}

/// Says in which process Node will be: always where it is not the one that the user has started, and why.
fn tell_where(here: &str, why: Option<&str>) {
    let place = format!("Node comes into process {} ({here})", std::process::id());
    match why {
        Some(why) => log::tell(Level::Error, &format!("{place}; {why}")),
        None => log::tell(Level::Info, &place),
    }
}

/// Leaves all as it is for what the runner will start.
fn pass_over(name: &str, config: &Result<Config, Error>) {
    if let Ok(config) = config {
        log::set_level(config.log);
        log::tell(
            Level::Info,
            &format!(
                "{name} only starts other programs: Node is for one of those (process {})",
                std::process::id()
            ),
        );
    }
    let before = std::env::var(config::PASSED_OVER).ok().filter(|before| before != name);
    let all = before.map_or_else(|| name.to_owned(), |before| format!("{before}, {name}"));
    std::env::set_var(config::PASSED_OVER, all);
}

/// Wrappers such as shells and `timeout` have none, and must not notice that they were started with this library.
fn has_v8() -> bool {
    Maps::own().is_ok_and(|maps| detect::any(&Modules::observe(), &maps))
}

/// Makes paths independent of the host's working directory.
fn settle(mut config: Config) -> Result<Config, Error> {
    log::set_level(config.log);
    for (name, path) in [(config::GUEST, &mut config.guest), (config::SCRIPT, &mut config.script)] {
        let absolute = std::path::absolute(&*path);
        *path = absolute.map_err(|e| Error::Setting { name, why: e.to_string() })?;
    }
    let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
    config.report = config.report.map(absolute);
    if let Some(folder) = config.catalogue.take() {
        learned::name_folder(absolute(folder));
    }
    Ok(config)
}

/// Takes Relink out of the environment that the host's children get.
fn leave_environment() {
    config::VARIABLES.iter().for_each(|name| std::env::remove_var(name));
    change(config::PRELOAD, config::without_library);
    change(config::ASAN_OPTIONS, |options| config::with_link_order(options).map(str::to_owned));
}

/// Puts what `of` makes of a variable, if there is one, in its place; nothing: takes it out.
fn change(name: &str, of: impl Fn(&str) -> Option<String>) {
    let Some(value) = std::env::var_os(name) else { return };
    match of(&value.to_string_lossy()) {
        Some(rest) => std::env::set_var(name, OsString::from(rest)),
        None => std::env::remove_var(name),
    }
}

fn new_report() -> SharedReport {
    Arc::new(Mutex::new(Report {
        relink: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        host: executable().display().to_string(),
        ..Report::default()
    }))
}

/// What is told if the host ends before its guest could begin.
static UNTOLD: OnceLock<(SharedReport, Option<PathBuf>)> = OnceLock::new();

extern "C" fn at_exit_of_the_host() {
    let told = catch_unwind(|| {
        sanitizers::unjudged(|| {
            if !guards::in_child() && lifecycle::host_leaves() {
                if let Some((report, file)) = UNTOLD.get() {
                    fail(&Error::HostEnded, report, file.as_deref());
                }
            }
        })
    });
    // A panic's message went to standard error; the host goes on with its exit.
    drop(told);
}

/// Starts the guest's thread, which begins with `prepare` and ends with `then` what Node left behind.
fn spawn<T: Send + 'static>(
    config: Config,
    channel: Option<Arc<Channel>>,
    life: &Arc<Life>,
    report: SharedReport,
    prepare: impl FnOnce() -> Result<(), Error> + Send + 'static,
    then: impl FnOnce(Option<Share>) -> T + Send + 'static,
) -> Option<JoinHandle<T>> {
    guards::all();
    if UNTOLD.set((Arc::clone(&report), config.report.clone())).is_ok() {
        // SAFETY: the handler is a function of this library, which is never unloaded.
        unsafe { libc::atexit(at_exit_of_the_host) };
    }
    pipeline::lock(&report).guest = config.guest.display().to_string();
    let told = Arc::clone(&report);
    let file = config.report.clone();
    let life = Arc::clone(life);
    let stack = if config.stack_kib == 0 { STACK } else { config.stack_kib as usize * 1024 };
    let thread = std::thread::Builder::new().name("relink-node".into()).stack_size(stack);
    let hosts = float::hosts();
    let spawned = signals::blocked(|| {
        thread.spawn(move || {
            sanitizers::leave_thread_unjudged();
            float::enter_from(hosts);
            life.on_own_thread();
            let run = || {
                prepare()
                    .and_then(|()| pipeline::run(&config, bridge::all(), channel.as_deref(), &life, &report))
            };
            let result = catch_unwind(AssertUnwindSafe(run))
                .unwrap_or_else(|panic| Err(Error::Internal(panic_text(&*panic))));
            then(result.map_err(|error| fail(&error, &report, config.report.as_deref())).ok())
        })
    });
    let failed =
        |error| fail(&Error::Internal(format!("no thread for Node: {error}")), &told, file.as_deref());
    spawned.map_err(failed).ok()
}

/// Tells why Node was not brought in: one line, and the report if one was asked for.
fn fail(error: &Error, report: &SharedReport, file: Option<&Path>) {
    lifecycle::never();
    log::tell(Level::Error, &format!("{}; the host goes on without Node", error.line()));
    pipeline::lock(report).error = Some(Failure { code: error.code().into(), message: error.to_string() });
    pipeline::finish(report, file, 0, None);
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".into())
}
