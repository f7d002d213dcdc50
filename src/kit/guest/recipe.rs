//! The recipes, one per line: what is fetched, what Node's configure is told, what the guest says of itself.

use super::pinned::Sources;
use crate::cache::hex;
use crate::error::{KitError, Result};
use crate::neutral::table_assembly;
use relink_abi::note;
use relink_abi::note::GuestNote;
use relink_elf::cache::KeyBuilder;
use sha2::{Digest, Sha256};
use std::path::Path;

/// Our change of Node's GYP build.
pub const GYPI: &str = include_str!("../../../fixtures/guests/node18/relink.gypi");
/// The version script of Node 18's guest.
const EXPORTS: &str = include_str!("../../../fixtures/guests/node18/exports.map");
/// What lines from [`NEWER`] on export besides.
const MORE_EXPORTS: &str = include_str!("../../../fixtures/guests/node24/exports.map");
/// The first line whose version script names what node.h has gained, and whose dependencies are compiled against our headers.
const NEWER: u32 = 24;
/// Where the version script stops to name what is exported.
const LOCAL: &str = "  local:\n";
/// C source of the function that gives OpenSSL's contexts upstream's default security level.
pub const SECURITY_LEVEL: &str = include_str!("../../../fixtures/guests/node18/security_level.c");
/// Which JS builtins of other projects are embedded in Node 18, and where they come from.
pub const BUILTINS: &str = include_str!("../../../fixtures/guests/node18/builtins.json");

/// Upstream version of the Node that is built unless something else is asked for.
pub const NODE_VERSION: &str = "18.20.4";
/// Debian's source package.
pub const SOURCE_PACKAGE: &str = "nodejs";
/// GYP's name for the library target; the file is `lib` + this + `.so.` + NODE_MODULE_VERSION.
pub const TARGET: &str = "node-relink";
/// Version of the steps that are written in Rust; raised when they change what comes out.
const STEPS: &str = "1";

/// How the guest of one line is built.
#[derive(Debug)]
pub struct Recipe {
    /// Node's major version.
    pub node: u32,
    /// Texts of GYP files that are merged into Node's after [`GYPI`]: what the line needs beyond Node 18.
    gypi: &'static str,
    /// What configure is told beyond [`OPTIONS`].
    options: &'static [&'static str],
    /// Debian packages whose headers and static libraries are linked in, ICU, which stays shared, and GYP.
    pub packages: &'static [&'static str],
    /// Static libraries linked in.
    pub libraries: &'static [&'static str],
    /// Headers: the private include folder's name, and the folder or file below usr/include and its multiarch twin.
    pub headers: &'static [(&'static str, &'static str)],
    /// `sources.json`; empty for Node 18, which is Debian's newest source package of [`NODE_VERSION`].
    sources: &'static str,
}

/// All recipes.
static RECIPES: [Recipe; 4] = [
    Recipe {
        node: 18,
        gypi: "",
        options: &[],
        packages: &["libssl-dev", "libbrotli-dev", "libicu-dev", "libicu72"],
        libraries: &LIBRARIES_18,
        headers: &[("openssl-inc", "openssl"), ("brotli-inc", "brotli"), ("icu-inc", "unicode")],
        sources: "",
    },
    Recipe {
        node: 20,
        gypi: include_str!("../../../fixtures/guests/node20/relink.gypi"),
        options: &["--shared-zlib"],
        packages: &[
            "libssl-dev",
            "libbrotli-dev",
            "zlib1g-dev",
            "libicu-dev",
            "libicu72",
            "gyp",
            "python3-packaging",
        ],
        libraries: &LIBRARIES_20,
        headers: &HEADERS_20,
        sources: include_str!("../../../fixtures/guests/node20/sources.json"),
    },
    Recipe {
        node: 22,
        gypi: include_str!("../../../fixtures/guests/node20/relink.gypi"),
        options: &["--shared-zlib"],
        packages: &["libssl-dev", "libbrotli-dev", "zlib1g-dev", "libicu-dev", "libicu72"],
        libraries: &LIBRARIES_20,
        headers: &HEADERS_20,
        sources: include_str!("../../../fixtures/guests/node22/sources.json"),
    },
    Recipe {
        node: 24,
        gypi: include_str!("../../../fixtures/guests/node24/relink.gypi"),
        // Its brotli comes from a release of its own, so the name of a library that is linked in anyway is given.
        options: &["--shared-zlib", "--shared-brotli-libname=m"],
        packages: &["libssl-dev", "zlib1g-dev", "libicu-dev", "libicu72"],
        libraries: &["libssl.a", "libcrypto.a", "libz.a"],
        headers: &HEADERS_24,
        sources: include_str!("../../../fixtures/guests/node24/sources.json"),
    },
];

