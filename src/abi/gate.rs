//! The gate: compares the V8 that the guest was compiled for with the host's, and lets a plan pass or refuses it.

use super::adapters::unit_for;
use super::bridged::{Bridged, Rules, BRIDGED};
use super::catalogue::{known_abis, profile_of, Facts, KnownAbi, Profile, CXX_WITNESSES};
use super::compare::{breaking, unknown_parts, Change};
use super::layout::{covers, words, Field};
use super::line::Line;
use super::probe::SMALL_INTEGER_BITS;
use super::remedy::{for_unknown, other_guest, several_layouts};
pub use super::verdict::Verdict;
use super::version::V8Version;
use crate::error::Error;
use crate::fingerprint::{CxxLibrary, Fingerprint};
use crate::note::GuestNote;

/// A guest that the gate has admitted to a host. Nothing else can make one.
#[derive(Debug)]
#[must_use]
pub struct Admitted {
    verdict: Verdict,
    profile: &'static Profile,
    numbers: Option<V8Version>,
    layout: Vec<i32>,
    to_be_seen: Option<&'static str>,
}

impl Admitted {
    /// The verdict, which is no refusal.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// The check of the live probe that has to be made before the guest is brought in: what nothing else tells of this host.
    pub fn to_be_seen(&self) -> Option<&'static str> {
        self.to_be_seen
    }

    /// The profile that host and guest share, or the guest's where an adapter unit stands between.
    pub fn profile(&self) -> &'static Profile {
        self.profile
    }

    /// What a neutral guest's layout table must hold; empty for any other guest.
    pub fn layout(&self) -> &[i32] {
        &self.layout
    }

    /// The V8 whose numbers the guest's inlined code uses on this host: its own, or the host's where code of ours bridges.
    pub fn numbers(&self) -> Option<V8Version> {
        self.numbers
    }
}

/// What a guest with a note was compiled for. (A guest with a V8 of its own was compiled for that one: its fingerprint.)
pub fn compiled_for(note: &GuestNote) -> Fingerprint {
    let cxx = CXX_WITNESSES.iter().map(|(_, library)| *library).find(|library| *library == note.cxx);
    Fingerprint {
        version: V8Version::parse(&note.v8),
        tagged_size: Some(if note.pointer_compression { 4 } else { 8 }),
        smi_bits: Some(note.smi_bits),
        cxx: cxx.map(CxxLibrary),
        ..Fingerprint::default()
    }
}

/// Compares what the guest was compiled for with what the host is. An unknown fact counts as a difference.
pub fn judge(guest: &Fingerprint, host: &Fingerprint) -> Verdict {
    judge_with(None, &[], guest, host)
}

/// The same for a guest with a note: a neutral one does not feel what its layout table covers, nor what an adapter unit bridges.
pub fn judge_note(note: &GuestNote, host: &Fingerprint) -> Verdict {
    let unit = unit_for(note, host);
    let bridged = if unit.is_some() { BRIDGED } else { &[] };
    let mut guest = compiled_for(note);
    if unit.is_some_and(|unit| unit.cxx.is_libcxx()) {
        // The unit stands between the two C++ libraries.
        guest.cxx = host.cxx;
    }
    let mut verdict = judge_with(Some(note), bridged, &guest, host);
    if let (Verdict::Bridgeable { degraded, .. }, Some(unit)) = (&mut verdict, unit) {
        degraded.extend(unit.lost());
    }
    verdict
}

