//! What Relink says: one line on standard error when it must, a report when it is asked for one.

mod text;

pub use text::render;

use crate::outcome::Outcome;
use relink_abi::probe::standing::Standing;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The report of one attachment, written as JSON to the file named by `RELINK_REPORT`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Relink's version.
    pub relink: String,
    /// The process.
    pub pid: u32,
    /// The host's program.
    pub host: String,
    /// The module that provides V8.
    pub provider: Option<String>,
    /// Why this one.
    pub provider_because: Option<String>,
    /// The version that this V8 tells, with the embedder's suffix.
    pub host_v8: Option<String>,
    /// The guest's file.
    pub guest: String,
    /// Node's version, from the guest's note.
    pub node: Option<String>,
    /// The V8 that the guest was compiled for.
    pub guest_v8: Option<String>,
    /// The guest's libraries, of which it has copies of its own.
    pub libraries: Vec<String>,
    /// The gate's verdict: "identical" or "bridgeable" and the profile, or nothing when it was not reached or refused.
    pub verdict: Option<String>,
    /// Whether the host's V8 was seen to be as the guest's inlined code believes.
    #[serde(default)]
    pub probe: Option<Standing>,
    /// Slots bound, by relocation kind.
    pub slots: BTreeMap<String, usize>,
    /// Slots bound, by reason.
    pub reasons: BTreeMap<String, usize>,
    /// Slots left to ld.so.
    pub left_to_the_linker: usize,
    /// Pages written.
    pub pages: usize,
    /// Adapters in force.
    pub adapters: Vec<AdapterUse>,
    /// What every slot held once all were bound; with `RELINK_AUDIT=1`.
    pub audit: Option<Audit>,
    /// Functions of the guest's slots as read back from memory, with the module whose code they are.
    pub witnesses: Vec<Witness>,
    /// All modules of the process that define V8, looked for after the guest was loaded.
    pub v8_modules: Vec<String>,
    /// Isolates of the guest, as addresses.
    pub isolates: Vec<String>,
    /// V8 flags that were set for the whole process.
    pub flags_set: Vec<String>,
    /// V8 flags that were dropped because the host's V8 does not know them.
    pub flags_dropped: Vec<String>,
    /// What the guest cannot do on this host's V8.
    #[serde(default)]
    pub degraded: Vec<String>,
    /// Other notable things.
    pub notes: Vec<String>,
    /// Time per stage in microseconds, in order.
    pub stages: Vec<StageTime>,
    /// How the guest ended; nothing when it was not started.
    pub outcome: Option<Outcome>,
    /// Why Node was not brought in: code and message.
    pub error: Option<Failure>,
}

/// What the slots of the guest, its libraries and the bridge held after they had been bound, before any of their code ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Slots that held what the plan says.
    pub right: usize,
    /// The others: the plan's line, what was expected and what was found.
    pub wrong: Vec<String>,
    /// Slots left to ld.so: the module that each points into (or "null", or "nowhere"), with the symbols.
    pub left: BTreeMap<String, BTreeSet<String>>,
    /// Slots of thread-local variables, which hold no addresses.
    pub thread_local: usize,
}

/// One adapter in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdapterUse {
    /// The V8 symbol.
    pub symbol: String,
    /// The function in its place.
    pub stands_in: String,
    /// Why.
    pub reason: String,
}

/// One function of V8 that the guest calls, and where that call really goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// The symbol.
    pub symbol: String,
    /// Run-time address held by the guest's slot.
    pub address: String,
    /// The file whose text that address lies in.
    pub module: String,
    /// That mapping's protection.
    pub protection: String,
}

/// One stage's time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageTime {
    /// The stage.
    pub stage: String,
    /// Microseconds.
    pub us: u64,
}

/// Why Node was not brought in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The stable code.
    pub code: String,
    /// One line.
    pub message: String,
}

impl Report {
    /// Adds `us` microseconds spent in `stage`.
    pub fn spent(&mut self, stage: &str, us: u64) {
        self.stages.push(StageTime { stage: stage.into(), us });
    }
}
