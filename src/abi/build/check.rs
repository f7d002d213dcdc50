//! What a V8's data file must hold beyond its form.

use super::{full, minor, Data, Headers, V8};

impl Data {
    /// What is wrong in the file of a V8, by field.
    pub(super) fn check(&self, v8: &V8) -> Result<(), String> {
        let at = |field: &str, why: &str| Err(format!("v8/{}.toml: {field}: {why}", v8.stem()));
        if v8.node.is_some() == v8.embedder.is_some() {
            return at("node", "a V8 has this table or `embedder`");
        }
        if full(v8.full()).is_none_or(|n| (n[0], n[1]) != v8.minor) {
            return at("node.v8, embedder.v8", "it is no version of this V8, MAJOR.MINOR.BUILD.PATCH");
        }
        let is_oldest_guests = self.lines.first().is_some_and(|line| line.minor() == v8.minor);
        match (&v8.after, &v8.before) {
            (None, None) if is_oldest_guests => {}
            (Some(after), None) => {
                let Some(after) = minor(after).filter(|after| *after < v8.minor) else {
                    return at("after", "it is no earlier V8, MAJOR.MINOR");
                };
                if let Some(other) = self.v8s.iter().find(|o| after < o.minor && o.minor < v8.minor) {
                    return at("after", &format!("there is V8 {}.{} between", other.minor.0, other.minor.1));
                }
            }
            (None, Some(before))
                if self.lines.iter().any(|line| line.v8 == *before && line.minor() > v8.minor) => {}
            (None, Some(_)) => return at("before", "it is the V8 of no later guest line"),
            _ => {
                return at(
                    "after",
                    "a V8 has this field or `before`, and only the oldest guest line's has neither",
                )
            }
        }
        for (table, changes) in [("changes", &v8.changes), ("lacks", &v8.lacks)] {
            for change in changes {
                let of_lines = |text: &String| self.lines.iter().any(|line| line.v8 == *text);
                if !of_lines(&change.guests_from)
                    || change.guests_until.as_ref().is_some_and(|u| !of_lines(u))
                {
                    let field = format!("{table}.guests_from, guests_until (\"{}\")", change.what);
                    return at(&field, "no guest line has that V8");
                }
            }
        }
        for rule in &v8.bridged {
            if !rule.guests.iter().all(|node| self.lines.iter().any(|line| line.node == *node)) {
                return at(&format!("bridged.guests (\"{}\")", rule.by), "there is no such guest line");
            }
        }
        for proven in &v8.proven {
            if full(&proven.v8).is_none_or(|n| (n[0], n[1]) != v8.minor) {
                return at("proven.v8", "it is no version of this V8");
            }
        }
        match &v8.headers {
            None if self.units().any(|(_, host)| host == v8.minor) => {
                at("headers", "units need them, and they are not there")
            }
            Some(h) if h.of_crate.is_some() != v8.embedder.is_some() => {
                at("headers.crate", "it is for a V8 that no Node has, and is needed there")
            }
            Some(h) if h.inspector.is_some() != v8.node.is_some() => {
                at("headers.inspector", "it is for a V8 of a Node's, and is needed there")
            }
            Some(h)
                if [&h.sha256]
                    .into_iter()
                    .chain(h.inspector.as_ref().map(|i| &i.sha256))
                    .any(|s| s.len() != 64) =>
            {
                at("headers", "a SHA-256 has 64 digits")
            }
            Some(Headers { inspector: Some(i), .. }) if i.pool.is_some() == i.of_crate.is_some() => {
                at("headers.inspector", "it has either `pool` or `crate`")
            }
            _ => Ok(()),
        }
    }
}
