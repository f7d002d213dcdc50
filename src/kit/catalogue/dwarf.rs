//! Reads V8's types and constants from a compiler's debug information (DWARF 5).

use super::bad;
use super::types::{Field, Types};
use crate::Result;
use gimli::{
    AttributeValue, DebuggingInformationEntry, DwTag, EndianSlice, LittleEndian, Operation, UnitOffset,
};
use object::{Object, ObjectSection};
use std::collections::HashMap;
use std::path::Path;

type Slice<'d> = EndianSlice<'d, LittleEndian>;
type Entry<'d> = DebuggingInformationEntry<Slice<'d>>;
type Read<T> = std::result::Result<T, gimli::Error>;

/// The types that the debug information of a linked `file` describes.
pub fn types(path: &Path, bytes: &[u8]) -> Result<Types> {
    let file = object::File::parse(bytes).map_err(|e| bad(path, e))?;
    let load = |id: gimli::SectionId| -> Read<Slice> {
        let section = file.section_by_name(id.name()).and_then(|s| s.data().ok()).unwrap_or_default();
        Ok(EndianSlice::new(section, LittleEndian))
    };
    let dwarf = gimli::Dwarf::load(load).map_err(|e| bad(path, e))?;
    let mut types = Types::default();
    let mut headers = dwarf.units();
    while let Some(header) = headers.next().map_err(|e| bad(path, e))? {
        let unit = dwarf.unit(header).map_err(|e| bad(path, e))?;
        Reader { dwarf: &dwarf, unit: &unit, names: HashMap::new() }
            .read(&mut types)
            .map_err(|e| bad(path, e))?;
    }
    Ok(types)
}

struct Reader<'u, 'd> {
    dwarf: &'u gimli::Dwarf<Slice<'d>>,
    unit: &'u gimli::Unit<Slice<'d>>,
    /// Qualified names of the entries seen.
    names: HashMap<UnitOffset, String>,
}

