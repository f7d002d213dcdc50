//! What `relink run` starts, looked at before exec(2): which programs the command line leads to, as far as that can be seen, and
//! whether ld.so will load Relink into them.

use relink::elf::arch::{machine_name, Arch};
use relink::elf::{Dynamic, ElfError, FileImage, SymbolTable};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// One program of the chain.
#[derive(Debug)]
pub struct Link {
    /// Its file.
    pub path: PathBuf,
    /// Whether the process that `relink run` is becomes this program without another in between: it is the one that is named, the
    /// interpreter of a script, or what a dynamic linker is told to run.
    pub direct: bool,
    /// Its own arguments.
    args: Vec<OsString>,
}

/// A chain does not go deeper; the kernel follows five interpreters (`BINPRM_MAX_RECURSION`).
const DEEPEST: usize = 16;

/// The programs that the command line leads to: the one that is named, then the interpreter of a script, what a dynamic linker is told to
/// run, and what a wrapper such as `env` or `sh -c` starts. It ends where nothing more can be seen.
pub fn chain(program: &OsStr, args: &[OsString]) -> Vec<Link> {
    let mut links: Vec<Link> = Vec::new();
    let mut next = Some((program.to_owned(), args.to_owned(), true));
    while let Some((program, args, direct)) = next.take().filter(|_| links.len() < DEEPEST) {
        let Some(path) = in_path(&program) else { break };
        let direct = direct && links.iter().all(|l| l.direct);
        next = interpreter(&path, &args).map(|(p, a)| (p, a, true));
        if next.is_none() {
            next = match linkage(&path) {
                Some(Linkage::Linker) => told_to_run(&args).map(|(p, a)| (p, a, true)),
                _ => wrapped(&path, &args).map(|(p, a)| (p, a, false)),
            };
        }
        // A script and a dynamic linker are not the program: the next link is.
        links.push(Link { path, direct, args });
    }
    links
}

impl Link {
    /// Why Node cannot come into this program; `None` if nothing speaks against it, or nothing can be seen.
    pub fn unsuitable(&self) -> Option<String> {
        if is_script(&self.path) {
            return None;
        }
        let why = match linkage(&self.path) {
            Some(Linkage::Linker) => return None,
            Some(Linkage::Static) => {
                Some("is statically linked, so Relink cannot be loaded into it; use a dynamically linked build".into())
            }
            Some(Linkage::OtherLibc(linker)) => Some(format!(
                "is linked for another C library than glibc (its dynamic linker is {linker}), and Relink needs glibc; use a build for glibc"
            )),
            Some(Linkage::Foreign(what)) => Some(format!(
                "is a program for another machine ({what}), and Relink is for {}; use a build for {}",
                Arch::native().name,
                Arch::native().name
            )),
            Some(Linkage::MemorySanitizer) => Some(
                "is built with MemorySanitizer, which takes what Node and V8 write for uninitialised memory, because they are \
                 built without it; use another sanitizer"
                    .into(),
            ),
            Some(Linkage::Dynamic) | None => None,
        };
        why.or_else(|| self.drops_preload())
    }

    /// Why ld.so takes no notice of `LD_PRELOAD` in this program, and takes it out for all that it starts.
    pub fn drops_preload(&self) -> Option<String> {
        if self.path.file_name() == Some(OsStr::new("env")) && empties_environment(&self.args) {
            return Some("is told to empty the environment, and LD_PRELOAD with it".into());
        }
        secure(&self.path).map(|why| {
            format!("{why}, so ld.so takes no notice of LD_PRELOAD in it and in what it starts; run a copy without these rights")
        })
    }
}

/// How a program comes by its libraries.
#[derive(PartialEq, Eq, Debug)]
enum Linkage {
    /// The kernel starts glibc's dynamic linker.
    Dynamic,
    Static,
    /// It is a dynamic linker itself.
    Linker,
    /// The kernel starts the dynamic linker of another C library.
    OtherLibc(String),
    /// Class or machine are not those of this process.
    Foreign(String),
    MemorySanitizer,
}

