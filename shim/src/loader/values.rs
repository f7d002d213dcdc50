//! Values of the core as JSON and back, in the encoding of shim/js/loader.js.
//!
//! # Safety
//! Values come from the core and are what their type says. One that is made here is given back to the core, or destroyed.

use super::abi::{c_text, text, Core, Kind, Opaque};
use super::session::Session;
use base64::engine::general_purpose::STANDARD as BASE64;
use base64::Engine;
use serde_json::{json, Value as Json};
use std::ffi::{c_double, c_long};
use std::sync::Arc;

/// Deeper nesting is refused, as in loader.js; JSON's parser allows 128.
const DEEPEST: usize = 100;

/// A value that is destroyed unless it is given away.
pub struct Owned<'a>(&'a Core, Opaque);

impl<'a> Owned<'a> {
    /// Takes a value over that the core made; it makes none if there is no memory.
    pub fn new(core: &'a Core, value: Opaque) -> Result<Self, String> {
        let none = || "the core could not make a value".to_owned();
        (!value.is_null()).then_some(Self(core, value)).ok_or_else(none)
    }

    /// The value, which stays ours.
    pub fn get(&self) -> Opaque {
        self.1
    }

    /// Gives the value away.
    pub fn give(self) -> Opaque {
        let value = self.1;
        std::mem::forget(self);
        value
    }
}

impl Drop for Owned<'_> {
    fn drop(&mut self) {
        // SAFETY: made by the core and given to nobody.
        unsafe { (self.0.value_type_destroy)(self.1) };
    }
}

/// A value of the core as JSON.
///
/// # Safety
/// `value` is null or a value of the core's.
pub unsafe fn encode(session: &Session, value: Opaque, depth: usize) -> Result<Json, String> {
    if value.is_null() {
        return Ok(Json::Null);
    }
    let core = session.core;
    // SAFETY: promised by the caller.
    let number = unsafe { (core.value_type_id)(value) };
    let kind = Kind::of(number).ok_or_else(|| format!("a value of the unknown type {number}"))?;
    // SAFETY: each getter is called for a value of its type only; what it gives lives as long as the value.
    Ok(unsafe {
        match kind {
            Kind::Null => Json::Null,
            Kind::Bool => Json::Bool((core.value_to_bool)(value) != 0),
            Kind::Char => json!((core.value_to_char)(value)),
            Kind::Short => json!((core.value_to_short)(value)),
            Kind::Int => json!((core.value_to_int)(value)),
            Kind::Long => json!(["l", (core.value_to_long)(value).to_string()]),
            Kind::Float => number_text(f64::from((core.value_to_float)(value))),
            Kind::Double => number_text((core.value_to_double)(value)),
            Kind::String => Json::String(string(core, value)),
            Kind::Buffer => json!(["b", BASE64.encode(buffer(core, value))]),
            Kind::Array => array(session, value, depth)?,
            Kind::Map => map(session, value, depth)?,
            Kind::Pointer => json!(["x", ((core.value_to_ptr)(value) as usize).to_string()]),
            Kind::Future => session.future((core.value_to_future)(value))?,
            Kind::Function => session.function(value),
            Kind::Exception => exception(core, (core.value_to_exception)(value)),
            Kind::Throwable => {
                let inner = (core.throwable_value)((core.value_to_throwable)(value));
                json!(["t", encode(session, inner, depth + 1)?])
            }
            Kind::Class | Kind::Object => {
                return Err(format!(
                    "{kind:?}: classes and objects of other languages cannot be given to Node"
                ));
            }
        }
    })
}

/// JSON has no infinities, and no minus zero that every parser keeps.
fn number_text(number: f64) -> Json {
    if number.is_finite() && (number != 0.0 || number.is_sign_positive()) {
        return json!(number);
    }
    let text = match number {
        n if n.is_nan() => "NaN",
        0.0 => "-0",
        n if n > 0.0 => "Infinity",
        _ => "-Infinity",
    };
    json!(["n", text])
}

/// # Safety
/// `value` is a string of the core's.
unsafe fn string(core: &Core, value: Opaque) -> String {
    // SAFETY: so many bytes, the last of them zero.
    let bytes = unsafe {
        let size = (core.value_type_size)(value);
        slice((core.value_to_string)(value).cast::<u8>(), size.saturating_sub(1))
    };
    String::from_utf8_lossy(bytes).into_owned()
}

