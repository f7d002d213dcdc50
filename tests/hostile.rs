//! Layer: refusing hostile files. `relink inspect` on files made to break a reader: an answer or one exact refusal, in
//! time, without a panic, and with little memory. Real bytes of Debian's V8 and of the guest, one thing broken at a time.

#[path = "support/files.rs"]
mod files;
mod support;
#[path = "support/targets.rs"]
mod targets;

use files::bytes_of;
use goblin::elf::Elf;
use relink::elf::arch::Arch;
use relink::elf::FileImage;
use relink::host::inspect::{inspect, Findings};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

/// Counts what is allocated, so that "little memory" is a number.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: hands everything on to the system's allocator, whose contract is the same.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        MOST.fetch_max(NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size(), Ordering::Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// No answer takes longer, on a busy machine.
const LONGEST: Duration = Duration::from_secs(10);

/// No answer takes more memory than this, in bytes: a few times the symbol table of the largest file here.
const MEMORY: usize = 64 << 20;

/// One test at a time: memory is counted for the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn v8() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| bytes_of(&support::parts().libv8))
}

/// Looks into `bytes`, within time and memory.
fn look(what: &str, bytes: &[u8]) -> Result<Findings, String> {
    let (start, before) = (Instant::now(), NOW.load(Ordering::Relaxed));
    MOST.store(before, Ordering::Relaxed);
    let answer = FileImage::parse(bytes, Arch::native()).and_then(|file| inspect(&file));
    let used = MOST.load(Ordering::Relaxed).saturating_sub(before);
    assert!(start.elapsed() < LONGEST, "{what}: {:?}", start.elapsed());
    assert!(used < MEMORY, "{what}: {used} bytes");
    answer.map_err(|e| e.to_string())
}

fn put(bytes: &mut [u8], at: usize, value: impl AsRef<[u8]>) {
    bytes[at..at + value.as_ref().len()].copy_from_slice(value.as_ref());
}

fn section(bytes: &[u8], name: &str) -> std::ops::Range<usize> {
    let elf = Elf::parse(bytes).expect("goblin");
    let found = elf.section_headers.iter().find(|s| elf.shdr_strtab.get_at(s.sh_name) == Some(name));
    found.unwrap_or_else(|| panic!("no section {name}")).file_range().expect("bytes")
}

/// File offset of the section header with this name.
fn section_header(bytes: &[u8], name: &str) -> usize {
    let elf = Elf::parse(bytes).expect("goblin");
    let named = |s: &goblin::elf::SectionHeader| elf.shdr_strtab.get_at(s.sh_name) == Some(name);
    let index = elf.section_headers.iter().position(named).unwrap_or_else(|| panic!("no section {name}"));
    elf.header.e_shoff as usize + index * 64
}

#[test]
fn the_file_as_it_is_has_a_v8() {
    let _alone = alone();
    let found = look("libv8", v8()).expect("read");
    assert_eq!(found.version.map(|v| v.value).as_deref(), Some("10.2.154.26-node.37"));
}

#[test]
fn cut_at_each_header_and_table() {
    let _alone = alone();
    let elf = Elf::parse(v8()).expect("goblin");
    let programs = elf.program_headers.iter().flat_map(|h| [h.p_offset, h.p_offset + h.p_filesz]);
    let sections = elf.section_headers.iter().flat_map(|s| [s.sh_offset, s.sh_offset + s.sh_size]);
    let tables = (0..=elf.header.e_phnum).map(|n| elf.header.e_phoff + u64::from(n) * 56);
    let headers = (0..=elf.header.e_shnum).map(|n| elf.header.e_shoff + u64::from(n) * 64);
    let cuts = programs.chain(sections).chain(tables).chain(headers).chain(0..=64);
    let loaded = elf.program_headers.iter().filter(|h| h.p_type == goblin::elf::program_header::PT_LOAD);
    let needed = loaded.map(|h| h.p_offset + h.p_filesz).max().expect("segments");
    for cut in cuts.flat_map(|at| [at.saturating_sub(1), at, at + 1]).filter(|at| *at < v8().len() as u64) {
        let answer = look(&format!("cut at {cut}"), &v8()[..cut as usize]);
        assert_eq!(answer.is_ok(), cut >= needed, "cut at {cut}: {:?}", answer.err());
    }
}