fn judge_with(
    note: Option<&GuestNote>,
    table: &[Bridged],
    guest: &Fingerprint,
    host: &Fingerprint,
) -> Verdict {
    let layout = note.map_or(&[][..], |note| &note.layout);
    let mut differences = configuration(guest, host);
    if note.is_some() && host.hides_small_integers() {
        differences.retain(|change| change.fact != SMALL_INTEGERS);
    }
    let mut remedies = Vec::new();
    if !differences.is_empty() {
        let cxx = differences.iter().all(|change| change.fact == CXX_LIBRARY);
        let is_libcxx = cxx && note.is_some() && host.cxx.is_some_and(CxxLibrary::is_libcxx);
        remedies.push(if is_libcxx { ADAPTERS_FOR_LIBCXX } else { GUEST_FOR_IT }.into());
    }
    match versions(note, guest, host) {
        Ok((g, h)) => {
            let mut felt: Vec<_> =
                felt(&g, h).into_iter().filter(|change| !covered(layout, change)).collect();
            // What nothing of ours stands between is what refuses a pair: it is named first.
            let rules = Rules::of(table, g.version(), h.first);
            felt.sort_by_key(|change| rules.bridge(change).is_some());
            let bridged: Vec<_> = felt.iter().filter_map(|change| rules.bridge(change)).collect();
            if differences.is_empty() && bridged.len() == felt.len() {
                return passed(h, felt, &bridged);
            }
            if !felt.is_empty() {
                remedies.extend(two_layouts(guest, host));
                remedies.push(other_guest(h));
            }
            differences.extend(felt);
        }
        Err((change, remedy)) => {
            differences.push(change);
            remedies.push(remedy);
        }
    }
    Verdict::Refused { differences, remedies }
}

/// Said of a side whose version has several layouts.
fn two_layouts(guest: &Fingerprint, host: &Fingerprint) -> impl Iterator<Item = String> {
    [("guest", guest.version), ("host", host.version)]
        .into_iter()
        .filter_map(|(whose, v8)| several_layouts(whose, v8?))
}

/// Whether a guest with this layout table reads the host's number instead of its own.
fn covered(layout: &[Field], change: &Change) -> bool {
    match change.fact.strip_prefix("constant ") {
        Some(name) => covers(layout, name),
        None => change.fact == "offset of internal fields" && !layout.is_empty(),
    }
}

/// What is known of the headers that a guest was compiled with.
#[derive(Clone, Copy)]
enum Headers<'a> {
    /// What the catalogue has for their version.
    Known(&'static KnownAbi),
    /// What the guest says itself.
    Told(V8Version, &'a Facts),
}

impl Headers<'_> {
    fn version(&self) -> V8Version {
        match self {
            Self::Known(abi) => abi.first,
            Self::Told(version, _) => *version,
        }
    }
}

/// What a guest compiled for the one feels on the other.
fn felt(guest: &Headers, host: &KnownAbi) -> Vec<Change> {
    let g = match guest {
        Headers::Known(abi) if std::ptr::eq(*abi, host) => return Vec::new(),
        Headers::Known(abi) => abi.facts(),
        Headers::Told(_, facts) => *facts,
    };
    let h = host.facts();
    let mut found = breaking(g, h);
    found.extend(unknown_parts(g, h));
    found
}

fn passed(host: &KnownAbi, differences: Vec<Change>, bridged: &[Bridged]) -> Verdict {
    if differences.is_empty() {
        return Verdict::Identical { abi: host.name() };
    }
    let mut adapters: Vec<_> = bridged.iter().map(|b| b.by).collect();
    let mut degraded: Vec<_> = bridged.iter().filter_map(|b| b.lost).collect();
    for names in [&mut adapters, &mut degraded] {
        names.sort_unstable();
        names.dedup();
    }
    Verdict::Bridgeable { differences, adapters, degraded }
}

/// Admits a guest to a host, before a plan is made: the symbols that a guest for another V8 would miss are not what is wrong
/// with it.
///
/// # Errors
/// The verdict is a refusal, the bridge does not serve this V8, or the host's V8 does not tell a number that the guest's layout
/// table must hold.
pub fn admit(note: &GuestNote, host: &Fingerprint) -> Result<Admitted, Error> {
    let guest = compiled_for(note);
    let verdict = judge_note(note, host);
    let numbers = match &verdict {
        Verdict::Refused { differences, remedies } => {
            return Err(Error::Refused { differences: told(&guest, host, differences, remedies) });
        }
        Verdict::Bridgeable { .. } => host.version,
        Verdict::Identical { .. } => guest.version,
    };
    let to_be_seen = host.hides_small_integers().then_some(SMALL_INTEGER_BITS);
    Ok(Admitted {
        verdict,
        profile: served_note(note, host)?,
        numbers,
        layout: layout(note, host)?,
        to_be_seen,
    })
}

