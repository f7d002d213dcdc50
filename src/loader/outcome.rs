//! How a guest ended.

use serde::{Deserialize, Serialize};

/// How the guest ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// finished, exit, uncaught, stopped, init-failed, early, signal, abort.
    pub how: String,
    /// What node's process would have exited with.
    pub exit_code: i32,
    /// Detail, if any.
    pub message: String,
}
