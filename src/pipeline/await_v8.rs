//! Waiting for the host's V8 without anything else.

use super::{ask, bind, ready_cells, wait_for_provider, SharedReport};
use crate::abi::line::Bridges;
use crate::config::Config;
use crate::error::Error;
use crate::host::{Exports, Provider};
use std::time::{Duration, Instant};

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
    const PAUSE: Duration = Duration::from_millis(5);
    let start = Instant::now();
    let ask = ask(config, bridges);
    wait_for_provider(config.wait, ask.provider, wanted)?;
    if !wanted() {
        return Ok(false);
    }
    let mut ready = None;
    let look = |exports: &Exports, provider: &Provider| {
        let cells = ready_cells(exports, provider)?;
        while !cells.ready() && wanted() {
            if start.elapsed() >= config.wait {
                let waited_ms = config.wait.as_millis() as u64;
                return Err(Error::NotReady { provider: provider.module.name(), waited_ms });
            }
            std::thread::sleep(PAUSE);
        }
        ready = Some(cells.ready());
        // Goes no further; never told.
        Err(Error::HostEnded)
    };
    match bind(&ask, report, look, |_| Ok(())) {
        Err(error) => ready.ok_or(error),
        Ok(()) => Err(Error::Internal("a wait has bound a guest".into())),
    }
}