/// The same for a guest without a note, by what it was compiled for.
///
/// # Errors
/// As [`admit`].
pub fn admit_abi(guest: &Fingerprint, host: &Fingerprint) -> Result<&'static Profile, Error> {
    if let Verdict::Refused { differences, remedies } = judge(guest, host) {
        return Err(Error::Refused { differences: told(guest, host, &differences, &remedies) });
    }
    served(guest, host)
}

/// The line of V8 that both belong to and that the bridge serves. An identical ABI is not enough: the bridge is compiled
/// for each line, and has been seen to work on these.
///
/// # Errors
/// There is no such line.
pub fn served(guest: &Fingerprint, host: &Fingerprint) -> Result<&'static Profile, Error> {
    let line = |v8: &Fingerprint| v8.version.and_then(profile_of);
    match (line(guest), line(host)) {
        (Some(guest), Some(host)) if std::ptr::eq(guest, host) => Ok(host),
        _ => Err(Error::NoBridge { guest: guest.version_text(), host: host.version_text() }),
    }
}

/// The same for a guest with a note: an adapter unit serves hosts of another line, too.
///
/// # Errors
/// As [`served`].
pub fn served_note(note: &GuestNote, host: &Fingerprint) -> Result<&'static Profile, Error> {
    let guest = compiled_for(note);
    match (unit_for(note, host), guest.version.and_then(profile_of)) {
        (Some(_), Some(profile)) => Ok(profile),
        _ => served(&guest, host),
    }
}

/// Whether Node can be in an isolate of the host's: where the guest is for the host's very line, and that has adapters for it.
///
/// # Errors
/// It cannot.
pub fn shareable(admitted: &Admitted, line: &Line, host: &Fingerprint) -> Result<(), Error> {
    let own_line = matches!(admitted.verdict, Verdict::Identical { .. });
    if own_line && !line.shared.is_empty() {
        return Ok(());
    }
    Err(Error::NoSharing { host: host.version_text() })
}

/// The words of a neutral guest's layout table for a host.
///
/// # Errors
/// The host's V8 does not tell one that the guest's code reads.
fn layout(note: &GuestNote, host: &Fingerprint) -> Result<Vec<i32>, Error> {
    let abis = host.version.map(known_abis).unwrap_or_default();
    let Some(abi) = abis.last().filter(|_| !note.layout.is_empty()) else { return Ok(Vec::new()) };
    words(&note.layout, abi.facts()).map_err(|missing| {
        let named = |name: &String| format!("{name} is read by the guest and unknown in {}", abi.name());
        Error::Refused { differences: missing.iter().map(named).collect() }
    })
}

/// The refusal in a few clauses: both versions and the first differences, then the cures.
fn told(guest: &Fingerprint, host: &Fingerprint, differences: &[Change], remedies: &[String]) -> Vec<String> {
    const SHOWN: usize = 4;
    let mut text = format!(
        "the guest was compiled for V8 {}, the host's V8 is {}",
        guest.version_text(),
        host.version_text()
    );
    for (change, sign) in
        differences.iter().take(SHOWN).zip(std::iter::once(": ").chain(std::iter::repeat(", ")))
    {
        text = text + sign + &change.text();
    }
    if differences.len() > SHOWN {
        text += &format!(" and {} more differences (`relink check` lists them)", differences.len() - SHOWN);
    }
    std::iter::once(text).chain(remedies.iter().cloned()).collect()
}

type Pair<'a> = (Headers<'a>, &'static KnownAbi);