const LIBRARIES_18: [&str; 5] =
    ["libssl.a", "libcrypto.a", "libbrotlidec.a", "libbrotlienc.a", "libbrotlicommon.a"];
const LIBRARIES_20: [&str; 6] =
    ["libssl.a", "libcrypto.a", "libbrotlidec.a", "libbrotlienc.a", "libbrotlicommon.a", "libz.a"];
const HEADERS_20: [(&str, &str); 5] = [
    ("openssl-inc", "openssl"),
    ("brotli-inc", "brotli"),
    ("icu-inc", "unicode"),
    ("zlib-inc", "zlib.h"),
    ("zlib-inc", "zconf.h"),
];

const HEADERS_24: [(&str, &str); 4] =
    [("openssl-inc", "openssl"), ("icu-inc", "unicode"), ("zlib-inc", "zlib.h"), ("zlib-inc", "zconf.h")];

/// Files of ours beside dependencies from their own releases: the path in the tree and the text.
const DEPENDENCY_FILES: [(&str, &str); 11] = [
    ("deps/ada/ada.gyp", include_str!("../../../fixtures/guests/deps/ada/ada.gyp")),
    ("deps/brotli/brotli.gyp", include_str!("../../../fixtures/guests/deps/brotli/brotli.gyp")),
    ("deps/cares/cares.gyp", include_str!("../../../fixtures/guests/deps/cares/cares.gyp")),
    ("deps/cares/config/ares_config.h", include_str!("../../../fixtures/guests/deps/cares/ares_config.h")),
    ("deps/llhttp/llhttp.gyp", include_str!("../../../fixtures/guests/deps/llhttp/llhttp.gyp")),
    ("deps/nghttp2/nghttp2.gyp", include_str!("../../../fixtures/guests/deps/nghttp2/nghttp2.gyp")),
    (
        "deps/nghttp2/config/nghttp2/nghttp2ver.h",
        include_str!("../../../fixtures/guests/deps/nghttp2/nghttp2ver.h"),
    ),
    ("deps/simdjson/simdjson.gyp", include_str!("../../../fixtures/guests/deps/simdjson/simdjson.gyp")),
    ("deps/simdutf/simdutf.gyp", include_str!("../../../fixtures/guests/deps/simdutf/simdutf.gyp")),
    ("deps/sqlite/sqlite.gyp", include_str!("../../../fixtures/guests/deps/sqlite/sqlite.gyp")),
    ("deps/zstd/zstd.gyp", include_str!("../../../fixtures/guests/deps/zstd/zstd.gyp")),
];

