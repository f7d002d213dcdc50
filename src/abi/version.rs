//! V8 version numbers.

use std::fmt;

/// `MAJOR.MINOR.BUILD.PATCH` of `include/v8-version.h`. V8's ABI may change with any of the first three.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct V8Version {
    /// `V8_MAJOR_VERSION`.
    pub major: u32,
    /// `V8_MINOR_VERSION`.
    pub minor: u32,
    /// `V8_BUILD_NUMBER`.
    pub build: u32,
    /// `V8_PATCH_LEVEL`.
    pub patch: u32,
}

impl V8Version {
    /// The version from its four numbers.
    pub const fn new(major: u32, minor: u32, build: u32, patch: u32) -> Self {
        Self { major, minor, build, patch }
    }

    /// Reads `10.2.154.26`; what follows a `-` (the embedder's suffix) is not looked at.
    pub fn parse(text: &str) -> Option<Self> {
        let numbers = text.split('-').next().unwrap_or(text);
        let mut parts = numbers.split('.').map(|part| part.parse::<u32>().ok());
        let version = Self::new(parts.next()??, parts.next()??, parts.next()??, parts.next()??);
        parts.next().is_none().then_some(version)
    }
}

impl fmt::Display for V8Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}.{}", self.major, self.minor, self.build, self.patch)
    }
}

impl serde::Serialize for V8Version {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_with_and_without_suffix() {
        let version = V8Version::new(10, 2, 154, 26);
        assert_eq!(V8Version::parse("10.2.154.26-node.26"), Some(version));
        assert_eq!(V8Version::parse(&version.to_string()), Some(version));
        for bad in ["", "10", "10.2.154", "10.2.154.26.1", "10.2.x.1", "-10.2.154.26"] {
            assert_eq!(V8Version::parse(bad), None, "{bad}");
        }
    }
}
