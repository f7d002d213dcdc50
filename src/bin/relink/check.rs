//! `relink check`: would this guest run in that host? From files alone.

use super::{guests, Failure};
use clap::Args;
use relink::abi::adapters::{self, Adapter, When};
use relink::abi::catalogue::{known_abis, MARKER};
use relink::abi::claim::holds_v8;
use relink::abi::compare::Change;
use relink::abi::fingerprint::Fingerprint;
use relink::abi::gate::{compiled_for, judge_note, served_note, Verdict};
use relink::abi::line;
use relink::abi::note::GuestNote;
use relink::abi::probe::{judge as judge_live, observe, Check, Outcome};
use relink::abi::remedy::warnings;
use relink::abi::version::V8Version;
use relink::address::LoadBias;
use relink::elf::arch::Arch;
use relink::elf::file::map_file;
use relink::elf::{Dynamic, ElfError, FileImage, SymbolTable};
use relink::host::Exports;
use relink::pipeline::{Files, Part};
use relink::plan::{plan, Request, Why};
use relink::process::Maps;
use relink::runtime::guards;
use relink::Error;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Exits with 0 if guest and host fit, 1 if they fit with something lost, 2 if not, 64 if called wrongly, 65 if one of them
/// cannot be judged (no such file, no V8, no guest). Without --probe no code of either runs.
#[derive(Args)]
pub struct Options {
    /// The file that provides V8 (an executable or a shared library), or the number of a process
    #[arg(long)]
    host: PathBuf,
    /// The libnode to relink [default: the built one of the host's line]
    #[arg(long)]
    guest: Option<PathBuf>,
    /// Start the host's file once more, in a process of its own, and see whether its V8 is as the guest's inlined code believes
    #[arg(long)]
    probe: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Called wrongly (sysexits.h, EX_USAGE): clap's own 2 would look like a verdict.
pub const USAGE: u8 = 64;
/// Cannot be judged (sysexits.h, EX_DATAERR).
pub const NO_VERDICT: u8 = 65;

/// All that was found out.
#[derive(Serialize)]
struct Answer {
    host: PathBuf,
    host_v8: String,
    guest: PathBuf,
    guest_v8: String,
    guest_node: String,
    /// `identical`, `bridgeable` or `refused`, over everything below.
    result: &'static str,
    /// The gate's verdict over the inlined ABI.
    abi: Verdict,
    /// Whether the bridge serves the pair's V8.
    bridge: Bridge,
    /// Symbols that the host lacks and that nothing stands in for.
    missing_symbols: Vec<String>,
    /// What stands in for symbols that the host lacks, and why.
    stand_ins: BTreeMap<&'static str, &'static str>,
    /// What the guest cannot do in this host, and what stands between where the two differ.
    degraded: Vec<&'static str>,
    adapters: Vec<&'static str>,
    /// What the verdict rests on without having been seen itself.
    warnings: Vec<String>,
    /// What the live probe saw.
    #[serde(skip_serializing_if = "Option::is_none")]
    probe: Option<Probe>,
    /// Anything else that keeps a plan from being made.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_plan: Option<String>,
}

/// The live probe's checks by what came of them.
#[derive(Serialize)]
struct Probe {
    agree: usize,
    differ: Vec<Check>,
    unknown: Vec<&'static str>,
    /// Why nothing was observed, or not all.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl Probe {
    /// Observes a host for the numbers of this V8, which the guest's inlined code would have there.
    fn run(host: &Path, numbers: Option<V8Version>) -> Self {
        let folders = std::env::var_os("LD_LIBRARY_PATH");
        let facts = numbers.and_then(|v| known_abis(v).pop()).map(|abi| abi.facts());
        let seen = facts.ok_or_else(|| "the V8 of the guest's numbers is not in the catalogue".to_owned());
        let seen = seen.and_then(|f| {
            let seen = observe(host, f, folders.as_deref()).map_err(|e| e.to_string())?;
            Ok((judge_live(f, &seen), seen.broke_off()))
        });
        let (checks, why) = seen.unwrap_or_else(|why| (Vec::new(), Some(why)));
        let with = |outcome| checks.iter().filter(move |c| c.outcome == outcome);
        Self {
            agree: with(Outcome::Agrees).count(),
            unknown: with(Outcome::Unknown).map(|c| c.what).collect(),
            differ: checks.iter().filter(|c| matches!(c.outcome, Outcome::Differs { .. })).cloned().collect(),
            why,
        }
    }