impl Recipe {
    /// The recipe of a line, by Node's major version.
    pub fn of(node: u32) -> Result<&'static Self> {
        RECIPES.iter().find(|recipe| recipe.node == node).ok_or_else(|| {
            let known: Vec<_> = RECIPES.iter().map(|recipe| recipe.node.to_string()).collect();
            KitError::Unsupported {
                why: format!("there is no recipe for Node {node}, only for {}", known.join(", ")),
            }
        })
    }

    /// What the line is made of; `None` for Node 18.
    pub fn sources(&self) -> Result<Option<Sources>> {
        (!self.sources.is_empty()).then(|| Sources::parse(self.sources)).transpose()
    }

    /// Files of ours for these folders of deps.
    pub fn dependency_files(
        &self,
        folders: &[String],
    ) -> impl Iterator<Item = (&'static str, &'static str)> + use<'_> {
        let folders: Vec<String> = folders.iter().map(|name| format!("deps/{name}/")).collect();
        DEPENDENCY_FILES.into_iter().filter(move |(path, _)| folders.iter().any(|f| path.starts_with(f)))
    }

    /// The GYP files that configure is given, with their names in the recipe's folder.
    pub fn gypis(&self) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
        let own = (!self.gypi.is_empty()).then_some(("line.gypi", self.gypi));
        std::iter::once(("relink.gypi", GYPI)).chain(own)
    }

    /// The version script of the guest.
    pub fn exports(&self) -> String {
        let more = if self.node < NEWER { "" } else { MORE_EXPORTS };
        EXPORTS.replace(LOCAL, &format!("{more}{LOCAL}"))
    }

    /// The arguments of Node's configure. The reason for each is in fixtures/guests/README.md.
    pub fn configure_args(&self, places: &Places) -> Vec<String> {
        let mut args: Vec<String> = OPTIONS.iter().chain(self.options).map(ToString::to_string).collect();
        let recipe = places.recipe.display();
        args.push(format!("-Dnode_lib_target_name={TARGET}"));
        if self.node >= NEWER {
            // Dependencies, too, are compiled against them; configure reads OpenSSL's version there.
            let include = |name: &str| format!("{}/include/{name}-inc", places.deps.display());
            args.push(format!("--shared-openssl-includes={}", include("openssl")));
            args.push(format!("--shared-zlib-includes={}", include("zlib")));
        }
        args.extend(self.gypis().map(|(name, _)| format!("-I{recipe}/{name}")));
        args.extend([
            format!("-Drelink_work={}", places.work.display()),
            format!("-Drelink_v8_include={}", places.v8_include.display()),
            format!("-Drelink_deps={}", places.deps.display()),
            format!("-Drelink_exports={recipe}/exports.map"),
            format!("-Drelink_note={recipe}/note.o"),
            format!("-Drelink_level={recipe}/security_level.o"),
        ]);
        args
    }

    /// SHA-256 over the texts of the recipe: a guest of another recipe is out of date.
    pub fn fingerprint(&self) -> String {
        hex(&Sha256::digest(self.key().finish().hex()))
    }

    /// The part of the cache key that is in the program itself.
    pub fn key(&self) -> KeyBuilder {
        let key = KeyBuilder::new()
            .add("steps", STEPS)
            .add("gypi", GYPI)
            .add("exports", EXPORTS)
            .add("level", SECURITY_LEVEL);
        let key =
            key.add("builtins", BUILTINS).add("options", OPTIONS.join(" ")).add("pkg-config", PKG_CONFIG);
        if self.node == 18 {
            return key;
        }
        let key = key.add("line", self.gypi).add("more options", self.options.join(" "));
        let key = if self.node < NEWER { key } else { key.add("more exports", MORE_EXPORTS) };
        let own = self.sources().ok().flatten().map(|sources| sources.dependencies).unwrap_or_default();
        self.dependency_files(&own)
            .fold(key, |key, (path, text)| key.add(path, text))
            .add("sources", self.sources)
    }
}

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

