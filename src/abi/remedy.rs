//! What would cure a refusal, and what is to be said of a pair that passes.

use super::catalogue::{known, known_abis, KnownAbi};
use super::gate::is_untold;
use super::learned::not_taken;
use super::line;
use super::version::V8Version;
use crate::fingerprint::Fingerprint;

/// Which guest fits a V8.
pub(super) fn other_guest(host: &KnownAbi) -> String {
    match (line::with_guest(host.first), line::of_v8(host.first)) {
        (Some(line), _) => format!(
            "take a guest that was compiled for the host's V8, which is that of Node {0}: relink guest build --line {0}",
            line.node
        ),
        (None, Some(_)) => {
            "take a neutral guest: relink guest build, and relink adapter build".into()
        }
        (None, None) => of_headers(host.first),
    }
}

/// For a V8 that there is no line of: its embedder's headers make adapters for a neutral guest, if it is not too old.
fn of_headers(host: V8Version) -> String {
    let oldest = line::oldest_host();
    if (host.major, host.minor) < oldest.v8 {
        return format!("take a host with V8 {} or a later one: there is nothing that stands between a guest and older ones", oldest.name);
    }
    let cure = "take a neutral guest (relink guest build), and make adapters from the headers of the host's V8: relink adapter build \
         --v8-headers DIR";
    let learned = not_taken().iter().map(|why| format!("; not taken: {why}"));
    [cure.to_owned()].into_iter().chain(learned).collect()
}

/// Which guest fits a V8 that is in no file of the catalogue.
pub(super) fn for_unknown(whose: &str, version: V8Version) -> String {
    match whose {
        "host" => format!("{}; {}", of_headers(version), nearest(version)),
        _ => "build the guest with the headers of the host's V8: relink guest build --v8-headers DIR".into(),
    }
}

/// The known V8s around an unknown one.
fn nearest(version: V8Version) -> String {
    let below = known().iter().rev().find(|abi| abi.last < version).map(KnownAbi::name);
    let above = known().iter().find(|abi| abi.first > version).map(KnownAbi::name);
    let names: Vec<_> = [below, above].into_iter().flatten().collect();
    format!("known next to it: {}", names.join(", "))
}

/// What is to be said where builds of one version have different layouts: the version does not tell which one a file has.
pub(super) fn several_layouts(whose: &str, version: V8Version) -> Option<String> {
    let abis = known_abis(version);
    let builds: Vec<_> = abis
        .iter()
        .flat_map(|abi| abi.sources().iter().filter(|s| V8Version::parse(&s.v8) == Some(version)))
        .map(|source| source.from.as_str())
        .collect();
    (abis.len() > 1).then(|| {
        format!(
            "builds of V8 {version} have different layouts ({}), and the {whose}'s version does not tell which of them it is: \
             take a {whose} with another V8",
            builds.join(", ")
        )
    })
}

/// What a pair that passes rests on without having been seen itself: versions whose own headers nobody has looked at, between
/// two whose headers have the same facts; and a fact of the host that only the live probe sees.
pub fn warnings(guest: &Fingerprint, host: &Fingerprint) -> Vec<String> {
    let untold = "nothing in the host's file tells how many bits its V8's small integers have: the live probe has to see it";
    [("guest", guest), ("host", host)]
        .into_iter()
        .filter_map(|(whose, v8)| unsampled(whose, v8.version?))
        .chain(is_untold(host).then(|| untold.to_owned()))
        .collect()
}

fn unsampled(whose: &str, version: V8Version) -> Option<String> {
    let abis = known_abis(version);
    let versions: Vec<_> =
        abis.iter().flat_map(|abi| abi.sources()).filter_map(|source| V8Version::parse(&source.v8)).collect();
    if versions.contains(&version) {
        return None;
    }
    let below = versions.iter().filter(|v| **v < version).max()?;
    let above = versions.iter().filter(|v| **v > version).min()?;
    Some(format!(
        "the {whose}'s V8 {version} was never looked at itself; it is taken to have the ABI of its neighbours {below} and {above}, \
         whose headers compile into the same numbers"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v8(version: &str) -> Fingerprint {
        Fingerprint { version: V8Version::parse(version), ..Fingerprint::default() }
    }

    #[test]
    fn a_version_between_two_that_were_seen_is_named_with_both() {
        let said = warnings(&v8("10.2.154.26"), &v8("10.2.154.20"));
        assert_eq!(said.len(), 1, "{said:?}");
        for part in ["host's V8 10.2.154.20", "10.2.154.15", "10.2.154.26"] {
            assert!(said[0].contains(part), "{said:?}");
        }
        assert_eq!(warnings(&v8("13.6.233.12"), &v8("13.6.233.9")).len(), 2);
        assert!(warnings(&v8("10.2.154.26"), &v8("10.2.154.15")).is_empty());
        assert!(warnings(&v8("11.9.1.1"), &Fingerprint::default()).is_empty());
    }

    #[test]
    fn a_version_of_two_layouts_is_named_with_its_builds() {
        let said =
            V8Version::parse("14.6.202.34").and_then(|v| several_layouts("host", v)).unwrap_or_default();
        assert!(said.contains("Node 26.5.0, Node 26.10.0"), "{said}");
        assert!(V8Version::parse("10.2.154.26").and_then(|v| several_layouts("host", v)).is_none());
    }

    #[test]
    fn the_line_to_build_is_named_where_there_is_one() {
        let cure = |version: &str| {
            let abi = V8Version::parse(version).map(known_abis).unwrap_or_default();
            abi.first().map(|abi| other_guest(abi)).unwrap_or_default()
        };
        assert!(cure("11.3.244.8").ends_with("relink guest build --line 20"));
        assert!(cure("13.6.233.17").ends_with("relink guest build --line 24"));
        assert!(cure("10.8.168.25").contains("relink adapter build"));
        assert!(cure("12.9.202.28").contains("relink adapter build"));
        assert!(cure("14.1.146.11").contains("relink adapter build"));
        assert!(cure("10.7.193.13").contains("relink adapter build --v8-headers DIR"));
        assert!(cure("10.1.124.8").contains("relink adapter build"), "{}", cure("10.1.124.8"));
        let unknown =
            |version| V8Version::parse(version).map(|v8| for_unknown("host", v8)).unwrap_or_default();
        assert!(unknown("13.1.201.22").contains("relink adapter build --v8-headers DIR; known next to it: "));
        assert!(unknown("9.4.1.1").contains("take a host with V8 10.1 or a later one"));
    }
}
