//! Which script a node was started for, and whether that is one that only starts others: a package manager or a process manager, which has a V8 and
//! is not what a user means.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Options of node's that take the next word as their value. Others are followed by a script, or have it after a sign (`--name=value`).
const VALUED: [&str; 22] = [
    "-r",
    "--require",
    "--import",
    "--loader",
    "--experimental-loader",
    "-C",
    "--conditions",
    "--env-file",
    "--env-file-if-exists",
    "--icu-data-dir",
    "--title",
    "--input-type",
    "--experimental-default-type",
    "--disable-warning",
    "--redirect-warnings",
    "--openssl-config",
    "--watch-path",
    "--stack-trace-limit",
    "--max-http-header-size",
    "--dns-result-order",
    "--unhandled-rejections",
    "--inspect-port",
];

/// Packages whose programs start others, by the names in their package.json.
const RUNNERS: [&str; 30] = [
    "npm",
    "npx",
    "yarn",
    "@yarnpkg/cli",
    "@yarnpkg/cli-dist",
    "pnpm",
    "@pnpm/exe",
    "corepack",
    "nodemon",
    "pm2",
    "forever",
    "forever-monitor",
    "concurrently",
    "npm-run-all",
    "npm-run-all2",
    "cross-env",
    "cross-env-shell",
    "dotenv-cli",
    "env-cmd",
    "nx",
    "turbo",
    "lerna",
    "tsx",
    "ts-node-dev",
    "node-dev",
    "supervisor",
    "foreman",
    "start-server-and-test",
    "wireit",
    "@antfu/ni",
];

/// Files of such programs that lie outside of their packages (a yarn that a project has in its own folder), up to a version.
const RUNNER_FILES: [&str; 7] = ["npm-cli", "npx-cli", "yarn", "yarnpkg", "pnpm", "pnpx", "corepack"];

/// What a node does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// It runs this script.
    Script(PathBuf),
    /// It only starts others; what it is called.
    Runner(String),
    /// It evaluates a text, reads a script from its input, or talks to a terminal.
    Other,
}

/// What a node with this command line (without its name) does. `variable` is its environment, `folder` where it was started.
pub fn work(args: &[OsString], variable: &dyn Fn(&str) -> Option<OsString>, folder: &Path) -> Work {
    let Some(script) = main_script(args) else { return without_script(args) };
    let script = match script {
        Ok(script) => resolved(&folder.join(script)),
        Err(work) => return work,
    };
    if let Some(inside) = in_process_manager(&script, variable) {
        return Work::Script(inside);
    }
    match runner(&script) {
        Some(name) => Work::Runner(name),
        None => Work::Script(script),
    }
}

/// The script in a command line, or what is done without one.
fn main_script(args: &[OsString]) -> Option<Result<&Path, Work>> {
    let mut rest = args.iter();
    while let Some(word) = rest.next() {
        let bytes = word.as_bytes();
        if word == "--" {
            return rest.next().map(|script| Ok(Path::new(script)));
        }
        if !bytes.starts_with(b"-") {
            // `node inspect script`: a debugger, which starts the script in a node of its own.
            let debugger = word == "inspect" && rest.clone().next().is_some();
            return Some(if debugger {
                Err(Work::Runner("node inspect".into()))
            } else {
                Ok(Path::new(word))
            });
        }
        if starts_others(word) {
            return Some(Err(Work::Runner(format!("node {}", word.to_string_lossy()))));
        }
        if is_text(word) || bytes == b"-" {
            return None;
        }
        if VALUED.iter().any(|option| word == option) {
            rest.next();
        }
    }
    None
}

/// Options with which node starts others and runs nothing itself.
fn starts_others(word: &OsStr) -> bool {
    let text = word.to_string_lossy();
    let name = text.split('=').next().unwrap_or_default();
    ["--run", "--watch", "--watch-path", "--test"].contains(&name)
}

fn is_text(word: &OsStr) -> bool {
    ["-e", "--eval", "-p", "--print", "-pe", "-i", "--interactive", "-v", "--version", "-h", "--help"]
        .iter()
        .any(|option| word == *option)
}

fn without_script(args: &[OsString]) -> Work {
    let runs = args.iter().find(|word| starts_others(word));
    runs.map_or(Work::Other, |word| Work::Runner(format!("node {}", word.to_string_lossy())))
}

/// As node does: the file itself, whatever links lead to it, also without its ending.
fn resolved(path: &Path) -> PathBuf {
    let with = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let candidates = ["", ".js", "/index.js"].map(with);
    let found = candidates.iter().find_map(|path| path.canonicalize().ok().filter(|p| p.is_file()));
    found.unwrap_or_else(|| path.to_owned())
}

