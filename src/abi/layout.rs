//! The layout table of a neutral guest: numbers that inlined code of V8's headers reads, which such a guest does not have in
//! its code but in a table of words that the loader fills for the host's V8 before any of the guest's code runs.

use super::catalogue::Facts;
use serde::{Deserialize, Serialize};

/// One word of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// The C++ name of the constant, or the name of one of [`DERIVED`].
    pub name: String,
    /// Its value in the headers that the guest was compiled with.
    pub value: i32,
    /// Whether inlined code reads it: then a host's V8 must tell its value.
    pub read: bool,
}

/// Fields that are no constants of the headers, each with what it says.
pub const DERIVED: [(&str, &str); 5] = [
    (
        "v8::ReturnValue::default_slot",
        "where a return value's default stands beside it, in words; 0: nowhere",
    ),
    ("v8::ReturnValue::default_root", "the root that is the default where none stands beside it"),
    ("v8::ReturnValue::isolate_slot", "where the isolate stands beside a return value, in words"),
    ("v8::FunctionCallbackInfo::target", "which word holds the called function; -1: none does"),
    ("v8::PropertyCallbackInfo::in_place", "1: the words are in the structure; 0: it points to them"),
];

/// Those, besides, of guests compiled for V8 13.6 or a later one.
const DERIVED_SINCE_13_6: [(&str, &str); 3] = [
    (DATA, "which word holds the data of a callback; -1: the called function has it"),
    (TRACED, "the slot of the function that is told a reference to an object of JavaScript's"),
    ("cppgc::internal::api_constants::kFullyConstructedBitMask", "the bit of a constructed object of C++"),
];

/// All of those that guests have which were compiled for a V8, by its major and minor version.
pub fn derived(v8: (u32, u32)) -> impl Iterator<Item = (&'static str, &'static str)> {
    let later = if v8 < (13, 6) { &[][..] } else { &DERIVED_SINCE_13_6 };
    DERIVED.iter().chain(later).copied()
}

const DATA: &str = "v8::FunctionCallbackInfo<v8::Value>::kDataIndex";
const TRACED: &str = "v8::JSVisitor::traced_slot";
const FUNCTION: &str = "v8::FunctionCallbackInfo<v8::Value>";
const PROPERTY: &str = "v8::PropertyCallbackInfo<v8::Value>";
const INTERNALS: &str = "v8::internal::Internals";

/// Since 14.6 V8's words of a call are in its stack frame, otherwise for each kind of call. Guests get words that adapter units make of
/// them (shim/adapters/words.h has the same numbers); by the fields' names.
const WORDS_OF_UNITS: [(&str, i32); 15] = [
    ("v8::FunctionCallbackInfo<v8::Value>::kIsolateIndex", 0),
    ("v8::FunctionCallbackInfo<v8::Value>::kReturnValueIndex", 1),
    ("v8::FunctionCallbackInfo<v8::Value>::kNewTargetIndex", 2),
    ("v8::FunctionCallbackInfo<v8::Value>::kDataIndex", 3),
    ("v8::FunctionCallbackInfo<v8::Value>::kHolderIndex", -1),
    ("v8::FunctionCallbackInfo::target", -1),
    ("v8::FunctionCallbackInfo<v8::Value>::kThisValuesIndex", -1),
    ("v8::PropertyCallbackInfo<v8::Value>::kShouldThrowOnErrorIndex", 0),
    ("v8::PropertyCallbackInfo<v8::Value>::kHolderIndex", 1),
    ("v8::PropertyCallbackInfo<v8::Value>::kIsolateIndex", 2),
    ("v8::PropertyCallbackInfo<v8::Value>::kReturnValueIndex", 3),
    ("v8::PropertyCallbackInfo<v8::Value>::kDataIndex", 4),
    ("v8::PropertyCallbackInfo<v8::Value>::kThisIndex", 5),
    ("v8::PropertyCallbackInfo::in_place", 1),
    ("v8::ReturnValue::isolate_slot", -1),
];

