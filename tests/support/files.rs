//! Bytes of the real parts, and where the C library of this process lies.
#![allow(dead_code, reason = "each test file uses its own part of this")]

use crate::support::parts;
use relink::elf::arch::Arch;
use relink::elf::FileImage;
use relink::process::{LiveModule, Modules};
use std::path::{Path, PathBuf};

/// All bytes of a file.
pub fn bytes_of(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The file as Relink reads it.
pub fn image_of(bytes: &[u8]) -> FileImage<'_> {
    FileImage::parse(bytes, Arch::native()).expect("a file of this machine")
}

/// The real ELF files: guest, libv8, official node (linked at a fixed address), librelink.so, libc.so.6.
pub fn real_files() -> Vec<PathBuf> {
    let parts = parts();
    let libc = libc_module().path;
    vec![parts.guest.clone(), parts.libv8.clone(), parts.node.clone(), parts.library.clone(), libc]
}

/// The C library as it is loaded into this test.
pub fn libc_module() -> LiveModule {
    let named = |m: &LiveModule| m.name() == "libc.so.6";
    Modules::observe().0.into_iter().find(named).expect("tests are linked to libc.so.6")
}
