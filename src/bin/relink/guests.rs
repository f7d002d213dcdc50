//! Which guest is taken when none is named: of those that are built, the one that loses least on the host's V8.

use super::Failure;
use relink::abi::adapters::{lost_without_symbol_keys, unit_of, CAME_WITH_SYMBOL_KEYS};
use relink::abi::fingerprint::{CxxLibrary, Fingerprint};
use relink::abi::line::{self, Line};
use relink::abi::version::V8Version;
use relink::config;
use relink::elf::file::map_file;
use relink::elf::{arch::Arch, Dynamic, FileImage, SymbolTable};
use relink::kit::{guest, KitError};
use serde::Serialize;
use std::cmp::Reverse;
use std::path::{Path, PathBuf};

/// A guest that was chosen.
#[derive(Serialize)]
pub struct Choice {
    /// The library.
    pub guest: PathBuf,
    /// Its Node's major version.
    pub node: u32,
    /// Whether it is a neutral guest.
    pub neutral: bool,
    /// What it cannot do on the host's V8.
    pub lost: Vec<&'static str>,
    /// Why it was taken.
    pub why: String,
    /// The adapters that it needs on the host's V8 and that have not been built: their name.
    pub lacks: Option<String>,
}

/// The guest that was asked for, or the one that [`choose`] takes.
pub fn for_host(named: Option<&Path>, host: Option<&Path>) -> Result<PathBuf, Failure> {
    match named {
        Some(named) => Ok(named.to_owned()),
        None => choose(host).map(|choice| choice.guest),
    }
}

/// Of the guests that the kit has built, with the adapters that they need for the V8 in `host`, the one that loses least there, and of
/// several such the one with the newest Node. For a host whose V8 comes from elsewhere, or that none was built for, the kit's default.
pub fn choose(host: Option<&Path>) -> Result<Choice, Failure> {
    let v8 = host.and_then(v8_of);
    if let Some(best) = v8.and_then(|v8| best(v8.version, candidates(v8))) {
        return Ok(best);
    }
    let built: Vec<_> =
        line::LINES.iter().filter_map(|line| Some((line.node, guest::path_of(line.node)?))).collect();
    let own = v8.and_then(|v8| line::with_guest(v8.version)).map(|line| line.node);
    default(v8.is_some(), own, &built).map_err(Failure::Kit)
}

/// What is taken where no guest is known to fit: of those that were `built`, the one of the host's `own` line or of the kit's default one.
/// Where the host's file has no V8 and there is only one guest, that one.
fn default(has_v8: bool, own: Option<u32>, built: &[(u32, PathBuf)]) -> Result<Choice, KitError> {
    let node = own.unwrap_or(guest::DEFAULT_LINE);
    let unseen = "the program's own file has no V8 to choose by; name another with --guest";
    let (taken, why) = match (built.iter().find(|(line, _)| *line == node), built) {
        (Some(default), _) if has_v8 => {
            (default, "the default, for no guest that was built is known to fit the host's V8".to_owned())
        }
        (Some(default), _) => (default, format!("the default: {unseen}")),
        (None, [only]) if !has_v8 => (only, format!("the only one that was built: {unseen}")),
        (None, _) => return Err(KitError::NotBuilt { what: "the guest", remedy: guest::remedy(node) }),
    };
    Ok(Choice { guest: taken.1.clone(), node: taken.0, neutral: false, lost: Vec::new(), why, lacks: None })
}

/// The best of several for a V8.
fn best(v8: V8Version, mut fitting: Vec<Choice>) -> Option<Choice> {
    let of = fitting.len();
    fitting.sort_by_key(|c| (c.lacks.is_some(), c.lost.len(), Reverse(c.node), c.neutral));
    let mut best = fitting.into_iter().next()?;
    best.why = best.reason(v8, of);
    Some(best)
}

/// All guests that are built and fit a V8.
fn candidates(HostsV8 { version: v8, patched, cxx }: HostsV8) -> Vec<Choice> {
    let choice = |guest, node, neutral| {
        let (lost, why) = (Vec::new(), String::new());
        Choice { guest, node, neutral, lost, why, lacks: None }
    };
    let ordinary = line::with_guest(v8)
        .filter(|_| patched && !cxx.is_libcxx())
        .and_then(|line| Some(choice(guest::exact_path_of(line.node)?, line.node, false)));
    let folder = std::env::var_os(config::ADAPTERS).map(PathBuf::from);
    let neutral = |line: &'static Line| {
        let mut own = choice(guest::path_of(line.node)?, line.node, true);
        if !patched && std::ptr::eq(line, line::oldest()) {
            own.lost.extend(lost_without_symbol_keys());
        }
        if line.v8 == (v8.major, v8.minor) && !cxx.is_libcxx() {
            return Some(own);
        }
        let unit = unit_of(line.v8, v8, cxx)?;
        let lacks = relink::abi::units::find(folder.as_deref(), unit).is_none().then(|| unit.name());
        own.lost.extend(unit.lost().into_iter().filter(|lost| !own.lost.contains(lost)).collect::<Vec<_>>());
        Some(Choice { lacks, ..own })
    };
    ordinary.into_iter().chain(line::LINES.iter().filter_map(neutral)).collect()
}