fn linkage(path: &Path) -> Option<Linkage> {
    let bytes = relink::elf::file::map_file(path).ok()?;
    let file = match FileImage::parse(&bytes, Arch::native()) {
        Ok(file) => file,
        Err(ElfError::Unsuitable { .. }) => return foreign(&bytes).map(Linkage::Foreign),
        Err(_) => return None,
    };
    let dynamic = Dynamic::parse(&file.image).ok();
    let Some(header) = file.image.header(object::elf::PT_INTERP) else {
        let name = dynamic.and_then(|d| d.soname().ok().flatten().map(str::to_owned));
        let linker = name.is_some_and(|name| name.starts_with("ld-"));
        return Some(if linker { Linkage::Linker } else { Linkage::Static });
    };
    let start = header.p_offset.get(object::LittleEndian) as usize;
    let length = header.p_filesz.get(object::LittleEndian) as usize;
    let text = start.checked_add(length).and_then(|end| bytes.get(start..end))?;
    let linker = PathBuf::from(OsStr::from_bytes(text.split(|b| *b == 0).next()?));
    if !is_glibcs(&linker) {
        return Some(Linkage::OtherLibc(linker.display().to_string()));
    }
    let table = dynamic.as_ref().and_then(|d| SymbolTable::parse(&file.image, d).ok());
    let sanitized = table.is_some_and(|t| t.lookup("__msan_init").is_ok_and(|found| found.is_some()));
    Some(if sanitized { Linkage::MemorySanitizer } else { Linkage::Dynamic })
}

/// Whether a dynamic linker is glibc's, by the name that it has among libraries; by its file's where it cannot be read.
fn is_glibcs(linker: &Path) -> bool {
    const GLIBC: [&str; 2] = ["ld-linux", "ld64.so"];
    let soname = || {
        let bytes = relink::elf::file::map_file(linker).ok()?;
        let file = FileImage::parse(&bytes, Arch::native()).ok()?;
        let dynamic = Dynamic::parse(&file.image).ok()?;
        dynamic.soname().ok().flatten().map(str::to_owned)
    };
    let name = soname().or_else(|| Some(linker.file_name()?.to_str()?.to_owned()));
    name.is_none_or(|name| GLIBC.iter().any(|glibc| name.starts_with(glibc)))
}

/// What an ELF program of another class or machine is for.
fn foreign(bytes: &[u8]) -> Option<String> {
    use object::elf::{ELFCLASS32, ELFMAG, EM_386};
    let machine = u16::from_le_bytes(bytes.get(18..20)?.try_into().ok()?);
    if !bytes.starts_with(&ELFMAG) {
        return None;
    }
    let class = if bytes[4] == ELFCLASS32 { "32-bit" } else { "64-bit" };
    let name = if machine == EM_386 { "x86".into() } else { machine_name(machine) };
    Some(format!("{class} {name}"))
}

/// Why the kernel will tell ld.so that this program is one to be careful with (`AT_SECURE`): it gets rights that its user has not.
fn secure(path: &Path) -> Option<String> {
    const SET_USER: u32 = 0o4000;
    /// A set-group-ID bit without the right to execute meant mandatory locking once.
    const SET_GROUP: u32 = 0o2010;
    if no_new_rights(path) {
        return None;
    }
    let about = std::fs::metadata(path).ok()?;
    let user = rustix::process::geteuid();
    if about.mode() & SET_USER != 0 && about.uid() != user.as_raw() {
        return Some(format!("is set-user-ID (of user {})", about.uid()));
    }
    if about.mode() & SET_GROUP == SET_GROUP && about.gid() != rustix::process::getegid().as_raw() {
        return Some(format!("is set-group-ID (of group {})", about.gid()));
    }
    // Root has all capabilities as it is (capabilities(7)).
    if !rustix::process::getuid().is_root() && has_capabilities(path) {
        return Some("has file capabilities (security.capability)".into());
    }
    None
}

/// Whether the kernel gives no rights with this file: the process may get none, or the file system's programs give none.
fn no_new_rights(path: &Path) -> bool {
    let nosuid = rustix::fs::statvfs(path)
        .is_ok_and(|system| system.f_flag.contains(rustix::fs::StatVfsMountFlags::NOSUID));
    nosuid || rustix::thread::no_new_privs().unwrap_or(false)
}

/// Whether a file gives any capability (`struct vfs_cap_data` of linux/capability.h): the flag for effective ones, then two words of permitted
/// and inheritable ones for each half.
fn has_capabilities(path: &Path) -> bool {
    let mut value = [0u8; 64];
    let read = rustix::fs::getxattr(path, "security.capability", &mut value[..]);
    let Ok(length) = read else { return false };
    let words: Vec<u32> = value[..length.min(24)]
        .chunks_exact(4)
        .map(|w| u32::from_le_bytes([w[0], w[1], w[2], w[3]]))
        .collect();
    let effective = words.first().is_some_and(|magic| magic & 1 != 0);
    // Version 3 has the number of a root user as its last word.
    let permitted = [words.get(1), words.get(3)].into_iter().flatten().any(|word| *word != 0);
    effective || permitted
}

