//! The catalogue of adapters: functions that stand in for a V8 symbol. Their code is in shim/cpp.

use super::line::Line;
use crate::fingerprint::{CxxLibrary, Fingerprint};
use crate::note::{GuestNote, SYMBOL_KEYS};
pub use crate::tables::{Adapter, Unit, When, UNITS};
use crate::version::V8Version;
use std::collections::BTreeSet;

/// What a guest cannot do where these adapters are in use.
pub fn lost(used: impl IntoIterator<Item = &'static Adapter>) -> BTreeSet<&'static str> {
    used.into_iter().filter_map(|adapter| adapter.lost).collect()
}

/// What the host's own slots for these symbols of V8 (second) get while the guest lives, where V8 is a library of the
/// host's: functions of the bridge (first) that stop the guest and then call the real ones.
pub const HOST_DISPOSES: [(&str, &str); 2] = [
    ("relink_adapter_Host_V8_Dispose", "_ZN2v82V87DisposeEv"),
    ("relink_adapter_Host_V8_DisposePlatform", "_ZN2v82V815DisposePlatformEv"),
];

/// By this function (mangled) a V8 10.2 is known to have [`SYMBOL_KEYS`].
pub const CAME_WITH_SYMBOL_KEYS: &str = "_ZN2v86Object27SetInternalFieldForNodeCoreEiNS_5LocalINS_6ModuleEEE";

/// The unit for a neutral guest on a host of another line: a learned one for that very V8, or one that is built in.
pub fn unit_for(guest: &GuestNote, host: &Fingerprint) -> Option<&'static Unit> {
    let v8 = V8Version::parse(&guest.v8)?;
    let unit = unit_of((v8.major, v8.minor), host.version?, host.cxx.unwrap_or(CxxLibrary::LIBSTDCXX));
    unit.filter(|_| !guest.layout.is_empty())
}

/// The same by what both are: the guest's line, and the host's V8 with the C++ library that it was compiled with.
pub fn unit_of(guest: (u32, u32), host: V8Version, cxx: CxxLibrary) -> Option<&'static Unit> {
    let line = (host.major, host.minor);
    let of_pair = |unit: &&Unit| unit.guest == guest && unit.host == line && unit.cxx == cxx;
    crate::learned::unit_for(guest, host, cxx).or_else(|| UNITS.iter().find(of_pair))
}

/// All adapters of a line: the guest is a guest, beside a host that owns V8.
pub fn beside_a_host(line: &'static Line) -> Vec<&'static Adapter> {
    line.adapters.iter().collect()
}

/// The adapters for a guest on a host: those `of` the host's line, or of the unit that stands between them and of its guests' line; and those
/// for what its note says that it can be without.
pub fn for_pair(
    guest: &GuestNote,
    unit: Option<&'static Unit>,
    host: Option<&'static Line>,
    of: fn(&'static Line) -> Vec<&'static Adapter>,
) -> Vec<&'static Adapter> {
    let spares = guest.spares.iter().any(|spared| spared == SYMBOL_KEYS);
    let unpatched = |line: &Line| if spares { line.spared } else { &[] };
    let all = |line| of(line).into_iter().chain(unpatched(line)).collect();
    let bridge = |line: Option<&'static Line>| line.map(all).unwrap_or_default();
    match unit {
        Some(unit) => unit.with_bridge(bridge(unit.guest_line())),
        None => bridge(host),
    }
}

/// All adapters of a line for a guest in an isolate of the host's.
pub fn inside_an_isolate(line: &'static Line) -> Vec<&'static Adapter> {
    line.adapters.iter().chain(line.shared).collect()
}

/// What a neutral Node 18 cannot do where V8 lacks [`CAME_WITH_SYMBOL_KEYS`].
pub fn lost_without_symbol_keys() -> BTreeSet<&'static str> {
    lost(super::line::oldest().spared)
}

/// Only those for missing symbols: the guest owns V8 and its platform, as node does (`relink node`).
pub fn for_an_owner(line: &'static Line) -> Vec<&'static Adapter> {
    line.adapters.iter().filter(|a| a.when == When::Missing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::{self, LINES};
    use crate::tables::ABSENT;

    #[test]
    fn what_is_lost_is_said_once_and_only_where_the_stand_in_is_used() {
        let oldest = line::oldest();
        assert!(lost(oldest.adapters).is_empty());
        let all: Vec<_> = ABSENT.iter().chain(&ABSENT).chain(oldest.spared).collect();
        assert_eq!(lost(all).len(), 4);
        assert!(lost(ABSENT.iter().filter(|adapter| adapter.lost.is_none())).is_empty());
    }

    #[test]
    fn only_guests_that_can_be_without_symbol_keys_get_what_stands_in_for_them() {
        let host = crate::fingerprint::Fingerprint::default();
        let mut guest = GuestNote::of_stock("libnode.so.108", &host);
        let given = |guest: &GuestNote, line| {
            let all = for_pair(guest, None, Some(line), beside_a_host);
            line::oldest().spared.iter().filter(|adapter| all.contains(adapter)).count()
        };
        let later = line::of_node(20).expect("Node 20");
        assert_eq!(given(&guest, line::oldest()), 0);
        guest.spares.push(SYMBOL_KEYS.into());
        assert_eq!((given(&guest, line::oldest()), given(&guest, later)), (2, 0));
    }

    #[test]
    fn each_symbol_has_one_adapter_and_each_adapter_one_symbol() {
        for line in &LINES {
            let mut symbols: Vec<_> = line.adapters.iter().map(|a| a.symbol).collect();
            let mut functions: Vec<_> = line.adapters.iter().map(|a| a.stands_in).collect();
            for names in [&mut symbols, &mut functions] {
                names.sort_unstable();
                names.dedup();
                assert_eq!(names.len(), line.adapters.len(), "V8 {}", line.name);
            }
        }
    }
}
