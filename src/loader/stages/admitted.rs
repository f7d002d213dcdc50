//! The second stage: the ABI gate has admitted the guest to the host.

use super::planned::{Planned, Resolver, Stock};
use super::{Companions, Host, HostProcess, Observed, Terms};
use relink_abi::error::Error;
use relink_abi::gate;
use relink_abi::line;
use relink_abi::probe::standing::{Pair, Settings, Standing};
use std::sync::Arc;

/// A host and a guest that fit.
pub struct Admitted<'a, H> {
    pub(super) observed: Observed<'a, H>,
    pub(super) gate: gate::Admitted,
}

impl<'a, H: Host<'a>> Admitted<'a, H> {
    /// What was observed.
    pub fn observed(&self) -> &Observed<'a, H> {
        &self.observed
    }

    /// Plans every slot of the guest, of its libraries and of what comes with it.
    ///
    /// # Errors
    /// Symbols are missing, a slot has no rule, or what has to come with the guest is not there.
    pub fn plan(self, terms: &Terms<'a>) -> Result<Planned<'a, H>, Error> {
        let Self { mut observed, gate } = self;
        let needs = observed.parts[0].needs(&observed.note)?;
        let line = line::of_host(observed.host.fingerprint())?;
        if terms.shared {
            gate::shareable(&gate, line, observed.host.fingerprint())?;
        }
        let (note, host) = (&observed.note, observed.host.fingerprint());
        let companions = match terms.bridges {
            Some(bridges) => Companions::of(note, host, bridges, terms, observed.inputs)?,
            None => Companions::at_hand(note, host, Some(line), terms, observed.inputs)?,
        };
        let stock = Stock::of(&mut observed, needs, Some(line), companions, terms)?;
        let plan = Resolver { observed: &observed, stock: &stock }.resolve()?;
        Ok(Planned { observed, gate: Arc::new(gate), line, stock, plan })
    }
}

impl<'a> Admitted<'a, HostProcess<'a>> {
    /// Observes the host's V8 in a process of its own, once for each pair of builds.
    ///
    /// # Errors
    /// It is not as the guest's inlined code believes.
    pub fn probe(&self, settings: &Settings) -> Result<Standing, Error> {
        let observed = &self.observed;
        let guest = observed.parts[0].build();
        let pair = Pair {
            host: observed.host.path(),
            image: observed.host.image(),
            numbers: self.gate.numbers(),
            guest: &guest,
            must: self.gate.to_be_seen(),
        };
        pair.standing(settings)
    }
}
