//! V8's public headers: which version they are, a hash of them, a copy without their neighbours.

use super::error::{KitError, Result};
use super::files;
use std::fs;
use std::path::{Path, PathBuf};

/// V8's public headers, copied apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V8Headers {
    /// `MAJOR.MINOR.BUILD.PATCH` of v8-version.h.
    pub version: String,
    /// SHA-256 over names and contents of all headers, in hexadecimal.
    pub sha256: String,
    /// The headers, relative to the folder, sorted.
    files: Vec<PathBuf>,
    dir: PathBuf,
}

impl V8Headers {
    /// Reads the headers in `dir`, which may hold others too (an installed include/node does).
    pub fn read(option: &'static str, dir: &Path) -> Result<Self> {
        let bad = |why: &str| KitError::Input { option, path: dir.into(), why: why.into() };
        if !dir.join("v8.h").is_file() {
            return Err(bad("there is no v8.h in it; name the folder that holds v8.h and v8-version.h"));
        }
        let text =
            fs::read_to_string(dir.join("v8-version.h")).map_err(|e| bad(&format!("v8-version.h: {e}")))?;
        let version =
            version(&text).ok_or_else(|| bad("v8-version.h does not define V8_MAJOR_VERSION and so on"))?;
        let files = own_headers(dir)?;
        Ok(Self { version, sha256: files::hash(dir, &files)?, files, dir: dir.into() })
    }

    /// The headers, relative to their folder, sorted.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Copies the headers to `to`. Their neighbours in an installed include/node (uv.h, openssl/) would shadow the
    /// guest's own.
    pub fn copy_to(&self, to: &Path) -> Result<()> {
        files::copy(&self.dir, &self.files, to)
    }
}

/// The four numbers of v8-version.h.
fn version(text: &str) -> Option<String> {
    let number = |name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix("#define ")?.strip_prefix(name))?;
        line.trim().parse::<u32>().ok().map(|n| n.to_string())
    };
    let names = ["V8_MAJOR_VERSION", "V8_MINOR_VERSION", "V8_BUILD_NUMBER", "V8_PATCH_LEVEL"];
    names.into_iter().map(number).collect::<Option<Vec<_>>>().map(|n| n.join("."))
}

/// V8's own headers below `dir`: v8*.h at the top, everything in cppgc/ and libplatform/.
fn own_headers(dir: &Path) -> Result<Vec<PathBuf>> {
    let keep = |path: &Path| {
        let name = path.to_string_lossy();
        path.components().count() > 1 || name.starts_with("v8") || name == "cppgc" || name == "libplatform"
    };
    let mut files = files::list(dir, &keep)?;
    files.retain(|path| path.extension().is_some_and(|e| e == "h"));
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: &str =
        "#define V8_MAJOR_VERSION 10\n#define V8_MINOR_VERSION 2\n#define V8_BUILD_NUMBER 154\n#define V8_PATCH_LEVEL 26\n";

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("cppgc/internal")).unwrap();
        fs::create_dir_all(dir.path().join("openssl")).unwrap();
        for (name, text) in [
            ("v8.h", "1"),
            ("v8-version.h", VERSION),
            ("uv.h", "2"),
            ("openssl/v8.h", "3"),
            ("cppgc/internal/a.h", "4"),
            ("cppgc/README.md", "5"),
        ] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    #[test]
    fn only_v8s_headers_count_and_are_copied() {
        let dir = folder();
        let headers = V8Headers::read("--v8-headers", dir.path()).unwrap();
        assert_eq!(headers.version, "10.2.154.26");
        fs::write(dir.path().join("uv.h"), "changed").unwrap();
        assert_eq!(V8Headers::read("--v8-headers", dir.path()).unwrap(), headers);
        let to = tempfile::tempdir().unwrap();
        headers.copy_to(to.path()).unwrap();
        assert!(to.path().join("cppgc/internal/a.h").is_file());
        assert!(!to.path().join("uv.h").exists() && !to.path().join("openssl").exists());
    }

    #[test]
    fn a_changed_header_changes_the_hash() {
        let dir = folder();
        let before = V8Headers::read("--v8-headers", dir.path()).unwrap();
        fs::write(dir.path().join("cppgc/internal/a.h"), "x").unwrap();
        assert_ne!(V8Headers::read("--v8-headers", dir.path()).unwrap().sha256, before.sha256);
    }

    #[test]
    fn a_folder_without_v8_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let error = V8Headers::read("--v8-headers", dir.path()).unwrap_err();
        assert_eq!(error.code(), "E0708");
        assert!(error.to_string().contains("no v8.h"), "{error}");
        fs::write(dir.path().join("v8.h"), "").unwrap();
        fs::write(dir.path().join("v8-version.h"), "#define V8_MAJOR_VERSION ten\n").unwrap();
        assert!(V8Headers::read("--v8-headers", dir.path()).is_err());
    }
}
