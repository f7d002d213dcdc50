//! Debian packages and sources by the machine's apt, without root and without touching its state.
//!
//! Everything apt writes lies under `apt/` in the cache. The archives are the machine's own (see [`super::sources`]).
//! A mirror may list a version that it no longer has, so each version offered is tried, newest first.

use super::cache::{self, hex, Cache};
use super::debian::{self, Stanza};
use super::error::{io, KitError, Result};
use super::progress::Progress;
use super::run::{missing, offline, Program};
use super::sources;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the package lists count as fresh.
const FRESH: Duration = Duration::from_secs(24 * 3600);

/// A private apt state in the cache.
pub struct Apt<'a> {
    dir: PathBuf,
    progress: &'a dyn Progress,
    _lock: cache::Lock,
}

/// A binary package that lies in the cache.
#[derive(Clone, Debug)]
pub struct Deb {
    /// Its name.
    pub package: String,
    /// Its version, with epoch and revision.
    pub version: String,
    /// The file.
    pub file: PathBuf,
    /// SHA-256 of the file, as the archive's signed index states it.
    pub sha256: String,
}

/// The files of a source package that lie in the cache.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its version.
    pub version: String,
    /// The folder with the tarballs and the .dsc.
    pub dir: PathBuf,
}

impl<'a> Apt<'a> {
    /// Opens the private state, fetching the lists if there are none of the last 24 hours.
    pub fn open(cache: &Cache, progress: &'a dyn Progress) -> Result<Self> {
        if !missing(&["apt-get", "apt-cache", "dpkg-deb"]).is_empty() {
            return Err(KitError::NoDebian { why: "this machine has no apt".into() });
        }
        let apt = Self { _lock: cache.lock("apt", progress)?, dir: cache.folder("apt")?, progress };
        let changed = apt.write_config()?;
        // Offline, lists of any age do: what they name is in the cache, or is refused by name.
        if changed || !(apt.fresh() || offline() && apt.stamp().exists()) {
            apt.update()?;
        }
        Ok(apt)
    }

    /// Fetches a package: the newest version offered that can be downloaded.
    pub fn package(&self, name: &str) -> Result<Deb> {
        let text =
            self.program("apt-cache")?.args(["show", name]).output().map_err(|e| unavailable(name, e))?;
        let mut offers: Vec<Stanza> = debian::stanzas(&text).filter(|s| s.get("Package") == name).collect();
        offers.sort_by(|a, b| debian::compare(b.get("Version"), a.get("Version")));
        let mut why = String::from("no version is offered");
        for offer in &offers {
            match self.download(name, offer) {
                Ok(deb) => return Ok(deb),
                Err(stop @ (KitError::Interrupted { .. } | KitError::Offline { .. })) => return Err(stop),
                Err(error) => why = error.to_string(),
            }
        }
        Err(KitError::Package { package: name.into(), why })
    }

    /// Fetches several packages.
    pub fn packages(&self, names: &[&str]) -> Result<Vec<Deb>> {
        let fetch = |(n, name): (usize, &&str)| {
            self.progress.advance(n, names.len(), name);
            self.package(name)
        };
        names.iter().enumerate().map(fetch).collect()
    }

    /// Fetches the source package `name`: the newest version that begins with `upstream` and can be downloaded.
    pub fn source(&self, name: &str, upstream: &str) -> Result<Source> {
        let text =
            self.program("apt-cache")?.args(["showsrc", name]).output().map_err(|e| unavailable(name, e))?;
        let mut versions: Vec<&str> = debian::stanzas(&text).map(|s| s.get("Version")).collect();
        versions.retain(|v| v.starts_with(upstream));
        versions.sort_by(|a, b| debian::compare(b, a));
        versions.dedup();
        let mut why = format!("no version {upstream} is offered");
        for version in versions {
            match self.download_source(name, version) {
                Ok(source) => return Ok(source),
                Err(KitError::Package { why: reason, .. }) => why = reason,
                Err(other) => return Err(other),
            }
        }
        Err(KitError::Package { package: name.into(), why })
    }

    /// A file of the pool of the machine's Debian archive, whatever suite it belongs to (`main/n/nodejs/…`), if it has this
    /// SHA-256. It need not be in any list: what is pinned by its checksum is not to be had from the index, which moves on.
    pub fn pool_file(&self, path: &str, sha256: &str) -> Result<PathBuf> {
        const HELPER: &str = "/usr/lib/apt/apt-helper";
        /// An archive behind a cache answers "not found" now and then.
        const ATTEMPTS: usize = 3;
        let name = path.rsplit('/').next().unwrap_or(path);
        let file = self.folder("pool")?.join(name);
        let mut why = format!("it is not what was pinned (SHA-256 {sha256})");
        for _ in 0..ATTEMPTS {
            if has_sum(&file, sha256) {
                return Ok(file);
            }
            cache::remove(&file)?;
            let uri = format!("{}/pool/{path}", self.archive()?);
            let to = file.to_string_lossy().into_owned();
            let program = Program::fetching(HELPER, &format!("{name} of Debian's archive"))?
                .env("APT_CONFIG", self.dir.join("apt.conf"));
            match program.args(["download-file".into(), uri, to, format!("SHA256:{sha256}")]).output() {
                Err(KitError::Program { message, .. }) => why = message,
                other => drop(other?),
            }
        }
        if has_sum(&file, sha256) {
            return Ok(file);
        }
        let why = format!(
            "{why}; the archive has newer versions now: use a newer relink, or an unpacked source (--source)"
        );
        Err(KitError::Package { package: name.into(), why })
    }

