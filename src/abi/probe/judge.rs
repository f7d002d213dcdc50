//! Inlined reads, done on an observation with the numbers of a guest's facts.
//!
//! Each check is what one inline function of V8's headers does (v8-internal.h, v8-object.h, v8-context.h, v8-function-callback.h,
//! v8-primitive.h of 10.2 to 14.6), with the result that V8 itself gave beside it.

/// Leaves with "no fact" if the number is not known.
macro_rules! known {
    ($value:expr) => {
        match $value {
            Some(value) => value,
            None => return Inlined::NoFact,
        }
    };
}

mod frame;

use super::Observation;
use crate::catalogue::Facts;
use serde::Serialize;

/// What the check is called that tells how many bits small integers have.
pub const SMALL_INTEGER_BITS: &str = "bits of a small integer";

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

impl Check {
    /// One line with both values, if they differ.
    pub fn difference(&self) -> Option<String> {
        let Outcome::Differs { inlined, truth } = self.outcome else { return None };
        let reads =
            inlined.map_or_else(|| "would read where nothing is".into(), |value| format!("reads {value:#x}"));
        Some(format!("{}: the guest's code {reads}, V8 says {truth:#x}", self.what))
    }
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
    values(&eyes, &mut add);
    objects(&eyes, &mut add);
    callbacks(&eyes, &mut add);
    accessors(&eyes, &mut add);
    strings(&eyes, &mut add);
    for (what, name) in EXTENTS {
        add(what, seen.truth(what).map(|last| last.next_multiple_of(8)), eyes.size(name));
    }
    let (what, name) = EXTENT_SINCE_12;
    if facts.records.contains_key(name) {
        add(what, seen.truth(what), eyes.size(name));
    }
    checks
}

