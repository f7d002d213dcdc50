//! Waiting for the host's V8 without anything else.

use super::{not_ready, prepare, ready_cells, wait_for_provider, SharedReport, Wanted};
use crate::config::Config;
use crate::stages::Inputs;
use relink_abi::error::Error;
use relink_abi::line::Bridges;
use std::time::Instant;

/// Waits until [`super::run`] would find a V8 that fits and is initialised; changes nothing. At most `config.wait`, and only as long as
/// `wanted` says so, which is asked every few milliseconds. `false`: it no longer is.
///
/// # Errors
/// No V8 came, it was not initialised in time, or it does not fit.
pub fn await_v8(
    config: &Config,
    bridges: Bridges,
    report: &SharedReport,
    wanted: &dyn Fn() -> bool,
) -> Result<bool, Error> {
    let start = Instant::now();
    let guest = Wanted::by(config, bridges);
    wait_for_provider(config.wait, guest.provider, wanted)?;
    if !wanted() {
        return Ok(false);
    }
    let inputs = Inputs::default();
    let verified = prepare(&inputs, &guest, report)?;
    let left = config.wait.saturating_sub(start.elapsed());
    let is_ready = ready_cells(&verified)?.wait(left, wanted);
    if !is_ready && wanted() {
        return Err(not_ready(verified.host().provider(), config.wait));
    }
    Ok(is_ready)
}
