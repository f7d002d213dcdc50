//! `relink inspect`: is there a V8 in a file or in a process, and what is it?

use super::Failure;
use clap::Args;
use relink::elf::arch::Arch;
use relink::elf::FileImage;
use relink::guest::map_file;
use relink::host::inspect::{inspect, Findings, Presence};
use relink::process::Maps;
use relink::Error;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Exits with 0 if there is a V8, else with 1. A process is looked at through the files that it has mapped.
#[derive(Args)]
pub struct Options {
    /// An ELF file, or the number of a process
    target: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One file and what is in it.
#[derive(serde::Serialize)]
struct Found {
    file: PathBuf,
    #[serde(flatten)]
    findings: Findings,
}

/// Prints what was found; `false` if that is no V8.
pub fn run(options: &Options) -> Result<bool, Failure> {
    let pid =
        options.target.to_str().and_then(|t| t.parse::<u32>().ok()).filter(|_| !options.target.exists());
    let found = match pid {
        Some(pid) => in_process(pid)?,
        None => vec![in_file(&options.target)?],
    };
    if options.json {
        println!("{}", serde_json::to_string_pretty(&found).map_err(|e| Error::Internal(e.to_string()))?);
    } else {
        found.iter().for_each(|f| print!("{}", text(f)));
        if found.is_empty() {
            println!("no V8 in any file that the process has mapped");
        }
    }
    Ok(found.iter().any(|f| f.findings.v8 != Presence::NotSeen))
}

fn in_file(path: &Path) -> Result<Found, Failure> {
    let bytes = map_file(path)?;
    let unreadable = |source| Error::GuestImage { path: path.to_owned(), source };
    let file = FileImage::parse(&bytes, Arch::native()).map_err(unreadable)?;
    Ok(Found { file: path.to_owned(), findings: inspect(&file).map_err(unreadable)? })
}

/// The files with a V8 or a guest's note among those that the process has mapped executable.
fn in_process(pid: u32) -> Result<Vec<Found>, Failure> {
    let path = PathBuf::from(format!("/proc/{pid}/maps"));
    let text = std::fs::read(&path).map_err(|source| Error::GuestFile { path, source })?;
    let code = Maps::parse(&text).0.into_iter().filter(|m| m.protection.execute && m.inode != 0);
    let files: BTreeSet<PathBuf> = code.map(|m| m.name).collect();
    // Files that are gone or no ELF of this machine cannot be told anything about; they hold no V8 that Relink could use.
    let readable = files.iter().filter_map(|f| in_file(f).ok());
    Ok(readable.filter(|f| f.findings.v8 != Presence::NotSeen || f.findings.guest.is_some()).collect())
}

fn text(found: &Found) -> String {
    let findings = &found.findings;
    let unknown = || "unknown".to_owned();
    let presence = match findings.v8 {
        Presence::Dynsym => "V8, its symbols visible (.dynsym)",
        Presence::Symtab => "V8, its symbols hidden (.symtab only)",
        Presence::NotSeen => "no V8 seen (a stripped one would not show)",
    };
    let mut lines = vec![format!("{}: {presence}", found.file.display())];
    if findings.v8 != Presence::NotSeen {
        let compression = findings.pointer_compression.map(|c| if c { "yes" } else { "no" }.to_owned());
        lines.push(format!("  version              {}", findings.version.clone().unwrap_or_else(unknown)));
        lines.push(format!("  pointer compression  {}", compression.unwrap_or_else(unknown)));
        let smi = findings.smi_bits.map(|bits| format!("{bits} bits"));
        lines.push(format!("  small integers       {}", smi.unwrap_or_else(unknown)));
        let cxx = findings.cxx.map(|c| c.0.to_owned());
        lines.push(format!("  C++ library          {}", cxx.unwrap_or_else(unknown)));
        lines.push(format!("  inlined ABI          {}", findings.profile.unwrap_or("not known to Relink")));
    }
    if let Some(guest) = &findings.guest {
        lines.push(format!(
            "  guest                Node {} without V8, compiled for V8 {}",
            guest.node, guest.v8
        ));
    }
    lines.join("\n") + "\n"
}