/// The script that pm2 runs in the process that it made for it, as it tells by the environment.
fn in_process_manager(script: &Path, variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let name = script.file_name()?.to_str()?;
    let contains = name.starts_with("ProcessContainer") && package(script).as_deref() == Some("pm2");
    contains.then(|| variable("pm_exec_path").map(PathBuf::from)).flatten()
}

/// The name of the runner that a script is the program of.
fn runner(script: &Path) -> Option<String> {
    let stem = script.file_stem()?.to_str()?;
    let plain = stem.trim_end_matches(|c: char| c.is_ascii_digit() || ".-".contains(c));
    if RUNNER_FILES.contains(&plain) {
        return Some(plain.trim_end_matches("-cli").to_owned());
    }
    package(script).filter(|name| RUNNERS.contains(&&**name))
}

/// The name in the nearest package.json that has one.
fn package(script: &Path) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Package {
        name: Option<String>,
    }
    let name = |folder: &Path| {
        let text = std::fs::read_to_string(folder.join("package.json")).ok()?;
        serde_json::from_str::<Package>(&text).ok()?.name
    };
    script.ancestors().skip(1).find_map(name)
}

/// Whether a name that a user has given means this script: its last components are those of the name.
pub fn is_meant(name: &str, script: &Path) -> bool {
    let wanted = Path::new(name.strip_prefix("./").unwrap_or(name));
    !name.is_empty() && script.ends_with(wanted)
}

/// The words of a process's command line, as `/proc/PID/cmdline` has them.
pub fn words(bytes: &[u8]) -> Vec<OsString> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    bytes.split(|b| *b == 0).map(|word| OsString::from_vec(word.to_vec())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(line: &[&str], folder: &Path) -> Work {
        let args: Vec<OsString> = line.iter().map(OsString::from).collect();
        work(&args, &|name| (name == "pm_exec_path").then(|| "/srv/app/server.js".into()), folder)
    }

    #[test]
    fn the_script_is_found_behind_options() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("a folder");
        std::fs::write(root.join("server.js"), "").expect("written");
        std::os::unix::fs::symlink(root.join("server.js"), root.join("link")).expect("linked");
        let server = Work::Script(root.join("server.js"));
        for line in [
            &["server.js", "--watch"][..],
            &["--no-warnings", "-r", "./x.js", "--import=y", "server", "-e"],
            &["--env-file", ".env", "--", "server.js"],
            &["./link"],
        ] {
            assert_eq!(seen(line, &root), server, "{line:?}");
        }
        for line in [&["-e", "server.js"][..], &["-p", "1"], &[], &["-"], &["--interactive"]] {
            assert_eq!(seen(line, &root), Work::Other, "{line:?}");
        }
        for line in
            [&["--watch", "server.js"][..], &["--run", "start"], &["--test"], &["inspect", "server.js"]]
        {
            assert!(matches!(seen(line, &root), Work::Runner(_)), "{line:?}");
        }
    }

    #[test]
    fn runners_are_known_by_their_package_or_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("a folder");
        let file = |name: &str, text: &str| {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(&path, text).expect("written");
        };
        file("nodemon/package.json", r#"{"name": "nodemon"}"#);
        file("nodemon/bin/nodemon.js", "");
        file("pm2/package.json", r#"{"name": "pm2"}"#);
        file("pm2/bin/package.json", r#"{"type": "commonjs"}"#);
        file("pm2/bin/pm2", "");
        file("pm2/lib/ProcessContainerFork.js", "");
        file("app/package.json", r#"{"name": "app"}"#);
        file("app/.yarn/releases/yarn-3.6.1.cjs", "");
        file("app/server.js", "");
        let runner = |name: &str| Work::Runner(name.into());
        assert_eq!(seen(&["nodemon/bin/nodemon.js", "server.js"], &root), runner("nodemon"));
        assert_eq!(seen(&["pm2/bin/pm2", "start"], &root), runner("pm2"));
        assert_eq!(seen(&["app/.yarn/releases/yarn-3.6.1.cjs", "start"], &root), runner("yarn"));
        assert_eq!(
            seen(&["pm2/lib/ProcessContainerFork.js"], &root),
            Work::Script("/srv/app/server.js".into())
        );
        assert_eq!(seen(&["app/server.js"], &root), Work::Script(root.join("app/server.js")));
    }

    #[test]
    fn a_name_means_the_end_of_a_path() {
        let script = Path::new("/srv/app/server.js");
        for (name, meant) in [
            ("server.js", true),
            ("app/server.js", true),
            ("./server.js", true),
            ("erver.js", false),
            ("server", false),
            ("", false),
        ] {
            assert_eq!(is_meant(name, script), meant, "{name}");
        }
    }
}
