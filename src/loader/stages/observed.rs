//! The first stage: a host with a V8, and a guest's files, both read.

use super::admitted::Admitted;
use super::parts::{Files, Part};
use super::planned::{Resolver, Stock};
use super::{Companions, Host, Inputs, Terms};
use crate::host::Exports;
use relink_abi::adapters::{Adapter, When};
use relink_abi::error::Error;
use relink_abi::gate;
use relink_abi::line;
use relink_abi::note::GuestNote;
use relink_abi::remedy;
use relink_elf::Dynamic;

/// A host and a guest.
pub struct Observed<'a, H> {
    pub(super) inputs: &'a Inputs<'a>,
    pub(super) files: &'a Files,
    /// The guest and its libraries.
    pub(super) parts: Vec<Part<'a, 'a>>,
    pub(super) note: GuestNote,
    pub(super) host: H,
    pub(super) exports: Exports<'a, 'a>,
}

impl<'a, H: Host<'a>> Observed<'a, H> {
    /// Reads what the guest's files need, and what the host defines.
    ///
    /// # Errors
    /// One of them is malformed, or nothing tells what the guest was compiled for.
    pub fn of(inputs: &'a Inputs<'a>, files: &'a Files, host: H) -> Result<Self, Error> {
        let parts = Part::read_all(inputs.images(files.images()?))?;
        let note = parts[0].note()?;
        let exports = |image, bias| Exports::new(image, &Dynamic::parse(image)?, bias);
        let others = host.parts().iter().map(|part| exports(part.image, part.bias)).collect::<Result<_, _>>();
        let exports = others
            .and_then(|others| Ok(exports(host.image(), host.bias())?.with(others)))
            .map_err(|source| host.unreadable(source))?;
        Ok(Self { inputs, files, parts, note, host, exports })
    }

    /// What the guest was compiled for.
    pub fn note(&self) -> &GuestNote {
        &self.note
    }

    /// The host.
    pub fn host(&self) -> &H {
        &self.host
    }

    /// The guest and its libraries.
    pub fn parts(&self) -> &[Part<'a, 'a>] {
        &self.parts
    }

    /// What the pair rests on without having been seen itself.
    pub fn warnings(&self) -> Vec<String> {
        remedy::warnings(&gate::compiled_for(&self.note), self.host.fingerprint())
    }

    /// Admits the guest to the host. A guest for another V8 lacks symbols as a rule: what the user must hear is the version, so
    /// this comes before any plan.
    ///
    /// # Errors
    /// The two do not fit.
    pub fn admit(self) -> Result<Admitted<'a, H>, Error> {
        let gate = gate::admit(&self.note, self.host.fingerprint())?;
        Ok(Admitted { observed: self, gate })
    }

    /// What would stand in for symbols that the host lacks, whether the gate admits the pair or not: for `relink check`, which
    /// names everything that is wrong. The slots are resolved as for a plan, and no plan is handed out.
    ///
    /// # Errors
    /// No plan could be made.
    pub fn survey(mut self, terms: &Terms<'a>) -> Result<Vec<&'static Adapter>, Error> {
        let line = self.host.fingerprint().version.and_then(line::of_v8);
        let companions = Companions::at_hand(&self.note, self.host.fingerprint(), line, terms, self.inputs)?;
        let needs = self.parts[0].needs(&self.note)?;
        let stock = Stock::of(&mut self, needs, line, companions, terms)?;
        let plan = Resolver { observed: &self, stock: &stock }.resolve()?;
        let missing = plan.adapters().filter(|adapter| adapter.when == When::Missing);
        Ok(missing.collect())
    }
}
