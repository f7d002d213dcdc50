//! Lines: the V8 of one line of Node's releases, for each of which there is a bridge and a guest.
//!
//! A line is what the loader supports; whether two versions of it share one ABI is for the profiles to say
//! (`catalogue/profiles.rs`). The numbers are checked against the real headers by tests/headers.rs.

use super::adapters::{Adapter, SHARED_10_2, V8_10_2, V8_11_3, V8_12_4, V8_13_6};
use super::catalogue::{
    EMBEDDED_BLOB, FLAG_FUNCTIONS, HIDDEN_SINCE_13_6, ISOLATE_COUNTER, SHARED_READ_ONLY_HEAP,
};
use super::version::V8Version;
use crate::error::Error;
use crate::fingerprint::Fingerprint;

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// V8's `MAJOR.MINOR`: the name of the bridge, and of its folder in shim/cpp/lines.
    pub name: &'static str,
    /// The same as numbers.
    pub v8: (u32, u32),
    /// The major version of the Node that has this V8.
    pub node: u32,
    /// Slots of `v8::Platform`'s vtable (include/v8-platform.h).
    pub platform_slots: u32,
    /// Functions that stand in for V8's.
    pub adapters: &'static [Adapter],
    /// Those, besides, for a guest in an isolate of the host's; none where that is not to be had.
    pub shared: &'static [Adapter],
}

/// The virtual functions that `node::MultiIsolatePlatform` (src/node.h) adds to those of `v8::Platform`, the same in every
/// Node since 18.
const OF_NODE: u32 = 6;
/// Which of them `UnregisterIsolate` is, after `DrainTasks`, `CancelPendingDelayedTasks` and two `RegisterIsolate`s.
const UNREGISTER_ISOLATE: u32 = 4;
/// The first V8 of those known that has one read-only heap for all isolates in every Node with it.
const SHARES_READ_ONLY_HEAP: (u32, u32) = (10, 2);
/// The first V8 of those known whose `SoleReadOnlyHeap` is gone: 13.1 has it under another name, 13.6 one in each group of isolates.
const COUNTS_ISOLATES: (u32, u32) = (13, 1);
/// The first V8 of those known that has groups of isolates.
const HAS_GROUPS: (u32, u32) = (13, 6);
/// The first V8 of those known that freezes its flags.
const FREEZES_FLAGS: (u32, u32) = (10, 8);

impl Line {
    /// Slots of `node::NodePlatform`'s vtable (src/node_platform.h).
    pub fn node_platform_slots(&self) -> u32 {
        self.platform_slots + OF_NODE
    }

    /// Slot of `node::MultiIsolatePlatform::UnregisterIsolate` (src/node.h).
    pub fn unregister_isolate_slot(&self) -> u32 {
        self.platform_slots + UNREGISTER_ISOLATE
    }

    /// Whether [`Self::first_isolate`] is a counter of four bytes; else it is a pointer.
    pub fn counts_isolates(&self) -> bool {
        self.v8 >= COUNTS_ISOLATES
    }

    /// The variable (mangled) that is 0 until the process makes its first isolate.
    pub fn first_isolate(&self) -> &'static str {
        if self.counts_isolates() {
            ISOLATE_COUNTER
        } else if self.v8 < SHARES_READ_ONLY_HEAP {
            EMBEDDED_BLOB
        } else {
            SHARED_READ_ONLY_HEAP
        }
    }

    /// Functions (mangled) of V8's own that the bridge calls where there are any, and that V8 may hide.
    pub fn internal_functions(&self) -> &'static [&'static str] {
        if self.v8 >= HAS_GROUPS {
            &HIDDEN_SINCE_13_6
        } else if self.v8 >= FREEZES_FLAGS {
            &FLAG_FUNCTIONS
        } else {
            &[]
        }
    }
}

/// All lines, oldest first.
pub static LINES: [Line; 4] = [
    Line {
        name: "10.2",
        v8: (10, 2),
        node: 18,
        platform_slots: 20,
        adapters: &V8_10_2,
        shared: &SHARED_10_2,
    },
    Line { name: "11.3", v8: (11, 3), node: 20, platform_slots: 23, adapters: &V8_11_3, shared: &[] },
    Line { name: "12.4", v8: (12, 4), node: 22, platform_slots: 22, adapters: &V8_12_4, shared: &[] },
    Line { name: "13.6", v8: (13, 6), node: 24, platform_slots: 20, adapters: &V8_13_6, shared: &[] },
];

/// Lines without a guest and a bridge of their own: a neutral guest comes to them with the bridge of its line.
pub static HOSTS: [Line; 6] = [
    Line { name: "10.1", v8: (10, 1), node: 18, platform_slots: 20, adapters: &[], shared: &[] },
    Line { name: "10.8", v8: (10, 8), node: 19, platform_slots: 20, adapters: &[], shared: &[] },
    Line { name: "11.8", v8: (11, 8), node: 21, platform_slots: 28, adapters: &[], shared: &[] },
    Line { name: "12.9", v8: (12, 9), node: 23, platform_slots: 21, adapters: &[], shared: &[] },
    Line { name: "14.1", v8: (14, 1), node: 25, platform_slots: 20, adapters: &[], shared: &[] },
    Line { name: "14.6", v8: (14, 6), node: 26, platform_slots: 21, adapters: &[], shared: &[] },
];

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
    let own = LINES.iter().chain(&HOSTS).find(|line| line.v8 == (version.major, version.minor));
    own.or_else(|| super::learned::line_of(version))
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
        let host_only = V8Version::parse("10.8.168.25").expect("a version");
        assert_eq!(of_v8(host_only).map(|line| line.node), Some(19));
        assert_eq!(with_guest(host_only), None);
        assert_eq!(of_node(20).map(|line| line.name), Some("11.3"));
        assert_eq!(of_node(19), None);
    }

    #[test]
    fn names_are_their_numbers() {
        for line in LINES.iter().chain(&HOSTS) {
            assert_eq!(line.name, format!("{}.{}", line.v8.0, line.v8.1));
        }
    }
}
