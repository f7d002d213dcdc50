//! Differences between two V8s that code of ours stands between, so that a guest does not feel them.

use super::compare::Change;
use super::version::V8Version;

/// One such difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bridged {
    /// Major and minor version of the V8 that the guest was compiled for.
    pub guest: (u32, u32),
    /// Major and minor version of the host's V8.
    pub host: (u32, u32),
    /// How the fact's name begins, as [`Change::fact`] has it.
    pub fact: &'static str,
    /// The function of ours that stands between.
    pub by: &'static str,
    /// What the guest cannot do for it; nothing if nothing is lost.
    pub lost: Option<&'static str>,
}

/// All of them. An entry goes in together with the code that bridges it and a run of Node on such a pair; so far the bridge
/// serves only guests and hosts of one V8 line, where nothing differs.
pub const BRIDGED: &[Bridged] = &[];

/// What of `table` stands between the two sides of `change`.
pub fn bridge(table: &[Bridged], guest: V8Version, host: V8Version, change: &Change) -> Option<Bridged> {
    let pair = |b: &&Bridged| b.guest == (guest.major, guest.minor) && b.host == (host.major, host.minor);
    table.iter().filter(pair).find(|b| change.fact.starts_with(b.fact)).copied()
}
