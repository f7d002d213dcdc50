//! More real hosts and what they bring along: programs whose V8 is not Node's, comes late, or is one of two. Only tests use
//! them; each is fetched on first use.

use super::apt::{self, Apt};
use super::cache::{self, hex, Cache, KeyBuilder};
use super::error::{io, KitError, Result};
use super::progress::Progress;
use super::run::{find, Program};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// A wheel of the Python index that has a V8 in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wheel {
    package: &'static str,
    /// The wheel's tags, as options of pip.
    tags: [&'static str; 4],
    sha256: &'static str,
    /// The library with the V8, below the folder of the unpacked wheel.
    library: &'static str,
    /// Major and minor version of its V8.
    pub v8: (u32, u32),
    /// The features of `fixtures/scripts/features.js` that its V8 has not, for the host itself no more than for a guest.
    pub lacks: &'static [&'static str],
}

/// V8 13.1 as a module of CPython 3.11.
pub const STPYV8: Wheel = Wheel {
    package: "stpyv8==13.1.201.22",
    tags: ["--platform=manylinux_2_31_x86_64", "--python-version=3.11", "--implementation=cp", "--abi=cp311"],
    sha256: "da6d8f2945bd057057c64bc93ea3c064cc848b75f55d6d651120ee5d115e0761",
    library: "_STPyV8.cpython-311-x86_64-linux-gnu.so",
    v8: (13, 1),
    lacks: &["intl", "inspector", "cpu-profile"],
};

/// V8 12.9 as a module of CPython 3.11.
pub const STPYV8_12_9: Wheel = Wheel {
    package: "stpyv8==12.9.202.27",
    sha256: "524b5c597904aa35330c40e681a677eb2fdab0bce983c00d4d290717303b23e3",
    v8: (12, 9),
    ..STPYV8
};

/// V8 14.4 with Chromium's libc++ as a plain shared library.
pub const MINI_RACER: Wheel = Wheel {
    package: "mini-racer==0.14.1",
    tags: ["--platform=manylinux_2_27_x86_64", "--python-version=3.11", "--implementation=py", "--abi=none"],
    sha256: "cdf3a088e1363f16a695288f882abf76b3705b8e1df21418208b87ed010037a4",
    library: "mini_racer-0.14.1.data/purelib/py_mini_racer/libmini_racer.so",
    v8: (14, 4),
    lacks: &[],
};

/// V8 12.5 as a module of CPython 3.11.
pub const IV8: Wheel = Wheel {
    package: "iv8==0.1.4",
    tags: ["--platform=manylinux2014_x86_64", "--python-version=3.11", "--implementation=cp", "--abi=cp311"],
    sha256: "c4ce2c3a7e7da4d73626152f0b4a40a3d1242357d326bd3da1b77fbefdd7d444",
    library: "iv8/_iv8.cpython-311-x86_64-linux-gnu.so",
    v8: (12, 5),
    lacks: &[],
};

/// V8 14.7 of the crate `v8` as a module of CPython 3.11, which names it in `.symtab` only.
pub const V8_PYTHON: Wheel = Wheel {
    package: "v8-python==0.1.0",
    tags: ["--platform=manylinux_2_28_x86_64", "--python-version=3.11", "--implementation=cp", "--abi=cp311"],
    sha256: "2040f75edf6dc3d26a3799cf5a514caa5a72dc181f5cf4b8c70efd40c1a8fe51",
    library: "v8/v8.cpython-311-x86_64-linux-gnu.so",
    v8: (14, 7),
    lacks: &[],
};

/// V8 15.0 of the same kind.
pub const JSRUN: Wheel = Wheel {
    package: "jsrun==0.3.0",
    tags: ["--platform=manylinux_2_28_x86_64", "--python-version=3.11", "--implementation=cp", "--abi=abi3"],
    sha256: "bcde8ac39f220590b4ccb6026e97d81cb01151857cc5737f21bfdd5d712f5fb5",
    library: "jsrun/_jsrun.abi3.so",
    v8: (15, 0),
    lacks: &[],
};

impl Wheel {
    /// `NAME==VERSION`.
    pub fn package(&self) -> &'static str {
        self.package
    }

    /// The folder that Python finds its modules in, below that of the unpacked wheel.
    fn modules(&self) -> &'static str {
        self.library.split_once("/purelib/").map_or("", |(folder, _)| folder)
    }
}

/// The folder to import a wheel's module from.
pub fn wheel_modules(wheel: &Wheel, progress: &dyn Progress) -> Result<PathBuf> {
    let library = self::wheel(wheel, progress)?;
    let inside = Path::new(wheel.library).components().count();
    let root = library.ancestors().nth(inside).unwrap_or(Path::new("/")).to_owned();
    let modules = wheel.modules();
    Ok(if modules.is_empty() { root } else { root.join(modules).join("purelib") })
}

/// The library of a wheel, unpacked in the cache.
pub fn wheel(wheel: &Wheel, progress: &dyn Progress) -> Result<PathBuf> {
    let cache = Cache::locate()?;
    let key = KeyBuilder::new().add("wheel", wheel.sha256).finish();
    let dir = cache.get_or_make("wheel", &key, progress, |work| {
        progress.step(&format!("fetching {}", wheel.package));
        unpack_wheel(wheel, work)
    })?;
    progress.finish();
    Ok(dir.join(wheel.library))
}

