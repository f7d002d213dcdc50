//! The V8s of a running process: its files, and a few words of its memory, read through `/proc/PID/mem` (proc(5)). The
//! process is not stopped and runs nothing for us.

use super::fact::Fact;
use super::symbols::Symbols;
use super::{architecture, with_symbols, Findings, Presence};
use crate::process::{Mapping, Maps};
use object::elf;
use object::read::elf::{FileHeader as _, Sym as _};
use object::LittleEndian as LE;
use relink_abi::catalogue::{PLATFORM_CELL, SHARED_READ_ONLY_HEAP, STARTUP_STATE};
use relink_elf::address::{LinkAddr, LoadBias, RunAddr};
use relink_elf::file::map_file;
use relink_elf::{Dynamic, FileImage, SymbolTable};
use serde::Serialize;
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// One file that the process has mapped as code, with what is in it.
#[derive(Clone, Debug, Serialize)]
pub struct Module {
    /// Its path as the kernel tells it.
    pub file: PathBuf,
    /// What the file holds.
    #[serde(flatten)]
    pub findings: Findings,
    /// Run-time minus link-time addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_bias: Option<String>,
    /// How far V8 has come in the process.
    pub state: Option<Fact<State>>,
    /// The class of the platform object.
    pub platform: Option<Fact<String>>,
}

/// How far V8 has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// No platform: `V8::InitializePlatform` was not called, or V8 was disposed.
    NoPlatform,
    /// There is a platform; whether V8 is initialised is not known.
    PlatformSet,
    /// There is a platform, and no isolate was ever made.
    NoIsolate,
    /// V8 is initialised.
    Initialised,
    /// V8 was disposed.
    Disposed,
}

/// A process that is looked at.
pub struct Process {
    pid: u32,
    maps: Maps,
    memory: io::Result<File>,
}

impl Process {
    /// Opens process `pid`. That its memory cannot be read (it belongs to another user) is no error: then only its files
    /// tell.
    pub fn open(pid: u32) -> io::Result<Self> {
        let maps = Maps::parse(&std::fs::read(format!("/proc/{pid}/maps"))?);
        Ok(Self { pid, maps, memory: File::open(format!("/proc/{pid}/mem")) })
    }

    /// Why the memory of the process cannot be read, if it cannot.
    pub fn memory_error(&self) -> Option<String> {
        self.memory.as_ref().err().map(io::Error::to_string)
    }

    /// The files with a V8 or a guest's note among those mapped as code, in order of address; and those that could not be
    /// opened or read, with the reason.
    pub fn modules(&self) -> (Vec<Module>, Vec<(PathBuf, String)>) {
        let (mut found, mut unread) = (Vec::new(), Vec::new());
        let mut seen = HashSet::new();
        for mapping in self.maps.0.iter().filter(|m| m.protection.execute && m.inode != 0) {
            if !seen.insert((&mapping.name, mapping.inode)) {
                continue;
            }
            match self.module(mapping) {
                Ok(module) if module.findings.v8 != Presence::NotSeen || module.findings.guest.is_some() => {
                    found.push(module);
                }
                Ok(_) => {}
                Err(why) => unread.push((mapping.name.clone(), why)),
            }
        }
        (found, unread)
    }

    fn module(&self, mapping: &Mapping) -> Result<Module, String> {
        let bytes = self.file_of(mapping)?;
        let file = FileImage::parse(&bytes, architecture(&bytes)).map_err(|e| e.to_string())?;
        let mut symbols = Symbols::dynamic(&file).map_err(|e| e.to_string())?;
        symbols.add_full(&file);
        let findings = with_symbols(&file, &symbols).map_err(|e| e.to_string())?;
        let bias = load_bias(&file, mapping);
        let at = |name| Some(bias?.run(symbols.get(name)?.at));
        let platform = at(PLATFORM_CELL).and_then(|cell| self.word(cell));
        Ok(Module {
            file: mapping.name.clone(),
            findings,
            load_bias: bias.map(|b| b.to_string()),
            state: self.state(platform, at(STARTUP_STATE), at(SHARED_READ_ONLY_HEAP)),
            platform: platform.filter(|p| *p != 0).and_then(|object| self.class_of(RunAddr(object))),
        })
    }