impl Choice {
    fn reason(&self, v8: V8Version, of: usize) -> String {
        let lost = match self.lost.len() {
            0 => "loses nothing".to_owned(),
            _ => format!("loses: {}", self.lost.join("; ")),
        };
        let among =
            if of == 1 { "the only guest built for it" } else { "the newest of those that lose least" };
        let first = self.lacks.as_ref().map(|unit| format!("; but first: relink adapter build {unit}"));
        format!("on V8 {}.{} it {lost}; {among}{}", v8.major, v8.minor, first.unwrap_or_default())
    }

    /// One line for people.
    pub fn text(&self) -> String {
        let kind = if self.neutral { ", neutral" } else { "" };
        format!("guest: Node {}{kind}: {} ({})", self.node, self.why, self.guest.display())
    }
}

/// What choosing a guest asks of a host's V8.
#[derive(Clone, Copy)]
struct HostsV8 {
    version: V8Version,
    /// Whether it has what Node 18.20 had its V8 patched for: only neutral guests of Node 18 can be without.
    patched: bool,
    cxx: CxxLibrary,
}

/// The V8 in a file, if there is one that can be seen.
fn v8_of(file: &Path) -> Option<HostsV8> {
    let bytes = map_file(file).ok()?;
    let file = FileImage::parse(&bytes, Arch::native()).ok()?;
    let dynamic = Dynamic::parse(&file.image).ok()?;
    let symbols = SymbolTable::parse(&file.image, &dynamic).ok()?;
    let found = Fingerprint::read(&file.image, &symbols).ok()?;
    let (version, cxx) = (found.version?, found.cxx.unwrap_or(CxxLibrary::LIBSTDCXX));
    let later = (version.major, version.minor) > line::oldest().v8;
    let patched = later || symbols.lookup(CAME_WITH_SYMBOL_KEYS).ok()?.is_some();
    Some(HostsV8 { version, patched, cxx })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(node: u32, neutral: bool, lost: &[&'static str], lacks: Option<&str>) -> Choice {
        let lacks = lacks.map(str::to_owned);
        Choice { guest: "/g".into(), node, neutral, lost: lost.to_vec(), why: String::new(), lacks }
    }

    fn taken(choices: Vec<Choice>) -> (u32, bool, String) {
        let best = best(V8Version::new(12, 4, 0, 0), choices).expect("one");
        (best.node, best.neutral, best.why)
    }

    #[test]
    fn what_loses_least_is_taken_then_the_newest_then_what_is_not_neutral() {
        let all = || vec![guest(18, true, &["a"], None), guest(20, true, &["a"], None)];
        let why = "on V8 12.4 it loses: a; the newest of those that lose least";
        assert_eq!(taken(all()), (20, true, why.into()));
        let more = |choice| all().into_iter().chain([choice]).collect();
        assert_eq!(taken(more(guest(22, true, &["a", "b"], None))).0, 20);
        assert_eq!(taken(more(guest(16, true, &[], None))).0, 16);
        let both = vec![guest(22, true, &[], None), guest(22, false, &[], None)];
        assert!(!taken(both).1);
    }

    #[test]
    fn where_no_v8_is_seen_the_default_is_taken_or_the_only_one() {
        let (oldest, later) = ((18, PathBuf::from("/18")), (20, PathBuf::from("/20")));
        let taken = |has_v8, own, built: &[(u32, PathBuf)]| {
            default(has_v8, own, built).map(|choice| (choice.node, choice.why)).map_err(|e| e.code())
        };
        let both = [oldest.clone(), later.clone()];
        let (node, why) = taken(false, None, &both).expect("the default");
        assert!(node == 18 && why.contains("no V8 to choose by"), "{why}");
        let (node, why) = taken(true, Some(20), &both).expect("its own");
        assert!(node == 20 && why.contains("no guest that was built"), "{why}");
        let (node, why) = taken(false, None, std::slice::from_ref(&later)).expect("the only one");
        assert!(node == 20 && why.contains("the only one"), "{why}");
        assert_eq!(taken(true, None, &[later]), Err("E0712"));
        assert_eq!(taken(false, None, &[]), Err("E0712"));
    }

    #[test]
    fn what_lacks_its_adapters_comes_last_and_says_so() {
        let (lacking, ready) = (guest(20, true, &[], Some("11.3-on-12.4")), guest(18, true, &["a"], None));
        assert_eq!(taken(vec![lacking, ready]).0, 18);
        let (_, _, why) = taken(vec![guest(20, true, &[], Some("11.3-on-12.4"))]);
        assert!(
            why.ends_with("the only guest built for it; but first: relink adapter build 11.3-on-12.4"),
            "{why}"
        );
        assert!(best(V8Version::new(1, 2, 0, 0), Vec::new()).is_none());
    }
}
