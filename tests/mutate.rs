//! Layer: refusing broken files. Real bytes of the guest with one field broken at a time lead to one exact code and a
//! message that names file and place; cut or flipped bytes never lead to a panic or a loop.

#[path = "support/files.rs"]
mod files;
mod support;

use files::{bytes_of, image_of};
use goblin::elf::{dynamic, program_header, Elf};
use proptest::prelude::*;
use relink::abi::{adapters, line};
use relink::address::RunAddr;
use relink::elf::ElfError;
use relink::error::Error;
use relink::guest::Inventory;
use relink::host::exports::{Definition, Visibility};
use relink::plan::{plan, Definitions, Request, StagedImage};
use relink::stages::{Files, ImageFile, Part};
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

const FILE: &str = "folder/libguest.so";

/// No reading takes longer, broken or not, debug build or not.
const LONGEST: Duration = Duration::from_secs(10);

fn guest() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| bytes_of(&support::parts().guest))
}

/// File offsets of what is to be broken, found by goblin.
struct Places {
    headers: u64,
    header_count: usize,
    load: usize,
    dynamic: Range<u64>,
    areas: Vec<(&'static str, Range<usize>)>,
    note: usize,
}

fn places() -> &'static Places {
    static PLACES: OnceLock<Places> = OnceLock::new();
    PLACES.get_or_init(|| {
        let elf = Elf::parse(guest()).expect("goblin");
        let header =
            |kind| elf.program_headers.iter().position(|h| h.p_type == kind).expect("a program header");
        let section = |name: &str| {
            let found = elf.section_headers.iter().find(|s| elf.shdr_strtab.get_at(s.sh_name) == Some(name));
            found.unwrap_or_else(|| panic!("no section {name}")).file_range().expect("bytes")
        };
        let dynamic = &elf.program_headers[header(program_header::PT_DYNAMIC)];
        let names = [
            ".dynamic",
            ".rela.dyn",
            ".rela.plt",
            ".dynsym",
            ".dynstr",
            ".gnu.hash",
            ".gnu.version",
            ".gnu.version_r",
        ];
        let mut areas: Vec<_> = names.map(|name| (name, section(name))).into();
        areas.push(("headers", 0..elf.header.e_phoff as usize + elf.program_headers.len() * 56));
        Places {
            headers: elf.header.e_phoff,
            header_count: elf.program_headers.len(),
            load: header(program_header::PT_LOAD),
            dynamic: dynamic.p_offset..dynamic.p_offset + dynamic.p_filesz,
            areas,
            note: guest().windows(11).position(|w| w == b"{\"schema\":1").expect("the note"),
        }
    })
}

fn area(name: &str) -> Range<usize> {
    places().areas.iter().find(|(n, _)| *n == name).expect("an area").1.clone()
}

fn put(bytes: &mut [u8], at: u64, value: impl AsRef<[u8]>) {
    let value = value.as_ref();
    bytes[at as usize..at as usize + value.len()].copy_from_slice(value);
}

/// Field at `inside` of the program header of this number.
fn program_field(bytes: &mut [u8], index: usize, inside: u64, value: u64) {
    put(bytes, places().headers + index as u64 * 56 + inside, value.to_le_bytes());
}

/// The file offset of the dynamic entry with this tag.
fn entry(tag: u64) -> u64 {
    let mut all = places().dynamic.clone().step_by(16);
    let found = all.find(|at| guest()[*at as usize..][..8] == tag.to_le_bytes());
    found.unwrap_or_else(|| panic!("no dynamic entry {tag:#x}"))
}

fn dynamic_value(bytes: &mut [u8], tag: u64, value: u64) {
    put(bytes, entry(tag) + 8, value.to_le_bytes());
}

fn without(bytes: &mut [u8], tag: u64) {
    put(bytes, entry(tag), 0x6fff_0000u64.to_le_bytes());
}

/// Every V8 symbol is at one address.
struct Fake(HashMap<String, Definition>);

impl Definitions for Fake {
    fn find(&self, name: &str, _version: Option<&str>) -> Result<Option<Definition>, ElfError> {
        Ok(self.0.get(name).copied())
    }
}

fn provider() -> &'static Fake {
    static FAKE: OnceLock<Fake> = OnceLock::new();
    FAKE.get_or_init(|| {
        let at = Definition {
            address: RunAddr(0x1000),
            is_function: true,
            visibility: Visibility::Dynsym,
            part: None,
        };
        let file = image_of(guest());
        let slots = Inventory::read(&file).expect("the guest").slots;
        Fake(slots.iter().map(|s| (s.symbol.to_owned(), at)).collect())
    })
}

