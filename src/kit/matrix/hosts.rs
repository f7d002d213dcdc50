//! The hosts of the matrix: how each is fetched and started. All of them use their own V8, tell nothing of Relink, and end by
//! themselves once the guest's report is there (the game server when it is told to).

use crate::cache::write_whole;
use crate::component;
use crate::error::{io, KitError, Result};
use crate::extra_hosts::{self, Wheel, IV8, JSRUN, MINI_RACER, STPYV8, STPYV8_12_9, V8_PYTHON};
use crate::hosts;
use crate::progress::Progress;
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use relink_abi::line::NODES;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Official Nodes, as hosts: those of each V8's data file, oldest first.
fn nodes() -> Vec<&'static str> {
    let mut versions: Vec<_> =
        NODES.iter().flat_map(|node| node.matrix.iter().copied().chain([node.version])).collect();
    versions.sort_by_key(|version| {
        version.split('.').map(str::parse).collect::<std::result::Result<Vec<u32>, _>>().ok()
    });
    versions
}

/// The interpreter that the wheels are for.
const PYTHON: &str = "/usr/bin/python3.11";

/// Ends with 5 when the report beside the script is there.
const NODE_SCRIPT: &str = include_str!("../../../fixtures/hosts/matrix.js");
/// Imports the module that it is given, evaluates with it, and ends with 7 when the report is there.
const PYTHON_SCRIPT: &str = include_str!("../../../fixtures/hosts/matrix.py");
/// Evaluates with R's V8 package, and ends with 6 when the report is there.
const R_SCRIPT: &str = include_str!("../../../fixtures/hosts/matrix.R");

/// One host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name on the command line and in the table.
    pub name: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Gameserver,
    Node(&'static str),
    R,
    Python(&'static str, &'static Wheel),
    Component,
}

/// A host that is ready to be started.
#[derive(Debug)]
pub struct Prepared {
    /// The command, without anything of Relink's.
    pub command: Command,
    /// The file name of the program, if its V8 comes late.
    pub late: Option<&'static str>,
    /// What it ends with.
    pub status: i32,
    /// Whether it has to be told to end.
    pub endless: bool,
}

/// All hosts, in the order of the table.
pub fn all() -> Vec<Host> {
    let nodes = nodes().into_iter().map(|version| (format!("node-{version}"), Kind::Node(version)));
    let others = [
        ("gameserver", Kind::Gameserver),
        ("r", Kind::R),
        ("stpyv8", Kind::Python("STPyV8", &STPYV8)),
        ("stpyv8-12.9", Kind::Python("STPyV8", &STPYV8_12_9)),
        ("iv8", Kind::Python("iv8", &IV8)),
        ("mini-racer", Kind::Python("py_mini_racer", &MINI_RACER)),
        ("v8-python", Kind::Python("v8", &V8_PYTHON)),
        ("jsrun", Kind::Python("jsrun", &JSRUN)),
        (component::HOST, Kind::Component),
    ];
    let others = others.into_iter().map(|(name, kind)| (name.to_owned(), kind));
    nodes.chain(others).map(|(name, kind)| Host { name, kind }).collect()
}

impl Host {
    /// What it is, for people.
    pub fn what(&self) -> String {
        match &self.kind {
            Kind::Gameserver => "a C++ program linked with Debian 12's libnode108".into(),
            Kind::Node(version) => format!("the official node {version}"),
            Kind::R => "R with r-cran-v8 (Debian 12)".into(),
            Kind::Python(_, wheel) => format!("CPython 3.11 with {}", wheel.package()),
            Kind::Component => "a C++ program with a component build of V8, compiled with libc++".into(),
        }
    }