    fn text(&self) -> Vec<String> {
        let broke_off = self.why.as_ref().map(|why| format!("; {why}")).unwrap_or_default();
        let nothing = self.why.as_deref().unwrap_or_default();
        let seen = self.agree + self.differ.len() + self.unknown.len() > 0;
        let counts = format!("{} checks agree, {} differ{broke_off}", self.agree, self.differ.len());
        let unknown = if self.unknown.is_empty() {
            String::new()
        } else {
            format!(", unknown: {}", self.unknown.join(", "))
        };
        let mut lines = vec![format!("  live probe: {}{unknown}", if seen { &counts } else { nothing })];
        lines.extend(
            self.differ.iter().filter_map(Check::difference).map(|check| format!("    differs: {check}")),
        );
        lines
    }
}

/// Whether there is a bridge for the pair.
#[derive(Serialize)]
struct Bridge {
    served: bool,
    /// The line, or why not.
    why: String,
}

/// Prints the verdict; gives the exit status.
pub fn run(options: &Options) -> Result<u8, Failure> {
    let host_path = file_of(&options.host)?;
    let host_bytes = map_file(&host_path)?;
    let host = Host::read(&host_bytes, &host_path)?;
    let guest_path = guests::for_host(options.guest.as_deref(), Some(&host_path))?;
    let files = Files::open(&guest_path)?;
    let images = files.images()?;
    let parts = Part::read_all(&images)?;
    let note = parts[0].note()?;
    let wanted = compiled_for(&note);
    let mut answer = Answer {
        host_v8: host.fingerprint.version_text(),
        host: host_path.clone(),
        guest: guest_path,
        guest_v8: note.v8.clone(),
        guest_node: note.node.clone(),
        result: "refused",
        abi: judge_note(&note, &host.fingerprint),
        bridge: match served_note(&note, &host.fingerprint) {
            Ok(profile) => Bridge { served: true, why: profile.name.into() },
            Err(error) => Bridge { served: false, why: error.to_string() },
        },
        missing_symbols: Vec::new(),
        stand_ins: BTreeMap::new(),
        degraded: Vec::new(),
        adapters: Vec::new(),
        warnings: warnings(&wanted, &host.fingerprint),
        probe: None,
        no_plan: None,
    };
    if options.probe {
        // Where code of ours bridges, the guest's layout table has the host's numbers.
        let bridged = matches!(answer.abi, Verdict::Bridgeable { .. });
        let numbers = if bridged { host.fingerprint.version } else { wanted.version };
        answer.probe = Some(Probe::run(host.path, numbers));
    }
    answer.symbols(host.stand_ins(&parts, &note));
    let status = answer.conclude();
    if options.json {
        println!("{}", serde_json::to_string_pretty(&answer).map_err(|e| Error::Internal(e.to_string()))?);
    } else {
        print!("{}", answer.text());
    }
    Ok(status)
}

/// A host's file.
struct Host<'d> {
    file: FileImage<'d>,
    path: &'d Path,
    fingerprint: Fingerprint,
}

impl<'d> Host<'d> {
    fn read(bytes: &'d [u8], path: &'d Path) -> Result<Self, Error> {
        let unreadable = |source| Error::ProviderImage { path: path.into(), source };
        let file = FileImage::parse(bytes, Arch::native()).map_err(unreadable)?;
        let fingerprint = fingerprint(&file).map_err(unreadable)?;
        let fingerprint = fingerprint.ok_or(Error::NoProvider { modules: 1, marker: MARKER })?;
        Ok(Self { file, path, fingerprint })
    }

    /// What stands in for symbols that the host lacks, once every slot of the guest has its place; nothing is loaded.
    fn stand_ins(&self, parts: &[Part], note: &GuestNote) -> Result<Vec<&'static Adapter>, Error> {
        let unreadable = |source| Error::ProviderImage { path: self.path.into(), source };
        let dynamic = Dynamic::parse(&self.file.image).map_err(unreadable)?;
        let mut exports = Exports::new(&self.file.image, &dynamic, LoadBias(0)).map_err(unreadable)?;
        let line = self.fingerprint.version.and_then(line::of_v8);
        let adapters = adapters::for_pair(
            note,
            adapters::unit_for(note, &self.fingerprint),
            line,
            adapters::beside_a_host,
        );
        let needed = parts[0].inventory.needed_v8().filter(|name| adapters.iter().all(|a| a.symbol != *name));
        exports.complete(self.path, needed).map_err(unreadable)?;
        let needs = parts[0].needs(note)?;
        let members: Vec<_> = parts.iter().map(Part::member).collect();
        let plan = plan(&Request {
            members: &members,
            needs: &|name| needs.contains(name),
            provider: &exports,
            provider_name: &self.path.display().to_string(),
            adapters: &adapters,
            guards: &guards::all(),
        })?;
        let used = plan.bindings.iter().filter_map(|b| match b.why {
            Why::Adapter(adapter) if adapter.when == When::Missing => Some(adapter),
            _ => None,
        });
        Ok(used.collect())
    }
}

