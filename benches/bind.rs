//! Binding both kinds of guest to a real V8, measured beside the obvious alternative: a loop of `dlsym` over the same V8
//! names, which finds addresses but writes nothing; for the stock guest also over all of its V8 names, which is what
//! binding every one of them would ask for.
//!
//! Needs the parts that `relink host fetch` and `relink guest build` make; run them first.
#![allow(missing_docs, reason = "criterion_group! makes a public function without documentation")]

use criterion::measurement::WallTime;
use criterion::{criterion_group, criterion_main, BenchmarkGroup, Criterion};
use relink::abi::{adapters, gate, line};
use relink::elf::Dynamic;
use relink::guest::{closure, stage};
use relink::host::{detect, Exports, Provider};
use relink::kit::hosts;
use relink::patch::{apply, by_page, Memory};
use relink::pipeline::{Files, Images, Part};
use relink::plan::{place, plan, Guard, Plan, Request, Why};
use relink::process::{Maps, Modules};
use relink::runtime::guards;
use relink::symbol::{owner, Owner};
use std::collections::BTreeSet;
use std::ffi::{c_void, CString};
use std::path::Path;
use std::time::{Duration, Instant};

fn bind(criterion: &mut Criterion) {
    let libv8 = hosts::path("libv8").expect("no libv8: run `relink host fetch`");
    let handle = load(&libv8);
    let (maps, modules) = (Maps::own().expect("maps"), Modules::observe());
    let providers = detect::providers(&modules, &maps).expect("readable");
    let provider = detect::choose(providers, Some("libnode"), modules.0.len()).expect("one V8");
    let image = provider.module.image(&maps);
    let dynamic = Dynamic::parse(&image).expect("dynamic section");
    let exports = Exports::new(&image, &dynamic, provider.module.bias).expect("symbols");
    let v8_less = relink::kit::guest::path().expect("no guest: run `relink guest build`");
    for (name, guest) in [("V8-less guest", &v8_less), ("stock libnode108", &libv8)] {
        let mut group = criterion.benchmark_group(name);
        measure(&mut group, guest, &provider, &exports, handle);
        group.finish();
    }
}

/// Loads the V8, and what lies beside it, dependencies first.
fn load(libv8: &Path) -> *mut c_void {
    let name = libv8.file_name().and_then(|n| n.to_str()).expect("a name");
    let folder = libv8.parent().expect("a folder");
    for library in closure::load_order(folder, &[name], &mut closure::needed_by).expect("readable") {
        // SAFETY: Debian's libraries; their initialisers may run in any process.
        unsafe { stage::load_dependency(&library) }.expect("loaded");
    }
    let path = CString::new(libv8.to_str().expect("text")).expect("text");
    // SAFETY: a NUL-terminated path of a library that is loaded already.
    unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) }
}

fn measure(
    group: &mut BenchmarkGroup<WallTime>,
    guest: &Path,
    provider: &Provider,
    exports: &Exports,
    handle: *mut c_void,
) {
    let files = Files::open(guest).expect("the guest and its libraries");
    let images = files.images().expect("images");
    let parts = Part::read_all(&images).expect("readable");
    let note = parts[0].note().expect("a note");
    let needs = parts[0].needs(&note).expect("known names");
    let members: Vec<_> = parts.iter().map(Part::member).collect();
    let guards: Vec<Guard> = guards::all();
    // Without the bridge: adapters count as bound, and are a dozen of the slots.
    let adapters = adapters::beside_a_host(line::oldest());
    let request = Request {
        members: &members,
        needs: &|name| needs.contains(name),
        provider: exports,
        provider_name: "libv8",
        adapters: &adapters,
        guards: &guards,
    };
    let planned = plan(&request).expect("a plan");
    for (what, names) in [("the bound", bound_names(&planned)), ("all", v8_names(&planned))] {
        group.bench_function(format!("dlsym of {what} V8 names ({})", names.len()), |b| {
            // SAFETY: a live handle and NUL-terminated names.
            b.iter(|| names.iter().filter(|n| !unsafe { libc::dlsym(handle, n.as_ptr()) }.is_null()).count());
        });
    }
    group.bench_function("read", |b| b.iter(|| Part::read_all(&images).expect("readable").len()));
    group.bench_function(format!("resolve {} slots", planned.bindings.len()), |b| {
        b.iter(|| plan(&request).expect("a plan").bindings.len())
    });
    let admitted = gate::admit(&note, &provider.fingerprint).expect("identical");
    let verified = relink::plan::verify(planned, admitted);
    let staged = Images::load(&parts, &verified).expect("staged");
    let written = place(verified.plan(), &staged.placement()).len();
    group.bench_function(format!("resolve, place, check, write, read back ({written} written)"), |b| {
        b.iter_custom(|rounds| (0..rounds).map(|_| once(&request, &staged)).sum());
    });
    staged.keep();
}

/// The time of one binding; taking it back is not counted.
fn once(request: &Request, staged: &Images) -> Duration {
    let start = Instant::now();
    let planned = plan(request).expect("a plan");
    let writes = place(&planned, &staged.placement());
    let mut memory = staged.memory().expect("maps");
    let page_size = memory.page_size();
    let applied = apply(&mut memory, &by_page(writes, page_size)).expect("applied");
    let spent = start.elapsed();
    applied.undo(&mut memory).expect("undone");
    spent
}

/// The V8 names that are bound to the host's V8.
fn bound_names(planned: &Plan) -> BTreeSet<CString> {
    let bound = planned.bindings.iter().filter(|b| matches!(b.why, Why::HostsV8));
    bound.filter_map(|b| CString::new(b.slot.symbol).ok()).collect()
}

/// All V8 names that any slot refers to.
fn v8_names(planned: &Plan) -> BTreeSet<CString> {
    let of_v8 = planned.bindings.iter().filter(|b| owner(b.slot.symbol) == Owner::V8);
    of_v8.filter_map(|b| CString::new(b.slot.symbol).ok()).collect()
}

criterion_group!(benches, bind);
criterion_main!(benches);