/// A field's value where V8's words of a call are in its stack frame.
fn of_units(name: &str, facts: &Facts) -> Option<i32> {
    let in_frame = facts.constants.contains_key(&format!("{FUNCTION}::kFirstJSArgumentIndex"));
    WORDS_OF_UNITS.iter().find(|(field, _)| in_frame && *field == name).map(|(_, value)| *value)
}

/// Whether this V8's word for a field is one of ours: its adapter units make it, and no number of V8's is in it.
pub fn made_by_units(name: &str, facts: &Facts) -> bool {
    of_units(name, facts).is_some()
}

/// A field's value in the headers that `facts` describe.
pub fn value(name: &str, facts: &Facts) -> Option<i32> {
    of_units(name, facts).or_else(|| of_headers(name, facts))
}

fn of_headers(name: &str, facts: &Facts) -> Option<i32> {
    let constant = |scope: &str, plain: &str| {
        facts.constants.get(&format!("{scope}::{plain}")).and_then(|n| i32::try_from(*n).ok())
    };
    let function = |plain: &str| constant(FUNCTION, plain);
    let default = || Some(function("kReturnValueDefaultValueIndex")? - function("kReturnValueIndex")?);
    let plain = name.rsplit("::").next().unwrap_or(name);
    match name {
        "v8::ReturnValue::default_slot" => {
            facts.records.contains_key(FUNCTION).then(|| default().unwrap_or(0))
        }
        // V8s whose callbacks are told the called function start with undefined, others with the hole.
        "v8::ReturnValue::default_root" => constant(
            INTERNALS,
            if function("kTargetIndex").is_some() {
                "kUndefinedValueRootIndex"
            } else {
                "kTheHoleValueRootIndex"
            },
        ),
        "v8::ReturnValue::isolate_slot" => Some(function("kIsolateIndex")? - function("kReturnValueIndex")?),
        "v8::FunctionCallbackInfo::target" => Some(function("kTargetIndex").unwrap_or(-1)),
        "v8::PropertyCallbackInfo::in_place" => {
            facts.records.get(PROPERTY).map(|record| i32::from(record.size > size_of::<usize>() as u64))
        }
        TRACED => {
            let slots = facts.vtables.get("v8::JSVisitor")?;
            let slot =
                slots.iter().position(|function| function == "Visit(v8::TracedReferenceBase const&)")?;
            i32::try_from(slot).ok()
        }
        _ if name == format!("{INTERNALS}::kJSObjectHeaderSize") => {
            constant(INTERNALS, "kJSAPIObjectWithEmbedderSlotsHeaderSize")
                .or_else(|| constant(INTERNALS, plain))
        }
        // Gone with V8 13: the rewritten headers ask for another way where it is -1.
        _ if name.starts_with(FUNCTION) && ["kHolderIndex", "kDataIndex"].contains(&plain) => {
            function(plain).or_else(|| function("kTargetIndex").map(|_| -1))
        }
        _ => facts.constants.get(name).and_then(|n| i32::try_from(*n).ok()),
    }
}

/// The table's words for the V8 that `host` describes.
///
/// # Errors
/// The fields that are read and that this V8 does not tell.
pub fn words(fields: &[Field], host: &Facts) -> Result<Vec<i32>, Vec<String>> {
    let untold = |field: &&Field| field.read && value(&field.name, host).is_none();
    let missing: Vec<_> = fields.iter().filter(untold).map(|field| field.name.clone()).collect();
    if missing.is_empty() {
        Ok(fields.iter().map(|field| value(&field.name, host).unwrap_or(field.value)).collect())
    } else {
        Err(missing)
    }
}

