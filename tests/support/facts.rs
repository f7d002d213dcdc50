//! What the catalogue tells of V8.

use relink::abi::catalogue::{known_abis, Facts};
use relink::abi::version::V8Version;

/// Facts of the V8 of a Node.
pub fn facts(node: u32) -> &'static Facts {
    let v8 = match node {
        18 => "10.2.154.26",
        20 => "11.3.244.8",
        22 => "12.4.254.21",
        24 => "13.6.233.17",
        _ => panic!("no guest of Node {node}"),
    };
    known_abis(V8Version::parse(v8).expect("a version"))[0].facts()
}
