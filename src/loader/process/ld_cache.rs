//! The cache of ld.so's, `/etc/ld.so.cache`: where ldconfig(8) has found libraries in the folders of `/etc/ld.so.conf` and below. dlinfo(3) does not tell of
//! it. And what ld.so makes of a folder: the folders for better processors in it, and the tokens in its name.

use memchr::memmem;
use relink_elf::arch::Arch;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The file.
const FILE: &str = "/etc/ld.so.cache";
/// `CACHEMAGIC_VERSION_NEW` (glibc, sysdeps/generic/dl-cache.h). An older form may stand before it.
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
/// Sizes of `cache_file_new` and `file_entry_new` there, in bytes.
const HEAD: usize = 48;
const ENTRY: usize = 24;
/// `cache_extension_magic`, and the tag of the names of folders for better processors.
const EXTENSION: u32 = 0xeaa4_2174;
const TAG_HWCAPS: u32 = 1;
/// `DL_CACHE_HWCAP_EXTENSION`, of the upper half, and what else may stand there.
const IN_EXTENSION: u64 = 1 << 30;
const ISA_LEVEL: u64 = (1 << 10) - 1;

/// A library that the cache has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cached {
    /// Its `DT_SONAME`.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// The name of the folder for better processors that it is from.
    pub hwcaps: Option<String>,
}

/// What a cache has for programs of this kind, in its order. `None`: it is none, or a broken one.
pub fn parse(bytes: &[u8], arch: &Arch) -> Option<Vec<Cached>> {
    let start = memmem::find(bytes, MAGIC)?;
    let cache = Cache(bytes.get(start..)?);
    let count = cache.word(MAGIC.len())? as usize;
    let wanted = flags(arch)?;
    let levels = cache.levels().unwrap_or_default();
    let mut found = Vec::new();
    for at in (HEAD..).step_by(ENTRY).take(count) {
        let [kind, name, path] = [0, 4, 8].map(|field| cache.word(at + field));
        let (kind, name, path) = (kind?, name?, path?);
        let hwcap = u64::from(cache.word(at + 16)?) | u64::from(cache.word(at + 20)?) << 32;
        let level = match hwcap >> 32 & !ISA_LEVEL {
            0 if hwcap == 0 => None,
            IN_EXTENSION => Some(levels.get(hwcap as u32 as usize)?.clone()),
            // A folder of the old kind, which glibc since 2.37 does not look into.
            _ => continue,
        };
        if kind == wanted {
            let name = String::from_utf8_lossy(cache.text(name)?).into_owned();
            let path = PathBuf::from(OsStr::from_bytes(cache.text(path)?));
            found.push(Cached { name, path, hwcaps: level });
        }
    }
    Some(found)
}

/// The kind of an entry: a library for glibc, of this machine (`FLAG_ELF_LIBC6` and `FLAG_*_LIB64` of glibc's ldconfig.h).
fn flags(arch: &Arch) -> Option<u32> {
    match arch.name {
        "x86-64" => Some(0x0303),
        "aarch64" => Some(0x0a03),
        _ => None,
    }
}

/// The bytes from the magic on, which offsets are seen from.
struct Cache<'d>(&'d [u8]);

impl<'d> Cache<'d> {
    fn word(&self, at: usize) -> Option<u32> {
        let bytes = self.0.get(at..at.checked_add(4)?)?;
        bytes.try_into().ok().map(u32::from_le_bytes)
    }

    fn text(&self, at: u32) -> Option<&'d [u8]> {
        let rest = self.0.get(at as usize..)?;
        rest.get(..memchr::memchr(0, rest)?)
    }

    /// The names of folders for better processors, by their numbers.
    fn levels(&self) -> Option<Vec<String>> {
        let start = self.word(32)? as usize;
        if start == 0 || self.word(start)? != EXTENSION {
            return None;
        }
        let sections = self.word(start + 4)? as usize;
        let section =
            (start + 8..).step_by(16).take(sections).find(|at| self.word(*at) == Some(TAG_HWCAPS))?;
        let (offset, size) = (self.word(section + 8)? as usize, self.word(section + 12)? as usize);
        let name = |at| Some(String::from_utf8_lossy(self.text(self.word(at)?)?).into_owned());
        (offset..offset.checked_add(size)?).step_by(4).map(name).collect()
    }
}

/// Files that the system's cache has for a name, as ld.so prefers them: those for better processors that this one is as good as first.
pub fn lookup(name: &str) -> Vec<PathBuf> {
    static SYSTEM: OnceLock<Vec<Cached>> = OnceLock::new();
    let all = SYSTEM.get_or_init(|| {
        let bytes = std::fs::read(FILE).unwrap_or_default();
        parse(&bytes, Arch::native()).unwrap_or_default()
    });
    preferred(all, name, &levels())
}

