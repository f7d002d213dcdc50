//! What compiles adapter units for hosts whose V8 was compiled with libc++: Debian's clang, and Chromium's libc++ from the crate `v8`.

use super::apt::{self, Apt};
use super::cache::{write_whole, Cache, KeyBuilder};
use super::crates::{folders, Crate};
use super::error::{io, KitError, Result};
use super::files;
use super::progress::Progress;
use super::run::Program;
use relink_abi::fingerprint::{CxxLibrary, Fingerprint};
use relink_abi::kept::triplet;
use relink_abi::units::{LIBCXX, LIBCXX_SHA256};
use relink_elf::arch::Arch;
use relink_elf::file::map_file;
use relink_elf::{Dynamic, FileImage, SymbolTable};
use std::fs;
use std::path::{Path, PathBuf};

/// clang, and those of its libraries that a machine with g++ may lack.
const CLANG: [&str; 9] = [
    "clang-19",
    "libclang-common-19-dev",
    "libclang-cpp19",
    "libllvm19",
    "libbsd0",
    "libedit2",
    "libffi8",
    "libxml2",
    "libz3-4",
];

/// Where they unpack to.
const LLVM: &str = "usr/lib/llvm-19";

/// Where the crate has libc++.
const IN_CRATE: &str = "buildtools/third_party/libc++";

/// How Chromium's configuration of libc++ names its inline namespace.
const NAMESPACE: &str = "#define _LIBCPP_ABI_NAMESPACE ";

/// Debian's clang++, unpacked in the cache.
///
/// # Errors
/// The packages cannot be had, or the compiler does not start.
pub fn clang(progress: &dyn Progress) -> Result<PathBuf> {
    let cache = Cache::locate()?;
    let apt = Apt::open(&cache, progress)?;
    progress.step("fetching Debian's clang");
    let debs = apt.packages(&CLANG)?;
    let key = KeyBuilder::new().add("layout", "1");
    let key = debs.iter().fold(key, |key, deb| key.add(&deb.package, &deb.sha256)).finish();
    let dir = cache.get_or_make("clang", &key, progress, |work| {
        progress.step("unpacking Debian's clang");
        unpack(&debs, work, LLVM)
    })?;
    progress.finish();
    Ok(dir.join(LLVM).join("bin/clang++"))
}

/// Unpacks a clang of Debian's, whose own folder is `llvm`, with its libraries; sees that it starts.
pub(super) fn unpack(debs: &[apt::Deb], work: &Path, llvm: &str) -> Result<()> {
    apt::unpack(debs, work)?;
    // clang looks for its libraries beside itself (DT_RUNPATH $ORIGIN/../lib).
    let (from, to) = (work.join("usr/lib").join(triplet()), work.join(llvm).join("lib"));
    for entry in fs::read_dir(&from).map_err(io("read", &from))?.flatten() {
        let name = entry.file_name();
        let link = to.join(&name);
        if entry.file_type().is_ok_and(|kind| !kind.is_dir()) && fs::symlink_metadata(&link).is_err() {
            let target = Path::new("../..").join(triplet()).join(&name);
            std::os::unix::fs::symlink(target, &link).map_err(io("create", &link))?;
        }
    }
    Program::new(work.join(llvm).join("bin/clang++")).args(["--version"]).output().map(drop)
}

/// The C++ library of the V8 in a module, which `option` named.
///
/// # Errors
/// It cannot be read, or its dynamic symbols do not tell.
pub fn cxx_of(option: &'static str, module: &Path) -> Result<CxxLibrary> {
    let bad = |why: String| KitError::Input { option, path: module.into(), why };
    let bytes = map_file(module).map_err(|e| bad(e.to_string()))?;
    let read = || {
        let file = FileImage::parse(&bytes, Arch::native())?;
        let symbols = SymbolTable::parse(&file.image, &Dynamic::parse(&file.image)?)?;
        Fingerprint::read(&file.image, &symbols)
    };
    let found = read().map_err(|e| bad(e.to_string()))?;
    found.cxx.ok_or_else(|| {
        bad("its dynamic symbols do not tell the C++ library of a V8; name the module that has it".into())
    })
}

