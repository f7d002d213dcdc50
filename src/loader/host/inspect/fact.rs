//! A fact and how it was found. What is not known is `None`, never a guess.

use serde::Serialize;

/// A value and the evidence for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fact<T> {
    /// What is known.
    pub value: T,
    /// How: a symbol, a text, or another fact that it follows from.
    pub how: String,
}

impl<T> Fact<T> {
    /// The fact `value`, known by `how`.
    pub fn new(value: T, how: impl Into<String>) -> Self {
        Self { value, how: how.into() }
    }

    /// The same evidence for another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Fact<U> {
        Fact { value: f(self.value), how: self.how }
    }
}

/// What several sources say, if they agree: the first one's fact. Sources that contradict each other tell nothing.
pub(super) fn agreed<T: PartialEq>(sources: impl IntoIterator<Item = Option<Fact<T>>>) -> Option<Fact<T>> {
    let mut known = sources.into_iter().flatten();
    let first = known.next()?;
    known.all(|other| other.value == first.value).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradicting_sources_tell_nothing() {
        let fact = |value| Some(Fact::new(value, "x"));
        assert_eq!(agreed([None, fact(1), fact(1)]), fact(1));
        assert_eq!(agreed([fact(1), None, fact(2)]), None);
        assert_eq!(agreed::<u8>([None, None]), None);
    }
}
