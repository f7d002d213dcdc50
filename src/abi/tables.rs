//! What is known of each V8 and of each guest line, as the build makes it of the data files (`v8/*.toml`, `lines/*.toml`; docs/ABI.md tells
//! their fields): lines, adapter units, bridged differences, where headers come from.

use crate::fingerprint::CxxLibrary;
use crate::names::{
    EMBEDDED_BLOB, FLAG_FUNCTIONS, HIDDEN_SINCE_13_6, ISOLATE_COUNTER, SHARED_READ_ONLY_HEAP,
};
use crate::version::V8Version;
use std::path::PathBuf;

/// Major and minor version of a V8.
pub type Minor = (u32, u32);

include!(concat!(env!("OUT_DIR"), "/tables.rs"));

/// When an adapter is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// Only where the host's V8 lacks the symbol.
    Missing,
    /// Always: it stands before the host's function.
    Always,
    /// Always, and in the bridge, too: the host's function has types of another C++ library.
    Everywhere,
}

/// One adapter: a function that stands in for a function of V8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Adapter {
    /// The V8 symbol (mangled) in whose place it is bound in the guest.
    pub symbol: &'static str,
    /// The bridge's symbol.
    pub stands_in: &'static str,
    /// When it is used.
    pub when: When,
    /// What it answers to.
    pub reason: &'static str,
    /// What the guest cannot do where it is used, if there is anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<&'static str>,
}

/// One line: the V8 of one line of Node's releases.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// V8's `MAJOR.MINOR`: the name of the bridge.
    pub name: &'static str,
    /// The same as numbers.
    pub v8: Minor,
    /// The major version of the Node that has this V8; 0: none has.
    pub node: u32,
    /// Slots of `v8::Platform`'s vtable (include/v8-platform.h).
    pub platform_slots: u32,
    /// Functions that stand in for V8's.
    pub adapters: &'static [Adapter],
    /// Those, besides, for a guest in an isolate of the host's; none where that is not to be had.
    pub shared: &'static [Adapter],
    /// Those, besides, for guests that can be without symbols as keys of WeakMaps.
    pub spared: &'static [Adapter],
}

/// The virtual functions that `node::MultiIsolatePlatform` (src/node.h) adds to those of `v8::Platform`, the same in every
/// Node since 18.
const OF_NODE: u32 = 6;
/// Which of them `UnregisterIsolate` is, after `DrainTasks`, `CancelPendingDelayedTasks` and two `RegisterIsolate`s.
const UNREGISTER_ISOLATE: u32 = 4;
/// The first V8 of those known that has one read-only heap for all isolates in every Node with it.
const SHARES_READ_ONLY_HEAP: Minor = (10, 2);
/// The first V8 of those known whose `SoleReadOnlyHeap` is gone: 13.1 has it under another name, 13.6 one in each group of isolates.
const COUNTS_ISOLATES: Minor = (13, 1);
/// The first V8 of those known that has groups of isolates.
const HAS_GROUPS: Minor = (13, 6);

impl Line {
    /// The line of a V8 that is not built in.
    pub(crate) fn learned(v8: Minor, platform_slots: u32) -> &'static Self {
        // Read once per process, and lives as long.
        let name = Box::leak(format!("{}.{}", v8.0, v8.1).into_boxed_str());
        Box::leak(Box::new(Self {
            name,
            v8,
            node: 0,
            platform_slots,
            adapters: &[],
            shared: &[],
            spared: &[],
        }))
    }

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
        } else if FREEZES_FLAGS.is_some_and(|first| self.v8 >= first) {
            &FLAG_FUNCTIONS
        } else {
            &[]
        }
    }
}

/// The line of a V8 that is built in.
pub fn line_of(v8: Minor) -> Option<&'static Line> {
    LINES.iter().chain(&HOSTS).find(|line| line.v8 == v8)
}