/// libc++ with an inline namespace, in the cache: its headers in `include`, its configuration in `site`, its sources in `src`.
///
/// # Errors
/// The crate cannot be had, or is not the one that was pinned.
pub fn libcxx(namespace: &str, progress: &dyn Progress) -> Result<PathBuf> {
    let cache = Cache::locate()?;
    let key = KeyBuilder::new().add("crate", LIBCXX).add("sha256", LIBCXX_SHA256);
    let key = key.add("namespace", namespace).finish();
    let dir = cache.get_or_make("libcxx", &key, progress, |work| {
        progress.step(&format!("fetching libc++ from the crate v8 {LIBCXX}"));
        let from = folders(&cache, &Crate::v8(LIBCXX)?, &[IN_CRATE], progress)?.join(IN_CRATE);
        let wanted = |path: &Path| {
            path.starts_with("trunk/include")
                || path.starts_with("trunk/src")
                || path == Path::new("__config_site")
        };
        let keep = |path: &Path| path == Path::new("trunk") || wanted(path);
        let all = files::list(&from, &keep)?;
        let found = files::hash(&from, &all)?;
        let failed = |why| KitError::Package { package: format!("the crate v8 {LIBCXX}"), why };
        if found != LIBCXX_SHA256 {
            return Err(failed(format!("its libc++ has the checksum {found}, not {LIBCXX_SHA256}")));
        }
        files::copy(&from, &all, work)?;
        for part in ["include", "src"] {
            let to = work.join(part);
            super::cache::remove(&to)?;
            fs::rename(work.join("trunk").join(part), &to).map_err(io("rename", &to))?;
        }
        super::cache::remove(&work.join("trunk"))?;
        let site = work.join("__config_site");
        let text = fs::read_to_string(&site).map_err(io("read", &site))?;
        let text = with_namespace(&text, namespace)
            .ok_or_else(|| failed("its configuration names no namespace".into()))?;
        let to = work.join("site");
        fs::create_dir_all(&to).map_err(io("create", &to))?;
        write_whole(&to.join("__config_site"), &text)?;
        super::cache::remove(&site)
    })?;
    progress.finish();
    Ok(dir)
}

/// What compiles other programs for such hosts: tests' own, and hosts of the kit's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Libcxx {
    /// clang++.
    pub compiler: PathBuf,
    /// What it is told to compile with that library. Nothing tells it to link with one: the host has its own.
    pub flags: Vec<String>,
}

/// clang with libc++ in an inline namespace.
///
/// # Errors
/// As [`clang`] and [`libcxx`].
pub fn with_libcxx(namespace: &str, progress: &dyn Progress) -> Result<Libcxx> {
    let dir = libcxx(namespace, progress)?;
    let folder = |name: &str| format!("-isystem{}", dir.join(name).display());
    let flags = vec!["-nostdinc++".into(), folder("site"), folder("include")];
    Ok(Libcxx { compiler: clang(progress)?, flags })
}

/// Chromium's configuration with another inline namespace.
fn with_namespace(site: &str, namespace: &str) -> Option<String> {
    site.contains(NAMESPACE).then(|| {
        let line = |line: &str| match line.starts_with(NAMESPACE) {
            true => format!("{NAMESPACE}{namespace}\n"),
            false => format!("{line}\n"),
        };
        site.lines().map(line).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_is_the_hosts() {
        let site = "#define A\n#define _LIBCPP_ABI_NAMESPACE Cr\n#define _LIBCPP_ABI_VERSION 2\n";
        let found = with_namespace(site, "__Cr");
        let wanted = "#define A\n#define _LIBCPP_ABI_NAMESPACE __Cr\n#define _LIBCPP_ABI_VERSION 2\n";
        assert_eq!(found.as_deref(), Some(wanted));
        assert_eq!(with_namespace("#define A\n", "__Cr"), None);
    }
}
