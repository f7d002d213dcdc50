//! Layer: planning. The plan of the real guest on both real V8s, as golden text: `tests/snapshots` holds what was looked at
//! and found right. `plan_golden.rs` does the same for small images that are compiled there.

#[path = "support/files.rs"]
mod files;
mod support;

use files::{bytes_of, image_of};
use relink::abi::fingerprint::Fingerprint;
use relink::abi::{adapters, line};
use relink::address::{LoadBias, RunAddr};
use relink::elf::{Dynamic, SymbolTable};
use relink::error::Error;
use relink::guest::Inventory;
use relink::host::Exports;
use relink::pipeline::{Files, ImageFile, Part};
use relink::plan::{plan, Guard, Plan, Request, StagedImage, Target, Why};
use relink::symbol::{owner, Owner};
use std::collections::BTreeMap;
use std::path::Path;
use support::{parts, NEUTRAL_LESS, NEUTRAL_MORE};

const GUARDS: [Guard; 1] = [Guard { symbol: "kill", address: RunAddr(0x9000), keeps: "a test" }];

fn with_exports<T>(bytes: &[u8], use_them: impl FnOnce(&Exports) -> T) -> T {
    let file = image_of(bytes);
    let dynamic = Dynamic::parse(&file.image).expect("dynamic section");
    use_them(&Exports::new(&file.image, &dynamic, LoadBias(0)).expect("exports"))
}

fn planned_all<'d>(images: &[ImageFile<'d>], provider: &Exports) -> Result<Plan<'d>, Error> {
    let parts = Part::read_all(images)?;
    let members: Vec<_> = parts.iter().map(Part::member).collect();
    plan(&Request {
        members: &members,
        needs: &|_| false,
        provider,
        provider_name: "libv8.so",
        adapters: &adapters::beside_a_host(line::oldest()),
        guards: &GUARDS,
    })
}

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

/// The plan of the real guest and its libraries on the V8 in this file.
fn real_plan(provider: &Path, check: impl FnOnce(&Plan, &Exports)) {
    let files = Files::open(&parts().guest).expect("the guest and its libraries");
    let images = files.images().expect("images");
    let host = bytes_of(provider);
    with_exports(&host, |exports| check(&planned_all(&images, exports).expect("a plan"), exports));
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
    let members: Vec<_> = all.iter().map(Part::member).collect();
    let host = bytes_of(&parts().node);
    with_exports(&host, |exports| {
        let plan = plan(&Request {
            members: &members,
            needs: &|name| needs.contains(name),
            provider: exports,
            provider_name: "node",
            adapters: &adapters::beside_a_host(line::oldest()),
            guards: &GUARDS,
        });
        let plan = plan.expect("a plan");
        insta::assert_snapshot!("stock_official", summary(&plan));
        for binding in plan.bindings.iter().filter(|b| owner(b.slot.symbol) == Owner::V8) {
            let outside = matches!(binding.why, Why::HostsV8 | Why::Adapter(_));
            assert_eq!(outside, needs.contains(binding.slot.symbol), "{}", binding.explain(true));
        }
    });
}

#[test]
fn the_real_guest_on_both_real_v8s() {
    for (name, path) in [("libnode108", &parts().libv8), ("official", &parts().node)] {
        real_plan(path, |plan, exports| {
            insta::assert_snapshot!(format!("real_{name}"), summary(plan));
            let v8: Vec<_> = plan.bindings.iter().filter(|b| owner(b.slot.symbol) == Owner::V8).collect();
            assert!(v8.len() >= 518, "{}", v8.len());
            for binding in v8 {
                if NEUTRAL_MORE.contains(&binding.slot.symbol) {
                    assert_eq!(binding.why, Why::WeakUndefined, "{}", binding.explain(true));
                    continue;
                }
                let adapted = matches!(binding.why, Why::Adapter(_));
                let bound = matches!(binding.target, Target::Provider(_));
                assert!(adapted != bound, "{}", binding.explain(true));
                let found = exports.find(binding.slot.symbol, None).expect("readable");
                let lts = binding.slot.symbol.contains("NewBackingStoreForNodeLTS");
                assert_eq!(found.is_none(), lts && name == "official", "{}", binding.slot.symbol);
            }
        });
    }
}

#[test]
fn both_real_v8s_tell_what_they_are_from_their_files() {
    for path in [&parts().libv8, &parts().node] {
        let bytes = bytes_of(path);
        let file = image_of(&bytes);
        let dynamic = Dynamic::parse(&file.image).expect("dynamic section");
        let symbols = SymbolTable::parse(&file.image, &dynamic).expect("symbols");
        let print = Fingerprint::read(&file.image, &symbols).expect("a fingerprint");
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
