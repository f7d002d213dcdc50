//! Running Node's configure and make, with a count of what is compiled and the compiler's own words on failure.

use super::recipe::{self, Places, Recipe, TARGET};
use crate::cache::write_whole;
use crate::error::{io, KitError, Result};
use crate::progress::Progress;
use crate::run::{find, Program};
use relink_abi::note::GuestNote;
use std::fs;
use std::path::{Path, PathBuf};

/// What is to be compiled, and where.
pub struct Compilation<'a> {
    /// How the line is built.
    pub line: &'static Recipe,
    /// The ready source tree.
    pub tree: &'a Path,
    /// The folders that configure is told of.
    pub places: Places<'a>,
    /// Where output goes.
    pub log: &'a Path,
    /// How many compilers run at once.
    pub jobs: usize,
    /// For messages: "Node 18.20.4 against V8 10.2.154.26".
    pub what: String,
}

impl Compilation<'_> {
    /// Writes our recipe files, assembles the note and compiles what is added to the library.
    pub fn write_recipe(&self, note: &GuestNote) -> Result<()> {
        let dir = self.places.recipe;
        fs::create_dir_all(dir).map_err(io("create", dir))?;
        let text = recipe::note_assembly(note)
            .map_err(|e| KitError::Unsupported { why: format!("the note cannot be written: {e}") })?;
        let exports = self.line.exports();
        let mut files: Vec<(&str, &str)> = vec![
            ("exports.map", &exports),
            ("pkg-config", recipe::PKG_CONFIG),
            ("note.s", &text),
            ("security_level.c", recipe::SECURITY_LEVEL),
        ];
        files.extend(self.line.gypis().map(|(name, text)| -> (&str, &str) { (name, text) }));
        for (name, text) in files {
            write_whole(&dir.join(name), text)?;
        }
        let objects = ["-c", "-O2", "-fPIC", "note.s", "security_level.c"];
        self.run("gcc").args(objects).dir(dir).log(self.log).logged(|_| ())
    }

    /// Runs configure. Node's `configure` wrapper looks for pythons on PATH; we say which one.
    pub fn configure(&self) -> Result<()> {
        let pkg_config = format!("/bin/sh {}", self.places.recipe.join("pkg-config").display());
        let program = self.run("python3").args(["configure.py"]).args(self.line.configure_args(&self.places));
        let gyp = self.places.work.join("root/usr/lib/python3/dist-packages");
        let program =
            program.env("PKG_CONFIG", pkg_config).env("PYTHONPATH", gyp).dir(self.tree).log(self.log);
        self.explained(program.logged(|_| ()), "configure of ")
    }

    /// Compiles and links the library; returns its path.
    pub fn make(&self, module_version: u32, progress: &dyn Progress) -> Result<PathBuf> {
        let total = self.count_objects()?;
        let (mut done, mut rest) = (0, String::new());
        let program =
            self.run("make").args(["-C", "out", "BUILDTYPE=Release", &format!("-j{}", self.jobs), TARGET]);
        let result = program.dir(self.tree).log(self.log).logged(|text| {
            for line in whole_lines(&mut rest, text) {
                if let Some(object) = object_of(&line) {
                    progress.advance(done, total, object);
                    done += 1;
                }
            }
        });
        self.explained(result, "")?;
        let name = format!("lib{TARGET}.so.{module_version}");
        // The Debian tarballs of later lines leave it in a folder below.
        let places = ["out/Release", "out/Release/lib.target"].map(|dir| self.tree.join(dir).join(&name));
        let [first, second] = places;
        Ok(if first.is_file() { first } else { second })
    }

    /// How many objects make would compile now: all at first, the rest when a build goes on.
    fn count_objects(&self) -> Result<usize> {
        let program = self.run("make").args(["-n", "-C", "out", "BUILDTYPE=Release", TARGET]).dir(self.tree);
        let text = program.output().unwrap_or_default();
        Ok(text.lines().filter(|line| object_of(line).is_some()).count().max(1))
    }

    /// The compiler and tools of the system, without what a caller's environment would change in them.
    fn run(&self, name: &str) -> Program {
        let program = Program::new(find(name).unwrap_or_else(|| name.into()))
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        let clean =
            ["CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "CC", "CXX", "CPATH", "GYP_DEFINES", "MAKEFLAGS"];
        clean.into_iter().fold(program, Program::without_env)
    }

    /// A failure with the compiler's first error, the log and what was being compiled.
    fn explained(&self, result: Result<()>, step: &str) -> Result<()> {
        let Err(KitError::Program { message, .. }) = result else { return result };
        let first_error = message.split("; full log: ").next().unwrap_or_default().to_string();
        let first_error = first_error.replace(&format!("{}/", self.places.work.display()), "");
        Err(KitError::Compile { what: format!("{step}{}", self.what), first_error, log: self.log.into() })
    }
}

/// The object that a line of make's output is about, as GYP's makefiles announce it: `  CXX(target) PATH`.
fn object_of(line: &str) -> Option<&str> {
    let (before, object) = line.split_once("(target) ")?;
    let kind = before.rsplit(['\'', ' ']).next()?;
    let path = object.trim_end_matches('\'');
    ["CC", "CXX"].contains(&kind).then(|| path.rsplit_once("obj.target/").map_or(path, |(_, tail)| tail))
}

/// Takes the whole lines out of `rest` + `text`, and keeps what follows the last of them in `rest`.
fn whole_lines(rest: &mut String, text: &str) -> Vec<String> {
    rest.push_str(text);
    let end = rest.rfind('\n').map_or(0, |at| at + 1);
    let lines: String = rest.drain(..end).collect();
    lines.lines().map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compiled_objects_are_recognised_in_output_and_in_a_dry_run() {
        let object = Some("node-relink/src/env.o");
        assert_eq!(object_of("  CXX(target) /w/out/Release/obj.target/node-relink/src/env.o"), object);
        assert_eq!(
            object_of("printf '%s\\n' '  CXX(target) /w/out/Release/obj.target/node-relink/src/env.o'"),
            object
        );
        assert_eq!(object_of("  AR(target) /w/out/Release/obj.target/deps/ada/libada.a"), None);
        assert_eq!(object_of("note: declared here"), None);
    }

    #[test]
    fn lines_are_put_together_from_pieces() {
        let mut rest = String::new();
        assert_eq!(whole_lines(&mut rest, "a\nb"), ["a"]);
        assert_eq!(whole_lines(&mut rest, "c"), Vec::<String>::new());
        assert_eq!(whole_lines(&mut rest, "\nd\n"), ["bc", "d"]);
        assert_eq!(rest, "");
    }
}