/// # Safety
/// `value` is a buffer of the core's.
unsafe fn buffer(core: &Core, value: Opaque) -> &[u8] {
    // SAFETY: so many bytes.
    unsafe { slice((core.value_to_buffer)(value).cast::<u8>(), (core.value_type_size)(value)) }
}

/// # Safety
/// There are so many elements at `at`, which may be null if there are none.
unsafe fn slice<'a, T>(at: *const T, count: usize) -> &'a [T] {
    if at.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: promised by the caller.
    unsafe { std::slice::from_raw_parts(at, count) }
}

fn deeper(depth: usize) -> Result<usize, String> {
    let too_deep = || format!("a value is nested deeper than {DEEPEST}");
    (depth < DEEPEST).then_some(depth + 1).ok_or_else(too_deep)
}

/// # Safety
/// `value` is an array of the core's.
unsafe fn array(session: &Session, value: Opaque, depth: usize) -> Result<Json, String> {
    let depth = deeper(depth)?;
    // SAFETY: so many values.
    let elements =
        unsafe { slice((session.core.value_to_array)(value), (session.core.value_type_count)(value)) };
    let mut made = vec![json!("a")];
    for element in elements {
        // SAFETY: an element of the array.
        made.push(unsafe { encode(session, *element, depth) }?);
    }
    Ok(Json::Array(made))
}

/// # Safety
/// `value` is a map of the core's.
unsafe fn map(session: &Session, value: Opaque, depth: usize) -> Result<Json, String> {
    let (core, depth) = (session.core, deeper(depth)?);
    // SAFETY: so many values, each an array of key and value.
    let pairs = unsafe { slice((core.value_to_map)(value), (core.value_type_count)(value)) };
    let mut made = vec![json!("m")];
    for pair in pairs {
        // SAFETY: as above.
        let [key, value] = *(unsafe { slice((core.value_to_array)(*pair), (core.value_type_count)(*pair)) })
        else {
            return Err("a map with an element that is no pair".into());
        };
        // SAFETY: elements of the pair.
        let key = match unsafe { encode(session, key, depth) }? {
            text @ Json::String(_) => text,
            Json::Number(number) => json!(number.to_string()),
            _ => return Err("a map with a key that is neither text nor number".into()),
        };
        made.push(key);
        // SAFETY: as above.
        made.push(unsafe { encode(session, value, depth) }?);
    }
    Ok(Json::Array(made))
}

/// # Safety
/// `exception` is one of the core's.
unsafe fn exception(core: &Core, exception: Opaque) -> Json {
    // SAFETY: NUL-terminated strings or null.
    unsafe {
        let [message, label, stack] =
            [core.exception_message, core.exception_label, core.exception_stacktrace]
                .map(|get| text(get(exception)));
        json!(["e", message, label, stack])
    }
}

/// JSON as a value of the core.
pub fn decode<'a>(session: &'a Arc<Session>, it: &Json) -> Result<Owned<'a>, String> {
    let core = session.core;
    // SAFETY: plain values.
    let value = unsafe {
        match it {
            Json::Null => (core.value_create_null)(),
            Json::Bool(it) => (core.value_create_bool)(u8::from(*it)),
            Json::Number(it) => (core.value_create_double)(it.as_f64().unwrap_or(f64::NAN)),
            Json::String(it) => return make_string(core, it),
            Json::Array(it) => return decode_kind(session, it),
            Json::Object(_) => return Err(strange(it)),
        }
    };
    Owned::new(core, value)
}

fn strange(it: &impl std::fmt::Debug) -> String {
    format!("loader.js gave {it:?}")
}

fn make_string<'a>(core: &'a Core, text: &str) -> Result<Owned<'a>, String> {
    let terminated = [text.as_bytes(), b"\0"].concat();
    // SAFETY: so many bytes and a zero.
    Owned::new(core, unsafe { (core.value_create_string)(terminated.as_ptr().cast(), text.len()) })
}