fn is_script(path: &Path) -> bool {
    head(path).starts_with(b"#!")
}

fn head(path: &Path) -> Vec<u8> {
    use std::io::Read;
    /// The kernel reads no more of a script (`BINPRM_BUF_SIZE`).
    const LONGEST: u64 = 256;
    let mut bytes = Vec::new();
    // What cannot be read is judged by nobody.
    let _ = std::fs::File::open(path).and_then(|file| file.take(LONGEST).read_to_end(&mut bytes));
    bytes
}

/// A program and its arguments.
type Call = (OsString, Vec<OsString>);

/// The interpreter of a script (execve(2)): one word, and the rest of the line as one argument.
fn interpreter(path: &Path, args: &[OsString]) -> Option<Call> {
    let head = head(path);
    let line = head.strip_prefix(b"#!")?.split(|b| *b == b'\n').next()?;
    let line = line.trim_ascii();
    let end = line.iter().position(|b| b.is_ascii_whitespace()).unwrap_or(line.len());
    let (name, rest) = (&line[..end], line[end..].trim_ascii());
    if name.is_empty() {
        return None;
    }
    let word = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let mut all: Vec<OsString> = (!rest.is_empty()).then(|| word(rest)).into_iter().collect();
    all.push(path.into());
    all.extend(args.iter().cloned());
    Some((word(name), all))
}

/// What a dynamic linker is told to run (ld.so(8)).
fn told_to_run(args: &[OsString]) -> Option<Call> {
    const VALUED: [&str; 7] = [
        "--library-path",
        "--inhibit-rpath",
        "--audit",
        "--preload",
        "--argv0",
        "--glibc-hwcaps-prepend",
        "--glibc-hwcaps-mask",
    ];
    after_options(args, &VALUED, 0)
}

/// The call that follows options, of which `valued` take the next word, and so many other words.
fn after_options(args: &[OsString], valued: &[&str], operands: usize) -> Option<Call> {
    let mut at = 0;
    while let Some(word) = args.get(at) {
        if word == "--" {
            at += 1;
            break;
        }
        if !word.as_bytes().starts_with(b"-") || word.len() == 1 {
            break;
        }
        at += if valued.iter().any(|option| word == option) { 2 } else { 1 };
    }
    call(args.get(at + operands..)?)
}

fn call(words: &[OsString]) -> Option<Call> {
    words.split_first().map(|(program, args)| (program.clone(), args.to_vec()))
}

/// What a wrapper starts, if it is one that is known and is called in a way that can be seen through.
fn wrapped(path: &Path, args: &[OsString]) -> Option<Call> {
    match path.file_name()?.to_str()? {
        "env" => of_env(args),
        "sh" | "bash" | "dash" | "zsh" | "ksh" | "ash" => of_shell(args),
        "nohup" => after_options(args, &[], 0),
        "setsid" => after_options(args, &[], 0),
        "nice" => after_options(args, &["-n", "--adjustment"], 0),
        "ionice" => after_options(args, &["-c", "-n", "--class", "--classdata"], 0),
        "stdbuf" => after_options(args, &["-i", "-o", "-e", "--input", "--output", "--error"], 0),
        "timeout" => after_options(args, &["-k", "-s", "--kill-after", "--signal"], 1),
        "time" => after_options(args, &["-f", "-o", "--format", "--output"], 0),
        "taskset" => after_options(args, &[], 1),
        _ => None,
    }
}

const ENV_VALUED: [&str; 6] = ["-u", "--unset", "-C", "--chdir", "-a", "--argv0"];

fn is_assignment(word: &OsStr) -> bool {
    word.as_bytes().contains(&b'=')
}

fn of_env(args: &[OsString]) -> Option<Call> {
    let mut words = args.to_vec();
    // `env -S "node --flag" script`: the words of the string take its place.
    let split = words.iter().position(|w| w.as_bytes().starts_with(b"-S") || w == "--split-string");
    if let Some(at) = split.filter(|at| words[..*at].iter().all(|w| w.as_bytes().starts_with(b"-"))) {
        let whole = words[at] == "-S" || words[at] == "--split-string";
        let text = if whole {
            words.get(at + 1)?.clone()
        } else {
            OsString::from_vec(words[at].as_bytes()[2..].to_vec())
        };
        words.splice(at..at + 1 + usize::from(whole), simple_words(text.to_str()?)?);
    }
    let (program, args) = after_options(&words, &ENV_VALUED, 0)?;
    let mut all: Vec<OsString> = std::iter::once(program).chain(args).collect();
    let first = all.iter().position(|word| !is_assignment(word))?;
    call(&all.split_off(first))
}

