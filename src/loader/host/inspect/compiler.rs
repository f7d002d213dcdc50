//! The compilers that left their names in `.comment`.

use object::read::elf::{FileHeader as _, SectionHeader as _};
use object::{elf, LittleEndian as LE};
use relink_elf::FileImage;

/// More than this of the section is not read, in bytes: linkers merge equal names, very old ones do not.
const LONGEST: usize = 1 << 20;

/// More different names than this are not told.
const MOST: usize = 16;

/// The names, each once, in their order. Those of start files and static libraries are among them: which one compiled V8
/// is certain only if there is just one.
pub(super) fn compilers(file: &FileImage) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let comment = comment(file).unwrap_or(&[]);
    for text in comment[..comment.len().min(LONGEST)].split(|b| *b == 0) {
        let Ok(text) = std::str::from_utf8(text) else { continue };
        let name = text.trim();
        let is_name = !name.is_empty() && name.len() < 256 && !name.contains(char::is_control);
        if is_name && !is_linker(name) && names.len() < MOST && !names.iter().any(|n| n == name) {
            names.push(name.to_owned());
        }
    }
    names
}

fn is_linker(name: &str) -> bool {
    name.starts_with("Linker:")
}

fn comment<'d>(file: &FileImage<'d>) -> Option<&'d [u8]> {
    let header = elf::FileHeader64::<LE>::parse(file.bytes).ok()?;
    let table = header.sections(LE, file.bytes).ok()?;
    let (_, section) = table.section_by_name(LE, b".comment")?;
    section.data(LE, file.bytes).ok()
}
