//! From text to [`Header`].

use super::{Aggregate, Constant, Function, Header, Type, Unreadable, Variable, NUMBERS};

/// A word, number or sign, and the line that it stands in.
type Token = (usize, String);

/// Words without a meaning for what crosses a border.
const PASSED_OVER: [&str; 2] = ["extern", "RELINK_BRIDGE_API"];

pub fn parse(text: &str) -> Result<Header, Unreadable> {
    let mut header = Header::default();
    let plain = without_comments(text);
    let mut code = Vec::new();
    // Depth of `#if`s that are not for C.
    let mut skipped = 0_usize;
    for (line, number) in plain.lines().zip(1..) {
        let Some(directive) = line.trim_start().strip_prefix('#') else {
            if skipped == 0 {
                code.extend(tokens(line).into_iter().map(|token| (number, token)));
            }
            continue;
        };
        let words: Vec<&str> = directive.split_whitespace().collect();
        match words[..] {
            ["if" | "ifdef" | "ifndef", ..] if skipped > 0 => skipped += 1,
            ["ifdef", "__cplusplus"] => skipped = 1,
            ["endif", ..] => skipped = skipped.saturating_sub(1),
            _ if skipped > 0 => {}
            // An include guard, and what a compiler needs to be told.
            ["ifndef" | "if" | "ifdef" | "else" | "include", ..] | ["define", _] => {}
            ["define", name, ..] if PASSED_OVER.contains(&name) => {}
            ["define", name, value] => {
                let value = integer(value).ok_or_else(|| wrong(number, "a #define that is no number"))?;
                header.constants.push(Constant { name: name.into(), value, of: None });
            }
            _ => return Err(wrong(number, line.trim())),
        }
    }
    let mut parser = Parser { tokens: code, at: 0, header };
    while parser.at < parser.tokens.len() {
        parser.item()?;
    }
    Ok(parser.header)
}

fn wrong(line: usize, why: impl Into<String>) -> Unreadable {
    Unreadable { line, why: format!("not understood: {}", why.into()) }
}

fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let digits = digits.trim_end_matches(['u', 'U', 'l', 'L']);
    let value = match digits.strip_prefix("0x") {
        Some(hexadecimal) => i64::from_str_radix(hexadecimal, 16),
        None => digits.parse(),
    };
    value.ok().map(|value| sign * value)
}

