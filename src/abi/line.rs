//! Lines: the V8 of one line of Node's releases, for each of which there is a bridge and a guest.
//!
//! A line is what the loader supports; whether two versions of it share one ABI is for the profiles to say
//! (`catalogue/profiles.rs`, from the data files). The numbers are checked against the real headers by tests/headers.rs.

use super::tables::line_of;
pub use super::tables::{Line, OfficialNode, BRIDGE_HEADERS, HOSTS, LINES, NODES};
use super::version::V8Version;
use crate::error::Error;
use crate::fingerprint::Fingerprint;

/// The oldest line, that of Node 18.
pub fn oldest() -> &'static Line {
    &LINES[0]
}

/// The oldest V8 of all hosts.
pub fn oldest_host() -> &'static Line {
    &HOSTS[0]
}

/// The line of a V8 for which there is a guest.
pub fn with_guest(version: V8Version) -> Option<&'static Line> {
    LINES.iter().find(|line| line.v8 == (version.major, version.minor))
}

/// The line of a V8, also of one that only hosts have.
pub fn of_v8(version: V8Version) -> Option<&'static Line> {
    line_of((version.major, version.minor)).or_else(|| super::learned::line_of(version))
}

/// The line of a Node, by its major version.
pub fn of_node(major: u32) -> Option<&'static Line> {
    LINES.iter().find(|line| line.node == major)
}

/// The line of a host's V8.
///
/// # Errors
/// There is none: Relink has no bridge to the platform of that V8.
pub fn of_host(host: &Fingerprint) -> Result<&'static Line, Error> {
    let none = || {
        let known: Vec<_> = LINES.iter().map(|line| line.name).collect();
        let why = format!(
            "there is no bridge to the platform of V8 {}, only to those of {}",
            host.version_text(),
            known.join(", ")
        );
        Error::Refused { differences: vec![why] }
    };
    host.version.and_then(of_v8).ok_or_else(none)
}

/// The bridges' shared objects (built by shim/build.rs), each under the name of its line.
#[derive(Clone, Copy, Debug)]
pub struct Bridges<'a>(pub &'a [(&'static str, &'a [u8])]);

impl<'a> Bridges<'a> {
    /// The bridge for a host's V8, and its line.
    ///
    /// # Errors
    /// There is none for it.
    pub fn of(self, host: &Fingerprint) -> Result<(&'static Line, &'a [u8]), Error> {
        let line = of_host(host)?;
        Ok((line, self.of_line(line)?))
    }

    /// The bridge of a line.
    ///
    /// # Errors
    /// There is none.
    pub fn of_line(self, line: &'static Line) -> Result<&'a [u8], Error> {
        let missing = || Error::Internal(format!("the bridge for V8 {} is missing", line.name));
        self.0.iter().find(|(name, _)| *name == line.name).map(|(_, bytes)| *bytes).ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_belongs_to_one_line_or_to_none() {
        let of = |text: &str| V8Version::parse(text).and_then(of_v8).map(|line| line.node);
        assert_eq!(of("10.2.154.26"), Some(18));
        assert_eq!(of("11.3.244.8"), Some(20));
        assert_eq!(of("12.4.254.21"), Some(22));
        assert_eq!(of("13.6.233.17"), Some(24));
        for other in ["10.0.139.17", "11.4.1.1", "12.8.1.1", "1.2.3.4"] {
            assert_eq!(of(other), None, "{other}");
        }
        for host in &HOSTS {
            let host_only = V8Version::new(host.v8.0, host.v8.1, 1, 1);
            assert_eq!(of_v8(host_only), Some(host));
            assert_eq!(with_guest(host_only), None);
        }
        assert_eq!(of_node(20).map(|line| line.name), Some("11.3"));
        assert_eq!(of_node(19), None);
    }
}