    /// The address of Debian's main archive on this machine.
    fn archive(&self) -> Result<String> {
        let file = self.dir.join("debian.sources");
        let text = fs::read_to_string(&file).map_err(io("read", &file))?;
        sources::main_archive(&text).ok_or_else(|| KitError::NoDebian {
            why: "no archive of bookworm itself among /etc/apt's sources".into(),
        })
    }

    fn download(&self, name: &str, offer: &Stanza) -> Result<Deb> {
        let version = offer.get("Version");
        let dir = self.folder("debs")?;
        let file = dir.join(debian::file_name(name, version, offer.get("Architecture")));
        let deb =
            Deb { package: name.into(), version: version.into(), file, sha256: offer.get("SHA256").into() };
        if !has_sum(&deb.file, &deb.sha256) {
            let wanted = format!("{name}={version}");
            self.fetching(&wanted)?.args(["download", &wanted]).dir(&dir).output()?;
        }
        if has_sum(&deb.file, &deb.sha256) {
            return Ok(deb);
        }
        let why = format!("{} is not what the archive's index says (SHA-256)", deb.file.display());
        Err(KitError::Package { package: name.into(), why })
    }

    /// A marker says that all files are there; another, younger than the lists, that they cannot be had.
    fn download_source(&self, name: &str, version: &str) -> Result<Source> {
        let dir = self.folder(&format!("src/{name}_{version}"))?;
        let [done, failed] = [dir.join("complete"), dir.join("failed")];
        let known = fs::read_to_string(&failed).ok().filter(|_| younger(&failed, &self.stamp()));
        if let Some(why) = known.filter(|_| !done.exists()) {
            return Err(KitError::Package { package: name.into(), why });
        }
        if !done.exists() {
            let wanted = format!("{name}={version}");
            let fetcher = self.fetching(&format!("the source of {wanted}"))?;
            let run = fetcher.args(["source", "--download-only", &wanted]).dir(&dir).output();
            if let Err(KitError::Program { message, .. }) = run {
                cache::write_whole(&failed, &message)?;
                self.progress
                    .note(&format!("{wanted} cannot be downloaded ({message}); trying the version before"));
                return Err(KitError::Package { package: name.into(), why: message });
            }
            run?;
            cache::write_whole(&done, "")?;
        }
        Ok(Source { version: version.into(), dir })
    }

    /// An apt program that knows only our folders.
    fn program(&self, name: &str) -> Result<Program> {
        Ok(self.configured(Program::new(name)))
    }

    /// `apt-get`, to fetch something of Debian's archive.
    fn fetching(&self, what: &str) -> Result<Program> {
        Program::fetching("apt-get", &format!("Debian's {what}")).map(|program| self.configured(program))
    }

    fn configured(&self, program: Program) -> Program {
        let program = program.env("APT_CONFIG", self.dir.join("apt.conf"));
        program.args(["-q", "-o", "Dpkg::Use-Pty=0"])
    }

    fn update(&self) -> Result<()> {
        self.progress.step("fetching Debian's package lists");
        let result = self.fetching("package lists")?.args(["update"]).output();
        match result {
            Ok(_) => cache::write_whole(&self.stamp(), ""),
            Err(KitError::Program { message, .. }) if self.stamp().exists() => {
                self.progress
                    .note(&format!("package lists could not be refreshed ({message}); using the older ones"));
                Ok(())
            }
            Err(KitError::Program { message, .. }) => {
                Err(KitError::NoDebian { why: format!("apt-get update failed ({message})") })
            }
            Err(other) => Err(other),
        }
    }

    fn stamp(&self) -> PathBuf {
        self.dir.join("updated")
    }

    fn fresh(&self) -> bool {
        let modified = fs::metadata(self.stamp()).and_then(|m| m.modified());
        modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age < FRESH))
    }

    fn folder(&self, name: &str) -> Result<PathBuf> {
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir).map_err(io("create", &dir))?;
        Ok(dir)
    }

    /// Writes our sources list and configuration; says whether the sources have changed.
    fn write_config(&self) -> Result<bool> {
        for name in ["state/lists/partial", "cache/archives/partial", "conf.d", "log"] {
            self.folder(name)?;
        }
        let list = machine_sources()?;
        let list_file = self.dir.join("debian.sources");
        let changed = fs::read_to_string(&list_file).ok().as_deref() != Some(&list);
        cache::write_whole(&list_file, &list)?;
        cache::write_whole(&self.dir.join("state/status"), "")?;
        copy_settings(Path::new("/etc/apt/apt.conf.d"), &self.folder("conf.d")?)?;
        cache::write_whole(&self.dir.join("apt.conf"), &settings(&self.dir))?;
        Ok(changed)
    }
}