/// Whether a guest with these fields does not feel that the constant of this name is another one.
pub fn covers(fields: &[Field], constant: &str) -> bool {
    // All instances of a template have one definition; what stands beside a return value is derived.
    let same = match constant {
        "v8::ReturnValue<v8::Value>::kDefaultValueValueIndex" => "v8::ReturnValue::default_slot".into(),
        "v8::ReturnValue<v8::Value>::kIsolateValueIndex" => "v8::ReturnValue::isolate_slot".into(),
        other => other.replace("<void>", "<v8::Value>"),
    };
    fields.iter().any(|field| field.name == same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::known_abis;
    use crate::version::V8Version;

    fn facts(version: &str) -> &'static Facts {
        known_abis(V8Version::parse(version).expect("a version"))[0].facts()
    }

    fn field(name: &str, read: bool) -> Field {
        Field { name: name.into(), value: 7, read }
    }

    #[test]
    fn derived_fields_follow_the_headers() {
        let of = |version: &str| DERIVED.map(|(name, _)| value(name, facts(version)).expect("a value"));
        assert_eq!(of("10.2.154.26"), [-1, 5, -2, -1, 0]);
        assert_eq!(of("11.3.244.8"), [-1, 5, -2, -1, 0]);
        assert_eq!(of("12.4.254.21"), [0, 5, -2, -1, 0]);
        assert_eq!(of("13.6.233.17"), [0, 4, -2, 4, 1]);
        assert_eq!(of("14.6.202.34"), [0, 0, -1, -1, 1]);
    }

    #[test]
    fn units_and_layout_have_the_same_words() {
        let header = include_str!("../../shim/adapters/words.h");
        for (field, value) in WORDS_OF_UNITS {
            let (class, word) = field.rsplit_once("::").expect("a class");
            let kind = if class.contains("Function") { "Function" } else { "Property" };
            let names =
                header.split(&format!("enum {kind}Word {{")).nth(1).and_then(|rest| rest.split('}').next());
            let names: Vec<_> = names.expect("an enum").split(',').map(str::trim).collect();
            let name = word.strip_prefix('k').and_then(|w| w.strip_suffix("Index"));
            let Some(name) = name.filter(|_| value >= 0) else { continue };
            let at = names.iter().position(|n| *n == format!("k{kind}{name}"));
            assert_eq!(at, usize::try_from(value).ok(), "{field}");
        }
    }

    #[test]
    fn constants_that_went_have_a_mark_and_renamed_ones_a_successor() {
        let holder = "v8::FunctionCallbackInfo<v8::Value>::kHolderIndex";
        assert_eq!(value(holder, facts("12.4.254.21")), Some(0));
        assert_eq!(value(holder, facts("13.6.233.17")), Some(-1));
        let header = "v8::internal::Internals::kJSObjectHeaderSize";
        assert_eq!(value(header, facts("12.4.254.21")), Some(24));
        assert_eq!(value(header, facts("13.6.233.17")), Some(32));
    }

    #[test]
    fn an_unknown_field_that_is_read_is_named_and_another_keeps_its_value() {
        let host = facts("11.3.244.8");
        let roots = "v8::internal::Internals::kIsolateRootsOffset";
        assert_eq!(words(&[field(roots, true), field("v8::kGone", false)], host), Ok(vec![496, 7]));
        assert_eq!(words(&[field("v8::kGone", true)], host), Err(vec!["v8::kGone".to_owned()]));
    }

    #[test]
    fn all_instances_of_a_template_are_covered() {
        let fields = [field("v8::PropertyCallbackInfo<v8::Value>::kThisIndex", true)];
        assert!(covers(&fields, "v8::PropertyCallbackInfo<void>::kThisIndex"));
        assert!(!covers(&fields, "v8::internal::Internals::kNodeStateMask"));
        let beside = "v8::ReturnValue<v8::Value>::kDefaultValueValueIndex";
        assert!(covers(&[field("v8::ReturnValue::default_slot", true)], beside) && !covers(&fields, beside));
    }
}
