//! Whether what `relink plan` prints for two files is what a run has written.

use crate::error::{KitError, Result};
use relink_loader::plan::BoundSlot;
use relink_loader::report::Audit;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// What is read of what `relink plan --json` prints.
#[derive(Deserialize)]
struct Printed {
    bindings: Vec<Binding>,
}

#[derive(Deserialize)]
struct Binding {
    image: String,
    slot: String,
    symbol: String,
    bound: String,
    why: String,
}

/// The slots that `relink plan` binds for these files.
///
/// # Errors
/// It cannot be run, or refuses the pair.
pub fn planned(relink: &Path, host: &Path, guest: &Path) -> Result<BTreeSet<BoundSlot>> {
    let mut command = Command::new(relink);
    command.args(["plan", "--json", "--host"]).arg(host).arg("--guest").arg(guest);
    let failed = |why: String| KitError::Unsupported { why: format!("`relink plan` has failed: {why}") };
    let output = command.output().map_err(|e| failed(e.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let printed: Printed = serde_json::from_slice(&output.stdout).map_err(|e| failed(e.to_string()))?;
    let slot = |b: Binding| BoundSlot {
        image: b.image,
        slot: b.slot,
        symbol: b.symbol,
        target: b.bound,
        why: b.why,
    };
    Ok(printed.bindings.into_iter().map(slot).collect())
}

/// The slots that a run has written, but for those of the bridge: it is a part of librelink.so and of no plan that is made from files.
pub fn written(audit: &Audit) -> BTreeSet<BoundSlot> {
    audit.slots.iter().filter(|slot| slot.image != "bridge").cloned().collect()
}

/// In how many slots the two differ, and one of them; nothing if they do not.
pub fn difference(planned: &BTreeSet<BoundSlot>, written: &BTreeSet<BoundSlot>) -> Option<String> {
    let text = |slot: Option<&BoundSlot>| match slot {
        Some(slot) => {
            format!("{}+{} {} -> {}: {}", slot.image, slot.slot, slot.symbol, slot.target, slot.why)
        }
        None => "no such slot".to_owned(),
    };
    let first = planned.symmetric_difference(written).next()?;
    let same = |slot: &&BoundSlot| (&slot.image, &slot.slot) == (&first.image, &first.slot);
    let (says, wrote) = (text(planned.iter().find(same)), text(written.iter().find(same)));
    let count = planned.symmetric_difference(written).map(|slot| (&slot.image, &slot.slot));
    let count = count.collect::<BTreeSet<_>>().len();
    Some(format!("{count} slots are not as `relink plan` says, such as {says}; the run wrote {wrote}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(slot: &str, target: &str) -> BoundSlot {
        let [image, symbol, why] = ["guest", "s", "w"].map(str::to_owned);
        BoundSlot { image, slot: slot.into(), symbol, target: target.into(), why }
    }

    #[test]
    fn a_slot_that_leads_elsewhere_or_is_missing_is_told() {
        let planned: BTreeSet<_> = [slot("0x10", "host's V8+0x1"), slot("0x18", "0")].into();
        assert_eq!(difference(&planned, &planned), None);
        let elsewhere = [slot("0x10", "host's V8+0x2"), slot("0x18", "0")].into();
        let told = difference(&planned, &elsewhere).expect("a difference");
        assert!(told.starts_with("1 slots") && told.contains("+0x1:") && told.contains("+0x2:"), "{told}");
        let told = difference(&planned, &[slot("0x18", "0")].into()).expect("a difference");
        assert!(told.ends_with("the run wrote no such slot"), "{told}");
    }
}
