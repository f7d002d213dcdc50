//! What was observed: truths by name, and pieces of memory.

use std::collections::BTreeMap;

/// One observation of one V8.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// Answers of V8's out-of-line functions.
    truths: BTreeMap<String, u64>,
    /// Bytes by the address they were read from.
    memory: BTreeMap<u64, Vec<u8>>,
    /// Whether it was written to its end.
    pub complete: bool,
    /// What the observer began last.
    step: Option<String>,
    /// Functions that it did not find in that step.
    lacks: Vec<String>,
    /// What ended it, if it could say so.
    ended: Option<String>,
}

impl Observation {
    /// Reads the lines that `observe.cc` writes: `step NAME`, `lacks SYMBOL`, `truth NAME VALUE`, `memory ADDRESS BYTES`,
    /// `ended REASON`, `end`. Others are passed over.
    pub fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            found.complete |= line == "end";
            if let Some((name, value)) = line.strip_prefix("truth ").and_then(|l| l.rsplit_once(' ')) {
                value.parse().map(|value| found.truths.insert(name.to_owned(), value)).ok();
            } else if let Some((at, bytes)) = line.strip_prefix("memory ").and_then(|l| l.split_once(' ')) {
                found.remember(at, bytes);
            } else {
                found.note(line);
            }
        }
        found
    }

    fn note(&mut self, line: &str) {
        if let Some(step) = line.strip_prefix("step ") {
            self.step = Some(step.to_owned());
            self.lacks.clear();
        } else if let Some(symbol) = line.strip_prefix("lacks ") {
            self.lacks.push(symbol.to_owned());
        } else if let Some(reason) = line.strip_prefix("ended ") {
            self.ended = Some(reason.to_owned());
        }
    }

    /// Where it broke off, which functions were not found there, and what ended it; nothing if it is complete.
    pub fn broke_off(&self) -> Option<String> {
        if self.complete {
            return None;
        }
        let Some(step) = &self.step else {
            return Some("the observer wrote nothing: it was not loaded or not called".to_owned());
        };
        let lacks = Some(self.lacks.join(", ")).filter(|names| !names.is_empty());
        let lacks = lacks.map(|names| format!("not found there: {names}"));
        let ended = self.ended.as_ref().map(|reason| format!("ended {reason}"));
        let why = [lacks, ended].into_iter().flatten().collect::<Vec<_>>().join("; ");
        let why = if why.is_empty() { "no reason is known".to_owned() } else { why };
        Some(format!("it broke off at \"{step}\" ({why})"))
    }

    fn remember(&mut self, at: &str, digits: &str) {
        let byte = |n: usize| digits.get(n..n + 2).and_then(|d| u8::from_str_radix(d, 16).ok());
        let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
        if let (Ok(at), Some(bytes)) = (at.parse::<u64>(), bytes) {
            // A later, shorter look at the same place does not take away from an earlier one.
            if self.memory.get(&at).is_none_or(|known| known.len() <= bytes.len()) {
                self.memory.insert(at, bytes);
            }
        }
    }

    /// An answer.
    pub fn truth(&self, name: &str) -> Option<u64> {
        self.truths.get(name).copied()
    }

    /// The little-endian number of `size` bytes (at most 8) at an address, if that memory was written down.
    pub fn read(&self, at: u64, size: usize) -> Option<u64> {
        let pieces = self.memory.range(..=at).rev();
        pieces.take(64).find_map(|(start, bytes)| {
            let from = usize::try_from(at - start).ok()?;
            let found = bytes.get(from..from.checked_add(size)?)?;
            Some(found.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
        })
    }

    /// The word at an address.
    pub fn word(&self, at: u64) -> Option<u64> {
        self.read(at, 8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_across_what_was_written_down() {
        let found = Observation::parse(
            "truth a b 7\nmemory 16 0102030405060708ff\nmemory 16 01\nnonsense\nmemory x 00\nend\n",
        );
        assert!(found.complete);
        assert_eq!(found.truth("a b"), Some(7));
        assert_eq!(found.word(16), Some(0x0807_0605_0403_0201));
        assert_eq!(found.read(24, 1), Some(0xff));
        assert_eq!((found.word(17 + 1), found.word(8), found.word(24)), (None, None, None));
    }

    #[test]
    fn what_broke_off_says_where_and_why() {
        let of = |text: &str| Observation::parse(text).broke_off();
        assert_eq!(of("step a\nlacks f\nend\n"), None);
        assert!(of("").is_some_and(|why| why.contains("not called")));
        assert_eq!(of("step a\n").as_deref(), Some("it broke off at \"a\" (no reason is known)"));
        let why = of("step a\nlacks early\nstep b\nlacks f\nlacks g\ntruth x 1\n\nended by signal 11\n");
        assert_eq!(why.as_deref(), Some("it broke off at \"b\" (not found there: f, g; ended by signal 11)"));
    }
}