    /// The file behind a mapping: by the kernel's own link where we may follow it, else by its name as the process sees
    /// it, else by an open descriptor (a file that has no name any more, such as Relink's private copies).
    fn file_of(&self, mapping: &Mapping) -> Result<memmap2::Mmap, String> {
        let pid = self.pid;
        let link = format!("/proc/{pid}/map_files/{:x}-{:x}", mapping.start.0, mapping.end.0);
        let name = mapping.name.to_string_lossy();
        let inside = format!("/proc/{pid}/root{name}");
        let named = (!name.ends_with(" (deleted)")).then_some(inside);
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let same = |path: &Path| std::fs::metadata(path).is_ok_and(|m| m.ino() == mapping.inode);
        let by_descriptor = || descriptors.map(|d| d.path()).find(|path| same(path));
        map_file(Path::new(&link))
            .or_else(|first| named.map_or(Err(first), |path| map_file(Path::new(&path))))
            .or_else(|error| by_descriptor().map_or(Err(error), |path| map_file(&path)))
            .map_err(|e| e.to_string())
    }

    fn state(
        &self,
        platform: Option<u64>,
        startup: Option<RunAddr>,
        isolate: Option<RunAddr>,
    ) -> Option<Fact<State>> {
        if let Some(state) = startup.and_then(|at| self.word(at)).and_then(startup_state) {
            return Some(Fact::new(state, "v8_startup_state_ in the memory of the process"));
        }
        let isolate = isolate.and_then(|at| self.word(at));
        let (state, how) = match (platform?, isolate) {
            (0, _) => (State::NoPlatform, "v8::internal::V8::platform_ is null"),
            (_, Some(0)) => (
                State::NoIsolate,
                "v8::internal::V8::platform_ is set, SoleReadOnlyHeap::shared_ro_heap_ is null",
            ),
            (_, Some(_)) => (
                State::Initialised,
                "v8::internal::V8::platform_ and SoleReadOnlyHeap::shared_ro_heap_ are set",
            ),
            (_, None) => (State::PlatformSet, "v8::internal::V8::platform_ is set"),
        };
        Some(Fact::new(state, how))
    }

