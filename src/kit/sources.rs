//! From the machine's apt sources to a private list: only Debian's own bookworm archives, with sources (pure).

use std::fmt::Write;

/// The suites that are Debian 12.
const SUITES: [&str; 3] = ["bookworm", "bookworm-updates", "bookworm-security"];

/// One archive: the fields of a deb822 stanza (sources.list(5)), names in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Archive {
    fields: Vec<(String, String)>,
}

impl Archive {
    fn get(&self, name: &str) -> &str {
        self.fields.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    fn words(&self, name: &str) -> impl Iterator<Item = &str> {
        self.get(name).split_whitespace()
    }

    /// Whether this is one of Debian's own archives, and one that offers packages for bookworm.
    fn is_debian_12(&self) -> bool {
        let signed_by = self.get("signed-by");
        // An archive of somebody else's may call its suite bookworm too, but has its own key.
        let own_key = signed_by.is_empty() || signed_by.contains("debian") || signed_by.contains("BEGIN PGP");
        self.get("enabled") != "no"
            && own_key
            && self.words("types").any(|t| t.starts_with("deb"))
            && self.words("components").any(|c| c == "main")
            && self.words("suites").any(|s| SUITES.contains(&s))
    }

    /// The stanza for the private list: packages and sources, bookworm's suites, component main.
    fn stanza(&self) -> String {
        let suites: Vec<&str> = self.words("suites").filter(|s| SUITES.contains(s)).collect();
        let mut text = format!("Types: deb deb-src\nSuites: {}\nComponents: main\n", suites.join(" "));
        for (name, value) in &self.fields {
            if !["types", "suites", "components", "enabled"].contains(&name.as_str()) {
                let _ = writeln!(text, "{}: {value}", title(name));
            }
        }
        text
    }
}

/// The private list, in deb822 form, from the text of all lists of the machine. `lines` are the `.list` files,
/// `stanzas` the `.sources` files. `None` if no archive of Debian 12 is among them.
pub fn private_list(lines: &str, stanzas: &str) -> Option<String> {
    let archives = parse_lines(lines).into_iter().chain(parse_stanzas(stanzas));
    let mut out: Vec<String> = archives.filter(Archive::is_debian_12).map(|a| a.stanza()).collect();
    out.sort();
    out.dedup();
    (!out.is_empty()).then(|| out.join("\n"))
}

/// The address of the archive of bookworm itself, not of its security updates, in a list that [`private_list`] made.
pub fn main_archive(list: &str) -> Option<String> {
    let archives = parse_stanzas(list);
    let main = archives.iter().find(|archive| archive.words("suites").any(|suite| suite == SUITES[0]))?;
    let uri = main.words("uris").next()?;
    Some(uri.trim_end_matches('/').to_owned())
}

/// One-line form: `deb [option=value …] URI SUITE COMPONENT…`.
fn parse_lines(text: &str) -> Vec<Archive> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Archive> {
    let line = line.split('#').next()?.trim();
    let (kind, rest) = line.split_once(char::is_whitespace)?;
    let rest = rest.trim();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let mut fields = vec![
        ("types".into(), kind.into()),
        ("uris".into(), words.next()?.into()),
        ("suites".into(), words.next()?.into()),
        ("components".into(), words.collect::<Vec<_>>().join(" ")),
    ];
    fields.extend(options.split_whitespace().filter_map(option));
    Some(Archive { fields })
}

/// `arch=amd64,i386` as a deb822 field.
fn option(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    let name = match name {
        "arch" => "architectures",
        "lang" => "languages",
        "target" => "targets",
        other => other,
    };
    Some((name.into(), value.replace(',', " ")))
}

/// deb822 form: stanzas divided by blank lines, fields that go on in lines that begin with a blank.
fn parse_stanzas(text: &str) -> Vec<Archive> {
    let mut archives = vec![Archive::default()];
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        if line.trim().is_empty() {
            archives.push(Archive::default());
        } else if let Some(archive) = archives.last_mut() {
            add_line(&mut archive.fields, line);
        }
    }
    archives
}

fn add_line(fields: &mut Vec<(String, String)>, line: &str) {
    if line.starts_with([' ', '\t']) {
        if let Some((_, value)) = fields.last_mut() {
            value.push('\n');
            value.push_str(line);
        }
    } else if let Some((name, value)) = line.split_once(':') {
        fields.push((name.trim().to_ascii_lowercase(), value.trim().into()));
    }
}

/// `signed-by` as `Signed-By`.
fn title(name: &str) -> String {
    let upper = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
    name.split('-').filter(|w| w.is_ascii() && !w.is_empty()).map(upper).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_stanzas_with_sources() {
        let lines = "# a remark\ndeb [arch=amd64,i386 signed-by=/k/debian-archive.gpg] http://m/debian bookworm main contrib # x\n";
        assert_eq!(
            private_list(lines, "").unwrap(),
            "Types: deb deb-src\nSuites: bookworm\nComponents: main\nUris: http://m/debian\nArchitectures: amd64 i386\nSigned-By: /k/debian-archive.gpg\n"
        );
    }

    #[test]
    fn stanzas_keep_inline_keys_and_lose_other_suites() {
        let text = "Types: deb\nURIs: http://m/debian\nSuites: bookworm trixie bookworm-updates\nComponents: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n";
        let list = private_list("", text).unwrap();
        assert!(list.contains("Suites: bookworm bookworm-updates\n"), "{list}");
        assert!(list.contains("Signed-By: \n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n"), "{list}");
    }

    #[test]
    fn other_archives_are_left_out() {
        let lines = "deb https://x/node_20.x nodistro main\ndeb https://x/docker bookworm stable\n\
                     deb [signed-by=/k/vendor.gpg] https://x/vendor bookworm main\ndeb http://m/debian sid main\n";
        assert_eq!(private_list(lines, ""), None);
        let disabled = "Enabled: no\nTypes: deb\nURIs: http://m\nSuites: bookworm\nComponents: main\n";
        assert_eq!(private_list("", disabled), None);
    }

    #[test]
    fn the_main_archive_is_not_that_of_updates() {
        let lines = "deb http://m/sec bookworm-security main\ndeb http://m/debian/ bookworm main\n";
        let list = private_list(lines, "").unwrap();
        assert_eq!(main_archive(&list).as_deref(), Some("http://m/debian"));
        assert_eq!(main_archive(""), None);
    }

    #[test]
    fn doubles_are_told_once() {
        let line = "deb http://m/debian bookworm main\ndeb-src http://m/debian bookworm main\n";
        assert_eq!(private_list(line, "").unwrap().matches("Types").count(), 1);
    }

    #[test]
    fn odd_text_is_no_archive() {
        for text in ["deb", "deb [arch=x", "deb http://m", ":", "\u{e9}-x: y\n", "deb [a=b] http://m/ ./"] {
            assert_eq!(private_list(text, text), None, "{text}");
        }
    }
}