/// Our apt.conf. It is read before all others, so it can turn away from the machine's conf.d, which may hold hooks.
pub(super) fn settings(dir: &Path) -> String {
    let dir = dir.display();
    let mut text = format!(
        "Dir::State \"{dir}/state\";\nDir::State::status \"{dir}/state/status\";\nDir::Cache \"{dir}/cache\";\n\
         Dir::Log \"{dir}/log\";\nDir::Etc::sourcelist \"{dir}/debian.sources\";\nDir::Etc::sourceparts \"/dev/null\";\n\
         Dir::Etc::preferences \"/dev/null\";\nDir::Etc::preferencesparts \"/dev/null\";\n\
         Dir::Etc::parts \"{dir}/conf.d\";\nAcquire::Languages \"none\";\n"
    );
    // Root's apt fetches as user _apt, who may not be able to reach our cache.
    if nix::unistd::geteuid().is_root() {
        text.push_str("APT::Sandbox::User \"root\";\n");
    }
    text
}

/// Copies the machine's settings (proxies and the like) without those that run commands on the system.
pub(super) fn copy_settings(from: &Path, to: &Path) -> Result<()> {
    for old in fs::read_dir(to).into_iter().flatten().flatten() {
        cache::remove(&old.path())?;
    }
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        let Ok(text) = fs::read_to_string(entry.path()) else { continue };
        if !text.contains("-Invoke") {
            cache::write_whole(&to.join(entry.file_name()), &text)?;
        }
    }
    Ok(())
}

/// The private list from /etc/apt.
pub(super) fn machine_sources() -> Result<String> {
    let etc = Path::new("/etc/apt");
    let mut lines = fs::read_to_string(etc.join("sources.list")).unwrap_or_default();
    let mut stanzas = String::new();
    for entry in fs::read_dir(etc.join("sources.list.d")).into_iter().flatten().flatten() {
        let into = match entry.path().extension().and_then(|e| e.to_str()) {
            Some("list") => &mut lines,
            Some("sources") => &mut stanzas,
            _ => continue,
        };
        into.push_str(&format!("\n\n{}\n", fs::read_to_string(entry.path()).unwrap_or_default()));
    }
    sources::private_list(&lines, &stanzas).ok_or_else(|| KitError::NoDebian {
        why: "no archive of Debian 12 (bookworm, main) among /etc/apt's sources".into(),
    })
}

/// Unpacks packages into a folder. Some of bookworm's still have files under /lib, which an installed system has as a
/// link to /usr/lib (Debian's "merged /usr"): they are moved there.
pub fn unpack(debs: &[Deb], to: &Path) -> Result<()> {
    for deb in debs {
        Program::new("dpkg-deb").args([Path::new("-x"), &deb.file, to]).output()?;
    }
    let unmerged = to.join("lib");
    if unmerged.is_dir() {
        let merged = to.join("usr/lib");
        fs::create_dir_all(&merged).map_err(io("create", &merged))?;
        Program::new("cp").args([Path::new("-a"), &unmerged.join("."), &merged]).output()?;
        fs::remove_dir_all(&unmerged).map_err(io("remove", &unmerged))?;
    }
    Ok(())
}

fn unavailable(package: &str, error: KitError) -> KitError {
    match error {
        KitError::Program { message, .. } => KitError::Package { package: package.into(), why: message },
        other => other,
    }
}

pub(super) fn has_sum(file: &Path, sha256: &str) -> bool {
    fs::read(file).is_ok_and(|bytes| hex(&Sha256::digest(bytes)) == sha256)
}

fn younger(file: &Path, than: &Path) -> bool {
    let time = |path: &Path| fs::metadata(path).and_then(|m| m.modified()).ok();
    matches!((time(file), time(than)), (Some(a), Some(b)) if a >= b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_run_commands_are_not_copied() {
        let [from, to] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        fs::write(from.path().join("10proxy"), "Acquire::http::Proxy \"http://p\";").unwrap();
        fs::write(from.path().join("docker-clean"), "APT::Update::Post-Invoke { \"rm x\"; };").unwrap();
        fs::write(to.path().join("stale"), "").unwrap();
        copy_settings(from.path(), to.path()).unwrap();
        let names: Vec<_> = fs::read_dir(to.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["10proxy"]);
    }

    #[test]
    fn apt_is_pointed_at_our_folder_only() {
        let text = settings(Path::new("/c/apt"));
        for name in [
            "Dir::State \"/c/apt/",
            "Dir::Cache \"/c/apt/",
            "sourcelist \"/c/apt/",
            "sourceparts \"/dev/null\"",
        ] {
            assert!(text.contains(name), "{name} in {text}");
        }
    }
}
