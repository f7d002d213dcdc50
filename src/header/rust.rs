//! From [`Header`] to Rust.
//!
//! # Safety
//! The text that is made has functions as addresses of the types that the header says: whoever looks them up promises that they are.

use super::{Aggregate, Function, Header, Type, Variable};
use std::fmt::Write as _;

/// Names that are Rust's own.
const KEYWORDS: [&str; 12] =
    ["as", "box", "final", "fn", "impl", "in", "loop", "match", "mod", "move", "ref", "type"];

/// The ABI of the other side's functions.
const UNWINDS: &str = "extern \"C-unwind\"";

/// What Rust has to do with the functions of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Functions<'a> {
    /// It looks them up in an image: a structure `Functions` with all of them, whose fields are named without this prefix.
    LookedUp(&'a str),
    /// It defines them: each must be found by `use` of these paths, and have the type that the header says.
    Defined(&'a str),
}

impl Header {
    /// The header as Rust: everything has its name in C, so it is found in both. Nothing of it is marked as allowed to be unused,
    /// so a constant or function that Rust's side does not know of fails the lints.
    pub fn rust(&self, functions: Functions) -> String {
        let mut out = String::from("// Made by relink-header from the header. Not to be edited.\n\n");
        for constant in &self.constants {
            let (name, value) = (&constant.name, constant.value);
            let of = constant.of.as_ref().map_or("#define".into(), |of| format!("enum {of}"));
            line(&mut out, &format!("/// {of}\npub const {name}: std::ffi::c_int = {value};"));
        }
        for name in &self.opaque {
            line(&mut out, &format!("/// Only the other side knows its members.\n#[repr(C)]\n#[derive(Debug)]\npub struct {name} {{\n    _members: [u8; 0],\n}}"));
        }
        for callback in &self.callbacks {
            line(
                &mut out,
                &format!(
                    "/// Null is none.\npub type {} = Option<{}>;",
                    callback.name,
                    self.callback(callback)
                ),
            );
        }
        for aggregate in &self.aggregates {
            self.aggregate_in_rust(aggregate, &mut out);
        }
        match functions {
            Functions::LookedUp(prefix) => self.looked_up(prefix, &mut out),
            Functions::Defined(paths) => self.defined(paths, &mut out),
        }
        // What Rust gives to the other side never unwinds; what the other side gives to Rust may.
        if matches!(functions, Functions::LookedUp(_)) {
            out = out.replace(UNWINDS, "extern \"C\"");
        }
        out
    }

    fn aggregate_in_rust(&self, aggregate: &Aggregate, out: &mut String) {
        let (keyword, name) = (if aggregate.is_union { "union" } else { "struct" }, &aggregate.name);
        let mut text =
            format!("/// {keyword} {name}\n#[repr(C)]\n#[derive(Clone, Copy)]\npub {keyword} {name} {{\n");
        for member in &aggregate.members {
            let (member, kind) = (own(&member.name), self.kind(&member.kind));
            line(&mut text, &format!("    pub {member}: {kind},"));
        }
        text.push_str("}\n");
        let (size, alignment) = self.layout(aggregate);
        line(&mut text, &format!("const _: () = assert!(size_of::<{name}>() == {size});"));
        line(&mut text, &format!("const _: () = assert!(align_of::<{name}>() == {alignment});"));
        for (member, at, _) in self.offsets(aggregate) {
            let member = own(member);
            line(
                &mut text,
                &format!("const _: () = assert!(std::mem::offset_of!({name}, {member}) == {at});"),
            );
        }
        out.push_str(&text);
    }

    fn looked_up(&self, prefix: &str, out: &mut String) {
        let field = |function: &Function| own(function.name.strip_prefix(prefix).unwrap_or(&function.name));
        let fields: String =
            self.functions.iter().map(|f| format!("    pub {}: {},\n", field(f), self.pointer(f))).collect();
        let found: String = self
            .functions
            .iter()
            .map(|f| {
                let (field, name, kind) = (field(f), &f.name, self.pointer(f));
                format!(
                    "            {field}: {{\n                let address = look(\"{name}\")?;\n                \
                     // SAFETY: the address of the function of that name, whose type the header says.\n                \
                     unsafe {{ std::mem::transmute::<usize, {kind}>(address) }}\n            }},\n"
                )
            })
            .collect();
        let _ = write!(
            out,
            "/// The header's functions. Each is to be called as the header says.\n\
             #[derive(Clone, Copy, Debug)]\npub struct Functions {{\n{fields}}}\n\n\
             impl Functions {{\n    /// Finds all of them; `look` gives the run-time address of one by its name.\n    ///\n    \
             /// # Safety\n    /// The addresses are those of the functions of these names, in an image that stays loaded.\n    \
             pub unsafe fn find<E>(look: impl Fn(&str) -> Result<usize, E>) -> Result<Self, E> {{\n        \
             Ok(Self {{\n{found}        }})\n    }}\n}}\n"
        );
    }

    fn defined(&self, paths: &str, out: &mut String) {
        let checks: String = self
            .functions
            .iter()
            .map(|f| format!("    const _: {} = {};\n", self.pointer(f), f.name))
            .collect();
        let _ = write!(
            out,
            "/// Every function of the header is defined, with the type that the header says.\n\
             mod defined {{\n    use super::*;\n    use {paths};\n\n{checks}}}\n"
        );
    }

    /// The type of a pointer to a function, not null.
    fn pointer(&self, function: &Function) -> String {
        let parameter = |p: &Variable| match &p.kind {
            Type::Array(of, _) => format!("*mut {}", self.kind(of)),
            kind => self.kind(kind),
        };
        let parameters: Vec<_> = function.parameters.iter().map(parameter).collect();
        let result = match &function.result {
            Type::Void => String::new(),
            kind => format!(" -> {}", self.kind(kind)),
        };
        format!("unsafe extern \"C\" fn({}){result}", parameters.join(", "))
    }

    /// The type of a pointer to a function of the other side's, not null. It may unwind: a language whose run time has ended ends
    /// the thread that calls it by `pthread_exit(3)`.
    fn callback(&self, function: &Function) -> String {
        self.pointer(function).replacen("extern \"C\"", UNWINDS, 1)
    }

    fn kind(&self, kind: &Type) -> String {
        match kind {
            Type::Void => "std::ffi::c_void".into(),
            Type::Number(number) => number.rust.into(),
            Type::Named(name) => name.clone(),
            Type::Pointer { to, is_const } => {
                format!("*{} {}", if *is_const { "const" } else { "mut" }, self.kind(to))
            }
            Type::Array(of, count) => format!("[{}; {count}]", self.kind(of)),
            Type::Function(function) => format!("Option<{}>", self.callback(function)),
        }
    }
}

fn own(name: &str) -> String {
    if KEYWORDS.contains(&name) {
        format!("r#{name}")
    } else {
        name.into()
    }
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_its_name_in_c() {
        let text = "#define A_MOST 3\ntypedef struct a_thing a_thing;
            typedef int (*a_done)(void *context, const char *const *texts);
            typedef struct a_value { uint32_t type; a_done done; char text[8]; } a_value;
            void a_set(a_thing *thing, const a_value *value, void (*then)(void));";
        let header = Header::parse(text).unwrap();
        let rust = header.rust(Functions::LookedUp("a_"));
        for wanted in [
            "pub const A_MOST: std::ffi::c_int = 3;",
            "pub struct a_thing {",
            "pub type a_done = Option<unsafe extern \"C\" fn(*mut std::ffi::c_void, *const *const std::ffi::c_char) -> std::ffi::c_int>;",
            "    pub r#type: u32,\n    pub done: a_done,\n    pub text: [std::ffi::c_char; 8],",
            "offset_of!(a_value, r#type) == 0",
            "size_of::<a_value>() == 24",
            "    pub set: unsafe extern \"C\" fn(*mut a_thing, *const a_value, Option<unsafe extern \"C\" fn()>),",
            "look(\"a_set\")?",
        ] {
            assert!(rust.contains(wanted), "{wanted}\n{rust}");
        }
        let defined = header.rust(Functions::Defined("crate::*"));
        assert!(defined.contains("    const _: unsafe extern \"C\" fn("), "{defined}");
        assert!(defined.contains("pub type a_done = Option<unsafe extern \"C-unwind\" fn("), "{defined}");
    }
}
