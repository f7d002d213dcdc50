//! The cache folder: where it is, and how its entries are keyed. The kit fills it; the loader takes finished files from it.

use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::path::PathBuf;

/// SHA-256 of named inputs, in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// The 64 hexadecimal digits.
    pub fn hex(&self) -> &str {
        &self.0
    }

    /// The part of the key that appears in file names: 80 bits are enough there, the entry itself has all.
    pub fn short(&self) -> &str {
        &self.0[..20]
    }
}

/// Gathers the inputs of an entry. Names and values are written with their lengths, so no two lists look alike.
#[derive(Clone, Default)]
pub struct KeyBuilder(Sha256);

impl KeyBuilder {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one input.
    pub fn add(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        for part in [name.as_bytes(), value.as_ref()] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
        self
    }

    /// The key of what was added.
    pub fn finish(self) -> Key {
        Key(hex(&self.0.finalize()))
    }
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The folder: `$RELINK_CACHE`, else `$XDG_CACHE_HOME/relink`, else `~/.cache/relink`. `None`: no variable is set.
pub fn place() -> Option<PathBuf> {
    place_by(std::env::var_os)
}

/// The same in an environment that `get` reads.
pub fn place_by(get: impl Fn(&'static str) -> Option<OsString>) -> Option<PathBuf> {
    let var = |name| get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    var("RELINK_CACHE")
        .or_else(|| Some(var("XDG_CACHE_HOME")?.join("relink")))
        .or_else(|| Some(var("HOME")?.join(".cache/relink")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn keys_differ_when_a_border_moves() {
        let key = |a: &str, b: &str| KeyBuilder::new().add(a, b).finish();
        assert_ne!(key("ab", "c"), key("a", "bc"));
        assert_eq!(key("a", "b"), key("a", "b"));
        let two = KeyBuilder::new().add("a", "b").add("c", "d").finish();
        assert_ne!(two, KeyBuilder::new().add("c", "d").add("a", "b").finish());
        assert_eq!(two.hex().len(), 64);
    }

    #[test]
    fn the_place_prefers_our_own_variable() {
        let place = |set: &[(&str, &str)]| {
            place_by(|name| set.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).into()))
        };
        let [own, xdg, home] = [("RELINK_CACHE", "/own"), ("XDG_CACHE_HOME", "/xdg"), ("HOME", "/home/me")];
        assert_eq!(place(&[own, xdg, home]).as_deref(), Some(Path::new("/own")));
        assert_eq!(place(&[("RELINK_CACHE", ""), xdg, home]).as_deref(), Some(Path::new("/xdg/relink")));
        assert_eq!(place(&[home]).as_deref(), Some(Path::new("/home/me/.cache/relink")));
        assert_eq!(place(&[]), None);
    }
}
