//! What the stages put into the report.

use super::Part;
use crate::host::Provider;
use crate::plan::VerifiedPlan;
use crate::plan::{Binding, StagedImage, Why};
use crate::report::{AdapterUse, Report};
use relink_abi::adapters;
use relink_abi::note::GuestNote;

impl Report {
    /// The provider was found.
    pub(crate) fn found(&mut self, provider: &Provider, because: String) {
        self.provider_because = Some(because);
        self.host_v8 = Some(provider.fingerprint.version_text());
        self.provider = Some(provider.module.path.display().to_string());
    }

    /// The guest was read.
    pub(crate) fn read(&mut self, note: &GuestNote) {
        self.node = Some(note.node.clone());
        self.guest_v8 = Some(note.v8.clone());
    }

    /// The plan passed the gate. The bridge's slots are our own affair and are not counted.
    pub(crate) fn planned(&mut self, verified: &VerifiedPlan, parts: &[Part]) {
        let libraries = parts.iter().filter(|p| matches!(p.image, StagedImage::Library(_)));
        self.libraries = libraries.map(|p| p.path.display().to_string()).collect();
        let admitted = verified.admitted();
        self.verdict = Some(format!("{}: {}", admitted.verdict().word(), admitted.profile().name));
        self.left_to_the_linker = verified.plan().left_to_the_linker;
        let of_guest = || verified.plan().bindings.iter().filter(|b| b.image == StagedImage::Guest);
        of_guest().for_each(|binding| self.count(binding));
        let used = of_guest().filter_map(|b| match b.why {
            Why::Adapter(adapter) => Some(adapter),
            _ => None,
        });
        let lost =
            adapters::lost(used).into_iter().filter(|lost| self.degraded.iter().all(|told| told != lost));
        let lost: Vec<_> = lost.map(str::to_owned).collect();
        self.degraded.extend(lost);
    }

    /// What scripts of the guest are told of it.
    pub(crate) fn about(&self) -> serde_json::Value {
        serde_json::json!({
            "version": self.relink,
            "host": { "v8": self.host_v8, "provider": self.provider },
            "guest": { "node": self.node, "v8": self.guest_v8, "file": self.guest },
            "verdict": self.verdict,
            "degraded": self.degraded,
        })
    }

    fn count(&mut self, binding: &Binding) {
        *self.slots.entry(format!("{:?}", binding.slot.kind)).or_default() += 1;
        let why = match binding.why {
            Why::HostsV8 => "host's V8",
            Why::Adapter(_) => "adapter",
            Why::GuestsNode => "guest's Node",
            Why::Guarded(_) => "guard",
            Why::Own => "its own",
            Why::DeadV8 => "its own V8, dead",
            Why::Closure => "its libraries",
            Why::WeakUndefined => "weak, undefined",
        };
        *self.reasons.entry(why.into()).or_default() += 1;
        if let Why::Adapter(adapter) = binding.why {
            let used = AdapterUse {
                symbol: adapter.symbol.into(),
                stands_in: adapter.stands_in.into(),
                reason: adapter.reason.into(),
            };
            if !self.adapters.contains(&used) {
                self.adapters.push(used);
            }
        }
    }
}
