//! The command `relink`.
fn main() {}
