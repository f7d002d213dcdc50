//! Layer: reading ELF. Our reading of the guest, both V8s and librelink.so against goblin's, an independent one, entry by
//! entry. `elf_machine.rs` makes the same checks on files that every machine has.

#[path = "support/files.rs"]
mod files;
#[path = "support/oracle.rs"]
mod oracle;
mod support;

use files::real_files;

#[test]
fn dynamic_entries_needed_and_soname() {
    oracle::dynamic_entries_needed_and_soname(&real_files());
}

#[test]
fn every_relocation() {
    oracle::every_relocation(&real_files());
}

#[test]
fn relocation_entries_lie_where_they_say() {
    oracle::relocation_entries_lie_where_they_say(&real_files());
}

#[test]
fn every_symbol_by_index() {
    oracle::every_symbol_by_index(&real_files());
}

#[test]
fn every_symbol_by_hash_and_nothing_else() {
    oracle::every_symbol_by_hash_and_nothing_else(&real_files());
}

#[test]
fn every_version() {
    oracle::every_version(&real_files());
}

#[test]
fn an_executable_with_a_link_base() {
    oracle::an_executable_with_a_link_base(&support::parts().node);
}
