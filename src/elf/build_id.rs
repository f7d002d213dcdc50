//! Which build a file is of: what the linker wrote into it.

use crate::{notes, Image};
use object::elf;

/// [`elf::ELF_NOTE_GNU`] as a note has it.
const OWNER: &[u8] = b"GNU\0";

/// The build id (`NT_GNU_BUILD_ID` of owner `GNU`) in hexadecimal, if there is one.
pub fn build_id(image: &Image) -> Option<String> {
    let notes = notes(image).ok()?;
    let id = notes
        .iter()
        .find(|n| n.owner == OWNER && n.kind == elf::NT_GNU_BUILD_ID && !n.descriptor.is_empty())?;
    Some(id.descriptor.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Arch;
    use crate::file::map_file;
    use crate::FileImage;
    use std::path::Path;

    #[test]
    fn the_build_id_of_a_library_of_this_program() {
        let maps = std::fs::read_to_string("/proc/self/maps").expect("proc is mounted");
        let mapped = maps.lines().filter_map(|line| line.find('/').map(|at| &line[at..]));
        let path = mapped.map(Path::new).find(|p| p.ends_with("libc.so.6")).expect("this program's libc");
        let bytes = map_file(path).expect("its file");
        let file = FileImage::parse(&bytes, Arch::native()).expect("an ELF file");
        let id = build_id(&file.image).expect("distributions have them");
        assert!(id.len() >= 16 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    }
}