/// Takes a check: what it is, V8's answer, and what inlined code comes to.
type Add<'a> = &'a mut dyn FnMut(&'static str, Option<u64>, Inlined);

fn values(eyes: &Eyes, add: Add) {
    let truth = |name: &str| eyes.seen.truth(name);
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
    add("an object is a heap object", Some(1), eyes.is_heap_object("undefined"));
    add("a small integer is none", Some(0), eyes.is_heap_object("smi"));
    add("root the hole", truth("the_hole"), eyes.root("kTheHoleValueRootIndex"));
    add("largest small integer", truth("smi_max"), eyes.sees(eyes.inner("kSmiMaxValue")));
    add("least small integer", truth("smi_min"), eyes.sees(eyes.inner("kSmiMinValue")));
    let bits =
        truth("smi_max").and_then(|max| Some(max.checked_add(1)?.ilog2().into())).map(|bits: u64| bits + 1);
    add(SMALL_INTEGER_BITS, bits, eyes.sees(eyes.inner("kSmiValueSize")));
    add("bytes of a tagged word", truth("tagged_size"), eyes.sees(eyes.inner("kApiTaggedSize")));
}

fn objects(eyes: &Eyes, add: Add) {
    let truth = |name: &str| eyes.seen.truth(name);
    add("internal field 0", truth("internal_field_0"), eyes.internal_field(0));
    add("type of a plain object", eyes.number("kJSObjectType"), eyes.instance_type("callback_this"));
    add(
        "type of a special object",
        eyes.number("kJSSpecialApiObjectType"),
        eyes.instance_type("special_object"),
    );
    add("internal field 1", truth("internal_field_1"), eyes.internal_field(1));
    add("embedder data of a context", truth("embedder_data_60"), eyes.embedder_data(60));
    add("a handle that is strong", Some(0), eyes.is_weak("strong_handle"));
    for (what, handle) in [
        ("a handle that is weak", "weak_handle"),
        ("a second one", "second_weak_handle"),
        ("a third one", "third_weak_handle"),
    ] {
        add(what, Some(1), eyes.is_weak(handle));
    }
    add("class id of a handle", truth("class_id_offset"), eyes.sees(eyes.number("kNodeClassIdOffset")));
    let fields = eyes.constant("v8::kEmbedderFieldsInWeakCallback");
    add("internal fields in a weak callback", truth("weak_fields"), eyes.sees(fields));
    add("data slots of a new isolate", Some(0), eyes.isolate_slots());
    let counter = eyes.number("kIsolateLongTaskStatsCounterOffset");
    add("counter of long tasks", truth("long_task_offset"), eyes.sees(counter));
    if eyes.reads("kIsolateHandleScopeDataOffset") {
        let place = eyes.number("kIsolateHandleScopeDataOffset");
        add("where the next handle is", truth("handle_scope_offset"), eyes.sees(place));
    }
}

fn callbacks(eyes: &Eyes, add: Add) {
    let truth = |name: &str| eyes.seen.truth(name);
    let returned = eyes.constant(&format!("{INFO}::kReturnValueIndex"));
    add("callback: isolate", truth("isolate"), eyes.callback("kIsolateIndex"));
    add("callback: data", truth("callback_data"), eyes.callback("kDataIndex"));
    add("callback: receiver", truth("callback_this"), eyes.callback("kHolderIndex"));
    if eyes.in_frame() {
        add("callback: new target", truth("callback_function"), eyes.new_target());
    } else {
        add("callback: new target", truth("undefined"), eyes.callback("kNewTargetIndex"));
    }
    add("callback: return value", truth("callback_return_index"), eyes.sees(returned));
    add("callback: this", truth("callback_this"), eyes.this());
    add("callback: argument 0", truth("callback_argument_0"), eyes.argument(0));
    add("callback: argument 1", truth("callback_argument_1"), eyes.argument(1));
    add("callback: length", truth("callback_length"), eyes.length());
    add("callback: default result", eyes.first_result(), eyes.callback("kReturnValueDefaultValueIndex"));
    if eyes.reads("kTargetIndex") {
        let target = eyes.info_constant("kTargetIndex");
        add("callback: what has its data", truth("callback_target_index"), eyes.sees(target));
    }
}

/// Getters and setters: what V8 hands over, and whether they are to throw (`PropertyCallbackInfo::ShouldThrowOnError`).
fn accessors(eyes: &Eyes, add: Add) {
    let truth = |name: &str| eyes.seen.truth(name);
    let [get, set] = [GETTER, SETTER].map(|accessor| move |index: &str| eyes.accessor(accessor, index));
    let returned = eyes.constant(&format!("{}::kReturnValueIndex", GETTER.0));
    add("getter: isolate", truth("isolate"), get("kIsolateIndex"));
    add("getter: data", truth("property_data"), eyes.accessors_data(GETTER));
    add("getter: receiver", truth("property_this"), get("kThisIndex"));
    add("getter: holder", truth("property_holder"), get("kHolderIndex"));
    add("getter: return value", truth("property_return_index"), eyes.sees(returned));
    if eyes.in_frame() {
        // There the word is for setters only.
        let throws = eyes.accessor(REFLECT_SETTER, "kShouldThrowOnErrorIndex");
        add("setter: Reflect.set does not throw", eyes.tagged("kDontThrow"), throws);
    } else {
        add("getter: does not throw", eyes.tagged("kDontThrow"), get("kShouldThrowOnErrorIndex"));
    }
    add("setter: isolate", truth("isolate"), set("kIsolateIndex"));
    add("setter: data", truth("property_data"), eyes.accessors_data(SETTER));
    add("setter: receiver", truth("property_holder"), set("kThisIndex"));
    add("setter: holder", truth("property_holder"), set("kHolderIndex"));
    // A setter's result begins as a getter's does, since V8 13 as true.
    let initial = match set("kReturnValueIndex") {
        Inlined::Sees(value) if value == truth("true") => value,
        _ => truth("property_return_initial"),
    };
    add("setter: return value", initial, set("kReturnValueIndex"));
    add(
        "setter: V8 knows whether to throw",
        eyes.tagged("kInferShouldThrowMode"),
        set("kShouldThrowOnErrorIndex"),
    );
}

fn strings(eyes: &Eyes, add: Add) {
    let truth = |name: &str| eyes.seen.truth(name);
    let encoding =
        |name: &str| eyes.facts.enums.get("v8::String::Encoding")?.get(name).map(|value| *value as u64);
    add("external string: resource", truth("external_resource"), eyes.external_resource("external_string"));
    let one_byte = "kExternalOneByteRepresentationTag";
    add("external string: representation", Some(1), eyes.is_external("external_string", one_byte));
    add("external string: encoding", encoding("ONE_BYTE_ENCODING"), eyes.encoding("external_string"));
    add("external string: slots called", truth("external_calls"), eyes.calls(RESOURCE));
    add("wide string: resource", truth("wide_resource"), eyes.external_resource("wide_string"));
    let two_byte = "kExternalTwoByteRepresentationTag";
    add("wide string: representation", Some(1), eyes.is_external("wide_string", two_byte));
    add("wide string: encoding", encoding("TWO_BYTE_ENCODING"), eyes.encoding("wide_string"));
    add("wide string: slots called", truth("wide_calls"), eyes.calls(WIDE_RESOURCE));
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

/// The scope that lets a handle out: since V8 12 a class of its own, whose constructor is a function where others are inline.
const EXTENT_SINCE_12: (&str, &str) = ("extent v8::EscapableHandleScopeBase", "v8::EscapableHandleScopeBase");

/// What inlined code comes to.
enum Inlined {
    /// The value, or nothing where it would read memory that is not there.
    Sees(Option<u64>),
    /// The facts lack a number for it.
    NoFact,
}

const INFO: &str = "v8::FunctionCallbackInfo<v8::Value>";
const RESOURCE: &str = "v8::String::ExternalOneByteStringResource";
const WIDE_RESOURCE: &str = "v8::String::ExternalStringResource";

/// What an accessor gets, and under which name it was written down.
#[derive(Clone, Copy)]
struct Accessor(&'static str, &'static str);

const GETTER: Accessor = Accessor("v8::PropertyCallbackInfo<v8::Value>", "property_info");
const SETTER: Accessor = Accessor("v8::PropertyCallbackInfo<void>", "property_set_info");
const REFLECT_SETTER: Accessor = Accessor("v8::PropertyCallbackInfo<void>", "reflect_set_info");

struct Eyes<'a> {
    facts: &'a Facts,
    seen: &'a Observation,
}

impl Eyes<'_> {
    fn constant(&self, name: &str) -> Option<u64> {
        self.facts.constants.get(name).map(|value| *value as u64)
    }

    /// Whether code of this V8's headers reads constants of this plain name.
    fn reads(&self, name: &str) -> bool {
        self.facts.read.contains(name)
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

    /// A number that inlined code uses as it is.
    fn sees(&self, number: Option<u64>) -> Inlined {
        Inlined::Sees(Some(known!(number)))
    }

    /// `Internals::HasHeapObjectTag`.
    fn is_heap_object(&self, name: &str) -> Inlined {
        let (tag, mask) = (known!(self.inner("kHeapObjectTag")), known!(self.inner("kHeapObjectTagMask")));
        Inlined::Sees(self.object(name).map(|value| u64::from(value & mask == tag)))
    }

    /// All bits of `Isolate::GetData` for all slots together: nobody has set any yet.
    fn isolate_slots(&self) -> Inlined {
        let (at, count) =
            (known!(self.number("kIsolateEmbedderDataOffset")), known!(self.number("kNumIsolateDataSlots")));
        let isolate = self.seen.truth("isolate");
        let slot = |n: u64| self.seen.word(isolate?.wrapping_add(at).wrapping_add(n.wrapping_mul(8)));
        Inlined::Sees((0..count.min(256)).try_fold(0, |all, n| Some(all | slot(n)?)))
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

    /// Where a field of a structure lies, and its size.
    fn field_of(&self, record: &str, name: &str) -> Option<(u64, usize)> {
        let fields = &self.facts.records.get(record)?.fields;
        let place = fields.iter().find_map(|f| f.strip_suffix(name)?.strip_suffix(' '))?;
        let (at, size) = place.split_once('+')?;
        Some((at.parse().ok()?, size.parse().ok()?))
    }

    fn info_value(&self, name: &str) -> Option<Option<u64>> {
        let (at, size) = self.field_of(INFO, name)?;
        Some(
            self.seen
                .truth("callback_info")
                .and_then(|info| self.seen.read(info.wrapping_add(at), size.min(8))),
        )
    }

    /// Where the words of a call are.
    fn words_of_call(&self) -> Option<Option<u64>> {
        if self.in_frame() {
            Some(self.seen.truth("callback_info"))
        } else {
            self.info_value("implicit_args_")
        }
    }

    /// One of them.
    fn callback(&self, index: &str) -> Inlined {
        let (index, words) = (known!(self.info_constant(index)), known!(self.words_of_call()));
        Inlined::Sees(words.and_then(|at| self.seen.word(at.wrapping_add(index.wrapping_mul(8)))))
    }

    /// The word that becomes the result of a function that sets none (`ReturnValue::GetDefaultValue`).
    fn first_result(&self) -> Option<u64> {
        let at = self.words_of_call()??;
        self.seen.word(at.wrapping_add(self.seen.truth("callback_return_index")?.wrapping_mul(8)))
    }

    /// A word of an accessor's arguments, which the structure points at or, since V8 12.9, holds.
    fn accessor(&self, Accessor(record, written): Accessor, index: &str) -> Inlined {
        let index = known!(self.constant(&format!("{record}::{index}")));
        let (offset, size) = known!(self.field_of(record, "args_"));
        let at = self.seen.truth(written).map(|info| info.wrapping_add(offset));
        let points = size == 8 && !self.in_frame();
        let at = at.and_then(|at| if points { self.seen.word(at) } else { Some(at) });
        if self.seen.truth(written).is_none() {
            return Inlined::NoFact;
        }
        Inlined::Sees(at.and_then(|at| self.seen.word(at.wrapping_add(index.wrapping_mul(8)))))
    }

    /// A constant of `Internals` as a small integer, if the accessors were called.
    fn tagged(&self, name: &str) -> Option<u64> {
        let value = self.number(name)?;
        match self.small_integer(value) {
            Inlined::Sees(value) => value,
            Inlined::NoFact => None,
        }
    }

    /// `FunctionCallbackInfo::operator[]`.
    fn argument(&self, index: u64) -> Inlined {
        if self.in_frame() {
            return self.argument_in_frame(index);
        }
        let values = known!(self.info_value("values_"));
        Inlined::Sees(values.and_then(|at| self.seen.word(at.wrapping_add(index.wrapping_mul(8)))))
    }

    /// `FunctionCallbackInfo::This`. Until 11.3 its place, before the arguments, has no name.
    fn this(&self) -> Inlined {
        if self.in_frame() {
            return self.callback("kReceiverIndex");
        }
        self.argument(self.info_constant("kThisValuesIndex").unwrap_or(u64::MAX))
    }

    fn length(&self) -> Inlined {
        if self.in_frame() {
            return self.callback("kArgcIndex");
        }
        Inlined::Sees(known!(self.info_value("length_")))
    }

    /// `String::GetExternalStringResource`.
    fn external_resource(&self, string: &str) -> Inlined {
        let at = known!(self.number("kStringResourceOffset"));
        Inlined::Sees(self.field(self.object(string), at, 8))
    }

    /// The test for an external string in `String::GetExternalStringResourceBase`.
    fn is_external(&self, string: &str, tag: &str) -> Inlined {
        let later = self.number("kStringRepresentationAndEncodingMask");
        let mask = known!(later.or_else(|| self.number("kFullStringRepresentationMask")));
        let tag = known!(self.number(tag));
        let found = known!(self.type_of(string));
        Inlined::Sees(found.map(|kind| u64::from(kind & mask == tag)))
    }

    /// The encoding in `String::GetExternalStringResourceBase`.
    fn encoding(&self, string: &str) -> Inlined {
        let (mask, found) = (known!(self.number("kStringEncodingMask")), known!(self.type_of(string)));
        Inlined::Sees(found.map(|kind| kind & mask))
    }

    /// The slots that V8 calls when it makes an external string.
    fn calls(&self, resource: &str) -> Inlined {
        let slots = known!(self.facts.vtables.get(resource));
        let bit =
            |name: &str| slots.iter().position(|slot| slot.starts_with(name)).map(|at| 1u64 << at.min(63));
        let names = ["IsCacheable(", "data(", "length("];
        Inlined::Sees(Some(names.iter().map(|name| bit(name).unwrap_or(0)).sum()))
    }

    fn size(&self, name: &str) -> Inlined {
        Inlined::Sees(Some(known!(self.facts.records.get(name)).size))
    }
}