/// The same in these entries, with names of folders for better processors, the best first.
pub fn preferred(all: &[Cached], name: &str, levels: &[&str]) -> Vec<PathBuf> {
    let rank = |cached: &Cached| match &cached.hwcaps {
        None => Some(levels.len()),
        Some(level) => levels.iter().position(|known| known == level),
    };
    let named = all.iter().filter(|cached| cached.name == name);
    let mut found: Vec<_> = named.filter_map(|cached| Some((rank(cached)?, &cached.path))).collect();
    found.sort_by_key(|(rank, _)| *rank);
    found.into_iter().map(|(_, path)| path.clone()).collect()
}

/// The names of folders for better processors that ld.so looks into on this one, the best first (ld.so(8), "glibc-hwcaps").
pub fn levels() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let second = has!("cmpxchg16b")
            && has!("popcnt")
            && has!("sse3")
            && has!("sse4.1")
            && has!("sse4.2")
            && has!("ssse3");
        let third = has!("avx")
            && has!("avx2")
            && has!("bmi1")
            && has!("bmi2")
            && has!("f16c")
            && has!("fma")
            && has!("lzcnt")
            && has!("movbe");
        let fourth =
            has!("avx512f") && has!("avx512bw") && has!("avx512cd") && has!("avx512dq") && has!("avx512vl");
        let all =
            [("x86-64-v4", second && third && fourth), ("x86-64-v3", second && third), ("x86-64-v2", second)];
        all.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect()
    }
    #[cfg(not(target_arch = "x86_64"))]
    Vec::new()
}

/// The folders that ld.so looks into for this one, in order.
pub fn with_levels(folder: &Path) -> Vec<PathBuf> {
    let better = levels().into_iter().map(|level| folder.join("glibc-hwcaps").join(level));
    better.chain([folder.to_owned()]).collect()
}

/// How many of these folders, from the first, are not ld.so's own, which come after its cache.
pub fn before_the_cache(folders: &[PathBuf]) -> usize {
    let is_own =
        |folder: &PathBuf| ["/lib", "/usr/lib"].iter().any(|own| folder.to_string_lossy().starts_with(own));
    folders.len() - folders.iter().rev().take_while(|folder| is_own(folder)).count()
}

/// What a folder in `DT_RUNPATH` may mean: `$ORIGIN`, `$LIB` and `$PLATFORM` (ld.so(8), "Dynamic string tokens"). Of the last two ld.so alone knows the
/// values: `$LIB` is that of one of its own folders, `folders`; all that can be meant are given.
pub fn expanded(text: &str, origin: &Path, folders: &[PathBuf]) -> Vec<PathBuf> {
    let own = &folders[before_the_cache(folders)..];
    let lib = |folder: &PathBuf| {
        let path = folder.strip_prefix("/usr").or_else(|_| folder.strip_prefix("/")).ok()?;
        Some(path.to_string_lossy().into_owned())
    };
    let mut libs: Vec<String> = own.iter().filter_map(lib).chain(["lib64".into(), "lib".into()]).collect();
    libs.dedup();
    // Up to glibc 2.36 the first one is what good processors are called.
    let platforms = [Arch::native().name.replace('-', "_"), "haswell".to_owned()];
    let origin = [origin.to_string_lossy().into_owned()];
    let mut texts = vec![text.to_owned()];
    for (token, values) in [("ORIGIN", &origin[..]), ("LIB", &libs[..]), ("PLATFORM", &platforms[..])] {
        texts = texts.iter().flat_map(|text| replaced(text, token, values)).collect();
    }
    texts.into_iter().map(PathBuf::from).collect()
}

