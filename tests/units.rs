//! Adapter units compile against the real headers of the host's V8, and have every function that the catalogue names. Each guest's
//! unit for two V8s, so that every layer is compiled, most of them with what earlier V8s had, too (and those of earlier V8s by tests/older_hosts.rs). (That Node runs through each
//! unit is for tests/neutral.rs, which takes minutes and is run when asked for.)

use object::{Object, ObjectSymbol};
use relink::abi::adapters::{Unit, UNITS};
use relink::kit::adapter;
use relink::kit::progress::Silent;
use std::collections::BTreeSet;
use std::path::Path;

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
