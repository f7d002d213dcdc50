//! The recipe: what is fetched, what Node's configure is told, what the guest says of itself.

use crate::guest::{note, GuestNote};
use crate::kit::cache::{hex, KeyBuilder};
use sha2::{Digest, Sha256};
use std::path::Path;

/// Our change of Node's GYP build.
pub const GYPI: &str = include_str!("../../../fixtures/guests/node18/relink.gypi");
/// The version script of the guest.
pub const EXPORTS: &str = include_str!("../../../fixtures/guests/node18/exports.map");
/// C source of the function that gives OpenSSL's contexts upstream's default security level.
pub const SECURITY_LEVEL: &str = include_str!("../../../fixtures/guests/node18/security_level.c");
/// Which JS builtins of other projects are embedded, and where they come from.
pub const BUILTINS: &str = include_str!("../../../fixtures/guests/node18/builtins.json");

/// Upstream version of the Node that is built unless `--source` says otherwise.
pub const NODE_VERSION: &str = "18.20.4";
/// Debian's source package.
pub const SOURCE_PACKAGE: &str = "nodejs";
/// GYP's name for the library target; the file is `lib` + this + `.so.` + NODE_MODULE_VERSION.
pub const TARGET: &str = "node-relink";
/// Version of the steps that are written in Rust; raised when they change what comes out.
const STEPS: &str = "1";

/// Debian packages whose headers and static libraries are linked in, and ICU, which stays shared.
pub const DEV_PACKAGES: [&str; 4] = ["libssl-dev", "libbrotli-dev", "libicu-dev", "libicu72"];
/// Static libraries linked in, with the folder below usr/include that goes with them.
pub const STATIC_LIBRARIES: [&str; 5] =
    ["libssl.a", "libcrypto.a", "libbrotlidec.a", "libbrotlienc.a", "libbrotlicommon.a"];
/// Folders of headers: the private include folder's name and the folder below usr/include and its multiarch twin.
pub const HEADER_FOLDERS: [(&str, &str); 3] =
    [("openssl-inc", "openssl"), ("brotli-inc", "brotli"), ("icu-inc", "unicode")];

/// Programs that the build runs, with the Debian package of each.
pub const TOOLS: [(&str, &str); 8] = [
    ("g++", "g++"),
    ("gcc", "gcc"),
    ("make", "make"),
    ("python3", "python3"),
    ("patch", "patch"),
    ("tar", "tar"),
    ("xz", "xz-utils"),
    ("strip", "binutils"),
];

/// The folders that configure is told of. All lie in the build's work folder.
pub struct Places<'a> {
    /// The work folder itself.
    pub work: &'a Path,
    /// V8's headers.
    pub v8_include: &'a Path,
    /// Headers and libraries of the dependencies.
    pub deps: &'a Path,
    /// Where our recipe files and the note's object file are.
    pub recipe: &'a Path,
}

/// The arguments of Node's configure. The reason for each is in fixtures/guests/README.md.
pub fn configure_args(places: &Places) -> Vec<String> {
    let mut args: Vec<String> = OPTIONS.iter().map(ToString::to_string).collect();
    let recipe = places.recipe.display();
    args.extend([
        format!("-Dnode_lib_target_name={TARGET}"),
        format!("-I{recipe}/relink.gypi"),
        format!("-Drelink_work={}", places.work.display()),
        format!("-Drelink_v8_include={}", places.v8_include.display()),
        format!("-Drelink_deps={}", places.deps.display()),
        format!("-Drelink_exports={recipe}/exports.map"),
        format!("-Drelink_note={recipe}/note.o"),
        format!("-Drelink_level={recipe}/security_level.o"),
    ]);
    args
}

const OPTIONS: [&str; 12] = [
    "--shared",
    "--without-bundled-v8",
    "--without-node-snapshot",
    "--without-node-code-cache",
    "--without-npm",
    "--without-corepack",
    "--with-intl=system-icu",
    "--shared-openssl",
    "--shared-openssl-libname=ssl,crypto",
    "--shared-brotli",
    "--shared-brotli-libname=brotlidec,brotlienc,brotlicommon",
    "--dest-os=linux",
];

