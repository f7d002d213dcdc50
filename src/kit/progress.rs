//! How the kit tells what it is doing: a bar on a terminal, plain lines elsewhere, nothing in tests.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::sync::Mutex;

/// Receives the kit's news. Everything goes to stderr: stdout belongs to results.
pub trait Progress {
    /// A new step begins: one short phrase.
    fn step(&self, what: &str);
    /// `done` of `total` parts of the current step are finished; `what` is the part just begun.
    fn advance(&self, done: usize, total: usize, what: &str);
    /// Something worth a line of its own: a log file's path, a fallback that was taken.
    fn note(&self, text: &str);
    /// The current step is over.
    fn finish(&self);
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _: &str) {}
    fn advance(&self, _: usize, _: usize, _: &str) {}
    fn note(&self, _: &str) {}
    fn finish(&self) {}
}

/// A progress bar on stderr when that is a terminal, else one plain line per step and per tenth of a step.
pub fn terminal() -> Box<dyn Progress + Send + Sync> {
    if std::io::stderr().is_terminal() {
        Box::new(Bar(ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())))
    } else {
        Box::new(Lines(Mutex::default()))
    }
}

/// The bar. No ticker thread: signals must be seen by the thread that runs the build.
struct Bar(ProgressBar);

impl Bar {
    fn style(&self, template: &str) {
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.0.set_style(style.progress_chars("=> "));
        }
    }
}

impl Progress for Bar {
    fn step(&self, what: &str) {
        self.0.reset();
        self.0.unset_length();
        self.style("{spinner} {msg}");
        self.0.set_message(what.to_string());
        self.0.tick();
    }

    fn advance(&self, done: usize, total: usize, what: &str) {
        if self.0.length() != Some(total as u64) {
            self.style("[{bar:30}] {pos}/{len} {elapsed} {msg}");
            self.0.set_length(total as u64);
        }
        self.0.set_message(what.to_string());
        self.0.set_position(done as u64);
    }

    fn note(&self, text: &str) {
        self.0.suspend(|| line(text));
    }

    fn finish(&self) {
        self.0.finish_and_clear();
    }
}

/// Plain lines; remembers which tenth of the step was last told.
struct Lines(Mutex<usize>);

impl Progress for Lines {
    fn step(&self, what: &str) {
        self.set_tenth(0);
        line(what);
    }

    fn advance(&self, done: usize, total: usize, what: &str) {
        let tenth = done * 10 / total.max(1);
        if self.set_tenth(tenth) < tenth {
            line(&format!("  {done}/{total} {what}"));
        }
    }

    fn note(&self, text: &str) {
        line(text);
    }

    fn finish(&self) {}
}

impl Lines {
    /// Sets the tenth and returns the one before.
    fn set_tenth(&self, tenth: usize) -> usize {
        let mut last = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        std::mem::replace(&mut last, tenth)
    }
}

/// One line on stderr. A closed stderr must not end a build, so a failure to write is ignored.
fn line(text: &str) {
    let _ = writeln!(std::io::stderr(), "relink: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_remember_the_tenth() {
        let lines = Lines(Mutex::default());
        assert_eq!(lines.set_tenth(3), 0);
        assert_eq!(lines.set_tenth(4), 3);
    }
}
