//! Which modules hold V8: the one rule, for files and for modules of a process.

use crate::catalogue::{GET_VERSION, MARKER, VERSION_NUMBERS};
use relink_elf::{ElfError, SymbolTable};

/// What the names that a module defines claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It has no V8 API.
    Nothing,
    /// It defines a part of V8's API without being V8, as programs on another engine do for add-ons' sake (Bun).
    Imitation,
    /// It holds V8.
    V8,
}

/// The rule: V8 defines its marker, and tells its version by a function or by a variable.
///
/// # Errors
/// Those of `has`, which says whether the module defines a symbol.
pub fn claim<E>(has: impl Fn(&'static str) -> Result<bool, E>) -> Result<Claim, E> {
    Ok(match has(MARKER)? {
        false => Claim::Nothing,
        true if has(GET_VERSION)? || has(VERSION_NUMBERS[0])? => Claim::V8,
        true => Claim::Imitation,
    })
}

/// Whether these dynamic symbols are those of a V8.
///
/// # Errors
/// The table can't be read.
pub fn holds_v8(symbols: &SymbolTable) -> Result<bool, ElfError> {
    claim(|name| Ok(symbols.lookup(name)?.is_some())).map(|found| found == Claim::V8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    #[test]
    fn the_marker_alone_is_an_imitation() {
        let of = |names: &[&str]| {
            claim(|name| Ok::<_, Infallible>(names.contains(&name))).unwrap_or(Claim::Nothing)
        };
        assert_eq!(of(&[]), Claim::Nothing);
        assert_eq!(of(&[GET_VERSION]), Claim::Nothing);
        assert_eq!(of(&[MARKER]), Claim::Imitation);
        assert_eq!(of(&[MARKER, GET_VERSION]), Claim::V8);
        assert_eq!(of(&[MARKER, VERSION_NUMBERS[0]]), Claim::V8);
    }
}
