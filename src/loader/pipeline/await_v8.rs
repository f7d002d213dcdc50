//! Waiting for the host's V8 without anything else.

use super::{ask, bind, not_ready, ready_cells, wait_for_provider, SharedReport};
use crate::config::Config;
use crate::host::{Exports, Provider};
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
    let ask = ask(config, bridges);
    wait_for_provider(config.wait, ask.provider, wanted)?;
    if !wanted() {
        return Ok(false);
    }
    let mut ready = None;
    let look = |exports: &Exports, provider: &Provider| {
        let left = config.wait.saturating_sub(start.elapsed());
        let is_ready = ready_cells(exports, provider)?.wait(left, wanted);
        if !is_ready && wanted() {
            return Err(not_ready(provider, config.wait));
        }
        ready = Some(is_ready);
        // Goes no further; never told.
        Err(Error::HostEnded)
    };
    match bind(&ask, report, look, |_| Ok(())) {
        Err(error) => ready.ok_or(error),
        Ok(()) => Err(Error::Internal("a wait has bound a guest".into())),
    }
}