/// What is known of both sides, or what is not with the remedy: of the guest what its note tells, else what the catalogue has. Where
/// builds of one version differ, the pair that differs most counts.
fn versions<'a>(
    note: Option<&'a GuestNote>,
    guest: &Fingerprint,
    host: &Fingerprint,
) -> Result<Pair<'a>, (Change, String)> {
    let side = |of: &Fingerprint, whose: &str| {
        let version = of.version.ok_or_else(|| untold(whose))?;
        let abis = known_abis(version);
        if abis.is_empty() {
            Err(unknown(whose, version))
        } else {
            Ok(abis)
        }
    };
    // The host is looked at first: its V8 is the one that cannot be chosen.
    let hosts = side(host, "host")?;
    let told = note.and_then(|note| Some(Headers::Told(guest.version?, note.facts.as_deref()?)));
    let guests = match told {
        Some(told) => vec![told],
        None => side(guest, "guest")?.into_iter().map(Headers::Known).collect(),
    };
    let mut pairs: Vec<Pair> = guests.iter().flat_map(|g| hosts.iter().map(|h| (*g, *h))).collect();
    pairs.sort_by_key(|(g, h)| felt(g, h).len());
    pairs.pop().ok_or_else(|| untold("host"))
}

fn untold(whose: &str) -> (Change, String) {
    let change = Change {
        fact: format!("V8 version of the {whose}"),
        guest: Some("needed".into()),
        host: Some("not told".into()),
        harmless: None,
    };
    (change, format!("take a {whose} that tells its V8 version"))
}

fn unknown(whose: &str, version: V8Version) -> (Change, String) {
    let value = |side: &str| {
        Some(if side == whose { format!("{version} is not in the catalogue") } else { "any".into() })
    };
    let change =
        Change { fact: "inlined ABI".into(), guest: value("guest"), host: value("host"), harmless: None };
    (change, for_unknown(whose, version))
}

const SMALL_INTEGERS: &str = "small integers";
const CXX_LIBRARY: &str = "C++ library";
const GUEST_FOR_IT: &str = "take a guest that was compiled for the host's V8 and with its C++ library";
const ADAPTERS_FOR_LIBCXX: &str = "take a neutral guest (relink guest build), and make adapters from the headers of the host's V8 for its C++ \
     library: relink adapter build --v8-headers DIR --host FILE, where FILE is the host's module with V8";

