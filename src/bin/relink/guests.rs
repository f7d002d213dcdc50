//! Which guest is taken when none is named: of those that are built, the one that loses least on the host's V8.

use super::Failure;
use relink::abi::adapters::UNITS;
use relink::abi::line::{self, Line};
use relink::abi::version::V8Version;
use relink::elf::{arch::Arch, Dynamic, FileImage, SymbolTable};
use relink::guest::map_file;
use relink::host::Fingerprint;
use relink::kit::{adapter, guest, KitError};
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
    let mut fitting: Vec<_> = v8.map(candidates).unwrap_or_default();
    fitting.sort_by_key(|choice| (choice.lost.len(), Reverse(choice.node), choice.neutral));
    if let (Some(v8), false) = (v8, fitting.is_empty()) {
        let of = fitting.len();
        let mut best = fitting.remove(0);
        best.why = best.reason(v8, of);
        return Ok(best);
    }
    let node = v8.and_then(line::with_guest).map_or(guest::DEFAULT_LINE, |line| line.node);
    let missing = KitError::NotBuilt { what: "the guest", remedy: guest::remedy(node) };
    let path = guest::path_of(node).ok_or(Failure::Kit(missing))?;
    let why = "the default, for no guest that was built is known to fit the host's V8".into();
    Ok(Choice { guest: path, node, neutral: false, lost: Vec::new(), why })
}

/// All guests that are built and fit a V8.
fn candidates(v8: V8Version) -> Vec<Choice> {
    let host = (v8.major, v8.minor);
    let choice = |guest, node, neutral, lost| Choice { guest, node, neutral, lost, why: String::new() };
    let ordinary = line::with_guest(v8)
        .and_then(|line| Some(choice(guest::path_of(line.node)?, line.node, false, Vec::new())));
    let neutral = |line: &'static Line| {
        let path = guest::neutral_path_of(line.node)?;
        if line.v8 == host {
            return Some(choice(path, line.node, true, Vec::new()));
        }
        let unit = UNITS.iter().find(|unit| unit.guest == line.v8 && unit.host == host)?;
        adapter::find(None, unit)?;
        Some(choice(path, line.node, true, unit.lost.to_vec()))
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
        format!("on V8 {}.{} it {lost}; {among}", v8.major, v8.minor)
    }

    /// One line for people.
    pub fn text(&self) -> String {
        let kind = if self.neutral { ", neutral" } else { "" };
        format!("guest: Node {}{kind}: {} ({})", self.node, self.why, self.guest.display())
    }
}

/// The version of the V8 in a file, if there is one that can be seen.
fn v8_of(file: &Path) -> Option<V8Version> {
    let bytes = map_file(file).ok()?;
    let file = FileImage::parse(&bytes, Arch::native()).ok()?;
    let dynamic = Dynamic::parse(&file.image).ok()?;
    let symbols = SymbolTable::parse(&file.image, &dynamic).ok()?;
    Fingerprint::read(&file.image, &symbols).ok()?.version
}
