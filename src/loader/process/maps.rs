//! `/proc/PID/maps` (proc(5)): what is mapped where, and with which protection.
//!
//! # Safety
//! `sysconf` has no preconditions.

use relink_elf::address::RunAddr;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

/// The protection of a mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Protection {
    /// `PROT_READ`.
    pub read: bool,
    /// `PROT_WRITE`.
    pub write: bool,
    /// `PROT_EXEC`.
    pub execute: bool,
}

impl Protection {
    /// The same protection with writing allowed, and executing not: a page must never have both.
    pub fn writable(self) -> Self {
        Self { read: true, write: true, execute: false }
    }

    /// As the `prot` argument of `mprotect(2)`.
    pub fn bits(self) -> i32 {
        let bit = |on, bit| if on { bit } else { libc::PROT_NONE };
        bit(self.read, libc::PROT_READ)
            | bit(self.write, libc::PROT_WRITE)
            | bit(self.execute, libc::PROT_EXEC)
    }
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = |on, letter| if on { letter } else { '-' };
        write!(f, "{}{}{}", letter(self.read, 'r'), letter(self.write, 'w'), letter(self.execute, 'x'))
    }
}

/// One line of the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// First address.
    pub start: RunAddr,
    /// One past the last address.
    pub end: RunAddr,
    /// Its protection.
    pub protection: Protection,
    /// Offset of its first byte in the file, in bytes.
    pub offset: u64,
    /// Inode of the file; 0 for anonymous memory.
    pub inode: u64,
    /// The file, or a name in brackets such as `[heap]`; empty for anonymous memory.
    pub name: PathBuf,
}

/// All mappings of a process at one moment, in order of address.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Maps(pub Vec<Mapping>);

impl Maps {
    /// The mappings of this process now.
    pub fn own() -> io::Result<Self> {
        Ok(Self::parse(&fs::read("/proc/self/maps")?))
    }

    /// Reads the text of the file. Lines that do not have its form are passed over: a kernel may add kinds of line,
    /// and a missing mapping is noticed by whoever needs it.
    pub fn parse(text: &[u8]) -> Self {
        Self(text.split(|b| *b == b'\n').filter_map(parse_line).collect())
    }

    /// The mapping that `address` lies in.
    pub fn at(&self, address: RunAddr) -> Option<&Mapping> {
        let after = self.0.partition_point(|m| m.start <= address);
        self.0[..after].last().filter(|m| address < m.end)
    }

    /// Whether every byte of `start..end` lies in a mapping that satisfies `wanted`.
    pub fn covers(&self, start: RunAddr, end: RunAddr, wanted: impl Fn(Protection) -> bool) -> bool {
        let mut at = start;
        while at < end {
            match self.at(at) {
                Some(m) if wanted(m.protection) => at = m.end,
                _ => return false,
            }
        }
        true
    }

    /// The mappings whose file is `path`.
    pub fn of_file<'m>(&'m self, path: &'m Path) -> impl Iterator<Item = &'m Mapping> {
        self.0.iter().filter(move |m| m.name == path)
    }
}

fn parse_line(line: &[u8]) -> Option<Mapping> {
    use std::os::unix::ffi::OsStrExt;
    let mut rest = line;
    let range = field(&mut rest)?;
    let protection = field(&mut rest)?.as_bytes();
    let (start, end) = range.split_once('-')?;
    let flag = |index, letter| protection.get(index).map(|b| *b == letter);
    let offset = field(&mut rest)?;
    field(&mut rest)?;
    let inode = field(&mut rest)?;
    let name = rest.iter().position(|b| *b != b' ').map_or(&rest[..0], |start| &rest[start..]);
    Some(Mapping {
        start: RunAddr(u64::from_str_radix(start, 16).ok()?),
        end: RunAddr(u64::from_str_radix(end, 16).ok()?),
        protection: Protection { read: flag(0, b'r')?, write: flag(1, b'w')?, execute: flag(2, b'x')? },
        offset: u64::from_str_radix(offset, 16).ok()?,
        inode: inode.parse().ok()?,
        name: PathBuf::from(std::ffi::OsStr::from_bytes(name)),
    })
}

fn field<'t>(rest: &mut &'t [u8]) -> Option<&'t str> {
    let start = rest.iter().position(|b| *b != b' ')?;
    let end = rest[start..].iter().position(|b| *b == b' ').map_or(rest.len(), |n| start + n);
    let (text, after) = (&rest[start..end], &rest[end..]);
    *rest = after;
    std::str::from_utf8(text).ok()
}

/// The size of a page in bytes, as the kernel says.
pub fn page_size() -> u64 {
    rustix::param::page_size() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"00400000-00452000 r-xp 00001000 08:02 173521      /usr/bin/a b\n\
        7f0000000000-7f0000001000 rw-p 00000000 00:00 0 \n\
        garbage\n\
        7fff00000000-7fff00001000 ---p 00000000 00:00 0                          [stack]\n";

    #[test]
    fn lines_of_every_form() {
        let maps = Maps::parse(TEXT);
        assert_eq!(maps.0.len(), 3);
        assert_eq!(maps.0[0].name, Path::new("/usr/bin/a b"));
        assert_eq!(maps.0[0].offset, 0x1000);
        assert_eq!(maps.0[0].inode, 173_521);
        assert_eq!(maps.0[0].protection.to_string(), "r-x");
        assert_eq!(maps.0[1].name, Path::new(""));
        assert_eq!(maps.0[2].protection.to_string(), "---");
    }

    #[test]
    fn looking_up_addresses() {
        let maps = Maps::parse(TEXT);
        assert_eq!(maps.at(RunAddr(0x3f_ffff)), None);
        assert_eq!(maps.at(RunAddr(0x40_0000)).map(|m| m.inode), Some(173_521));
        assert_eq!(maps.at(RunAddr(0x45_2000)), None);
        assert!(maps.covers(RunAddr(0x40_0000), RunAddr(0x45_2000), |p| p.read));
        assert!(!maps.covers(RunAddr(0x40_0000), RunAddr(0x45_2001), |p| p.read));
        assert!(!maps.covers(RunAddr(0x40_0000), RunAddr(0x40_0001), |p| p.write));
    }

    #[test]
    fn own_mappings_contain_this_function() {
        let maps = Maps::own().expect("proc is mounted");
        let here = RunAddr(own_mappings_contain_this_function as fn() as usize as u64);
        assert!(maps.at(here).is_some_and(|m| m.protection.execute && !m.protection.write));
    }

    #[test]
    fn a_writable_page_is_never_executable() {
        let code = Protection { read: true, write: false, execute: true };
        assert_eq!(code.writable().to_string(), "rw-");
    }
}