fn decode_kind<'a>(session: &'a Arc<Session>, parts: &[Json]) -> Result<Owned<'a>, String> {
    let core = session.core;
    let (kind, rest) = match parts {
        [Json::String(kind), rest @ ..] => (kind.as_str(), rest),
        _ => return Err(strange(&parts)),
    };
    match (kind, rest) {
        ("a", elements) => make_array(session, elements),
        ("m", flat) => make_map(session, flat),
        ("b", [Json::String(it)]) => make_buffer(core, &BASE64.decode(it).map_err(|e| e.to_string())?),
        ("n", [Json::String(it)]) => make_number(core, it),
        ("l", [Json::String(it)]) => {
            let number = it.parse::<c_long>().map_err(|e| format!("{it}: {e}"))?;
            // SAFETY: a plain value.
            Owned::new(core, unsafe { (core.value_create_long)(number) })
        }
        ("x", [Json::String(it)]) => {
            let address = it.parse::<usize>().map_err(|e| format!("{it}: {e}"))?;
            // SAFETY: never looked behind here.
            Owned::new(core, unsafe { (core.value_create_ptr)(address as *const _) })
        }
        ("f", _) => session.make_function(rest),
        ("h", [Json::Number(it)]) => session.host_function(it.as_u64().unwrap_or(0)),
        ("p", [Json::Number(it)]) => session.make_future(it.as_u64().unwrap_or(0)),
        ("e", [Json::String(message), Json::String(label), Json::String(stack)]) => {
            make_exception(core, message, label, stack)
        }
        ("t", [thrown]) => make_thrown(core, decode(session, thrown)?),
        _ => Err(strange(&parts)),
    }
}

fn make_number<'a>(core: &'a Core, text: &str) -> Result<Owned<'a>, String> {
    let number = text.parse::<c_double>().map_err(|e| format!("{text}: {e}"))?;
    // SAFETY: a plain value.
    Owned::new(core, unsafe { (core.value_create_double)(number) })
}

fn make_buffer<'a>(core: &'a Core, bytes: &[u8]) -> Result<Owned<'a>, String> {
    // SAFETY: so many bytes.
    Owned::new(core, unsafe { (core.value_create_buffer)(bytes.as_ptr().cast(), bytes.len()) })
}

fn make_array<'a>(session: &'a Arc<Session>, elements: &[Json]) -> Result<Owned<'a>, String> {
    let made: Vec<Owned> = elements.iter().map(|it| decode(session, it)).collect::<Result<_, _>>()?;
    array_of(session.core, made)
}

fn array_of<'a>(core: &'a Core, elements: Vec<Owned<'a>>) -> Result<Owned<'a>, String> {
    let given: Vec<Opaque> = elements.into_iter().map(Owned::give).collect();
    // SAFETY: so many values, which are the array's now.
    Owned::new(core, unsafe { (core.value_create_array)(given.as_ptr(), given.len()) })
}

fn make_map<'a>(session: &'a Arc<Session>, flat: &[Json]) -> Result<Owned<'a>, String> {
    let core = session.core;
    let pair = |pair: &[Json]| array_of(core, vec![decode(session, &pair[0])?, decode(session, &pair[1])?]);
    let pairs: Vec<Owned> = flat.chunks_exact(2).map(pair).collect::<Result<_, String>>()?;
    let given: Vec<Opaque> = pairs.into_iter().map(Owned::give).collect();
    // SAFETY: so many arrays of two, which are the map's now.
    Owned::new(core, unsafe { (core.value_create_map)(given.as_ptr(), given.len()) })
}

fn make_exception<'a>(core: &'a Core, message: &str, label: &str, stack: &str) -> Result<Owned<'a>, String> {
    let [message, label, stack] = [message, label, stack].map(c_text);
    // SAFETY: NUL-terminated strings, which the core copies.
    Owned::new(core, unsafe {
        let made = (core.exception_create_const)(message.as_ptr(), label.as_ptr(), 0, stack.as_ptr());
        (core.value_create_exception)(made)
    })
}

fn make_thrown<'a>(core: &'a Core, thrown: Owned<'a>) -> Result<Owned<'a>, String> {
    // SAFETY: the throwable owns what was thrown, and the value the throwable.
    Owned::new(core, unsafe { (core.value_create_throwable)((core.throwable_create)(thrown.give())) })
}

/// An error of Relink's own, as if a script had thrown it.
pub fn failed<'a>(core: &'a Core, message: &str) -> Result<Owned<'a>, String> {
    make_thrown(core, make_exception(core, message, "ERR_RELINK", "")?)
}
