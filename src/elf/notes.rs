//! Notes (gABI chapter 5, "Note Section").

use super::{ElfError, Image};
use crate::address::LinkAddr;
use object::elf;
use object::{LittleEndian as LE, U32};

/// One note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note<'d> {
    /// Who gave the type its meaning, with the terminating NUL.
    pub owner: &'d [u8],
    /// The type.
    pub kind: u32,
    /// What the note says.
    pub descriptor: &'d [u8],
    /// Where the descriptor is.
    pub at: LinkAddr,
}

/// All notes of the image's `PT_NOTE` segments. A segment's notes end where one is cut off.
///
/// # Errors
/// A segment lies outside of the image.
pub fn notes<'d>(image: &Image<'d>) -> Result<Vec<Note<'d>>, ElfError> {
    let mut found = Vec::new();
    for header in image.headers().iter().filter(|h| h.p_type.get(LE) == elf::PT_NOTE) {
        let start = LinkAddr(header.p_vaddr.get(LE));
        let bytes = image.bytes("a note", start, header.p_filesz.get(LE))?;
        let mut at = 0;
        while let Some((note, next)) = note(bytes, at, start) {
            found.push(note);
            at = next;
        }
    }
    Ok(found)
}

/// The note at this offset of a segment that begins at `start`, and the offset of the one behind it.
fn note(segment: &[u8], at: usize, start: LinkAddr) -> Option<(Note<'_>, usize)> {
    const HEADER: usize = 12;
    let (words, _) = object::pod::slice_from_bytes::<U32<LE>>(segment.get(at..)?, 3).ok()?;
    let [owner, size, kind] = [0, 1, 2].map(|n| words[n].get(LE));
    let owner_end = (at + HEADER).checked_add(owner as usize)?;
    let descriptor = owner_end.checked_next_multiple_of(4)?;
    let end = descriptor.checked_add(size as usize)?;
    let note = Note {
        owner: segment.get(at + HEADER..owner_end)?,
        kind,
        descriptor: segment.get(descriptor..end)?,
        at: LinkAddr(start.0 + descriptor as u64),
    };
    Some((note, end.checked_next_multiple_of(4)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(owner: &[u8], kind: u32, descriptor: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [owner.len() as u32, descriptor.len() as u32, kind] {
            bytes.extend(word.to_le_bytes());
        }
        for part in [owner, descriptor] {
            bytes.extend(part);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn notes_follow_each_other() {
        let bytes = [bytes_of(b"GNU\0", 1, &[0; 6]), bytes_of(b"Other\0", 3, b"yes")].concat();
        let (first, next) = note(&bytes, 0, LinkAddr(0x1000)).expect("a note");
        assert_eq!(
            (first.owner, first.kind, first.descriptor, first.at.0),
            (&b"GNU\0"[..], 1, &[0; 6][..], 0x1010)
        );
        let (second, end) = note(&bytes, next, LinkAddr(0x1000)).expect("another");
        assert_eq!((second.owner, second.kind, second.descriptor), (&b"Other\0"[..], 3, &b"yes"[..]));
        assert_eq!(note(&bytes, end, LinkAddr(0x1000)), None);
    }

    #[test]
    fn a_note_that_is_cut_off_is_none() {
        let bytes = bytes_of(b"GNU\0", 3, b"mine mine mine");
        for length in 0..bytes.len() - 2 {
            assert_eq!(note(&bytes[..length], 0, LinkAddr(0)), None, "{length}");
        }
        for word in [0, 4] {
            let mut hostile = bytes.clone();
            hostile[word..word + 4].copy_from_slice(&u32::MAX.to_le_bytes());
            assert_eq!(note(&hostile, 0, LinkAddr(0)), None, "{word}");
        }
    }
}