/// The guest's libraries, which are not mutated.
fn libraries() -> &'static [Part<'static, 'static>] {
    static PARTS: OnceLock<Vec<Part<'static, 'static>>> = OnceLock::new();
    PARTS.get_or_init(|| {
        let files: &'static Files = Box::leak(Box::new(Files::open(&support::parts().guest).expect("files")));
        let images: &'static [ImageFile] = files.images().expect("images").leak();
        Part::read_all(&images[1..]).expect("libraries")
    })
}

/// Reads and plans; the number of bindings.
fn attempt(bytes: &[u8]) -> Result<usize, Error> {
    let start = Instant::now();
    let result = ImageFile::in_memory(StagedImage::Guest, Path::new(FILE), bytes).and_then(|image| {
        let guest = Part::read(&image)?;
        guest.note()?;
        let libraries = libraries().iter().map(Part::member);
        let members: Vec<_> = std::iter::once(guest.member()).chain(libraries).collect();
        let request = Request {
            members: &members,
            needs: &|_| false,
            provider: provider(),
            provider_name: "libfake.so",
            adapters: &adapters::beside_a_host(line::oldest()),
            guards: &[],
        };
        plan(&request).map(|p| p.bindings.len())
    });
    assert!(start.elapsed() < LONGEST, "took {:?}", start.elapsed());
    result
}

#[test]
fn the_guest_as_it_is_can_be_planned() {
    let bindings = attempt(guest()).expect("planned");
    assert!(bindings > 500, "{bindings}");
}

/// What is broken, the code, words of the message, and how.
type Broken = (&'static str, &'static str, &'static [&'static str], fn(&mut Vec<u8>));

const BROKEN: [Broken; 34] = [
    ("magic", "E0302", &["not an ELF file", "offset 0", "7f454c47"], |b| b[3] = b'G'),
    ("class", "E0303", &["EI_CLASS", "is 1", "ELFCLASS64"], |b| b[4] = 1),
    ("byte order", "E0303", &["EI_DATA", "ELFDATA2LSB"], |b| b[5] = 2),
    ("version", "E0303", &["version"], |b| b[6] = 9),
    ("type", "E0303", &["e_type", "is 4", "ET_DYN"], |b| b[16] = 4),
    ("machine: AArch64", "E0303", &["machine is aarch64", "x86-64"], |b| b[18] = 183),
    ("machine: unknown", "E0303", &["machine is e_machine 4660"], |b| put(b, 18, [0x34, 0x12])),
    ("e_phoff", "E0304", &["program header table", "0x7fffffffffffff00"], |b| {
        put(b, 32, 0x7fff_ffff_ffff_ff00u64.to_le_bytes())
    }),
    ("e_phnum", "E0304", &["program header table"], |b| {
        b.truncate(4096);
        put(b, 56, [0xff, 0xff]);
    }),
    ("e_phentsize", "E0305", &["program header table"], |b| put(b, 54, [1, 0])),
    ("p_filesz of a segment", "E0304", &["PT_LOAD", "0x10000000000"], |b| {
        program_field(b, places().load, 32, 1 << 40)
    }),
    ("p_offset of a segment", "E0304", &["PT_LOAD", "0xffffffffffffffff"], |b| {
        program_field(b, places().load, 8, u64::MAX)
    }),
    ("p_vaddr of a segment", "E0305", &["malformed"], |b| program_field(b, places().load, 16, 1 << 40)),
    ("no segments at all", "E0305", &["dynamic section"], |b| put(b, 56, [0, 0])),
    ("no PT_DYNAMIC", "E0305", &["PT_DYNAMIC", "missing"], |b| retype(b, program_header::PT_DYNAMIC)),
    ("no PT_NOTE", "E0306", &["no such note", "relink guest build"], |b| retype(b, program_header::PT_NOTE)),
    ("no DT_SYMTAB", "E0305", &["DT_SYMTAB", "missing"], |b| without(b, dynamic::DT_SYMTAB)),
    ("no DT_STRTAB", "E0305", &["DT_STRTAB", "missing"], |b| without(b, dynamic::DT_STRTAB)),
    ("no DT_STRSZ", "E0305", &["DT_STRSZ", "missing"], |b| without(b, dynamic::DT_STRSZ)),
    ("DT_SYMTAB", "E0305", &["dynamic symbol", "no loaded segment"], |b| {
        dynamic_value(b, dynamic::DT_SYMTAB, 1 << 40)
    }),
    ("DT_SYMTAB, misaligned", "E0305", &["dynamic symbol", "not aligned"], |b| {
        let file = entry(dynamic::DT_SYMTAB) + 8;
        b[file as usize] += 1;
    }),
    ("DT_STRTAB", "E0305", &["dynamic string", "0x100000", "no loaded segment"], |b| {
        dynamic_value(b, dynamic::DT_STRTAB, 1 << 40);
    }),
    ("DT_STRSZ, too small", "E0305", &["dynamic string", "DT_STRSZ"], |b| {
        dynamic_value(b, dynamic::DT_STRSZ, 1)
    }),
    ("DT_STRSZ, too large", "E0305", &["dynamic string", "end of its segment"], |b| {
        dynamic_value(b, dynamic::DT_STRSZ, 1 << 40)
    }),
    ("DT_RELA", "E0305", &["relocation table", "no loaded segment"], |b| {
        dynamic_value(b, dynamic::DT_RELA, 1 << 40)
    }),
    ("DT_RELASZ", "E0305", &["relocation table", "end of its segment"], |b| {
        dynamic_value(b, dynamic::DT_RELASZ, 1 << 40)
    }),
    ("DT_JMPREL", "E0305", &["relocation table", "0xffffffffffffffff"], |b| {
        dynamic_value(b, dynamic::DT_JMPREL, u64::MAX)
    }),
    ("DT_PLTRELSZ", "E0305", &["relocation table"], |b| dynamic_value(b, dynamic::DT_PLTRELSZ, u64::MAX)),
    ("DT_GNU_HASH", "E0305", &["GNU hash table", "no loaded segment"], |b| {
        dynamic_value(b, dynamic::DT_GNU_HASH, 1 << 40)
    }),
    ("buckets of the hash table", "E0305", &["GNU hash table", "no buckets"], |b| {
        put(b, area(".gnu.hash").start as u64, [0; 4])
    }),
    ("bloom filter", "E0305", &["GNU hash table", "power of two"], |b| {
        put(b, area(".gnu.hash").start as u64 + 8, [3, 0, 0, 0])
    }),
    ("DT_VERNEED", "E0305", &["needed version", "no loaded segment"], |b| {
        dynamic_value(b, dynamic::DT_VERNEED, 1 << 40)
    }),
    ("symbol of a relocation", "E0305", &["dynamic symbol"], |b| {
        put(b, area(".rela.plt").start as u64 + 12, [0xff; 4])
    }),
    ("offset of a relocation", "E0305", &["a slot", "0x7f0000000000"], |b| {
        put(b, area(".rela.plt").start as u64, 0x7f00_0000_0000u64.to_le_bytes());
    }),
];

