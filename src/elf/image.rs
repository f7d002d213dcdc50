//! The loadable view of an ELF object: bytes by link-time address (gABI chapter 5, "Program Header").

use super::arch::{machine_name, Arch};
use super::{Dynamic, ElfError};
use crate::address::{LinkAddr, LoadBias};
use object::elf::{self, FileHeader64, ProgramHeader64};
use object::read::elf::FileHeader as _;
use object::{LittleEndian as LE, Pod};

/// The bytes of one `PT_LOAD` segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'d> {
    /// Where the segment was linked.
    pub start: LinkAddr,
    /// Its bytes: `p_filesz` of them in a file, `p_memsz` in a process.
    pub bytes: &'d [u8],
}

/// An ELF object as the dynamic linker sees it.
#[derive(Clone, Debug)]
pub struct Image<'d> {
    segments: Vec<Segment<'d>>,
    headers: Vec<ProgramHeader64<LE>>,
    /// What ld.so may have added to the addresses in the dynamic section (0 for a file).
    dynamic_bias: LoadBias,
}

impl<'d> Image<'d> {
    /// An image over memory that is already mapped. `dynamic_bias` is the module's load bias, because glibc adds it
    /// to the addresses in a writable dynamic section.
    pub fn from_segments(
        segments: Vec<Segment<'d>>,
        headers: Vec<ProgramHeader64<LE>>,
        dynamic_bias: LoadBias,
    ) -> Self {
        Self { segments, headers, dynamic_bias }
    }

    /// The program headers.
    pub fn headers(&self) -> &[ProgramHeader64<LE>] {
        &self.headers
    }

    /// The first program header of type `p_type` (`PT_*`).
    pub fn header(&self, p_type: u32) -> Option<&ProgramHeader64<LE>> {
        self.headers.iter().find(|h| h.p_type.get(LE) == p_type)
    }