    /// The word at `at`, if it can be read.
    fn word(&self, at: RunAddr) -> Option<u64> {
        let mut bytes = [0; 8];
        self.memory.as_ref().ok()?.read_exact_at(&mut bytes, at.0).ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    /// The class of the object at `object`: by its type information (Itanium C++ ABI, section 2.9.4), or, where it was
    /// compiled without, by the symbol of its vtable.
    fn class_of(&self, object: RunAddr) -> Option<Fact<String>> {
        let vtable = self.word(object).filter(|v| *v > PREFIX)?;
        let by_type =
            self.type_name(vtable).map(|name| Fact::new(name, "the type information of the platform object"));
        let symbol = || self.vtable_symbol(RunAddr(vtable - PREFIX));
        by_type.or_else(|| Some(Fact::new(symbol()?, "the symbol of the platform object's vtable")))
    }

    fn type_name(&self, vtable: u64) -> Option<String> {
        let info = self.word(RunAddr(vtable - 8)).filter(|i| *i != 0)?;
        let name = self.word(RunAddr(info.checked_add(8)?))?;
        let mut bytes = [0; 192];
        let read = self.memory.as_ref().ok()?.read_at(&mut bytes, name).ok()?;
        let end = memchr::memchr(0, &bytes[..read])?;
        class_name(std::str::from_utf8(&bytes[..end]).ok()?)
    }

    fn vtable_symbol(&self, at: RunAddr) -> Option<String> {
        let mapping = self.maps.at(at).filter(|m| m.inode != 0)?;
        let bytes = self.file_of(mapping).ok()?;
        let file = FileImage::parse(&bytes, architecture(&bytes)).ok()?;
        // Pages on the border of two segments are mapped twice; code borders on no other code.
        let same_file =
            |m: &&Mapping| m.protection.execute && (m.inode, &m.name) == (mapping.inode, &mapping.name);
        let link = load_bias(&file, self.maps.0.iter().find(same_file)?)?.link(at);
        let symbol = named_in_dynsym(&file, link).or_else(|| named_in_symtab(&file, link))?;
        class_name(symbol.strip_prefix("_ZTV")?)
    }
}

/// Words in front of a vtable's first slot, in bytes (Itanium C++ ABI, section 2.5.2).
const PREFIX: u64 = 16;

/// `V8StartupState` (src/init/v8.cc, the same from V8 10.1 to 14): an `int`.
fn startup_state(word: u64) -> Option<State> {
    match word as u32 {
        0 => Some(State::NoPlatform),
        1 => Some(State::PlatformSet),
        2 | 3 => Some(State::NoIsolate),
        4 => Some(State::Initialised),
        5..=8 => Some(State::Disposed),
        _ => None,
    }
}

/// Run-time minus link-time addresses, by the segment of code that the mapping shows.
fn load_bias(file: &FileImage, mapping: &Mapping) -> Option<LoadBias> {
    const PAGE: u64 = 0xfff;
    let shows = |h: &&elf::ProgramHeader64<LE>| {
        let start = h.p_offset.get(LE);
        h.p_type.get(LE) == elf::PT_LOAD
            && (start & !PAGE..start.saturating_add(h.p_filesz.get(LE))).contains(&mapping.offset)
            && h.p_flags.get(LE) & elf::PF_X != 0
    };
    let header = file.image.headers().iter().find(shows)?;
    let linked = header.p_vaddr.get(LE).wrapping_add(mapping.offset).wrapping_sub(header.p_offset.get(LE));
    Some(LoadBias(mapping.start.0.wrapping_sub(linked)))
}

fn named_in_dynsym(file: &FileImage, at: LinkAddr) -> Option<String> {
    let dynamic = Dynamic::parse(&file.image).ok()?;
    let table = SymbolTable::parse(&file.image, &dynamic).ok()?;
    let mut all = table.each_definition().map_while(Result::ok);
    all.find(|s| s.value == at && s.name.starts_with("_ZTV")).map(|s| s.name.to_owned())
}

fn named_in_symtab(file: &FileImage, at: LinkAddr) -> Option<String> {
    let header = elf::FileHeader64::<LE>::parse(file.bytes).ok()?;
    let sections = header.sections(LE, file.bytes).ok()?;
    let table = sections.symbols(LE, file.bytes, elf::SHT_SYMTAB).ok()?;
    let here = table.iter().filter(|s| s.st_value(LE) == at.0).take(64);
    let mut names = here.filter_map(|s| std::str::from_utf8(s.name(LE, table.strings()).ok()?).ok());
    names.find(|n| n.starts_with("_ZTV")).map(str::to_owned)
}

/// A class as in the source, from its mangled form such as `N4node12NodePlatformE`.
fn class_name(mangled: &str) -> Option<String> {
    cpp_demangle::Symbol::new(format!("_Z{mangled}")).ok()?.demangle().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_shown_as_in_the_source() {
        assert_eq!(class_name("N4node12NodePlatformE").as_deref(), Some("node::NodePlatform"));
        assert_eq!(class_name("8Platform").as_deref(), Some("Platform"));
        assert_eq!(class_name("no mangled name"), None);
    }

    #[test]
    fn this_process_has_no_v8() {
        let process = Process::open(std::process::id()).expect("proc is mounted");
        assert_eq!(process.memory_error(), None);
        let (modules, _) = process.modules();
        assert!(modules.is_empty(), "{modules:?}");
    }
}
