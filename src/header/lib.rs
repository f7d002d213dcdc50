//! Reads Relink's own C headers (shim/include/relink.h, shim/cpp/bridge.h), which are the source of truth for what crosses a border.
//!
//! Build scripts turn a header into Rust with [`Header::rust`], so Rust has no mirror that could differ. Tests compare
//! [`Header::facts`] with what a C compiler, Python's ctypes and Java's JNA say of the same names.
//!
//! Only the plain C of these headers is read: structures, unions, enumerations, function pointer types, functions, and
//! `#define NAME NUMBER`. Anything else is an error and never passed over, so nothing of a header can be missing on the other side.
//! (bindgen reads all of C, but needs libclang, which a machine that builds Relink need not have.)

mod facts;
mod parse;
mod rust;

pub use facts::Facts;
pub use rust::Functions;

use std::fmt;

/// A header that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Structures and unions with their members, in the order of the header. Each named one comes before those that contain it.
    pub aggregates: Vec<Aggregate>,
    /// Names of structures whose members nobody but the other side knows.
    pub opaque: Vec<String>,
    /// Constants of enumerations and `#define`s.
    pub constants: Vec<Constant>,
    /// Types of functions that are passed as pointers.
    pub callbacks: Vec<Function>,
    /// Functions that the other side calls.
    pub functions: Vec<Function>,
}

/// A structure or union.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregate {
    /// Its name in C. One without a name of its own has that of its owner and member, `OWNER_MEMBER`.
    pub name: String,
    /// Whether all members lie at the same place.
    pub is_union: bool,
    /// Whether C knows it by `name`.
    pub is_named: bool,
    /// Its members.
    pub members: Vec<Variable>,
}

/// A member or parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name; empty for a parameter without one.
    pub name: String,
    /// Its type.
    pub kind: Type,
}

/// A constant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constant {
    /// Its name in C.
    pub name: String,
    /// Its value.
    pub value: i64,
    /// The enumeration that it is of; none for a `#define`.
    pub of: Option<String>,
}

/// A function, or the type of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name in C.
    pub name: String,
    /// What it gives back.
    pub result: Type,
    /// What it takes.
    pub parameters: Vec<Variable>,
}

/// A type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Nothing, or what a `void *` leads to.
    Void,
    /// A number.
    Number(&'static Number),
    /// A structure, union, or type of a function pointer of this name.
    Named(String),
    /// A pointer.
    Pointer {
        /// What it leads to.
        to: Box<Type>,
        /// Whether that is `const`.
        is_const: bool,
    },
    /// So many of them, one after the other.
    Array(Box<Type>, usize),
    /// A pointer to a function.
    Function(Box<Function>),
}

/// A type of numbers on LP64, where its alignment is its size.
#[derive(Debug, PartialEq, Eq)]
pub struct Number {
    /// How C calls it.
    pub c: &'static str,
    /// How Rust calls it.
    pub rust: &'static str,
    /// Its size in bytes.
    pub size: usize,
    /// `i` signed, `u` unsigned, `f` floating.
    pub class: char,
}

/// All types of numbers that may stand in a header.
pub static NUMBERS: [Number; 24] = [
    number("char", "std::ffi::c_char", 1, 'i'),
    number("signed char", "i8", 1, 'i'),
    number("unsigned char", "u8", 1, 'u'),
    number("short", "std::ffi::c_short", 2, 'i'),
    number("unsigned short", "std::ffi::c_ushort", 2, 'u'),
    number("int", "std::ffi::c_int", 4, 'i'),
    number("unsigned int", "std::ffi::c_uint", 4, 'u'),
    number("long", "std::ffi::c_long", 8, 'i'),
    number("unsigned long", "std::ffi::c_ulong", 8, 'u'),
    number("long long", "std::ffi::c_longlong", 8, 'i'),
    number("unsigned long long", "std::ffi::c_ulonglong", 8, 'u'),
    number("int8_t", "i8", 1, 'i'),
    number("uint8_t", "u8", 1, 'u'),
    number("int16_t", "i16", 2, 'i'),
    number("uint16_t", "u16", 2, 'u'),
    number("int32_t", "i32", 4, 'i'),
    number("uint32_t", "u32", 4, 'u'),
    number("int64_t", "i64", 8, 'i'),
    number("uint64_t", "u64", 8, 'u'),
    number("size_t", "usize", 8, 'u'),
    number("intptr_t", "isize", 8, 'i'),
    number("uintptr_t", "usize", 8, 'u'),
    number("float", "f32", 4, 'f'),
    number("double", "f64", 8, 'f'),
];

const fn number(c: &'static str, rust: &'static str, size: usize, class: char) -> Number {
    Number { c, rust, size, class }
}

/// What of a header cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Line number from 1.
    pub line: usize,
    /// What is wrong there.
    pub why: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

impl std::error::Error for Unreadable {}

impl Header {
    /// Reads the text of a header.
    ///
    /// # Errors
    /// It has something that is not understood.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        parse::parse(text)
    }

    /// The structure or union of this name.
    fn aggregate(&self, name: &str) -> Option<&Aggregate> {
        self.aggregates.iter().find(|aggregate| aggregate.name == name)
    }
}