    /// `length` bytes at `at`; `what` names them in the error.
    pub fn bytes(&self, what: &'static str, at: LinkAddr, length: u64) -> Result<&'d [u8], ElfError> {
        let outside = |why| ElfError::Malformed { what, address: at, why };
        let segment = self
            .segments
            .iter()
            .find(|s| at >= s.start && at.0 - s.start.0 < s.bytes.len() as u64)
            .ok_or(outside("lies in no loaded segment"))?;
        let start = (at.0 - segment.start.0) as usize;
        let end = usize::try_from(length).ok().and_then(|n| start.checked_add(n));
        end.and_then(|end| segment.bytes.get(start..end)).ok_or(outside("runs past the end of its segment"))
    }

    /// The bytes from `at` to the end of its segment.
    pub fn tail(&self, what: &'static str, at: LinkAddr) -> Result<&'d [u8], ElfError> {
        self.segments
            .iter()
            .find_map(|s| s.bytes.get(usize::try_from(at.0.checked_sub(s.start.0)?).ok()?..))
            .filter(|bytes| !bytes.is_empty())
            .ok_or(ElfError::Malformed { what, address: at, why: "lies in no loaded segment" })
    }

    /// `count` entries of a table of `T` at `at`.
    pub fn table<T: Pod>(&self, what: &'static str, at: LinkAddr, count: u64) -> Result<&'d [T], ElfError> {
        let too_long = ElfError::Malformed { what, address: at, why: "its size overflows" };
        let length = count.checked_mul(size_of::<T>() as u64).ok_or(too_long)?;
        let bytes = self.bytes(what, at, length)?;
        let misaligned = ElfError::Malformed { what, address: at, why: "is not aligned" };
        object::pod::slice_from_bytes(bytes, count as usize).map(|(table, _)| table).map_err(|()| misaligned)
    }

    /// One value of type `T` at `at`.
    pub fn value<T: Pod>(&self, what: &'static str, at: LinkAddr) -> Result<&'d T, ElfError> {
        self.table(what, at, 1).map(|table: &[T]| &table[0])
    }

    /// Turns an address read from the dynamic section into a link-time one, whether ld.so has relocated it or not.
    pub fn dynamic_address(&self, value: u64) -> LinkAddr {
        let relocated = self.dynamic_bias.link(crate::address::RunAddr(value));
        if self.dynamic_bias.0 != 0 && self.covers(relocated) {
            relocated
        } else {
            LinkAddr(value)
        }
    }

    fn covers(&self, at: LinkAddr) -> bool {
        self.segments.iter().any(|s| at >= s.start && at.0 - s.start.0 <= s.bytes.len() as u64)
    }

    /// The link-time addresses that the loaded segments span, first to one past the last.
    pub fn span(&self) -> std::ops::Range<LinkAddr> {
        let ends = |h: &ProgramHeader64<LE>| h.p_vaddr.get(LE).saturating_add(h.p_memsz.get(LE));
        let loads = || self.headers.iter().filter(|h| h.p_type.get(LE) == elf::PT_LOAD);
        let start = loads().map(|h| h.p_vaddr.get(LE)).min().unwrap_or(0);
        LinkAddr(start)..LinkAddr(loads().map(ends).max().unwrap_or(start))
    }

    /// Whether `at` lies in an executable segment.
    pub fn is_code(&self, at: LinkAddr) -> bool {
        self.headers.iter().any(|h| {
            let start = h.p_vaddr.get(LE);
            h.p_type.get(LE) == elf::PT_LOAD
                && h.p_flags.get(LE) & elf::PF_X != 0
                && (start..start.saturating_add(h.p_memsz.get(LE))).contains(&at.0)
        })
    }
}

/// An ELF file of this machine's architecture: the image and the file it came from.
#[derive(Clone, Debug)]
pub struct FileImage<'d> {
    /// The loadable view.
    pub image: Image<'d>,
    /// The whole file.
    pub bytes: &'d [u8],
    /// Its architecture.
    pub arch: &'static Arch,
    /// `e_type`: `ET_DYN` or `ET_EXEC`.
    pub e_type: u16,
}

impl<'d> FileImage<'d> {
    /// Reads the headers of `bytes`. Only little-endian ELF64 objects of the architecture `expected` that can be
    /// loaded (`ET_DYN`, `ET_EXEC`) are accepted.
    pub fn parse(bytes: &'d [u8], expected: &'static Arch) -> Result<Self, ElfError> {
        let header = file_header(bytes)?;
        let machine = header.e_machine.get(LE);
        if machine != expected.machine {
            return Err(unsuitable("machine", machine_name(machine), expected.name));
        }
        let e_type = header.e_type.get(LE);
        if e_type != elf::ET_DYN && e_type != elf::ET_EXEC {
            return Err(unsuitable("type (e_type)", e_type.to_string(), "2 (ET_EXEC) or 3 (ET_DYN)"));
        }
        let headers = program_headers(header, bytes)?;
        let loads = || headers.iter().filter(|h| h.p_type.get(LE) == elf::PT_LOAD);
        // Every look-up goes through all of them.
        if loads().count() > MOST_SEGMENTS {
            let expected = format!("at most {MOST_SEGMENTS}");
            return Err(unsuitable("the number of PT_LOAD segments", loads().count().to_string(), &expected));
        }
        let segments = loads().map(|h| file_segment(h, bytes)).collect::<Result<_, _>>()?;
        Ok(Self {
            image: Image::from_segments(segments, headers, LoadBias(0)),
            bytes,
            arch: expected,
            e_type,
        })
    }

    /// The file offset of what is linked at `at`, if the file has bytes for it.
    pub fn file_offset(&self, at: LinkAddr) -> Option<usize> {
        self.image.headers.iter().filter(|h| h.p_type.get(LE) == elf::PT_LOAD).find_map(|h| {
            let inside = at.0.checked_sub(h.p_vaddr.get(LE))?;
            (inside < h.p_filesz.get(LE)).then(|| (h.p_offset.get(LE) + inside) as usize)
        })
    }
}

fn file_header(bytes: &[u8]) -> Result<&FileHeader64<LE>, ElfError> {
    let magic = bytes.get(..4).unwrap_or(bytes);
    if magic != elf::ELFMAG {
        let found: String = magic.iter().map(|b| format!("{b:02x}")).collect();
        return Err(ElfError::NotElf { found: if found.is_empty() { "nothing".into() } else { found } });
    }
    let size = size_of::<FileHeader64<LE>>() as u64;
    check_range("the ELF header", 0, size, bytes)?;
    if bytes[EI_CLASS] != elf::ELFCLASS64 {
        return Err(unsuitable("class (EI_CLASS)", bytes[EI_CLASS].to_string(), "2 (ELFCLASS64)"));
    }
    if bytes[EI_DATA] != elf::ELFDATA2LSB {
        return Err(unsuitable("byte order (EI_DATA)", bytes[EI_DATA].to_string(), "1 (ELFDATA2LSB)"));
    }
    FileHeader64::parse(bytes)
        .map_err(|_| unsuitable("version (e_version)", bytes[6].to_string(), "1 (EV_CURRENT)"))
}

/// Linkers make four or five, up to a dozen.
const MOST_SEGMENTS: usize = 128;

/// Offsets into `e_ident` (gABI figure 4-4).
const EI_CLASS: usize = 4;
const EI_DATA: usize = 5;

fn program_headers(header: &FileHeader64<LE>, bytes: &[u8]) -> Result<Vec<ProgramHeader64<LE>>, ElfError> {
    let (start, count) = (header.e_phoff.get(LE), u64::from(header.e_phnum.get(LE)));
    check_range("the program header table", start, count * size_of::<ProgramHeader64<LE>>() as u64, bytes)?;
    let table =
        header.program_headers(LE, bytes).map_err(|_| ElfError::Missing("the program header table"))?;
    Ok(table.to_vec())
}

fn file_segment<'d>(header: &ProgramHeader64<LE>, bytes: &'d [u8]) -> Result<Segment<'d>, ElfError> {
    let (start, length) = (header.p_offset.get(LE), header.p_filesz.get(LE));
    check_range("a PT_LOAD segment", start, length, bytes)?;
    let range = start as usize..(start + length) as usize;
    Ok(Segment { start: LinkAddr(header.p_vaddr.get(LE)), bytes: &bytes[range] })
}

fn check_range(what: &'static str, offset: u64, length: u64, bytes: &[u8]) -> Result<(), ElfError> {
    let end = offset.saturating_add(length);
    let size = bytes.len() as u64;
    if end <= size {
        Ok(())
    } else {
        Err(ElfError::Truncated { what, offset, end, size })
    }
}

fn unsuitable(what: &'static str, found: String, expected: &str) -> ElfError {
    ElfError::Unsuitable { what, found, expected: expected.into() }
}
/// Whether a file is a program. The C library has an interpreter too, so that it can be run; but no program has a name for
/// other files to need.
pub fn is_program(file: &FileImage) -> bool {
    let interpreted = file.image.header(elf::PT_INTERP).is_some();
    let soname = Dynamic::parse(&file.image).ok().and_then(|dynamic| dynamic.soname().ok()?);
    file.e_type == elf::ET_EXEC || (interpreted && soname.is_none())
}
