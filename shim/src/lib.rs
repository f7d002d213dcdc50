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
mod loader;
mod plugin;

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
use relink_loader::runtime::{guards, lifecycle, signals};
use std::ffi::{c_char, OsString};
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
    let _ = catch_unwind(arm);
}

/// Starts the thread, if that is asked for and this process is one with a V8.
fn arm() {
    let Some(config) = Config::read(|name| std::env::var_os(name)) else { return };
    if !is_the_host() {
        return;
    }
    let file = std::env::var_os(config::REPORT).map(PathBuf::from);
    if std::env::var_os(config::INHERIT).is_none_or(|v| v != "1") {
        leave_environment();
    }
    let report = new_report();
    match config.and_then(settle) {
        // Nobody will ask for the guest to be taken out.
        Ok(config) => {
            ARMED.store(true, Ordering::Relaxed);
            let keep = |share: Option<Share>| share.into_iter().for_each(Share::keep);
            drop(spawn(config, None, &Life::new(0), report, || Ok(()), keep));
        }
        Err(error) => fail(&error, &report, file.as_deref()),
    }
}

/// Whether this process is the one to act in: the one with the name that was given, or else the one that has a V8.
fn is_the_host() -> bool {
    match std::env::var_os(config::HOST).filter(|name| !name.is_empty()) {
        Some(name) => executable().file_name() == Some(&*name),
        None => has_v8(),
    }
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
    const PRELOAD: &str = "LD_PRELOAD";
    config::VARIABLES.iter().for_each(|name| std::env::remove_var(name));
    let Some(preload) = std::env::var_os(PRELOAD) else { return };
    match config::without_library(&preload.to_string_lossy()) {
        Some(rest) => std::env::set_var(PRELOAD, OsString::from(rest)),
        None => std::env::remove_var(PRELOAD),
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
        if !guards::in_child() && lifecycle::host_leaves() {
            if let Some((report, file)) = UNTOLD.get() {
                fail(&Error::HostEnded, report, file.as_deref());
            }
        }
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
    let thread = std::thread::Builder::new().name("relink-node".into()).stack_size(STACK);
    let spawned = signals::blocked(|| {
        thread.spawn(move || {
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
