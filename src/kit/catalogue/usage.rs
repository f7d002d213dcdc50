//! Which constants code in the headers reads: only those are compiled into a user of V8 unasked.

use std::collections::BTreeSet;

/// Names of constants that `text`, a header, reads anywhere but in the definition of another constant or in an assertion.
/// Errs on the side of "read".
pub fn names_read(text: &str) -> BTreeSet<String> {
    let text = without_comments(text).replace("\\\n", " ");
    let (directives, code): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|l| l.trim_start().starts_with('#'));
    let code = code.join("\n");
    let statements = code.split([';', '{', '}']).filter(|s| !is_definition(s));
    let macros = directives.into_iter().filter(|d| d.contains("define"));
    statements.chain(macros).flat_map(constants).map(str::to_owned).collect()
}

/// Whether a statement only defines a constant or asserts something.
fn is_definition(statement: &str) -> bool {
    let before_value = statement.split('=').next().unwrap_or("").trim_end();
    let name = before_value.rsplit(|c: char| !is_word(c)).next().unwrap_or("");
    let mut words = before_value.split(|c: char| !is_word(c));
    let constant = words.any(|word| word == "const" || word == "constexpr");
    statement.contains("static_assert")
        || constant && is_constant(name) && !before_value.contains('(') && statement.contains('=')
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn is_constant(word: &str) -> bool {
    word.strip_prefix('k').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
}

fn constants(statement: &str) -> impl Iterator<Item = &str> {
    statement.split(|c: char| !is_word(c)).filter(|word| is_constant(word))
}

fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('/') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = match rest.as_bytes().get(1) {
            Some(b'/') => rest.find('\n'),
            Some(b'*') => rest.find("*/").map(|end| end + 2),
            _ => {
                out.push('/');
                Some(1)
            }
        };
        rest = &rest[end.unwrap_or(rest.len())..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "
      // kInComment
      static const int kA = 1;
      static constexpr int kB = kA + kApiSize; /* kAlsoInComment */
      static_assert(kB == kChecked);
      #define M(x) x + kMacro
      #ifdef X
      static const int kGuarded = kHidden;
      #endif
      static inline int Read(Address a) { return a / kUsed + Internals::kB; }
      static const char* name(int x = kDefault);
      const int local = kLocal * 2;
    ";

    #[test]
    fn only_what_code_reads_counts() {
        let names = names_read(HEADER);
        for read in ["kUsed", "kB", "kDefault", "kLocal", "kMacro"] {
            assert!(names.contains(read), "{read}: {names:?}");
        }
        for not in ["kA", "kApiSize", "kChecked", "kInComment", "kAlsoInComment", "kHidden"] {
            assert!(!names.contains(not), "{not}: {names:?}");
        }
    }
}
