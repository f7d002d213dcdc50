//! The cache folder: entries keyed by everything they were made from, published in one rename.
//!
//! An entry is a folder `KIND-KEY` that appears only when it is complete. It is made in `work/KIND-KEY`, which survives a
//! failure or a signal, so that a build can go on where it was. A file `KEY` inside an entry holds the whole key: an
//! entry without it, or with another, is never taken.

use super::error::{io, KitError, Result};
use super::progress::Progress;
use super::run::Signals;
use nix::fcntl::{Flock, FlockArg};
pub use relink_elf::cache::{hex, Key, KeyBuilder};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;
use tempfile::Builder;

/// Name of the file in an entry that holds its whole key.
const KEY_FILE: &str = "KEY";

/// The cache folder.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `$RELINK_CACHE`, else `$XDG_CACHE_HOME/relink`, else `~/.cache/relink`.
    pub fn locate() -> Result<Self> {
        Self::at(relink_elf::cache::place().ok_or_else(|| KitError::CachePlace {
            why: "none of RELINK_CACHE, XDG_CACHE_HOME and HOME is set".into(),
        })?)
    }

    /// A cache at a given folder.
    pub fn at(root: PathBuf) -> Result<Self> {
        let text = root.to_string_lossy();
        let odd = |c: char| c.is_whitespace() || "'\"$`\\#:,%".contains(c);
        if !root.is_absolute() {
            return Err(KitError::CachePlace { why: format!("{text} is not an absolute path") });
        }
        // make and GYP split their words at blanks and give these signs a meaning.
        if text.contains(odd) {
            return Err(KitError::CachePlace {
                why: format!("{text} has blanks or signs that make cannot handle"),
            });
        }
        Ok(Self { root })
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A folder in the cache that is not an entry (downloads, logs); made if it is not there.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let dir = self.root.join(name);
        fs::create_dir_all(&dir).map_err(io("create", &dir))?;
        Ok(dir)
    }

    /// The finished entry, if there is one with this very key.
    pub fn get(&self, kind: &str, key: &Key) -> Option<PathBuf> {
        let dir = self.entry(kind, key);
        let written = fs::read_to_string(dir.join(KEY_FILE)).ok()?;
        (written.trim() == key.hex()).then_some(dir)
    }

    /// The entry, made by `make` in a work folder if it is not there. `make` may find there what an earlier, unfinished
    /// run left; on success the folder's content becomes the entry.
    pub fn get_or_make(
        &self,
        kind: &str,
        key: &Key,
        progress: &dyn Progress,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        if let Some(dir) = self.get(kind, key) {
            return Ok(dir);
        }
        let _lock = self.lock(&name(kind, key), progress)?;
        if let Some(dir) = self.get(kind, key) {
            return Ok(dir);
        }
        let work = self.folder(&format!("work/{}", name(kind, key)))?;
        make(&work)?;
        self.publish(&work, kind, key)
    }

    /// Removes an entry and what an unfinished run left of it.
    pub fn forget(&self, kind: &str, key: &Key, progress: &dyn Progress) -> Result<()> {
        let _lock = self.lock(&name(kind, key), progress)?;
        remove(&self.entry(kind, key))?;
        remove(&self.root.join("work").join(name(kind, key)))
    }

    /// Waits for the lock `name`; it is released on drop, and by the system if the process dies.
    pub fn lock(&self, name: &str, progress: &dyn Progress) -> Result<Lock> {
        let path = self.folder("locks")?.join(name);
        let mut file = File::create(&path).map_err(io("create", &path))?;
        let mut signals = Signals::hold();
        for round in 0u32.. {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Lock(lock)),
                Err((back, nix::Error::EWOULDBLOCK | nix::Error::EINTR)) => file = back,
                Err((_, errno)) => return Err(io("lock", &path)(errno.into())),
            }
            if round == 0 {
                progress.note(&format!("another relink is making {name}; waiting for it"));
            }
            signals.check()?;
            sleep(Duration::from_millis(100));
        }
        unreachable!("the loop above has no end")
    }

    fn entry(&self, kind: &str, key: &Key) -> PathBuf {
        self.root.join(name(kind, key))
    }

    /// Turns a work folder into the entry. A folder of that name without the right key is no entry and gives way.
    fn publish(&self, work: &Path, kind: &str, key: &Key) -> Result<PathBuf> {
        let dir = self.entry(kind, key);
        let key_file = work.join(KEY_FILE);
        fs::write(&key_file, key.hex()).map_err(io("write", &key_file))?;
        remove(&dir)?;
        fs::rename(work, &dir).map_err(io("publish", &dir))?;
        Ok(dir)
    }
}

