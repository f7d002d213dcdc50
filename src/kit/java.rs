//! Java for the package in shim/java: the machine's JDK, or else Debian's, and Debian's JNA, unpacked in the cache.

use super::cache;
use super::error::{io, Result};
use super::extra_hosts::debian;
use super::progress::Progress;
use super::run::find;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Where everything is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Java {
    /// The compiler.
    pub javac: PathBuf,
    /// The virtual machine.
    pub java: PathBuf,
    /// JNA's classes.
    pub jna: PathBuf,
    /// The folder with JNA's library (`java.library.path`, with `-Djna.nosys=false`: Debian looks in its own places first).
    pub jna_library: PathBuf,
}

/// Debian's JDK and the libraries that its machine is linked with.
const JDK: [&str; 4] = ["openjdk-17-jdk-headless", "openjdk-17-jre-headless", "libgcc-s1", "zlib1g"];
const JNA: [&str; 2] = ["libjna-java", "libjna-jni"];
/// Where the JDK lies in its packages, and where its settings do, which it has links to.
const JDK_HOME: &str = "usr/lib/jvm/java-17-openjdk-amd64";

/// The JDK of the machine, or [`unpacked_jdk`], and JNA.
pub fn java(progress: &dyn Progress) -> Result<Java> {
    let (javac, java) = match (find("javac"), find("java")) {
        (Some(javac), Some(java)) => (javac, java),
        _ => unpacked_jdk(progress)?,
    };
    let jna = debian("jna", &JNA, progress)?;
    let jna_library = jna.join("usr/lib").join(relink_abi::kept::triplet()).join("jni");
    Ok(Java { javac, java, jna: jna.join("usr/share/java/jna.jar"), jna_library })
}

/// Compiler and virtual machine of Debian's JDK, in the cache.
pub fn unpacked_jdk(progress: &dyn Progress) -> Result<(PathBuf, PathBuf)> {
    let dir = debian("jdk", &JDK, progress)?;
    let home = dir.join(JDK_HOME);
    settle_links(&dir, &home)?;
    Ok((home.join("bin/javac"), home.join("bin/java")))
}

/// Installed, the JDK has links into /etc; unpacked, they have to lead into the folder that it lies in.
fn settle_links(root: &Path, folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(io("read", folder))?.flatten() {
        let path = entry.path();
        let Ok(target) = fs::read_link(&path) else {
            if path.is_dir() {
                settle_links(root, &path)?;
            }
            continue;
        };
        if let Ok(below) = target.strip_prefix("/etc") {
            cache::remove(&path)?;
            symlink(root.join("etc").join(below), &path).map_err(io("link", &path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_into_etc_lead_into_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let (lib, etc) = (dir.path().join("jdk/lib"), dir.path().join("etc"));
        fs::create_dir_all(&lib).unwrap();
        fs::create_dir_all(etc.join("java")).unwrap();
        fs::write(etc.join("java/jvm.cfg"), "-server").unwrap();
        symlink("/etc/java/jvm.cfg", lib.join("jvm.cfg")).unwrap();
        symlink("jvm.cfg", lib.join("other")).unwrap();
        for _ in 0..2 {
            settle_links(dir.path(), &dir.path().join("jdk")).unwrap();
            assert_eq!(fs::read_to_string(lib.join("other")).unwrap(), "-server");
        }
    }
}
