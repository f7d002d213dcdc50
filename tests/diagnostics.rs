//! The table of codes (src/abi/codes.rs) is the source: docs/DIAGNOSTICS.md shows it, the code uses all of it, and nothing names another.

#[path = "support/texts.rs"]
mod texts;

use relink::codes::{Code, ALL};
use std::collections::BTreeSet;
use texts::{relative, root, texts};

/// With it the page is written.
const UPDATE: &str = "UPDATE_DIAGNOSTICS";

fn row(code: &Code) -> String {
    format!("| {} | {} | {} |", code.name, code.meaning, code.remedy)
}

/// The page with the rows of each group, which its heading names (`## E01xx`), as the table has them.
fn rendered(page: &str) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut group = "";
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            group = heading.split("xx").next().filter(|group| group.starts_with('E')).unwrap_or("");
        }
        if !line.starts_with("| E") {
            out.push(line.to_owned());
        }
        if line == "|---|---|---|" && !group.is_empty() {
            out.extend(ALL.iter().filter(|code| code.name.starts_with(group)).map(row));
        }
    }
    out.join("\n") + "\n"
}

#[test]
fn the_page_shows_the_table() {
    let place = root().join("docs/DIAGNOSTICS.md");
    let page = std::fs::read_to_string(&place).expect("the page");
    let wanted = rendered(&page);
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&place, &wanted).expect("written");
        return;
    }
    assert_eq!(page, wanted, "{UPDATE}=1 cargo test --release --test diagnostics writes it");
    for code in ALL {
        let entries = page.lines().filter(|line| *line == row(code)).count();
        assert_eq!(entries, 1, "{}: a group without a heading and table, or two", code.name);
        let without = page.replace(&(row(code) + "\n"), "");
        assert_eq!(rendered(&without), page, "{}: its row comes back", code.name);
    }
}

#[test]
fn the_table_is_in_order_and_says_something() {
    let names: Vec<&str> = ALL.iter().map(|code| code.name).collect();
    assert!(names.windows(2).all(|two| two[0] < two[1]) && names.len() > 60, "{names:?}");
    for code in ALL {
        let texts = [code.meaning, code.remedy];
        assert!(texts.iter().all(|text| text.len() > 5 && !text.contains(['|', '\n'])), "{code:?}");
    }
}

/// Whatever looks like a code, `E` and four digits, in a text.
fn mentioned(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let code = |word: &&str| {
        word.len() == 5 && word.starts_with('E') && word[1..].bytes().all(|b| b.is_ascii_digit())
    };
    words.filter(code).collect()
}

/// A file without its unit tests, which pin codes as users see them.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or_default()
}

#[test]
fn code_names_codes_by_the_table_and_uses_all_of_it() {
    let mut used = BTreeSet::new();
    let sources = [texts("src", &["rs"]), texts("shim/src", &["rs"])].concat();
    for (path, text) in sources.iter().filter(|(path, _)| !path.ends_with("codes.rs")) {
        let lines =
            without_tests(text).lines().zip(1..).filter(|(line, _)| !line.trim_start().starts_with("//"));
        for (line, number) in lines {
            for code in mentioned(line) {
                // Prose may mention one.
                let by_hand = line.contains(&format!("\"{code}"));
                assert!(!by_hand, "{}:{number}: {code} by hand; write codes::{code}", relative(path));
                if line.contains(&format!("codes::{code}")) {
                    used.insert(code);
                }
            }
        }
    }
    let unused: Vec<&str> = ALL.iter().map(|code| code.name).filter(|name| !used.contains(name)).collect();
    assert!(unused.is_empty(), "described and never used: {unused:?}");
}

#[test]
fn nothing_names_a_code_that_there_is_none_of() {
    let known: BTreeSet<&str> = ALL.iter().map(|code| code.name).collect();
    let folders: [(&str, &[&str]); 6] = [
        ("docs", &["md"]),
        ("fixtures", &["md", "c", "cc", "py", "java", "js", "json"]),
        ("shim", &["h", "cc", "js", "py", "java"]),
        ("src", &["rs"]),
        ("shim/src", &["rs"]),
        ("tests", &["rs"]),
    ];
    for (folder, endings) in folders {
        for (path, text) in texts(folder, endings) {
            let unknown: Vec<_> = mentioned(&text).into_iter().filter(|code| !known.contains(code)).collect();
            assert!(unknown.is_empty(), "{}: {unknown:?}", relative(&path));
        }
    }
}