/// A held lock.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "held for its drop, which unlocks")] Flock<File>);

fn name(kind: &str, key: &Key) -> String {
    format!("{kind}-{}", key.short())
}

/// Removes a file or folder with all it holds; one that is not there is fine.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let result = match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => return Ok(()),
    };
    result.map_err(io("remove", path))
}

/// Writes a file so that it is there whole or not at all, even for readers without a lock.
pub(crate) fn write_whole(path: &Path, text: &str) -> Result<()> {
    put(path, text.as_bytes(), 0o666)
}

/// The same, for a file that nobody but this user may write, whatever the umask is.
pub(crate) fn write_own(path: &Path, bytes: &[u8]) -> Result<()> {
    put(path, bytes, 0o644)
}

/// A file that is mapped keeps what it has: the new one takes its name.
fn put(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    // Private by default otherwise; the umask still applies.
    let open = Permissions::from_mode(mode);
    let mut file = Builder::new().permissions(open).tempfile_in(dir).map_err(io("create a file in", dir))?;
    std::io::Write::write_all(&mut file, bytes).map_err(io("write", path))?;
    file.persist(path).map_err(|e| io("write", path)(e.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::progress::Silent;
    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().to_path_buf()).unwrap();
        (dir, cache)
    }

    #[test]
    fn places_that_make_cannot_handle_are_refused() {
        for bad in ["relative", "/with blank", "/with$dollar", "/a:b"] {
            assert_eq!(Cache::at(bad.into()).unwrap_err().code(), "E0702", "{bad}");
        }
    }

    #[test]
    fn an_entry_is_made_once_and_taken_again() {
        let (_dir, cache) = cache();
        let key = KeyBuilder::new().add("x", "1").finish();
        let made = cache.get_or_make("t", &key, &Silent, |w| write_whole(&w.join("f"), "hi")).unwrap();
        assert_eq!(fs::read_to_string(made.join("f")).unwrap(), "hi");
        let again = cache.get_or_make("t", &key, &Silent, |_| panic!("made twice")).unwrap();
        assert_eq!(made, again);
    }

    #[test]
    fn a_failed_make_publishes_nothing_but_keeps_its_work() {
        let (_dir, cache) = cache();
        let key = KeyBuilder::new().add("x", "2").finish();
        let failed = cache.get_or_make("t", &key, &Silent, |work| {
            write_whole(&work.join("half"), "1")?;
            Err(KitError::Unsupported { why: "test".into() })
        });
        assert!(failed.is_err());
        assert_eq!(cache.get("t", &key), None);
        let made = cache.get_or_make("t", &key, &Silent, |work| {
            assert!(work.join("half").exists());
            Ok(())
        });
        assert!(made.unwrap().join("half").exists());
    }

    #[test]
    fn an_entry_with_another_key_is_not_taken() {
        let (_dir, cache) = cache();
        let key = KeyBuilder::new().add("x", "3").finish();
        let dir = cache.get_or_make("t", &key, &Silent, |_| Ok(())).unwrap();
        fs::write(dir.join(KEY_FILE), "0".repeat(64)).unwrap();
        assert_eq!(cache.get("t", &key), None);
        let made = cache.get_or_make("t", &key, &Silent, |work| write_whole(&work.join("new"), "")).unwrap();
        assert!(made.join("new").exists());
    }

    #[test]
    fn a_second_taker_waits_for_the_lock() {
        let (_dir, cache) = cache();
        let lock = cache.lock("l", &Silent).unwrap();
        let other = cache.clone();
        let waiter = std::thread::spawn(move || other.lock("l", &Silent).map(|_| std::time::Instant::now()));
        sleep(Duration::from_millis(250));
        let released = std::time::Instant::now();
        drop(lock);
        assert!(waiter.join().unwrap().unwrap() >= released);
    }
}