/// Comments become blanks, and lines stay where they are.
fn without_comments(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("/*").into_iter().chain(rest.find("//")).min() {
        let end = if rest[at..].starts_with("//") { "\n" } else { "*/" };
        let after = rest[at + 2..].find(end).map_or(rest.len(), |found| at + 2 + found);
        plain.push_str(&rest[..at]);
        plain.extend(rest[at..after].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = rest[after..].strip_prefix("*/").unwrap_or(&rest[after..]);
    }
    plain + rest
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn tokens(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let length =
            if is_word(first) { rest.find(|c| !is_word(c)).unwrap_or(rest.len()) } else { first.len_utf8() };
        found.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    found
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    header: Header,
}

impl Parser {
    fn peek(&self) -> &str {
        self.tokens.get(self.at).map_or("", |(_, text)| text)
    }

    fn next(&mut self) -> String {
        let token = self.peek().to_owned();
        self.at += 1;
        token
    }

    fn accept(&mut self, text: &str) -> bool {
        let found = self.peek() == text;
        self.at += usize::from(found);
        found
    }

    fn error(&self, why: &str) -> Unreadable {
        let last = self.tokens.len().saturating_sub(1);
        let line = self.tokens.get(self.at.min(last)).map_or(0, |(line, _)| *line);
        wrong(line, format!("\"{}\", where {why}", self.peek()))
    }

    fn expect(&mut self, text: &str) -> Result<(), Unreadable> {
        if self.accept(text) {
            return Ok(());
        }
        Err(self.error(&format!("\"{text}\" is expected")))
    }

    fn name(&mut self) -> Result<String, Unreadable> {
        if self.peek().starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return Ok(self.next());
        }
        Err(self.error("a name is expected"))
    }

    /// One declaration.
    fn item(&mut self) -> Result<(), Unreadable> {
        while PASSED_OVER.contains(&self.peek()) {
            self.at += 1;
        }
        let is_type = self.accept("typedef");
        match self.peek() {
            "enum" if !is_type => self.enumeration(),
            word @ ("struct" | "union") => {
                let is_union = word == "union";
                self.at += 1;
                let name = self.name()?;
                // Its members may lead to others of it.
                if !self.header.opaque.contains(&name) {
                    self.header.opaque.push(name.clone());
                }
                if self.accept("{") {
                    self.aggregate(name.clone(), is_union, true)?;
                    self.header.opaque.retain(|opaque| *opaque != name);
                }
                // A structure has one name, so that all sides call it the same.
                if is_type {
                    self.expect(&name)?;
                }
                self.expect(";")
            }
            _ => {
                let declared = self.variable("")?;
                self.expect(";")?;
                let Type::Function(mut function) = declared.kind else {
                    return Err(self.error("a function was expected before"));
                };
                function.name = declared.name;
                let list = if is_type { &mut self.header.callbacks } else { &mut self.header.functions };
                list.push(*function);
                Ok(())
            }
        }
    }

    fn enumeration(&mut self) -> Result<(), Unreadable> {
        self.expect("enum")?;
        let of = self.name()?;
        self.expect("{")?;
        let mut next = 0;
        while !self.accept("}") {
            let name = self.name()?;
            if self.accept("=") {
                let sign = if self.accept("-") { -1 } else { 1 };
                next = sign * integer(self.peek()).ok_or_else(|| self.error("a number is expected"))?;
                self.at += 1;
            }
            self.header.constants.push(Constant { name, value: next, of: Some(of.clone()) });
            next += 1;
            if !self.accept(",") {
                self.expect("}")?;
                break;
            }
        }
        self.expect(";")
    }

    /// The members, behind the opening brace.
    fn aggregate(&mut self, name: String, is_union: bool, is_named: bool) -> Result<(), Unreadable> {
        let mut members = Vec::new();
        while !self.accept("}") {
            let member = self.variable(&name)?;
            if member.name.is_empty() {
                return Err(self.error("a member without a name was before"));
            }
            members.push(member);
            self.expect(";")?;
        }
        self.header.aggregates.push(Aggregate { name, is_union, is_named, members });
        Ok(())
    }

    /// A member of `owner`, or a parameter, or a function.
    fn variable(&mut self, owner: &str) -> Result<Variable, Unreadable> {
        let inline = matches!(self.peek(), "struct" | "union")
            && self.tokens.get(self.at + 1).is_some_and(|(_, text)| text == "{");
        if inline {
            let is_union = self.next() == "union";
            self.at += 1;
            // Its name stands behind it.
            let mut depth = 1;
            let end = self.tokens[self.at..].iter().position(|(_, text)| {
                depth += i32::from(text == "{") - i32::from(text == "}");
                depth == 0
            });
            let end = end.ok_or_else(|| self.error("a brace is never closed"))?;
            let member = self.tokens.get(self.at + end + 1).map(|(_, text)| text.clone()).unwrap_or_default();
            let name = format!("{owner}_{member}");
            self.aggregate(name.clone(), is_union, false)?;
            return Ok(Variable { name: self.name()?, kind: Type::Named(name) });
        }
        let (base, is_const) = self.specifiers()?;
        self.declarator(base, is_const)
    }

    /// What stands before the stars, and whether it is `const`.
    fn specifiers(&mut self) -> Result<(Type, bool), Unreadable> {
        let (mut is_const, mut words, mut found) = (false, Vec::new(), None);
        loop {
            match self.peek() {
                "const" => {
                    is_const = true;
                    self.at += 1;
                }
                "unsigned" | "signed" | "long" | "short" | "int" | "char" | "double" if found.is_none() => {
                    words.push(self.next());
                }
                "struct" | "union" if found.is_none() && words.is_empty() => {
                    self.at += 1;
                    let name = self.name()?;
                    found = Some(self.known(&name)?);
                }
                _ if found.is_some() || !words.is_empty() => break,
                "void" => {
                    self.at += 1;
                    found = Some(Type::Void);
                }
                _ => {
                    let name = self.name()?;
                    found = Some(self.known(&name).inspect_err(|_| self.at -= 1)?);
                }
            }
        }
        if let Some(found) = found {
            return Ok((found, is_const));
        }
        // `long int` is `long`, `unsigned` is `unsigned int`.
        if words.len() > 1 && words.last().is_some_and(|word| word == "int") && words[0] != "unsigned" {
            words.pop();
        }
        if words.len() > 2 && words.last().is_some_and(|word| word == "int") {
            words.pop();
        }
        let words = if words == ["unsigned"] { "unsigned int".into() } else { words.join(" ") };
        let number = NUMBERS.iter().find(|number| number.c == words);
        let number = number.ok_or_else(|| self.error(&format!("\"{words}\" was before")))?;
        Ok((Type::Number(number), is_const))
    }

    fn known(&self, name: &str) -> Result<Type, Unreadable> {
        if let Some(number) = NUMBERS.iter().find(|number| number.c == name) {
            return Ok(Type::Number(number));
        }
        let header = &self.header;
        let named = header.aggregates.iter().map(|aggregate| &aggregate.name).chain(&header.opaque);
        if named.chain(header.callbacks.iter().map(|callback| &callback.name)).any(|known| known == name) {
            return Ok(Type::Named(name.into()));
        }
        Err(self.error(&format!("a type is expected, and \"{name}\" is none that was declared before")))
    }

    /// Stars, the name, and what stands behind it.
    fn declarator(&mut self, base: Type, base_is_const: bool) -> Result<Variable, Unreadable> {
        let (mut kind, mut is_const) = (base, base_is_const);
        while self.accept("*") {
            kind = Type::Pointer { to: Box::new(kind), is_const };
            is_const = self.accept("const");
        }
        if self.accept("(") {
            // A pointer to a function.
            self.expect("*")?;
            let name = if self.peek() == ")" { String::new() } else { self.name()? };
            self.expect(")")?;
            let function = self.function(kind)?;
            return Ok(Variable { name, kind: function });
        }
        let is_named = self.peek().starts_with(is_word);
        let name = if is_named { self.name()? } else { String::new() };
        if self.peek() == "(" {
            let function = self.function(kind)?;
            return Ok(Variable { name, kind: function });
        }
        while self.accept("[") {
            let length = usize::try_from(integer(self.peek()).unwrap_or(-1));
            let length = length.map_err(|_| self.error("a length is expected"))?;
            self.at += 1;
            self.expect("]")?;
            kind = Type::Array(Box::new(kind), length);
        }
        Ok(Variable { name, kind })
    }

    fn function(&mut self, result: Type) -> Result<Type, Unreadable> {
        self.expect("(")?;
        let mut parameters = Vec::new();
        if self.peek() == "void" && self.tokens.get(self.at + 1).is_some_and(|(_, text)| text == ")") {
            self.at += 1;
        }
        while !self.accept(")") {
            parameters.push(self.variable("")?);
            if !self.accept(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(Type::Function(Box::new(Function { name: String::new(), result, parameters })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "
#ifndef X_H_
#define X_H_
#include <stdint.h>
#ifdef __cplusplus
extern \"C\" {
#endif
#define X_MOST 0x10 /* a comment that says struct { */
enum x_answer { X_OK, X_LATE = 3, /* , */ X_LATER, X_NO = -1 };
typedef struct x_thing x_thing;
typedef void (*x_done)(void *, int answer, const char *text);
typedef struct x_value {
  unsigned int kind; // to the end of the line
  union { double number; struct { const void *at; size_t length; } bytes; } as;
  const char *const *list;
  int (*call)(const struct x_value *value, x_done done);
  char text[12];
} x_value;
int x_call(x_thing *thing, unsigned long long how, x_done done, void (*then)(void));
const char *x_version(void);
#endif
";

    #[test]
    fn all_of_a_header_is_read() {
        let header = Header::parse(PLAIN).unwrap();
        let values: Vec<_> = header.constants.iter().map(|c| (&*c.name, c.value)).collect();
        assert_eq!(values, [("X_MOST", 16), ("X_OK", 0), ("X_LATE", 3), ("X_LATER", 4), ("X_NO", -1)]);
        let names: Vec<_> = header.aggregates.iter().map(|a| &*a.name).collect();
        assert_eq!(names, ["x_value_as_bytes", "x_value_as", "x_value"]);
        assert_eq!(header.opaque, ["x_thing"]);
        let functions: Vec<_> = header.functions.iter().map(|f| (&*f.name, f.parameters.len())).collect();
        assert_eq!(functions, [("x_call", 4), ("x_version", 0)]);
        assert_eq!(header.callbacks[0].parameters.len(), 3);
    }

    #[test]
    fn what_is_not_understood_is_an_error_with_its_line() {
        for (text, line) in [
            ("\nint x : 3;", 2),
            ("typedef struct a { int flag : 1; } a;", 1),
            ("#define A (1 + 2)", 1),
            ("\n\nint f(unknown_t x);", 3),
            ("typedef struct a { int x; } b;", 1),
            ("#pragma pack(1)", 1),
            ("static const int x = 3;", 1),
            ("struct a { int; };", 1),
        ] {
            assert_eq!(Header::parse(text).map_err(|error| error.line), Err(line), "{text}");
        }
    }
}
