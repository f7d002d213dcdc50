//! Binding the V8-less guest to a real V8, measured beside the obvious alternative: a loop of `dlsym` over the same
//! names, which finds addresses but writes nothing.
//!
//! Needs the parts that `relink host fetch` and `relink guest build` make; run them first.
#![allow(missing_docs, reason = "criterion_group! makes a public function without documentation")]

use criterion::{criterion_group, criterion_main, Criterion};
use relink::abi::{adapters, line};
use relink::address::LoadBias;
use relink::elf::Dynamic;
use relink::guest::map_file;
use relink::guest::{closure, stage};
use relink::host::{detect, Exports};
use relink::kit::hosts;
use relink::patch::live::LiveMemory;
use relink::patch::{apply, by_page, Memory};
use relink::pipeline::read_guest;
use relink::plan::{place, plan, Placement, Plan, Request, Why};
use relink::process::{Maps, Modules};
use relink::runtime::guards;
use std::ffi::CString;
use std::time::{Duration, Instant};

fn bind(criterion: &mut Criterion) {
    let guest_path = relink::kit::guest::path().expect("no guest: run `relink guest build`");
    let libv8 = hosts::path("libv8").expect("no libv8: run `relink host fetch`");
    let needed_by = &mut |path: &std::path::Path| {
        let bytes = std::fs::read(path)?;
        let file = relink::elf::FileImage::parse(&bytes, relink::elf::arch::Arch::native())
            .map_err(std::io::Error::other)?;
        let dynamic = Dynamic::parse(&file.image).map_err(std::io::Error::other)?;
        Ok::<_, std::io::Error>(
            dynamic.needed().map_err(std::io::Error::other)?.into_iter().map(String::from).collect(),
        )
    };
    let name = libv8.file_name().and_then(|n| n.to_str()).expect("a name");
    for library in
        closure::load_order(libv8.parent().expect("a folder"), &[name], needed_by).expect("readable")
    {
        // SAFETY: Debian's libraries; their initialisers may run in any process.
        unsafe { stage::load_dependency(&library) }.expect("loaded");
    }
    let (maps, modules) = (Maps::own().expect("maps"), Modules::observe());
    let providers = detect::providers(&modules, &maps).expect("readable");
    let provider = detect::choose(providers, Some("libnode"), modules.0.len()).expect("one V8");
    let image = provider.module.image(&maps);
    let dynamic = Dynamic::parse(&image).expect("dynamic section");
    let exports = Exports::new(&image, &dynamic, provider.module.bias).expect("symbols");
    let bytes = map_file(&guest_path).expect("guest");
    let (guest, _) = read_guest(&bytes, &guest_path).expect("guest");
    let guards = guards::all();
    // Without the bridge: adapters count as bound, and are a dozen of the slots.
    let adapters = adapters::beside_a_host(line::oldest());
    let request = Request {
        guest: &guest.inventory,
        bridge: None,
        provider: &exports,
        provider_name: "libv8",
        adapters: &adapters,
        guards: &guards,
    };
    let planned = plan(&request).expect("a plan");

    let mut group = criterion.benchmark_group("bind the V8-less guest");
    group.bench_function(format!("dlsym of {} names", names(&planned).len()), |b| {
        let names = names(&planned);
        // SAFETY: no arguments that could be wrong; the handle is this process's own.
        let handle = unsafe {
            libc::dlopen(CString::new(libv8.to_str().expect("text")).expect("text").as_ptr(), libc::RTLD_NOW)
        };
        // SAFETY: a live handle and NUL-terminated names.
        b.iter(|| names.iter().filter(|n| !unsafe { libc::dlsym(handle, n.as_ptr()) }.is_null()).count());
    });
    group.bench_function("read the guest", |b| {
        b.iter(|| read_guest(&bytes, &guest_path).expect("guest").0.inventory.slots.len())
    });
    group.bench_function(format!("resolve {} slots", planned.bindings.len()), |b| {
        b.iter(|| plan(&request).expect("a plan").bindings.len())
    });

    let claimed = planned.bindings.iter().map(|b| b.slot.entry);
    let edits = stage::edits(&guest.file, &guest.inventory, claimed).expect("edits");
    for library in
        closure::load_order(guest_path.parent().expect("a folder"), &guest.inventory.needed, needed_by)
            .expect("readable")
    {
        // SAFETY: ICU, beside the guest.
        unsafe { stage::load_dependency(&library) }.expect("loaded");
    }
    // SAFETY: the copy calls no initialisers, and nothing enters it in this process.
    let staged = unsafe { stage::load(&guest.file, &edits, "bench") }.expect("staged");
    group.bench_function("resolve, place, check, write, read back", |b| {
        b.iter_custom(|rounds| (0..rounds).map(|_| once(&request, staged.bias, &staged.span)).sum());
    });
    group.finish();
}

/// The time of one binding; taking it back is not counted.
fn once(request: &Request, bias: LoadBias, span: &std::ops::Range<relink::address::RunAddr>) -> Duration {
    let start = Instant::now();
    let planned = plan(request).expect("a plan");
    let writes = place(&planned, Placement { guest: bias, bridge: LoadBias(0) });
    // SAFETY: the staged image stays loaded to the end of the process and is never entered.
    let mut memory = unsafe { LiveMemory::new(vec![span.clone()]) }.expect("maps");
    let page_size = memory.page_size();
    let applied = apply(&mut memory, &by_page(writes, page_size)).expect("applied");
    let spent = start.elapsed();
    applied.undo(&mut memory).expect("undone");
    spent
}

/// The V8 names among the bindings, as C strings.
fn names(planned: &Plan) -> Vec<CString> {
    let of_v8 = planned.bindings.iter().filter(|b| matches!(b.why, Why::HostsV8));
    of_v8.filter_map(|b| CString::new(b.slot.symbol).ok()).collect()
}

criterion_group!(benches, bind);
criterion_main!(benches);
