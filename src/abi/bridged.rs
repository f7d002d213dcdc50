//! Differences between two V8s that code of ours stands between, so that a guest does not feel them.

use super::catalogue::{known, known_abis, Facts};
use super::compare::{breaking, changes, Change};
use super::learned::layers_of;
pub use super::tables::{Bridged, Holds, BRIDGED};
use super::version::V8Version;

/// The rules for a guest on a host.
pub struct Rules<'a> {
    table: &'a [Bridged],
    guest: V8Version,
    /// Major and minor version of the V8 whose rules hold.
    layers: (u32, u32),
    /// How that V8 differs from the guest's, where it is not the host's own.
    there: Option<There>,
}

/// The V8 that layers were written for.
struct There {
    /// How it differs from the guest's. Where its headers are without a fact, it has no value.
    changes: Vec<Change>,
    /// Whether it is of the host's own line.
    is_own: bool,
}

impl<'a> Rules<'a> {
    /// Those of `table` for the V8s of a guest and of a host.
    pub fn of(table: &'a [Bridged], guest: V8Version, host: V8Version) -> Self {
        match layers_of(host) {
            Some(layers) => Self::with_layers(table, guest, host, layers),
            None => Self { table, guest, layers: (host.major, host.minor), there: None },
        }
    }

    /// Those for a V8 that was learned, whose unit has the layers up to another one.
    pub fn with_layers(table: &'a [Bridged], guest: V8Version, host: V8Version, layers: (u32, u32)) -> Self {
        let is_layers = |v8: V8Version| (v8.major, v8.minor) == layers;
        let own = known_abis(guest).into_iter().next();
        let other = known().iter().rev().find(|abi| !abi.is_learned() && is_layers(abi.last));
        let changes = own.zip(other).map(|(own, other)| changes(own.facts(), other.facts()));
        let there = There { changes: changes.unwrap_or_default(), is_own: is_layers(host) };
        Self { table, guest, layers, there: Some(there) }
    }

    /// What stands between the two sides of a difference.
    pub fn bridge(&self, change: &Change) -> Option<Bridged> {
        let guest = (self.guest.major, self.guest.minor);
        let pair = |b: &&Bridged| b.guests.contains(&guest) && b.hosts.contains(&self.layers);
        let of_this = |b: &&Bridged| change.fact.starts_with(b.fact) && self.holds(b, change);
        self.table.iter().filter(pair).find(of_this).copied()
    }

    fn holds(&self, rule: &Bridged, change: &Change) -> bool {
        let Some(there) = &self.there else { return true };
        let same = |other: &&Change| other.fact == change.fact;
        match (rule.holds, there.changes.iter().find(same)) {
            (Holds::Always, _) | (Holds::Compiled, Some(_)) => true,
            (Holds::There, Some(other)) if other.host.is_some() => other.host == change.host,
            (Holds::There, Some(_)) => there.is_own,
            (_, None) => false,
        }
    }

    /// What of a learned V8's facts nothing stands between, but for constants, which a neutral guest's table may cover: the differences
    /// that a guest of this line would feel.
    pub fn unanswered(&self, host: &Facts) -> Vec<Change> {
        let own = known_abis(self.guest).into_iter().next();
        let felt = own.map(|own| breaking(own.facts(), host)).unwrap_or_default();
        let is_constant =
            |change: &Change| change.fact.starts_with("constant ") || change.fact.starts_with("offset ");
        felt.into_iter().filter(|change| !is_constant(change) && self.bridge(change).is_none()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::UNITS;

    fn change(fact: &str, host: &str) -> Change {
        Change { fact: fact.into(), guest: Some("here".into()), host: Some(host.into()), harmless: None }
    }

    #[test]
    fn on_a_learned_v8_a_rule_holds_for_what_its_layers_answer() {
        let guest = V8Version::new(10, 2, 154, 26);
        let before = UNITS.iter().map(|unit| unit.host).filter(|host| *host < (13, 6)).max().expect("a unit");
        let [old, new] = [before, (13, 6)]
            .map(|layers| Rules::with_layers(BRIDGED, guest, V8Version::new(13, 1, 0, 0), layers));
        let answered = |rules: &Rules, fact: &str, host: &str| rules.bridge(&change(fact, host)).is_some();
        // Since 13.6 a class of the unit's stands between; before, V8 calls the guest's own.
        let strings = "vtable v8::String::ExternalStringResource";
        assert!(!answered(&old, strings, "9 slots") && answered(&new, strings, "9 slots"));
        // Room for a structure is for the one that was seen.
        let source = "layout v8::ScriptCompiler::Source";
        let seen = old
            .there
            .iter()
            .flat_map(|there| &there.changes)
            .find(|c| c.fact == source)
            .and_then(|c| c.host.clone());
        assert!(answered(&old, source, &seen.expect("it differs")) && !answered(&old, source, "999 bytes"));
        assert!(answered(&old, "vtable v8::PageAllocator", "99 slots"));
        // A V8 that is built in is not asked what it is like.
        let own = Rules::of(BRIDGED, guest, V8Version::new(before.0, before.1, 1, 1));
        assert!(answered(&own, source, "999 bytes"));
    }

    #[test]
    fn a_v8_with_the_facts_of_its_layers_leaves_nothing_unanswered() {
        let guest = V8Version::new(10, 2, 154, 26);
        for host in
            known().iter().filter(|abi| !abi.is_learned() && (abi.last.major, abi.last.minor) > (10, 2))
        {
            let layers = (host.last.major, host.last.minor);
            if BRIDGED.iter().any(|rule| rule.guests.contains(&(10, 2)) && rule.hosts.contains(&layers)) {
                let left = Rules::with_layers(BRIDGED, guest, host.last, layers).unanswered(host.facts());
                assert!(left.is_empty(), "{}: {left:?}", host.name());
            }
        }
    }
}
