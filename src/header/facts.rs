//! What every side of a border has to say the same of: sizes, places, numbers, kinds of parameters.

use super::{Aggregate, Function, Header, Type};
use std::collections::BTreeMap;

/// Facts by name, in the words that the printers of tests use:
///
/// - `size NAME` of a structure, in bytes; `member NAME.PATH` its offset and size, `8+4`. Members of inner structures and
///   unions are named by their path, `as.number`.
/// - `constant NAME` its value.
/// - `callback NAME` and `function NAME` their result and parameters, `i4(p8,u4)`: `p` pointer, `i` signed, `u` unsigned,
///   `f` floating, each with its size in bytes; `v` nothing.
pub type Facts = BTreeMap<String, String>;

impl Header {
    /// All facts of the header, as they are on LP64.
    pub fn facts(&self) -> Facts {
        let mut facts = Facts::new();
        for aggregate in self.aggregates.iter().filter(|aggregate| aggregate.is_named) {
            facts.insert(format!("size {}", aggregate.name), self.layout(aggregate).0.to_string());
            self.members(aggregate, 0, &aggregate.name, &mut facts);
        }
        for constant in &self.constants {
            facts.insert(format!("constant {}", constant.name), constant.value.to_string());
        }
        for (what, functions) in [("callback", &self.callbacks), ("function", &self.functions)] {
            for function in functions {
                facts.insert(format!("{what} {}", function.name), self.signature(function));
            }
        }
        facts
    }

    fn members(&self, aggregate: &Aggregate, from: usize, path: &str, facts: &mut Facts) {
        for (name, at, kind) in self.offsets(aggregate) {
            let path = format!("{path}.{name}");
            match self.inner(kind) {
                Some(inner) => self.members(inner, from + at, &path, facts),
                None => drop(
                    facts.insert(format!("member {path}"), format!("{}+{}", from + at, self.size(kind).0)),
                ),
            }
        }
    }

    fn inner(&self, kind: &Type) -> Option<&Aggregate> {
        match kind {
            Type::Named(name) => self.aggregate(name),
            _ => None,
        }
    }

    /// Each member, its offset and type.
    pub(crate) fn offsets<'h>(&self, aggregate: &'h Aggregate) -> Vec<(&'h str, usize, &'h Type)> {
        let mut next = 0;
        let members = aggregate.members.iter().map(|member| {
            let (size, alignment) = self.size(&member.kind);
            let at = if aggregate.is_union { 0 } else { usize::next_multiple_of(next, alignment) };
            next = at + size;
            (&*member.name, at, &member.kind)
        });
        members.collect()
    }

    /// Size and alignment of a structure or union.
    pub(crate) fn layout(&self, aggregate: &Aggregate) -> (usize, usize) {
        let ends = self.offsets(aggregate).into_iter().map(|(_, at, kind)| at + self.size(kind).0).max();
        let alignment = aggregate.members.iter().map(|member| self.size(&member.kind).1).max().unwrap_or(1);
        (ends.unwrap_or(0).next_multiple_of(alignment), alignment)
    }

    /// Size and alignment.
    fn size(&self, kind: &Type) -> (usize, usize) {
        match kind {
            Type::Void => (0, 1),
            Type::Number(number) => (number.size, number.size),
            Type::Pointer { .. } | Type::Function(_) => (8, 8),
            Type::Array(of, count) => {
                let (size, alignment) = self.size(of);
                (size * count, alignment)
            }
            // What has no members is a pointer to a function.
            Type::Named(name) => self.aggregate(name).map_or((8, 8), |inner| self.layout(inner)),
        }
    }

    fn signature(&self, function: &Function) -> String {
        let parameters: Vec<_> = function.parameters.iter().map(|p| self.class(&p.kind)).collect();
        format!("{}({})", self.class(&function.result), parameters.join(","))
    }

    fn class(&self, kind: &Type) -> String {
        match kind {
            Type::Void => "v".into(),
            Type::Number(number) => format!("{}{}", number.class, number.size),
            // An array that is a parameter is a pointer.
            Type::Pointer { .. } | Type::Function(_) | Type::Array(..) => "p8".into(),
            Type::Named(_) => match self.inner(kind) {
                Some(inner) => format!("s{}", self.layout(inner).0),
                None => "p8".into(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_lie_where_a_compiler_puts_them() {
        let text = "typedef void (*a_done)(void *, int, float);
            typedef struct a_value { char kind; union { double number; struct { void *at; unsigned size; } bytes; } as; short last; } a_value;
            int a_take(const a_value *value, a_done done, unsigned long long how, char text[4]);
            a_value a_give(void);";
        let facts = Header::parse(text).unwrap().facts();
        let of = |name: &str| facts.get(name).map(String::as_str);
        assert_eq!(of("size a_value"), Some("32"));
        assert_eq!(of("member a_value.kind"), Some("0+1"));
        assert_eq!(of("member a_value.as.number"), Some("8+8"));
        assert_eq!(of("member a_value.as.bytes.size"), Some("16+4"));
        assert_eq!(of("member a_value.last"), Some("24+2"));
        assert_eq!(of("callback a_done"), Some("v(p8,i4,f4)"));
        assert_eq!(of("function a_take"), Some("i4(p8,p8,u8,p8)"));
        assert_eq!(of("function a_give"), Some("s32()"));
        assert_eq!(facts.len(), 9);
    }
}
