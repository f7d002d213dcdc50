//! Debian's control files, version order and file names (pure).

use std::cmp::Ordering;

/// One stanza of a control file; only fields on one line are needed here.
#[derive(Clone, Copy, Debug)]
pub struct Stanza<'a>(&'a str);

impl<'a> Stanza<'a> {
    /// A field's value, empty if the field is not there.
    pub fn get(&self, name: &str) -> &'a str {
        let value = |line: &'a str| line.strip_prefix(name)?.strip_prefix(':').map(str::trim);
        self.0.lines().find_map(value).unwrap_or("")
    }
}

/// The stanzas of a control file.
pub fn stanzas(text: &str) -> impl Iterator<Item = Stanza<'_>> {
    text.split("\n\n").filter(|s| !s.trim().is_empty()).map(Stanza)
}

/// The name under which `apt-get download` leaves a package.
pub fn file_name(package: &str, version: &str, architecture: &str) -> String {
    format!("{package}_{}_{architecture}.deb", version.replace(':', "%3a"))
}

/// Order of versions (deb-version(7)): epoch, upstream version, revision.
pub fn compare(a: &str, b: &str) -> Ordering {
    let ((epoch_a, a), (epoch_b, b)) = (epoch(a), epoch(b));
    let ((up_a, rev_a), (up_b, rev_b)) = (revision(a), revision(b));
    epoch_a.cmp(&epoch_b).then_with(|| compare_part(up_a, up_b)).then_with(|| compare_part(rev_a, rev_b))
}

fn epoch(version: &str) -> (u64, &str) {
    version.split_once(':').map_or((0, version), |(e, rest)| (e.parse().unwrap_or(0), rest))
}

fn revision(version: &str) -> (&str, &str) {
    version.rsplit_once('-').unwrap_or((version, "0"))
}

/// Runs of other signs and runs of digits take turns.
fn compare_part<'a>(mut a: &'a str, mut b: &'a str) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let [(text_a, rest_a), (text_b, rest_b)] = [a, b].map(|s| split(s, |c| !c.is_ascii_digit()));
        let [(digits_a, next_a), (digits_b, next_b)] =
            [rest_a, rest_b].map(|s| split(s, |c| c.is_ascii_digit()));
        let number = |s: &str| s.parse::<u64>().unwrap_or(0);
        let order = compare_text(text_a, text_b).then_with(|| number(digits_a).cmp(&number(digits_b)));
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (next_a, next_b);
    }
    Ordering::Equal
}

/// `~` sorts before the end, the end before letters, letters before everything else.
fn compare_text(a: &str, b: &str) -> Ordering {
    let weight = |byte: Option<u8>| match byte {
        Some(b'~') => -1,
        None => 0,
        Some(b) if b.is_ascii_alphabetic() => i32::from(b),
        Some(b) => i32::from(b) + 256,
    };
    let weights = |s: &str| s.bytes().map(Some).chain([None]).map(weight).collect::<Vec<_>>();
    weights(a).cmp(&weights(b))
}

fn split(text: &str, while_true: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !while_true(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_sort_as_dpkg_sorts_them() {
        let rising = [
            "1.0~rc1-1",
            "1.0-1",
            "1.0-1+deb12u1",
            "1.0a-1",
            "1.9-1",
            "1.10-1",
            "18.20.4+dfsg-1~deb12u2",
            "18.20.4+dfsg-1~deb12u10",
            "18.20.4+dfsg-1",
            "1:0.1-1",
        ];
        for (n, a) in rising.iter().enumerate() {
            for (m, b) in rising.iter().enumerate() {
                assert_eq!(compare(a, b), n.cmp(&m), "{a} and {b}");
            }
        }
        assert_eq!(compare("1.0", "1.0-0"), Ordering::Equal);
    }

    #[test]
    fn fields_are_found_in_their_stanza() {
        let text = "Package: a\nVersion: 1\nSHA256: ff\n\nPackage: b\nVersion-Else: 9\nVersion: 2\n";
        let versions: Vec<_> =
            stanzas(text).map(|s| (s.get("Package"), s.get("Version"), s.get("SHA256"))).collect();
        assert_eq!(versions, [("a", "1", "ff"), ("b", "2", "")]);
        assert_eq!(file_name("zlib1g", "1:1.2-1", "amd64"), "zlib1g_1%3a1.2-1_amd64.deb");
    }
}
