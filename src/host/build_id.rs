//! Which build a file is of: what the linker wrote into it.

use crate::address::LinkAddr;
use crate::elf::Image;
use object::elf;
use object::{LittleEndian as LE, U32};

/// The build id (gABI chapter 5, "Note Section"; `NT_GNU_BUILD_ID` of owner `GNU`) in hexadecimal, if there is one.
pub fn build_id(image: &Image) -> Option<String> {
    let notes = image.headers().iter().filter(|h| h.p_type.get(LE) == elf::PT_NOTE);
    let mut found = notes.filter_map(|header| {
        let at = LinkAddr(header.p_vaddr.get(LE));
        descriptor(image.bytes("a note", at, header.p_filesz.get(LE)).ok()?)
    });
    found.next().map(|bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn descriptor(mut bytes: &[u8]) -> Option<&[u8]> {
    const HEADER: usize = 12;
    while bytes.len() >= HEADER {
        let (words, _) = object::pod::slice_from_bytes::<U32<LE>>(bytes, 3).ok()?;
        let [name, size, kind] = [0, 1, 2].map(|n| words[n].get(LE));
        let name_end = HEADER.checked_add(name as usize)?;
        let start = name_end.checked_next_multiple_of(4)?;
        let end = start.checked_add(size as usize)?;
        let found = bytes.get(start..end)?;
        if kind == elf::NT_GNU_BUILD_ID && bytes.get(HEADER..name_end) == Some(b"GNU\0") && !found.is_empty()
        {
            return Some(found);
        }
        bytes = bytes.get(end.checked_next_multiple_of(4)?..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(owner: &[u8], kind: u32, descriptor: &[u8]) -> Vec<u8> {
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
    fn the_build_id_is_found_behind_other_notes() {
        let bytes = [note(b"GNU\0", 1, &[0; 16]), note(b"Other\0", 3, b"no"), note(b"GNU\0", 3, &[0xab, 1])];
        assert_eq!(descriptor(&bytes.concat()), Some(&[0xab, 1][..]));
        assert_eq!(descriptor(&note(b"GNU\0", 3, &[])), None);
        let mut hostile = note(b"GNU\0", 3, &[1; 8]);
        hostile[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(descriptor(&hostile), None);
    }
}