/// What the V8 of a file is, if its symbols are visible.
fn fingerprint(file: &FileImage) -> Result<Option<Fingerprint>, ElfError> {
    let dynamic = Dynamic::parse(&file.image)?;
    let symbols = SymbolTable::parse(&file.image, &dynamic)?;
    match holds_v8(&symbols)? {
        true => Fingerprint::read(&file.image, &symbols).map(Some),
        false => Ok(None),
    }
}

/// The file that is meant: itself, or the one with a V8 among those that the process of this number has mapped.
fn file_of(host: &Path) -> Result<PathBuf, Error> {
    let Some(pid) = host.to_str().and_then(|t| t.parse::<u32>().ok()).filter(|_| !host.exists()) else {
        return Ok(host.to_owned());
    };
    let path = PathBuf::from(format!("/proc/{pid}/maps"));
    let text = std::fs::read(&path).map_err(|source| Error::GuestFile { path, source })?;
    let code = Maps::parse(&text).0.into_iter().filter(|m| m.protection.execute && m.inode != 0);
    let files: BTreeSet<PathBuf> = code.map(|m| m.name).collect();
    let modules = files.len();
    let has_v8 = |path: &PathBuf| map_file(path).is_ok_and(|bytes| Host::read(&bytes, path).is_ok());
    let mut found: Vec<_> = files.into_iter().filter(has_v8).collect();
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(last), false) => {
            found.push(last);
            Err(Error::SeveralProviders { names: found.iter().map(|p| p.display().to_string()).collect() })
        }
        (None, _) => Err(Error::NoProvider { modules, marker: MARKER }),
    }
}

impl Answer {
    /// Takes in what a plan on the files tells.
    fn symbols(&mut self, found: Result<Vec<&'static Adapter>, Error>) {
        match found {
            Ok(stand_ins) => {
                self.stand_ins = stand_ins.iter().map(|adapter| (adapter.symbol, adapter.reason)).collect();
                self.degraded.extend(adapters::lost(stand_ins));
            }
            Err(Error::MissingSymbols { names, .. }) => self.missing_symbols = names,
            Err(error) => self.no_plan = Some(error.line()),
        }
    }

    /// The result over everything, and the exit status.
    fn conclude(&mut self) -> u8 {
        let seen = self.probe.as_ref().is_none_or(|probe| probe.differ.is_empty());
        let bound = seen && self.missing_symbols.is_empty() && self.no_plan.is_none() && self.bridge.served;
        let (result, status) = match &self.abi {
            Verdict::Identical { .. } if bound => ("identical", 0),
            Verdict::Bridgeable { .. } if bound => ("bridgeable", 1),
            _ => ("refused", 2),
        };
        if let Verdict::Bridgeable { adapters, degraded, .. } = &self.abi {
            self.adapters.clone_from(adapters);
            self.degraded.retain(|lost| !degraded.contains(lost));
            self.degraded.splice(..0, degraded.iter().copied());
        }
        self.result = result;
        status
    }

    fn text(&self) -> String {
        let mut lines = vec![
            format!("host   {} (V8 {})", self.host.display(), self.host_v8),
            format!("guest  {} (Node {}, for V8 {})", self.guest.display(), self.guest_node, self.guest_v8),
            format!("verdict: {}", self.result),
        ];
        match &self.abi {
            Verdict::Identical { abi } => lines.push(format!("  inlined ABI: identical ({abi})")),
            Verdict::Bridgeable { differences, adapters, .. } => {
                lines.push(format!("  inlined ABI: bridged by {}", adapters.join(", ")));
                lines.extend(listed(differences));
            }
            Verdict::Refused { differences, remedies } => {
                lines.push(format!("  inlined ABI: {} facts differ (guest -> host)", differences.len()));
                lines.extend(listed(differences));
                lines.extend(remedies.iter().map(|remedy| format!("    remedy: {remedy}")));
            }
        }
        lines.extend(self.degraded.iter().map(|lost| format!("    lost: {lost}")));
        let bridge = if self.bridge.served { "serves" } else { "none:" };
        lines.push(format!("  bridge: {bridge} {}", self.bridge.why));
        lines.push(format!(
            "  symbols that the host lacks: {}",
            self.missing_symbols.len() + self.stand_ins.len()
        ));
        lines.extend(self.missing_symbols.iter().map(|name| format!("    missing: {name}")));
        lines.extend(self.stand_ins.iter().map(|(name, why)| format!("    stood in for: {name} ({why})")));
        lines.extend(self.warnings.iter().map(|warning| format!("  warning: {warning}")));
        lines.extend(self.probe.iter().flat_map(Probe::text));
        lines.extend(self.no_plan.iter().map(|why| format!("  {why}")));
        lines.join("\n") + "\n"
    }
}

fn listed(differences: &[Change]) -> impl Iterator<Item = String> + '_ {
    differences.iter().map(|change| format!("    {}", change.text()))
}
