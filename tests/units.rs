//! Adapter units compile against the real headers of the host's V8, and have every function that the catalogue names. Each guest's
//! unit for two V8s, so that every layer is compiled, most of them with what earlier V8s had, too (and those of earlier V8s by tests/older_hosts.rs). (That Node runs through each
//! unit is for tests/neutral.rs, which takes minutes and is run when asked for.)

use object::{Object, ObjectSymbol};
use relink::abi::adapters::{Unit, UNITS};
use relink::kit::adapter;
use relink::kit::cache::Cache;
use relink::kit::clang::with_libcxx;
use relink::kit::crates::{folders, Crate};
use relink::kit::progress::Silent;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// One with many units below it, and the newest.
fn hosts() -> [(u32, u32); 2] {
    [(12, 4), UNITS.iter().map(|unit| unit.host).max().expect("a unit")]
}

fn functions(library: &Path) -> BTreeSet<String> {
    let bytes = std::fs::read(library).expect("the unit");
    let file = object::File::parse(&*bytes).expect("ELF");
    let defined = file.dynamic_symbols().filter(|symbol| symbol.is_definition());
    defined.map(|symbol| symbol.name().expect("a name").to_owned()).collect()
}

fn compiles(unit: &Unit) {
    let library = adapter::build(unit, &Silent).unwrap_or_else(|e| panic!("{}: {e}", unit.name()));
    let functions = functions(&library);
    assert!(functions.contains("relink_unit_attach"), "{}", unit.name());
    let lacking: Vec<_> =
        unit.adapters().into_iter().map(|a| a.stands_in).filter(|f| !functions.contains(*f)).collect();
    assert!(lacking.is_empty(), "{} has no {lacking:?}", unit.name());
}

#[test]
fn units_compile_and_have_the_functions_of_their_adapters() {
    let units: Vec<&Unit> = UNITS.iter().filter(|unit| hosts().contains(&unit.host)).collect();
    for host in hosts() {
        assert!(units.iter().any(|unit| unit.host == host), "{host:?}");
    }
    let (some, others) = units.split_at(units.len() / 2);
    std::thread::scope(|scope| {
        scope.spawn(|| some.iter().for_each(|unit| compiles(unit)));
        others.iter().for_each(|unit| compiles(unit));
    });
}

/// A function of V8's that takes a class of the C++ library.
const TAKES_A_STORE: &str = "#include <v8.h>
v8::Local<v8::ArrayBuffer> of(v8::Isolate* isolate, std::shared_ptr<v8::BackingStore> store) {
    return v8::ArrayBuffer::New(isolate, store);
}
";

/// What clang refers to has the inline namespace of the host's libc++ in its name, whichever that is: libc++'s own, or that of
/// Chromium's builds, which is `Cr` up to V8 12.0 at least and `__Cr` in later ones.
#[test]
fn names_have_the_namespace_of_the_libcxx_that_is_asked_for() {
    const INCLUDE: &str = "v8/include";
    let of = Crate::v8("0.82.0").unwrap_or_else(|e| panic!("{} {e}", e.code()));
    let cache = Cache::locate().expect("the cache");
    let headers = folders(&cache, &of, &[INCLUDE], &Silent).unwrap_or_else(|e| panic!("{} {e}", e.code()));
    let folder = tempfile::tempdir().expect("a folder");
    let [source, made] = ["store.cc", "store.o"].map(|name| folder.path().join(name));
    std::fs::write(&source, TAKES_A_STORE).expect("the source");
    for namespace in ["Cr", "__Cr", "__1"] {
        let tools = with_libcxx(namespace, &Silent).unwrap_or_else(|e| panic!("{} {e}", e.code()));
        let mut clang = Command::new(&tools.compiler);
        clang.args(["-std=c++20", "-O2", "-c"]).args(&tools.flags).arg("-isystem").arg(headers.join(INCLUDE));
        let output = clang.arg(&source).arg("-o").arg(&made).output().expect("clang runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let bytes = std::fs::read(&made).expect("the object");
        let file = object::File::parse(&*bytes).expect("ELF");
        let wanted: BTreeSet<_> =
            file.symbols().filter(|s| s.is_undefined()).filter_map(|s| s.name().ok()).collect();
        let shared = format!("NSt{}{namespace}10shared_ptrINS_12BackingStoreEEE", namespace.len());
        let name = format!("_ZN2v811ArrayBuffer3NewEPNS_7IsolateE{shared}");
        assert!(wanted.contains(&*name), "{namespace}: {wanted:?}");
    }
}
