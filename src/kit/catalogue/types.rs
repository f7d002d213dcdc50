//! Types as the debug information tells them, and the facts made of them.

use relink_abi::catalogue::{Facts, Record};
use std::collections::{BTreeMap, BTreeSet};

/// Values of an enumeration by name.
pub type Enumeration = BTreeMap<String, i128>;

/// Templates whose layout matters; others are instantiated by accident.
const TEMPLATES: [&str; 13] = [
    "v8::FunctionCallbackInfo<v8::Value>",
    "v8::PropertyCallbackInfo<v8::Value>",
    "v8::PropertyCallbackInfo<void>",
    "v8::WeakCallbackInfo<void>",
    "v8::ReturnValue<v8::Value>",
    "v8::Local<v8::Value>",
    "v8::MaybeLocal<v8::Value>",
    "v8::Global<v8::Value>",
    "v8::Eternal<v8::Value>",
    "v8::TracedReference<v8::Value>",
    "v8::Maybe<bool>",
    "v8::Maybe<int>",
    "v8::Maybe<double>",
];

/// Everything read from one object.
#[derive(Debug, Default)]
pub struct Types {
    classes: BTreeMap<String, Class>,
    /// Enumerations by qualified name.
    pub enums: BTreeMap<String, Enumeration>,
    /// Constants by qualified name.
    pub constants: BTreeMap<String, i128>,
    /// Constants whose value the compiler left out: members of templates that nothing has asked for.
    pub unvalued: BTreeSet<String>,
}

/// One field of a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its offset in bits.
    pub bit: u64,
    /// Its size in bits.
    pub bits: u64,
    /// Its name.
    pub name: String,
}

impl Field {
    /// As [`Record`] writes it.
    fn text(&self) -> String {
        let Self { bit, bits, name } = self;
        match bit % 8 == 0 && bits % 8 == 0 {
            true => format!("{}+{} {name}", bit / 8, bits / 8),
            false => format!("{bit}b{bits} {name}"),
        }
    }
}

/// One class.
#[derive(Debug, Default)]
pub struct Class {
    /// `sizeof`, if the class is complete.
    pub size: Option<u64>,
    /// Base classes and their offsets in bytes.
    pub bases: Vec<(u64, String)>,
    /// The fields that it declares.
    pub fields: Vec<Field>,
    /// Virtual functions that it declares, by slot.
    pub virtuals: BTreeMap<u64, String>,
    /// Whether it declares a virtual destructor.
    pub destructor: bool,
}

impl Types {
    /// The class of a qualified name.
    pub fn class(&mut self, name: &str) -> &mut Class {
        self.classes.entry(name.to_owned()).or_default()
    }

    /// The facts about V8 among them; `read` are the constants that code in the headers reads.
    pub fn facts(&self, read: &BTreeSet<String>) -> Facts {
        let plain = |name: &str| name.rsplit("::").next().unwrap_or(name).to_owned();
        let constants: BTreeMap<_, _> =
            self.constants.iter().filter(|(n, _)| is_ours(n)).map(|(n, v)| (n.clone(), *v)).collect();
        let known: BTreeSet<_> = constants.keys().map(|name| plain(name)).collect();
        let inspector = self.classes.contains_key("v8_inspector::V8InspectorClient");
        let enums = self.enums.iter().filter(|(name, values)| is_ours(name) && !values.is_empty());
        Facts {
            parts: inspector.then(|| "inspector".to_owned()).into_iter().collect(),
            read: read.intersection(&known).cloned().collect(),
            constants,
            records: self
                .classes
                .keys()
                .filter_map(|name| Some((name.clone(), self.record(name)?)))
                .collect(),
            vtables: self
                .classes
                .keys()
                .filter_map(|name| Some((name.clone(), self.vtable(name)?)))
                .collect(),
            enums: enums.map(|(name, values)| (name.clone(), values.clone())).collect(),
        }
    }

    /// The constants of V8's whose values have to be asked for.
    pub fn open_questions(&self) -> Vec<&str> {
        let open = self.unvalued.iter().filter(|name| is_ours(name) && !self.constants.contains_key(*name));
        open.map(String::as_str).collect()
    }

    /// The layout of a class that has any contents.
    fn record(&self, name: &str) -> Option<Record> {
        let size = self.classes.get(name).filter(|_| is_ours(name))?.size?;
        let mut fields = self.fields(name);
        fields.sort_by_key(|field| field.bit);
        (!fields.is_empty()).then(|| Record { size, fields: fields.iter().map(Field::text).collect() })
    }

    /// All fields of a class, those of its bases at their places in it: how a class is put together is nothing to the
    /// machine.
    fn fields(&self, name: &str) -> Vec<Field> {
        let Some(class) = self.classes.get(name) else { return Vec::new() };
        let mut fields = class.fields.clone();
        for (at, base) in &class.bases {
            fields.extend(self.fields(base).into_iter().map(|f| Field { bit: f.bit + at * 8, ..f }));
        }
        fields
    }

    /// The slots of a class with virtual functions: those of its first base, then its own over and behind them.
    fn vtable(&self, name: &str) -> Option<Vec<String>> {
        let slots = self.slots(name)?;
        is_ours(name).then(|| slots.into_values().collect())
    }

    fn slots(&self, name: &str) -> Option<BTreeMap<u64, String>> {
        let class = self.classes.get(name)?;
        let mut slots = BTreeMap::new();
        for (_, base) in class.bases.iter().filter(|(at, _)| *at == 0) {
            slots.extend(self.slots(base).unwrap_or_default());
        }
        slots.extend(class.virtuals.iter().map(|(slot, function)| (*slot, function.clone())));
        // A virtual destructor has two slots, one that destroys and one that frees too (Itanium C++ ABI, 2.5.2). Slots have
        // no gaps, so the first free place is its own.
        if class.destructor && !slots.values().any(|function| function == "~D1") {
            let free = (0..).find(|slot| !slots.contains_key(slot)).unwrap_or(0);
            slots.insert(free, "~D1".into());
            slots.insert(free + 1, "~D0".into());
        }
        (!slots.is_empty()).then_some(slots)
    }
}

/// Whether a qualified name is one of V8's that is to be described.
fn is_ours(name: &str) -> bool {
    let ours = ["v8::", "v8_inspector::", "cppgc::"].iter().any(|prefix| name.starts_with(prefix));
    let template = name.find('<').is_some_and(|_| !TEMPLATES.iter().any(|t| name.starts_with(t)));
    ours && !template && !name.contains("(anonymous)")
}

/// A virtual function's name with its parameters, from its plain name and the mangled one.
pub fn virtual_name(name: &str, mangled: &str) -> String {
    let full = demangled(mangled).unwrap_or_default();
    match full.rfind(&format!("::{name}(")) {
        Some(at) if !name.starts_with('~') => full[at + 2..].to_owned(),
        _ => name.to_owned(),
    }
}

/// A mangled C++ name in words.
pub fn demangled(mangled: &str) -> Option<String> {
    cpp_demangle::Symbol::new(mangled).ok()?.demangle().ok()
}
