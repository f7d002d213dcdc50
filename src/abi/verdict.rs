//! What the gate decides.

use super::compare::Change;

/// The gate's decision.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    /// The headers of both sides compile into the same numbers.
    Identical {
        /// The V8 versions of which that was seen.
        abi: String,
    },
    /// They differ where code of ours stands between.
    Bridgeable {
        /// What differs.
        differences: Vec<Change>,
        /// What stands between.
        adapters: Vec<&'static str>,
        /// What the guest cannot do for it.
        degraded: Vec<&'static str>,
    },
    /// They differ, or are not known not to.
    Refused {
        /// Each fact with both values.
        differences: Vec<Change>,
        /// What would cure it.
        remedies: Vec<String>,
    },
}

impl Verdict {
    /// The verdict in a word, as JSON has it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Identical { .. } => "identical",
            Self::Bridgeable { .. } => "bridgeable",
            Self::Refused { .. } => "refused",
        }
    }
}