/// What one V8 changed, for the guests of some V8s before it.
pub struct Layer {
    /// The oldest guest that it is for, by its V8.
    from: Minor,
    /// The newest one; none: all that do not know the change.
    until: Option<Minor>,
    /// The V8 that is otherwise; guests of that one and of later ones know it.
    since: Minor,
    /// Whether hosts before that V8 go without, though their unit, a learned one, has these layers.
    not_before: bool,
    /// What answers to it.
    adapters: &'static [Adapter],
    /// What a guest cannot do from there on.
    lost: Option<&'static str>,
}

/// An adapter unit: what stands between a neutral guest and a host whose V8 is of another line. Each is compiled by the kit from
/// shim/adapters against the real headers of the host's V8, and loaded beside the bridge of the guest's line.
#[derive(Debug, PartialEq, Eq)]
pub struct Unit {
    /// Major and minor version of the V8 that the guest was compiled for.
    pub guest: Minor,
    /// Major and minor version of the host's V8.
    pub host: Minor,
    /// Major and minor version of the V8 up to whose layers it has: the host's, but for a unit that was learned.
    pub layers: Minor,
    /// The C++ library that the host's V8 was compiled with.
    pub cxx: CxxLibrary,
    /// What a unit that was learned has besides; none is built in.
    pub learned: Option<OfLearned>,
}

/// What belongs to a unit that was learned.
#[derive(Debug, PartialEq, Eq)]
pub struct OfLearned {
    /// The line of its hosts.
    pub line: &'static Line,
    /// Its library.
    pub library: PathBuf,
}

impl Unit {
    const fn of(guest: Minor, host: Minor, cxx: CxxLibrary) -> Self {
        Self { guest, host, layers: host, cxx, learned: None }
    }

    /// The same layers for a V8 that was compiled with another C++ library.
    pub fn with_cxx(&self, cxx: CxxLibrary) -> Self {
        Self { cxx, ..Self::of(self.guest, self.host, cxx) }
    }

    /// The layers between the guest's V8 and the host's.
    fn changes(&self) -> impl Iterator<Item = &'static Layer> {
        let (guest, layers) = (self.guest, self.layers);
        let of_guest = move |l: &&Layer| l.from <= guest && l.until.is_none_or(|until| guest <= until);
        let between = move |l: &&Layer| guest < l.since && l.since <= layers;
        let later = LAYERS.iter().filter(between);
        let earlier = EARLIER.iter().filter(move |l| layers < l.since);
        later.chain(earlier).chain(LAYERS_OF_SOME.iter().filter(between)).filter(of_guest)
    }

    /// What the guest cannot do there.
    pub fn lost(&self) -> Vec<&'static str> {
        self.changes().filter_map(|layer| layer.lost).collect()
    }

    /// `10.2-on-11.3`, `10.2-on-12.0-libc++.Cr`: the name of its file and of the command that builds it.
    pub fn name(&self) -> String {
        format!("{}.{}-on-{}.{}{}", self.guest.0, self.guest.1, self.host.0, self.host.1, self.cxx.suffix())
    }

    /// The line of its hosts.
    pub fn host_line(&self) -> Option<&'static Line> {
        line_of(self.host).or_else(|| self.learned.as_ref().map(|learned| learned.line))
    }

    /// The line of its guests, whose bridge comes with it.
    pub fn guest_line(&self) -> Option<&'static Line> {
        line_of(self.guest)
    }

    /// Its adapters, one for each symbol: a later V8's take the place of an earlier one's.
    pub fn adapters(&self) -> Vec<&'static Adapter> {
        let later = if self.guest < self.layers { &LATER[..] } else { &[] };
        let layers = self.changes().filter(|layer| !layer.not_before || self.host >= layer.since);
        let libcxx = if self.cxx.is_libcxx() { &LIBCXX[..] } else { &[] };
        let mut all: Vec<&'static Adapter> = Vec::new();
        for adapter in ABSENT.iter().chain(libcxx).chain(later).chain(layers.flat_map(|layer| layer.adapters))
        {
            all.retain(|earlier| earlier.symbol != adapter.symbol);
            all.push(adapter);
        }
        all
    }

    /// Its adapters, and those of the bridge's line for symbols that it has none for.
    pub fn with_bridge(&self, bridge: Vec<&'static Adapter>) -> Vec<&'static Adapter> {
        let own = self.adapters();
        let others = bridge.into_iter().filter(|other| own.iter().all(|a| a.symbol != other.symbol));
        let others: Vec<_> = others.collect();
        own.iter().copied().chain(others).collect()
    }
}

