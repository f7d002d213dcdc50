//! Inlined reads, done on an observation with the numbers of a guest's facts.
//!
//! Each check is what one inline function of V8's headers does (v8-internal.h, v8-object.h, v8-context.h, v8-function-callback.h,
//! v8-primitive.h of 10.2 to 11.3), with the result that V8 itself gave beside it.

use super::Observation;
use crate::abi::catalogue::Facts;
use serde::Serialize;

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What inlined code does.
    pub what: &'static str,
    /// What came out.
    pub outcome: Outcome,
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Inlined code and V8 agree.
    Agrees,
    /// They do not.
    Differs {
        /// What inlined code would see; nothing if it would read where nothing was.
        inlined: Option<u64>,
        /// V8's own answer.
        truth: u64,
    },
    /// Could not be checked: V8 gave no answer, or the guest's facts lack a number.
    Unknown,
}

/// All checks of a guest's `facts` on what was `seen`.
pub fn judge(facts: &Facts, seen: &Observation) -> Vec<Check> {
    let eyes = Eyes { facts, seen };
    let mut checks = Vec::new();
    let mut add = |what, truth: Option<u64>, inlined: Inlined| {
        let outcome = match (truth, inlined) {
            (None, _) | (_, Inlined::NoFact) => Outcome::Unknown,
            (Some(truth), Inlined::Sees(value)) if value == Some(truth) => Outcome::Agrees,
            (Some(truth), Inlined::Sees(value)) => Outcome::Differs { inlined: value, truth },
        };
        checks.push(Check { what, outcome });
    };
    let truth = |name: &str| seen.truth(name);
    add("root undefined", truth("undefined"), eyes.root("kUndefinedValueRootIndex"));
    add("root null", truth("null"), eyes.root("kNullValueRootIndex"));
    add("root true", truth("true"), eyes.root("kTrueValueRootIndex"));
    add("root false", truth("false"), eyes.root("kFalseValueRootIndex"));
    add("root empty string", truth("empty_string"), eyes.root("kEmptyStringRootIndex"));
    add("small integer", truth("smi"), eyes.small_integer(4242));
    add("undefined is an oddball", eyes.number("kOddballType"), eyes.instance_type("undefined"));
    add("kind of undefined", eyes.number("kUndefinedOddballKind"), eyes.oddball_kind("undefined"));
    add("kind of null", eyes.number("kNullOddballKind"), eyes.oddball_kind("null"));
    add("a string is below the non-strings", Some(1), eyes.is_string("string", true));
    add("undefined is not", Some(1), eyes.is_string("undefined", false));
    add("internal field 0", truth("internal_field_0"), eyes.internal_field(0));
    add("internal field 1", truth("internal_field_1"), eyes.internal_field(1));
    add("embedder data of a context", truth("embedder_data_60"), eyes.embedder_data(60));
    add("a handle that is strong", Some(0), eyes.is_weak("strong_handle"));
    add("a handle that is weak", Some(1), eyes.is_weak("weak_handle"));
    add("callback: isolate", truth("isolate"), eyes.callback("kIsolateIndex"));
    add("callback: data", truth("callback_data"), eyes.callback("kDataIndex"));
    add("callback: receiver", truth("callback_this"), eyes.callback("kHolderIndex"));
    add("callback: new target", truth("undefined"), eyes.callback("kNewTargetIndex"));
    add("callback: return value", truth("callback_return_index"), eyes.info("kReturnValueIndex"));
    add("callback: argument 0", truth("callback_argument_0"), eyes.argument(0));
    add("callback: argument 1", truth("callback_argument_1"), eyes.argument(1));
    add("callback: length", truth("callback_length"), eyes.length());
    add("external string: resource", truth("external_resource"), eyes.external_resource());
    add("external string: representation", Some(1), eyes.is_external());
    add("external string: slots called", truth("external_calls"), eyes.calls());
    for (what, name) in EXTENTS {
        add(what, truth(what).map(|last| last.next_multiple_of(8)), eyes.size(name));
    }
    checks
}

/// Structures that V8 fills: how far it writes, and their sizes.
const EXTENTS: [(&str, &str); 6] = [
    ("extent v8::HandleScope", "v8::HandleScope"),
    ("extent v8::TryCatch", "v8::TryCatch"),
    ("extent v8::Isolate::CreateParams", "v8::Isolate::CreateParams"),
    ("extent v8::HeapStatistics", "v8::HeapStatistics"),
    ("extent v8::HeapSpaceStatistics", "v8::HeapSpaceStatistics"),
    ("extent v8::HeapCodeStatistics", "v8::HeapCodeStatistics"),
];