/// Stands in for pkg-config: configure asks it for ICU, and must not find libraries of the system.
pub const PKG_CONFIG: &str = r#"#!/bin/sh
for word in "$@"; do
  case $word in
    --modversion) echo 72.1; exit ;;
    --libs-only-l) case "$*" in *icu-i18n*) echo -licui18n -licuuc -licudata ;; esac; exit ;;
    --cflags*|--libs-only-L) exit ;;
  esac
done
"#;

/// SHA-256 over the texts of the recipe: a guest of another recipe is out of date.
pub fn fingerprint() -> String {
    hex(&Sha256::digest(key().finish().hex()))
}

/// The part of the cache key that is in the program itself.
pub fn key() -> KeyBuilder {
    let key = KeyBuilder::new()
        .add("steps", STEPS)
        .add("gypi", GYPI)
        .add("exports", EXPORTS)
        .add("level", SECURITY_LEVEL);
    key.add("builtins", BUILTINS).add("options", OPTIONS.join(" ")).add("pkg-config", PKG_CONFIG)
}

/// Assembly text of the section with the note. The descriptor is written as numbers: nothing needs quoting.
pub fn note_assembly(guest: &GuestNote) -> Result<String, serde_json::Error> {
    let descriptor = serde_json::to_vec(guest)?;
    let bytes = |data: &[u8]| data.iter().map(u8::to_string).collect::<Vec<_>>().join(",");
    Ok(format!(
        ".section .note.GNU-stack,\"\",%progbits\n.section .note.relink,\"a\",%note\n.balign 4\n\
         .4byte {}\n.4byte {}\n.4byte {}\n.byte {}\n.balign 4\n.byte {}\n.balign 4\n",
        note::OWNER.len(),
        descriptor.len(),
        note::TYPE,
        bytes(note::OWNER),
        bytes(&descriptor),
    ))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A note for tests.
    pub fn note() -> GuestNote {
        GuestNote {
            schema: note::SCHEMA,
            node: "18.20.4".into(),
            v8: "10.2.154.26".into(),
            v8_embedder: "-node.37".into(),
            module_version: 108,
            headers: "ab".repeat(32),
            compiler: "g++ (Odd \"Quotes\") 12".into(),
            cxx: "libstdc++".into(),
            pointer_compression: false,
            smi_bits: 32,
            key: "cd".repeat(32),
        }
    }

    #[test]
    fn the_assembled_note_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let [text, object] = ["n.s", "n.so"].map(|name| dir.path().join(name));
        std::fs::write(&text, note_assembly(&note()).unwrap()).unwrap();
        let run = std::process::Command::new("gcc")
            .args(["-shared", "-o"])
            .arg(&object)
            .arg(&text)
            .output()
            .unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let bytes = std::fs::read(&object).unwrap();
        let file = crate::elf::FileImage::parse(&bytes, crate::elf::arch::Arch::native()).unwrap();
        assert_eq!(crate::guest::note::find(&file.image).unwrap(), Ok(note()));
    }

    #[test]
    fn the_version_script_exports_nothing_of_v8_or_the_dependencies() {
        let patterns =
            EXPORTS.lines().map(str::trim).filter(|l| l.ends_with(';') && !l.starts_with('}') && *l != "*;");
        for pattern in patterns {
            let own = ["napi_", "node_", "_ZN4node", "_ZNK4node", "_ZTVN4node"]
                .iter()
                .any(|p| pattern.starts_with(p));
            assert!(own, "{pattern}");
        }
        assert!(EXPORTS.contains("local:\n    *;"));
    }

    #[test]
    fn configure_is_told_all_variables_of_the_gypi() {
        let path = Path::new("/w");
        let args =
            configure_args(&Places { work: path, v8_include: path, deps: path, recipe: path }).join(" ");
        for word in GYPI.split("<(").skip(1).filter_map(|rest| rest.split(')').next()) {
            assert!(args.contains(&format!("-D{word}=")), "{word}");
        }
    }
}
