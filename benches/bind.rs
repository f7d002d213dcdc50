//! Binding both kinds of guest to a real V8, measured beside the obvious alternative: a loop of `dlsym` over the same V8
//! names, which finds addresses but writes nothing; for the stock guest also over all of its V8 names, which is what
//! binding every one of them would ask for.
//!
//! Needs the parts that `relink host fetch` and `relink guest build` make; run them first.
#![allow(missing_docs, reason = "criterion_group! makes a public function without documentation")]

use criterion::measurement::WallTime;
use criterion::{criterion_group, criterion_main, BenchmarkGroup, Criterion};
use relink::abi::line::{self, Bridges};
use relink::guest::{closure, stage};
use relink::host::detect;
use relink::kit::hosts;
use relink::patch::apply;
use relink::pipeline::{beside_a_host, Images};
use relink::plan::{Plan, Why};
use relink::process::{Maps, Modules};
use relink::stages::{HostProcess, Inputs, Observed, Part, Planned, Units, VerifiedPlan};
use relink::symbol::{owner, Owner};
use std::collections::BTreeSet;
use std::ffi::{c_void, CString};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

fn bind(criterion: &mut Criterion) {
    let libv8 = hosts::path("libv8").expect("no libv8: run `relink host fetch`");
    let handle = load(&libv8);
    let bridge = bridge();
    let v8_less = relink::kit::guest::path().expect("no guest: run `relink guest build`");
    for (name, guest) in [("V8-less guest", &v8_less), ("stock libnode108", &libv8)] {
        let mut group = criterion.benchmark_group(name);
        measure(&mut group, guest, &bridge, handle);
        group.finish();
    }
}

/// In place of the bridge, which is built into librelink.so: functions of the same names, which nobody calls here.
fn bridge() -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let (source, library) = (folder.path().join("bridge.c"), folder.path().join("bridge.so"));
    let mut text = String::new();
    for adapter in line::oldest().adapters {
        writeln!(text, "void {}(void) {{}}", adapter.stands_in).expect("written");
    }
    std::fs::write(&source, text).expect("written");
    let mut command = Command::new("gcc");
    command.args(["-shared", "-fPIC", "-Wl,--build-id", "-o"]).arg(&library).arg(&source);
    assert!(command.status().expect("gcc runs").success());
    std::fs::read(&library).expect("the library")
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

fn measure(group: &mut BenchmarkGroup<WallTime>, guest: &Path, bridge: &[u8], handle: *mut c_void) {
    let bridges = [(line::oldest().name, bridge)];
    let inputs = Inputs::default();
    let (maps, modules) = (Maps::own().expect("maps"), Modules::observe());
    let providers = detect::providers(&modules, &maps).expect("readable");
    let provider = detect::choose(providers, Some("libnode"), modules.0.len()).expect("one V8");
    let host = HostProcess::of(&inputs, provider, &maps);
    let files = inputs.guest(guest).expect("the guest and its libraries");
    let images = files.images().expect("images");
    group.bench_function("read", |b| b.iter(|| Part::read_all(&images).expect("readable").len()));
    let terms = beside_a_host(guest, Some(Bridges(&bridges)), Units::None);
    let admitted = Observed::of(&inputs, files, host).expect("readable").admit().expect("identical");
    let planned = admitted.plan(&terms).expect("a plan");
    for (what, names) in [("the bound", bound_names(planned.plan())), ("all", v8_names(planned.plan()))] {
        group.bench_function(format!("dlsym of {what} V8 names ({})", names.len()), |b| {
            // SAFETY: a live handle and NUL-terminated names.
            b.iter(|| names.iter().filter(|n| !unsafe { libc::dlsym(handle, n.as_ptr()) }.is_null()).count());
        });
    }
    group.bench_function(format!("resolve {} slots", planned.plan().bindings.len()), |b| {
        b.iter(|| resolve(&planned))
    });
    let verified = planned.verify().expect("all is here");
    let staged = Images::load(verified.parts(), verified.plan()).expect("staged");
    let written = verified.plan().writes(&staged.placement()).count();
    group.bench_function(format!("place, check, write, read back ({written} written)"), |b| {
        b.iter_custom(|rounds| (0..rounds).map(|_| once(verified.plan(), &staged)).sum());
    });
    staged.keep();
}

fn resolve<'a>(planned: &Planned<'a, HostProcess<'a>>) -> usize {
    planned.resolve().expect("a plan").bindings.len()
}

/// The time of one binding; taking it back is not counted.
fn once(plan: &VerifiedPlan, staged: &Images) -> Duration {
    let start = Instant::now();
    let mut memory = staged.memory().expect("maps");
    let applied = apply(&mut memory, plan.writes(&staged.placement())).expect("applied");
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