/// What inlined code comes to.
enum Inlined {
    /// The value, or nothing where it would read memory that is not there.
    Sees(Option<u64>),
    /// The facts lack a number for it.
    NoFact,
}

const INFO: &str = "v8::FunctionCallbackInfo<v8::Value>";
const RESOURCE: &str = "v8::String::ExternalOneByteStringResource";

struct Eyes<'a> {
    facts: &'a Facts,
    seen: &'a Observation,
}

/// Leaves with "no fact" if the number is not known.
macro_rules! known {
    ($value:expr) => {
        match $value {
            Some(value) => value,
            None => return Inlined::NoFact,
        }
    };
}

impl Eyes<'_> {
    fn constant(&self, name: &str) -> Option<u64> {
        self.facts.constants.get(name).map(|value| *value as u64)
    }

    /// A constant of `v8::internal::Internals`.
    fn number(&self, name: &str) -> Option<u64> {
        self.constant(&format!("v8::internal::Internals::{name}"))
    }

    /// A constant of `v8::internal`.
    fn inner(&self, name: &str) -> Option<u64> {
        self.constant(&format!("v8::internal::{name}"))
    }

    /// The value of the tagged pointer that V8 gave for `name`.
    fn object(&self, name: &str) -> Option<u64> {
        self.seen.truth(name)
    }

    /// A field of a heap object (`Internals::ReadRawField`).
    fn field(&self, object: Option<u64>, offset: u64, size: usize) -> Option<u64> {
        let tag = self.inner("kHeapObjectTag")?;
        self.seen.read(object?.wrapping_sub(tag).wrapping_add(offset), size)
    }

    /// `Internals::GetRoot`.
    fn root(&self, index: &str) -> Inlined {
        let (roots, index) = (known!(self.number("kIsolateRootsOffset")), known!(self.number(index)));
        let size = known!(self.inner("kApiSystemPointerSize"));
        let at = |isolate: u64| isolate.wrapping_add(roots).wrapping_add(index.wrapping_mul(size));
        Inlined::Sees(self.seen.truth("isolate").and_then(|isolate| self.seen.word(at(isolate))))
    }

    /// `Internals::IntToSmi`.
    fn small_integer(&self, value: u64) -> Inlined {
        let (tag, size) = (known!(self.inner("kSmiTag")), known!(self.inner("kSmiTagSize")));
        let shift = size.wrapping_add(known!(self.inner("kSmiShiftSize")));
        Inlined::Sees(u32::try_from(shift).ok().and_then(|s| value.checked_shl(s)).map(|v| v | tag))
    }

    /// `Internals::GetInstanceType`.
    fn type_of(&self, name: &str) -> Option<Option<u64>> {
        let (map, at) = (self.number("kHeapObjectMapOffset")?, self.number("kMapInstanceTypeOffset")?);
        Some(self.field(self.field(self.object(name), map, 8), at, 2))
    }

    fn instance_type(&self, name: &str) -> Inlined {
        Inlined::Sees(known!(self.type_of(name)))
    }

    /// `Internals::GetOddballKind`: a small integer.
    fn oddball_kind(&self, name: &str) -> Inlined {
        let at = known!(self.number("kOddballKindOffset"));
        let shift = known!(self.inner("kSmiTagSize")).wrapping_add(known!(self.inner("kSmiShiftSize")));
        let kind = self.field(self.object(name), at, 8);
        Inlined::Sees(kind.and_then(|kind| kind.checked_shr(u32::try_from(shift).ok()?)))
    }

    /// `Value::QuickIsString`, against what is known of the value.
    fn is_string(&self, name: &str, wanted: bool) -> Inlined {
        let (first, found) = (known!(self.number("kFirstNonstringType")), known!(self.type_of(name)));
        Inlined::Sees(found.map(|kind| u64::from((kind < first) == wanted)))
    }

    /// `Object::GetAlignedPointerFromInternalField`.
    fn internal_field(&self, index: u64) -> Inlined {
        let later = self.number("kJSAPIObjectWithEmbedderSlotsHeaderSize");
        let header = known!(later.or_else(|| self.number("kJSObjectHeaderSize")));
        let size = known!(self.number("kEmbedderDataSlotSize"));
        let at = header.wrapping_add(index.wrapping_mul(size));
        Inlined::Sees(self.field(self.object("api_object"), at, 8))
    }

    /// `Context::GetAlignedPointerFromEmbedderData`.
    fn embedder_data(&self, index: u64) -> Inlined {
        let at = known!(self.number("kNativeContextEmbedderDataOffset"));
        let header = known!(self.number("kEmbedderDataArrayHeaderSize"));
        let size = known!(self.number("kEmbedderDataSlotSize"));
        let array = self.field(self.object("context"), at, 8);
        Inlined::Sees(self.field(array, header.wrapping_add(index.wrapping_mul(size)), 8))
    }

    /// `PersistentBase::IsWeak`.
    fn is_weak(&self, handle: &str) -> Inlined {
        let (at, mask) = (known!(self.number("kNodeFlagsOffset")), known!(self.number("kNodeStateMask")));
        let weak = known!(self.number("kNodeStateIsWeakValue"));
        let flags = self.seen.truth(handle).and_then(|h| self.seen.read(h.wrapping_add(at), 1));
        Inlined::Sees(flags.map(|flags| u64::from(flags & mask == weak)))
    }

    fn info_constant(&self, name: &str) -> Option<u64> {
        self.constant(&format!("{INFO}::{name}"))
    }

    fn info(&self, name: &str) -> Inlined {
        Inlined::Sees(Some(known!(self.info_constant(name))))
    }

    /// Where a field of FunctionCallbackInfo lies, and its size.
    fn info_field(&self, name: &str) -> Option<(u64, usize)> {
        let fields = &self.facts.records.get(INFO)?.fields;
        let place = fields.iter().find_map(|f| f.strip_suffix(name)?.strip_suffix(' '))?;
        let (at, size) = place.split_once('+')?;
        Some((at.parse().ok()?, size.parse().ok()?))
    }

    fn info_value(&self, name: &str) -> Option<Option<u64>> {
        let (at, size) = self.info_field(name)?;
        Some(
            self.seen
                .truth("callback_info")
                .and_then(|info| self.seen.read(info.wrapping_add(at), size.min(8))),
        )
    }

    /// A word of the implicit arguments.
    fn callback(&self, index: &str) -> Inlined {
        let (index, arguments) =
            (known!(self.info_constant(index)), known!(self.info_value("implicit_args_")));
        Inlined::Sees(arguments.and_then(|at| self.seen.word(at.wrapping_add(index.wrapping_mul(8)))))
    }

    /// `FunctionCallbackInfo::operator[]`.
    fn argument(&self, index: u64) -> Inlined {
        let values = known!(self.info_value("values_"));
        Inlined::Sees(values.and_then(|at| self.seen.word(at.wrapping_add(index * 8))))
    }

    fn length(&self) -> Inlined {
        Inlined::Sees(known!(self.info_value("length_")))
    }

    /// `String::GetExternalStringResource`.
    fn external_resource(&self) -> Inlined {
        let at = known!(self.number("kStringResourceOffset"));
        Inlined::Sees(self.field(self.object("external_string"), at, 8))
    }

    /// The test for an external one-byte string in `String::GetExternalStringResourceBase`.
    fn is_external(&self) -> Inlined {
        let later = self.number("kStringRepresentationAndEncodingMask");
        let mask = known!(later.or_else(|| self.number("kFullStringRepresentationMask")));
        let tag = known!(self.number("kExternalOneByteRepresentationTag"));
        let found = known!(self.type_of("external_string"));
        Inlined::Sees(found.map(|kind| u64::from(kind & mask == tag)))
    }

    /// The slots that V8 calls when it makes an external string.
    fn calls(&self) -> Inlined {
        let slots = known!(self.facts.vtables.get(RESOURCE));
        let bit =
            |name: &str| slots.iter().position(|slot| slot.starts_with(name)).map(|at| 1u64 << at.min(63));
        let names = ["IsCacheable(", "data(", "length("];
        Inlined::Sees(Some(names.iter().map(|name| bit(name).unwrap_or(0)).sum()))
    }

    fn size(&self, name: &str) -> Inlined {
        Inlined::Sees(Some(known!(self.facts.records.get(name)).size))
    }
}