/// Which differences a rule holds for on a V8 that was learned: the layers of its unit were written for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// The one that the layers' own V8 has.
    There,
    /// Any, where that V8 differs in the same fact or its headers are without it: classes of the unit stand between, made from the
    /// host's own headers.
    Compiled,
    /// Any.
    Always,
}

/// One difference that code of ours stands between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bridged {
    /// Major and minor versions of the V8s that the guests were compiled for.
    pub guests: &'static [Minor],
    /// Major and minor versions of the hosts' V8s.
    pub hosts: &'static [Minor],
    /// How the fact's name begins, as [`crate::compare::Change::fact`] has it.
    pub fact: &'static str,
    /// The function of ours that stands between.
    pub by: &'static str,
    /// What the guest cannot do for it; nothing if nothing is lost.
    pub lost: Option<&'static str>,
    /// Which differences it holds for on a V8 that was learned.
    pub holds: Holds,
}

/// A profile: V8 versions that share one inlined ABI, and what is known of them besides.
#[derive(Debug, PartialEq, Eq)]
pub struct Profile {
    /// A name for messages.
    pub name: &'static str,
    /// The first version.
    pub first: V8Version,
    /// The last version.
    pub last: V8Version,
    /// How it was established.
    pub evidence: &'static str,
    /// V8 flags that Node of this line sets by itself and that an older V8 of the profile, or a later V8, may not know.
    pub node_flags: &'static [&'static str],
}

/// A build of V8 that the live probe has observed: known by the build id, it need not be observed again.
#[derive(Debug, PartialEq, Eq)]
pub struct Proven {
    /// The file's build id (`NT_GNU_BUILD_ID`), which its linker made from all of its contents.
    pub build_id: &'static str,
    /// Its V8.
    pub v8: V8Version,
    /// What it is.
    pub what: &'static str,
}

/// The official Node that has a V8.
#[derive(Debug, PartialEq, Eq)]
pub struct OfficialNode {
    /// The V8.
    pub v8: Minor,
    /// The Node's version, which stands for the V8.
    pub version: &'static str,
    /// Other versions that are hosts in the matrix.
    pub matrix: &'static [&'static str],
}

/// Where the headers of a V8 come from that units are compiled against.
#[derive(Debug, PartialEq, Eq)]
pub struct Pin {
    /// The V8.
    pub v8: Minor,
    /// SHA-256 over V8's headers there, in hexadecimal.
    pub headers: &'static str,
    /// Where they are.
    pub place: Place,
}

/// A package with V8's headers.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// npm's package of Node.
    Node {
        /// Its version.
        node: &'static str,
        /// Where the inspector's headers are, which that package lacks.
        inspector: Inspector,
    },
    /// The crate `v8`: its version.
    Crate(&'static str),
}

/// Where the inspector's headers of a V8 are.
#[derive(Debug, PartialEq, Eq)]
pub enum Inspector {
    /// In a Node source: its path in Debian's pool, and its SHA-256.
    Pool(&'static str, &'static str),
    /// In the crate `v8`: its version, and the SHA-256 of v8-inspector.h.
    Crate(&'static str, &'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_their_numbers() {
        for line in LINES.iter().chain(&HOSTS) {
            assert_eq!(line.name, format!("{}.{}", line.v8.0, line.v8.1));
        }
    }

    #[test]
    fn a_guest_has_a_unit_for_each_later_host() {
        let hosts = LINES.iter().chain(&HOSTS).map(|line| line.v8);
        for host in hosts {
            for guest in LINES.iter().filter(|line| line.v8 < host) {
                let unit = UNITS.iter().filter(|unit| unit.guest == guest.v8 && unit.host == host);
                assert_eq!(unit.count(), 1, "{} on {host:?}", guest.name);
            }
        }
        assert!(UNITS.iter().all(|unit| unit.host_line().is_some() && unit.guest_line().is_some()));
    }
}