/// Makes the program headers of this type something that nobody looks for.
fn retype(bytes: &mut [u8], kind: u32) {
    for index in 0..places().header_count as u64 {
        let at = places().headers + index * 56;
        if bytes[at as usize..][..4] == kind.to_le_bytes() {
            put(bytes, at, 0x6fff_0000u32.to_le_bytes());
        }
    }
}

fn refusal(what: &str, code: &str, says: &[&str], bytes: &[u8]) {
    let error = attempt(bytes).err().unwrap_or_else(|| panic!("{what}: accepted"));
    assert_eq!(error.code(), code, "{what}: {error}");
    let line = error.line();
    assert!(!line.contains('\n'), "{what}: {line}");
    for words in says.iter().chain(&[FILE]) {
        assert!(line.contains(words), "{what}: \"{words}\" is not in: {line}");
    }
}

#[test]
fn one_broken_field_is_one_exact_refusal() {
    for (what, code, says, change) in BROKEN {
        let mut bytes = guest().to_vec();
        change(&mut bytes);
        refusal(what, code, says, &bytes);
    }
}

#[test]
fn a_broken_note_is_one_exact_refusal() {
    let note = places().note;
    let cases: [(&str, usize, &[u8], &str); 4] = [
        ("owner", note - 8, b"relink", "no such note"),
        ("brace", note, b"[", "malformed"),
        ("schema", note + 10, b"2", "schema 2"),
        ("field", note + 2, b"SCHEMA", "missing field"),
    ];
    for (what, at, value, says) in cases {
        let mut bytes = guest().to_vec();
        put(&mut bytes, at as u64, value);
        refusal(what, "E0306", &[says, "relink guest build"], &bytes);
    }
}

