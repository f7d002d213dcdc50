//! clippy's word on the whole workspace. It compiles everything once more, so it is not in `tidy.rs`.

use std::path::Path;
use std::process::Command;

#[test]
fn clippy_has_nothing_to_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut clippy = Command::new(env!("CARGO"));
    clippy.args(["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]);
    // A target folder of its own: the one of this test run may be locked.
    clippy.current_dir(root).env("CARGO_TARGET_DIR", root.join("target/tidy"));
    let output = clippy.output().expect("cargo runs");
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.status.success(), "cargo clippy:\n{out}{err}");
}