#[test]
fn hash_chains_that_never_end() {
    let _alone = alone();
    let hash = section(v8(), ".gnu.hash");
    let word = |at: usize| u32::from_le_bytes(v8()[at..at + 4].try_into().expect("four bytes"));
    let (buckets, bloom) = (word(hash.start) as usize, word(hash.start + 8) as usize);
    let chains = hash.start + 16 + bloom * 8 + buckets * 4;
    let mut bytes = v8().to_vec();
    // Every name may be there, every bucket begins at the first symbol, and no chain has a last word.
    bytes[hash.start + 16..hash.start + 16 + bloom * 8].fill(0xff);
    let first = word(hash.start + 4);
    (0..buckets).for_each(|n| put(&mut bytes, hash.start + 16 + bloom * 8 + n * 4, first.to_le_bytes()));
    (chains..hash.end).step_by(4).for_each(|at| bytes[at] &= 0xfe);
    let answer = look("chains without an end", &bytes);
    assert!(answer.is_ok(), "{answer:?}");
}

/// A file whose only hash table is of the older kind, with a chain that leads back to its beginning.
#[test]
fn a_hash_chain_in_a_circle() {
    let _alone = alone();
    let (dynamic, hash) = (section(v8(), ".dynamic"), section(v8(), ".gnu.hash"));
    let mut bytes = v8().to_vec();
    const DT_HASH: u64 = 4;
    const DT_GNU_HASH: u64 = 0x6fff_fef5;
    let tag = |at: usize| u64::from_le_bytes(v8()[at..at + 8].try_into().expect("eight bytes"));
    let entry = dynamic.step_by(16).find(|at| tag(*at) == DT_GNU_HASH).expect("a GNU hash table");
    put(&mut bytes, entry, DT_HASH.to_le_bytes());
    let count = (hash.len() / 4 - 3) as u32;
    let words = [1, count, 1].into_iter().chain((0..count).map(|n| if n == 1 { 2 } else { 1 }));
    for (at, word) in (hash.start..).step_by(4).zip(words) {
        put(&mut bytes, at, u32::to_le_bytes(word));
    }
    assert!(look("a chain in a circle", &bytes).is_ok());
}

#[test]
fn segments_that_overlap() {
    let _alone = alone();
    let elf = Elf::parse(v8()).expect("goblin");
    let size = v8().len() as u64;
    let mut bytes = v8().to_vec();
    for index in 0..elf.program_headers.len() {
        // All are loaded, and all of them are the whole file at address 0.
        let at = elf.header.e_phoff as usize + index * 56;
        put(&mut bytes, at, 1u32.to_le_bytes());
        [(8, 0), (16, 0), (32, size), (40, size)].iter().for_each(|(field, value): &(usize, u64)| {
            put(&mut bytes, at + field, value.to_le_bytes());
        });
    }
    assert!(look("segments that overlap", &bytes).is_ok());
}

#[test]
fn more_segments_than_any_linker_makes() {
    let _alone = alone();
    let count = 60_000u16;
    let mut bytes = v8()[..64].to_vec();
    put(&mut bytes, 32, 64u64.to_le_bytes());
    put(&mut bytes, 56, count.to_le_bytes());
    for _ in 0..count {
        let mut header = [0; 56];
        put(&mut header, 0, 1u32.to_le_bytes());
        put(&mut header, 32, 64u64.to_le_bytes());
        bytes.extend(header);
    }
    let error = look("60,000 segments", &bytes).expect_err("refused");
    assert!(error.contains("PT_LOAD") && error.contains("60000"), "{error}");
}