fn unpack_wheel(wheel: &Wheel, work: &Path) -> Result<()> {
    let failed = |why: String| KitError::Package { package: wheel.package.into(), why };
    let python = find("python3").ok_or_else(|| KitError::MissingTools {
        tools: vec!["python3".into()],
        remedy: "apt-get install -y python3 python3-pip".into(),
    })?;
    let get = ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", "download"];
    let pip = Program::fetching(&python, &format!("{} of PyPI", wheel.package))?;
    pip.args(get).args(wheel.tags).args([wheel.package]).dir(work).output()?;
    let download = work.join("download");
    let files = fs::read_dir(&download).map_err(io("read", &download))?;
    let file = files.flatten().next().ok_or_else(|| failed("pip fetched nothing".into()))?.path();
    let sum = hex(&Sha256::digest(fs::read(&file).map_err(io("read", &file))?));
    if sum != wheel.sha256 {
        return Err(failed(format!("its SHA-256 is {sum}, not {}", wheel.sha256)));
    }
    let unpack = [Path::new("-m"), Path::new("zipfile"), Path::new("-e"), &file, work];
    Program::new(&python).args(unpack).output()?;
    cache::remove(&download)
}

/// jemalloc as Debian has it: a library to be preloaded.
pub fn jemalloc(progress: &dyn Progress) -> Result<PathBuf> {
    let dir = debian("jemalloc", &["libjemalloc2"], progress)?;
    Ok(libraries(&dir).join("libjemalloc.so.2"))
}

/// Another C library, musl, with what programs are linked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Musl {
    /// Its dynamic linker, which is the library itself.
    pub linker: PathBuf,
    /// The folder with its start files and libc.
    pub libraries: PathBuf,
}

/// musl, to be used from the cache.
pub fn musl(progress: &dyn Progress) -> Result<Musl> {
    let dir = debian("musl", &["musl", "musl-dev"], progress)?;
    let libraries = dir.join("usr/lib").join(relink_abi::kept::triplet().replace("-gnu", "-musl"));
    Ok(Musl { linker: libraries.join("libc.so"), libraries })
}

/// Debian's valgrind with the symbols of its C library, without which it does not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Valgrind {
    /// The program.
    pub executable: PathBuf,
    /// `VALGRIND_LIB`.
    pub tools: PathBuf,
    /// For `--extra-debuginfo-path`.
    pub symbols: PathBuf,
}

/// Valgrind, to be run from the cache.
pub fn valgrind(progress: &dyn Progress) -> Result<Valgrind> {
    let dir = debian("valgrind", &["valgrind", "libc6-dbg"], progress)?;
    Ok(Valgrind {
        executable: dir.join("usr/bin/valgrind.bin"),
        tools: dir.join("usr/libexec/valgrind"),
        symbols: dir.join("usr/lib/debug"),
    })
}

/// R with its V8 package, which loads libnode.so.108 when it is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct R {
    /// The program itself, not the shell script that sets its environment up.
    pub executable: PathBuf,
    /// `R_HOME`.
    pub home: PathBuf,
    /// `R_SHARE_DIR`.
    pub share: PathBuf,
    /// `LD_LIBRARY_PATH`; R's V8 package wants libnode.so.108 besides.
    pub libraries: Vec<PathBuf>,
}

/// R, the packages that its V8 package imports, and the libraries that these load.
const R_PACKAGES: [&str; 41] = [
    "r-base-core",
    "r-cran-v8",
    "r-cran-rcpp",
    "r-cran-jsonlite",
    "r-cran-curl",
    "libblas3",
    "libgfortran5",
    "libquadmath0",
    "libgomp1",
    "libreadline8",
    "libtinfo6",
    "libpcre2-8-0",
    "liblzma5",
    "libbz2-1.0",
    "zlib1g",
    "libtirpc3",
    "libicu72",
    "libcurl4",
    "libnghttp2-14",
    "libidn2-0",
    "libunistring2",
    "librtmp1",
    "libgmp10",
    "libgnutls30",
    "libhogweed6",
    "libnettle8",
    "libp11-kit0",
    "libtasn1-6",
    "libffi8",
    "libssh2-1",
    "libpsl5",
    "libgssapi-krb5-2",
    "libkrb5-3",
    "libk5crypto3",
    "libkrb5support0",
    "libcom-err2",
    "libkeyutils1",
    "libldap-2.5-0",
    "libsasl2-2",
    "libzstd1",
    "libbrotli1",
];

/// R, unpacked in the cache.
pub fn r(progress: &dyn Progress) -> Result<R> {
    let dir = debian("r", &R_PACKAGES, progress)?;
    let home = dir.join("usr/lib/R");
    let lib = libraries(&dir);
    Ok(R {
        executable: home.join("bin/exec/R"),
        share: dir.join("usr/share/R/share"),
        libraries: vec![home.join("lib"), lib.join("blas"), lib],
        home,
    })
}

/// Packages of Debian's, unpacked into one folder. They are fetched once: what a host is made of need not be the newest.
pub(super) fn debian(kind: &str, packages: &[&str], progress: &dyn Progress) -> Result<PathBuf> {
    let cache = Cache::locate()?;
    let key = KeyBuilder::new().add("packages", packages.join(" ")).finish();
    let dir = cache.get_or_make(kind, &key, progress, |work| {
        progress.step(&format!("fetching {}", packages[0]));
        let debs = Apt::open(&cache, progress)?.packages(packages)?;
        apt::unpack(&debs, work)?;
        configure_r(work)
    })?;
    progress.finish();
    Ok(dir)
}

/// R's environment file is a link into /etc, where installing the package would put a copy of the one beside it.
fn configure_r(dir: &Path) -> Result<()> {
    let etc = dir.join("usr/lib/R/etc");
    if !etc.is_dir() {
        return Ok(());
    }
    let file = etc.join("Renviron");
    cache::remove(&file)?;
    let original = etc.join("Renviron.ucf");
    fs::copy(&original, &file).map(drop).map_err(io("copy", &original))
}

fn libraries(dir: &Path) -> PathBuf {
    dir.join("usr/lib").join(relink_abi::kept::triplet())
}
