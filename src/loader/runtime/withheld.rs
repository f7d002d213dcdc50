//! What a host withholds from the scripts of a runtime, below JavaScript, whatever they try.

use super::lifecycle;

/// Other programs are not started.
const CHILDREN: u8 = 1;
/// No library is loaded.
const ADD_ONS: u8 = 2;
/// No message reaches V8's inspector.
const INSPECTOR: u8 = 4;

/// What can be withheld, as hosts name it.
pub const NAMES: [&str; 3] = ["child_process", "addons", "inspector"];

/// The bits of these names; other names mean nothing here.
pub fn bits(names: &[String]) -> u8 {
    let bit = |name: &String| match name.as_str() {
        "child_process" => CHILDREN,
        "addons" => ADD_ONS,
        "inspector" => INSPECTOR,
        _ => 0,
    };
    names.iter().map(bit).fold(0, |all, bit| all | bit)
}

/// Nobody whom the calling thread works for is denied this.
fn may(bit: u8) -> bool {
    lifecycle::here().iter().all(|life| life.withheld() & bit == 0)
}

/// Whether add-ons may be loaded.
pub fn may_load_add_ons() -> bool {
    may(ADD_ONS)
}

/// Whether other programs may be started.
pub(super) fn may_start_children() -> bool {
    may(CHILDREN)
}

/// Whether messages may reach the inspector.
pub(super) fn may_inspect() -> bool {
    may(INSPECTOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_a_bit() {
        let each = NAMES.map(|name| bits(&[name.to_owned()]));
        assert_eq!(each, [CHILDREN, ADD_ONS, INSPECTOR]);
        assert_eq!(bits(&["net".to_owned()]), 0);
    }
}
