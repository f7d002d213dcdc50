//! Everything that can go wrong on the way in, with codes that scripts may rely on.
//!
//! A code is never used again for another meaning. docs/DIAGNOSTICS.md has one entry per code, with the remedy.

use relink_elf::address::{LinkAddr, RunAddr};
use relink_elf::file::FileError;
use relink_elf::ElfError;
use std::io;
use std::path::PathBuf;

/// Why the guest was not brought in. The message is one line: what, where, and what would cure it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A `RELINK_*` variable or an option holds something unusable.
    #[error("{name}: {why}")]
    Setting {
        /// The variable or option.
        name: &'static str,
        /// What is wrong with its value.
        why: String,
    },
    /// The script to run can't be read.
    #[error("script \"{}\": {source}; RELINK_SCRIPT must name a readable JavaScript file", path.display())]
    Script {
        /// The script.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// `/proc` can't be read.
    #[error("cannot read {what}: {source}; Relink needs a mounted /proc")]
    Proc {
        /// The file.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },

    /// The report can't be written.
    #[error("report \"{}\": {source}; RELINK_REPORT must name a file in a folder that can be written", path.display())]
    Report {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },

    /// No module of the process provides V8.
    #[error("no V8: none of {modules} modules looked at defines {marker} in its dynamic symbol table")]
    NoProvider {
        /// How many modules were looked at.
        modules: usize,
        /// The symbol looked for.
        marker: &'static str,
    },
    /// Several modules provide V8 and nothing says which one to take.
    #[error("several modules provide V8 ({}); name one in RELINK_PROVIDER", names.join(", "))]
    SeveralProviders {
        /// Their paths.
        names: Vec<String>,
    },
    /// The host's V8 was not initialised in time.
    #[error("the V8 of {provider} was not ready after {waited_ms} ms (no platform or no isolate); raise RELINK_WAIT_MS or start the guest later")]
    NotReady {
        /// The module.
        provider: String,
        /// How long was waited, in milliseconds.
        waited_ms: u64,
    },
    /// The host called exit() before the guest was started.
    #[error(
        "the host ended before Node was brought in (its V8 was not ready yet, or the time was too short)"
    )]
    HostEnded,
    /// The process may not reserve the addresses that a guest takes.
    #[error("the process cannot reserve the {mib} MiB of addresses that Node and its V8 heap take ({source}); raise the limit of its address space (ulimit -v, RLIMIT_AS)")]
    NoRoom {
        /// How many MiB.
        mib: usize,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The module that provides V8 can't be read.
    #[error("provider \"{}\": {source}", path.display())]
    ProviderImage {
        /// The module.
        path: PathBuf,
        /// What is wrong with it.
        source: ElfError,
    },
    /// A fact about the host's V8 that is needed can't be found.
    #[error("provider \"{}\": {what} cannot be determined ({symbol} is not among its symbols); this V8 is unknown to Relink", path.display())]
    UnknownFact {
        /// The module.
        path: PathBuf,
        /// The fact.
        what: &'static str,
        /// The symbol that would tell.
        symbol: &'static str,
    },

    /// The guest's file can't be opened.
    #[error("guest \"{}\": {source}; `relink guest path` prints where the built guest lies", path.display())]
    GuestFile {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The guest's file is not a usable ELF shared object.
    #[error("guest \"{}\": {source}; `relink guest build` makes one that fits, `relink guest path` prints where it is", path.display())]
    GuestImage {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ElfError,
    },
    /// The guest does not say which V8 it was compiled for.
    #[error("guest \"{}\": no Relink note ({why}) and no V8 of its own, so the V8 it was compiled for is unknown; build one with `relink guest build`", path.display())]
    NoNote {
        /// The file.
        path: PathBuf,
        /// What was found instead.
        why: String,
    },
    /// The guest brings a V8 of its own, of a version that Relink knows too little of.
    #[error("guest \"{}\" has a V8 of its own ({v8}), and Relink does not know which of its names Node's code means the host's V8 by; build a guest without V8: `relink guest build`", path.display())]
    GuestHasV8 {
        /// The file.
        path: PathBuf,
        /// The version of that V8.
        v8: String,
    },
    /// A library that the guest needs is nowhere.
    #[error("guest: {needed_by} needs {name}, which is neither beside it nor where ld.so looks for libraries; install it, or put it beside the guest")]
    MissingLibrary {
        /// Its `DT_NEEDED` name.
        name: String,
        /// The file that names it.
        needed_by: String,
    },
    /// An add-on's file is not a usable ELF shared object.
    #[error("add-on \"{}\": {source}; install it anew", path.display())]
    AddOnImage {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ElfError,
    },

    /// The guest was compiled for another V8 ABI than the host's.
    #[error("refused: {}", differences.join("; "))]
    Refused {
        /// Each fact that differs, with what would cure it.
        differences: Vec<String>,
    },
    /// Guest and host fit, but the bridge does not serve their V8.
    #[error("refused: Relink's bridge between Node and the host does not serve a guest for V8 {guest} on V8 {host} yet, although the catalogue knows nothing against the pair; docs/LIMITATIONS.md lists the lines that are served")]
    NoBridge {
        /// The V8 that the guest was compiled for.
        guest: String,
        /// The host's V8.
        host: String,
    },
    /// The live probe saw the guest's inlined code and the host's V8 disagree.
    #[error("refused: the host's V8 in \"{}\" is not as the guest's inlined code believes, although its version says so: {}; it is a patched build: build a guest with its own headers, relink guest build --v8-headers DIR", host.display(), differ.join("; "))]
    ProbeDiffers {
        /// The host's file.
        host: PathBuf,
        /// Each check that differs, with both values.
        differ: Vec<String>,
    },
    /// The host's V8 cannot be observed, and RELINK_PROBE asks for it.
    #[error("refused: RELINK_PROBE is always, and the host's V8 in \"{}\" cannot be observed: {why}; with RELINK_PROBE=auto such a host is judged by the catalogue alone", host.display())]
    NotProbed {
        /// The host's file.
        host: PathBuf,
        /// Why.
        why: String,
    },
    /// What nothing but the live probe tells of the host's V8 was not seen.
    #[error("refused: nothing in \"{}\" tells the {what} of its V8, and the live probe did not see it ({why}); allow the probe (RELINK_PROBE=auto), or take a host whose V8 has data for debuggers (symbols v8dbg_)", host.display())]
    Unseen {
        /// The host's file.
        host: PathBuf,
        /// The check that has to be made.
        what: &'static str,
        /// What came of the probe.
        why: String,
    },
    /// Node cannot be in an isolate of this host's.
    #[error("Node in an isolate of the host's is there for V8 10.2 with a guest compiled for it, and the host's V8 is {host}; take a guest with an isolate of its own (RELINK_OWN_THREAD, RELINK_TICKED)")]
    NoSharing {
        /// The host's version.
        host: String,
    },
    /// The adapters for the pair are not there.
    #[error("the adapters for a guest for V8 {guest} on V8 {host} are not there; run `relink adapter build {name}`, or name their folder in RELINK_ADAPTERS{}", .no_cache.as_ref().map(|why| format!(" ({why})")).unwrap_or_default())]
    NoUnit {
        /// The V8 that the guest was compiled for.
        guest: String,
        /// The host's V8.
        host: String,
        /// The unit's name.
        name: String,
        /// Why there is no folder where the kit could have put them, if so.
        no_cache: Option<String>,
    },
    /// The host's V8 lacks symbols that the guest needs.
    #[error("refused: the host's V8 in {provider} lacks {} symbols that the guest needs and no adapter stands in for: {}", names.len(), shorten(names))]
    MissingSymbols {
        /// The module that was searched.
        provider: String,
        /// The mangled names.
        names: Vec<String>,
    },
    /// Names that neither the guest, nor its libraries, nor a run-time library have.
    #[error("refused: {} symbols that the guest or its libraries need are in none of these libraries: {}", names.len(), shorten(names))]
    Unresolved {
        /// The names, with the library that each is asked of.
        names: Vec<String>,
    },
    /// Names that an add-on needs and that nobody has.
    #[error("add-on \"{}\": {} names that it needs are neither in the host's V8 nor in the guest: {}; it was built for another Node", path.display(), names.len(), shorten(names))]
    AddOnNeeds {
        /// The file.
        path: PathBuf,
        /// The names.
        names: Vec<String>,
    },
    /// An add-on that uses V8 itself, in a neutral guest on a V8 that it was not compiled for.
    #[error("add-on \"{}\" uses V8 itself, for example {symbol}, and has the numbers of another V8 compiled in than the host's; only add-ons of Node-API fit here", path.display())]
    AddOnOfOtherV8 {
        /// The file.
        path: PathBuf,
        /// One of V8's names in it.
        symbol: String,
    },
    /// A slot of a kind that cannot be bound.
    #[error("refused: the slot at {offset} for {symbol} is of kind {kind}, which has no binding rule")]
    UnsupportedSlot {
        /// Link-time address of the slot in its image.
        offset: LinkAddr,
        /// The symbol.
        symbol: String,
        /// The relocation kind.
        kind: String,
    },

    /// The guest's private copy could not be made or loaded.
    #[error("cannot stage {what}: {why}")]
    Stage {
        /// Which image.
        what: String,
        /// The reason, from the system or from ld.so.
        why: String,
    },
    /// A slot did not hold what its file says, so the plan does not fit the loaded image. Nothing was changed.
    #[error("the slot at {slot} holds {found:#x} instead of {expected:#x}: the loaded image is not the one that was planned for; nothing was changed")]
    UnexpectedSlot {
        /// Run-time address of the slot.
        slot: RunAddr,
        /// What it holds.
        found: u64,
        /// What it should hold before binding.
        expected: u64,
    },
    /// Writing slots failed and every change was taken back.
    #[error("writing slots failed at {at}: {why}; everything was put back")]
    RolledBack {
        /// Run-time address of the page or slot.
        at: RunAddr,
        /// The reason.
        why: String,
    },
    /// Writing slots failed, and so did taking the changes back. The image is left loaded and never entered.
    #[error("writing slots failed at {at}: {why}; putting it back failed too ({rollback}): the guest's image stays loaded and is never entered")]
    RollbackFailed {
        /// Run-time address of the page or slot.
        at: RunAddr,
        /// The reason of the first failure.
        why: String,
        /// The reason of the second.
        rollback: String,
    },

    /// The bridge between Node and the host's platform refused.
    #[error("the platform bridge could not be attached (code {code}): {why}")]
    Bridge {
        /// Its own code.
        code: i32,
        /// What the code means.
        why: &'static str,
    },
    /// A symbol that Relink itself needs is missing from an image.
    #[error("{image} does not export {symbol}")]
    MissingEntry {
        /// The image.
        image: String,
        /// The symbol.
        symbol: String,
    },
    /// Node could not be started.
    #[error("Node did not start: {0}")]
    NodeStart(String),
    /// The guest can't be unloaded.
    #[error("{threads} threads of the guest are still alive: it stays loaded")]
    StillRuns {
        /// How many.
        threads: usize,
    },
    /// A runtime cannot be beside those that run.
    #[error("other runtimes are there, and this one cannot be beside them: {why}; ask for the same, or destroy them first")]
    Beside {
        /// What differs.
        why: String,
    },
    /// Node has ended in an isolate of the host's.
    #[error("the heap of the host's isolate still refers to the guest's code: that stays loaded")]
    StaysShared,
    /// The core that loads `librelink_loader.so` is not the one that its interface is of.
    #[error("the process has no core for the loader interface, or one of another version: {} {} missing; load MetaCall's core 0.9 with its symbols visible", names.join(", "), if names.len() == 1 { "is" } else { "are" })]
    LoaderCore {
        /// The functions that were not found.
        names: Vec<String>,
    },
    /// Unloading the guest does not come to an end.
    #[error("the guest cannot be unloaded: {why}; it stays loaded")]
    Unload {
        /// What holds it.
        why: String,
    },
    /// A panic of Relink's own code was caught.
    #[error("internal error: {0}; please report it")]
    Internal(String),
}

impl From<FileError> for Error {
    fn from(error: FileError) -> Self {
        Self::GuestFile { path: error.path, source: error.source }
    }
}

impl Error {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Setting { .. } => "E0101",
            Self::Script { .. } => "E0102",
            Self::Proc { .. } => "E0103",
            Self::Report { .. } => "E0104",
            Self::NoProvider { .. } => "E0201",
            Self::SeveralProviders { .. } => "E0202",
            Self::NotReady { .. } => "E0203",
            Self::ProviderImage { .. } => "E0204",
            Self::UnknownFact { .. } => "E0205",
            Self::HostEnded => "E0206",
            Self::GuestFile { .. } => "E0301",
            Self::GuestImage { source: ElfError::NotElf { .. }, .. } => "E0302",
            Self::GuestImage { source: ElfError::Unsuitable { .. }, .. } => "E0303",
            Self::GuestImage { source: ElfError::Truncated { .. }, .. } => "E0304",
            Self::GuestImage { .. } => "E0305",
            Self::NoNote { .. } => "E0306",
            Self::GuestHasV8 { .. } => "E0307",
            Self::MissingLibrary { .. } => "E0308",
            Self::AddOnImage { .. } => "E0309",
            Self::Refused { .. } => "E0401",
            Self::MissingSymbols { .. } => "E0402",
            Self::UnsupportedSlot { .. } => "E0403",
            Self::Unresolved { .. } => "E0404",
            Self::AddOnNeeds { .. } => "E0405",
            Self::NoBridge { .. } => "E0406",
            Self::NoUnit { .. } => "E0407",
            Self::AddOnOfOtherV8 { .. } => "E0408",
            Self::ProbeDiffers { .. } => "E0410",
            Self::NotProbed { .. } => "E0411",
            Self::Unseen { .. } => "E0413",
            Self::NoSharing { .. } => "E0412",
            Self::Stage { .. } => "E0501",
            Self::UnexpectedSlot { .. } => "E0502",
            Self::RolledBack { .. } => "E0503",
            Self::RollbackFailed { .. } => "E0504",
            Self::NoRoom { .. } => "E0505",
            Self::Bridge { .. } => "E0601",
            Self::MissingEntry { .. } => "E0602",
            Self::NodeStart(_) => "E0603",
            Self::StillRuns { .. } => "E0604",
            Self::StaysShared => "E0605",
            Self::Unload { .. } => "E0606",
            Self::Beside { .. } => "E0607",
            Self::LoaderCore { .. } => "E0610",
            Self::Internal(_) => "E0901",
        }
    }

    /// The line that a user sees: the code and the message.
    pub fn line(&self) -> String {
        format!("{} {self}", self.code())
    }
}

/// The first few of many names.
fn shorten(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let mut text = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}
