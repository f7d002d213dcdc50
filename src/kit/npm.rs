//! npm packages by the machine's npm client, checked against the integrity that it reports.

use super::cache::{self, Cache, KeyBuilder};
use super::error::{io, KitError, Result};
use super::progress::Progress;
use super::run::{missing, Program};
use sha2::{Digest, Sha512};
use std::fs;
use std::path::{Path, PathBuf};

/// What `npm pack --json` says of one package; only what is needed.
#[derive(serde::Deserialize)]
struct Packed {
    filename: String,
    integrity: String,
}

/// The unpacked package `NAME@VERSION` in the cache, keyed by name and version: npm never lets a version change.
pub fn package(cache: &Cache, name: &str, version: &str, progress: &dyn Progress) -> Result<PathBuf> {
    let key = KeyBuilder::new().add("npm", name).add("version", version).finish();
    cache.get_or_make("npm", &key, progress, |work| {
        if !missing(&["npm"]).is_empty() {
            return Err(no_npm());
        }
        progress.step(&format!("fetching {name} {version} from npm"));
        fetch(work, &format!("{name}@{version}"))
    })
}

fn no_npm() -> KitError {
    KitError::MissingTools {
        tools: vec!["npm".into()],
        remedy: "apt-get install -y --no-install-recommends npm".into(),
    }
}

fn fetch(work: &Path, package: &str) -> Result<()> {
    let failed = |why: String| KitError::Npm { package: package.into(), why };
    let args = ["pack", package, "--json", "--ignore-scripts", "--silent", "--pack-destination", "."];
    let out = match Program::fetching("npm", &format!("the npm package {package}"))?
        .args(args)
        .dir(work)
        .output()
    {
        Err(KitError::Program { message, .. }) => return Err(failed(message)),
        other => other?,
    };
    let packed = parse(&out).map_err(failed)?;
    let tarball = work.join(&packed.filename);
    let bytes = fs::read(&tarball).map_err(io("read", &tarball))?;
    check(&bytes, &packed.integrity).map_err(failed)?;
    let tar = ["-xzf".as_ref(), tarball.as_os_str(), "--strip-components=1".as_ref()];
    Program::new("tar").args(tar).dir(work).output()?;
    cache::remove(&tarball)
}

/// The one entry of npm's answer.
fn parse(json: &str) -> std::result::Result<Packed, String> {
    // Some versions of npm print notices before the JSON.
    let json = &json[json.find('[').unwrap_or(0)..];
    let list: Vec<Packed> =
        serde_json::from_str(json).map_err(|e| format!("npm's answer is not understood: {e}"))?;
    let packed = list.into_iter().next().ok_or("npm packed nothing")?;
    // The name is used as a path below the cache.
    if packed.filename.contains('/') || packed.filename.starts_with('.') {
        return Err(format!("npm names an odd file: {}", packed.filename));
    }
    Ok(packed)
}

/// Compares with an integrity string `sha512-BASE64` (Subresource Integrity).
fn check(bytes: &[u8], integrity: &str) -> std::result::Result<(), String> {
    let found = format!("sha512-{}", base64(&Sha512::digest(bytes)));
    if integrity.split_whitespace().any(|one| one == found) {
        Ok(())
    } else {
        Err(format!("its tarball is {found}, but npm reports {integrity}"))
    }
}

/// Base64 with padding (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().enumerate().fold(0u32, |word, (n, b)| word | u32::from(*b) << (16 - 8 * n));
        for n in 0..4 {
            let sign = SIGNS[(word >> (18 - 6 * n)) as usize & 63] as char;
            out.push(if n <= chunk.len() { sign } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (text, code) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(text.as_bytes()), code);
        }
    }

    #[test]
    fn a_changed_tarball_is_refused() {
        // SHA-512 of "abc" (FIPS 180-4, appendix).
        let abc =
            "sha512-3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw==";
        assert_eq!(check(b"abc", abc), Ok(()));
        assert!(check(b"abd", abc).unwrap_err().contains("npm reports"));
    }

    #[test]
    fn odd_answers_of_npm_are_refused() {
        assert!(parse("[]").is_err());
        assert!(parse("nonsense").is_err());
        assert!(parse(r#"[{"filename":"../x.tgz","integrity":"sha512-x"}]"#).is_err());
        assert!(parse("npm notice\n[{\"filename\":\"x.tgz\",\"integrity\":\"sha512-x\",\"size\":1}]").is_ok());
    }
}