/// Assembly text of the section with the note. The descriptor is written as numbers: nothing needs quoting.
pub fn note_assembly(guest: &GuestNote) -> std::result::Result<String, serde_json::Error> {
    let descriptor = serde_json::to_vec(guest)?;
    let table = if guest.layout.is_empty() { String::new() } else { table_assembly(&guest.layout) };
    let bytes = |data: &[u8]| data.iter().map(u8::to_string).collect::<Vec<_>>().join(",");
    Ok(format!(
        ".section .note.GNU-stack,\"\",%progbits\n.section .note.relink,\"a\",%note\n.balign 4\n\
         .4byte {}\n.4byte {}\n.4byte {}\n.byte {}\n.balign 4\n.byte {}\n.balign 4\n{table}",
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
            layout: Vec::new(),
            spares: Vec::new(),
            facts: None,
        }
    }

    /// A shared object with nothing but this note.
    fn linked(note: &GuestNote) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let [text, object] = ["n.s", "n.so"].map(|name| dir.path().join(name));
        std::fs::write(&text, note_assembly(note).unwrap()).unwrap();
        let run = std::process::Command::new("gcc")
            .args(["-shared", "-o"])
            .arg(&object)
            .arg(&text)
            .output()
            .unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        std::fs::read(&object).unwrap()
    }

    #[test]
    fn the_assembled_note_is_found_again() {
        let bytes = linked(&note());
        let file = relink_elf::FileImage::parse(&bytes, relink_elf::arch::Arch::native()).unwrap();
        assert_eq!(relink_abi::note::find(&file.image).unwrap(), Ok(note()));
    }

    #[test]
    fn the_layout_table_is_found_again() {
        let field = |name: &str, value| relink_abi::layout::Field { name: name.into(), value, read: true };
        let neutral = GuestNote { layout: vec![field("v8::kA", 288), field("v8::kB", -1)], ..note() };
        let bytes = linked(&neutral);
        let file = relink_elf::FileImage::parse(&bytes, relink_elf::arch::Arch::native()).unwrap();
        assert_eq!(relink_abi::note::find(&file.image).unwrap(), Ok(neutral));
        let (at, words) = relink_abi::note::find_table(&file.image).unwrap().unwrap();
        let offset = file.file_offset(at).unwrap();
        assert_eq!((words, &bytes[offset..offset + 8]), (2, &[32, 1, 0, 0, 255, 255, 255, 255][..]));
    }

    #[test]
    fn the_version_script_exports_nothing_of_v8_or_the_dependencies() {
        let exports = RECIPES[3].exports();
        let patterns =
            exports.lines().map(str::trim).filter(|l| l.ends_with(';') && !l.starts_with('}') && *l != "*;");
        for pattern in patterns {
            let own = ["napi_", "node_", "_ZN4node", "_ZNK4node", "_ZTVN4node"]
                .iter()
                .any(|p| pattern.starts_with(p));
            assert!(own, "{pattern}");
        }
        assert!(exports.contains("local:\n    *;") && exports.contains("GetAnonymousMainPath"));
        assert_eq!(RECIPES[0].exports(), EXPORTS);
    }

    #[test]
    fn configure_is_told_all_variables_of_the_gypi() {
        let path = Path::new("/w");
        for recipe in &RECIPES {
            let places = Places { work: path, v8_include: path, deps: path, recipe: path };
            let args = recipe.configure_args(&places).join(" ");
            for (name, text) in recipe.gypis() {
                assert!(args.contains(&format!("-I/w/{name}")), "{name}");
                for word in text.split("<(relink_").skip(1).filter_map(|rest| rest.split(')').next()) {
                    assert!(args.contains(&format!("-Drelink_{word}=")), "{word}");
                }
            }
        }
    }

    #[test]
    fn every_recipe_is_whole_and_has_a_key_of_its_own() {
        let mut keys: Vec<_> = RECIPES.iter().map(Recipe::fingerprint).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), RECIPES.len());
        for recipe in &RECIPES {
            if let Some(sources) = recipe.sources().unwrap() {
                assert!(sources.node.starts_with(&format!("{}.", recipe.node)), "{}", sources.node);
            }
        }
        assert_eq!(Recipe::of(19).unwrap_err().code(), "E0714");
    }

    /// Those who have built Node 18 need not do it again because there are other lines now.
    #[test]
    fn the_key_of_node_18_does_not_depend_on_other_lines() {
        let key = Recipe::of(18).unwrap().key().finish();
        let names = ["steps", "gypi", "exports", "level", "builtins", "options", "pkg-config"];
        let texts = [STEPS, GYPI, EXPORTS, SECURITY_LEVEL, BUILTINS, &OPTIONS.join(" "), PKG_CONFIG];
        let same =
            names.into_iter().zip(texts).fold(KeyBuilder::new(), |key, (name, text)| key.add(name, text));
        assert_eq!(key, same.finish());
    }
}