/// A text with each of the values in place of a token, or as it is without one.
fn replaced(text: &str, token: &str, values: &[String]) -> Vec<String> {
    let forms = [format!("${{{token}}}"), format!("${token}")];
    if !forms.iter().any(|form| text.contains(form)) {
        return vec![text.to_owned()];
    }
    let with = |value: &String| forms.iter().fold(text.to_owned(), |text, form| text.replace(form, value));
    values.iter().map(with).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use relink_elf::arch::X86_64;

    /// A cache of these libraries: name, path, kind, and the number of a folder for better processors.
    fn cache(entries: &[(&str, &str, u32, Option<u32>)], levels: &[&str]) -> Vec<u8> {
        let mut strings: Vec<u8> = Vec::new();
        let base = HEAD + entries.len() * ENTRY;
        let mut put = |text: &str| {
            let at = (base + strings.len()) as u32;
            strings.extend(text.as_bytes());
            strings.push(0);
            at
        };
        let mut table = Vec::new();
        for (name, path, kind, level) in entries {
            for word in [
                *kind,
                put(name),
                put(path),
                0,
                level.unwrap_or(0),
                level.map_or(0, |_| IN_EXTENSION as u32 | 2),
            ] {
                table.extend(word.to_le_bytes());
            }
        }
        let levels: Vec<u32> = levels.iter().map(|level| put(level)).collect();
        let extension = (base + strings.len()).next_multiple_of(4);
        let mut all = MAGIC.to_vec();
        for word in [entries.len() as u32, strings.len() as u32, 2, extension as u32, 0, 0, 0] {
            all.extend(word.to_le_bytes());
        }
        all.extend(table);
        all.extend(strings);
        all.resize(extension, 0);
        let place = extension as u32 + 24;
        for word in [EXTENSION, 1, TAG_HWCAPS, 0, place, levels.len() as u32 * 4].into_iter().chain(levels) {
            all.extend(word.to_le_bytes());
        }
        all
    }

    #[test]
    fn the_best_library_for_this_machine_is_found() {
        let bytes = cache(
            &[
                ("libuv.so.1", "/b/glibc-hwcaps/x86-64-v3/libuv.so.1", 0x303, Some(1)),
                ("libuv.so.1", "/b/glibc-hwcaps/x86-64-v2/libuv.so.1", 0x303, Some(0)),
                ("libuv.so.1", "/a/libuv.so.1", 0x303, None),
                ("libuv.so.1", "/32/libuv.so.1", 0x3, None),
                ("libz.so.1", "/a/libz.so.1", 0x303, None),
            ],
            &["x86-64-v2", "x86-64-v3"],
        );
        // As an old form may stand before it.
        for bytes in [bytes.clone(), [&b"ld.so-1.7.0\0\0\0\0\0"[..], &bytes].concat()] {
            let all = parse(&bytes, &X86_64).expect("a cache");
            let found = |levels: &[&str]| {
                let paths = preferred(&all, "libuv.so.1", levels);
                paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
            };
            assert_eq!(found(&[]), ["/a/libuv.so.1"]);
            assert_eq!(found(&["x86-64-v2"]), ["/b/glibc-hwcaps/x86-64-v2/libuv.so.1", "/a/libuv.so.1"]);
            assert_eq!(found(&["x86-64-v3", "x86-64-v2"])[0], "/b/glibc-hwcaps/x86-64-v3/libuv.so.1");
            assert_eq!(preferred(&all, "libnone.so", &[]), [""; 0].map(PathBuf::from));
        }
        for end in 0..bytes.len() {
            // A cut one is none, or has what is whole.
            let _ = parse(&bytes[..end], &X86_64);
        }
        assert_eq!(parse(b"", &X86_64), None);
    }

    #[test]
    fn the_systems_cache_is_what_ldconfig_prints() {
        let program = ["/sbin/ldconfig", "/usr/sbin/ldconfig"].into_iter().find(|p| Path::new(p).is_file());
        let printed =
            std::process::Command::new(program.expect("a part of the C library")).arg("-p").output();
        let printed = String::from_utf8(printed.expect("it runs").stdout).expect("text");
        let of_this = |line: &str| {
            let (left, path) = line.trim().split_once(" => ")?;
            let (name, kind) = left.split_once(" (")?;
            let this = if cfg!(target_arch = "x86_64") { "libc6,x86-64" } else { "libc6,AArch64" };
            (kind.trim_end_matches(')') == this).then(|| (name.to_owned(), path.to_owned()))
        };
        let all = parse(&std::fs::read(FILE).expect("a cache"), Arch::native()).expect("a cache");
        let plain = all.iter().filter(|cached| cached.hwcaps.is_none());
        let mine: Vec<_> = plain.map(|c| (c.name.clone(), c.path.display().to_string())).collect();
        assert_eq!(mine, printed.lines().filter_map(of_this).collect::<Vec<_>>());
    }

    #[test]
    fn tokens_mean_what_ld_so_has_for_them() {
        let folders = ["/mine", "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib", "/usr/lib"]
            .map(PathBuf::from);
        assert_eq!(before_the_cache(&folders), 1);
        let found = expanded("$ORIGIN/../${LIB}/x", Path::new("/opt/bin"), &folders);
        assert_eq!(found[0], Path::new("/opt/bin/../lib/x86_64-linux-gnu/x"));
        assert!(found.contains(&"/opt/bin/../lib64/x".into()));
        assert_eq!(
            expanded("/opt/$PLATFORM", Path::new("/"), &[])[0],
            Path::new("/opt").join(std::env::consts::ARCH)
        );
        assert_eq!(expanded("/opt/lib", Path::new("/"), &folders), [Path::new("/opt/lib")]);
    }
}
