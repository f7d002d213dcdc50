//! Component builds: a V8 spread over several modules (GN's `is_component_build`), which lie in one folder.

use std::path::Path;

/// Whether `other` is another file in the folder of `file`.
pub fn is_neighbour(file: &Path, other: &Path) -> bool {
    file != other
        && file.parent().is_some_and(|folder| !folder.as_os_str().is_empty())
        && file.parent() == other.parent()
}

/// Those of the neighbours of a module with V8 that hold other parts of it: the module needs them by name, or they need one of
/// those. `needed` gives the names that a neighbour needs (DT_NEEDED). Neighbours are looked at only if the module names one.
pub fn parts<T, I: Iterator<Item = T>>(
    own: &[String],
    neighbours: impl Fn() -> I,
    path: impl Fn(&T) -> &Path,
    needed: impl Fn(&T) -> Vec<String>,
) -> Vec<T> {
    let is_named = |neighbour: &T| {
        let name = path(neighbour).file_name().unwrap_or_default();
        own.iter().any(|own| name == own.as_str())
    };
    let named: Vec<String> = neighbours()
        .filter(is_named)
        .filter_map(|n| Some(path(&n).file_name()?.to_str()?.to_owned()))
        .collect();
    if named.is_empty() {
        return Vec::new();
    }
    neighbours().filter(|n| is_named(n) || needed(n).iter().any(|name| named.contains(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    type Module = (PathBuf, Vec<String>);

    fn module(path: &str, needed: &[&str]) -> Module {
        (path.into(), needed.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn parts_are_what_a_module_needs_and_what_needs_the_same() {
        let all = [
            module("/game/libv8_libbase.so", &["libc++.so", "libc.so.6"]),
            module("/game/libv8_libplatform.so", &["libv8_libbase.so", "libc++.so"]),
            module("/game/libtier0.so", &["libc.so.6"]),
            module("/lib/libc.so.6", &[]),
        ];
        let v8 = module("/game/libv8.so", &["libv8_libbase.so", "libc.so.6"]);
        let of = |v8: &Module| -> Vec<PathBuf> {
            let near = || all.iter().filter(|other| is_neighbour(&v8.0, &other.0));
            parts(&v8.1, near, |m| &m.0, |m| m.1.clone()).into_iter().map(|m| m.0.clone()).collect()
        };
        assert_eq!(of(&v8), [all[0].0.clone(), all[1].0.clone()]);
        // One whole library has no parts, whatever lies beside it.
        assert!(of(&module("/game/libv8.so", &["libc.so.6"])).is_empty());
        assert!(of(&module("/other/libv8.so", &["libv8_libbase.so"])).is_empty());
        assert!(!is_neighbour(Path::new("a.so"), Path::new("b.so")));
    }
}
