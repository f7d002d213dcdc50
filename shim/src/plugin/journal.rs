//! What the plugin says: to a file beside it at once, and to the server's console when the game's thread comes by, for Metamod's
//! console is that thread's.
//!
//! # Safety
//! Asks libc for the local time.

use super::abi::Api;
use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Lines that wait for the console; more are only in the file.
const MOST_WAITING: usize = 1000;

/// The plugin's log.
#[derive(Debug)]
pub struct Journal {
    file: Mutex<Option<File>>,
    waiting: Mutex<Vec<CString>>,
    console: bool,
}

impl Journal {
    /// Begins a new log. The one of the last load is kept under the name with `.1`.
    pub fn begin(path: &Path, console: bool) -> Self {
        let mut before = path.as_os_str().to_owned();
        before.push(".1");
        // There may be none.
        let _ = std::fs::rename(path, before);
        let opened = File::options().create(true).append(true).open(path);
        let failed = opened.as_ref().err().map(|error| format!("no log \"{}\": {error}", path.display()));
        let journal = Self { file: Mutex::new(opened.ok()), waiting: Mutex::new(Vec::new()), console };
        failed.into_iter().for_each(|line| journal.say(&line));
        journal
    }

    /// Says a line.
    pub fn say(&self, line: &str) {
        let line = line.replace(['\0', '\n', '\r'], " ");
        if let Some(file) = &mut *self.file.lock().unwrap_or_else(PoisonError::into_inner) {
            // A full disk must not keep the game from going on.
            let _ = writeln!(file, "{} {line}", now());
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if self.console && waiting.len() < MOST_WAITING {
            waiting.extend(CString::new(format!("[RELINK] {line}\n")));
        }
    }

    /// Prints what waits for the console. On the game's thread.
    pub fn print(&self, api: Api) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.iter().for_each(|line| api.print(line));
    }
}

/// The local date and time.
fn now() -> String {
    let mut buffer = [0u8; 32];
    // SAFETY: both structures are plain numbers, and the buffer's size is told.
    let length = unsafe {
        let seconds = libc::time(std::ptr::null_mut());
        let mut parts: libc::tm = std::mem::zeroed();
        libc::localtime_r(&seconds, &mut parts);
        let format = c"%Y-%m-%d %H:%M:%S";
        libc::strftime(buffer.as_mut_ptr().cast(), buffer.len(), format.as_ptr(), &parts)
    };
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}
