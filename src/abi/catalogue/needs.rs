//! Which of V8's names Node's own code refers to: by these a guest that has a V8 of its own means the host's V8. All other V8
//! code in it is only called by V8, and stays dead.
//!
//! Each list is that of the undefined V8 symbols of a guest built without V8, written by `relink catalogue needs`;
//! tests/plan_golden.rs and tests/lines.rs compare it with the guest.

use crate::note::GuestNote;
use crate::version::V8Version;
use std::collections::BTreeSet;

/// The names, sorted.
#[derive(Clone, Debug, Default)]
pub struct Needs(Vec<&'static str>);

impl Needs {
    /// Whether Node's code refers to `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.0.binary_search(&name).is_ok()
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn parse(list: &'static str) -> Self {
        Self(list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect())
    }
}

/// The text of a list: the names of V8 that a guest built without V8 refers to, and where they are from.
pub fn list_text<'n>(guest: &GuestNote, names: impl Iterator<Item = &'n str>) -> String {
    let head = format!(
        "# V8 symbols that Node {}'s own code refers to (V8 {}): the undefined V8 symbols of the guest built without V8\n",
        guest.node, guest.v8
    );
    let names: BTreeSet<_> = names.collect();
    names.into_iter().fold(head, |text, name| text + name + "\n")
}

/// The lists by V8's major and minor version: each Node line has one.
const LISTS: [((u32, u32), &str); 4] = [
    ((10, 2), include_str!("needs/v8_10_2.txt")),
    ((11, 3), include_str!("needs/v8_11_3.txt")),
    ((12, 4), include_str!("needs/v8_12_4.txt")),
    ((13, 6), include_str!("needs/v8_13_6.txt")),
];

/// The names that Node's code of the line with this V8 refers to, if they are known.
pub fn needs_of(v8: V8Version) -> Option<Needs> {
    let list = LISTS.iter().find(|(version, _)| *version == (v8.major, v8.minor));
    list.map(|(_, text)| Needs::parse(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbol::{owner, Owner};

    #[test]
    fn lists_are_sorted_and_all_of_v8() {
        for ((major, minor), _) in LISTS {
            let needs = needs_of(V8Version::new(major, minor, 0, 0)).expect("a list");
            assert!(needs.0.is_sorted(), "{major}.{minor}");
            assert!(needs.len() > 500, "{major}.{minor}: {}", needs.len());
            let foreign: Vec<_> = needs.0.iter().filter(|name| owner(name) != Owner::V8).collect();
            assert!(foreign.is_empty(), "{foreign:?}");
        }
        assert!(needs_of(V8Version::new(1, 0, 0, 0)).is_none());
    }
}
