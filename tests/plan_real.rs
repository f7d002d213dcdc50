//! Layer: planning. The plan of the real guest on both real V8s, as golden text: `tests/snapshots` holds what was looked at
//! and found right. `plan_golden.rs` does the same for small images that are compiled there.

#[path = "support/files.rs"]
mod files;
mod support;

use files::{bytes_of, image_of};
use relink::abi::adapters;
use relink::address::RunAddr;
use relink::guest::Inventory;
use relink::plan::{Guard, Plan, StagedImage, Target, Why};
use relink::stages::{Files, Host, HostFile, Inputs, Observed, Part, Planned, Terms, Units};
use relink::symbol::{owner, Owner};
use std::collections::BTreeMap;
use std::path::Path;
use support::{parts, NEUTRAL_LESS, NEUTRAL_MORE};

const GUARDS: [Guard; 1] = [Guard { symbol: "kill", address: RunAddr(0x9000), keeps: "a test" }];

fn inventory(bytes: &[u8]) -> Inventory<'_> {
    Inventory::read(&image_of(bytes)).expect("an inventory")
}

/// Counts of a plan by kind and by reason, and the adapters by name.
fn summary(plan: &Plan) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut adapters: BTreeMap<&str, usize> = BTreeMap::new();
    for binding in plan.bindings.iter().filter(|b| b.image == StagedImage::Guest) {
        let why = match binding.why {
            Why::Adapter(adapter) => {
                *adapters.entry(adapter.stands_in).or_default() += 1;
                "adapter"
            }
            Why::HostsV8 => "host's V8",
            Why::WeakUndefined => "weak, undefined",
            Why::Guarded(_) => "guard",
            Why::GuestsNode => "guest's Node",
            Why::Own => "its own",
            Why::DeadV8 => "its own V8, dead",
            Why::Closure => "its libraries",
        };
        *counts.entry(format!("{:?} {why}", binding.slot.kind)).or_default() += 1;
    }
    let counts = counts.iter().map(|(what, count)| format!("{count:>4} {what}\n"));
    let adapters = adapters.iter().map(|(name, count)| format!("{count:>4} {name}\n"));
    counts.chain(adapters).collect()
}

/// The plan of a real guest and its libraries for the V8 in this file, by the stages that every command takes.
fn planned_for<'a>(inputs: &'a Inputs<'a>, guest: &Path, host: &Path) -> Planned<'a, HostFile<'a>> {
    let host = HostFile::open(inputs, host).expect("a V8");
    let files = inputs.guest(guest).expect("the guest and its libraries");
    let observed = Observed::of(inputs, files, host).expect("readable");
    let terms = Terms {
        bridges: None,
        units: Units::None,
        adapters: adapters::beside_a_host,
        guards: GUARDS.to_vec(),
        shared: false,
    };
    observed.admit().expect("admitted").plan(&terms).expect("a plan")
}

/// The stock libnode as the guest: what Node's code refers to goes to the host's V8, all other V8 code stays inside.
#[test]
fn the_stock_guest_on_the_official_v8() {
    let files = Files::open(&parts().libv8).expect("the guest and its libraries");
    let images = files.images().expect("images");
    let all = Part::read_all(&images).expect("readable");
    let needs = all[0].needs(&all[0].note().expect("derived")).expect("a known line");
    let v8_less = bytes_of(&parts().guest);
    let undefined: std::collections::BTreeSet<_> = inventory(&v8_less)
        .slots
        .iter()
        .filter(|s| s.own.is_none() && owner(s.symbol) == Owner::V8)
        .map(|s| s.symbol.to_owned())
        .collect();
    let more: Vec<_> = undefined.iter().filter(|name| !needs.contains(name)).collect();
    assert_eq!(more, NEUTRAL_MORE, "the list is that of the built guest");
    assert_eq!(undefined.len() - more.len() + NEUTRAL_LESS.len(), needs.len());
    assert!(NEUTRAL_LESS.iter().all(|name| needs.contains(name)));
    let inputs = Inputs::default();
    let planned = planned_for(&inputs, &parts().libv8, &parts().node);
    insta::assert_snapshot!("stock_official", summary(planned.plan()));
    for binding in planned.plan().bindings.iter().filter(|b| owner(b.slot.symbol) == Owner::V8) {
        let outside = matches!(binding.why, Why::HostsV8 | Why::Adapter(_));
        assert_eq!(outside, needs.contains(binding.slot.symbol), "{}", binding.explain(true));
    }
}

#[test]
fn the_real_guest_on_both_real_v8s() {
    for (name, path) in [("libnode108", &parts().libv8), ("official", &parts().node)] {
        let inputs = Inputs::default();
        let planned = planned_for(&inputs, &parts().guest, path);
        insta::assert_snapshot!(format!("real_{name}"), summary(planned.plan()));
        let bindings = planned.plan().bindings.iter();
        let v8: Vec<_> = bindings.filter(|b| owner(b.slot.symbol) == Owner::V8).collect();
        assert!(v8.len() >= 518, "{}", v8.len());
        for binding in v8 {
            if NEUTRAL_MORE.contains(&binding.slot.symbol) {
                assert_eq!(binding.why, Why::WeakUndefined, "{}", binding.explain(true));
                continue;
            }
            let adapted = matches!(binding.why, Why::Adapter(_));
            let bound = matches!(binding.target, Target::Provider(_));
            assert!(adapted != bound, "{}", binding.explain(true));
            let found = planned.exports().find(binding.slot.symbol, None).expect("readable");
            let lts = binding.slot.symbol.contains("NewBackingStoreForNodeLTS");
            assert_eq!(found.is_none(), lts && name == "official", "{}", binding.slot.symbol);
        }
    }
}

#[test]
fn both_real_v8s_tell_what_they_are_from_their_files() {
    for path in [&parts().libv8, &parts().node] {
        let inputs = Inputs::default();
        let host = HostFile::open(&inputs, path).expect("a V8");
        let print = host.fingerprint();
        assert_eq!(
            print.version.map(|v| v.to_string()).as_deref(),
            Some("10.2.154.26"),
            "{}",
            path.display()
        );
        assert_eq!((print.tagged_size, print.smi_bits), (Some(8), Some(32)));
        assert_eq!(print.cxx.map(|c| c.0), Some("libstdc++"));
    }
}