impl<'u, 'd> Reader<'u, 'd> {
    fn read(&mut self, types: &mut Types) -> Read<()> {
        let mut cursor = self.unit.entries();
        // Offsets of the entries that enclose the current one, from the outside in.
        let mut around: Vec<UnitOffset> = Vec::new();
        while let Some(entry) = cursor.next_dfs()? {
            around.truncate(usize::try_from(entry.depth()).unwrap_or(0));
            let scope = around.last().and_then(|at| self.names.get(at)).cloned().unwrap_or_default();
            self.entry(entry, &scope, types)?;
            around.push(entry.offset());
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry<'d>, scope: &str, types: &mut Types) -> Read<()> {
        match entry.tag() {
            gimli::DW_TAG_namespace => self.named(entry, scope).map(drop),
            tag if is_class(tag) => {
                let name = self.named(entry, scope)?;
                if let Some(size) = self.number(entry, gimli::DW_AT_byte_size)? {
                    types.class(&name).size = u64::try_from(size).ok();
                }
                Ok(())
            }
            gimli::DW_TAG_enumeration_type => self.enumeration(entry, scope, types),
            gimli::DW_TAG_enumerator => self.enumerator(entry, scope, types),
            gimli::DW_TAG_inheritance => self.base(entry, scope, types),
            gimli::DW_TAG_member | gimli::DW_TAG_variable => self.member(entry, scope, types),
            gimli::DW_TAG_subprogram => self.function(entry, scope, types),
            _ => Ok(()),
        }
    }

    /// Remembers an entry's qualified name: its own in its scope, or that of the declaration that it completes.
    fn named(&mut self, entry: &Entry<'d>, scope: &str) -> Read<String> {
        let declared = match entry.attr_value(gimli::DW_AT_specification) {
            Some(AttributeValue::UnitRef(at)) => self.names.get(&at).cloned(),
            _ => None,
        };
        let name = match declared {
            Some(name) => name,
            None => qualified(scope, self.name(entry)?.as_deref().unwrap_or("(anonymous)")),
        };
        self.names.insert(entry.offset(), name.clone());
        Ok(name)
    }

    /// An enumeration, or nothing but a way to name constants if it has no name of its own.
    fn enumeration(&mut self, entry: &Entry<'d>, scope: &str, types: &mut Types) -> Read<()> {
        if self.name(entry)?.is_none() && entry.attr_value(gimli::DW_AT_specification).is_none() {
            self.names.insert(entry.offset(), scope.to_owned());
            return Ok(());
        }
        let name = self.named(entry, scope)?;
        types.enums.entry(name).or_default();
        Ok(())
    }

    fn enumerator(&self, entry: &Entry<'d>, scope: &str, types: &mut Types) -> Read<()> {
        let (name, value) = (self.name(entry)?, self.number(entry, gimli::DW_AT_const_value)?);
        if let (Some(name), Some(value)) = (name, value) {
            match types.enums.get_mut(scope) {
                Some(enumeration) => drop(enumeration.insert(name, value)),
                None => drop(types.constants.insert(qualified(scope, &name), value)),
            }
        }
        Ok(())
    }

    fn base(&self, entry: &Entry<'d>, scope: &str, types: &mut Types) -> Read<()> {
        let name = self.type_of(entry)?.and_then(|at| self.names.get(&at).cloned()).unwrap_or_default();
        let at = self.number(entry, gimli::DW_AT_data_member_location)?.unwrap_or(0);
        types.class(scope).bases.push((u64::try_from(at).unwrap_or(0), name));
        Ok(())
    }

    /// A constant (of a class or a namespace) or a field.
    fn member(&self, entry: &Entry<'d>, scope: &str, types: &mut Types) -> Read<()> {
        let Some(name) = self.name(entry)? else { return Ok(()) };
        if let Some(value) = self.constant(entry)? {
            types.constants.insert(qualified(scope, &name), value);
        } else if let Some(field) = self.field(entry, &name)? {
            types.class(scope).fields.push(field);
        } else if entry.attr_value(gimli::DW_AT_const_expr).is_some() && self.is_number(entry)? {
            types.unvalued.insert(qualified(scope, &name));
        }
        Ok(())
    }

    fn field(&self, entry: &Entry<'d>, name: &str) -> Read<Option<Field>> {
        let number = |value: Option<i128>| value.and_then(|n| u64::try_from(n).ok());
        let name = name.to_owned();
        if let Some(bits) = number(self.number(entry, gimli::DW_AT_bit_size)?) {
            let at = number(self.number(entry, gimli::DW_AT_data_bit_offset)?).unwrap_or(0);
            return Ok(Some(Field { bit: at, bits, name }));
        }
        let Some(at) = number(self.number(entry, gimli::DW_AT_data_member_location)?) else {
            return Ok(None);
        };
        let size = self.type_of(entry)?.map_or(Ok(None), |of| self.size(of))?.unwrap_or(0);
        Ok(Some(Field { bit: at * 8, bits: size * 8, name }))
    }

    fn is_number(&self, entry: &Entry<'d>) -> Read<bool> {
        let Some(of) = self.type_of(entry)? else { return Ok(false) };
        let tag = self.plain(of)?.tag();
        Ok(matches!(tag, gimli::DW_TAG_base_type | gimli::DW_TAG_enumeration_type))
    }

    fn function(&self, entry: &Entry<'d>, scope: &str, types: &mut Types) -> Read<()> {
        let name = self.name(entry)?.unwrap_or_default();
        let linkage = match entry.attr_value(gimli::DW_AT_linkage_name) {
            Some(value) => self.dwarf.attr_string(self.unit, value)?.to_string_lossy().into_owned(),
            None => String::new(),
        };
        // The compiler gives the slots of all virtual functions but of destructors.
        if name.starts_with('~') && entry.attr_value(gimli::DW_AT_virtuality).is_some() {
            types.class(scope).destructor = true;
        }
        let Some(AttributeValue::Exprloc(place)) = entry.attr_value(gimli::DW_AT_vtable_elem_location) else {
            return Ok(());
        };
        let mut operations = place.operations(self.unit.encoding());
        if let Some(Operation::UnsignedConstant { value }) = operations.next()? {
            types.class(scope).virtuals.insert(value, super::types::virtual_name(&name, &linkage));
        }
        Ok(())
    }

    fn name(&self, entry: &Entry<'d>) -> Read<Option<String>> {
        let Some(value) = entry.attr_value(gimli::DW_AT_name) else { return Ok(None) };
        Ok(Some(self.dwarf.attr_string(self.unit, value)?.to_string_lossy().into_owned()))
    }

    fn number(&self, entry: &Entry<'d>, name: gimli::DwAt) -> Read<Option<i128>> {
        Ok(entry.attr_value(name).and_then(|value| number(&value)))
    }

    /// The value of a constant. The compiler writes them without a sign; its type says how to read it.
    fn constant(&self, entry: &Entry<'d>) -> Read<Option<i128>> {
        let Some(value) = self.number(entry, gimli::DW_AT_const_value)? else { return Ok(None) };
        let Some(of) = self.type_of(entry)? else { return Ok(Some(value)) };
        let size = self.size(of)?.filter(|size| (1..=8).contains(size)).unwrap_or(8) as u32;
        let cut = value & ((1i128 << (8 * size)) - 1);
        let negative = self.signed(of)? && cut >> (8 * size - 1) & 1 == 1;
        Ok(Some(if negative { cut - (1i128 << (8 * size)) } else { cut }))
    }

    fn type_of(&self, entry: &Entry<'d>) -> Read<Option<UnitOffset>> {
        Ok(match entry.attr_value(gimli::DW_AT_type) {
            Some(AttributeValue::UnitRef(at)) => Some(at),
            _ => None,
        })
    }

    /// Follows typedefs and qualifiers to the type that has a size, and gives its entry.
    fn plain(&self, mut at: UnitOffset) -> Read<Entry<'d>> {
        loop {
            let entry = self.unit.entry(at)?;
            match (entry.attr_value(gimli::DW_AT_byte_size), self.type_of(&entry)?) {
                (None, Some(next)) if entry.tag() != gimli::DW_TAG_array_type => at = next,
                _ => return Ok(entry),
            }
        }
    }