#[test]
fn sections_that_overlap_and_numbers_that_are_huge() {
    let _alone = alone();
    let sections = [".dynsym", ".dynstr", ".gnu.hash", ".rodata", ".comment", ".shstrtab", ".gnu_debuglink"];
    let present = sections.into_iter().filter(|n| v8().windows(n.len()).any(|w| w == n.as_bytes()));
    for name in present.filter(|n| *n != ".comment") {
        for (field, value) in [(24, 0), (24, u64::MAX), (32, u64::MAX), (32, 1 << 32), (56, 0), (56, 1)] {
            let mut bytes = v8().to_vec();
            let at = section_header(v8(), name) + field;
            put(&mut bytes, at, u64::to_le_bytes(value));
            let answer = look(&format!("{name}, field {field} = {value:#x}"), &bytes);
            assert!(answer.is_ok(), "{answer:?}");
        }
    }
    let elf = Elf::parse(v8()).expect("goblin");
    let mut bytes = v8().to_vec();
    for index in 1..elf.header.e_shnum as usize {
        // Each section is read-only data, and the whole file.
        let at = elf.header.e_shoff as usize + index * 64;
        put(&mut bytes, at + 4, 1u32.to_le_bytes());
        [(8, 2), (24, 0), (32, v8().len() as u64)].iter().for_each(|(field, value): &(usize, u64)| {
            put(&mut bytes, at + field, value.to_le_bytes());
        });
    }
    assert!(look("sections that overlap", &bytes).is_ok());
}

/// A symbol table that says it has 2^32 entries, and one that has 200,000 with names that have no end.
#[test]
fn symbol_tables_that_are_too_large() {
    let _alone = alone();
    let guest = bytes_of(&support::parts().guest);
    let header = section_header(&guest, ".symtab");
    let mut bytes = guest.clone();
    put(&mut bytes, header + 32, (24u64 << 32).to_le_bytes());
    assert!(look("2^32 symbols", &bytes).is_ok());

    let mut bytes = guest.clone();
    let (at, size) = (bytes.len().next_multiple_of(8) as u64, 200_000u64 * 24);
    bytes.resize(at as usize, 0);
    (0..200_000).for_each(|_| bytes.extend([[0, 0, 0, 0, 0x12, 0, 1, 0], [0; 8], [0; 8]].concat()));
    [(24, at), (32, size)].iter().for_each(|(field, value): &(usize, u64)| {
        put(&mut bytes, header + field, value.to_le_bytes());
    });
    let strings = section(&guest, ".strtab");
    bytes[strings.clone()].fill(b'a');
    put(&mut bytes, strings.start, b"_ZN2v8");
    assert!(look("names without an end", &bytes).is_ok());
}

/// Sections of versions, each with as many entries as fit in its numbers, all in each other.
#[test]
fn versions_in_each_other() {
    let _alone = alone();
    let needed = section(v8(), ".gnu.version_r");
    let dynamic = section(v8(), ".dynamic");
    let mut bytes = v8().to_vec();
    for at in needed.step_by(4) {
        put(&mut bytes, at, [1, 0, 0xff, 0xff]);
    }
    const DT_VERNEEDNUM: u64 = 0x6fff_ffff;
    let tag = |at: usize| u64::from_le_bytes(v8()[at..at + 8].try_into().expect("eight bytes"));
    let entry = dynamic.step_by(16).find(|at| tag(*at) == DT_VERNEEDNUM).expect("versions");
    put(&mut bytes, entry + 8, u64::MAX.to_le_bytes());
    let start = Instant::now();
    targets::elf(&bytes);
    targets::plan(&bytes);
    assert!(start.elapsed() < LONGEST, "{:?}", start.elapsed());
    assert!(look("versions in each other", &bytes).is_ok());
}

/// The files that the fuzzers found interesting, through the same functions.
#[test]
fn what_the_fuzzers_kept() {
    let _alone = alone();
    for (name, target) in
        [("elf", targets::elf as fn(&[u8])), ("plan", targets::plan), ("inspect", targets::inspect)]
    {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(name);
        let files: Vec<_> =
            std::fs::read_dir(&folder).expect("the corpus").flatten().map(|e| e.path()).collect();
        assert!(files.len() >= 10, "{} files in {}", files.len(), folder.display());
        for file in files {
            let start = Instant::now();
            target(&bytes_of(&file));
            assert!(start.elapsed() < LONGEST, "{}: {:?}", file.display(), start.elapsed());
        }
    }
}
