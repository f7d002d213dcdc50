//! docs/COMPATIBILITY.md.

use super::{Cell, Host, Outcome, Tests};
use std::fmt::Write as _;

/// What stands above the tables.
const HEAD: &str = "# Compatibility

Which Node runs in which host. Every line is a run of the real guest in the real host by `relink matrix`, which wrote this page: the
feature script (`fixtures/scripts/features.js`) must print there what plain Node of the same line prints, the host must go on to its
own end, and `relink check` must have said so from the files alone. *Node's own tests*: of those of a part of `test/parallel` that pass in plain Node (the
host itself, for the neutral guest 18.20.4), how many pass in the guest inside it; for Node 18 in its own executables. *V8's own*: those of the
rest that test V8 itself, which is another one there (fixtures/parity/known-v8.json). What does not fit is refused before anything is loaded, with
the code and the reason (docs/DIAGNOSTICS.md).

| result | meaning |
|---|---|
| identical | nothing that the guest's inlined code relies on differs |
| bridgeable | code of ours stands between; what is lost is listed |
| refused | the reason follows; the host went on without Node |
| failed | a defect |

*Bound in*: from the first look at the process until Node begins, without waiting for the host's V8; of a single run on a machine with other
work. Stand-ins: functions of ours in place of functions of V8 that this host's V8 lacks or that must not reach it (`relink plan` lists them).
";

/// What could not be a host here, and why.
const ABSENT: &str = "
Not in the table: Electron (npm's package has no program in it but fetches one from elsewhere), and programs whose V8 is hidden (workerd, Deno, Chromium: E0201, docs/LIMITATIONS.md).
";

/// The page for these cells.
pub fn page(cells: &[Cell], hosts: &[Host]) -> String {
    let mut text = HEAD.to_owned();
    let mut guests: Vec<&str> = cells.iter().map(|cell| cell.guest.as_str()).collect();
    guests.dedup();
    for guest in guests {
        let cells: Vec<_> = cells.iter().filter(|cell| cell.guest == guest).collect();
        table(&mut text, guest, &cells, hosts);
    }
    text + ABSENT
}

fn table(text: &mut String, guest: &str, cells: &[&Cell], hosts: &[Host]) {
    let title = match guest.split_once('-') {
        Some((line, "stock")) => format!("Debian's own libnode of Node {line}"),
        Some((line, kind)) => format!("Node {line}, built by the kit, {kind}"),
        None => format!("Node {guest}, built by the kit"),
    };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "\n## {title}");
    let _ = writeln!(
        text,
        "| host | its V8 | result | features | Node's own tests | stand-ins | lost | bound in | live probe |"
    );
    let _ = writeln!(text, "|---|---|---|---|---|---|---|---|---|");
    for cell in cells {
        let what =
            hosts.iter().find(|host| host.name == cell.host).map_or_else(|| cell.host.clone(), Host::what);
        let _ = writeln!(text, "| {what} | {} | {} |", cell.host_v8.as_deref().unwrap_or("?"), columns(cell));
    }
    let why: Vec<_> = cells.iter().filter(|cell| cell.why.is_some()).collect();
    if !why.is_empty() {
        let _ = writeln!(text);
    }
    for cell in why {
        let _ = writeln!(text, "- {}: {}", cell.host, shortened(cell.why.as_deref().unwrap_or_default()));
    }
    for cell in cells {
        for warning in &cell.warnings {
            let _ = writeln!(text, "- {}: {warning}", cell.host);
        }
    }
}

fn columns(cell: &Cell) -> String {
    if !matches!(cell.result, Outcome::Identical | Outcome::Bridgeable) {
        let code = cell.why.as_deref().and_then(|why| why.split(' ').next()).unwrap_or_default();
        return format!("{} {code} | | | | | |", name(cell.result));
    }
    let lost = if cell.degraded.is_empty() { "nothing".to_owned() } else { cell.degraded.join("; ") };
    let features = format!("{} of {}", cell.features, cell.of);
    let probe = cell.probe.as_deref().map_or_else(|| "none".into(), without_places);
    let ms = format!("{}.{} ms", cell.us / 1000, cell.us % 1000 / 100);
    let tests = cell.tests.as_ref().map_or_else(|| "not run".into(), tests_text);
    format!(
        "{} | {features} | {tests} | {} | {lost} | {ms} | {probe}",
        name(cell.result),
        cell.adapters.len()
    )
}

fn tests_text(tests: &Tests) -> String {
    let apart = if tests.of_v8 == 0 { String::new() } else { format!(" (V8's own: {})", tests.of_v8) };
    format!("{} of {}{apart}", tests.equal, tests.plain)
}

fn name(result: Outcome) -> &'static str {
    match result {
        Outcome::Identical => "identical",
        Outcome::Bridgeable => "bridgeable",
        Outcome::Refused => "refused",
        Outcome::Failed => "FAILED",
        Outcome::NotRun => "not run",
    }
}

/// A long reason, told by its first words and by what would cure it, which stands at the end.
fn shortened(why: &str) -> String {
    const LONGEST: usize = 240;
    let (first, cure) = why.rsplit_once("; ").map_or((why, None), |(first, cure)| (first, Some(cure)));
    let first = without_places(first);
    let end = first.char_indices().map(|(at, _)| at).take_while(|at| *at <= LONGEST).last().unwrap_or(0);
    let first = match first.get(..end) {
        Some(part) if first.len() > LONGEST => format!("{part} …"),
        _ => first,
    };
    cure.map_or(first.clone(), |cure| format!("{first}; {}", without_places(cure)))
}

/// A text without a place of this machine.
fn without_places(text: &str) -> String {
    text.split(' ').map(without_folders).collect::<Vec<_>>().join(" ")
}

/// A path is told by the name of its file.
fn without_folders(word: &str) -> String {
    let bare = word.trim_matches(|c: char| "\"',;:()".contains(c));
    let file = bare.starts_with('/').then(|| bare.rsplit('/').next()).flatten();
    file.map_or_else(|| word.to_owned(), |file| word.replace(bare, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_short_name_no_folder_and_keep_the_cure() {
        let why = format!("E0402 in \"/home/me/.cache/node\": {}; take another", "x ".repeat(400));
        let short = shortened(&why);
        assert!(short.starts_with("E0402 in \"node\": x x"), "{short}");
        assert!(short.ends_with(" …; take another") && short.len() < 270, "{short}");
        assert_eq!(shortened("E0401 a"), "E0401 a");
        assert_eq!(shortened("E0401 a; b"), "E0401 a; b");
    }
}