    fn size(&self, at: UnitOffset) -> Read<Option<u64>> {
        let entry = self.plain(at)?;
        if entry.tag() == gimli::DW_TAG_array_type {
            let element = self.type_of(&entry)?.map_or(Ok(None), |of| self.size(of))?.unwrap_or(0);
            return Ok(Some(element * self.elements(&entry)?));
        }
        Ok(self.number(&entry, gimli::DW_AT_byte_size)?.and_then(|size| u64::try_from(size).ok()))
    }

    /// How many elements an array has in all dimensions.
    fn elements(&self, array: &Entry<'d>) -> Read<u64> {
        let mut tree = self.unit.entries_tree(Some(array.offset()))?;
        let mut children = tree.root()?.children();
        let mut count = 1;
        while let Some(child) = children.next()? {
            let entry = child.entry();
            let exact = self.number(entry, gimli::DW_AT_count)?;
            let last = self.number(entry, gimli::DW_AT_upper_bound)?.map(|last| last + 1);
            count *= exact.or(last).and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
        }
        Ok(count)
    }

    fn signed(&self, at: UnitOffset) -> Read<bool> {
        let entry = self.plain(at)?;
        Ok(match entry.attr_value(gimli::DW_AT_encoding) {
            Some(AttributeValue::Encoding(e)) => e == gimli::DW_ATE_signed || e == gimli::DW_ATE_signed_char,
            _ => false,
        })
    }
}

fn is_class(tag: DwTag) -> bool {
    matches!(tag, gimli::DW_TAG_class_type | gimli::DW_TAG_structure_type | gimli::DW_TAG_union_type)
}

fn qualified(scope: &str, name: &str) -> String {
    if scope.is_empty() {
        name.to_owned()
    } else {
        format!("{scope}::{name}")
    }
}

fn number<'d>(value: &AttributeValue<Slice<'d>>) -> Option<i128> {
    match value {
        AttributeValue::Sdata(n) => Some(i128::from(*n)),
        // A constant wider than its form's type: the compiler writes the bytes.
        AttributeValue::Block(bytes) if bytes.len() <= 8 => {
            Some(bytes.slice().iter().rev().fold(0, |n, byte| n << 8 | i128::from(*byte)))
        }
        other => other.udata_value().map(i128::from),
    }
}