/// Facts of the build configuration that change the ABI whatever the version.
fn configuration(guest: &Fingerprint, host: &Fingerprint) -> Vec<Change> {
    let bytes = |size: Option<u32>| size.map(|n| format!("{n} bytes"));
    let bits = |size: Option<u32>| size.map(|n| format!("{n} bits"));
    let library = |cxx: Option<CxxLibrary>| cxx.map(|c| c.0.to_owned());
    [
        ("tagged words (pointer compression)", bytes(guest.tagged_size), bytes(host.tagged_size)),
        (SMALL_INTEGERS, bits(guest.smi_bits), bits(host.smi_bits)),
        (CXX_LIBRARY, library(guest.cxx), library(host.cxx)),
    ]
    .into_iter()
    .filter(|(_, guest, host)| guest.is_none() || guest != host)
    .map(|(fact, guest, host)| {
        let told = |value: Option<String>| Some(value.unwrap_or_else(|| "unknown".into()));
        Change { fact: fact.into(), guest: told(guest), host: told(host), harmless: None }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridged::Holds;
    use crate::catalogue::known;
    use crate::line::HOSTS;

    fn v8(version: &str) -> Fingerprint {
        Fingerprint {
            version: V8Version::parse(version),
            tagged_size: Some(8),
            smi_bits: Some(32),
            cxx: Some(CxxLibrary("libstdc++")),
            ..Fingerprint::default()
        }
    }

    fn differences(guest: &Fingerprint, host: &Fingerprint) -> Vec<Change> {
        match judge(guest, host) {
            Verdict::Refused { differences, .. } => differences,
            _ => Vec::new(),
        }
    }

    #[test]
    fn one_line_of_versions_is_identical() {
        let verdict = judge(&v8("10.2.154.26"), &v8("10.2.154.4"));
        assert_eq!(verdict, Verdict::Identical { abi: "V8 10.2.154.4 to 10.2.154.26".into() });
    }

    #[test]
    fn an_unknown_version_is_refused_and_the_cure_is_named() {
        for (guest, host) in
            [("10.2.154.26", "11.9.169.1"), ("11.9.169.1", "10.2.154.26"), ("11.9.1.1", "11.9.1.1")]
        {
            let refused = admit_abi(&v8(guest), &v8(host)).unwrap_err();
            assert_eq!(refused.code(), "E0401");
            let text = refused.to_string();
            assert!(text.contains(guest) && text.contains(host) && text.contains("--v8-headers"), "{text}");
        }
    }

    #[test]
    fn an_identical_abi_is_not_enough_without_a_bridge() {
        for line in &HOSTS {
            let known: Vec<_> =
                known().iter().filter(|abi| (abi.last.major, abi.last.minor) == line.v8).collect();
            let version = known[0].first.to_string();
            let error = admit_abi(&v8(&version), &v8(&version)).unwrap_err();
            assert_eq!(error.code(), "E0406", "{error}");
        }
        assert!(admit_abi(&v8("10.2.154.26"), &v8("10.2.154.15")).is_ok());
    }

    #[test]
    fn every_configuration_fact_is_compared_and_unknown_is_not_equal() {
        let same = v8("10.2.154.26");
        let broken = [
            Fingerprint { tagged_size: Some(4), ..same.clone() },
            Fingerprint { tagged_size: None, ..same.clone() },
            Fingerprint { smi_bits: Some(31), ..same.clone() },
            Fingerprint { smi_bits: None, ..same.clone() },
            Fingerprint { cxx: Some(CxxLibrary("libc++")), ..same.clone() },
            Fingerprint { cxx: None, ..same.clone() },
            Fingerprint { version: None, ..same.clone() },
        ];
        for other in broken {
            assert_eq!(differences(&same, &other).len(), 1, "{other:?}");
            assert_eq!(differences(&other, &same).len(), 1, "{other:?}");
        }
        assert!(differences(&same, &same).is_empty());
    }

    /// What a guest tells of its headers counts, whatever the catalogue has for their version.
    #[test]
    fn a_guest_that_tells_its_facts_is_judged_by_them() {
        let side = v8("10.2.154.26");
        let right = known_abis(V8Version::new(10, 2, 154, 26))[0].facts();
        let of = |facts: &Facts| GuestNote {
            facts: Some(Box::new(facts.clone())),
            ..GuestNote::of_stock("libnode.so.108", &side)
        };
        assert!(matches!(judge_note(&of(right), &side), Verdict::Identical { .. }));
        let mut wrong = right.clone();
        wrong.records.get_mut("v8::HandleScope").unwrap().size += 8;
        wrong.vtables.get_mut("v8::Platform").unwrap().swap(2, 3);
        let Verdict::Refused { differences, .. } = judge_note(&of(&wrong), &side) else {
            panic!("not refused");
        };
        let facts: Vec<_> = differences.iter().map(|change| change.fact.as_str()).collect();
        assert_eq!(facts, ["layout v8::HandleScope", "vtable v8::Platform"]);
    }

    #[test]
    fn what_is_bridged_passes_with_what_is_lost() {
        let (guest, host) = (v8("10.2.154.26"), v8("10.7.193.13"));
        let felt = differences(&guest, &host);
        assert!(felt.len() > 3, "{felt:?}");
        let entry = |fact| Bridged {
            guests: &[(10, 2)],
            hosts: &[(10, 7)],
            fact,
            by: "stand_in",
            lost: Some("a thing"),
            holds: Holds::There,
        };
        let all = [entry("")];
        let Verdict::Bridgeable { differences, adapters, degraded } = judge_with(None, &all, &guest, &host)
        else {
            panic!("not bridgeable");
        };
        assert_eq!((differences, adapters, degraded), (felt, vec!["stand_in"], vec!["a thing"]));
        let some = [entry("constant ")];
        assert!(matches!(judge_with(None, &some, &guest, &host), Verdict::Refused { .. }));
    }
}