/// Whether `env` is told to start with nothing, or without `LD_PRELOAD`.
fn empties_environment(args: &[OsString]) -> bool {
    let options = args.iter().take_while(|w| w.as_bytes().starts_with(b"-"));
    let empties = |w: &OsString| {
        w == "-"
            || w == "-i"
            || w == "--ignore-environment"
            || w == "--unset=LD_PRELOAD"
            || w == "-uLD_PRELOAD"
    };
    options.into_iter().any(empties)
        || args.windows(2).any(|pair| (pair[0] == "-u" || pair[0] == "--unset") && pair[1] == "LD_PRELOAD")
}

/// The one program that `sh -c` runs, if that is all it does.
fn of_shell(args: &[OsString]) -> Option<Call> {
    let at = args.iter().position(|word| word == "-c" || word == "-ec" || word == "-lc")?;
    if !args[..at].iter().all(|word| word.as_bytes().starts_with(b"-")) {
        return None;
    }
    let mut words = simple_words(args.get(at + 1)?.to_str()?)?;
    let first = words.iter().position(|word| !is_assignment(word))?;
    words.drain(..first);
    if words.first().is_some_and(|word| word == "exec") {
        words.remove(0);
    }
    call(&words)
}

/// The words of a text without anything that a shell would expand or that would make it more than one command.
fn simple_words(text: &str) -> Option<Vec<OsString>> {
    let plain = |c: char| c.is_alphanumeric() || c.is_whitespace() || "._/-=+:@%,".contains(c);
    let words = text.chars().all(plain) && !text.trim().contains('\n');
    words.then(|| text.split_whitespace().map(OsString::from).collect())
}

fn in_path(program: &OsStr) -> Option<PathBuf> {
    let path = Path::new(program);
    if path.components().count() > 1 || path.is_absolute() {
        return Some(path.to_owned());
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|p| p.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(line: &[&str]) -> Vec<String> {
        let words: Vec<OsString> = line.iter().map(OsString::from).collect();
        let (program, args) = words.split_first().expect("a program");
        chain(program, args)
            .iter()
            .map(|l| l.path.file_name().unwrap().to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn wrappers_are_seen_through() {
        for line in [
            &["env", "-u", "A", "B=c", "/x/prog", "-v"][..],
            &["env", "-S", "A=b /x/prog -v"],
            &["timeout", "-k", "1", "--foreground", "5", "/x/prog"],
            &["nice", "-n", "3", "/x/prog"],
            &["nohup", "/x/prog", "-c"],
            &["sh", "-c", "A=1 exec /x/prog --flag=3"],
            &["setsid", "env", "sh", "-c", "/x/prog"],
        ] {
            assert_eq!(seen(line).last().map(String::as_str), Some("prog"), "{line:?}");
        }
        for line in
            [&["sh", "-c", "/x/prog; true"][..], &["sh", "-c", "/x/prog $A"], &["sh", "/x/prog", "-c", "y"]]
        {
            assert_eq!(seen(line), ["sh"], "{line:?}");
        }
    }

    #[test]
    fn a_script_leads_to_its_interpreter() {
        let folder = tempfile::tempdir().expect("a folder");
        let script = folder.path().join("script");
        std::fs::write(&script, "#! /usr/bin/env -S sh -e\n").expect("written");
        let path = script.to_str().expect("a name");
        assert_eq!(seen(&[path, "1"]), ["script", "env", "sh"]);
        let links = chain(script.as_os_str(), &[]);
        assert_eq!(links.iter().map(|l| l.direct).collect::<Vec<_>>(), [true, true, false]);
    }

    #[test]
    fn an_environment_that_is_emptied_is_seen() {
        let why = |line: &[&str]| {
            let words: Vec<OsString> = line.iter().map(OsString::from).collect();
            chain(&words[0], &words[1..])[0].unsuitable()
        };
        assert!(why(&["env", "-i", "true"]).is_some_and(|why| why.contains("LD_PRELOAD")));
        assert!(why(&["env", "-u", "LD_PRELOAD", "true"]).is_some());
        assert_eq!(why(&["env", "A=-i", "true"]), None);
    }
}