#[test]
fn a_cut_off_guest_is_refused_wherever_it_is_cut() {
    let size = guest().len();
    let elf = Elf::parse(guest()).expect("goblin");
    let ends =
        elf.program_headers.iter().flat_map(|h| [h.p_offset as usize, (h.p_offset + h.p_filesz) as usize]);
    let mut cuts: Vec<_> = ends.flat_map(|at| [at.saturating_sub(1), at, at + 1]).collect();
    cuts.extend(0..=64);
    cuts.extend((0..=places().header_count).flat_map(|n| [64 + n * 56 - 1, 64 + n * 56]));
    cuts.extend((0..200).map(|n: usize| n.wrapping_mul(2_654_435_761) % size));
    let loaded = elf.program_headers.iter().filter(|h| h.p_type == program_header::PT_LOAD);
    let needed = loaded.map(|h| (h.p_offset + h.p_filesz) as usize).max().expect("segments");
    for cut in cuts.into_iter().filter(|cut| *cut < needed) {
        let error = attempt(&guest()[..cut]).err().unwrap_or_else(|| panic!("accepted when cut at {cut}"));
        let expected = if cut < 4 { "E0302" } else { "E0304" };
        assert_eq!(error.code(), expected, "cut at {cut}: {error}");
        assert!(cut < 4 || error.to_string().contains(&format!("the file has {cut:#x}")), "{error}");
    }
    assert!(attempt(&guest()[..needed]).is_ok(), "section headers are not needed");
}

/// A number at the very end of its range, where a sum would overflow.
fn at_the_end(change: impl FnOnce(&mut Vec<u8>)) -> Result<(), String> {
    let mut bytes = guest().to_vec();
    change(&mut bytes);
    let caught = std::panic::catch_unwind(|| attempt(&bytes).map(drop));
    caught
        .map(drop)
        .map_err(|panic| panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "a panic".into()))
}

#[test]
fn a_hash_table_that_starts_at_the_last_symbol() {
    let hash = area(".gnu.hash").start;
    let word = |at: usize| u32::from_le_bytes(guest()[at..at + 4].try_into().expect("four bytes")) as usize;
    let buckets = hash + 16 + word(hash + 8) * 8;
    let last_symbol = at_the_end(|b| {
        put(b, hash as u64 + 4, 0xffff_fff0u32.to_le_bytes());
        (0..word(hash)).for_each(|n| put(b, (buckets + n * 4) as u64, u32::MAX.to_le_bytes()));
    });
    assert_eq!(last_symbol, Ok(()));
}

#[test]
fn a_segment_that_ends_past_the_last_address() {
    // The segment with the relocations ends beyond the last address, and so does the table.
    let elf = Elf::parse(guest()).expect("goblin");
    let table = area(".rela.dyn").start as u64;
    let holds = |h: &&goblin::elf::ProgramHeader| {
        h.p_type == program_header::PT_LOAD && (h.p_offset..h.p_offset + h.p_filesz).contains(&table)
    };
    let segment = elf.program_headers.iter().find(holds).expect("a segment");
    let index = elf.program_headers.iter().position(|h| h == segment).expect("its number");
    let moved = u64::MAX - (table - segment.p_offset) - 0xff;
    let past_the_end = at_the_end(|b| {
        program_field(b, index, 16, moved);
        for tag in [
            dynamic::DT_RELA,
            dynamic::DT_SYMTAB,
            dynamic::DT_STRTAB,
            dynamic::DT_GNU_HASH,
            dynamic::DT_VERSYM,
            dynamic::DT_VERNEED,
        ] {
            let old =
                u64::from_le_bytes(guest()[entry(tag) as usize + 8..][..8].try_into().expect("eight bytes"));
            dynamic_value(b, tag, old.wrapping_sub(segment.p_vaddr).wrapping_add(moved));
        }
    });
    assert_eq!(past_the_end, Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any bytes in any of the areas that are read: an answer, in time, and no panic.
    #[test]
    fn flipped_bytes_lead_to_an_answer(
        flips in proptest::collection::vec((0..places().areas.len(), any::<prop::sample::Index>(), any::<u8>()), 1..6)
    ) {
        let mut bytes = guest().to_vec();
        for (area, index, value) in flips {
            let area = places().areas[area].1.clone();
            bytes[area.start + index.index(area.len())] = value;
        }
        // Which answer does not matter here: a flipped digit of a name is a missing symbol, one of an address anything.
        if let Err(error) = attempt(&bytes) {
            prop_assert!(error.code().starts_with('E'));
            prop_assert!(!error.line().contains('\n'), "{}", error.line());
        }
    }

    /// Words that are extreme, where 32-bit and 64-bit numbers are expected.
    #[test]
    fn extreme_numbers_lead_to_an_answer(
        words in proptest::collection::vec(
            (0..places().areas.len(), any::<prop::sample::Index>(),
             prop::sample::select(vec![0u64, 1, 0x7fff_ffff, 0xffff_ffff, 1 << 63, u64::MAX, u64::MAX - 7, 0xffff_ffff_0000_0000])),
            1..4)
    ) {
        let mut bytes = guest().to_vec();
        for (area, index, value) in words {
            let area = places().areas[area].1.clone();
            let at = area.start + index.index(area.len() / 8) * 8;
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        let _ = attempt(&bytes);
    }
}
