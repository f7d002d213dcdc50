//! Constants of V8's headers, each turned into an object that reads one word of the layout table when it is used as a number.

use std::collections::BTreeMap;

/// Classes whose constants are layouts, as they are declared and as the catalogue names them.
pub const CLASSES: [(&str, &str); 3] = [
    ("class Internals {", "v8::internal::Internals"),
    ("class FunctionCallbackInfo {", "v8::FunctionCallbackInfo<v8::Value>"),
    ("class PropertyCallbackInfo {", "v8::PropertyCallbackInfo<v8::Value>"),
];

/// How the definition of a constant begins.
const DEFINITIONS: [&str; 4] =
    ["static const int ", "static constexpr int ", "static const uint32_t ", "static constexpr uint32_t "];

/// Something for which there is no rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoRule {
    /// Line number, from 1.
    pub line: usize,
    /// The line.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// A header with its constants rewritten, and their qualified names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewritten {
    /// The header's new text.
    pub text: String,
    /// Which constants were rewritten.
    pub names: Vec<String>,
}

/// Rewrites the constants in a header. `numbers` has the table's word for each qualified name; constants that are not in it are
/// compiled out by the preprocessor and stay as they are.
pub fn rewrite(header: &str, numbers: &BTreeMap<String, usize>) -> Result<Rewritten, NoRule> {
    let mut done = Rewritten::default();
    let mut class: Option<&str> = None;
    let mut lines = header.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some((_, qualified)) = CLASSES.iter().find(|(declared, _)| line == *declared) {
            class = Some(qualified);
        } else if line == "};" {
            class = None;
        }
        let name = class.and_then(|class| Some((class, constant(line)?)));
        let number_of =
            name.and_then(|(class, name)| numbers.get(&format!("{class}::{name}")).zip(name_of(class, name)));
        let Some((word, qualified)) = number_of else {
            refuse_assertion(&done, class, number, line)?;
            done.text.push_str(line);
            done.text.push('\n');
            continue;
        };
        let mut last = line;
        while !last.trim_end().ends_with(';') {
            let open =
                || NoRule { line: number + 1, text: line.trim().into(), why: "the definition has no end" };
            last = lines.next().ok_or_else(open)?.1;
        }
        let plain = qualified.rsplit("::").next().unwrap_or_default();
        done.text.push_str(&format!("  static constexpr ::v8::internal::RelinkWord<{word}> {plain}{{}};\n"));
        done.names.push(qualified);
    }
    Ok(done)
}

fn name_of(class: &str, name: &str) -> Option<String> {
    Some(format!("{class}::{name}"))
}

/// The name of the constant that a line begins to define.
fn constant(line: &str) -> Option<&str> {
    let rest = DEFINITIONS.iter().find_map(|start| line.trim_start().strip_prefix(start))?;
    let name = rest.split(['=', ' ', ';', '{']).next()?;
    (rest[name.len()..].trim_start().starts_with('=') && name.starts_with('k')).then_some(name)
}

/// A word of the table is known at run time only: nothing can be asserted of it.
fn refuse_assertion(done: &Rewritten, class: Option<&str>, number: usize, line: &str) -> Result<(), NoRule> {
    let words = || line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let of_table = |word: &str| {
        class.is_some_and(|class| done.names.iter().any(|name| *name == format!("{class}::{word}")))
    };
    if line.contains("static_assert") && words().any(of_table) {
        let why = "it asserts something of a number that is known at run time only";
        return Err(NoRule { line: number + 1, text: line.trim().into(), why });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "\
class Internals {
 public:
  static const int kA = 1;
  static const int kLong =
      2 * kA +
      kA;
#ifdef V8_ELSEWHERE
  static const int kNotHere = 3;
#endif
  static constexpr uint32_t kB = 4;
  static constexpr int Function(int kC = 1) { return kA; }
};
class Other {
  static const int kA = 1;
};
";

    fn numbers(names: &[&str]) -> BTreeMap<String, usize> {
        names.iter().enumerate().map(|(n, name)| (format!("v8::internal::Internals::{name}"), n)).collect()
    }

    #[test]
    fn constants_of_layout_classes_read_the_table_and_others_stay() {
        let done = rewrite(HEADER, &numbers(&["kA", "kLong", "kB"])).expect("rules");
        let expected = HEADER
            .replacen("static const int kA = 1", "static constexpr ::v8::internal::RelinkWord<0> kA{}", 1)
            .replace(
                "static const int kLong =\n      2 * kA +\n      kA",
                "static constexpr ::v8::internal::RelinkWord<1> kLong{}",
            )
            .replace(
                "static constexpr uint32_t kB = 4",
                "static constexpr ::v8::internal::RelinkWord<2> kB{}",
            );
        assert_eq!(done.text, expected);
        assert_eq!(done.names, ["kA", "kLong", "kB"].map(|n| format!("v8::internal::Internals::{n}")));
    }

    #[test]
    fn an_assertion_about_a_word_of_the_table_has_no_rule() {
        let header = "class Internals {\n  static const int kA = 1;\n    static_assert(kA == 1);\n};\n";
        let error = rewrite(header, &numbers(&["kA"])).expect_err("no rule");
        assert_eq!((error.line, error.text.as_str()), (3, "static_assert(kA == 1);"));
    }

    #[test]
    fn a_definition_without_an_end_has_no_rule() {
        let error =
            rewrite("class Internals {\n  static const int kA =\n", &numbers(&["kA"])).expect_err("no rule");
        assert_eq!(error.line, 2);
    }
}
