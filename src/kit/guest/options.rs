//! What a guest is built from.

use std::path::PathBuf;

/// What to build a guest from.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// The line, by Node's major version; 18 if `None`.
    pub line: Option<u32>,
    /// An unpacked Node source; the line's own sources if `None`, for 18 Debian's source package of 18.20.4.
    pub source: Option<PathBuf>,
    /// A folder with v8.h; the source's own if `None`.
    pub v8_headers: Option<PathBuf>,
    /// Make it layout-neutral, for hosts with other V8s too ([`crate::neutral`]); else it has V8's numbers compiled in.
    pub neutral: bool,
    /// Compilers at once; as many as there are processors if `None`.
    pub jobs: Option<usize>,
    /// Build even if the cache has it, from fresh sources.
    pub rebuild: bool,
}

impl Default for BuildOptions {
    /// A neutral guest of the default line.
    fn default() -> Self {
        Self { line: None, source: None, v8_headers: None, neutral: true, jobs: None, rebuild: false }
    }
}

impl BuildOptions {
    /// The guest of a line.
    pub fn line(node: u32) -> Self {
        Self { line: Some(node), ..Self::default() }
    }

    /// The same for exactly the V8 of its line.
    pub fn exact(self) -> Self {
        Self { neutral: false, ..self }
    }

    pub(super) fn is_default(&self) -> bool {
        self.source.is_none() && self.v8_headers.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_build_without_options_is_the_default() {
        assert!(BuildOptions { jobs: Some(3), rebuild: true, ..Default::default() }.is_default());
        assert!(!BuildOptions { source: Some("/s".into()), ..Default::default() }.is_default());
        assert!(!BuildOptions { v8_headers: Some("/h".into()), ..Default::default() }.is_default());
    }
}