    /// Its version, if it is an official Node.
    pub fn node(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Node(version) => Some(version),
            _ => None,
        }
    }

    /// Whether it has the V8 (major and minor version) for which `node` is the official Node that stands for it, if one does.
    pub fn has_v8(&self, v8: (u32, u32), node: Option<&str>) -> bool {
        match self.kind {
            Kind::Node(version) => Some(version) == node,
            Kind::Python(_, wheel) => wheel.v8 == v8,
            Kind::Component => component::v8().is_ok_and(|dir| component::version(&dir) == Some(v8)),
            // Debian's libnode108: the oldest guests' own.
            Kind::Gameserver | Kind::R => false,
        }
    }

    /// Whether it belongs to the whole matrix here: all but one that nobody fetches.
    pub fn can_be_had(&self) -> bool {
        self.kind != Kind::Component || component::is_there()
    }

    /// The features that its V8 has not.
    pub fn lacks(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Python(_, wheel) => wheel.lacks,
            // Its ICU has no data file.
            Kind::Component => &["intl"],
            _ => &[],
        }
    }

    /// Fetches it, and writes its script into `folder`, where the report will be.
    ///
    /// # Errors
    /// A part can't be fetched, or the machine lacks a program.
    pub fn prepare(&self, folder: &Path, progress: &dyn Progress) -> Result<Prepared> {
        match self.kind {
            Kind::Gameserver => Ok(endless(hosts::gameserver(progress)?.executable)),
            Kind::Node(version) => node(version, folder, progress),
            Kind::R => r(folder, progress),
            Kind::Python(module, wheel) => python(module, wheel, folder, progress),
            Kind::Component => Ok(endless(component::gameserver(progress)?)),
        }
    }
}

fn prepared(command: Command, status: i32) -> Prepared {
    Prepared { command, late: None, status, endless: false }
}

fn script(folder: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    write_whole(&path, text)?;
    Ok(path)
}

fn endless(gameserver: PathBuf) -> Prepared {
    let mut command = Command::new(gameserver);
    command.args(["--fps", "50", "--frames", "100000000"]);
    Prepared { endless: true, ..prepared(command, 128 + Signal::SIGTERM as i32) }
}

fn node(version: &str, folder: &Path, progress: &dyn Progress) -> Result<Prepared> {
    let mut command = Command::new(hosts::official_node(version, progress)?);
    command.arg(script(folder, "host.js", NODE_SCRIPT)?);
    Ok(prepared(command, 5))
}

fn r(folder: &Path, progress: &dyn Progress) -> Result<Prepared> {
    let r = extra_hosts::r(progress)?;
    let libv8 = hosts::libv8(progress)?;
    let folders = r.libraries.iter().chain([&libv8.lib_dir]);
    let folders: Vec<_> = folders.map(|folder| folder.display().to_string()).collect();
    let mut command = Command::new(&r.executable);
    command
        .args(["--vanilla", "--no-echo", "-f"])
        .arg(script(folder, "host.R", R_SCRIPT)?)
        .arg("--args")
        .arg(folder);
    command.env("R_HOME", &r.home).env("R_SHARE_DIR", &r.share).env("R_DEFAULT_PACKAGES", "utils");
    command.env("LD_LIBRARY_PATH", folders.join(":"));
    Ok(Prepared { late: Some("R"), ..prepared(command, 6) })
}

fn python(module: &str, wheel: &Wheel, folder: &Path, progress: &dyn Progress) -> Result<Prepared> {
    if !Path::new(PYTHON).is_file() {
        return Err(KitError::MissingTools {
            tools: vec![PYTHON.into()],
            remedy: "apt-get install -y python3.11".into(),
        });
    }
    let packages = extra_hosts::wheel_modules(wheel, progress)?;
    let mut command = Command::new(PYTHON);
    command.arg(script(folder, "host.py", PYTHON_SCRIPT)?).arg(packages).arg(module);
    Ok(Prepared { late: Some("python3.11"), ..prepared(command, 7) })
}

impl Prepared {
    /// Starts it, with what it prints in a file of `folder`.
    ///
    /// # Errors
    /// The system's.
    pub fn start(&mut self, folder: &Path) -> Result<std::process::Child> {
        let path = folder.join("host.out");
        let out = std::fs::File::create(&path).map_err(io("create", &path))?;
        let errors = out.try_clone().map_err(io("create", &path))?;
        self.command.stdin(Stdio::null()).stdout(out).stderr(errors);
        let program = PathBuf::from(self.command.get_program());
        self.command.spawn().map_err(io("start", &program))
    }

    /// Tells it to end, if it has to be told.
    pub fn end(&self, child: &std::process::Child) {
        if let (true, Ok(pid)) = (self.endless, i32::try_from(child.id())) {
            // It may have ended by itself; then there is nothing to be told.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }
}
